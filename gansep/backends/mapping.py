"""Mappings from a network that was trained on mixtures of exactly these sources: magnitudes or waveforms, no masks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from gansep.dsp.stft import istft, stft
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
        self.network = model.network
        self.sources = tuple(sources) or model.card.sources
        self.order = [model.card.sources.index(name) for name in self.sources]
        self.cards = [model.card] * len(self.sources)
        self.sample_rate: int | None = model.card.sample_rate
        self.refinement: Refinement | None = Refinement(exponent=exponent)

    def __call__(self, mixture: Tensor) -> Estimates:
        """Separate a batch. Shape: ``[B, T]`` to ``waves [B, S, T]``."""
        with torch.no_grad(), autocast(mixture.device):
            waves = self._spectral(mixture) if isinstance(self.network, SpectralMapping) else self.network(mixture)
        return Estimates(waves.float()[:, self.order], self.sources)

    def _spectral(self, mixture: Tensor) -> Tensor:
        network = self.network
        assert isinstance(network, SpectralMapping)
        config, length = network.config, mixture.shape[-1]
        whole = F.pad(mixture, (0, -length % config.hop))  # else the last samples are at one window's faint edge only
        spectrum = stft(whole, config.n_fft, config.hop)  # [B, F, N]
        magnitudes = network.magnitudes(network(spectrum).float())
        phase = spectrum / spectrum.abs().clamp_min(1e-12)
        return istft(magnitudes * phase[:, None], whole.shape[-1], config.n_fft, config.hop)[..., :length]
