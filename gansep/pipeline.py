"""Any length, rate and channel count through a separator that knows one of each: cut, convert, separate, refine, join.

::

    track -> windows [C, T at its rate] -> mono, resampled -> [B, segment] -> separator -> estimates [B, S, segment]
          -> refine on the window's own channels and rate -> [S, C, T] -> cross-fade -> sink

Windows of many tracks share a batch, and a track is never held whole, so memory does not grow with its length. A
window's stems sum to the window, and cross-fading is linear, so a track's stems sum to the track.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from gansep.audio import mix_down, resample
from gansep.dsp.frames import OverlapAdd, crossfade
from gansep.refine import Refinement, refine
from gansep.types import Estimates, GansepError, Separator

Windows = Callable[[int, int], Iterable[Tensor]]  # for a segment and a hop, in samples

ANY_LENGTH_SECONDS = 10.0  # window of separators that take any length


@dataclass(frozen=True)
class Settings:
    """How a track is cut and joined.

    Attributes:
        overlap: share of a window that the next one repeats, in [0, 0.9].
        batch: windows a separator gets at a time.
        refinement: how masks are made; ``None`` for the separator's own waveforms.
        device: where the separator computes.
    """

    overlap: float = 0.5
    batch: int = 16
    refinement: Refinement | None = field(default_factory=Refinement)
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def __post_init__(self) -> None:
        if not 0 <= self.overlap <= 0.9 or self.batch < 1:
            raise ValueError(f"overlap must be in [0, 0.9] and batch at least 1, got {self.overlap} and {self.batch}")


@dataclass
class Track:
    """One recording on its way through.

    Attributes:
        windows: gives windows ``[C, segment]`` for a segment and a hop in samples, as ``AudioSource.windows`` does.
        sample_rate: Hz. frames: samples a channel.
        sink: takes the stems of the next samples, ``[S, C, n]``, and the mixture there, ``[C, n]``.
        on_estimates: told what the separator heard, ``[1, segment]``, and said of each window, before refinement.
        on_error: told what went wrong with this track; the others go on. Unless given, the error is raised.
    """

    windows: Windows
    sample_rate: int
    frames: int
    sink: Callable[[Tensor, Tensor], None]
    on_estimates: Callable[[Tensor, Estimates], None] | None = None
    on_error: Callable[[GansepError], None] | None = None
    failed: bool = False

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Turn an error of this track's file into ``on_error``."""
        try:
            yield
        except GansepError as error:
            self.failed = True
            if self.on_error is None:
                raise
            self.on_error(error)


def segment_and_hop(segment: int, rate: int, sample_rate: int, overlap: float) -> tuple[int, int]:
    """Samples of a window and between windows at a track's ``sample_rate``, for ``segment`` samples at ``rate``."""
    size = math.ceil(segment * sample_rate / rate)
    return size, max(1, round(size * (1 - overlap)))


def separate_tracks(
    tracks: Iterable[Track],
    separator: Separator,
    settings: Settings = Settings(),
    on_finish: Callable[[Track], None] | None = None,
) -> None:
    """Separate each track into its sink.

    Args:
        tracks: opened one by one, as their turn comes.
        separator: any back end.
        settings: how to cut and join.
        on_finish: told when a track's last samples are in its sink, in order.
    """
    segment = separator.segment or round(ANY_LENGTH_SECONDS * separator.sample_rate)
    for batch in _batches(tracks, segment, separator.sample_rate, settings):
        batch = [row for row in batch if not row[0].failed]
        if not batch:
            continue
        monos = torch.stack([mono for *_, mono in batch])  # [B, segment]
        estimates = separator(monos.to(settings.device))
        for row, (track, joiner, window, _) in enumerate(batch):
            if track.failed:
                continue
            if track.on_estimates:
                track.on_estimates(monos[row : row + 1], _row(estimates, row))
            waves = estimates.waves[row : row + 1].cpu()
            stems = _finish(window, track.sample_rate, waves, separator.sample_rate, settings.refinement)
            with track.guarded():
                if joiner.push(torch.cat([stems, window[None]])) and on_finish:
                    on_finish(track)


class _Joiner:
    """Cross-fades a track's stems into its sink and knows when the track is whole."""

    def __init__(self, track: Track, size: int, hop: int) -> None:
        self.track, self.stream = track, OverlapAdd(size, hop, crossfade(size, hop))
        self.left = 1 + max(0, math.ceil((track.frames - size) / hop))

    def push(self, layers: Tensor) -> bool:
        """Take a window's stems and, last, its mixture, ``[S + 1, C, size]``; True when the track is whole."""
        self._pour(self.stream.push(layers))
        self.left -= 1
        if self.left == 0:
            self._pour(self.stream.flush(self.track.frames))
        return self.left == 0

    def _pour(self, layers: Tensor) -> None:
        if layers.shape[-1]:
            self.track.sink(layers[:-1], layers[-1])


def _batches(
    tracks: Iterable[Track], segment: int, rate: int, settings: Settings
) -> Iterator[list[tuple[Track, _Joiner, Tensor, Tensor]]]:
    batch = []
    for track in tracks:
        size, hop = segment_and_hop(segment, rate, track.sample_rate, settings.overlap)
        joiner = _Joiner(track, size, hop)
        with track.guarded():
            for number, window in enumerate(track.windows(size, hop)):
                mono = listen(window, track.sample_rate, segment, rate, left_of(track.frames, size, number * hop))
                batch.append((track, joiner, window, mono))
                if len(batch) == settings.batch:
                    yield batch
                    batch = []
                if track.failed:
                    break
    if batch:
        yield batch


def listen(window: Tensor, sample_rate: int, segment: int, rate: int, left: int | None = None) -> Tensor:
    """One channel of ``segment`` samples at ``rate`` from a window of a recording.

    Args:
        window: at ``sample_rate``, filled up with zeros if the recording ends in it.
        left: samples from the window's start to the recording's end. A last window goes on with its own mirror image:
            sound that is cut off by silence is nothing a prior knows. A recording of a single window stays as it is.
    Shape: ``[C, T]`` to ``[segment]``.
    """
    mono = mix_down(window)
    if left is not None and left < len(mono):
        mono = torch.cat([mono[:left], mono[:left].flip(0)]).repeat(-(-len(mono) // (2 * left)))[: len(mono)]
    mono = resample(mono, sample_rate, rate)[:segment]
    return F.pad(mono, (0, segment - len(mono)))


def left_of(frames: int, size: int, start: int) -> int | None:
    """``left`` of :func:`listen` for a window that starts at a sample of a recording."""
    return frames - start if frames > size else None


def _row(estimates: Estimates, row: int) -> Estimates:
    """One window's part of a batch's estimates."""
    stats = {name: value[row : row + 1] for name, value in estimates.stats.items()}
    return Estimates(estimates.waves[row : row + 1], estimates.sources, stats)


def _finish(window: Tensor, sample_rate: int, waves: Tensor, rate: int, how: Refinement | None) -> Tensor:
    """``[C, T]`` and ``[1, S, segment]`` to stems ``[S, C, T]``, masked or as the separator made them."""
    if how is not None:
        return refine(window[None], sample_rate, waves, rate, how)[0]
    length = window.shape[-1]
    raw = resample(waves[0], rate, sample_rate)[:, :length]
    raw = F.pad(raw, (0, length - raw.shape[-1]))
    return raw[:, None].expand(-1, window.shape[0], -1)
