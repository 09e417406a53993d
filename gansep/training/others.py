"""What else sounds in the mixtures that a prior is trained on: sounds that installed priors keep, or what they play."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import count
from pathlib import Path

import torch

from gansep.audio import write
from gansep.library import SOUNDS, Found, Prior, find_models, load_prior
from gansep.training.data import Clips, excerpts, load_clips, noise_clips
from gansep.training.session import as_list, name_of
from gansep.types import DataError, ModelError, OutputError

BANK = 256  # sounds drawn from an installed prior that keeps none

Sets = str | Path | Sequence[str | Path | Sequence[Path]]


def find_others(
    sets: Sets | None, name: str, sample_rate: int, library: Path | None, before: Sequence[str] | None = None
) -> dict[str, Clips]:
    """Sounds beside those of the source, by name.

    Args:
        sets: folders, or lists of files; unless given, what the installed priors but the one of this ``name`` have.
            Coloured noise where there is nothing.
        library: the one given with ``--library``.
        before: names of those that a training began with, which goes on: priors installed since do not count.
    Raises:
        DataError: no such path, no audio, too little sound.
    """
    found: dict[str, Clips] = {}
    if sets is not None:
        folders = [as_list(one) for one in ([sets] if isinstance(sets, str | Path) else sets)]
        for paths in folders:
            found[_unlike(name_of(paths), (name, *found))] = load_clips(paths, sample_rate)
    else:
        for one in find_models(library, "gan"):
            counts = one.name != name and (before is None or one.name in before)
            if counts and not one.shadowed and (sounds := _sounds_of(one, sample_rate)):
                found[one.name] = replace(sounds, sha256=one.card.data_sha256 or sounds.sha256)  # what they stand for
    return found or {_unlike("coloured noise", (name,)): noise_clips(sample_rate)}


def keep_sounds(folder: Path, clips: Clips, seconds: float) -> None:
    """Put excerpts of a prior's sounds into its model folder, unless there are some, as 16-bit FLAC; or take them away.

    Args:
        folder: of the model; made if missing. clips: of its source. seconds: of them, 0 for none.
    Raises:
        OutputError: the folder cannot be written.
    """
    place = folder / SOUNDS
    try:
        if not seconds:
            shutil.rmtree(place, ignore_errors=True)
        elif not place.exists() and (waves := excerpts(clips, seconds)):
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=folder, prefix=".saving-") as scratch:
                for number, wave in enumerate(waves):
                    write(Path(scratch, SOUNDS, f"{number:03d}.flac"), wave[None], clips.sample_rate, subtype="PCM_16")
                Path(scratch, SOUNDS).rename(place)
    except OSError as error:
        raise OutputError(f"{place}: cannot be written ({error.strerror}); check space and permissions") from error


def _unlike(name: str, taken: Sequence[str]) -> str:
    """The name, with a number where it is taken."""
    names = (f"{name} {number}" if number > 1 else name for number in count(1))
    return next(one for one in names if one not in taken)


def _sounds_of(found: Found, sample_rate: int) -> Clips | None:
    """What stands for a prior where others are trained: sounds it keeps, else samples, or nothing if it is broken."""
    with suppress(DataError):  # none are kept, or too few
        return load_clips([found.folder / SOUNDS], sample_rate)
    try:
        prior = load_prior(found)
    except ModelError:
        return None
    return _bank(prior) if prior.sample_rate == sample_rate else None


def _bank(prior: Prior) -> Clips:
    """Samples of a prior, as if they were files."""
    waves = prior.sample(BANK, seed=0)
    waves = (waves / waves.abs().amax(-1, keepdim=True).clamp_min(1e-6) * 32767).round().to(torch.int16)
    return Clips(tuple(waves), ((0, waves.shape[1]),) * BANK, prior.sample_rate, prior.card.sha256, ())
