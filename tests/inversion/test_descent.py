"""Projected descent on linear toys: it stays in the box, finds what is there, keeps the best, stops when told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from gansep.inversion.descent import Settings, run
from gansep.inversion.objective import Objective, Point, Problem, Value, evaluate, play
from gansep.inversion.projection import BALL, NORMAL

Generate = Callable[[Tensor], Tensor]


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def identity(latents: Tensor) -> Tensor:
    return latents


def zeros(batch: int, sources: int = 2, size: int = 2) -> Point:
    return Point(tuple(torch.zeros(batch, size) for _ in range(sources)), torch.zeros(batch, sources))


def toy_problem(toys: list[Generate], batch: int, seed: int = 0) -> tuple[Problem, Point]:
    """Mixtures of the toys and the latents and gains (0.5 to 2) that made them."""
    random = torch.Generator().manual_seed(seed)
    latents = tuple(1.8 * torch.rand(batch, 2, generator=random) - 0.9 for _ in toys)
    truth = Point(latents, 1.4 * torch.rand(batch, len(toys), generator=random) - 0.7)
    silent = Problem(torch.zeros(batch, 2048), toys)
    return replace(silent, mixture=play(silent, truth).sum(1)), truth


def same_point(a: Point, b: Point) -> bool:
    return all(map(torch.equal, (*a.latents, a.log_gains), (*b.latents, b.log_gains)))


# The generator is the identity, so that value.sources are the latents of the step.


@pytest.mark.parametrize("rate", [0.05, 5.0])
def test_every_iterate_lies_in_the_box_and_would_not_by_itself(rate: float) -> None:
    problem = Problem(4 * noise(2, 1024), [identity, identity])
    start = Point((noise(2, 1024, seed=1), noise(2, 1024, seed=2)), torch.zeros(2, 2))
    settings = Settings(steps=30, rate=rate, learn_gains=False)
    seen: list[float] = []

    def watch(_: int, value: Value) -> None:
        seen.append(float(value.sources.detach().abs().max()))

    solution = run(problem, start, settings, on_step=watch)
    assert len(seen) == 30 and max(seen) <= 1
    assert max(float(z.abs().max()) for z in solution.point.latents) <= 1
    assert solution.sources.abs().max() <= 1
    seen.clear()
    inside = Point(tuple(z.clamp(-1, 1) for z in start.latents), start.log_gains)
    run(replace(problem, spaces=(NORMAL,) * len(inside.latents)), inside, settings, on_step=watch)
    assert max(seen) > 1.2


def test_known_latents_and_gains_are_found(toys: list[Generate]) -> None:
    problem, truth = toy_problem(toys, 3)
    solution = run(problem, zeros(3), Settings(steps=400, rate=0.02))
    assert solution.fit.max() < 0.05
    assert (solution.point.log_gains - truth.log_gains).abs().max() < 0.05
    for found, true in zip(solution.point.latents, truth.latents, strict=True):
        assert (found - true).abs().max() < 0.1
    assert (solution.sources.sum(1) - problem.mixture).norm() < 0.05 * problem.mixture.norm()


def test_one_source_is_found_and_without_gains_its_latent_makes_up(toys: list[Generate]) -> None:
    problem, truth = toy_problem(toys[:1], 2)
    solution = run(problem, zeros(2, 1), Settings(steps=300, rate=0.02))
    assert solution.sources.shape == (2, 1, 2048) and solution.fit.max() < 0.05
    assert (solution.point.latents[0] - truth.latents[0]).abs().max() < 0.1
    fixed = run(problem, zeros(2, 1), Settings(steps=50, learn_gains=False))
    assert not fixed.point.log_gains.any()
    assert fixed.fit.min() > solution.fit.max()


def test_windows_do_not_hear_their_neighbours(toys: list[Generate]) -> None:
    problem, _ = toy_problem(toys, 3)
    settings = Settings(steps=25)
    goal = Objective(1.0, 0.1, 0.1, 0.1, anchor=0.1)
    together = run(replace(problem, objective=goal), zeros(3), settings)
    for b in range(3):
        alone = run(replace(problem, objective=goal, mixture=problem.mixture[b : b + 1]), zeros(1), settings)
        assert torch.allclose(together.fit[b], alone.fit[0], atol=1e-4)
        assert torch.allclose(together.sources[b], alone.sources[0], atol=1e-3)


def test_the_best_iterate_is_kept(toys: list[Generate]) -> None:
    problem, _ = toy_problem(toys, 4)
    solution = run(problem, zeros(4), Settings(steps=40, rate=0.6))  # too fast to settle
    total = solution.stats["total"]
    assert total.shape == (4, 41)
    assert torch.equal(solution.fit, total.min(1).values)
    assert (total[:, -1] > solution.fit).any()
    again = evaluate(problem, solution.point, zeros(4))
    assert torch.allclose(again.total, solution.fit, atol=1e-6)
    assert torch.allclose(again.sources, solution.sources)


def test_no_steps_return_the_start_in_the_box(toys: list[Generate]) -> None:
    problem, truth = toy_problem(toys, 2)
    start = Point((truth.latents[0], 3 * torch.ones(2, 2)), truth.log_gains)
    solution = run(problem, start, Settings(steps=0))
    expected = Point((truth.latents[0], torch.ones(2, 2)), truth.log_gains)
    assert same_point(solution.point, expected)
    assert torch.allclose(solution.fit, evaluate(problem, expected, expected).total)
    assert solution.stats["total"].shape == (2, 1) and solution.outcome == "steps"
    assert start.latents[1].max() == 3  # the caller's start is left alone


def test_stops_after_its_steps_and_says_so(toys: list[Generate]) -> None:
    problem, _ = toy_problem(toys, 2)
    told: list[int] = []
    solution = run(problem, zeros(2), Settings(steps=3), on_step=lambda done, _: told.append(done))
    assert told == [1, 2, 3] and solution.outcome == "steps"
    assert solution.stats["total"].shape == solution.stats["spectral"].shape == (2, 4)


def test_stops_out_of_patience(toys: list[Generate]) -> None:
    problem, truth = toy_problem(toys, 2)
    solution = run(problem, truth, Settings(steps=50, patience=4))  # it cannot get better than the truth
    assert solution.outcome == "patience"
    assert solution.stats["total"].shape == (2, 1 + 4 + 1)  # the first, four without progress, the last look
    assert solution.fit.max() < 1e-5
    assert run(problem, zeros(2), Settings(steps=8, patience=4)).outcome == "steps"


def test_stops_when_its_time_is_over(toys: list[Generate], monkeypatch: pytest.MonkeyPatch) -> None:
    problem, _ = toy_problem(toys, 2)
    clock = iter(range(100))
    monkeypatch.setattr("time.monotonic", lambda: float(next(clock)))  # a second passes with every look
    solution = run(problem, zeros(2), Settings(steps=50, seconds=4.5))
    assert solution.outcome == "seconds"
    assert solution.stats["total"].shape == (2, 5 + 1)


def test_the_anchor_holds_latents_near_their_start(toys: list[Generate]) -> None:
    problem, _ = toy_problem(toys, 2)
    start = Point((torch.full((2, 2), 0.3), torch.full((2, 2), -0.3)), torch.zeros(2, 2))
    moved = []
    for weight in (0.0, 1.0, 100.0):
        solution = run(replace(problem, objective=Objective(anchor=weight)), start, Settings(steps=60, rate=0.02))
        moved.append(
            max(float((z - z0).abs().max()) for z, z0 in zip(solution.point.latents, start.latents, strict=True))
        )
    assert moved[0] > 0.4 > moved[1] > moved[2] and moved[2] < 0.05


def test_agreement_brings_overlapping_windows_together() -> None:
    start = Point((0.2 * noise(3, 1024, seed=1),), torch.zeros(3, 1))
    problem = Problem(0.3 * noise(3, 1024), [identity], Objective(1e-30, agreement=1.0), 512, torch.tensor([1.0, 0.0]))
    solution = run(problem, start, Settings(steps=60, rate=0.01, learn_gains=False))
    term = solution.stats["agreement"]
    assert (solution.fit[:2] < 0.5 * term[:2, 0]).all()
    assert not term[2].any() and torch.equal(solution.point.latents[0][2], start.latents[0][2])
    assert torch.equal(solution.point.latents[0][0, :512], start.latents[0][0, :512])  # only the overlap moved


def test_gains_stay_with_unit_peak(toys: list[Generate]) -> None:
    problem, _ = toy_problem(toys, 2)
    problem = replace(problem, objective=Objective(unit_peak=True))
    solution = run(problem, zeros(2), Settings(steps=10))
    assert not solution.point.log_gains.any()
    assert torch.allclose(solution.sources.abs().amax(-1), torch.ones(2, 2))


@pytest.mark.parametrize("bad", [{"steps": -1}, {"rate": 0.0}, {"rate": -0.1}])
def test_bad_settings_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="steps must be at least 0 and rate above 0, got"):
        Settings(**bad)  # type: ignore[arg-type]


def test_latents_stay_in_the_spaces_of_their_generators() -> None:
    problem = Problem(40 * noise(2, 1024), [identity, identity], spaces=(BALL, NORMAL))
    start = Point((3 * noise(2, 1024, seed=1), noise(2, 1024, seed=2)), torch.zeros(2, 2))
    solution = run(problem, start, Settings(steps=30, rate=5.0, learn_gains=False))
    ball, free = (z.norm(dim=-1).max() for z in solution.point.latents)
    assert ball <= 32.001 and free > 40  # a radius of the root of 1024


def test_unlikely_latents_cost_what_their_space_says() -> None:
    mixture = noise(2, 1024)
    point = Point((2 * torch.ones(2, 1024), 2 * torch.ones(2, 1024)), torch.zeros(2, 2))
    costs = [
        evaluate(Problem(mixture, [identity] * 2, Objective(likelihood=1.0), spaces=spaces), point, point)
        for spaces in ((), (NORMAL, NORMAL))
    ]
    assert [float(value.terms["likelihood"][0]) for value in costs] == pytest.approx([16, 2])
