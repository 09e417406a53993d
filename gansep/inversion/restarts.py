"""Several starts at once, folded into the batch; each window keeps the one that explains its mixture best."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from gansep.inversion.descent import Settings, Solution, run
from gansep.inversion.objective import Point, Problem, Value


def run_restarts(
    problem: Problem,
    starts: Sequence[Point],
    settings: Settings,
    *,
    on_step: Callable[[int, Value], None] | None = None,
) -> Solution:
    """Search from every start and keep, window by window, the solution with the lowest objective.

    Args:
        problem: as for :func:`run`.
        starts: ``R`` points for the same ``B`` windows.
        settings, on_step: as for :func:`run`, which sees ``R * B`` windows.
    Returns:
        A solution for ``B`` windows; ``stats["start"] [B]`` tells which start won and ``stats["fits"] [B, R]`` how
        well each did.
    Raises:
        ValueError: no start.
    """
    if not starts:
        raise ValueError("expected at least one start, got none")
    if len(starts) == 1:
        solution = run(problem, starts[0], settings, on_step=on_step)
        extra = {"start": torch.zeros(len(problem.mixture), dtype=torch.long), "fits": solution.fit[:, None]}
        return replace(solution, stats=solution.stats | extra)
    count, windows = len(starts), len(problem.mixture)
    adjacent = problem.adjacent
    if adjacent is not None:  # the last window of one start is no neighbour of the first of the next
        adjacent = torch.cat([torch.cat([adjacent, adjacent.new_zeros(1)])] * count)[:-1]
    many = replace(problem, mixture=problem.mixture.repeat(count, 1), adjacent=adjacent)
    latents = tuple(torch.cat(group) for group in zip(*(start.latents for start in starts), strict=True))
    solution = run(many, Point(latents, torch.cat([s.log_gains for s in starts])), settings, on_step=on_step)
    fits = solution.fit.reshape(count, windows)
    winner = fits.argmin(0)  # [B]
    rows = winner * windows + torch.arange(windows, device=winner.device)
    point = Point(tuple(z[rows] for z in solution.point.latents), solution.point.log_gains[rows])
    stats: dict[str, Tensor] = {name: series[rows] for name, series in solution.stats.items()}
    return Solution(
        point, solution.sources[rows], fits.min(0).values, solution.outcome, stats | {"start": winner, "fits": fits.T}
    )


def random_starts(like: Point, count: int, random: torch.Generator, spread: float = 0.5) -> list[Point]:
    """``count`` starts: ``like`` itself and copies moved by uniform noise of up to ``spread`` in every number.

    With ``like`` at 0 and a spread of 1 they are draws from the prior.
    """
    starts = [like]
    for _ in range(count - 1):
        # one move for all windows of a batch, so that no window's result depends on which others are beside it
        moved = (z + spread * (2 * torch.rand(1, z.shape[1], generator=random).to(z) - 1) for z in like.latents)
        starts.append(Point(tuple(moved), like.log_gains))
    return starts
