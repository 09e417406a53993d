"""Mappings from a network that was trained on mixtures of exactly these sources: magnitudes or waveforms, no masks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gansep.library import TrainedSeparator
from gansep.nets.mapping import SpectralMapping
from gansep.nets.precision import autocast
from gansep.refine import Refinement
from gansep.types import Estimates


class Mappings:
    """Separator by a trained mapping (see :class:`gansep.types.Separator`).

    Its waveforms are what the network makes, a spectral mapping's with the mixture's phase; they become masks on the
    recording as those of the latent search do, unless they are wanted raw.

    Args:
        model: of kind ``mapping``. sources: the order wanted of its sources; its own if empty.
        exponent: of the estimates' magnitudes in the masks.
    """

    segment: int | None = None

    def __init__(self, model: TrainedSeparator, sources: Sequence[str] = (), exponent: float = 1.0) -> None:
        network = model.network
        self.separate = network.separate if isinstance(network, SpectralMapping) else network
        self.sources = tuple(sources) or model.card.sources
        self.order = [model.card.sources.index(name) for name in self.sources]
        self.cards = [model.card] * len(self.sources)
        self.sample_rate: int | None = model.card.sample_rate
        self.refinement: Refinement | None = Refinement(exponent=exponent)

    def __call__(self, mixture: Tensor) -> Estimates:
        """Separate a batch. Shape: ``[B, T]`` to ``waves [B, S, T]``."""
        with torch.no_grad(), autocast(mixture.device):
            waves = self.separate(mixture)
        return Estimates(waves.float()[:, self.order], self.sources)
