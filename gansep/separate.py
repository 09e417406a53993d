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
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gansep import __version__
from gansep.audio import open_audio
from gansep.backends.gan_prior import GanPrior
from gansep.library import Card
from gansep.pipeline import Track, separate_tracks
from gansep.planning import QUIET, Failures, Planned, Request, plan
from gansep.results import Layout, Result, Separation
from gansep.types import AudioError, Estimates, GansepError, Separator


@dataclass
class Outcome:
    """What came of a call: separations written, and ``(input, error)`` for what failed."""

    done: list[Separation] = field(default_factory=list)
    failed: Failures = field(default_factory=list)


def separate_file(
    path: str | Path,
    out: str | Path | None = None,
    *,
    overwrite: bool = False,
    layout: Layout = Layout(),
    **wanted: Any,
) -> Separation:
    """Separate one file.

    Args:
        path: any sound file. out: folder for ``<mix>/<source>.wav``, ``residual.wav`` and ``separation.json``;
            ``separated`` unless given. overwrite: whether existing results are replaced.
        layout: other file names or formats than the default.
        wanted: fields of :class:`gansep.planning.Request`, most of all ``k=2`` or ``sources=["drums", "piano"]``.
    Raises:
        GansepError: bad input, model or output folder.
    """
    if Path(path).is_dir():
        raise AudioError(f"{path}: a folder, expected one sound file; use gansep.separate.separate_files")
    layout = replace(layout, out=Path(out or layout.out), overwrite=overwrite or layout.overwrite)
    outcome = separate_files([path], Request(**wanted), layout)
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
    plans, failed = plan(inputs, request, skip=layout.out)
    work = _Work(request, layout, sum(planned.windows for planned in plans), on_window, Outcome(failed=failed))
    groups: dict[int, list[Planned]] = defaultdict(list)
    for planned in plans:
        groups[id(planned.separator)].append(planned)
    made = [folder for folder in (layout.out, *layout.out.parents) if not folder.exists()]
    try:
        for group in groups.values():
            work.separate(group)
    finally:
        for folder in made:
            with suppress(OSError):  # unless there is a result in it
                folder.rmdir()
    order = {planned.path: number for number, planned in enumerate(plans)}
    work.outcome.done.sort(key=lambda separation: order[separation.input])
    return work.outcome


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
        separator = self._in_time(group[0].separator, sum(planned.windows for planned in group))
        settings = self.request.settings(separator)
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
            how = {name: value for name, value in asdict(settings).items() if name != "device"}
            how |= {"backend": self.request.backend, "device": str(settings.device)}
            if isinstance(separator, GanPrior):
                how |= {"quality": self.request.quality, "recipe": asdict(separator.recipe)}
            self.outcome.done.append(job.finish(how))

        try:
            separate_tracks(tracks(), separator, settings, finish)
        finally:
            for job in jobs.values():
                job.close()

    def _in_time(self, separator: Separator, windows: int) -> Separator:
        """The same search with its part of the time limit: by windows, and then by the calls they are batched to."""
        request = self.request
        if request.max_seconds is None or not isinstance(separator, GanPrior):
            return separator
        seconds = request.max_seconds * windows / self.total / math.ceil(windows / request.batch)
        recipe = separator.recipe
        return GanPrior(separator.priors, replace(recipe, settings=replace(recipe.settings, seconds=seconds)))

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
            self.result = Result(planned.path, self.audio.info, planned.name, planned.separator.sources, layout)
        except GansepError:
            self.audio.close()
            raise
        info = self.audio.info
        self.track = Track(self.audio.windows, info.sample_rate, info.frames, self.result.add, self._note)
        self.energy = self.explained = 0.0
        self.heard = False  # whether the separator says how much of the mixture it explains
        self.losses: dict[str, Tensor] = {}
        self.sure: list[list[list[float]]] = []  # of each window, energy expected right and wrong of every source
        self.failed: list[int] = []
        self.windows, self.seconds = 0, 0.0

    def _note(self, mixture: Tensor, estimates: Estimates) -> None:
        energy = float(mixture.square().sum())
        self.seconds = round(mixture.shape[-1] / (self.planned.separator.sample_rate or self.track.sample_rate), 6)
        self.windows += 1
        self.energy += energy
        if "explained" in estimates.stats:
            self.heard = True
            self.explained += energy * float(estimates.stats["explained"])
        if "sure" in estimates.stats:
            self.sure.append(torch.cat([estimates.stats["sure"], estimates.stats["unsure"]]).tolist())
        if "failed" in estimates.stats and bool(estimates.stats["failed"]):
            self.failed.append(self.windows - 1)
        for name, series in estimates.stats.items():
            if series.ndim == 2 and name not in ("gains", "fits", "sure", "unsure"):  # [1, steps + 1]
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

    def _windows(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """How sure the separator was of each window, and which ones it failed in, counted from 0."""
        every = [_decibels(torch.tensor(energies)) for energies in self.sure]
        return {
            "seconds": self.seconds,
            "hop_seconds": round(self.seconds * (1 - settings["overlap"]), 6),
            "expected_si_sdr_db": dict(zip(self.result.sources, map(list, zip(*every, strict=True)), strict=True)),
            "failed": self.failed,
        }

    def _report(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        planned, info = self.planned, self.audio.info
        silent = self.result.peak < QUIET
        total = max(sum(self.result.energy.values()), 1e-20)
        confidence = planned.choice.confidence if planned.choice else {}
        cards: Sequence[Card | None] = getattr(planned.separator, "cards", ()) or [None] * len(self.result.sources)
        expected = _decibels(torch.tensor(self.sure).double().sum(0)) if self.sure and not silent else []
        sources = {
            source: {
                "model": card and f"{card.kind}/{card.name}",
                "sha256": card and card.sha256,
                "share_of_power": round(self.result.energy[source] / total, 4),
                "confidence": confidence.get(source),
                "expected_si_sdr_db": expected[number] if expected else None,
            }
            for number, (source, card) in enumerate(zip(self.result.sources, cards, strict=True))
        }
        known = self.heard and not silent
        return {
            "input": planned.path.name,
            "input_sha256": _sha256(planned.path),
            "sample_rate": info.sample_rate,
            "channels": info.channels,
            "frames": info.frames,
            "sources": sources,
            "explained": round(self.explained / max(self.energy, 1e-20), 4) if known else None,
            "note": "the input is silent, and so are the stems" if silent else None,
            "windows": self._windows(settings) if self.sure and not silent else None,
            "scores": planned.choice.scores if planned.choice else None,
            "settings": dict(settings),
            "seconds": round(time.monotonic() - self.began, 3),
            "versions": {"gansep": __version__, "torch": torch.__version__, "python": platform.python_version()},
        }


def _decibels(energies: Tensor) -> list[float | None]:
    """Ratio of what is expected right and wrong, in dB, within -30 and 60; ``None`` for nothing at all.

    Shape: ``[2, S]`` to ``S`` numbers.
    """
    right, wrong = energies.double()
    ratio = (10 * (right / wrong.clamp_min(1e-12)).clamp_min(1e-3).log10()).clamp(-30, 60)
    return [
        round(value, 1) + 0.0 if there else None
        for value, there in zip(ratio.tolist(), right + wrong > 1e-9, strict=True)
    ]


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
