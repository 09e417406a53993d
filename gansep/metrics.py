r"""How well an estimate matches its reference, and how sure a mean of such figures is.

Conventions
-----------
* Arguments are ``(estimate, reference)``, samples along the last axis; leading axes broadcast, and each example
  gets its own figure.
* Everything is computed and returned in float64, and is differentiable (MPS has no float64: move waves to the CPU).
* A silent reference (a constant one too, where means are removed) gives NaN: there is nothing to find, and no
  figure would be comparable. It never raises.
* A perfect estimate gives about 156 dB, the precision of float64, and a silent one 0 dB: the error is then the
  reference itself (as in torchmetrics). So every figure but that of a silent reference is finite and can be averaged.

Metrics
-------
* :func:`si_sdr`, :func:`si_sdr_improvement`: scale-invariant signal-to-distortion ratio [#roux]_, dB, higher is better.
* :func:`spectral_snr`: signal-to-noise ratio of STFT magnitudes [#narayanaswamy]_, dB, higher is better.
* :func:`envelope_distance`: RMS distance of Hilbert envelopes [#morgado]_, in units of full scale, lower is better.
* :func:`best_permutation`: which estimate belongs to which reference, for methods without names.
* :func:`bootstrap_interval`: interval of a mean over groups of figures that resemble each other [#efron]_.

References
----------
.. [#roux] J. Le Roux, S. Wisdom, H. Erdogan and J. R. Hershey, "SDR - Half-baked or Well Done?", ICASSP 2019.
.. [#narayanaswamy] V. Narayanaswamy, J. J. Thiagarajan, R. Anirudh and A. Spanias, "Unsupervised Audio Source
   Separation using Generative Priors", Interspeech 2020.
.. [#morgado] P. Morgado, N. Vasconcelos, T. Langlois and O. Wang, "Self-Supervised Generation of Spatial Audio for
   360 Video", NeurIPS 2018.
.. [#efron] B. Efron and R. J. Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13 (percentile interval).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from gansep.dsp.stft import stft

PRECISION = torch.finfo(torch.float64).eps  # of a power ratio: no more than 156.5 dB
TINY = 1e-300  # keeps 0 / 0 at 1, that is 0 dB
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
    estimate, reference = _pair(estimate, reference)
    energy = reference.square().sum(-1)
    estimate, reference = (wave - wave.mean(-1, keepdim=True) for wave in (estimate, reference))
    power = reference.square().sum(-1)
    silent = power <= CONSTANT * energy
    gain = (estimate * reference).sum(-1) / power.masked_fill(silent, 1)
    target = gain[..., None] * reference
    return _decibels(target.square().sum(-1), (target - estimate).square().sum(-1)).masked_fill(silent, torch.nan)


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
    estimate, reference = _pair(estimate, reference)
    ours, theirs = stft(estimate, 256, 128).abs(), stft(reference, 256, 128).abs()
    ratio = _decibels(theirs.square().sum((-2, -1)), (theirs - ours).square().sum((-2, -1)))
    return ratio.masked_fill((reference == 0).all(-1), torch.nan)


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
    estimate, reference = _pair(estimate, reference)
    gap = _envelope(estimate) - _envelope(reference)
    distance = torch.linalg.vector_norm(gap, dim=-1) / gap.shape[-1] ** 0.5  # its slope at 0 is 0, unlike a root's
    return distance.masked_fill((reference == 0).all(-1), torch.nan)


def best_permutation(
    estimates: Tensor, references: Tensor, metric: Callable[[Tensor, Tensor], Tensor] = si_sdr
) -> Tensor:
    """Indices that put ``estimates`` into the order of ``references`` with the greatest sum of ``metric``.

    A reference for which the metric is NaN (a silent one) takes the estimate that the others leave.

    Args:
        estimates: as many as references, in any order.
        references: the true sources.
        metric: a figure that is higher for the better, of ``[..., T]`` and ``[..., T]`` that broadcast.
    Shape: ``[S, T]`` and ``[S, T]`` to ``[S]``, for ``estimates[indices]``.
    Raises:
        ValueError: shapes that differ or are not ``[S, T]``.

    >>> x = torch.randn(3, 1000)
    >>> best_permutation(x[[2, 0, 1]], x)
    tensor([1, 2, 0])
    """
    from scipy.optimize import linear_sum_assignment  # slow to import

    if estimates.ndim != 2 or estimates.shape != references.shape:
        shapes = f"{list(estimates.shape)} and {list(references.shape)}"
        raise ValueError(f"expected estimates and references of one shape [S, T], got {shapes}")
    with torch.no_grad():
        scores = metric(estimates[None], references[:, None])  # [references, estimates]
    _, order = linear_sum_assignment(np.nan_to_num(scores.cpu().numpy()), maximize=True)
    return torch.from_numpy(order).to(estimates.device)


def bootstrap_interval(
    values: ArrayLike, groups: Sequence[object] | np.ndarray, seed: int, n: int = 2000, level: float = 0.95
) -> tuple[float, float]:
    """Percentile interval of the mean of ``values`` when whole groups, not single values, were drawn at random.

    Mixtures of one speaker, kit or piece resemble each other; drawing them one by one would promise too much. Values
    that are NaN (silent references) are left out. One group says nothing about others, and gives NaN.

    Args:
        values: figures, ``[V]``.
        groups: the group of each, any hashable labels that sort, ``[V]``.
        seed: of the draws; the same seed gives the same interval.
        n: draws.
        level: share of intervals that hold the true mean, were the experiment repeated.
    Raises:
        ValueError: lengths that differ, or a ``level`` outside 0 to 1.

    >>> low, high = bootstrap_interval([1.0, 1.2, 5.0, 5.2], ["ann", "ann", "bob", "bob"], seed=0)
    >>> round(low, 6), round(high, 6)
    (1.1, 5.1)
    """
    figures, labels = np.asarray(values, dtype=np.float64), np.asarray(groups)
    if figures.ndim != 1 or labels.shape != figures.shape:
        raise ValueError(f"expected values and groups of one shape [V], got {figures.shape} and {labels.shape}")
    if not 0 < level < 1:
        raise ValueError(f"expected a level between 0 and 1, got {level}")
    known = ~np.isnan(figures)
    figures = figures[known]
    names, member = np.unique(labels[known], return_inverse=True)
    if len(names) < 2:
        return float("nan"), float("nan")
    sums, counts = np.bincount(member, figures), np.bincount(member)
    draws = np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)), size=n)
    means = (draws @ sums) / (draws @ counts)  # [n, groups] -> [n]
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _pair(estimate: Tensor, reference: Tensor) -> tuple[Tensor, Tensor]:
    """Both in float64 and of one shape."""
    shapes = f"{list(estimate.shape)} and {list(reference.shape)}"
    if not estimate.ndim or not reference.ndim or not 0 < estimate.shape[-1] == reference.shape[-1]:
        raise ValueError(f"expected an estimate and a reference of shape [..., T] with one T >= 1, got {shapes}")
    try:
        estimate, reference = torch.broadcast_tensors(estimate.double(), reference.double())
    except RuntimeError:
        raise ValueError(f"expected shapes [..., T] whose leading axes broadcast, got {shapes}") from None
    return estimate, reference


def _decibels(signal: Tensor, error: Tensor) -> Tensor:
    """``10 log10(signal / error)`` of energies, held within the precision of float64."""
    floor = PRECISION * (signal + error) + TINY
    return 10 * ((signal + floor) / (error + floor)).log10()


def _envelope(wave: Tensor) -> Tensor:
    """Magnitude of the analytic signal, the one with no negative frequencies: ``[..., T]`` to ``[..., T]``."""
    length = wave.shape[-1]
    positive = torch.zeros(length, dtype=wave.dtype, device=wave.device)
    positive[0] = 1
    positive[1 : (length + 1) // 2] = 2
    if length % 2 == 0:
        positive[length // 2] = 1
    return torch.fft.ifft(torch.fft.fft(wave) * positive).abs()
