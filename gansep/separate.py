"""Files in, results out: what ``gansep separate`` and ``gansep.separate_file`` do.

Inputs that want the same sources go through one separator together, their windows in common batches. A file that cannot
be read or written is reported and does not stop the others.
"""

from __future__ import annotations

import hashlib
import math
import platform
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gansep import __version__
from gansep.audio import AudioSource, find_audio, open_audio
from gansep.backends.choice import Choice, choose
from gansep.backends.gan_prior import GanPrior, Recipe, recipe_for
from gansep.library import Prior, find_models, load_prior
from gansep.nets.precision import pick_device
from gansep.pipeline import Settings, Track, listen, segment_and_hop, separate_tracks
from gansep.refine import Refinement
from gansep.results import Layout, Result, Separation
from gansep.types import AudioError, Estimates, GansepError, ModelError

CHOICE_WINDOWS = 24  # windows of a recording that are heard to choose its sources
QUIET = 1e-5  # peak below which a recording counts as silent, -100 dB of full scale


@dataclass(frozen=True)
class Request:
    """What to do with the inputs.

    Attributes:
        k: number of sources to choose from the installed priors. sources: their names or model folders instead.
        quality: ``fast``, ``default`` or ``best``. recipe: ``default`` or ``narayanaswamy2020``.
        steps, restarts: of the search, instead of what quality says.
        max_seconds: most time for the searches of the whole call.
        raw: the generators' own waveforms instead of masks. overlap: share of a window that the next one repeats.
        seed: of random starts. device: ``auto``, ``cpu``, ``cuda`` or ``mps``. library: folder of models.
    """

    k: int | None = None
    sources: Sequence[str] | None = None
    quality: str = "default"
    recipe: str = "default"
    steps: int | None = None
    restarts: int | None = None
    max_seconds: float | None = None
    raw: bool = False
    overlap: float = 0.5
    seed: int = 0
    device: str = "auto"
    library: Path | None = None
    batch: int = 16

    def __post_init__(self) -> None:
        if (self.k is None) == (self.sources is None):
            raise GansepError("say either how many sources to find (-k 2) or which (--sources drums,piano)")
        if self.k is not None and self.k < 1:
            raise GansepError(f"k must be at least 1, got {self.k}")
        if self.sources is not None and len(set(self.sources)) != len(self.sources):
            raise GansepError(f"each source may be named once, got {', '.join(self.sources)}")
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


@dataclass
class Outcome:
    """What came of a call: separations written, and ``(input, error)`` for what failed."""

    done: list[Separation] = field(default_factory=list)
    failed: list[tuple[Path, GansepError]] = field(default_factory=list)


def separate_file(
    path: str | Path, out: str | Path = "separated", *, layout: Layout | None = None, **wanted: Any
) -> Separation:
    """Separate one file.

    Args:
        path: any sound file. out: folder for ``<mix>/<source>.wav``, ``residual.wav`` and ``separation.json``.
        layout: other file names or formats than the default.
        wanted: fields of :class:`Request`, most of all ``k=2`` or ``sources=["drums", "piano"]``.
    Raises:
        GansepError: bad input, model or output folder.
    """
    outcome = separate_files([path], Request(**wanted), replace(layout or Layout(), out=Path(out)))
    if outcome.failed:
        raise outcome.failed[0][1]
    return outcome.done[0]


def separate_files(
    inputs: Sequence[str | Path],
    request: Request,
    layout: Layout = Layout(),
    on_window: Callable[[int, int], None] | None = None,
) -> Outcome:
    """Separate many files in one go.

    Args:
        inputs: files and folders (searched recursively).
        request: sources and settings. layout: where results go.
        on_window: told ``(windows done, windows in all)``.
    Raises:
        ModelError: sources that are not installed or cannot be combined. AudioError: no inputs.
    """
    plans, failed = plan(inputs, request)
    work = _Work(request, layout, sum(planned.windows for planned in plans), on_window, Outcome(failed=failed))
    groups: dict[tuple[str, ...], list[Planned]] = defaultdict(list)
    for planned in plans:
        groups[tuple(prior.name for prior in planned.priors)].append(planned)
    for group in groups.values():
        work.separate(group)
    order = {planned.path: number for number, planned in enumerate(plans)}
    work.outcome.done.sort(key=lambda separation: order[separation.input])
    return work.outcome


