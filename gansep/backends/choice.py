"""Which K of the installed priors explain a mixture: ``-k 2`` without names.

Every prior answers once (its encoder's estimate); then sources are added one by one, each time the one that brings the
sum of estimates nearest to the mixture. The cost grows with the number of priors, not with the number of sets.
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


@dataclass(frozen=True)
class Choice:
    """The chosen set.

    Attributes:
        priors: the ``K`` chosen, in the order of the candidates.
        scores: by name, what a source adds to the explained share of the mixture, last asked.
        confidence: by name of a chosen source, how far it stood above the next candidate, 0 to 1.
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
    mixture = _picture(windows)  # [B, P]
    pictures = {prior.name: _picture(_estimate(prior, windows)) for prior in priors}
    chosen: list[Prior] = []
    scores: dict[str, float] = {}
    confidence: dict[str, float] = {}
    while len(chosen) < count:
        base = [pictures[prior.name] for prior in chosen]
        rest = [prior for prior in priors if prior not in chosen]
        shares = {p.name: _explained([*base, pictures[p.name]], mixture) for p in rest}
        order = sorted(rest, key=lambda p: shares[p.name], reverse=True)
        scores |= shares
        margin = shares[order[0].name] - (shares[order[1].name] if len(order) > 1 else 0.0)
        confidence[order[0].name] = float(torch.tensor(margin * MARGIN_SCALE).tanh())
        chosen.append(order[0])
    # in the order of the candidates, so that recordings with the same sources share a separator
    return Choice(tuple(prior for prior in priors if prior in chosen), scores, confidence)


MARGIN_SCALE = 20.0


def _estimate(prior: Prior, windows: Tensor) -> Tensor:
    recipe = Recipe(settings=Settings(steps=0))
    return GanPrior([prior], recipe)(windows).waves[:, 0]


def _picture(waves: Tensor) -> Tensor:
    """Compressed magnitudes, ``[B, T]`` to ``[B, F * N]``: power 2/3 lies between loudness and energy."""
    return stft(waves, 512).abs().pow(2 / 3).flatten(1)


def _explained(parts: Sequence[Tensor], whole: Tensor) -> float:
    """Share of the energy of ``whole`` that a non-negative sum of ``parts`` leaves no error in, over all windows."""
    stack = torch.stack(list(parts), 1)  # [B, S, P]
    target = torch.einsum("bsp,bp->bs", stack, whole)
    gram = torch.einsum("bsp,btp->bst", stack, stack)
    gains = torch.ones_like(target)
    for _ in range(100):
        gains = gains * target / torch.einsum("bst,bt->bs", gram, gains).clamp_min(1e-12)
    error = (whole - torch.einsum("bs,bsp->bp", gains, stack)).square().sum()
    return float(1 - error / whole.square().sum().clamp_min(1e-12))
