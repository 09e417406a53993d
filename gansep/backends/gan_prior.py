"""The main back end: search the latents of one prior per source, GAN or VAE, until their sum is the mixture.

Recipes put the parts together. ``narayanaswamy2020`` is the published program (arXiv 2005.13769) with the projection
working; ``default`` starts where the priors' encoders hear their source in the mixture and stays near.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gansep.dsp.stft import stft
from gansep.inversion.descent import Settings
from gansep.inversion.objective import Objective, Point, Problem, Value, fit_gains
from gansep.inversion.projection import NORMAL
from gansep.inversion.restarts import random_starts, run_restarts
from gansep.nets.precision import autocast
from gansep.refine import Refinement
from gansep.types import Estimates, ModelError

if TYPE_CHECKING:
    from gansep.library import Prior


@dataclass(frozen=True)
class Recipe:
    """Everything that can be chosen about a search.

    Attributes:
        objective: what is minimised. settings: how.
        start: ``encoder`` where a prior has one, or ``zero``.
        restarts: number of starts, the first as ``start`` says, the others around it.
        seed: of the other starts.
        refit: whether gains are fitted to the mixture's magnitudes before the search.
    """

    objective: Objective = field(default_factory=Objective)
    settings: Settings = field(default_factory=Settings)
    start: str = "encoder"
    restarts: int = 1
    seed: int = 0
    refit: bool = False

    def __post_init__(self) -> None:
        if self.start not in ("encoder", "zero"):
            raise ValueError(f"start must be encoder or zero, got {self.start!r}")
        if self.restarts < 1:
            raise ValueError(f"restarts must be at least 1, got {self.restarts}")


SILENT = 1e-6  # peak of a window with nothing to separate, -120 dB of full scale

# All four losses, held near the encoders' answers; chosen on dev (scripts/ablate.py search).
_DEFAULT = Recipe(
    Objective(dissimilarity=0.1, correlation=0.1, continuity=0.1, anchor=50.0), Settings(steps=10, rate=0.02)
)
QUALITIES: dict[str, Recipe] = {
    "fast": replace(_DEFAULT, settings=Settings(steps=0)),
    "default": _DEFAULT,
    "best": replace(_DEFAULT, settings=Settings(steps=30, rate=0.02), restarts=2),
}
RECIPES: dict[str, Recipe] = {
    "default": _DEFAULT,
    "narayanaswamy2020": Recipe(
        Objective(0.3, 0.4, 0.1, 0.8, variant="code", batch_equivalent=200, unit_peak=True),
        Settings(steps=1000, rate=0.05, learn_gains=False),
        start="zero",
    ),
}


class GanPrior:
    """Separator by latent search (see :class:`gansep.types.Separator`).

    Args:
        priors: one per source.
        recipe: a :class:`Recipe` or the name of one.
        overlap: samples two neighbouring windows of a batch share, for recipes that weigh their agreement.
        on_step: told ``(steps done, value)`` during a search.
    Raises:
        ModelError: priors of different rates or segments, one that cannot be searched, or none.
    """

    def __init__(
        self,
        priors: Sequence[Prior],
        recipe: Recipe | str = "default",
        overlap: int = 0,
        on_step: Callable[[int, Value], None] | None = None,
    ) -> None:
        if not priors:
            raise ModelError("no priors given; expected at least one source")
        kinds = {(prior.sample_rate, prior.segment) for prior in priors}
        if len(kinds) > 1:
            said = ", ".join(f"{prior.name}: {prior.sample_rate} Hz, {prior.segment} samples" for prior in priors)
            raise ModelError(f"these priors cannot be combined, their rates or segments differ ({said})")
        if silent := [prior.name for prior in priors if not prior.searchable]:
            raise ModelError(f"{silent[0]} plays spectra, which no search can follow; give one of waveforms")
        if isinstance(recipe, str):
            if recipe not in RECIPES:
                raise ValueError(f"unknown recipe {recipe!r}; expected one of {', '.join(RECIPES)}")
            recipe = RECIPES[recipe]
        self.priors, self.recipe, self.overlap, self.on_step = tuple(priors), recipe, overlap, on_step
        self.sources = tuple(prior.name for prior in priors)
        self.sample_rate, self.segment = priors[0].sample_rate, priors[0].segment
        self.cards = tuple(prior.card for prior in priors)
        self.refinement = Refinement()

    def __call__(self, mixture: Tensor) -> Estimates:
        """Search every window of a batch. Shape: ``[B, segment]`` to ``waves [B, S, segment]``.

        ``stats`` holds each loss per step ``[B, steps + 1]``, ``gains [B, S]``, ``start [B]``, ``fits [B, R]`` and
        ``explained [B]``, the share of the mixture's spectrogram that the generators play (1 at best).
        """
        if mixture.ndim != 2 or mixture.shape[1] != self.segment:
            raise ValueError(f"expected a mixture of shape [B, {self.segment}], got {list(mixture.shape)}")
        scale = self._scale(mixture)
        problem = self._problem(mixture / scale)
        with torch.no_grad():
            start = self.start(problem)
        recipe = self.recipe
        random = torch.Generator().manual_seed(recipe.seed)
        spread = 0.3 if recipe.start == "encoder" else 1.0
        starts = random_starts(start, recipe.restarts, random, spread)
        solution = run_restarts(problem, starts, recipe.settings, on_step=self.on_step)
        scale = scale * (mixture.abs().amax(-1, keepdim=True) >= SILENT)
        stats = dict(solution.stats) | {
            "gains": scale * (1.0 if recipe.objective.unit_peak else solution.point.log_gains.exp()),
            "explained": explained(solution.sources.sum(1), problem.mixture),
        }
        return Estimates(solution.sources * scale[:, None], self.sources, stats)

    def _scale(self, mixture: Tensor) -> Tensor:
        """What each window is divided by: its peak; one peak for all where windows are compared; 1 without gains."""
        peak = mixture.abs().amax(-1, keepdim=True).clamp_min(SILENT)  # [B, 1]
        if self.recipe.objective.unit_peak:
            return torch.ones_like(peak)
        return peak.max().expand_as(peak) if self.recipe.objective.agreement else peak

    def start(self, problem: Problem) -> Point:
        """Where the search begins: encoders' answers, or zeros with gains fitted to the mixture."""
        mixture = problem.mixture
        latents, gains = [], []
        for prior in self.priors:
            if self.recipe.start == "encoder" and prior.encoder is not None:
                with autocast(mixture.device):
                    z, gain = prior.encoder(mixture)
            else:
                z = mixture.new_zeros(len(mixture), prior.latent)
                gain = mixture.new_full((len(mixture),), torch.nan)
            latents.append(z)
            gains.append(gain)
        log_gains = torch.stack(gains, 1).log()  # [B, S]
        if self.recipe.refit or log_gains.isnan().any():
            waves = torch.stack([g(z) for g, z in zip(problem.generators, latents, strict=True)], 1)
            fitted = fit_gains(waves, mixture).log()
            log_gains = fitted if self.recipe.refit else torch.where(log_gains.isnan(), fitted, log_gains)
        return Point(tuple(latents), log_gains)

    def _problem(self, mixture: Tensor) -> Problem:
        generators = [_in_half(prior.generator) for prior in self.priors]
        adjacent = None
        if self.recipe.objective.agreement and self.overlap and len(mixture) > 1:
            # Rows are windows in time order; those of another file, or past a gap, do not share their samples.
            before, after = mixture[:-1, -self.overlap :], mixture[1:, : self.overlap]
            error = (after - before).square().sum(-1) / before.square().sum(-1).clamp_min(1e-8)
            adjacent = (error < 0.1).float()
        # Unlikely latents are either out of bounds or cost something: normal ones that are charged for need no ball.
        charged = self.recipe.objective.likelihood > 0
        spaces = [NORMAL if charged and prior.variational else prior.space for prior in self.priors]
        return Problem(mixture, generators, self.recipe.objective, self.overlap, adjacent, spaces)


