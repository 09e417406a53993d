"""Mixtures through a row: stems, what they cost, and which model made them."""

from __future__ import annotations

import resource
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from gansep.backends import Wanted, make_separator, parse_backend, takes_names, takes_seed
from gansep.backends.gan_prior import GanPrior
from gansep.dsp.frames import split
from gansep.library import Prior
from gansep.nets.precision import pick_device
from gansep.pipeline import Settings, Track, separate_tracks
from gansep.planning import OVERLAP, OVERLAPS, candidates, choose_for
from gansep.research.protocol import Mixture
from gansep.research.rows import Row
from gansep.types import Estimates, Separator

STATUS = Path("/proc/self/statm")


@dataclass(frozen=True)
class Stems:
    """What a row made of one mixture.

    Attributes:
        waves: ``[S, C, T]`` at the mixture's rate. sources: their names, as the separator calls them.
    """

    waves: Tensor
    sources: tuple[str, ...]


@dataclass(frozen=True)
class Cost:
    """Wall seconds for a second of audio, and the process's largest resident memory meanwhile, in GiB."""

    seconds_per_second: float
    peak_gib: float


@dataclass
class Runner:
    """Runs rows; keeps loaded models and, for rows that share a search, its answers for the mixtures at hand.

    Attributes:
        library, device, seed: as for every verb. batch: windows a separator gets at a time.
    """

    library: Path | None = None
    device: str = "cpu"
    seed: int = 0
    batch: int = 16
    _made: dict[tuple[str, tuple[str, ...]], Separator] = field(default_factory=dict)
    _installed: list[Prior] | None = None

    def __call__(self, row: Row, examples: Sequence[Mixture]) -> tuple[list[Stems], Cost]:
        """Separate mixtures of one task.

        Raises:
            ModelError: a model that is not installed, or a back end that cannot run here.
        """
        groups = self._grouped(row, examples)  # models are loaded before the clock starts
        stems: dict[str, Stems] = {}
        remembered = sum(one.seconds for one in self._made.values() if isinstance(one, _Remembering))
        with _watch() as spent:
            for separator, group in groups:
                waves = through(separator, group, self._settings(row, separator))
                stems |= {one.name: Stems(wave, separator.sources) for one, wave in zip(group, waves, strict=True)}
        again = sum(one.seconds for one in self._made.values() if isinstance(one, _Remembering)) - remembered
        seconds = sum(one.references.shape[-1] / one.sample_rate for one in examples)
        cost = Cost((spent.seconds + again) / seconds, spent.peak / 2**30)
        return [stems[one.name] for one in examples], cost

    def models(self, row: Row, sources: tuple[str, ...]) -> list[str]:
        """Which models a row uses, as ``gan/drums sha256``; none for methods without."""
        if row.bound:
            return []
        if row.blind:
            priors = self._candidates(len(sources))
            cards, listens = [prior.card for prior in priors], True
        else:
            separator = self._separator(row, sources)
            cards, listens = getattr(separator, "cards", ()), bool(getattr(separator, "ears", ()))
        used = [(f"{card.kind}/{card.name}", card.sha256) for card in cards]
        shared = [card.extra["listener"] for card in cards if listens and "listener" in card.extra]
        used += [(one["model"], one["sha256"]) for one in shared]
        return [f"{name} {sha256[:16]}" for name, sha256 in dict.fromkeys(used)]

    def forget(self) -> None:
        """Drop remembered answers, when their mixtures are done with."""
        for separator in self._made.values():
            if isinstance(separator, _Remembering):
                separator.answers.clear()

    def _grouped(self, row: Row, examples: Sequence[Mixture]) -> list[tuple[Separator, Sequence[Mixture]]]:
        if row.bound:
            return [(self._oracle(row, example), [example]) for example in examples]
        if not row.blind:
            return [(self._separator(row, examples[0].sources), examples)]
        groups: dict[int, tuple[Separator, list[Mixture]]] = {}
        for example in examples:
            separator = self._chosen(example)
            groups.setdefault(id(separator), (separator, []))[1].append(example)
        return list(groups.values())

    def _separator(self, row: Row, sources: tuple[str, ...]) -> Separator:
        name, options = parse_backend(row.backend)
        key = (row.backend, sources)
        if key not in self._made:
            names = sources if takes_names(row.backend) else ()
            wanted = Wanted(names, None if names else len(sources), self.library, self.device)
            options = ({"seed": self.seed} if takes_seed(name) else {}) | options
            separator = make_separator(name, wanted, **options)
            self._made[key] = _Remembering(separator) if name == "gan-prior" else separator
        return self._made[key]

    def _oracle(self, row: Row, example: Mixture) -> Separator:
        references = dict(zip(example.sources, example.references, strict=True))
        return make_separator(row.backend, Wanted(references=references, sample_rate=example.sample_rate))

    def _candidates(self, k: int) -> list[Prior]:
        if self._installed is None:
            self._installed = candidates(k, self.library, pick_device(self.device))
        return self._installed

    def choose(self, mixture: Tensor, sample_rate: int, k: int) -> tuple[str, ...]:
        """Names of the installed priors that explain a mixture ``[C, T]`` best."""
        choice = choose_for(partial(split, mixture), mixture.shape[-1], sample_rate, self._candidates(k), k)
        return tuple(prior.name for prior in choice.priors)

    def _chosen(self, example: Mixture) -> Separator:
        names = self.choose(example.mixture, example.sample_rate, len(example.sources))
        key = ("chosen", names)
        if key not in self._made:
            self._made[key] = GanPrior([prior for prior in self._installed or [] if prior.name in names])
        return self._made[key]

    def _settings(self, row: Row, separator: Separator) -> Settings:
        name, options = parse_backend(row.backend)
        overlap = OVERLAPS[options.get("quality", "default")] if name == "gan-prior" else OVERLAP
        if options.get("recipe") == "narayanaswamy2020":
            overlap = OVERLAPS["fast"]  # a thousand steps a window leave no room for more
        refinement = None if row.raw else separator.refinement
        longest = float("inf") if row.bound else Settings().longest
        return Settings(overlap, self.batch, refinement, pick_device(self.device), longest)


