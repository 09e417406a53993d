"""From a folder of one source's sound to an NMF dictionary on disk: what ``gansep train-prior --kind nmf`` does.

Multiplicative updates of Lee and Seung ("Algorithms for Non-negative Matrix Factorization", NIPS 2000) for
Kullback-Leibler, of Fevotte and Idier (Neural Computation 2011) for Itakura-Saito, as scikit-learn has them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gansep.library import Card, save_model, writable_library
from gansep.library.dictionary import DIVERGENCES, levelled, nmf_spectrogram
from gansep.training.api import Provenance
from gansep.training.data import Clips, load_clips
from gansep.training.loop import Progress
from gansep.training.session import Paths, as_list, claim, describe, hear, name_of
from gansep.types import DataError, GansepError

BLOCKS = 10  # points of the curve
LEVEL = "recordings scaled to a peak of 1; spectra to a mean of 1"


@dataclass(frozen=True)
class DictionarySettings:
    """How a dictionary is learned.

    Attributes:
        atoms: spectra in it. divergence: a name of :data:`gansep.library.dictionary.DIVERGENCES`.
        frames: learned from, drawn over all recordings if there are more.
        iterations: multiplicative updates of atoms and activations.
        seed: of the frames drawn and of the starting point.
        n_fft, hop: of the spectrograms, in samples. sample_rate: in Hz.
    """

    atoms: int = 32
    divergence: str = "kullback-leibler"
    frames: int = 20000
    iterations: int = 100
    seed: int = 0
    n_fft: int = 1024
    hop: int = 256
    sample_rate: int = 16000

    def __post_init__(self) -> None:
        if self.divergence not in DIVERGENCES:
            raise GansepError(f"unknown divergence {self.divergence!r}; expected one of {', '.join(DIVERGENCES)}")
        for what in ("frames", "iterations", "hop", "sample_rate"):
            if getattr(self, what) < 1:
                raise GansepError(f"{what} must be above 0, got {getattr(self, what)}")
        if self.hop > self.n_fft // 2:
            raise GansepError(f"hop must be at most half of n_fft, got {self.hop} and {self.n_fft}")
        bins = self.n_fft // 2 + 1
        if not 1 <= self.atoms <= bins:
            raise GansepError(f"atoms must be in 1 to {bins}, the bins of a spectrum, got {self.atoms}")


def train_dictionary(
    data: Paths,
    name: str | None = None,
    settings: DictionarySettings | None = None,
    *,
    out: str | Path | None = None,
    library: str | Path | None = None,
    provenance: Provenance | None = None,
    on_event: Callable[[Progress | str], None] | None = None,
) -> Path:
    """Learn a dictionary of one source and save it.

    Args:
        data: sound files or folders of one source.
        name: of the source; the folder's name unless given.
        settings: sizes, divergence, seed.
        out: the model's folder; ``nmf/<name>`` in the first writable library unless given.
        library: the one given with ``--library``.
        provenance: for the card; the held-out files give its figures.
        on_event: told the :class:`Progress` ten times, and lines worth showing.
    Returns:
        The model's folder.
    Raises:
        DataError: no such path, no audio, too little sound.
        OutputError: a folder that cannot be written, or that holds a model already.
    """
    say = on_event or (lambda event: None)
    settings, words = settings or DictionarySettings(), provenance or Provenance()
    paths = as_list(data)
    name = name or name_of(paths)
    config = {"n_fft": settings.n_fft, "hop": settings.hop, "atoms": settings.atoms, "divergence": settings.divergence}
    card = Card(name, config, settings.sample_rate, None, (name,), kind="nmf", level=LEVEL, seed=settings.seed)
    folder = Path(out) if out else writable_library(library) / "nmf" / name
    claim(folder)
    clips = hear(paths, settings.sample_rate, say)
    say(f"{describe(name, clips)}; the dictionary goes to {folder}")
    frames = draw_frames(clips, settings)
    atoms, curve = learn(frames, settings, on_event)
    card = replace(
        card,
        data=words.data,
        data_sha256=clips.sha256,
        data_licence=words.data_licence,
        licence=words.licence,
        curve=curve,
        metrics=_figures(atoms, words, settings),
        extra={
            "frames": len(frames),
            "iterations": settings.iterations,
            "seconds_of_sound": round(clips.seconds),
        },
    )
    save_model(folder, {"atoms": atoms}, card)
    return folder


def draw_frames(clips: Clips, settings: DictionarySettings) -> Tensor:
    """Spectra of frames chosen at random over all recordings, less the silence around each.

    Shape: ``[N, F]``, ``N`` at most ``settings.frames``; their mean is 1, and a floor is added.
    Raises:
        DataError: fewer frames than atoms.
    """
    sounds = [wave[start:stop] for wave, (start, stop) in zip(clips.waves, clips.active, strict=True)]
    counts = torch.tensor([len(sound) // settings.hop + 1 for sound in sounds])
    total = int(counts.sum())
    if total < settings.atoms:
        raise DataError(f"only {total} frames of sound for {settings.atoms} atoms; give more recordings")
    random = torch.Generator().manual_seed(settings.seed)
    chosen = torch.randperm(total, generator=random)[: settings.frames].sort().values
    ends = counts.cumsum(0)
    spectra = []
    for sound, first, last in zip(sounds, (ends - counts).tolist(), ends.tolist(), strict=True):
        rows = chosen[(chosen >= first) & (chosen < last)] - first
        if len(rows):
            wave = sound.float() / 32767
            spectra.append(nmf_spectrogram(wave, settings.n_fft, settings.hop, settings.divergence)[rows])
    return levelled(torch.cat(spectra), settings.divergence)


def learn(
    frames: Tensor, settings: DictionarySettings, on_event: Callable[[Progress | str], None] | None = None
) -> tuple[Tensor, list[dict[str, float]]]:
    """Factorise spectra into atoms that sum to 1 each, and their activations, which are dropped.

    Shape: ``[N, F]`` to ``[A, F]``.
    Returns:
        The atoms, and the divergence a bin after every tenth of the iterations.
    """
    from sklearn.decomposition import non_negative_factorization

    data, began = frames.numpy(), time.monotonic()
    weights, atoms, curve, done = None, None, [], 0
    while done < settings.iterations:
        steps = min(settings.iterations - done, max(1, settings.iterations // BLOCKS))
        weights, atoms, _ = non_negative_factorization(
            data,
            weights,
            atoms,
            n_components=settings.atoms,  # type: ignore[arg-type]  # typed by its default
            init="nndsvda" if atoms is None else "custom",
            solver="mu",
            beta_loss=settings.divergence,
            max_iter=steps,
            tol=0,  # a fixed number of updates, so that blocks of them are the whole run
            random_state=settings.seed,
        )
        done += steps
        curve.append({"step": done, "divergence": round(divergence(data, weights @ atoms, settings.divergence), 5)})
        if on_event:
            elapsed = time.monotonic() - began
            left = elapsed / done * (settings.iterations - done)
            on_event(Progress(done, {"divergence": curve[-1]["divergence"]}, elapsed, left))
    assert atoms is not None
    learned = torch.from_numpy(atoms)
    return learned / learned.sum(1, keepdim=True).clamp_min(1e-20), curve


def divergence(spectra: np.ndarray, model: np.ndarray, kind: str) -> float:
    r"""Mean divergence a bin of two positive arrays of one shape.

    Kullback-Leibler: :math:`x \log(x / y) - x + y`; Itakura-Saito: :math:`x / y - \log(x / y) - 1`.
    """
    ratio = spectra / np.maximum(model, np.finfo(np.float32).tiny)
    if kind == "kullback-leibler":
        return float(np.mean(spectra * np.log(ratio) - spectra + model, dtype=np.float64))
    return float(np.mean(ratio - np.log(ratio) - 1, dtype=np.float64))


def _figures(atoms: Tensor, words: Provenance, settings: DictionarySettings) -> dict[str, float]:
    """How well the atoms explain recordings that were held out."""
    if not words.held_out:
        return {}
    from sklearn.decomposition import non_negative_factorization

    heard = draw_frames(load_clips(list(words.held_out), settings.sample_rate), replace(settings, frames=2000))
    weights, _, _ = non_negative_factorization(
        heard.numpy(),
        H=atoms.numpy(),
        n_components=settings.atoms,  # type: ignore[arg-type]
        update_H=False,
        solver="mu",
        beta_loss=settings.divergence,
        max_iter=settings.iterations,
        tol=0,
    )
    found = divergence(heard.numpy(), weights @ atoms.numpy(), settings.divergence)
    return {"held_out_divergence": round(found, 5), "held_out_frames": len(heard)}
