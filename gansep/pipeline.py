"""Any length, rate and channel count through a separator that knows one of each: cut, convert, separate, refine, join.

::

    track -> windows [C, T at its rate] -> mono, resampled -> [B, segment] -> separator -> estimates [B, S, segment]
          -> refine on the window's own channels and rate -> [S, C, T] -> cross-fade -> sink

Stems of several channels pass once more, in blocks of some seconds, and are told apart by where they are
(:mod:`gansep.dsp.spatial`).

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
from gansep.dsp.spatial import Places
from gansep.dsp.stft import istft, stft
from gansep.refine import Refinement, analysis_sizes, refine
from gansep.types import COMPONENT, Estimates, GansepError, Separator

Windows = Callable[[int, int], Iterable[Tensor]]  # for a segment and a hop, in samples
BLOCK = 10.0, 7.5  # seconds in which stems are told apart by place, and from one such block to the next


@dataclass(frozen=True)
class Settings:
    """How a track is cut and joined.

    Attributes:
        overlap: share of a window that the next one repeats, in [0, 0.9].
        batch: windows a separator gets at a time.
        refinement: how masks are made; ``None`` for the separator's own waveforms.
        device: where the separator computes.
        longest: seconds of a window for separators that take any length; a shorter recording is one window.
        rounds: of finding out where the masked stems of several channels are; 0 for one mask in all channels.
    """

    overlap: float = 0.5
    batch: int = 16
    refinement: Refinement | None = field(default_factory=Refinement)
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    longest: float = 10.0
    rounds: int = 8

    def __post_init__(self) -> None:
        if not 0 <= self.overlap <= 0.9 or self.batch < 1:
            raise ValueError(f"overlap must be in [0, 0.9] and batch at least 1, got {self.overlap} and {self.batch}")
        if self.rounds < 0:
            raise ValueError(f"rounds must be at least 0, got {self.rounds}")


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


@dataclass(frozen=True)
class Cut:
    """How a recording is cut for a separator.

    Attributes:
        size, hop: samples of a window and between windows, at the recording's rate.
        segment: samples of a window at the separator's ``rate``.
        windows: how many there are.
    """

    size: int
    hop: int
    segment: int
    rate: int
    windows: int


def cut_for(separator: Separator, frames: int, sample_rate: int, settings: Settings) -> Cut:
    """How a recording of ``frames`` samples at ``sample_rate`` Hz is cut for a separator.

    One that takes any length hears all of a recording at once, or windows of the longest length allowed.
    """
    rate = separator.sample_rate or sample_rate
    whole = -(-frames * rate // sample_rate)
    longest = whole if frames <= settings.longest * sample_rate else round(settings.longest * rate)
    segment = separator.segment or max(1, longest)
    size, hop = segment_and_hop(segment, rate, sample_rate, settings.overlap)
    return Cut(size, hop, segment, rate, 1 + max(0, math.ceil((frames - size) / hop)))


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
    for batch in _batches(tracks, separator, settings):
        batch = [row for row in batch if not row[0].failed]
        if not batch:
            continue
        heard = torch.stack([heard for *_, heard in batch])  # [B, segment] or [B, C, segment]
        estimates = separator(heard.to(settings.device))
        for row, (track, joiner, window, _) in enumerate(batch):
            if track.failed:
                continue
            if track.on_estimates:
                track.on_estimates(heard[row : row + 1], _row(estimates, row))
            waves = estimates.waves[row : row + 1].cpu()
            stems = _finish(window, track.sample_rate, waves, joiner.rate, settings.refinement)
            with track.guarded():
                if joiner.push(torch.cat([stems, window[None]])) and on_finish:
                    on_finish(track)


class _Joiner:
    """Cross-fades a track's stems into its sink and knows when the track is whole."""

    def __init__(self, track: Track, cut: Cut, named: bool, settings: Settings) -> None:
        size, hop = cut.size, cut.hop
        self.by_place: _ByPlace | None = None
        if settings.refinement and settings.rounds:
            self.by_place = _ByPlace(track, settings.refinement.seconds, settings.rounds)
        self.track, self.stream, self.rate = track, OverlapAdd(size, hop, crossfade(size, hop)), cut.rate
        self.left, self.named = cut.windows, named
        self.shared = size - hop  # samples two windows share
        self.last: Tensor | None = None  # stems of the samples that the next window has too

    def push(self, layers: Tensor) -> bool:
        """Take a window's stems and, last, its mixture, ``[S + 1, C, size]``; True when the track is whole."""
        if not self.named:
            layers = torch.cat([self._in_order(layers[:-1]), layers[-1:]])
        self._pour(self.stream.push(layers))
        self.left -= 1
        if self.left == 0:
            self._pour(self.stream.flush(self.track.frames), last=True)
        return self.left == 0

    def _in_order(self, stems: Tensor) -> Tensor:
        """The stems of a method without names, each after the one of the window before that it continues."""
        from scipy.optimize import linear_sum_assignment  # slow to import

        if self.last is not None and self.shared:
            before, now = self.last.flatten(1), stems[..., : self.shared].flatten(1)  # [S, C * shared]
            _, order = linear_sum_assignment(torch.cdist(before, now).numpy())
            stems = stems[torch.from_numpy(order)]
        self.last = stems[..., stems.shape[-1] - self.shared :]
        return stems

    def _pour(self, layers: Tensor, last: bool = False) -> None:
        if self.by_place and min(len(layers) - 1, layers.shape[1]) > 1:  # there are stems, and channels, to tell apart
            layers = self.by_place.push(layers, last)
        if layers.shape[-1]:
            self.track.sink(layers[:-1], layers[-1])


