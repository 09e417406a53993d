"""Autoencoders that take mixtures apart: a denoiser, or one whose decoder is told which source to answer with."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gansep.dsp.stft import change_spectrum
from gansep.library import TrainedSeparator
from gansep.nets.precision import autocast
from gansep.nets.sound import SoundAutoencoder
from gansep.refine import Refinement, refine
from gansep.types import Estimates

SHARE = 2.0  # exponent of magnitudes in the masks of a model that is told sources: the Wiener filter
SOFT = 1 / 3  # exponent of a denoiser's mask; chosen on dev
FAINT = 1e-4  # magnitude taken for none


class Autoencoders:
    """Separator by a trained autoencoder (see :class:`gansep.types.Separator`).

    Args:
        model: of kind ``autoencoder``.
        sources: those wanted, in their order; all of its own if empty.
        exponent: of the estimates' magnitudes in the masks, :data:`SHARE` unless given. Of a denoiser, which has no
            estimate of the noise, the mask is the share of its magnitude in the mixture's to this power, :data:`SOFT`
            unless given: what is learned of logarithms is too low wherever it is unsure.

    All sources of the model get masks, whichever are wanted. Where that is not all, the waveforms are shares of the
    mixture, and the others' shares are left to the residual; else they are as the network makes them.
    """

    segment: int | None = None

    def __init__(self, model: TrainedSeparator, sources: Sequence[str] = (), exponent: float | None = None) -> None:
        assert isinstance(model.network, SoundAutoencoder)
        self.network = model.network
        self.sources = tuple(sources) or model.card.sources
        self.order = [model.card.sources.index(name) for name in self.sources]
        self.cards = [model.card] * len(self.sources)
        self.sample_rate: int | None = model.card.sample_rate
        told = self.network.config.classes > 0
        self.soft = SOFT if exponent is None else exponent
        share = (SHARE if exponent is None else exponent) if told else 1.0
        self.masks = Refinement(exponent=share)  # of all sources
        self.some = len(self.sources) < len(model.card.sources)
        # Shares of the mixture become masks as they are: what none of them claims is another source's.
        alone = Refinement(exponent=1.0, floor=0.0, residual=1.0)
        self.refinement: Refinement | None = alone if self.some else self.masks

    def __call__(self, mixture: Tensor) -> Estimates:
        """Separate a batch. Shape: ``[B, T]`` to ``waves [B, S, T]``."""
        with torch.no_grad():
            waves = self._told(mixture) if self.network.config.classes else self._clean(mixture)
            if self.some:
                rate = self.network.config.sample_rate
                waves = refine(mixture[:, None], rate, waves, rate, self.masks)[:, :, 0]
        return Estimates(waves[:, self.order], self.sources)

    def _told(self, mixture: Tensor) -> Tensor:
        """All of the model's sources. Shape: ``[B, T]`` to ``[B, S, T]``."""
        network = self.network
        with autocast(mixture.device):
            answer = network.answers(network.hear(mixture), range(network.config.classes)).float()
        return torch.stack([network.sound(one, mixture) for one in answer.unbind(1)], 1)

    def _clean(self, mixture: Tensor) -> Tensor:
        """The clean sound and the rest. Shape: ``[B, T]`` to ``[B, 2, T]``."""
        network = self.network
        with autocast(mixture.device):
            answer = network(network.hear(mixture)).float()
        clean = network.sound(answer, mixture)
        return torch.stack([clean, self._rest(mixture, clean, answer)], 1)

    def _rest(self, mixture: Tensor, clean: Tensor, answer: Tensor) -> Tensor:
        """Noise beside which the clean sound's share is as soft as wanted; with an exponent of 1 what is left over."""
        config = self.network.config
        if config.domain == "waveform":
            return mixture - clean
        magnitude = self.network.magnitudes(answer).clamp_min(FAINT)

        def rest(spectrum: Tensor) -> Tensor:
            above = (spectrum.abs() / magnitude).clamp_min(1)
            return magnitude * (above**self.soft - 1) * spectrum.sgn()

        return change_spectrum(mixture, rest, config.n_fft, config.hop)
