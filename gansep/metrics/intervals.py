"""How sure a mean is, and how sure a difference of two, when figures come in groups that resemble each other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

EXACT = 12  # groups up to which all 2 ** groups assignments of signs are tried
FLIPS = 10_000  # random ones beyond
ROUNDING = 1e-12  # share of a sum by which two orders of adding it may differ


def bootstrap_interval(
    values: ArrayLike, groups: Sequence[object] | np.ndarray, seed: int, n: int = 2000, level: float = 0.95
) -> tuple[float, float]:
    """Percentile interval of the mean of ``values`` when whole groups, not single values, were drawn at random.

    Mixtures of one speaker, kit or piece resemble each other; drawing them one by one would promise too much. Values
    that are NaN (silent references) are left out. One group says nothing about others, and gives NaN. After Efron and
    Tibshirani (1993), chapter 13.

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
    sums, counts = _by_group(figures, labels)
    if len(sums) < 2:
        return float("nan"), float("nan")
    draws = np.random.default_rng(seed).multinomial(len(sums), np.full(len(sums), 1 / len(sums)), size=n)
    means = (draws @ sums) / (draws @ counts)  # [n, groups] -> [n]
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def paired_difference(
    values: ArrayLike, other: ArrayLike, groups: Sequence[object] | np.ndarray, seed: int
) -> tuple[float, float, float, float]:
    """By how much two methods differ on the same mixtures, and whether chance explains it.

    The interval is :func:`bootstrap_interval` of the differences, 95 %. The p-value is of the two-sided randomisation
    test of Fisher (1935): were the methods alike, each group's differences could as well have the other sign. All
    assignments of signs are tried for up to 12 groups; beyond, 10000 random ones give ``(count + 1) / (10000 + 1)``.

    Args:
        values: figures of one method, ``[V]``.
        other: figures of the other for the same mixtures, ``[V]``. Pairs with a NaN are left out.
        groups: the group of each mixture, any hashable labels that sort, ``[V]``.
        seed: of the draws.
    Returns:
        Mean of ``values - other``, the interval's ends, and p; four times NaN for fewer than two groups.
    Raises:
        ValueError: lengths that differ.

    >>> mean, low, high, p = paired_difference([3.0, 4.0, 5.0, 6.0], [1.0, 2.0, 4.0, 5.0], list("abcd"), seed=0)
    >>> mean, p
    (1.5, 0.125)
    """
    ours, theirs, labels = np.asarray(values, dtype=np.float64), np.asarray(other, dtype=np.float64), np.asarray(groups)
    if ours.ndim != 1 or not ours.shape == theirs.shape == labels.shape:
        shapes = f"{ours.shape}, {theirs.shape} and {labels.shape}"
        raise ValueError(f"expected values, other and groups of one shape [V], got {shapes}")
    gaps = ours - theirs
    sums, counts = _by_group(gaps, labels)
    if len(sums) < 2:
        return float("nan"), float("nan"), float("nan"), float("nan")
    low, high = bootstrap_interval(gaps, labels, seed)
    return float(sums.sum() / counts.sum()), low, high, _sign_flips(sums, seed)


def _by_group(figures: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sum and number of the figures of each group, NaN left out."""
    known = ~np.isnan(figures)
    _, member = np.unique(labels[known], return_inverse=True)
    return np.bincount(member, figures[known]), np.bincount(member)


def _sign_flips(sums: np.ndarray, seed: int) -> float:
    """Share of sign assignments to ``[groups]`` sums whose total is as far from 0 as theirs."""
    exact = len(sums) <= EXACT
    if exact:
        flips = (np.arange(2 ** len(sums))[:, None] >> np.arange(len(sums))) & 1
    else:
        flips = np.random.default_rng([seed, 1]).integers(0, 2, size=(FLIPS, len(sums)))
    bound = abs(sums.sum()) - ROUNDING * np.abs(sums).sum()
    count = int((np.abs((1 - 2 * flips) @ sums) >= bound).sum())
    return count / len(flips) if exact else (count + 1) / (len(flips) + 1)