class _ByPlace:
    """A track's stems, as they come, told apart by place in long blocks that are cross-faded."""

    def __init__(self, track: Track, seconds: float, rounds: int) -> None:
        self.frames, self.places = track.frames, Places(rounds)
        self.window = analysis_sizes(seconds, track.sample_rate)
        size, hop = (round(part * track.sample_rate) for part in BLOCK)
        self.size, self.hop = min(size, track.frames), min(hop, track.frames)
        self.left = 1 + max(0, math.ceil((track.frames - self.size) / self.hop))  # blocks
        self.stream = OverlapAdd(self.size, self.hop)
        self.waiting: list[Tensor] = []

    def push(self, layers: Tensor, last: bool) -> Tensor:
        """Take stems and, last, their mixture; returns what is done. Shape: ``[S + 1, C, n]`` to ``[S + 1, C, m]``."""
        self.waiting.append(layers)  # and joined up once a block is whole
        if not last and sum(part.shape[-1] for part in self.waiting) < self.size:
            return layers[..., :0]
        waiting, done = torch.cat(self.waiting, -1), []
        while self.left and (last or waiting.shape[-1] >= self.size):
            block = waiting[..., : self.size]
            done.append(self.stream.push(self._placed(F.pad(block, (0, self.size - block.shape[-1])))))
            waiting, self.left = waiting[..., self.hop :], self.left - 1
        self.waiting = [waiting]
        return torch.cat([*done, self.stream.flush(self.frames)] if last else done, -1)

    def _placed(self, layers: Tensor) -> Tensor:
        spectra = stft(layers, *self.window)
        stems = istft(self.places(spectra[-1], spectra[:-1]), self.size, *self.window)
        return torch.cat([stems, layers[-1:]])


def _batches(
    tracks: Iterable[Track], separator: Separator, settings: Settings
) -> Iterator[list[tuple[Track, _Joiner, Tensor, Tensor]]]:
    """Windows that a separator can be given together: of one shape, at most ``settings.batch``."""
    named = not separator.sources[0].startswith(COMPONENT)
    channels = getattr(separator, "channels", False)
    batch = []
    for track in tracks:
        cut = cut_for(separator, track.frames, track.sample_rate, settings)
        joiner = _Joiner(track, cut, named, settings)
        with track.guarded():
            for number, window in enumerate(track.windows(cut.size, cut.hop)):
                left = left_of(track.frames, cut.size, number * cut.hop)
                heard = listen(window, track.sample_rate, cut.segment, cut.rate, left, mono=not channels)
                if batch and batch[0][3].shape != heard.shape:
                    yield batch
                    batch = []
                batch.append((track, joiner, window, heard))
                if len(batch) == settings.batch:
                    yield batch
                    batch = []
                if track.failed:
                    break
    if batch:
        yield batch


def listen(
    window: Tensor, sample_rate: int, segment: int, rate: int, left: int | None = None, mono: bool = True
) -> Tensor:
    """What a separator is given of a window of a recording: ``segment`` samples at ``rate``.

    Args:
        window: at ``sample_rate``, filled up with zeros if the recording ends in it.
        left: samples from the window's start to the recording's end. A last window goes on with its own mirror image:
            sound that is cut off by silence is nothing a prior knows. A recording of a single window stays as it is.
        mono: whether the channels become one.
    Shape: ``[C, T]`` to ``[segment]``, or to ``[C, segment]``.
    """
    wave = mix_down(window) if mono else window
    length = wave.shape[-1]
    if left is not None and left < length:
        turn = torch.cat([wave[..., :left], wave[..., :left].flip(-1)], -1)
        wave = torch.cat([turn] * -(-length // (2 * left)), -1)[..., :length]
    wave = resample(wave, sample_rate, rate)[..., :segment]
    return F.pad(wave, (0, segment - wave.shape[-1]))


def left_of(frames: int, size: int, start: int) -> int | None:
    """``left`` of :func:`listen` for a window that starts at a sample of a recording."""
    return frames - start if frames > size else None


def _row(estimates: Estimates, row: int) -> Estimates:
    """One window's part of a batch's estimates."""
    stats = {name: value[row : row + 1] for name, value in estimates.stats.items()}
    return Estimates(estimates.waves[row : row + 1], estimates.sources, stats)


def _finish(window: Tensor, sample_rate: int, waves: Tensor, rate: int, how: Refinement | None) -> Tensor:
    """``[C, T]`` and ``[1, S, segment]`` (or ``[1, S, C, segment]``) to stems ``[S, C, T]``, masked or as they are."""
    if how is not None:
        return refine(window[None], sample_rate, waves if waves.ndim == 3 else waves.mean(2), rate, how)[0]
    length = window.shape[-1]
    raw = resample(waves[0], rate, sample_rate)[..., :length]
    raw = F.pad(raw, (0, length - raw.shape[-1]))
    return raw if raw.ndim == 3 else raw[:, None].expand(-1, window.shape[0], -1)