def through(separator: Separator, examples: Sequence[Mixture], settings: Settings) -> list[Tensor]:
    """Mixtures through the pipeline that files go through, to stems ``[S, C, T]`` each."""
    stems: list[list[Tensor]] = [[] for _ in examples]

    def track(number: int) -> Track:
        mixture = examples[number].mixture
        return Track(
            lambda size, hop: split(mixture, size, hop),
            examples[number].sample_rate,
            mixture.shape[-1],
            lambda parts, _: stems[number].append(parts),
        )

    separate_tracks((track(i) for i in range(len(examples))), separator, settings)
    return [torch.cat(parts, -1) for parts in stems]


class _Remembering:
    """A separator that answers what it was asked before from memory, so that raw and refined rows cost one search.

    ``seconds`` is what the answers from memory had taken, for the bill.
    """

    def __init__(self, separator: Separator) -> None:
        self.separator = separator
        self.sources, self.refinement = separator.sources, separator.refinement
        self.sample_rate, self.segment = separator.sample_rate, separator.segment
        self.cards, self.ears = getattr(separator, "cards", ()), getattr(separator, "ears", ())
        self.answers: dict[bytes, tuple[Estimates, float]] = {}
        self.seconds = 0.0

    def __call__(self, mixture: Tensor) -> Estimates:
        key = mixture.cpu().numpy().tobytes()
        if key in self.answers:
            estimates, seconds = self.answers[key]
            self.seconds += seconds
            return estimates
        began = time.perf_counter()
        estimates = replace(self.separator(mixture), stats={})
        self.answers[key] = estimates, time.perf_counter() - began
        return estimates


@dataclass
class _Spent:
    seconds: float = 0.0
    peak: int = 0  # bytes


@contextmanager
def _watch(interval: float = 0.02) -> Iterator[_Spent]:
    """Wall seconds and largest resident memory of what runs inside."""
    spent, done = _Spent(peak=_resident()), threading.Event()

    def look() -> None:
        while not done.wait(interval):
            spent.peak = max(spent.peak, _resident())

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    began = time.perf_counter()
    try:
        yield spent
    finally:
        spent.seconds = time.perf_counter() - began
        done.set()
        thread.join()
        spent.peak = max(spent.peak, _resident())


def _resident() -> int:
    """Bytes of memory the process holds; where the system does not say, the most it ever held."""
    if STATUS.exists():
        return int(STATUS.read_text().split()[1]) * resource.getpagesize()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
