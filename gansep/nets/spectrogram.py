"""A generator that plays spectra: latents to log magnitudes, and to a sound whose phases Griffin-Lim finds."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gansep.dsp.stft import stft
from gansep.nets.sound import griffin_lim
from gansep.nets.spectral import SLOPE, feature, unfeature
from gansep.nets.wavegan import Generator, PriorConfig, told

N_FFT, HOP = 512, 128
FLOOR = 0.02  # magnitude added before the logarithm; a window's peak is 1
CENTRE, SPREAD = -2.5, 2.0  # of such logarithms, roughly, whatever the source
HALVINGS = 5  # of both axes, from the spectrogram down to what the latents make


class SpectralGenerator(nn.Module):
    """Latents to spectra.

    Args:
        config: sizes; channels are ``dim`` at the spectrogram and twice as many at every other halving.
    Shape: ``[B, Z]`` to ``[B, segment]``, without gradient: to learn, and to search, is for :meth:`levels`.
    """

    def __init__(self, config: PriorConfig) -> None:
        super().__init__()
        self.segment, self.classes = config.segment, len(config.classes)
        self.bins, self.frames = N_FFT // 2 + 1, config.segment // HOP + 1
        self.grids = [(-(-self.bins // 2**level), -(-self.frames // 2**level)) for level in range(HALVINGS, -1, -1)]
        widths = [config.dim * 2 ** (level // 2) for level in range(HALVINGS, -1, -1)]
        rows, columns = self.grids[0]
        self.seed = nn.Linear(config.latent + self.classes, widths[0] * rows * columns)
        self.layers = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise(widths))
        self.norms = nn.ModuleList(nn.GroupNorm(1, width) for width in widths[:-1])
        self.last = nn.Conv2d(widths[-1], 1, 3, padding=1)

    def levels(self, latents: Tensor, which: Tensor | None = None) -> Tensor:
        """Normalised logarithms of magnitudes. Shape: ``[B, Z]`` and ``[B]`` to ``[B, F, N]``."""
        x = self.seed(told(latents, which, self.classes)).reshape(len(latents), -1, *self.grids[0])
        for layer, norm, grid in zip(self.layers, self.norms, self.grids[1:], strict=True):
            x = F.interpolate(F.leaky_relu(norm(x), SLOPE), grid, mode="nearest")
            x = layer(x)
        return self.last(F.leaky_relu(x, SLOPE)).squeeze(1).float()

    @torch.no_grad()
    def forward(self, latents: Tensor, which: Tensor | None = None) -> Tensor:
        magnitude = unfeature(self.levels(latents, which) * SPREAD + CENTRE, "log", FLOOR)
        if not magnitude.isfinite().all():  # of which no phases can be found
            return magnitude.new_full((len(latents), self.segment), torch.nan)
        return griffin_lim(magnitude, self.segment, N_FFT, HOP).clamp(-1, 1)


def levels_of(wave: Tensor) -> Tensor:
    """What :meth:`SpectralGenerator.levels` shall be for a sound. Shape: ``[B, T]`` to ``[B, F, N]``."""
    return (feature(stft(wave, N_FFT, HOP).abs(), "log", FLOOR) - CENTRE) / SPREAD


def make_generator(config: PriorConfig) -> Generator | SpectralGenerator:
    """The generator of a prior."""
    return SpectralGenerator(config) if config.domain == "magnitude" else Generator(config)
