"""What is to be done: which files, under which names, with which sources."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from gansep.audio import AudioSource, find_audio, open_audio, read
from gansep.backends import Wanted, make_separator, parse_backend, takes_seed
from gansep.backends.choice import Choice, choose
from gansep.backends.gan_prior import GanPrior, Recipe, recipe_for
from gansep.library import Prior, installed_priors
from gansep.library.separation import SEPARATORS
from gansep.nets.precision import pick_device
from gansep.pipeline import Settings, Windows, cut_for, left_of, listen, segment_and_hop
from gansep.types import AudioError, GansepError, ModelError, Separator

CHOICE_WINDOWS = 24  # windows of a recording that are heard to choose its sources
QUIET = 1e-5  # peak below which a recording counts as silent, -100 dB of full scale

OVERLAPS = {"fast": 0.5, "default": 0.75, "best": 0.875}  # share of a window that the next one repeats, by quality
OVERLAP = 0.25  # of the long windows of back ends that take any length

Failures = list[tuple[Path, GansepError]]


@dataclass(frozen=True)
class Request:
    """What to do with the inputs.

    Attributes:
        k: number of sources to choose from the installed priors. sources: their names or model folders instead.
        backend: a name of :data:`gansep.backends.BACKENDS`, with options as ``nmf:exponent=2`` if wanted.
        model: by name or folder, for back ends whose one model has all sources, instead of the one that is found.
        references: files of the true sources, for the back end ``oracle``.
        quality: ``fast``, ``default`` or ``best``. recipe: ``default`` or ``narayanaswamy2020``.
        steps, restarts: of the search, instead of what quality says.
        max_seconds: most time for the searches of the whole call.
        raw: the generators' own waveforms instead of masks.
        same_masks: one mask for all channels, instead of telling sources apart by where they are, too.
        seed: of random starts. batch: windows a separator gets at a time.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``. library: folder of models.
    """

    k: int | None = None
    sources: Sequence[str] | None = None
    backend: str = "gan-prior"
    model: str | None = None
    references: Sequence[str | Path] = ()
    quality: str = "default"
    recipe: str = "default"
    steps: int | None = None
    restarts: int | None = None
    max_seconds: float | None = None
    raw: bool = False
    same_masks: bool = False
    seed: int = 0
    device: str = "auto"
    library: Path | None = None
    batch: int = 16

    @property
    def searches(self) -> bool:
        """Whether the back end is the latent search."""
        return parse_backend(self.backend)[0] == "gan-prior"

    def settings(self, separator: Separator) -> Settings:
        """How recordings are cut and joined; windows of a search overlap more, so that each sample has contexts."""
        overlap = OVERLAPS[self.quality] if self.searches else OVERLAP
        refinement = None if self.raw else separator.refinement
        whole = parse_backend(self.backend)[0] == "oracle"  # it knows the whole recording, not parts
        longest = math.inf if whole else Settings().longest
        rounds = 0 if self.same_masks or refinement is None else Settings().rounds
        return Settings(overlap, self.batch, refinement, pick_device(self.device), longest, rounds)

    def __post_init__(self) -> None:
        if self.quality not in OVERLAPS:
            raise GansepError(f"unknown quality {self.quality!r}; expected one of {', '.join(OVERLAPS)}")
        if isinstance(self.sources, str):  # "drums,piano", as on the command line
            object.__setattr__(self, "sources", [name.strip() for name in self.sources.split(",")])
        if self.searches and (self.k is None) == (self.sources is None):
            raise GansepError("say either how many sources to find (-k 2) or which (--sources drums,piano)")
        self._check_backend()
        if self.raw and self.same_masks:
            raise GansepError("--same-masks is of masks; --raw has none, leave one of them out")
        if self.k is not None and self.k < 1:
            raise GansepError(f"k must be at least 1, got {self.k}")
        if self.sources is not None and len(set(self.sources)) != len(self.sources):
            raise GansepError(f"each source may be named once, got {', '.join(self.sources)}")
        if self.restarts is not None and self.restarts < 1:
            raise GansepError(f"restarts must be at least 1, got {self.restarts}")
        if self.max_seconds is not None and not self.max_seconds > 0:
            raise GansepError(f"max seconds must be above 0, got {self.max_seconds}")

    def _check_backend(self) -> None:
        if not self.searches:
            given = {"steps": self.steps, "restarts": self.restarts, "max-seconds": self.max_seconds}
            given |= {"quality": self.quality != "default" or None, "recipe": self.recipe != "default" or None}
            if wrong := [f"--{name}" for name, value in given.items() if value is not None]:
                raise GansepError(f"{', '.join(wrong)}: of the search only, not of --backend {self.backend}")
        elif self.model is not None:
            raise GansepError("--model is for back ends with one model for all sources; name priors with --sources")
        if self.k is not None and parse_backend(self.backend)[0] in SEPARATORS:
            raise GansepError(f"-k is not for --backend {self.backend}, whose model says which sources; leave it out")
        if self.references and parse_backend(self.backend)[0] != "oracle":
            raise GansepError(f"--references are for --backend oracle, got --backend {self.backend}")


@dataclass(frozen=True)
class Planned:
    """One input: its name in the output, what takes it apart, and how many windows it will be cut into."""

    path: Path
    name: str
    separator: Separator
    windows: int
    choice: Choice | None = None


def plan(inputs: Sequence[str | Path], request: Request, skip: Path | None = None) -> tuple[list[Planned], Failures]:
    """Read headers, name results and choose sources. Inputs with the same sources have one separator.

    Args:
        inputs: files and folders. request: the sources wanted.
        skip: a folder whose files are no inputs where it lies inside an input folder: that of the results.
    Returns:
        What can be separated, and what cannot be read.
    """
    files = expand(inputs, skip)
    find = _Finder(request)
    plans: list[Planned] = []
    failed: Failures = []
    for path, name in zip(files, unique_names(files), strict=True):
        try:
            if path.is_dir():
                raise AudioError(f"{path}: no sound files in this folder; expected wav, flac, ogg, mp3 or the like")
            with open_audio(path) as audio:
                separator, choice = find(audio)
                info = audio.info
            windows = cut_for(separator, info.frames, info.sample_rate, request.settings(separator)).windows
            plans.append(Planned(path, name, separator, windows, choice))
        except AudioError as error:
            failed.append((path, error))
    return plans, failed


class _Finder:
    """Finds the separator of each recording: the one asked for, or one of the sources heard in it.

    Raises:
        ModelError: sources that are not installed or cannot be combined, before any file is read.
    """

    def __init__(self, request: Request) -> None:
        self.request = request
        self.device = pick_device(request.device)
        choosing = request.searches and request.k is not None
        self.candidates = candidates(request.k or 1, request.library, self.device) if choosing else []
        self.oracle = parse_backend(request.backend)[0] == "oracle"
        self.common = None if self.candidates or self.oracle else self._make(request.sources or ())
        if self.oracle and not request.references:
            raise ModelError("--backend oracle needs the true sources, as --references drums.wav piano.wav")
        self.made: dict[tuple[str, ...], Separator] = {}
        self._check_names([prior.name for prior in self.candidates] or (self.common.sources if self.common else ()))

    def __call__(self, audio: AudioSource) -> tuple[Separator, Choice | None]:
        info, request = audio.info, self.request
        if self.common is not None:
            return self.common, None
        if self.oracle:
            return self._oracle(audio), None
        choice = choose_for(audio.windows, info.frames, info.sample_rate, self.candidates, request.k or 1)
        names = tuple(prior.name for prior in choice.priors)
        if names not in self.made:
            self.made[names] = GanPrior(choice.priors, self._recipe())
        return self.made[names], choice

    def _make(self, sources: Sequence[str], **known: Any) -> Separator:
        request = self.request
        wanted = Wanted(tuple(sources), request.k, request.library, str(self.device), **known)
        name, options = parse_backend(request.backend)
        if request.searches:
            return make_separator(name, wanted, recipe=self._recipe(), kind=options.get("kind", "gan"))
        if takes_seed(name):
            options = {"seed": request.seed} | options
        if request.model is not None:
            options["model"] = request.model
        return make_separator(name, wanted, **options)

    def _recipe(self) -> Recipe:
        request = self.request
        said = {"steps": request.steps, "restarts": request.restarts, "seed": request.seed, "quality": request.quality}
        said |= {"name": request.recipe} | parse_backend(request.backend)[1]
        if said.pop("kind", "gan") != "gan" and not request.sources:
            raise ModelError(f"--backend {request.backend}: -k chooses among GAN priors; name others with --sources")
        said |= {"listen": 0, "fallback": 0} if request.raw else {}  # masks are what listeners and fallback make
        try:
            return recipe_for(said.pop("recipe", said.pop("name")), **said)
        except TypeError:
            raise ModelError(f"--backend {request.backend}: gan-prior has no such option") from None

    def _oracle(self, audio: AudioSource) -> Separator:
        info = audio.info
        references = {}
        for path in map(Path, self.request.references):
            wave, rate = read(path)
            if (rate, *wave.shape) != (info.sample_rate, info.channels, info.frames):
                raise AudioError(
                    f"{path}: {wave.shape[1]} samples at {rate} Hz in {wave.shape[0]} channels, the mixture has "
                    f"{info.frames} at {info.sample_rate} Hz in {info.channels}; references must fit their mixture"
                )
            references[path.stem] = wave
        self._check_names(list(references))
        return self._make((), references=references, sample_rate=info.sample_rate)

    def _check_names(self, names: Sequence[str]) -> None:
        if len({*names, "residual"}) <= len(names):
            raise ModelError(f"sources need names of their own, and 'residual' is taken, got {', '.join(names)}")


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


def candidates(k: int, library: Path | None, device: torch.device) -> list[Prior]:
    """The largest set of installed priors that can be combined, of which ``k`` are to be chosen.

    Raises:
        ModelError: fewer than ``k``.
    """
    priors, broken = installed_priors(library, device)
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