def plan(inputs: Sequence[str | Path], request: Request) -> tuple[list[Planned], list[tuple[Path, GansepError]]]:
    """Read headers, name results and choose sources; returns what can be separated and what cannot be read."""
    files = expand(inputs)
    device = pick_device(request.device)
    if request.sources is not None:
        priors = [load_prior(source, request.library, device) for source in request.sources]
        GanPrior(priors)  # refuses what cannot be combined before any file is read
    else:
        priors = _candidates(request, device)
    segment, rate = priors[0].segment, priors[0].sample_rate
    plans: list[Planned] = []
    failed: list[tuple[Path, GansepError]] = []
    for path, name in zip(files, unique_names(files), strict=True):
        try:
            with open_audio(path) as audio:
                choice = None if request.k is None else _choose(audio, priors, request.k, device)
                size, hop = segment_and_hop(segment, rate, audio.info.sample_rate, request.overlap)
                windows = 1 + max(0, math.ceil((audio.info.frames - size) / hop))
                plans.append(Planned(path, name, choice.priors if choice else tuple(priors), windows, choice))
        except AudioError as error:
            failed.append((path, error))
    return plans, failed


def expand(inputs: Sequence[str | Path]) -> list[Path]:
    """Files of ``inputs``, folders searched, each once, in the order given; a missing path stays and fails later."""
    files: dict[Path, None] = {}
    for item in map(Path, inputs):
        found = find_audio(item) if item.is_dir() else [item]
        if not found:
            raise AudioError(f"{item}: no sound files in this folder; expected wav, flac, ogg, mp3 or the like")
        files |= dict.fromkeys(found)
    if not files:
        raise AudioError("no input files given")
    return list(files)


def unique_names(files: Sequence[Path]) -> list[str]:
    """A name for each result: the file's, with ``-2`` and so on where that is taken.

    >>> unique_names([Path("a/mix.wav"), Path("b/mix.wav"), Path("mix-2.wav")])
    ['mix', 'mix-3', 'mix-2']
    """
    stems = {file.stem for file in files}
    names: list[str] = []
    for file in files:
        name, number = file.stem, 2
        while name in names or (name in stems and name != file.stem):
            name, number = f"{file.stem}-{number}", number + 1
        names.append(name)
    return names


def _candidates(request: Request, device: torch.device) -> list[Prior]:
    found = [model for model in find_models(request.library, "gan") if not model.shadowed]
    if not found or (request.k or 1) > len(found):
        names = ", ".join(model.name for model in found) or "none"
        raise ModelError(f"k = {request.k} needs as many priors, installed: {names}; train more with train-prior")
    priors = [load_prior(model, device=device) for model in found]
    kinds = defaultdict(list)
    for prior in priors:
        kinds[prior.sample_rate, prior.segment].append(prior)
    largest = max(kinds.values(), key=len)  # only priors of one rate and segment can be combined
    if len(largest) < (request.k or 1):
        raise ModelError(f"no {request.k} installed priors have the same rate and segment; name them with --sources")
    return largest


