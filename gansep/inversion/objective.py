"""What the search minimises: latents -> sources -> mixture -> losses, one number for every window.

A window's number never depends on its neighbours in the batch, unless agreement of overlapping windows is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gansep.dsp.stft import stft
from gansep.inversion.projection import BOX, Space
from gansep.losses import (
    frequency_continuity,
    mixture_correlation,
    multi_resolution_spectral,
    source_dissimilarity,
)

Generate = Callable[[Tensor], Tensor]  # [B, Z] to [B, T]


@dataclass(frozen=True)
class Objective:
    """Weights and forms of the losses; a weight of 0 leaves the term out.

    Attributes:
        spectral, dissimilarity, correlation, continuity: weights of the four losses (arXiv 2005.13769).
        variant: ``default`` or ``code``, the form of all four (:mod:`gansep.losses`).
        batch_equivalent: the authors sum two of the losses over the batch and average the others; this multiplies
            ``dissimilarity`` and ``correlation`` to give them the weight they had at that batch size.
        anchor: weight of the mean squared distance to the start.
        likelihood: weight of the penalty on unlikely latents: in a box the mean of ``z^4``, for normal ones of
            ``z^2 / 2`` (:mod:`gansep.inversion.projection`).
        agreement: weight of the spectral distance of one source in two overlapping windows.
        unit_peak: divide every generator output by its own peak, as the authors do; gains are not learned then.
    """

    spectral: float = 1.0
    dissimilarity: float = 0.0
    correlation: float = 0.0
    continuity: float = 0.0
    variant: str = "default"
    batch_equivalent: int = 1
    anchor: float = 0.0
    likelihood: float = 0.0
    agreement: float = 0.0
    unit_peak: bool = False

    def __post_init__(self) -> None:
        if not any((self.spectral, self.dissimilarity, self.correlation, self.continuity)):
            raise ValueError("an objective needs one of the four losses, got only zero weights")


@dataclass(frozen=True)
class Problem:
    """A batch of windows and the generators to explain them.

    Attributes:
        mixture: ``[B, T]``.
        generators: ``S`` maps from ``[B, Z_s]`` to ``[B, T]``.
        objective: what to minimise.
        overlap: samples that window ``b + 1`` shares with window ``b`` (its first with the other's last), for
            ``agreement``.
        adjacent: ``[B - 1]``, whether they do share them; ``None`` if no two do.
        spaces: of the generators' latents; boxes unless given.
    """

    mixture: Tensor
    generators: Sequence[Generate]
    objective: Objective = Objective()
    overlap: int = 0
    adjacent: Tensor | None = None
    spaces: Sequence[Space] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "spaces", tuple(self.spaces) or (BOX,) * len(self.generators))


@dataclass(frozen=True)
class Point:
    """Where a search stands: ``S`` latents ``[B, Z_s]`` and the log gains ``[B, S]``."""

    latents: tuple[Tensor, ...]
    log_gains: Tensor

    def detached(self) -> Point:
        return Point(tuple(z.detach().clone() for z in self.latents), self.log_gains.detach().clone())


@dataclass(frozen=True)
class Value:
    """An objective at a point: ``total [B]``, its ``terms`` by name (weighted, ``[B]`` each), ``sources [B, S, T]``."""

    total: Tensor
    terms: dict[str, Tensor]
    sources: Tensor


def play(problem: Problem, point: Point) -> Tensor:
    """The sources that a point stands for. Shape: ``[B, S, T]``."""
    waves = torch.stack([g(z) for g, z in zip(problem.generators, point.latents, strict=True)], 1)  # [B, S, T]
    if problem.objective.unit_peak:
        return waves / waves.abs().amax(-1, keepdim=True).clamp_min(1e-8)
    return waves * point.log_gains.exp()[..., None]


def evaluate(problem: Problem, point: Point, start: Point) -> Value:
    """The objective at ``point``; ``start`` is what the anchor holds on to."""
    goal = problem.objective
    sources = play(problem, point)
    heard, mixture = sources.sum(1), problem.mixture
    terms: dict[str, Tensor] = {}
    if goal.spectral:
        terms["spectral"] = goal.spectral * multi_resolution_spectral(heard, mixture, goal.variant)
    if goal.dissimilarity:
        weight = goal.dissimilarity * goal.batch_equivalent
        terms["dissimilarity"] = weight * source_dissimilarity(sources, goal.variant)
    if goal.correlation:
        terms["correlation"] = (
            goal.correlation * goal.batch_equivalent * mixture_correlation(heard, mixture, goal.variant)
        )
    if goal.continuity:
        terms["continuity"] = goal.continuity * frequency_continuity(heard, mixture, goal.variant)
    if goal.anchor:
        gaps = [(z - z0).square().mean(-1) for z, z0 in zip(point.latents, start.latents, strict=True)]
        terms["anchor"] = goal.anchor * torch.stack(gaps).mean(0)
    if goal.likelihood:
        unlikely = [space.unlikely(z) for space, z in zip(problem.spaces, point.latents, strict=True)]
        terms["likelihood"] = goal.likelihood * torch.stack(unlikely).mean(0)
    if goal.agreement and problem.overlap and problem.adjacent is not None and len(problem.adjacent):
        terms["agreement"] = goal.agreement * _disagreement(sources, problem)
    return Value(torch.stack(list(terms.values())).sum(0), terms, sources)


def _disagreement(sources: Tensor, problem: Problem) -> Tensor:
    """How differently a window and the one after it play their common samples, half of it charged to each. ``[B]``."""
    assert problem.adjacent is not None
    length = problem.overlap
    before, after = (sources[:-1, :, -length:], sources[1:, :, :length])  # [B - 1, S, overlap]
    gap = multi_resolution_spectral(after.flatten(0, 1), before.flatten(0, 1)).reshape(len(before), -1).mean(1)
    gap = gap * problem.adjacent / 2  # [B - 1]
    return torch.cat([gap, gap[:0].new_zeros(1)]) + torch.cat([gap.new_zeros(1), gap])


def fit_gains(sources: Tensor, mixture: Tensor, steps: int = 50) -> Tensor:
    """Non-negative gains under which the magnitudes of ``sources`` add up to those of ``mixture``.

    Multiplicative updates of least squares (Lee and Seung 2001) on power spectrograms compressed to magnitudes;
    where two sources are alike they share.

    Shape: ``[B, S, T]`` and ``[B, T]`` to ``[B, S]``, each above 0.
    """
    parts = stft(sources, 512).abs().flatten(2)  # [B, S, F * N]
    whole = stft(mixture, 512).abs().flatten(1)  # [B, F * N]
    parts, whole = parts + 1e-8, whole + 1e-8
    target = torch.einsum("bsi,bi->bs", parts, whole)
    gram = torch.einsum("bsi,bti->bst", parts, parts)
    gains = target.sum(1, keepdim=True) / gram.sum((1, 2))[:, None] * torch.ones_like(target)
    for _ in range(steps):
        gains = gains * target / torch.einsum("bst,bt->bs", gram, gains).clamp_min(1e-20)
    return gains.clamp_min(1e-6)
