"""The Fourier transform of a sound that comes piece by piece, and its inverse: the frames of :mod:`gansep.dsp.stft`.

::

    zeros | n_fft / 2 |----------- wave ----------->
          [      frame 0      ]
          |-hop-[      frame 1      ]           <- out as soon as its last sample is in
          |-hop-|-hop-[      frame 2      ]     <- once it is laid, what lies before its successor is final

A sample is final when every frame that reaches it is there, that is, when the ``n_fft - 1`` samples after it are.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


class StreamingStft:
    """:func:`gansep.dsp.stft.stft` of a wave in pieces; holds less than a frame between them.

    Args:
        n_fft: window and transform size, in samples.
        hop: samples between frames.
    Raises:
        ValueError: an odd ``n_fft``, or not ``1 <= hop <= n_fft / 2``.

    >>> stream = StreamingStft(512, 128)
    >>> [stream.push(torch.zeros(2, size)).shape[-1] for size in (255, 1, 300)]
    [0, 1, 2]
    >>> stream.finish().shape
    torch.Size([2, 257, 2])
    """

    def __init__(self, n_fft: int, hop: int) -> None:
        _check(n_fft, hop)
        self.n_fft, self.hop = n_fft, hop
        self._samples = 0
        self._rest = torch.zeros(0, 0)  # from the next frame's start on, [C, less than n_fft]

    def push(self, wave: Tensor) -> Tensor:
        """Frames that are complete with these samples.

        Shape: ``[C, n]``, ``n`` from 0 up, to ``[C, F, m]``.
        """
        if not self._samples:
            self._rest = wave.new_zeros(len(wave), self.n_fft // 2)
        self._samples += wave.shape[-1]
        return self._frames(wave)

    def finish(self) -> Tensor:
        """The last frames, with zeros after the end; afterwards a new wave may begin.

        Shape: returns ``[C, F, m]``.
        Raises:
            ValueError: not one sample was pushed.
        """
        if not self._samples:
            raise ValueError("finish needs at least one sample pushed, got none")
        last = self._frames(self._rest.new_zeros(len(self._rest), self.n_fft // 2))
        self._samples, self._rest = 0, torch.zeros(0, 0)
        return last

    def _frames(self, wave: Tensor) -> Tensor:
        wave = torch.cat([self._rest, wave], -1)
        count = max(0, (wave.shape[-1] - self.n_fft) // self.hop + 1)
        self._rest = wave[:, count * self.hop :].clone()
        if not count:
            bins = self.n_fft // 2 + 1
            return torch.zeros(len(wave), bins, 0, dtype=wave.dtype.to_complex(), device=wave.device)
        window = torch.hann_window(self.n_fft, device=wave.device, dtype=wave.dtype)
        return torch.stft(wave, self.n_fft, self.hop, window=window, center=False, return_complex=True)


class StreamingIstft:
    """:func:`gansep.dsp.stft.istft` of a spectrogram in pieces; holds less than a frame between them.

    Args:
        n_fft: window and transform size, in samples.
        hop: samples between frames.
    Raises:
        ValueError: an odd ``n_fft``, or not ``1 <= hop <= n_fft / 2``.

    >>> forth, back = StreamingStft(512, 128), StreamingIstft(512, 128)
    >>> x = torch.randn(2, 5000)
    >>> pieces = [back.push(forth.push(piece)) for piece in x.split(700, -1)]
    >>> pieces += [back.push(forth.finish()), back.finish(5000)]
    >>> torch.allclose(torch.cat(pieces, -1), x, atol=1e-5)
    True
    """

    def __init__(self, n_fft: int, hop: int) -> None:
        _check(n_fft, hop)
        self.n_fft, self.hop = n_fft, hop
        self._frames = 0
        self._sum = self._weight = torch.zeros(0, 0)  # of the samples that later frames reach too, [C, n_fft - hop]

    def push(self, spectrum: Tensor) -> Tensor:
        """Samples that no later frame reaches.

        Shape: ``[C, F, m]``, ``m`` from 0 up, to ``[C, n]``.
        Raises:
            ValueError: another number of bins.
        """
        bins = self.n_fft // 2 + 1
        if spectrum.ndim != 3 or spectrum.shape[1] != bins:
            raise ValueError(f"expected a spectrum [C, {bins}, m], got {list(spectrum.shape)}")
        channels, _, count = spectrum.shape
        real = spectrum.real
        if not count:
            return real.new_zeros(channels, 0)
        shared = self.n_fft - self.hop
        if not self._frames:
            self._sum, self._weight = real.new_zeros(channels, shared), real.new_zeros(1, shared)
        window = torch.hann_window(self.n_fft, device=real.device, dtype=real.dtype)[:, None]
        frames = torch.fft.irfft(spectrum, self.n_fft, dim=1) * window  # [C, n_fft, m]
        final = count * self.hop
        total = F.pad(self._sum, (0, final)) + _lay(frames, self.hop)  # [C, final + shared]
        weight = F.pad(self._weight, (0, final)) + _lay(window.square().expand(1, -1, count), self.hop)
        drop = max(0, self.n_fft // 2 - self._frames * self.hop)  # the zeros before the start
        self._frames += count
        self._sum, self._weight = total[:, final:].clone(), weight[:, final:].clone()
        return total[:, drop:final] / weight[:, drop:final]

    def finish(self, length: int) -> Tensor:
        """The rest of a wave of ``length`` samples; afterwards a new one may begin.

        Shape: returns ``[C, length - samples returned so far]``.
        Raises:
            ValueError: no frame was pushed, or a ``length`` of more or fewer frames.
        """
        if not self._frames or length < 1 or length // self.hop + 1 != self._frames:
            first = (self._frames - 1) * self.hop
            expected = f"{max(1, first)} to {first + self.hop - 1} samples" if self._frames else "a frame first"
            raise ValueError(f"expected {expected} after {self._frames} frames, got a length of {length}")
        at = self._frames * self.hop - self.n_fft // 2  # of the first sample held
        held = slice(max(0, -at), length - at)
        rest = self._sum[:, held] / self._weight[:, held]
        self._frames, self._sum, self._weight = 0, torch.zeros(0, 0), torch.zeros(0, 0)
        return rest


def _lay(frames: Tensor, hop: int) -> Tensor:
    """Sum of frames that start every ``hop`` samples. Shape: ``[C, n_fft, m]`` to ``[C, n_fft + (m - 1) * hop]``."""
    size, count = frames.shape[1:]
    length = size + (count - 1) * hop
    return F.fold(frames, (1, length), (1, size), stride=(1, hop)).reshape(-1, length)


def _check(n_fft: int, hop: int) -> None:
    if n_fft < 2 or n_fft % 2 or not 1 <= hop <= n_fft // 2:
        raise ValueError(f"expected an even n_fft and a hop of at most half of it, got {n_fft} and {hop}")
