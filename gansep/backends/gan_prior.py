"""The main back end: search the latents of one prior per source, GAN or VAE, until their sum is the mixture.

Recipes put the parts together. ``narayanaswamy2020`` is the published program (arXiv 2005.13769) with the projection
working; ``default`` starts where the priors' encoders hear their source in the mixture and stays near. Priors may have
listeners (:mod:`gansep.nets.listener`): their odds then become the masks, together with what the search found.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gansep.dsp.masks import apply_mask, expected_energy, wiener
from gansep.dsp.stft import istft, stft
from gansep.inversion.descent import Settings
from gansep.inversion.objective import Objective, Point, Problem, Value, fit_gains
from gansep.inversion.projection import NORMAL
from gansep.inversion.restarts import random_starts, run_restarts
from gansep.nets.listener import Heard, compete, listen, together
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
        listen: whether masks come from the priors' listeners, if all have one, and encoders hear what these heard.
        trust: weight in such masks of the logarithm of the power that the generators play; with 0 nothing is searched.
        fallback: whether sources share a window equally that is like nothing they know.
    """

    objective: Objective = field(default_factory=Objective)
    settings: Settings = field(default_factory=Settings)
    start: str = "encoder"
    restarts: int = 1
    seed: int = 0
    refit: bool = False
    listen: bool = True
    trust: float = 0.0
    fallback: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.trust < float("inf"):
            raise ValueError(f"trust must be a number from 0 up, got {self.trust}")
        if self.start not in ("encoder", "zero"):
            raise ValueError(f"start must be encoder or zero, got {self.start!r}")
        if self.restarts < 1:
            raise ValueError(f"restarts must be at least 1, got {self.restarts}")


SIZES = 1024, 256  # window and hop of the masks that generators' powers make
FAINT = 1e-3  # of the mixture's mean power: what a generator plays below it says nothing of a point
OPTIMISM = 1.9  # error of listeners' masks over what they expect: on dev a median of 1.7 (fast) to 2.1 (default)
LOST = 0.1  # share of a window that is explained, below which nothing is known of it
SILENT = 1e-6  # peak of a window with nothing to separate, -120 dB of full scale

