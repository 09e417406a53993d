"""Cut a waveform of any length into overlapping segments and lay them back, an exact round trip.

Segments come first, ``[N, ..., segment]``: ``frames[n]`` is what a separator is called with. Each is weighted by a
window, and the sum is divided by the summed weights, so that the round trip is exact whatever the window::

    segment 0   /-------\\
    segment 1         /-------\\          <- faded over the overlap, segment - hop samples
    segment 2               /-------\\
                |     |
                0     hop
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor


def split(wave: Tensor, segment: int, hop: int) -> Tensor:
    """Segments of ``wave`` that start every ``hop`` samples, the last one filled up with zeros.

    Args:
        wave: samples.
        segment: samples of a segment.
        hop: samples between the starts of two segments, at most ``segment``.
    Shape: ``[..., T]`` to ``[N, ..., segment]``, ``N = ceil((T - segment) / hop) + 1``, or 1 if that is less.
    Raises:
        ValueError: no samples, or not ``1 <= hop <= segment``.

    >>> split(torch.arange(1, 8), 4, 2)
    tensor([[1, 2, 3, 4],
            [3, 4, 5, 6],
            [5, 6, 7, 0]])
    """
    _check(segment, hop)
    length = wave.shape[-1]
    if length == 0:
        raise ValueError("split needs at least one sample, got an empty last axis")
    frames = 1 + max(0, -(-(length - segment) // hop))
    padded = F.pad(wave, (0, (frames - 1) * hop + segment - length))
    return padded.unfold(-1, segment, hop).movedim(-2, 0)  # [..., N, segment] -> [N, ..., segment]


def overlap_add(frames: Iterable[Tensor], length: int, hop: int, window: Tensor | None = None) -> Tensor:
    """Waveform of segments made by :func:`split` with the same ``hop``.

    Args:
        frames: the segments in order, a tensor ``[N, ..., segment]`` or anything that yields ``[..., segment]``.
        length: samples to return; ``split`` does not keep it.
        hop: samples between the starts of two segments.
        window: positive weights ``[segment]``; :func:`crossfade` unless given.
    Shape: ``[N, ..., segment]`` to ``[..., length]``.
    Raises:
        ValueError: no segments, or a ``length`` that ends elsewhere than in the last of them.

    >>> x = torch.randn(2, 1001)
    >>> bool((overlap_add(split(x, 256, 100), 1001, 100) - x).abs().max() < 1e-6)
    True
    """
    stream: OverlapAdd | None = None
    blocks: list[Tensor] = []
    for frame in frames:
        stream = stream or OverlapAdd(frame.shape[-1], hop, window)
        blocks.append(stream.push(frame))
    if stream is None:
        raise ValueError("overlap_add needs at least one segment, got none")
    return torch.cat([*blocks, stream.flush(length)], -1)


def crossfade(segment: int, hop: int) -> Tensor:
    """Weights that rise and fall linearly over the overlap and are 1 between.

    Where two segments overlap the weights sum to 1 by themselves (if ``hop >= segment / 2``). They fade amplitudes,
    not powers, because two estimates of the same samples agree. None is zero, so that the first and the last sample
    of a waveform, which one segment alone has, can be divided by their weight.

    Args:
        segment: samples of a segment.
        hop: samples between the starts of two segments.
    Shape: returns ``[segment]``.
    Raises:
        ValueError: not ``1 <= hop <= segment``.

    >>> crossfade(6, 3)
    tensor([0.2500, 0.5000, 0.7500, 0.7500, 0.5000, 0.2500])
    """
    _check(segment, hop)
    overlap = segment - hop
    rise = torch.arange(1, segment + 1)
    return torch.minimum(rise, rise.flip(0)).clamp(max=overlap + 1) / (overlap + 1)


class OverlapAdd:
    """:func:`overlap_add` for segments that come one by one; holds one segment, whatever the length.

    Args:
        segment: samples of a segment.
        hop: samples between the starts of two segments.
        window: positive weights ``[segment]``; :func:`crossfade` unless given.
    Raises:
        ValueError: not ``1 <= hop <= segment``, or a window that is not ``[segment]``.

    >>> x = torch.randn(1001)
    >>> stream = OverlapAdd(256, 100)
    >>> blocks = [stream.push(frame) for frame in split(x, 256, 100)]
    >>> [len(block) for block in blocks][:3]
    [0, 100, 100]
    >>> torch.allclose(torch.cat([*blocks, stream.flush(1001)]), x, atol=1e-6)
    True
    """

    def __init__(self, segment: int, hop: int, window: Tensor | None = None) -> None:
        _check(segment, hop)
        self.segment, self.hop = segment, hop
        self.window = crossfade(segment, hop) if window is None else window
        if self.window.shape != (segment,):
            raise ValueError(f"expected a window of shape [{segment}], got {list(self.window.shape)}")
        self._frames = 0
        self._sum = self._weight = torch.zeros(0)  # of the last segment's samples, [..., segment] and [segment]

    def push(self, frame: Tensor) -> Tensor:
        """Lay the next segment; returns the samples before it, which no later segment reaches.

        Shape: ``[..., segment]`` to ``[..., hop]``, for the first segment to ``[..., 0]``.
        Raises:
            ValueError: a segment of another length.
        """
        if frame.shape[-1] != self.segment:
            raise ValueError(f"expected a segment of {self.segment} samples, got {list(frame.shape)}")
        window = self.window.to(frame)
        if self._frames == 0:
            self._sum, self._weight = torch.zeros_like(frame), torch.zeros_like(window)
        final = self.hop if self._frames else 0
        block = self._sum[..., :final] / self._weight[:final]
        self._sum = F.pad(self._sum[..., final:], (0, final)) + frame * window
        self._weight = F.pad(self._weight[final:], (0, final)) + window
        self._frames += 1
        return block

    def flush(self, length: int) -> Tensor:
        """The rest of a waveform of ``length`` samples; afterwards a new one may begin.

        Shape: returns ``[..., length - hop * (segments pushed - 1)]``.
        Raises:
            ValueError: nothing was pushed, or a ``length`` that ends elsewhere than in the last segment.
        """
        done = self.hop * (self._frames - 1)
        if self._frames == 0 or not done < length <= done + self.segment:
            expected = f"{done + 1} to {done + self.segment} samples" if self._frames else "a segment first"
            raise ValueError(f"expected {expected} after {self._frames} segments, got a length of {length}")
        rest = self._sum[..., : length - done] / self._weight[: length - done]
        self._frames, self._sum, self._weight = 0, torch.zeros(0), torch.zeros(0)
        return rest


def _check(segment: int, hop: int) -> None:
    if not 1 <= hop <= segment:
        raise ValueError(f"expected 1 <= hop <= segment, got a hop of {hop} and a segment of {segment} samples")
