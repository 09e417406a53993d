"""Networks that hear a mixture's spectrogram and answer for every source at every time-frequency point.

One trunk of three serves masks and spectral mappings alike:

- ``dnn``: the classic of supervised speech separation (Wang et al., TASLP 2014): a few neighbouring frames through wide
  layers with batch normalisation.
- ``blstm``: recurrent layers over time, both ways (Erdogan et al., ICASSP 2015); one way if causal.
- ``tfconv``: convolutions that halve the frequency axis, dilated ones over time at its narrow end (as in Conv-TasNet,
  Luo and Mesgarani, TASLP 2019), and back with skips (as in CRN, Tan and Wang, Interspeech 2018). No layer
  normalises over time once it is trained, so that a causal one can go on where it stopped.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

NETWORKS = ("dnn", "blstm", "tfconv")
FEATURES = ("log", "magnitude", "power")
EDGES = ("zero", "drop")
SIZES = {"dnn": (2048, 3), "blstm": (256, 2), "tfconv": (192, 10)}  # width and depth unless said otherwise
# No card may ask for a network that takes minutes to build, or that hears nothing over its floor.
LARGEST = {"outputs": 256, "width": 16384, "depth": 64, "context": 64, "n_fft": 65536, "floor": 1000}
SLOPE = 0.2  # of the leaky rectifiers
CHANNELS = (16, 24, 32, 48, 64)  # of tfconv, as far as the frequency axis is halved
NARROW = 20  # bins at which it is narrow enough
CYCLE = 5  # dilations 1, 2 ... 16, and again

Memory = dict[nn.Module, Any]  # what the layers of a causal network keep of the frames before


@dataclass(frozen=True)
class NetConfig:
    """Sizes and features of a network.

    Attributes:
        outputs: maps it answers with, one or two a source.
        network: one of :data:`NETWORKS`. width, depth: of its layers; 0 for what suits it.
        n_fft, hop: of the spectrograms, in samples. sample_rate: Hz.
        feature: what it hears, one of :data:`FEATURES`. floor: magnitude added before a logarithm.
        mean, std: of the feature over the training mixtures, one number a bin.
        context: frames before and after that ``dnn`` hears beside each.
        edges: at a recording's ends, ``zero`` frames as context, or ``drop`` the frames that lack it.
        dropout: of ``dnn`` and ``blstm``. causal: whether no frame after may be heard.
    """

    outputs: int = 2
    network: str = "tfconv"
    width: int = 0
    depth: int = 0
    n_fft: int = 512
    hop: int = 256
    sample_rate: int = 16000
    feature: str = "log"
    floor: float = 1e-3
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    context: int = 2
    edges: str = "zero"
    dropout: float = 0.2
    causal: bool = False

    def __post_init__(self) -> None:
        for what, value, known in (
            ("network", self.network, NETWORKS),
            ("feature", self.feature, FEATURES),
            ("edges", self.edges, EDGES),
        ):
            if value not in known:
                raise ValueError(f"unknown {what} {value!r}; expected one of {', '.join(known)}")
        width, depth = SIZES[self.network]
        object.__setattr__(self, "width", self.width or width)
        object.__setattr__(self, "depth", self.depth or depth)
        if min(self.outputs, self.width, self.depth, self.sample_rate) < 1 or self.context < 0:
            raise ValueError("outputs, width, depth and sample_rate must be at least 1 and context at least 0")
        for name, most in LARGEST.items():
            if getattr(self, name) > most:
                raise ValueError(f"{name} must be at most {most}, got {getattr(self, name)}")
        if self.n_fft < 64 or self.n_fft % 4 or not 1 <= self.hop <= self.n_fft // 2:
            said = f"got {self.n_fft} and {self.hop}"
            raise ValueError(f"n_fft must be a multiple of 4 from 64 up and hop at most half of it, {said}")
        object.__setattr__(self, "mean", tuple(self.mean) or (0.0,) * self.bins)
        object.__setattr__(self, "std", tuple(self.std) or (1.0,) * self.bins)
        if len(self.mean) != self.bins or len(self.std) != self.bins or not all(value > 0 for value in self.std):
            raise ValueError(f"mean and std must have {self.bins} numbers, those of std above 0")
        if not 0 <= self.dropout < 1 or not self.floor > 0:
            raise ValueError(f"dropout must be in [0, 1) and floor above 0, got {self.dropout} and {self.floor}")
        if self.causal and self.dropped:
            raise ValueError("a causal dnn has frames before it for context, so edges must be zero, got drop")

    @property
    def bins(self) -> int:
        """Frequencies of a spectrum, ``F``."""
        return self.n_fft // 2 + 1

    @property
    def dropped(self) -> int:
        """Frames at either end that have no answer of their own."""
        return self.context if self.network == "dnn" and self.edges == "drop" else 0

    def to_json(self) -> dict[str, Any]:
        """Fields by name, as a card keeps them."""
        return asdict(self) | {"mean": list(self.mean), "std": list(self.std)}


class SpectralNet(nn.Module):
    """Magnitudes of a mixture to maps of the same size, unbounded.

    Args:
        config: sizes and features.
    Shape: ``[B, F, N]`` to ``[B, outputs, F, N]``; ``N - 2 * config.dropped`` frames while it is trained with dropped
        edges. Otherwise the first and the last frame are their own context there.

    >>> net = SpectralNet(NetConfig(outputs=3, n_fft=128, hop=64, width=16, depth=2))
    >>> net(torch.rand(2, 65, 9)).shape
    torch.Size([2, 3, 65, 9])
    """

    mean: Tensor
    std: Tensor

    def __init__(self, config: NetConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("mean", torch.tensor(config.mean)[:, None], persistent=False)
        self.register_buffer("std", torch.tensor(config.std)[:, None], persistent=False)
        self.trunk = {"dnn": _Dense, "blstm": _Recurrent, "tfconv": _Convolutional}[config.network](config)

    def forward(self, magnitude: Tensor, memory: Memory | None = None) -> Tensor:
        """The maps.

        Args:
            magnitude: of the mixture's spectrogram, frames in a row.
            memory: of a causal ``tfconv`` that hears a recording piece by piece: empty at first, changed by each call.
        """
        if magnitude.ndim != 3 or magnitude.shape[1] != self.config.bins or 0 in magnitude.shape:
            raise ValueError(f"expected magnitudes [B, {self.config.bins}, N], got {list(magnitude.shape)}")
        if memory is not None and not (self.config.causal and self.config.network == "tfconv"):
            raise ValueError("only a causal tfconv can hear a recording piece by piece")
        heard = (feature(magnitude, self.config.feature, self.config.floor) - self.mean) / self.std
        return self.trunk(heard, memory)


def feature(magnitude: Tensor, kind: str, floor: float) -> Tensor:
    """What a network hears of magnitudes: themselves, their squares, or their natural logarithm over a floor."""
    if kind == "log":
        return (magnitude + floor).log()
    return magnitude if kind == "magnitude" else magnitude.square()


def unfeature(heard: Tensor, kind: str, floor: float) -> Tensor:
    """Magnitudes that :func:`feature` hears so; 0 where there are none.

    >>> magnitude = torch.tensor([0.0, 0.5, 20.0])
    >>> for kind in FEATURES:
    ...     torch.testing.assert_close(unfeature(feature(magnitude, kind, 0.25), kind, 0.25), magnitude)
    """
    if kind == "log":
        return (heard.exp() - floor).clamp_min(0)
    if kind == "magnitude":
        return heard.clamp_min(0)
    above = heard > 0  # the square root's gradient at 0 is infinite, and would be so times 0
    return torch.where(above, heard.where(above, 1.0).sqrt(), 0.0)


def statistics(heard: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of every row of ``[B, D, N]``; no deviation is far below the others."""
    spread, mean = torch.var_mean(heard, (0, 2))
    std = spread.sqrt().clamp_min(1e-3 * spread.sqrt().mean())
    return _short(mean), _short(std)