def explained(heard: Tensor, mixture: Tensor) -> Tensor:
    """Share of a spectrogram's energy that an estimate gets right, 0 at worst. Shape: ``[B, T]`` twice to ``[B]``."""
    ours, theirs = stft(heard, 512).abs(), stft(mixture, 512).abs()
    missed = (ours - theirs).square().sum((-2, -1)) / theirs.square().sum((-2, -1)).clamp_min(1e-12)
    return (1 - missed).clamp_min(0)


def _in_half(generator: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    def generate(latents: Tensor) -> Tensor:
        with autocast(latents.device):
            return generator(latents)

    return generate


def recipe_for(
    name: str = "default",
    quality: str = "default",
    *,
    steps: int | None = None,
    restarts: int | None = None,
    likelihood: float | None = None,
    seed: int = 0,
) -> Recipe:
    """A recipe by name, at a quality, with another number of steps or starts, or likelihood, if wanted.

    Raises:
        ModelError: unknown recipe or quality, or numbers out of range.
    """
    if name not in RECIPES or quality not in QUALITIES:
        known = f"recipes {', '.join(RECIPES)}; qualities {', '.join(QUALITIES)}"
        raise ModelError(f"unknown recipe or quality {name!r}, {quality!r}; expected {known}")
    recipe = RECIPES[name] if name != "default" else QUALITIES[quality]
    try:
        settings = recipe.settings if steps is None else replace(recipe.settings, steps=steps)
        if not 0 <= (likelihood or 0) < float("inf"):
            raise ValueError(f"likelihood must be a number from 0 up, got {likelihood}")
        goal = recipe.objective if likelihood is None else replace(recipe.objective, likelihood=likelihood)
        starts = recipe.restarts if restarts is None else restarts
        return replace(recipe, objective=goal, settings=settings, restarts=starts, seed=seed)
    except ValueError as error:
        raise ModelError(str(error)) from error
