"""How well a set of made sounds resembles real ones: density says how near they are, coverage how many they meet.

After Naeem, Oh, Uh, Choi and Yoo (2020). Around each real point lies a ball that reaches to its ``k``-th nearest other
real point. A ball is open, as in the authors' program, so that a set without ties has a density of 1 in itself, and a
real point with ``k`` copies of itself is never met. Points are what :func:`features` makes of sounds, or any others.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from gansep.dsp.mel import log_mel

BANDS, STRETCHES = 32, 8
FLOOR_DB = -60.0  # what lies below is inaudible beside a peak at full scale, or the hiss of a network
TINY = 1e-12  # peak taken for silence


def coverage(real: Tensor, made: Tensor, k: int = 5) -> float:
    r"""Share of real points with a made point in their ball, from 0 to 1.

    .. math:: \frac{1}{N} \sum_i \Big[\min_j \lVert x_i - y_j \rVert < r_k(x_i)\Big]

    Two sets of one distribution have :math:`1 - \prod_{j=1}^{k} \frac{N - j}{N + M - j}` in the mean, which is about
    0.97 for ``k = 5`` and sets of one size.

    Args:
        real: feature vectors ``x``. made: those to judge, ``y``.
        k: which neighbour a ball reaches to.
    Shape: ``[N, D]`` and ``[M, D]`` to a number.
    Raises:
        ValueError: shapes that do not fit, no made points, or ``k`` not from 1 to ``N - 1``.

    >>> real = torch.tensor([[0.0], [1.0], [10.0], [11.0]])
    >>> coverage(real, torch.tensor([[0.4], [0.5]]), k=1)
    0.5
    """
    return float(_inside(real, made, k).any(1).double().mean())


def density(real: Tensor, made: Tensor, k: int = 5) -> float:
    r"""How many balls a made point lies in, divided by ``k``: about 1 where both sets are alike, and it may exceed 1.

    .. math:: \frac{1}{k M} \sum_j \sum_i \big[\lVert x_i - y_j \rVert < r_k(x_i)\big]

    Args:
        real: feature vectors ``x``. made: those to judge, ``y``.
        k: which neighbour a ball reaches to.
    Shape: ``[N, D]`` and ``[M, D]`` to a number.
    Raises:
        ValueError: shapes that do not fit, no made points, or ``k`` not from 1 to ``N - 1``.

    >>> real = torch.tensor([[0.0], [1.0], [10.0], [11.0]])
    >>> density(real, torch.tensor([[0.5], [5.0]]), k=1)
    1.0
    """
    return float(_inside(real, made, k).sum(0).double().mean()) / k


def features(waves: Tensor, sample_rate: int) -> Tensor:
    """Where a sound has its power: a log-mel spectrogram of 32 bands, averaged over 8 stretches of time, in bels.

    Levels do not count: each sound is scaled to a peak of 1 first. What lies 60 dB below a full-scale tone counts as
    silence, of which a silent sound has nothing else.

    Args:
        waves: samples. sample_rate: in Hz.
    Shape: ``[B, T]`` to ``[B, 256]``.
    Raises:
        ValueError: another shape, or no samples.

    >>> features(torch.zeros(1, 16384), 16000).unique()
    tensor([-6.])
    """
    if waves.ndim != 2 or waves.shape[-1] == 0:
        raise ValueError(f"expected waves of shape [B, T] with T >= 1, got {list(waves.shape)}")
    levelled = waves / waves.abs().amax(-1, keepdim=True).clamp_min(TINY)
    bands = log_mel(levelled, sample_rate, n_mels=BANDS, floor_db=FLOOR_DB)  # [B, BANDS, N]
    return F.adaptive_avg_pool1d(bands, STRETCHES).flatten(1) / 10


def _inside(real: Tensor, made: Tensor, k: int) -> Tensor:
    """Which made points lie in which balls. Shape: ``[N, D]`` and ``[M, D]`` to ``[N, M]``, true or false."""
    if real.ndim != 2 or made.ndim != 2 or real.shape[1] != made.shape[1] or not len(made):
        shapes = f"{list(real.shape)} and {list(made.shape)}"
        raise ValueError(f"expected real and made points of shape [N, D] and [M, D] with M >= 1, got {shapes}")
    if not 1 <= k < len(real):
        raise ValueError(f"expected k from 1 to one less than the {len(real)} real points, got {k}")
    real, made = real.double(), made.double()
    between = _distances(real, real).fill_diagonal_(torch.inf)
    radius = between.kthvalue(k, 1, keepdim=True).values  # [N, 1]
    return _distances(real, made) < radius


def _distances(first: Tensor, second: Tensor) -> Tensor:
    """Euclidean, and exactly 0 for equal points, which a matrix product would not give."""
    return torch.cdist(first, second, compute_mode="donot_use_mm_for_euclid_dist")
