"""Several starts: each window keeps its best, and one that is stuck is saved by another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from gansep.inversion.descent import Settings, run
from gansep.inversion.objective import Objective, Point, Problem, Value, evaluate
from gansep.inversion.restarts import random_starts, run_restarts

Generate = Callable[[Tensor], Tensor]


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


WAVE = noise(1024)


def valley(latents: Tensor) -> Tensor:
    """A sound whose loudness has two hills, 0.4 at z = -1 and 1 at z = 1, and a valley at z = 0."""
    return (0.1 + latents.square() * (0.6 + 0.3 * latents)) * WAVE  # [B, 1] -> [B, T]


def at(*values: float) -> Point:
    return Point((torch.tensor(values)[:, None],), torch.zeros(len(values), 1))


SETTINGS = Settings(steps=60, learn_gains=False)


def test_restarts_leave_a_local_minimum() -> None:
    problem = Problem(WAVE.repeat(2, 1), [valley])
    stuck = run(problem, at(-0.5, -0.5), SETTINGS)
    assert (stuck.fit > 0.5).all() and (stuck.point.latents[0] < -0.9).all()
    many = run_restarts(problem, [at(-0.5, 0.5), at(0.5, -0.5), at(-0.4, -0.4)], SETTINGS)
    assert many.fit.max() < 0.05
    assert (many.point.latents[0] > 0.9).all()
    assert many.stats["start"].tolist() == [1, 0]  # each window its own


def test_the_lowest_fit_wins_window_by_window() -> None:
    problem = Problem(torch.stack([WAVE, 0.4 * WAVE, 0.2 * WAVE]), [valley])
    starts = [at(-0.5, -0.5, 0.0), at(0.9, 0.9, -0.8), at(0.1, 0.3, 0.3)]
    settings = replace(SETTINGS, steps=3)
    many = run_restarts(problem, starts, settings)
    alone = [run(problem, start, settings) for start in starts]
    fits = torch.stack([solution.fit for solution in alone], 1)  # [B, R]
    assert torch.allclose(many.stats["fits"], fits, atol=1e-5)
    assert torch.equal(many.stats["start"], fits.argmin(1))
    assert torch.allclose(many.fit, fits.min(1).values, atol=1e-5)
    for window, winner in enumerate(many.stats["start"].tolist()):
        assert torch.allclose(many.sources[window], alone[winner].sources[window], atol=1e-4)
        assert torch.allclose(many.point.latents[0][window], alone[winner].point.latents[0][window], atol=1e-4)
        assert torch.allclose(many.stats["total"][window], alone[winner].stats["total"][window], atol=1e-4)
    assert torch.allclose(evaluate(problem, many.point, many.point).total, many.fit, atol=1e-5)


def test_one_start_is_a_plain_run() -> None:
    problem, start = Problem(WAVE.repeat(2, 1), [valley]), at(0.3, -0.3)
    one, plain = run_restarts(problem, [start], SETTINGS), run(problem, start, SETTINGS)
    assert torch.equal(one.fit, plain.fit) and torch.equal(one.sources, plain.sources)
    assert one.stats["start"].tolist() == [0, 0] and torch.equal(one.stats["fits"][:, 0], plain.fit)
    with pytest.raises(ValueError, match="at least one start"):
        run_restarts(problem, [], SETTINGS)


def test_restarts_keep_windows_of_different_starts_apart() -> None:
    """The last window of one start stands before the first of the next, but shares no samples with it."""
    goal = Objective(agreement=1.0)
    problem = Problem(noise(2, 1024, seed=1), [lambda z: z], goal, 512, torch.ones(1))
    starts = [Point((0.2 * noise(2, 1024, seed=seed),), torch.zeros(2, 1)) for seed in (2, 3)]
    many: list[Tensor] = []

    def watch(_: int, value: Value) -> None:
        many.append(value.total.detach())

    run_restarts(problem, starts, Settings(steps=1), on_step=watch)
    alone = [evaluate(problem, start, start).total for start in starts]
    assert torch.allclose(many[0], torch.cat(alone), atol=1e-5)


def test_random_starts_surround_the_first() -> None:
    like = Point((torch.full((5, 400), 0.2), torch.zeros(5, 200)), noise(5, 2))
    starts = random_starts(like, 4, torch.Generator().manual_seed(0), 0.5)
    assert len(starts) == 4 and starts[0] is like
    for start in starts[1:]:
        for z, z0 in zip(start.latents, like.latents, strict=True):
            moved = z - z0
            assert moved.abs().max() <= 0.5 and abs(float(moved.mean())) < 0.1
            assert float(moved.std()) == pytest.approx(0.5 / 3**0.5, rel=0.2)  # uniform
            assert torch.allclose(moved, moved[:1].expand_as(moved), atol=1e-6)  # no window depends on the others
        assert torch.equal(start.log_gains, like.log_gains)
    assert not torch.equal(starts[1].latents[0], starts[2].latents[0])
    again = random_starts(like, 4, torch.Generator().manual_seed(0), 0.5)
    assert torch.equal(starts[3].latents[1], again[3].latents[1])
