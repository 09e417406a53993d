"""Networks that answer with the sources themselves: their spectra, or their waveforms."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gansep.dsp.stft import change_spectrum
from gansep.nets.spectral import LARGEST, SLOPE, Memory, NetConfig, SpectralNet, feature, unfeature
from gansep.nets.wavegan import UpConv1d

WIDEST = 8  # channels of a level at most, in those of the first
LONGEST = 65536  # samples that a frame of the deepest level may stand for
DILATIONS = (1, 2, 4)  # of the layers along the deepest level
SILENCE = 1e-5  # standard deviation taken for silence, -100 dB of full scale


class SpectralMapping(nn.Module):
    """A mixture's spectrogram to the magnitudes of its sources.

    Args:
        config: of the network; its ``outputs`` are the sources.
    Shape: complex ``[B, F, N]`` to the network's answer ``[B, S, F, N]``, which is compared with :meth:`targets`:
        the sources' features, normalised by the config's mean and std as the mixture's are. :meth:`magnitudes` makes
        magnitudes of it. ``N - 2 * config.dropped`` frames while it is trained with dropped edges.

    >>> mapping = SpectralMapping(NetConfig(outputs=3, n_fft=128, hop=64, width=16, depth=2))
    >>> mapping.magnitudes(mapping(torch.randn(2, 65, 9) * 1j)).shape
    torch.Size([2, 3, 65, 9])
    """

    def __init__(self, config: NetConfig) -> None:
        super().__init__()
        self.net = SpectralNet(config)

    @property
    def config(self) -> NetConfig:
        return self.net.config

    def forward(self, spectrum: Tensor, memory: Memory | None = None) -> Tensor:
        magnitude = spectrum.abs()
        return self.net(magnitude, memory).to(magnitude.dtype)

    def targets(self, magnitudes: Tensor) -> Tensor:
        """The answer that these magnitudes are made of. Shape: ``[B, S, F, N]`` to the same."""
        heard = feature(magnitudes, self.config.feature, self.config.floor)
        return (heard - self.net.mean) / self.net.std

    def magnitudes(self, answer: Tensor) -> Tensor:
        """Magnitudes of an answer, never below 0. Shape: ``[B, S, F, N]`` to the same."""
        return unfeature(answer * self.net.std + self.net.mean, self.config.feature, self.config.floor)

    def separate(self, mixture: Tensor) -> Tensor:
        """Each source's magnitude with the mixture's phase. Shape: ``[B, T]`` to ``[B, S, T]``."""

        def sources(spectrum: Tensor) -> Tensor:
            return self.magnitudes(self(spectrum)) * spectrum.sgn()[:, None]

        return change_spectrum(mixture, sources, self.config.n_fft, self.config.hop)


@dataclass(frozen=True)
class WaveformConfig:
    """Sizes of a waveform mapping.

    Attributes:
        outputs: sources it answers with.
        width: channels of the first level; twice as many at each level below, up to eight times as many.
        depth: levels. kernel, stride: of the convolution into each, in samples of the level above.
        sample_rate: Hz.
    """

    outputs: int = 2
    width: int = 32
    depth: int = 5
    kernel: int = 8
    stride: int = 4
    sample_rate: int = 16000

    def __post_init__(self) -> None:
        sizes = {"outputs": self.outputs, "width": self.width, "depth": self.depth, "sample_rate": self.sample_rate}
        for name, size in sizes.items():
            if size < 1:
                raise ValueError(f"{name} must be at least 1, got {size}")
            if size > LARGEST.get(name, size):
                raise ValueError(f"{name} must be at most {LARGEST[name]}, got {size}")
        if self.stride < 2 or self.kernel < self.stride:
            said = f"got {self.stride} and {self.kernel}"
            raise ValueError(f"stride must be at least 2 and kernel at least as long, {said}")
        if self.stride**self.depth > LONGEST:
            said = f"got {self.stride} to the power of {self.depth}"
            raise ValueError(f"stride to the power of depth must be at most {LONGEST} samples, {said}")

    @property
    def multiple(self) -> int:
        """Samples that a frame of the deepest level stands for."""
        return self.stride**self.depth

    @property
    def channels(self) -> tuple[int, ...]:
        """Of each level from the first."""
        return tuple(self.width * min(2**level, WIDEST) for level in range(self.depth))

    def to_json(self) -> dict[str, Any]:
        """Fields by name, as a card keeps them."""
        return asdict(self)


class WaveformMapping(nn.Module):
    """Mixtures to their sources, sample by sample: a convolutional encoder and decoder with skips.

    After Stoller, Ewert and Dixon, "Wave-U-Net" (ISMIR 2018), with the layers of Défossez et al., "Music Source
    Separation in the Waveform Domain" (2019, arXiv 1911.13254, section 3), but for the recurrent ones at the bottom,
    for which dilated ones stand::

        mixture                                          sources
              \\ down ---------------- + ------------ up /
                    \\ down ---------- + ------ up /
                          \\ down - along - up /

    Every mixture is brought to a mean of 0 and a standard deviation of 1, and its sources back to its level, so that
    level does not matter.

    Args:
        config: sizes.
    Shape: ``[B, T]`` to ``[B, S, T]``, any ``T`` from 1 up.

    >>> WaveformMapping(WaveformConfig(outputs=3, width=4, depth=2))(torch.randn(2, 1001)).shape
    torch.Size([2, 3, 1001])
    """

    def __init__(self, config: WaveformConfig = WaveformConfig()) -> None:
        super().__init__()
        self.config = config
        steps = list(pairwise((1, *config.channels)))
        self.down = nn.ModuleList(_Down(above, own, config) for above, own in steps)
        self.along = nn.Sequential(*(_Along(config.channels[-1], dilation) for dilation in DILATIONS))
        self.up = nn.ModuleList(_Up(own, above, config) for above, own in steps[1:])
        self.head = _Up(config.width, config.outputs, config, last=True)

    def forward(self, mixture: Tensor) -> Tensor:
        if mixture.ndim != 2 or 0 in mixture.shape:
            raise ValueError(f"expected mixtures [B, T] with B, T >= 1, got {list(mixture.shape)}")
        spread, middle = torch.var_mean(mixture, -1, correction=0, keepdim=True)
        level = spread.sqrt().clamp_min(SILENCE)  # [B, 1]
        length = mixture.shape[-1]
        x = F.pad((mixture - middle) / level, (0, -length % self.config.multiple))[:, None]  # [B, 1, T]
        levels = []
        for down in self.down:
            x = down(x)  # [B, C, T / stride^l]
            levels.append(x)
        x = self.along(x)
        for above, up in zip(levels[-2::-1], reversed(self.up), strict=True):
            x = up(x) + above
        return self.head(x)[..., :length].to(mixture.dtype) * level[:, None]


class _Down(nn.Sequential):
    """``[B, C_in, T]`` to ``[B, C_out, T / stride]``, for a ``T`` that the stride divides."""

    def __init__(self, channels_in: int, channels_out: int, config: WaveformConfig) -> None:
        padding = (config.kernel - config.stride + 1) // 2
        super().__init__(
            _conv(channels_in, channels_out, config.kernel, stride=config.stride, padding=padding),
            nn.LeakyReLU(SLOPE),
            _conv(channels_out, 2 * channels_out, 1),
            nn.GLU(1),
        )


class _Along(nn.Module):
    """A look at frames ``dilation`` before and after, added to what came in. ``[B, C, N]``."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        inner = max(1, channels // 2)
        self.layers = nn.Sequential(
            nn.LeakyReLU(SLOPE),
            _conv(channels, inner, 3, dilation=dilation, padding=dilation),
            nn.LeakyReLU(SLOPE),
            _conv(inner, 2 * channels, 1),
            nn.GLU(1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


class _Up(nn.Sequential):
    """``[B, C_in, T]`` to ``[B, C_out, stride * T]``; the last one answers as it is, quietly at first."""

    def __init__(self, channels_in: int, channels_out: int, config: WaveformConfig, last: bool = False) -> None:
        up = UpConv1d(channels_in, channels_out, config.stride, config.kernel)
        if last:
            with torch.no_grad():
                up.weight.mul_(0.1)
        super().__init__(
            _conv(channels_in, 2 * channels_in, 3, padding=1),
            nn.GLU(1),
            up,
            nn.Identity() if last else nn.LeakyReLU(SLOPE),
        )


def _conv(
    channels_in: int, channels_out: int, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1
) -> nn.Conv1d:
    """A convolution that keeps the power of what a leaky rectifier made (He et al., ICCV 2015)."""
    conv = nn.Conv1d(channels_in, channels_out, kernel, stride, padding, dilation)
    nn.init.kaiming_normal_(conv.weight, SLOPE)
    nn.init.zeros_(conv.get_parameter("bias"))
    return conv