def _short(values: Tensor) -> tuple[float, ...]:
    return tuple(float(f"{value:.5g}") for value in values.tolist())


class _Dense(nn.Module):
    """``[B, F, N]`` to ``[B, outputs, F, N]``, every frame by itself and its neighbours."""

    def __init__(self, config: NetConfig) -> None:
        super().__init__()
        self.config = config
        widths = [(2 * config.context + 1) * config.bins] + [config.width] * config.depth
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Linear(a, b), nn.BatchNorm1d(b), nn.LeakyReLU(SLOPE), nn.Dropout(config.dropout))
            for a, b in pairwise(widths)
        )
        self.head = nn.Linear(widths[-1], config.outputs * config.bins)

    def forward(self, heard: Tensor, _: Memory | None) -> Tensor:
        span, context = 2 * self.config.context + 1, self.config.context
        if self.config.causal:
            heard = F.pad(heard, (2 * context, 0))
        elif not (self.config.dropped and self.training):
            heard = F.pad(heard, (context, context), mode="replicate" if self.config.dropped else "constant")
        if heard.shape[-1] < span:
            raise ValueError(f"expected at least {span} frames, got {heard.shape[-1]}")
        frames = heard.unfold(-1, span, 1)  # [B, F, N, span]
        batch, count = frames.shape[0], frames.shape[2]
        x = frames.permute(0, 2, 3, 1).reshape(batch * count, -1)  # [B * N, span * F]
        for layer in self.layers:
            x = layer(x)
        return self.head(x).reshape(batch, count, self.config.outputs, -1).permute(0, 2, 3, 1)


