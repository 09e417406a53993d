"""Scale-invariant signal-to-distortion ratio of waveforms, and what it gains over the mixture."""

from __future__ import annotations

import torch
from torch import Tensor

from gansep.metrics.pairs import decibels, pair

CONSTANT = 1e-20  # share of a wave's energy that rounding leaves when the mean of a constant one is removed


def si_sdr(estimate: Tensor, reference: Tensor) -> Tensor:
    r"""Scale-invariant signal-to-distortion ratio of waveforms with their means removed, in dB.

    .. math:: 10 \log_{10} \frac{\|\alpha s\|^2}{\|\alpha s - \hat s\|^2}, \quad \alpha = \hat s^T s / \|s\|^2

    after Le Roux et al. (2019).

    Args:
        estimate: samples to judge, of any gain.
        reference: the true source; silent or constant, the result is NaN.
    Shape: ``[..., T]`` and ``[..., T]`` to ``[...]``.
    Raises:
        ValueError: no samples, or shapes that do not broadcast.

    >>> t = torch.arange(1000) * 0.1
    >>> round(si_sdr(torch.sin(t) + 0.1 * torch.cos(t), 5 * torch.sin(t)).item())
    20
    """
    estimate, reference = pair(estimate, reference)
    energy = reference.square().sum(-1)
    estimate, reference = (wave - wave.mean(-1, keepdim=True) for wave in (estimate, reference))
    power = reference.square().sum(-1)
    flat = power <= CONSTANT * energy
    gain = (estimate * reference).sum(-1) / power.masked_fill(flat, 1)
    target = gain[..., None] * reference
    return decibels(target.square().sum(-1), (target - estimate).square().sum(-1)).masked_fill(flat, torch.nan)


def si_sdr_improvement(estimate: Tensor, reference: Tensor, mixture: Tensor) -> Tensor:
    """What ``estimate`` gains over taking ``mixture`` itself for the source: a difference of :func:`si_sdr`, in dB.

    Args:
        estimate: samples to judge.
        reference: the true source; silent or constant, the result is NaN.
        mixture: what was separated.
    Shape: three times ``[..., T]`` to ``[...]``.
    Raises:
        ValueError: no samples, or shapes that do not broadcast.

    >>> x, y = torch.randn(2, 1000)
    >>> si_sdr_improvement(x + y, x, x + y).item()
    0.0
    """
    return si_sdr(estimate, reference) - si_sdr(mixture, reference)
