"""What mappings learn: the features of the sources' spectrograms, or their waveforms."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gansep.dsp.stft import stft
from gansep.nets.mapping import SpectralMapping, WaveformMapping
from gansep.training.signals import DISTANCES, check_loss, error_ratio, mixture_power, spectral_error

SPECTRAL_LOSSES = ("mae", "mse", "rmse", "signal")
WAVEFORM_LOSSES = ("snr", "mae", "mse")


@dataclass
class SpectralMappingTask:
    """Magnitudes as a task of :class:`gansep.training.supervised.SupervisedTraining`.

    Attributes:
        network: the mapping.
        loss: one of :data:`SPECTRAL_LOSSES`: of normalised features the mean absolute error, the mean squared error
            or its root; ``signal`` the mean absolute error of magnitudes, in means of the mixture's.
    Raises:
        GansepError: an unknown loss.
    """

    network: SpectralMapping
    loss: str = "mae"

    def __post_init__(self) -> None:
        check_loss(self.loss, SPECTRAL_LOSSES, "spectral mappings")

    def __repr__(self) -> str:
        return f"SpectralMappingTask({self.loss!r}, {self.network.config!r})"

    def losses(self, parts: Tensor) -> dict[str, Tensor]:
        """The loss of mixtures of ``parts [B, S, T]``."""
        config = self.network.config
        spectra = stft(parts, config.n_fft, config.hop)  # [B, S, F, N]
        answer = self.network(spectra.sum(1))
        dropped = config.dropped
        if dropped:
            spectra = spectra[..., dropped:-dropped]
        with torch.autocast(parts.device.type, enabled=False):
            magnitudes = spectra.abs()
            if self.loss == "signal":
                value = spectral_error(self.network.magnitudes(answer), magnitudes, spectra.sum(1)).mean()
            else:
                value = DISTANCES[self.loss](answer, self.network.targets(magnitudes))
        return {self.loss: value}

    def separate(self, mixture: Tensor) -> Tensor:
        """Each source's magnitude with the mixture's phase. Shape: ``[B, T]`` to ``[B, S, T]``."""
        return self.network.separate(mixture)


@dataclass
class WaveformMappingTask:
    """Waveforms as a task of :class:`gansep.training.supervised.SupervisedTraining`.

    Attributes:
        network: the mapping.
        loss: one of :data:`WAVEFORM_LOSSES`: ``snr`` the error's power over the mixture's, in dB; ``mae`` and ``mse``
            the mean absolute and the mean squared error, where the mixture has a power of 1.
    Raises:
        GansepError: an unknown loss.
    """

    network: WaveformMapping
    loss: str = "snr"

    def __post_init__(self) -> None:
        check_loss(self.loss, WAVEFORM_LOSSES, "waveform mappings")

    def __repr__(self) -> str:
        return f"WaveformMappingTask({self.loss!r}, {self.network.config!r})"

    def losses(self, parts: Tensor) -> dict[str, Tensor]:
        """The loss of mixtures of ``parts [B, S, T]``."""
        waves = self.network(parts.sum(1))
        with torch.autocast(parts.device.type, enabled=False):
            if self.loss == "snr":
                return {self.loss: error_ratio(waves, parts).mean()}
            level = mixture_power(parts).sqrt()[..., None]  # [B, 1, 1]
            return {self.loss: DISTANCES[self.loss](waves / level, parts / level)}

    def separate(self, mixture: Tensor) -> Tensor:
        """``[B, T]`` to ``[B, S, T]``."""
        return self.network(mixture)
