"""Log-mel spectrograms for pictures, in decibels relative to a full-scale tone."""

from __future__ import annotations

import torch
from torch import Tensor

from gansep.dsp.stft import stft


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
    import librosa  # slow to import, and only pictures need it

    bank = librosa.filters.mel(sr=sample_rate, n_fft=n_fft, n_mels=n_mels, norm=None)  # [n_mels, F]
    full_scale = n_fft * torch.hann_window(n_fft, dtype=torch.float64).square().sum().item() / 4
    power = stft(wave, n_fft, hop_length).abs().square() / full_scale  # [..., F, N]
    bands = torch.from_numpy(bank).to(power) @ power  # [..., n_mels, N]
    return 10 * bands.clamp(min=10 ** (floor_db / 10)).log10()
