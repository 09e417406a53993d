"""The interval against its promised coverage, the test of a difference against trying all signs and known answers."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from gansep.metrics import bootstrap_interval, paired_difference


def test_interval_covers_the_mean_as_promised_and_single_draws_would_not() -> None:
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(30), 5)
    hits, naive_hits = 0, 0
    for trial in range(300):
        values = 3 + np.repeat(rng.normal(size=30), 5) + 0.3 * rng.normal(size=150)
        low, high = bootstrap_interval(values, groups, seed=trial, n=500, level=0.9)
        hits += low < 3 < high
        low, high = bootstrap_interval(values, np.arange(150), seed=trial, n=500, level=0.9)
        naive_hits += low < 3 < high
    assert 0.84 < hits / 300 < 0.95
    assert naive_hits / 300 < 0.7


def test_interval_of_uneven_groups_draws_groups() -> None:
    values, groups = [0.0] * 9 + [10.0], ["a"] * 9 + ["b"]
    assert bootstrap_interval(values, groups, seed=0) == (0, 10)  # draws aa, ab, bb: means 0, 1, 10
    assert bootstrap_interval([2.0, 2.0, 2.0], ["a", "b", "c"], seed=0) == (2, 2)


def test_interval_is_reproducible_and_widens_with_its_level() -> None:
    values, groups = np.arange(20.0), np.arange(20) // 2
    low, high = bootstrap_interval(values, groups, seed=1)
    assert (low, high) == bootstrap_interval(values, groups, seed=1)
    inner_low, inner_high = bootstrap_interval(values, groups, seed=1, level=0.5)
    assert low < inner_low < values.mean() < inner_high < high


def test_interval_leaves_out_nan_and_knows_when_it_knows_nothing() -> None:
    with_nan = bootstrap_interval([1.0, np.nan, 3.0, 5.0], ["a", "a", "b", "c"], seed=0)
    assert with_nan == bootstrap_interval([1.0, 3.0, 5.0], ["a", "b", "c"], seed=0)
    for values, groups in (([], []), ([1.0, 2.0], ["a", "a"]), ([1.0, np.nan], ["a", "b"])):
        assert np.isnan(bootstrap_interval(values, groups, seed=0)).all()


def test_difference_flips_whole_groups() -> None:
    rng = np.random.default_rng(0)
    values, other, groups = rng.normal(size=14) + 0.5, rng.normal(size=14), np.arange(14) // 2
    gaps = values - other
    totals = [abs(np.dot(np.repeat(signs, 2), gaps)) for signs in product((1, -1), repeat=7)]
    expected = np.mean([total >= abs(gaps.sum()) - 1e-12 for total in totals])
    mean, low, high, p = paired_difference(values, other, groups, seed=0)
    assert mean == pytest.approx(gaps.mean())
    assert (low, high) == bootstrap_interval(gaps, groups, seed=0)
    assert p == expected
    assert paired_difference(other, values, groups, seed=0)[3] == p


def test_random_flips_come_near_to_all() -> None:
    rng = np.random.default_rng(1)
    gaps = rng.normal(size=13) + 0.1
    *_, p = paired_difference(gaps, np.zeros(13), np.arange(13), seed=0)
    signs = np.array(list(product((1, -1), repeat=13)))
    expected = np.mean(np.abs(signs @ gaps) >= abs(gaps.sum()) - 1e-12)
    assert 0.02 < expected < 0.9
    assert p == pytest.approx(expected, abs=0.02)
    assert p == paired_difference(gaps, np.zeros(13), np.arange(13), seed=0)[3]
    *_, least = paired_difference(np.ones(30), np.zeros(30), np.arange(30), seed=0)
    assert least == 1 / 10001


@pytest.mark.parametrize("count", [8, 20])
def test_p_is_uniform_where_the_methods_are_alike(count: int) -> None:
    rng = np.random.default_rng(2)
    groups = np.repeat(np.arange(count), 3)
    trials = 300 if count == 8 else 100
    draws = [np.repeat(rng.normal(size=count), 3) + 0.3 * rng.normal(size=3 * count) for _ in range(trials)]
    below = np.mean([paired_difference(gaps, 0 * gaps, groups, seed=0)[3] <= 0.2 for gaps in draws])
    assert below == pytest.approx(0.2, abs=0.1)


def test_difference_leaves_out_nan_pairs_and_knows_when_it_knows_nothing() -> None:
    whole = paired_difference([1.0, 3.0, 5.0], [0.0, 1.0, 2.0], ["a", "b", "c"], seed=0)
    holes = paired_difference([1.0, np.nan, 3.0, 7.0, 5.0], [0, 1, 1, np.nan, 2], ["a", "a", "b", "d", "c"], seed=0)
    assert whole == holes
    assert paired_difference([2.0, 2.0], [2.0, 2.0], ["a", "b"], seed=0) == (0, 0, 0, 1)
    for values, groups in (([], []), ([1.0, 2.0], ["a", "a"]), ([1.0, np.nan], ["a", "b"])):
        assert np.isnan(paired_difference(values, values, groups, seed=0)).all()


def test_refusals_name_what_was_expected() -> None:
    with pytest.raises(ValueError, match=r"\(2,\) and \(3,\)"):
        bootstrap_interval([1, 2], ["a", "b", "c"], seed=0)
    with pytest.raises(ValueError, match=r"level between 0 and 1, got 95"):
        bootstrap_interval([1, 2], ["a", "b"], seed=0, level=95)
    with pytest.raises(ValueError, match=r"\(2,\), \(3,\) and \(2,\)"):
        paired_difference([1, 2], [1, 2, 3], ["a", "b"], seed=0)
