"""Mel bands of spectra and back, and log-mel spectrograms for pictures, in decibels relative to a full-scale tone."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from gansep.dsp.stft import stft


@cache
def mel_bank(sample_rate: int, n_fft: int, n_mels: int) -> Tensor:
    """Weights of mel bands: librosa's (Slaney's scale, half overlapping triangles), a peak of 1 each.

    Shape: returns ``[n_mels, F]``.
    """
    import librosa  # slow to import, and only some need it

    return torch.from_numpy(librosa.filters.mel(sr=sample_rate, n_fft=n_fft, n_mels=n_mels, norm=None))


def mel(magnitude: Tensor, sample_rate: int, n_mels: int) -> Tensor:
    """Root of the mean power in each mel band. Shape: ``[..., F, N]`` to ``[..., n_mels, N]``."""
    bank = mel_bank(sample_rate, 2 * (magnitude.shape[-2] - 1), n_mels).to(magnitude)
    return ((bank / bank.sum(1, keepdim=True).clamp_min(1e-9)) @ magnitude.square()).sqrt()


def unmel(bands: Tensor, sample_rate: int, n_fft: int) -> Tensor:
    """Smooth magnitudes with about these mel bands: at each frequency the mean of the bands that hear it.

    Shape: ``[..., n_mels, N]`` to ``[..., F, N]``.

    >>> level = torch.full((1, 40, 3), 0.5)
    >>> torch.testing.assert_close(mel(unmel(level, 16000, 512), 16000, 40), level)
    """
    bank = mel_bank(sample_rate, n_fft, bands.shape[-2]).to(bands)
    shares = bank / bank.sum(0, keepdim=True).clamp_min(1e-9)  # [n_mels, F]
    return shares.mT @ bands


def log_mel(
    wave: Tensor,
    sample_rate: int,
    n_fft: int = 1024,
    hop_length: int = 256,
    n_mels: int = 80,
    floor_db: float = -80.0,
) -> Tensor:
    """Power in mel bands, in dB: a sine of amplitude 1 that falls within one band has 0 dB.

    Bands are librosa's (Slaney's scale, half overlapping triangles) with a peak of 1, so that the bands of one frame
    sum to its power, which Parseval gives as ``4 sum |X|^2 / (n_fft sum window^2)`` over the bins.

    Args:
        wave: samples, full scale is 1.
        sample_rate: in Hz.
        n_fft: window and transform size, in samples.
        hop_length: samples between frames.
        n_mels: bands between 0 Hz and half the sample rate.
        floor_db: what is weaker, down to silence, gets this value.
    Shape: ``[..., T]`` to ``[..., n_mels, N]``, ``N = T // hop_length + 1``.
    Raises:
        ValueError: no samples along the last axis.

    >>> log_mel(torch.zeros(2, 4096), 16000).shape
    torch.Size([2, 80, 17])
    """
    bank = mel_bank(sample_rate, n_fft, n_mels)
    full_scale = n_fft * torch.hann_window(n_fft, dtype=torch.float64).square().sum().item() / 4
    power = stft(wave, n_fft, hop_length).abs().square() / full_scale  # [..., F, N]
    bands = bank.to(power) @ power  # [..., n_mels, N]
    return 10 * bands.clamp(min=10 ** (floor_db / 10)).log10()
