"""WaveGAN: the generator that is the prior, the critic that trains it, the encoder that starts the search.

Generator and critic follow Donahue, McAuley and Puckette, "Adversarial Audio Synthesis" (ICLR 2019,
arXiv 1802.04208), table 3 and 4: kernel 25, stride 4, no batch normalisation, phase shuffle in the critic.
The encoder is ours: it reads a *mixture* and answers with the latent and the level of one source.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gansep.dsp.stft import stft
from gansep.nets.spectral import NetConfig

SEGMENTS = (16384, 32768, 65536)
DOMAINS = ("waveform", "magnitude")
MOST_CLASSES = 1024  # no card may ask for a network that fills the machine


@dataclass(frozen=True)
class PriorConfig:
    """Sizes of a prior's networks.

    Attributes:
        dim: channels of the last hidden layer; 64 in the article.
        latent: numbers in a latent, each in [-1, 1].
        segment: samples a generator makes; 16384, 32768 or 65536.
        sample_rate: Hz.
        width: channels of the encoder, a multiple of 16 (its normalisation has 8 groups, also for 3 / 2 of them).
        variational: whether latents are of a normal distribution instead of the box, and the encoder answers with one.
        domain: ``waveform``, or ``magnitude`` for a variational prior that plays spectra
            (:mod:`gansep.nets.spectrogram`).
        classes: names of what a variational generator can be told to play, beside its latents.
        listener: of the network that hears the source in a mixture (:mod:`gansep.nets.listener`); the name of a model
            of kind ``listener`` that hears it among others; ``None`` for none.
        hears: names of the sources that its own network hears, the prior's first; there may be others.
        hears_sha256: of the recordings behind each.
    """

    dim: int = 32
    latent: int = 100
    segment: int = 16384
    sample_rate: int = 16000
    width: int = 192
    variational: bool = False
    domain: str = "waveform"
    classes: tuple[str, ...] = ()
    listener: NetConfig | str | None = None
    hears: tuple[str, ...] = ()
    hears_sha256: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for what in ("classes", "hears", "hears_sha256"):
            names = tuple(getattr(self, what))
            if isinstance(getattr(self, what), str) or not all(isinstance(name, str) for name in names):
                raise ValueError(f"{what} must be a list of names, got {getattr(self, what)!r:.60}")
            object.__setattr__(self, what, names)
        listener: Any = self.listener  # a card's is a dictionary
        if isinstance(listener, Mapping):
            object.__setattr__(self, "listener", NetConfig(**listener))
        if isinstance(self.listener, NetConfig) and self.listener.sample_rate != self.sample_rate:
            raise ValueError(f"the listener's sample_rate must be {self.sample_rate}, got {self.listener.sample_rate}")
        if self.hears and (not isinstance(self.listener, NetConfig) or self.listener.outputs != 2 * len(self.hears)):
            raise ValueError(f"a listener of {len(self.hears)} sources needs {2 * len(self.hears)} outputs")
        if self.hears_sha256 and len(self.hears_sha256) != len(self.hears):
            raise ValueError(f"hears_sha256 must be one for each of {len(self.hears)}, got {len(self.hears_sha256)}")
        if self.domain not in DOMAINS:
            raise ValueError(f"unknown domain {self.domain!r}; expected one of {', '.join(DOMAINS)}")
        if not self.variational and (self.domain != "waveform" or self.classes):
            raise ValueError("only a variational prior plays spectra or is told classes")
        if len(self.classes) > MOST_CLASSES or len(set(self.classes)) < len(self.classes):
            raise ValueError(f"classes must be different names, at most {MOST_CLASSES}")
        if self.segment not in SEGMENTS:
            raise ValueError(f"segment must be one of {SEGMENTS} samples, got {self.segment}")
        if min(self.dim, self.latent, self.sample_rate) < 1:
            sizes = f"{self.dim}, {self.latent}, {self.sample_rate}"
            raise ValueError(f"dim, latent and sample_rate must be at least 1, got {sizes}")
        if self.width < 1 or self.width % 16:
            raise ValueError(f"width must be a multiple of 16, got {self.width}")

    def to_json(self) -> dict[str, Any]:
        own = self.listener.to_json() if isinstance(self.listener, NetConfig) else self.listener
        return asdict(self) | {"listener": own}


def draw_latents(config: PriorConfig, count: int, random: torch.Generator) -> Tensor:
    """Latents as a prior has them: uniform in [-1, 1], or normal. Shape: returns ``[count, Z]``."""
    if config.variational:
        return torch.randn(count, config.latent, generator=random)
    return torch.rand(count, config.latent, generator=random) * 2 - 1


def _strides(segment: int) -> tuple[int, ...]:
    """Upsampling of the layers after the 16-sample seed: 4 each, the sixth one 2 for 32768 samples."""
    return {16384: (4,) * 5, 32768: (4,) * 5 + (2,), 65536: (4,) * 6}[segment]


class UpConv1d(nn.Module):
    """Transposed convolution, kernel 25, computed as an ordinary convolution followed by interleaving.

    Output sample ``stride * m + r`` of the transposed convolution (padding 11) is
    ``sum_i x[i] w[stride * (m - i) + r + 11]``: for each phase ``r`` an ordinary convolution over at most
    ``ceil(25 / stride)`` neighbours of ``m``. All phases at once are one convolution with ``stride`` times the
    channels, which CPUs run faster than the scatter of a transposed one. Weights keep the layout of
    ``nn.ConvTranspose1d``, so both forms load the same file.

    Shape: ``[B, C_in, T]`` to ``[B, C_out, stride * T]``.
    """

    index: Tensor

    def __init__(self, channels_in: int, channels_out: int, stride: int = 4, kernel: int = 25) -> None:
        super().__init__()
        self.stride, self.kernel = stride, kernel
        self.padding = (kernel - stride + 1) // 2
        self.weight = nn.Parameter(torch.empty(channels_in, channels_out, kernel))
        self.bias = nn.Parameter(torch.zeros(channels_out))
        # He initialisation: each output hears kernel / stride taps of every input channel, after a ReLU.
        nn.init.normal_(self.weight, std=(2 * stride / (channels_in * kernel)) ** 0.5)
        self.reach = (self.padding + stride - 1) // stride  # neighbours needed on either side
        taps = torch.arange(self.reach, -self.reach - 1, -1)  # conv tap t reads x[m + t - reach], so m - i = reach - t
        index = stride * taps[None, :] + torch.arange(stride)[:, None] + self.padding  # [stride, taps]
        index = torch.where((index >= 0) & (index < kernel), index, kernel)  # kernel: a zero appended to the weight
        self.register_buffer("index", index, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        c_in, c_out, _ = self.weight.shape
        phases = F.pad(self.weight, (0, 1))[:, :, self.index]  # [C_in, C_out, stride, taps]
        phases = phases.permute(1, 2, 0, 3).reshape(c_out * self.stride, c_in, -1)
        y = F.conv1d(x, phases, self.bias.repeat_interleave(self.stride), padding=self.reach)  # [B, C_out * stride, T]
        y = y.reshape(x.shape[0], c_out, self.stride, x.shape[-1]).transpose(2, 3)  # [B, C_out, T, stride]
        return y.reshape(x.shape[0], c_out, -1)

    def transposed(self, x: Tensor) -> Tensor:
        """The same map by ``conv_transpose1d``: the reference the tests hold :meth:`forward` against."""
        extra = self.stride - self.kernel + 2 * self.padding
        return F.conv_transpose1d(x, self.weight, self.bias, self.stride, self.padding, output_padding=extra)


class Generator(nn.Module):
    """Latents to waveforms. Shape: ``[B, Z]`` to ``[B, segment]``, values in [-1, 1].

    One with classes may be told the number of one, ``[B]``; -1, and none at all, is for any of them.
    """

    def __init__(self, config: PriorConfig) -> None:
        super().__init__()
        strides = _strides(config.segment)
        widths = [config.dim * 2**i for i in range(len(strides) - 1, -1, -1)]
        self.classes = len(config.classes)
        self.seed = nn.Linear(config.latent + self.classes, 16 * widths[0])
        self.layers = nn.ModuleList(
            UpConv1d(c_in, c_out, stride) for c_in, c_out, stride in zip(widths, [*widths[1:], 1], strides, strict=True)
        )
        nn.init.normal_(self.seed.weight, std=(3 / config.latent) ** 0.5)  # uniform latents have a variance of 1/3
        with torch.no_grad():
            self.layers[-1].get_parameter("weight").mul_(0.1)  # start quiet, far from where tanh is flat

    def forward(self, latents: Tensor, which: Tensor | None = None) -> Tensor:
        x = self.seed(told(latents, which, self.classes)).reshape(latents.shape[0], -1, 16)  # [B, C, 16]
        for layer in self.layers:
            x = layer(F.relu(x))
        return torch.tanh(x.squeeze(1).float())


def told(latents: Tensor, which: Tensor | None, classes: int) -> Tensor:
    """Latents with the class beside them, as a 1 among zeros. Shape: ``[B, Z]`` to ``[B, Z + classes]``.

    >>> told(torch.zeros(2, 1), torch.tensor([1, -1]), 3)
    tensor([[0., 0., 1., 0.],
            [0., 0., 0., 0.]])
    """
    if which is None:
        return F.pad(latents, (0, classes))
    return torch.cat([latents, (which[:, None] == torch.arange(classes, device=which.device)).to(latents)], 1)


class Told(nn.Module):
    """A generator that is told one class, whatever the latents. Args: generator; number of the class."""

    def __init__(self, generator: nn.Module, which: int) -> None:
        super().__init__()
        self.generator, self.which = generator, which

    def forward(self, latents: Tensor) -> Tensor:
        which = torch.full((len(latents),), self.which, device=latents.device)
        return self.generator(latents, which)


class Critic(nn.Module):
    """Waveforms to one score each (not a probability). Shape: ``[B, segment]`` to ``[B]``.

    Phase shuffle moves each layer's activations by up to ``shuffle`` samples, so that the critic cannot tell
    real from made by the phase that upsampling leaves behind (Donahue et al., section 3.3).
    """

    def __init__(self, config: PriorConfig, shuffle: int = 2) -> None:
        super().__init__()
        self.shuffle = shuffle
        strides = _strides(config.segment)[::-1]
        widths = [config.dim * 2**i for i in range(len(strides))]
        self.layers = nn.ModuleList(
            nn.Conv1d(c_in, c_out, 25, stride, padding=(25 - stride + 1) // 2)
            for c_in, c_out, stride in zip([1, *widths[:-1]], widths, strides, strict=True)
        )
        self.score = nn.Linear(16 * widths[-1], 1)

    def forward(self, wave: Tensor, random: torch.Generator | None = None) -> Tensor:
        x = wave.unsqueeze(1)  # [B, 1, T]
        for i, layer in enumerate(self.layers):
            x = F.leaky_relu(layer(x), 0.2)
            if self.shuffle and random is not None and i < len(self.layers) - 1:
                x = phase_shuffle(x, self.shuffle, random)
        return self.score(x.flatten(1)).squeeze(1)


def phase_shuffle(x: Tensor, reach: int, random: torch.Generator) -> Tensor:
    """Move each example by its own random number of samples in [-reach, reach], reflecting at the edges.

    Shape: ``[B, C, T]`` to the same.
    """
    shifts = torch.randint(-reach, reach + 1, (x.shape[0], 1), generator=random, device=random.device).to(x.device)
    at = torch.arange(x.shape[-1], device=x.device)[None, :] + shifts  # [B, T]
    last = x.shape[-1] - 1
    at = last - (last - at.abs()).abs()
    return x.gather(2, at[:, None, :].expand_as(x))


class Encoder(nn.Module):
    """Mixture to the latent and the gain of one source: where the search starts.

    Reads log-magnitude frames (512-point windows, hop 128) as channels of a one-dimensional convolution over
    time, so that every layer sees all frequencies. Level-blind: the mixture is scaled to unit RMS first and the
    gain is scaled back.

    Shape: ``[B, segment]`` to ``([B, Z]`` in [-1, 1]``, [B]`` gain > 0``)``; of a variational one the latents are the
    means of :meth:`distribution`.
    """

    N_FFT = 512

    def __init__(self, config: PriorConfig) -> None:
        super().__init__()
        width, bins = config.width, self.N_FFT // 2 + 1
        widths = [width, width, width * 3 // 2, width * 2, width * 2]
        self.stem = nn.Conv1d(bins, width, 5, padding=2)
        self.layers = nn.ModuleList(_Down(a, b) for a, b in pairwise(widths))
        frames = config.segment // 128 + 1
        for _ in self.layers:
            frames = (frames + 1) // 2
        self.mix = nn.Sequential(nn.Linear(widths[-1] * frames, 2 * width), nn.LayerNorm(2 * width))
        self.latent, self.variational = config.latent, config.variational
        self.head = nn.Linear(2 * width, config.latent * (2 if config.variational else 1) + 1)
        nn.init.normal_(self.head.weight, std=(2 * width) ** -0.5)  # latents start spread over the box
        nn.init.zeros_(self.head.bias)
        if config.variational:  # sure of its means at first, or the generator learns to ignore what is mostly noise
            with torch.no_grad():
                self.head.weight[config.latent : -1] *= 0.1
                self.head.bias[config.latent : -1] = -4.0

    def forward(self, mixture: Tensor) -> tuple[Tensor, Tensor]:
        latents, gain, _ = self._answer(mixture)
        return latents, gain

    def distribution(self, mixture: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Mean and log variance of the latents, ``[B, Z]`` each, and the gain ``[B]``; of a variational one."""
        mean, gain, spread = self._answer(mixture)
        assert spread is not None
        return mean, spread, gain

    def _answer(self, mixture: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        level = mixture.square().mean(-1, keepdim=True).sqrt().clamp_min(1e-5)  # [B, 1]
        x = torch.log(stft(mixture / level, self.N_FFT, 128).abs() + 0.02) / 3  # [B, F, N]
        x = F.leaky_relu(self.stem(x), 0.2)
        for layer in self.layers:
            x = layer(x)
        y = self.head(F.leaky_relu(self.mix(x.flatten(1)), 0.2)).float()
        gain = level.squeeze(1) * torch.exp(_leaky_clamp(y[:, -1], -8, 4))
        if self.variational:
            return y[:, : self.latent], gain, _leaky_clamp(y[:, self.latent : -1], -12, 4)
        return torch.tanh(y[:, :-1]), gain, None


def _leaky_clamp(x: Tensor, low: float, high: float) -> Tensor:
    """``x`` within bounds; beyond them a hundredth of the way on, so that learning finds back."""
    inside = x.clamp(low, high)
    return inside + 0.01 * (x - inside)


class _Down(nn.Module):
    """Residual layer that halves the frame rate. Shape: ``[B, C_in, N]`` to ``[B, C_out, ceil(N / 2)]``."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(8, channels_in)
        self.inner = nn.Conv1d(channels_in, channels_out, 5, 2, padding=2)
        self.outer = nn.Conv1d(channels_out, channels_out, 3, padding=1)
        self.skip = nn.Conv1d(channels_in, channels_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.outer(F.leaky_relu(self.inner(self.norm(x)), 0.2))
        return F.leaky_relu(y + self.skip(F.avg_pool1d(x, 2, 2, ceil_mode=True)), 0.2)