class _Recurrent(nn.Module):
    """``[B, F, N]`` to ``[B, outputs, F, N]`` by recurrent layers over time."""

    def __init__(self, config: NetConfig) -> None:
        super().__init__()
        self.outputs = config.outputs
        dropout = config.dropout if config.depth > 1 else 0.0
        self.layers = nn.LSTM(
            config.bins, config.width, config.depth, batch_first=True, dropout=dropout, bidirectional=not config.causal
        )
        self.head = nn.Linear(config.width * (1 if config.causal else 2), config.outputs * config.bins)

    def forward(self, heard: Tensor, _: Memory | None) -> Tensor:
        x, _ = self.layers(heard.mT)  # [B, N, width]
        x = self.head(x)
        return x.reshape(*x.shape[:2], self.outputs, -1).permute(0, 2, 3, 1)


class _Convolutional(nn.Module):
    """``[B, F, N]`` to ``[B, outputs, F, N]``: down in frequency, along in time, up in frequency with skips."""

    def __init__(self, config: NetConfig) -> None:
        super().__init__()
        bins = [config.bins]
        while bins[-1] > NARROW and len(bins) <= len(CHANNELS):
            bins.append((bins[-1] + 1) // 2)
        channels = CHANNELS[: len(bins) - 1]
        above = (1, *channels[:-1])  # of what enters each level
        self.down = nn.ModuleList(Down(a, b, config.causal) for a, b in zip(above, channels, strict=True))
        self.bottom = channels[-1], bins[-1]
        self.inwards = nn.Conv1d(channels[-1] * bins[-1], config.width, 1)
        self.along = nn.ModuleList(
            Residual(config.width, 2 ** (number % CYCLE), config.causal) for number in range(config.depth)
        )
        self.outwards = nn.Conv1d(config.width, channels[-1] * bins[-1], 1)
        self.up = nn.ModuleList(
            Up(b, a, config.causal, last=number == 0)
            for number, (a, b) in enumerate(zip((config.outputs, *above[1:]), channels, strict=True))
        )

    def forward(self, heard: Tensor, memory: Memory | None) -> Tensor:
        levels = [heard[:, None]]  # [B, 1, F, N]
        for down in self.down:
            levels.append(down(levels[-1], memory))  # [B, C, F / 2^l, N]
        x = self.inwards(levels[-1].flatten(1, 2))  # [B, width, N]
        for block in self.along:
            x = block(x, memory)
        x = self.outwards(x).unflatten(1, self.bottom)
        for level, above, up in zip(levels[:0:-1], levels[-2::-1], reversed(self.up), strict=True):
            x = up(x + level, above.shape[2], memory)
        return x


class TimeConv(nn.Module):
    """A convolution whose kernel reaches ``reach`` frames back and, unless causal, as many ahead.

    Shape: ``[B, C, F, N]`` or ``[B, C, N]``, ``N`` as it was.
    """

    def __init__(self, conv: nn.Module, reach: int, causal: bool) -> None:
        super().__init__()
        self.conv, self.back, self.ahead = conv, reach if not causal else 2 * reach, 0 if causal else reach

    def forward(self, x: Tensor, memory: Memory | None = None) -> Tensor:
        if memory is None:
            return self.conv(F.pad(x, (self.back, self.ahead)))
        before = memory.get(self)
        x = F.pad(x, (self.back, 0)) if before is None else torch.cat([before, x], -1)
        memory[self] = x[..., x.shape[-1] - self.back :]
        return self.conv(x)


class _FrameNorm(nn.Module):
    """Mean 0 and variance 1 in every frame, over channels and frequencies; then a gain and an offset a channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gain, self.offset = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        axes = tuple(range(1, x.ndim - 1))
        spread, middle = torch.var_mean(x.float(), axes, correction=0, keepdim=True)
        shape = (-1, *[1] * (x.ndim - 2))
        return (x - middle) * (spread + 1e-5).rsqrt() * self.gain.view(shape) + self.offset.view(shape)


class Down(nn.Module):
    """``[B, C_in, F, N]`` to ``[B, C_out, F / 2, N]``, rounded up."""

    def __init__(self, channels_in: int, channels_out: int, causal: bool) -> None:
        super().__init__()
        self.conv = TimeConv(nn.Conv2d(channels_in, channels_out, (5, 3), (2, 1), (2, 0)), 1, causal)
        self.norm = nn.BatchNorm2d(channels_out)

    def forward(self, x: Tensor, memory: Memory | None) -> Tensor:
        return F.leaky_relu(self.norm(self.conv(x, memory)), SLOPE)


class Up(nn.Module):
    """``[B, C_in, F / 2, N]`` to ``[B, C_out, F, N]``; the last one answers as it is."""

    def __init__(self, channels_in: int, channels_out: int, causal: bool, last: bool) -> None:
        super().__init__()
        # Two phases a channel by one convolution, then interleaved along frequency.
        self.conv = TimeConv(nn.Conv2d(channels_in, 2 * channels_out, 3, 1, (1, 0)), 1, causal)
        self.norm = nn.Identity() if last else nn.BatchNorm2d(channels_out)
        self.last = last

    def forward(self, x: Tensor, bins: int, memory: Memory | None) -> Tensor:
        x = self.conv(x, memory)
        x = x.unflatten(1, (-1, 2)).transpose(2, 3).flatten(2, 3)[:, :, :bins]  # [B, C_out, F, N]
        return x if self.last else F.leaky_relu(self.norm(x), SLOPE)


class Residual(nn.Module):
    """A dilated convolution over time between two mixes of channels, added to what came in. ``[B, width, N]``."""

    def __init__(self, width: int, dilation: int, causal: bool) -> None:
        super().__init__()
        inner = 2 * width
        self.enter = nn.Sequential(_FrameNorm(width), nn.Conv1d(width, inner, 1), nn.LeakyReLU(SLOPE))
        depthwise = nn.Conv1d(inner, inner, 3, dilation=dilation, groups=inner)
        self.along = TimeConv(depthwise, dilation, causal)
        self.leave = nn.Sequential(_FrameNorm(inner), nn.LeakyReLU(SLOPE), nn.Conv1d(inner, width, 1))

    def forward(self, x: Tensor, memory: Memory | None) -> Tensor:
        return x + self.leave(self.along(self.enter(x), memory))
