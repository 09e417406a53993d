"""Autoencoders that take mixtures apart: a denoiser, or one whose decoder is told which source to answer with."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gansep.library import TrainedSeparator
from gansep.nets.precision import autocast
from gansep.nets.sound import SoundAutoencoder
from gansep.refine import Refinement
from gansep.types import Estimates


class Autoencoders:
    """Separator by a trained autoencoder (see :class:`gansep.types.Separator`).

    Args:
        model: of kind ``autoencoder``.
        sources: those wanted, in their order; all of its own if empty.
        exponent: of the estimates' magnitudes in the masks; a single source has none beside it to share with, and is
            heard as the network makes it.
    """

    segment: int | None = None

    def __init__(self, model: TrainedSeparator, sources: Sequence[str] = (), exponent: float = 2.0) -> None:
        assert isinstance(model.network, SoundAutoencoder)
        self.network = model.network
        self.sources = tuple(sources) or model.card.sources
        self.order = [model.card.sources.index(name) for name in self.sources]
        self.cards = [model.card] * len(self.sources)
        self.sample_rate: int | None = model.card.sample_rate
        self.refinement: Refinement | None = Refinement(exponent=exponent) if len(self.sources) > 1 else None

    def __call__(self, mixture: Tensor) -> Estimates:
        """Separate a batch. Shape: ``[B, T]`` to ``waves [B, S, T]``."""
        with torch.no_grad():
            waves = self._told(mixture) if self.network.config.classes else self._clean(mixture)
        return Estimates(waves, self.sources)

    def _told(self, mixture: Tensor) -> Tensor:
        network = self.network
        with autocast(mixture.device):
            answer = network.answers(network.hear(mixture), self.order).float()
        return torch.stack([network.sound(one, mixture) for one in answer.unbind(1)], 1)

    def _clean(self, mixture: Tensor) -> Tensor:
        network = self.network
        with autocast(mixture.device):
            answer = network(network.hear(mixture)).float()
        clean = network.sound(answer, mixture)
        return torch.stack([clean, mixture - clean], 1)[:, self.order]
