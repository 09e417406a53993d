"""Projected gradient descent over latents and gains: init, step, run.

Adam moves every window of a batch on its own (its moments are per number), and the projection puts the latents back
into their set after every step, so that each iterate is a latent the generators were trained on.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from gansep.inversion.objective import Point, Problem, Value, evaluate, play


@dataclass(frozen=True)
class Settings:
    """How to descend.

    Attributes:
        steps: most steps. rate: Adam's step size.
        seconds: stop when that much time has passed; ``None`` for no limit.
        patience: stop when the mean objective has not fallen by a thousandth for that many steps; ``None`` never.
        learn_gains: whether each source's gain moves too.
    """

    steps: int = 100
    rate: float = 0.05
    seconds: float | None = None
    patience: int | None = None
    learn_gains: bool = True

    def __post_init__(self) -> None:
        if self.steps < 0 or self.rate <= 0:
            raise ValueError(f"steps must be at least 0 and rate above 0, got {self.steps} and {self.rate}")


@dataclass
class State:
    """A search under way: the ``point`` (leaves that the ``optimiser`` moves), the best one seen, steps done."""

    point: Point
    start: Point
    optimiser: torch.optim.Optimizer
    best: Point
    best_total: Tensor
    step: int = 0
    history: list[dict[str, Tensor]] = field(default_factory=list)


@dataclass(frozen=True)
class Solution:
    """What a search found.

    Attributes:
        point: the best latents and gains of each window, by its objective.
        sources: ``[B, S, T]``, what they sound like.
        fit: ``[B]``, the objective there.
        outcome: ``steps``, ``seconds`` or ``patience``: why it ended.
        stats: weighted terms and ``total`` per step, ``[B, steps + 1]`` each.
    """

    point: Point
    sources: Tensor
    fit: Tensor
    outcome: str
    stats: dict[str, Tensor]


def init(problem: Problem, start: Point, settings: Settings) -> State:
    """A state at ``start``, projected."""
    start = start.detached()
    _project(problem, start)
    point = start.detached()
    leaves = [latents.requires_grad_() for latents in point.latents]
    if settings.learn_gains and not problem.objective.unit_peak:
        leaves.append(point.log_gains.requires_grad_())
    best_total = torch.full_like(problem.mixture[:, 0], torch.inf)
    return State(point, start, torch.optim.Adam(leaves, settings.rate), start, best_total)


def step(problem: Problem, state: State) -> Value:
    """Evaluate at the state's point, remember it if it is the best, move the point and project it."""
    value = evaluate(problem, state.point, state.start)
    _remember(state, value)
    state.optimiser.zero_grad(set_to_none=True)
    value.total.sum().backward()
    state.optimiser.step()
    _project(problem, state.point)
    state.step += 1
    return value


def _project(problem: Problem, point: Point) -> None:
    for space, latents in zip(problem.spaces, point.latents, strict=True):
        space.project(latents)


def _remember(state: State, value: Value) -> None:
    total = value.total.detach()
    better = (total < state.best_total)[:, None]  # [B, 1]
    here, best = state.point.detached(), state.best
    latents = tuple(torch.where(better, new, old) for new, old in zip(here.latents, best.latents, strict=True))
    state.best = Point(latents, torch.where(better, here.log_gains, best.log_gains))
    state.best_total = torch.where(better[:, 0], total, state.best_total)
    state.history.append({name: term.detach() for name, term in value.terms.items()} | {"total": total})


def run(
    problem: Problem,
    start: Point,
    settings: Settings,
    *,
    on_step: Callable[[int, Value], None] | None = None,
) -> Solution:
    """Descend from ``start`` until the settings say stop; 0 steps give the start itself.

    Args:
        problem: mixture, generators and objective.
        start: where to begin.
        settings: when to stop, how far to step.
        on_step: told ``(steps done, value before the step)``.
    """
    state = init(problem, start, settings)
    began = time.monotonic()
    outcome, record, since = "steps", torch.inf, 0
    while state.step < settings.steps:
        value = step(problem, state)
        if on_step:
            on_step(state.step, value)
        mean = float(state.best_total.mean())
        record, since = (mean, 0) if mean < record - 1e-3 * abs(record) or record == torch.inf else (record, since + 1)
        if settings.patience is not None and since >= settings.patience:
            outcome = "patience"
            break
        if settings.seconds is not None and time.monotonic() - began >= settings.seconds:
            outcome = "seconds"
            break
    with torch.no_grad():
        _remember(state, evaluate(problem, state.point, state.start))
        sources = play(problem, state.best)
    stats = {name: torch.stack([entry[name] for entry in state.history], 1) for name in state.history[0]}
    return Solution(state.best, sources, state.best_total, outcome, stats)
