"""Which K of the installed priors explain a mixture: ``-k 2`` without names.

Where every prior has a listener, each says how sure it is that its source is there, in log odds that were calibrated on
mixtures with and without it, so that none is chosen for being more expressive; the K surest are taken.

Elsewhere every prior answers once (its encoder's estimate); then sources are added one by one, each time the one that
brings the sum of their powers nearest to the mixture's, in log magnitude. Phases of generated sound mean nothing, so
powers add. What a prior claims is weighed as it claims it, with no gain fitted afterwards: a prior that can play
anything would else explain everything. (A prior without an encoder is judged by its middle latent, at a fitted gain.)
The cost grows with the number of priors, not with the number of sets.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gansep.backends.gan_prior import GanPrior, Recipe
from gansep.dsp.stft import stft
from gansep.inversion.descent import Settings
from gansep.nets.listener import certainty, listen
from gansep.types import ModelError

if TYPE_CHECKING:
    from gansep.library import Prior

BATCH = 16  # windows heard at a time
SUREST = 0.25  # share of the windows in which a source must be heard; chosen on dev
FLOOR = 0.3  # magnitudes about 10 dB below a window's RMS magnitude count as nothing; chosen on dev


@dataclass(frozen=True)
class Choice:
    """The chosen set.

    Attributes:
        priors: the ``K`` chosen, in the order of the candidates.
        scores: by name of every candidate, the probability that it is there, by its listener; or how much nearer it
            comes to the mixture by itself than silence does, as a mean log ratio of magnitudes.
        confidence: by name of a chosen source, that probability; or how far it stood above the best candidate that was
            left out: 0 as good, 1 if nothing else helped, ``None`` if none was left out.
    """

    priors: tuple[Prior, ...]
    scores: dict[str, float]
    confidence: dict[str, float | None]


def choose(priors: Sequence[Prior], windows: Tensor, count: int) -> Choice:
    """The ``count`` priors that explain ``windows`` best.

    Args:
        priors: candidates of one rate and segment.
        windows: ``[B, segment]``, parts of the mixture.
        count: K.
    Raises:
        ModelError: fewer candidates than ``count``.
    """
    if not 1 <= count <= len(priors):
        names = ", ".join(prior.name for prior in priors)
        raise ModelError(f"cannot choose {count} sources from {len(priors)} installed priors ({names})")
    if all(prior.listener for prior in priors):
        return _surest(priors, windows, count)
    mixture = _power(windows)
    powers = {prior.name: _power(_estimate(prior, windows)) for prior in priors}
    heard = torch.zeros_like(mixture)  # power of the chosen ones
    alone = _distance(torch.zeros_like(mixture), mixture)
    rounds: dict[str, dict[str, float]] = {}  # what each candidate would have added when a source was chosen
    while len(rounds) < count:
        before = _distance(heard, mixture)
        gains = {name: before - _distance(heard + powers[name], mixture) for name in powers if name not in rounds}
        best = max(gains, key=gains.__getitem__)
        rounds[best] = gains
        heard = heard + powers[best]
    confidence = {
        name: _lead(gains[name], [gains[n] for n in gains if n not in rounds]) for name, gains in rounds.items()
    }
    scores = {name: alone - _distance(power, mixture) for name, power in powers.items()}
    # in the order of the candidates, so that recordings with the same sources share a separator
    return Choice(tuple(prior for prior in priors if prior.name in rounds), scores, confidence)


@torch.no_grad()
def _surest(priors: Sequence[Prior], windows: Tensor, count: int) -> Choice:
    """The priors whose listeners are surest, each in the windows where it is: it need not sound in all of them."""
    ears = [prior.listener for prior in priors if prior.listener]
    odds = torch.cat([certainty(ears, listen(ears, few)) for few in windows.split(BATCH)])  # [B, S]
    sure = odds.topk(math.ceil(SUREST * len(odds)), 0).values.mean(0).sigmoid()
    scores = {prior.name: round(float(one), 6) for prior, one in zip(priors, sure, strict=True)}
    chosen = sorted(scores, key=scores.__getitem__, reverse=True)[:count]
    return Choice(
        tuple(prior for prior in priors if prior.name in chosen), scores, {name: scores[name] for name in chosen}
    )


def _lead(best: float, others: Sequence[float]) -> float | None:
    """Share of a gain that the best candidate left out lacks, in [0, 1]; ``None`` where none was left out."""
    if not others:
        return None
    return max(0.0, min(1.0, (best - max(others)) / best)) if best > 0 else 0.0


def _estimate(prior: Prior, windows: Tensor) -> Tensor:
    return GanPrior([prior], Recipe(settings=Settings(steps=0), listen=False, fallback=False))(windows).waves[:, 0]


def _power(waves: Tensor) -> Tensor:
    """``[B, T]`` to ``[B, F, N]``."""
    return stft(waves, 512).abs().square()


def _distance(heard: Tensor, mixture: Tensor) -> float:
    """Mean absolute log ratio of two spectrograms' magnitudes, each window at its own level."""
    level = mixture.mean((-2, -1), keepdim=True).sqrt() + 1e-8
    ours, theirs = heard.sqrt() / level + FLOOR, mixture.sqrt() / level + FLOOR
    return float((ours.log() - theirs.log()).abs().mean())
