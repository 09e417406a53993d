"""Short-time Fourier transform and its inverse, an exact round trip for every length.

Both use a periodic Hann window and centred frames (reflection would need more samples than a very short
clip has, so the edges are padded with zeros). Dividing by the summed squared windows makes ``istft`` the
least-squares inverse (Griffin and Lim, 1984), exact wherever at least one window is not zero.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor


def stft(wave: Tensor, n_fft: int = 1024, hop_length: int | None = None) -> Tensor:
    """Complex spectrogram of ``wave``.

    Args:
        wave: real samples.
        n_fft: window and transform size, in samples.
        hop_length: samples between frames; a quarter of ``n_fft`` unless given.
    Shape: ``[..., T]`` to ``[..., F, N]``, ``F = n_fft // 2 + 1``, ``N = T // hop_length + 1``.
    Raises:
        ValueError: no samples along the last axis.

    >>> stft(torch.zeros(2, 4096), 512).shape
    torch.Size([2, 257, 33])
    """
    if wave.shape[-1] == 0:
        raise ValueError("stft needs at least one sample, got an empty last axis")
    hop_length = hop_length or n_fft // 4
    flat = wave.reshape(-1, wave.shape[-1])  # [B, T]
    window = torch.hann_window(n_fft, device=wave.device, dtype=wave.dtype)
    spec = torch.stft(flat, n_fft, hop_length, window=window, center=True, pad_mode="constant", return_complex=True)
    return spec.reshape(*wave.shape[:-1], *spec.shape[-2:])


def istft(spec: Tensor, length: int, n_fft: int = 1024, hop_length: int | None = None) -> Tensor:
    """Samples of a spectrogram made by :func:`stft` with the same settings.

    Args:
        spec: complex spectrogram.
        length: samples to return; ``stft`` does not keep it.
        n_fft: window and transform size, in samples.
        hop_length: samples between frames; a quarter of ``n_fft`` unless given.
    Shape: ``[..., F, N]`` to ``[..., length]``.

    >>> x = torch.randn(3, 5000)
    >>> bool((istft(stft(x), 5000) - x).abs().max() < 1e-5)
    True
    """
    hop_length = hop_length or n_fft // 4
    flat = spec.reshape(-1, *spec.shape[-2:])  # [B, F, N]
    window = torch.hann_window(n_fft, device=spec.device, dtype=spec.real.dtype)
    # T // hop + 1 frames end up to half a window short of the last samples' normalisation only when hop > n_fft / 2.
    wave = torch.istft(flat, n_fft, hop_length, window=window, center=True, length=length)
    return wave.reshape(*spec.shape[:-2], length)


def change_spectrum(wave: Tensor, change: Callable[[Tensor], Tensor], n_fft: int, hop_length: int) -> Tensor:
    """A wave by way of its spectrogram, sure to its last sample also at a hop of half a window.

    There the last samples of a length that is no multiple of the hop would be at the faint edge of one window only,
    where a changed spectrogram has clicks; the wave is filled up with silence, and cut again.

    Args:
        change: spectrogram to one or several. n_fft, hop_length: as for :func:`stft`.
    Shape: ``[B, T]``, which ``change`` sees as ``[B, F, N]``, to ``[..., T]`` for its ``[..., F, N]``.
    """
    length = wave.shape[-1]
    whole = F.pad(wave, (0, -length % hop_length))
    return istft(change(stft(whole, n_fft, hop_length)), whole.shape[-1], n_fft, hop_length)[..., :length]