# All four losses, held near the encoders' answers; chosen on dev (scripts/ablate.py search, and listeners for trust).
_DEFAULT = Recipe(
    Objective(dissimilarity=0.1, correlation=0.1, continuity=0.1, anchor=50.0),
    Settings(steps=10, rate=0.02),
    trust=0.2,
)
QUALITIES: dict[str, Recipe] = {
    "fast": replace(_DEFAULT, settings=Settings(steps=0), trust=0.0),
    "default": _DEFAULT,
    "best": replace(_DEFAULT, settings=Settings(steps=30, rate=0.02), restarts=2),
}
RECIPES: dict[str, Recipe] = {
    "default": _DEFAULT,
    "narayanaswamy2020": Recipe(
        Objective(0.3, 0.4, 0.1, 0.8, variant="code", batch_equivalent=200, unit_peak=True),
        Settings(steps=1000, rate=0.05, learn_gains=False),
        start="zero",
        listen=False,
        fallback=False,
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
        ears = [prior.listener for prior in priors if prior.listener and recipe.listen]
        self.ears = together(ears, [card.data_sha256 for card in self.cards]) if len(ears) == len(priors) else []
        self.refinement = Refinement(exponent=1.0) if self.ears else Refinement()

    def __call__(self, mixture: Tensor) -> Estimates:
        """Separate every window of a batch. Shape: ``[B, segment]`` to ``waves [B, S, segment]``.

        ``stats`` holds ``sure`` and ``unsure [B, S]``, the energy that each source's mask leaves and the error expected
        in it (:func:`gansep.dsp.masks.expected_energy`); ``explained [B]``, the share of the mixture that the sources
        account for (1 at best); ``failed [B]``, whether that is so little that they share the mixture equally; and of
        a search each loss per step ``[B, steps + 1]``, ``gains [B, S]``, ``start [B]`` and ``fits [B, R]``.
        """
        if mixture.ndim != 2 or mixture.shape[1] != self.segment:
            raise ValueError(f"expected a mixture of shape [B, {self.segment}], got {list(mixture.shape)}")
        found = self._heard(mixture) if self.ears else self._searched(mixture)
        if not self.recipe.fallback:
            return found
        failed = (found.stats["explained"] < LOST) & (mixture.abs().amax(-1) >= SILENT)
        share = torch.full_like(found.waves[:, :, 0], 1 / len(self.sources))  # [B, S]
        equal = {"sure": share.square(), "unsure": share * (1 - share)}
        energy = (found.stats["sure"] + found.stats["unsure"]).sum(1, keepdim=True)  # about all, as masks sum to 1
        stats = {name: torch.where(failed[:, None], part * energy, found.stats[name]) for name, part in equal.items()}
        waves = torch.where(failed[:, None, None], share[..., None] * mixture[:, None], found.waves)
        return replace(found, waves=waves, stats=dict(found.stats) | stats | {"failed": failed})

    def _heard(self, mixture: Tensor) -> Estimates:
        """Masks by what listeners hear, and by what generators play of it where they are trusted."""
        with torch.no_grad():
            heard = listen(self.ears, mixture)
            masks, stats = compete(heard.odds), dict[str, Tensor]()
            if self.recipe.trust:
                with torch.enable_grad():
                    found = self._searched(mixture, masked(heard, masks, mixture.shape[1]))
                stats = dict(found.stats)
                masks = compete(heard.odds + self.recipe.trust * self._played(found.waves, heard))
            stats = stats | _sureness(masks, heard.spectrum, OPTIMISM) | {"explained": claimed(heard)}
            return Estimates(masked(heard, masks, mixture.shape[1]), self.sources, stats)

    def _played(self, waves: Tensor, heard: Heard) -> Tensor:
        """Log power of what generators play, where listeners' odds are. Shape: ``[B, S, T]`` to ``[B, S, F, N]``."""
        power = stft(waves, *heard.sizes).abs().square()
        return (power + FAINT * heard.spectrum.abs().square().mean((1, 2))[:, None, None, None] + 1e-12).log()

    def _searched(self, mixture: Tensor, stems: Tensor | None = None) -> Estimates:
        """What the generators play after the search, which begins from ``stems [B, S, T]`` where they are given."""
        scale = self._scale(mixture)
        problem = self._problem(mixture / scale)
        with torch.no_grad():
            start = self.start(problem, None if stems is None else stems / scale[:, None])
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
        waves = solution.sources * scale[:, None]
        with torch.no_grad():
            power = stft(waves, *SIZES).abs().square()
            stats |= _sureness(wiener(power), stft(mixture, *SIZES))
        return Estimates(waves, self.sources, stats)

    def _scale(self, mixture: Tensor) -> Tensor:
        """What each window is divided by: its peak; one peak for all where windows are compared; 1 without gains."""
        peak = mixture.abs().amax(-1, keepdim=True).clamp_min(SILENT)  # [B, 1]
        if self.recipe.objective.unit_peak:
            return torch.ones_like(peak)
        return peak.max().expand_as(peak) if self.recipe.objective.agreement else peak

    def start(self, problem: Problem, stems: Tensor | None = None) -> Point:
        """Where the search begins: encoders' answers, or zeros with gains fitted to the mixture.

        Args:
            problem: whose mixture the encoders hear. stems: ``[B, S, T]``, what they hear instead.
        """
        mixture = problem.mixture
        latents, gains = [], []
        for number, prior in enumerate(self.priors):
            if self.recipe.start == "encoder" and prior.encoder is not None:
                with autocast(mixture.device):
                    z, gain = prior.encoder(mixture if stems is None else stems[:, number])
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


def masked(heard: Heard, masks: Tensor, length: int) -> Tensor:
    """The sounds that masks leave of what was heard. Shape: ``[B, S, F, N]`` to ``[B, S, length]``."""
    return istft(apply_mask(masks, heard.spectrum), length, *heard.sizes)


def _sureness(masks: Tensor, spectrum: Tensor, optimism: float = 1.0) -> dict[str, Tensor]:
    sure, unsure = expected_energy(masks, spectrum)
    return {"sure": sure, "unsure": optimism * unsure}


def claimed(heard: Heard) -> Tensor:
    """Share of a mixture's energy that listeners take for their sources', and not for something unknown: ``[B]``."""
    power = heard.spectrum.abs().square()
    known = torch.logsumexp(heard.odds, 1).sigmoid()
    return (power * known).sum((1, 2)) / power.sum((1, 2)).clamp_min(1e-12)


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
    listen: int | None = None,
    trust: float | None = None,
    fallback: int | None = None,
    seed: int = 0,
) -> Recipe:
    """A recipe by name, at a quality, with another number of steps or starts and so on, if wanted.

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
        recipe = replace(recipe, objective=goal, settings=settings, restarts=starts, seed=seed)
        said = {"listen": listen, "trust": trust, "fallback": fallback}
        kinds = {"listen": bool, "trust": float, "fallback": bool}
        return replace(recipe, **{name: kinds[name](value) for name, value in said.items() if value is not None})
    except ValueError as error:
        raise ModelError(str(error)) from error
