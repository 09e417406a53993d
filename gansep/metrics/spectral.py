"""Figures that leave out phase: magnitudes, Hilbert envelopes and log power spectra."""

from __future__ import annotations

import torch
from torch import Tensor

from gansep.dsp.stft import stft
from gansep.metrics.pairs import TINY, decibels, pair

FLOOR = 1e-8  # 80 dB under the reference's largest bin: what lies below is inaudible beside it, or rounding


def spectral_snr(estimate: Tensor, reference: Tensor) -> Tensor:
    r"""Signal-to-noise ratio of magnitudes, in dB: phases do not count, gains do.

    .. math:: 10 \log_{10} \frac{\sum S^2}{\sum (S - \hat S)^2}

    with :math:`S, \hat S` the magnitudes of centred Hann STFTs 256/128, summed over frequency and time.

    Args:
        estimate: samples to judge.
        reference: the true source; silent, the result is NaN.
    Shape: ``[..., T]`` and ``[..., T]`` to ``[...]``.
    Raises:
        ValueError: no samples, or shapes that do not broadcast.

    >>> x = torch.randn(1000)
    >>> round(spectral_snr(-0.9 * x, x).item(), 3)
    20.0
    """
    estimate, reference = pair(estimate, reference)
    ours, theirs = stft(estimate, 256, 128).abs(), stft(reference, 256, 128).abs()
    ratio = decibels(theirs.square().sum((-2, -1)), (theirs - ours).square().sum((-2, -1)))
    return ratio.masked_fill((reference == 0).all(-1), torch.nan)


def log_spectral_distance(estimate: Tensor, reference: Tensor) -> Tensor:
    r"""Mean over frames of the RMS over bins of the difference of log power spectra, in dB.

    .. math:: \frac{1}{N} \sum_n \sqrt{\frac{1}{F} \sum_f \left(10 \log_{10}
        \frac{\max(|X_{fn}|^2, c)}{\max(|\hat X_{fn}|^2, c)}\right)^2}, \quad c = 10^{-8} \max_{fn} |X_{fn}|^2

    with :math:`X, \hat X` the centred Hann STFTs 1024/256 of reference and estimate, edges padded with zeros. The floor
    ``c`` is 80 dB under the reference's largest bin and holds for both, so that silence in both counts as equal. After
    Gray and Markel (1976).

    Args:
        estimate: samples to judge.
        reference: the true source; silent, the result is NaN.
    Shape: ``[..., T]`` and ``[..., T]`` to ``[...]``.
    Raises:
        ValueError: no samples, or shapes that do not broadcast.

    >>> x = torch.randn(4000)
    >>> round(log_spectral_distance(-2 * x, x).item(), 3)
    6.021
    """
    estimate, reference = pair(estimate, reference)
    ours, theirs = (torch.view_as_real(stft(wave)).square().sum(-1) for wave in (estimate, reference))  # [..., F, N]
    floor = FLOOR * theirs.amax((-2, -1), keepdim=True) + TINY
    gap = 10 * (torch.maximum(ours, floor) / torch.maximum(theirs, floor)).log10()
    distance = torch.linalg.vector_norm(gap, dim=-2) / gap.shape[-2] ** 0.5  # its slope at 0 is 0, unlike a root's
    return distance.mean(-1).masked_fill((reference == 0).all(-1), torch.nan)


def envelope_distance(estimate: Tensor, reference: Tensor) -> Tensor:
    r"""RMS distance of Hilbert envelopes :math:`|x + i H(x)|`, in units of full scale.

    After Morgado et al. (2018).

    Args:
        estimate: samples to judge.
        reference: the true source; silent, the result is NaN.
    Shape: ``[..., T]`` and ``[..., T]`` to ``[...]``.
    Raises:
        ValueError: no samples, or shapes that do not broadcast.

    >>> t = torch.arange(1000) * 0.02 * torch.pi
    >>> round(envelope_distance(torch.cos(t), 0.5 * torch.sin(t)).item(), 6)
    0.5
    """
    estimate, reference = pair(estimate, reference)
    gap = _envelope(estimate) - _envelope(reference)
    distance = torch.linalg.vector_norm(gap, dim=-1) / gap.shape[-1] ** 0.5  # its slope at 0 is 0, unlike a root's
    return distance.masked_fill((reference == 0).all(-1), torch.nan)


def _envelope(wave: Tensor) -> Tensor:
    """Magnitude of the analytic signal, the one with no negative frequencies: ``[..., T]`` to ``[..., T]``."""
    length = wave.shape[-1]
    positive = torch.zeros(length, dtype=wave.dtype, device=wave.device)
    positive[0] = 1
    positive[1 : (length + 1) // 2] = 2
    if length % 2 == 0:
        positive[length // 2] = 1
    return torch.fft.ifft(torch.fft.fft(wave) * positive).abs()
