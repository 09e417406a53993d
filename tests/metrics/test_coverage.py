"""Coverage and density against scikit-learn's neighbours and known answers; what the features of sounds hear."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from gansep.metrics.coverage import coverage, density, features


def points(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def by_neighbours(real: np.ndarray, made: np.ndarray, k: int) -> tuple[float, float]:
    """Coverage and density as the article has them, with another search for neighbours."""
    radius = NearestNeighbors(n_neighbors=k).fit(real).kneighbors()[0][:, -1]  # without points: not oneself
    nearest = NearestNeighbors(n_neighbors=1).fit(made).kneighbors(real)[0][:, 0]
    finder = NearestNeighbors().fit(made)
    held = [
        len(finder.radius_neighbors(x[None], r, return_distance=False)[0]) for x, r in zip(real, radius, strict=True)
    ]
    return float(np.mean(nearest < radius)), sum(held) / (k * len(made))


@pytest.mark.parametrize("k", [1, 2, 5, 39])
def test_both_are_those_of_other_neighbours(k: int) -> None:
    real, made = points(40, 3), 0.7 * points(60, 3, seed=1) + 0.5
    expected = by_neighbours(real.numpy(), made.numpy(), k)
    assert (coverage(real, made, k), density(real, made, k)) == pytest.approx(expected, abs=1e-12)
    assert expected[1] > 0


def test_known_answers_on_a_line() -> None:
    real = torch.tensor([[0.0], [1.0], [3.0], [7.0]])  # radii 1, 1, 2, 4 for k = 1 and 3, 2, 3, 6 for k = 2
    made = torch.tensor([[0.5], [2.0], [9.0]])
    # k = 1: 0.5 lies in the balls of 0 and 1; 2 in that of 3 (1 and 7 end at it, or before); 9 in that of 7.
    assert coverage(real, made, k=1) == 1
    assert density(real, made, k=1) == pytest.approx(4 / 3)
    # k = 2: 0.5 in those of 0, 1 and 3; 2 in all four; 9 in that of 7.
    assert coverage(real, made, k=2) == 1
    assert density(real, made, k=2) == pytest.approx(8 / 6)
    assert coverage(real, made[2:], k=1) == 0.25
    assert density(real, made[2:], k=2) == 0.5


def test_balls_are_open() -> None:
    real = torch.tensor([[0.0], [1.0], [10.0], [11.0]])
    assert coverage(real, torch.tensor([[2.0]]), k=1) == 0  # at the end of the ball of 1
    assert coverage(real, torch.tensor([[1.999]]), k=1) == 0.25
    copies = (1000 + points(3, 7)).repeat(6, 1)  # far from 0, where distances by products round
    assert coverage(copies, copies, k=5) == density(copies, copies, k=5) == 0  # balls of no size
    assert coverage(copies, copies, k=6) == 1


@pytest.mark.parametrize("k", [1, 5])
def test_a_set_covers_itself_with_density_one(k: int) -> None:
    real = 1000 + points(50, 4)
    assert coverage(real, real, k) == 1
    assert density(real, real, k) == pytest.approx(1)
    assert coverage(real.float(), real.float(), k) == 1


def test_sets_far_apart_have_neither() -> None:
    real, made = points(50, 4), points(30, 4, seed=1) + 100
    assert coverage(real, made) == density(real, made) == 0


def test_half_of_the_modes_are_half_of_the_coverage_at_full_density() -> None:
    modes = torch.arange(4).repeat_interleave(50)[:, None] * 100.0
    real, again = modes + points(200, 2), modes + points(200, 2, seed=1)
    assert coverage(real, again) > 0.9
    assert coverage(real, again[:100]) == pytest.approx(coverage(real, again) / 2, abs=0.03)
    assert density(real, again[:100]) == pytest.approx(1, abs=0.15)
    one = modes[:1] + 0.01 * points(200, 2, seed=2)  # the middle of one mode, over and over
    assert coverage(real, one) < 0.2
    assert density(real, one) == pytest.approx(1, abs=0.3)


@pytest.mark.parametrize(("count", "k"), [(60, 5), (20, 2)])
def test_coverage_of_one_distribution_is_its_expectation(count: int, k: int) -> None:
    found = [coverage(points(60, 8, seed=2 * i), points(count, 8, seed=2 * i + 1), k) for i in range(100)]
    missed = np.prod([(60 - j) / (60 + count - j) for j in range(1, k + 1)])
    assert np.mean(found) == pytest.approx(1 - missed, abs=0.015)


def test_features_are_means_of_bands_in_bels() -> None:
    time = torch.arange(16384) / 16000
    tone = torch.sin(2 * torch.pi * 1000 * time)
    late = torch.where(torch.arange(16384) < 8192, 0, tone)
    found = features(torch.stack([tone, late]), 16000).unflatten(1, (32, 8))  # [2, bands, stretches]
    assert found.shape == (2, 32, 8)
    loud = found[0].amax(0)
    assert loud.tolist()[1:-1] == pytest.approx([0] * 6, abs=0.1)  # full scale is 0; half a band off is a little less
    assert found[0, found[0].mean(1).argmax()].mean() > -0.3
    assert (found[1, :, :3] == -6).all()  # 60 dB below, the floor
    assert found[1, :, 5:-1].equal(found[0, :, 5:-1])


def test_features_leave_levels_out_and_hear_time_and_pitch(clips: Tensor) -> None:
    found = features(clips, 16000)
    torch.testing.assert_close(features(0.01 * clips, 16000), found)
    moved = features(clips.roll(4096, 1), 16000)
    higher = features(clips[:, ::2], 16000)
    for other in (moved, higher, found.roll(1, 0)):
        assert ((other - found).norm(dim=1) > 3).all()
    assert (features(clips + 1e-5 * torch.randn(clips.shape), 16000) - found).abs().max() < 0.1  # hiss at -100 dB
    assert (features(torch.zeros(2, 300), 16000) == -6).all()


def test_features_tell_sources_apart(clips: Tensor) -> None:
    random = torch.Generator().manual_seed(0)
    stretches = [
        torch.stack([clip.roll(int(torch.randint(2000, (), generator=random))) for _ in range(12)]) for clip in clips
    ]
    digits, drums, piano = (features(some, 16000) for some in stretches)
    assert coverage(digits[:6], digits[6:], k=2) > 0.5
    assert coverage(digits[:6], torch.cat([drums, piano]), k=2) == 0


def test_refusals_name_what_was_expected() -> None:
    for metric in (coverage, density):
        with pytest.raises(ValueError, match=r"got \[9, 3\] and \[4, 2\]"):
            metric(points(9, 3), points(4, 2))
        with pytest.raises(ValueError, match=r"M >= 1, got \[9, 3\] and \[0, 3\]"):
            metric(points(9, 3), points(0, 3))
        with pytest.raises(ValueError, match=r"got \[9\] and \[9\]"):
            metric(points(9), points(9))
        for k in (0, 9):
            with pytest.raises(ValueError, match=rf"one less than the 9 real points, got {k}"):
                metric(points(9, 3), points(4, 3), k)
    for shape in ((100,), (2, 0), (1, 2, 100)):
        with pytest.raises(ValueError, match=r"expected waves of shape \[B, T\]"):
            features(torch.zeros(shape), 16000)
