"""What is to be done: which files, under which names, with which sources."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch

from gansep.audio import find_audio, open_audio
from gansep.backends.choice import Choice, choose
from gansep.backends.gan_prior import GanPrior
from gansep.library import Prior, installed_priors, load_prior
from gansep.nets.precision import pick_device
from gansep.pipeline import Windows, left_of, listen, segment_and_hop
from gansep.types import AudioError, GansepError, ModelError

CHOICE_WINDOWS = 24  # windows of a recording that are heard to choose its sources
QUIET = 1e-5  # peak below which a recording counts as silent, -100 dB of full scale

OVERLAPS = {"fast": 0.5, "default": 0.75, "best": 0.875}  # share of a window that the next one repeats, by quality

Failures = list[tuple[Path, GansepError]]


@dataclass(frozen=True)
class Request:
    """What to do with the inputs.

    Attributes:
        k: number of sources to choose from the installed priors. sources: their names or model folders instead.
        quality: ``fast``, ``default`` or ``best``. recipe: ``default`` or ``narayanaswamy2020``.
        steps, restarts: of the search, instead of what quality says.
        max_seconds: most time for the searches of the whole call.
        raw: the generators' own waveforms instead of masks.
        seed: of random starts. batch: windows a separator gets at a time.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``. library: folder of models.
    """

    k: int | None = None
    sources: Sequence[str] | None = None
    quality: str = "default"
    recipe: str = "default"
    steps: int | None = None
    restarts: int | None = None
    max_seconds: float | None = None
    raw: bool = False
    seed: int = 0
    device: str = "auto"
    library: Path | None = None
    batch: int = 16

    @property
    def overlap(self) -> float:
        """Share of a window that the next one repeats; each sample is then heard in several contexts."""
        return OVERLAPS[self.quality]

    def __post_init__(self) -> None:
        if self.quality not in OVERLAPS:
            raise GansepError(f"unknown quality {self.quality!r}; expected one of {', '.join(OVERLAPS)}")
        if isinstance(self.sources, str):  # "drums,piano", as on the command line
            object.__setattr__(self, "sources", [name.strip() for name in self.sources.split(",")])
        if (self.k is None) == (self.sources is None):
            raise GansepError("say either how many sources to find (-k 2) or which (--sources drums,piano)")
        if self.k is not None and self.k < 1:
            raise GansepError(f"k must be at least 1, got {self.k}")
        if self.sources is not None and len(set(self.sources)) != len(self.sources):
            raise GansepError(f"each source may be named once, got {', '.join(self.sources)}")
        if self.restarts is not None and self.restarts < 1:
            raise GansepError(f"restarts must be at least 1, got {self.restarts}")
        if self.max_seconds is not None and not self.max_seconds > 0:
            raise GansepError(f"max seconds must be above 0, got {self.max_seconds}")


@dataclass(frozen=True)
class Planned:
    """One input: its name in the output, its sources, and how many windows it will be cut into."""

    path: Path
    name: str
    priors: tuple[Prior, ...]
    windows: int
    choice: Choice | None = None


def plan(inputs: Sequence[str | Path], request: Request, skip: Path | None = None) -> tuple[list[Planned], Failures]:
    """Read headers, name results and choose sources.

    Args:
        inputs: files and folders. request: the sources wanted.
        skip: a folder whose files are no inputs where it lies inside an input folder: that of the results.
    Returns:
        What can be separated, and what cannot be read.
    """
    files = expand(inputs, skip)
    device = pick_device(request.device)
    if request.sources is not None:
        priors = [load_prior(source, request.library, device) for source in request.sources]
        GanPrior(priors)  # refuses what cannot be combined before any file is read
    else:
        priors = _candidates(request, device)
    names = [prior.name for prior in priors]
    if len({*names, "residual"}) <= len(names):
        raise ModelError(f"sources need names of their own, and 'residual' is taken, got {', '.join(names)}")
    segment, rate = priors[0].segment, priors[0].sample_rate
    plans: list[Planned] = []
    failed: Failures = []
    for path, name in zip(files, unique_names(files), strict=True):
        try:
            if path.is_dir():
                raise AudioError(f"{path}: no sound files in this folder; expected wav, flac, ogg, mp3 or the like")
            with open_audio(path) as audio:
                info, choice = audio.info, None
                if request.k is not None:
                    choice = choose_for(audio.windows, info.frames, info.sample_rate, priors, request.k)
                size, hop = segment_and_hop(segment, rate, info.sample_rate, request.overlap)
                windows = 1 + max(0, math.ceil((info.frames - size) / hop))
                plans.append(Planned(path, name, choice.priors if choice else tuple(priors), windows, choice))
        except AudioError as error:
            failed.append((path, error))
    return plans, failed


def expand(inputs: Sequence[str | Path], skip: Path | None = None) -> list[Path]:
    """Files of ``inputs``, folders searched, each once, in the order given.

    A path that is missing or a folder without sound stays in the list, to fail by itself later.
    """
    files: dict[Path, None] = {}
    hidden = None if skip is None else skip.resolve()
    for item in map(Path, inputs):
        found = find_audio(item) if item.is_dir() else [item]
        if hidden is not None and item.resolve() in hidden.parents:  # else the inputs themselves would be skipped
            found = [file for file in found if not file.resolve().is_relative_to(hidden)]
        files |= dict.fromkeys(found or [item])
    if not files:
        raise AudioError("no input files given")
    return list(files)


def unique_names(files: Sequence[Path]) -> list[str]:
    """A name for each result: the file's, with ``-2`` and so on where that is taken.

    >>> unique_names([Path("a/mix.wav"), Path("b/mix.wav"), Path("mix-2.wav")])
    ['mix', 'mix-3', 'mix-2']
    """
    stems = [file.stem.strip(".") or "mix" for file in files]  # no name may climb out of its folder
    names: list[str] = []
    for stem in stems:
        name, number = stem, 2
        while name in names or (name in stems and name != stem):
            name, number = f"{stem}-{number}", number + 1
        names.append(name)
    return names


def _candidates(request: Request, device: torch.device) -> list[Prior]:
    """The largest set of installed priors that can be combined."""
    k = request.k or 1
    priors, broken = installed_priors(request.library, device)
    if k > len(priors):
        names = ", ".join([prior.name for prior in priors] + [f"{name} (broken)" for name in broken]) or "none"
        raise ModelError(f"k = {k} needs {k} priors, installed: {names}; train more with gansep train-prior")
    kinds = defaultdict(list)
    for prior in priors:
        kinds[prior.sample_rate, prior.segment].append(prior)
    largest = max(kinds.values(), key=len)
    if len(largest) < k:
        raise ModelError(f"no {k} installed priors have the same rate and segment; name them with --sources")
    return largest


def choose_for(windows: Windows, frames: int, sample_rate: int, priors: Sequence[Prior], k: int) -> Choice:
    """The ``k`` priors that explain a recording best, by the loud ones of up to 24 windows spread over it.

    Args:
        windows: gives windows ``[C, segment]`` for a segment and a hop in samples, as ``AudioSource.windows`` does.
        frames: samples of the recording. sample_rate: Hz.
        priors: candidates of one rate and segment.
    """
    segment, rate = priors[0].segment, priors[0].sample_rate
    size, hop = segment_and_hop(segment, rate, sample_rate, 0.5)
    every = math.ceil(max(1, (frames - size) / hop + 1) / CHOICE_WINDOWS)
    picked = islice(enumerate(windows(size, hop)), 0, None, every)
    heard = torch.stack(
        [listen(window, sample_rate, segment, rate, left_of(frames, size, i * hop)) for i, window in picked]
    )
    loud = heard.abs().amax(-1) > 0.05 * heard.abs().max()
    device = next(priors[0].generator.parameters()).device
    return choose(priors, heard[loud | (heard.abs().max() < QUIET)].to(device), k)