def _choose(audio: AudioSource, priors: Sequence[Prior], k: int, device: torch.device) -> Choice:
    """Choose by the loudest of up to 24 windows spread over the recording."""
    rate = audio.info.sample_rate
    size, _ = segment_and_hop(priors[0].segment, priors[0].sample_rate, rate, 0.5)
    total = max(1, math.ceil(audio.info.frames / size))
    every = max(1, total // CHOICE_WINDOWS)
    windows = islice(audio.windows(size, size), 0, None, every)
    heard = torch.stack([listen(window, rate, priors[0].segment, priors[0].sample_rate) for window in windows])
    loud = heard.abs().amax(-1) > 0.05 * heard.abs().max()
    return choose(priors, heard[loud | (heard.abs().max() < QUIET)].to(device), k)


@dataclass
class _Work:
    """A call under way: what is wanted, what has been done."""

    request: Request
    layout: Layout
    total: int
    on_window: Callable[[int, int], None] | None
    outcome: Outcome
    windows: int = 0

    def separate(self, group: Sequence[Planned]) -> None:
        """Separate recordings that have the same sources, their windows in common batches."""
        request = self.request
        device = pick_device(request.device)
        recipe = self._recipe()
        settings = Settings(request.overlap, request.batch, None if request.raw else Refinement(), device)
        jobs: dict[int, _Job] = {}

        def tracks() -> Iterator[Track]:
            for planned in group:
                try:
                    job = _Job(planned, self.layout, self._count)
                except GansepError as error:
                    self.outcome.failed.append((planned.path, error))
                    continue
                jobs[id(job.track)] = job
                job.track.on_error = partial(self._give_up, job)
                yield job.track

        def finish(track: Track) -> None:
            job = jobs.pop(id(track))
            self.outcome.done.append(job.finish({"recipe": asdict(recipe), "raw": request.raw, "seed": request.seed}))

        try:
            separate_tracks(tracks(), GanPrior(group[0].priors, recipe), settings, finish)
        finally:
            for job in jobs.values():
                job.close()

    def _recipe(self) -> Recipe:
        request = self.request
        steps, restarts = request.steps, request.restarts
        recipe = recipe_for(request.recipe, request.quality, steps=steps, restarts=restarts, seed=request.seed)
        if request.max_seconds is None:
            return recipe
        seconds = request.max_seconds / math.ceil(self.total / request.batch)  # for each call of the separator
        return replace(recipe, settings=replace(recipe.settings, seconds=seconds))

    def _count(self) -> None:
        self.windows += 1
        if self.on_window:
            self.on_window(self.windows, self.total)

    def _give_up(self, job: _Job, error: GansepError) -> None:
        job.close()
        self.outcome.failed.append((job.planned.path, error))


class _Job:
    """One input under way: its open file, its result under construction, and what the search said so far."""

    def __init__(self, planned: Planned, layout: Layout, on_window: Callable[[], None]) -> None:
        self.planned, self.on_window, self.began = planned, on_window, time.monotonic()
        self.audio = open_audio(planned.path)
        try:
            names = [prior.name for prior in planned.priors]
            self.result = Result(planned.path, self.audio.info, planned.name, names, layout)
        except GansepError:
            self.audio.close()
            raise
        info = self.audio.info
        self.track = Track(self.audio.windows, info.sample_rate, info.frames, self.result.add, self._note)
        self.energy = self.explained = 0.0
        self.power = torch.zeros(len(planned.priors))
        self.losses: dict[str, Tensor] = {}
        self.windows = 0

    def _note(self, mixture: Tensor, estimates: Estimates) -> None:
        energy = float(mixture.square().sum())
        self.windows += 1
        self.energy += energy
        self.explained += energy * float(estimates.stats.get("explained", torch.zeros(1)))
        self.power += estimates.waves[0].square().sum(-1).cpu()
        for name, series in estimates.stats.items():
            if series.ndim == 2 and name not in ("gains", "fits"):  # [1, steps + 1]
                self.losses[name] = _add(self.losses.get(name), series[0].cpu())
        self.on_window()

    def finish(self, settings: Mapping[str, Any]) -> Separation:
        """Write everything and close."""
        curves = {name: (series / self.windows).tolist() for name, series in self.losses.items()}
        try:
            return self.result.finish(self._report(settings), curves)
        finally:
            self.close()

    def close(self) -> None:
        self.audio.close()
        self.result.discard()

    def _report(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        planned, info = self.planned, self.audio.info
        silent = self.energy / (self.windows * self.track.frames) < QUIET**2
        share = self.power / self.power.sum().clamp_min(1e-20)
        confidence = planned.choice.confidence if planned.choice else {}
        sources = {
            prior.name: {
                "model": f"{prior.card.kind}/{prior.card.name}",
                "sha256": prior.card.sha256,
                "share_of_power": round(float(part), 4),
                "confidence": confidence.get(prior.name),
            }
            for prior, part in zip(planned.priors, share, strict=True)
        }
        return {
            "input": planned.path.name,
            "input_sha256": _sha256(planned.path),
            "sample_rate": info.sample_rate,
            "channels": info.channels,
            "frames": info.frames,
            "sources": sources,
            "explained": None if silent else round(self.explained / self.energy, 4),
            "note": "the input is silent, and so are the stems" if silent else None,
            "scores": planned.choice.scores if planned.choice else None,
            "settings": dict(settings),
            "seconds": round(time.monotonic() - self.began, 3),
            "versions": {"gansep": __version__, "torch": torch.__version__, "python": platform.python_version()},
        }


def _add(total: Tensor | None, series: Tensor) -> Tensor:
    """Sum of two loss curves; the shorter one, stopped early, goes on at its last value."""
    if total is None:
        return series
    size = max(len(total), len(series))
    longer = [torch.cat([part, part[-1:].expand(size - len(part))]) for part in (total, series)]
    return longer[0] + longer[1]


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
