"""Which K of the installed priors explain a mixture: ``-k 2`` without names.

Every prior answers once (its encoder's estimate); then sources are added one by one, each time the one that brings the
sum of their powers nearest to the mixture's, in log magnitude. Phases of generated sound mean nothing, so powers add.
What a prior claims is weighed as it claims it, with no gain fitted afterwards: a prior that can play anything would
else explain everything. The cost grows with the number of priors, not with the number of sets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gansep.backends.gan_prior import GanPrior, Recipe
from gansep.dsp.stft import stft
from gansep.inversion.descent import Settings
from gansep.types import ModelError

if TYPE_CHECKING:
    from gansep.library import Prior

FLOOR = 0.3  # magnitudes about 10 dB below a window's RMS magnitude count as nothing; chosen on dev


@dataclass(frozen=True)
class Choice:
    """The chosen set.

    Attributes:
        priors: the ``K`` chosen, in the order of the candidates.
        scores: by name of every candidate, how much nearer it brought the sum to the mixture when last asked, as a
            mean log ratio of magnitudes.
        confidence: by name of a chosen source, how far it stood above the next candidate: 0 as good, 1 alone.
    """

    priors: tuple[Prior, ...]
    scores: dict[str, float]
    confidence: dict[str, float]


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
    mixture = _power(windows)
    powers = {prior.name: _power(_estimate(prior, windows)) for prior in priors}
    heard = torch.zeros_like(mixture)  # power of the chosen ones
    chosen: list[str] = []
    scores: dict[str, float] = {}
    confidence: dict[str, float] = {}
    while len(chosen) < count:
        before = _distance(heard, mixture)
        gains = {name: before - _distance(heard + powers[name], mixture) for name in powers if name not in chosen}
        best, *others = sorted(gains, key=gains.__getitem__, reverse=True)
        scores |= gains
        confidence[best] = _lead(gains[best], gains[others[0]]) if others else 1.0
        heard = heard + powers[best]
        chosen.append(best)
    return Choice(tuple(prior for prior in priors if prior.name in chosen), scores, confidence)


def _lead(best: float, second: float) -> float:
    """Share of the best gain that the second one lacks, in [0, 1]; 0 where even the best one does not help."""
    return min(1.0, (best - second) / best) if best > 0 else 0.0


def _estimate(prior: Prior, windows: Tensor) -> Tensor:
    return GanPrior([prior], Recipe(settings=Settings(steps=0)))(windows).waves[:, 0]


def _power(waves: Tensor) -> Tensor:
    """``[B, T]`` to ``[B, F, N]``."""
    return stft(waves, 512).abs().square()


def _distance(heard: Tensor, mixture: Tensor) -> float:
    """Mean absolute log ratio of two spectrograms' magnitudes, each window at its own level."""
    level = mixture.mean((-2, -1), keepdim=True).sqrt() + 1e-8
    ours, theirs = heard.sqrt() / level + FLOOR, mixture.sqrt() / level + FLOOR
    return float((ours.log() - theirs.log()).abs().mean())
