"""Autoencoders: columns of numbers through a narrow code and back, whatever the numbers are.

- ``dense``: wide layers over a column and its neighbours, as in Vincent et al., "Stacked Denoising Autoencoders"
  (JMLR 2010), and Lu et al. (Interspeech 2013) for speech.
- ``conv``: convolutions that halve the columns, where neighbours in them are alike as frequencies are, and dilated ones
  over time; else those over time alone. No skip from encoder to decoder: all goes through the code.
- ``lstm``: recurrent layers over time, both ways.

A decoder may be told which of several classes it shall answer with: its number goes in beside the code.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gansep.nets.spectral import CHANNELS, CYCLE, NARROW, SLOPE, Down, Residual, Up

LAYERS = ("conv", "dense", "lstm")
SIZES = {"conv": (192, 4), "dense": (1024, 2), "lstm": (256, 1)}  # width and depth, each way, unless said otherwise
# No card may ask for a network that takes minutes to build.
LARGEST = {"size": 65536, "width": 16384, "depth": 64, "code": 16384, "classes": 1024, "context": 64}


@dataclass(frozen=True)
class AutoencoderConfig:
    """Sizes of an autoencoder.

    Attributes:
        size: numbers in a column, ``D``. layers: one of :data:`LAYERS`.
        width, depth: of encoder and decoder each; 0 for what suits the layers.
        code: numbers that a column's code has, ``Z``.
        classes: how many things the decoder can be told to answer with; 0 if there is nothing to tell.
        grid: whether neighbours in a column are alike, so that ``conv`` may share its weights along it.
        context: columns before and after that ``dense`` hears beside each. dropout: of ``dense``.
    """

    size: int
    layers: str = "conv"
    width: int = 0
    depth: int = 0
    code: int = 128
    classes: int = 0
    grid: bool = True
    context: int = 2
    dropout: float = 0.1

    def __post_init__(self) -> None:
        if self.layers not in LAYERS:
            raise ValueError(f"unknown layers {self.layers!r}; expected one of {', '.join(LAYERS)}")
        width, depth = SIZES[self.layers]
        object.__setattr__(self, "width", self.width or width)
        object.__setattr__(self, "depth", self.depth or depth)
        if min(self.size, self.width, self.depth, self.code) < 1 or min(self.classes, self.context) < 0:
            raise ValueError("size, width, depth and code must be at least 1, classes and context at least 0")
        for name, most in LARGEST.items():
            if getattr(self, name) > most:
                raise ValueError(f"{name} must be at most {most}, got {getattr(self, name)}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {self.dropout}")

    def to_json(self) -> dict[str, Any]:
        """Fields by name, as a card keeps them."""
        return asdict(self)


class Autoencoder(nn.Module):
    """Columns to a code to columns.

    Args:
        config: sizes.
    Shape: ``[B, D, N]`` to the same; ``N`` from 1 up.

    >>> net = Autoencoder(AutoencoderConfig(64, "dense", 32, code=8, classes=3))
    >>> code = net.encode(torch.randn(5, 64, 10))
    >>> code.shape, net.decode(code, torch.tensor([0, 1, 2, 2, 1])).shape
    (torch.Size([5, 8, 10]), torch.Size([5, 64, 10]))
    """

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        self.config = config
        encoder, decoder = {"dense": _dense, "conv": _convolutional, "lstm": _recurrent}[config.layers](config)
        self.encoder, self.decoder = encoder, decoder

    def forward(self, columns: Tensor, which: Tensor | None = None) -> Tensor:
        return self.decode(self.encode(columns), which)

    def encode(self, columns: Tensor) -> Tensor:
        """Codes. Shape: ``[B, D, N]`` to ``[B, Z, N]``."""
        if columns.ndim != 3 or columns.shape[1] != self.config.size or 0 in columns.shape:
            raise ValueError(f"expected columns [B, {self.config.size}, N], got {list(columns.shape)}")
        return self.encoder(columns)

    def decode(self, code: Tensor, which: Tensor | None = None) -> Tensor:
        """What codes stand for.

        Args:
            code: of the columns. which: number of the class to answer with, one each of the batch.
        Shape: ``[B, Z, N]`` and ``[B]`` to ``[B, D, N]``.
        Raises:
            ValueError: a class where there is nothing to tell, or none where there is.
        """
        if (which is None) != (self.config.classes == 0):
            said = f"{self.config.classes} classes and {'none' if which is None else 'one'} given"
            raise ValueError(f"a decoder is told a class if, and only if, it has some, got {said}")
        if which is not None:
            told = F.one_hot(which, self.config.classes).to(code.dtype)  # [B, classes]
            code = torch.cat([code, told[..., None].expand(-1, -1, code.shape[-1])], 1)
        return self.decoder(code)


def _dense(config: AutoencoderConfig) -> tuple[nn.Module, nn.Module]:
    def layers(size: int, end: int, context: int) -> nn.Sequential:
        widths = [size] + [config.width] * config.depth
        reach = [context] + [0] * config.depth
        hidden = (
            nn.Sequential(
                nn.Conv1d(a, b, 2 * near + 1, padding=near),
                nn.BatchNorm1d(b),
                nn.LeakyReLU(SLOPE),
                nn.Dropout(config.dropout),
            )
            for (a, b), near in zip(pairwise(widths), reach, strict=False)
        )
        return nn.Sequential(*hidden, nn.Conv1d(config.width, end, 1))

    return layers(config.size, config.code, config.context), layers(config.code + config.classes, config.size, 0)


def _recurrent(config: AutoencoderConfig) -> tuple[nn.Module, nn.Module]:
    told = config.code + config.classes
    return _Recurrent(config.size, config.code, config), _Recurrent(told, config.size, config)


class _Recurrent(nn.Module):
    """``[B, D, N]`` to ``[B, D', N]``, both ways over time."""

    def __init__(self, size: int, end: int, config: AutoencoderConfig) -> None:
        super().__init__()
        self.layers = nn.LSTM(size, config.width, config.depth, batch_first=True, bidirectional=True)
        self.head = nn.Linear(2 * config.width, end)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layers(x.mT)[0]).mT


def _convolutional(config: AutoencoderConfig) -> tuple[nn.Module, nn.Module]:
    sizes, channels = [config.size], (1,)
    if config.grid:
        while sizes[-1] > NARROW and len(sizes) <= len(CHANNELS):
            sizes.append((sizes[-1] + 1) // 2)
        channels = (1, *CHANNELS[: len(sizes) - 1])
    along = [_along(config) for _ in range(2)]
    bottom = channels[-1] * sizes[-1]
    encoder = nn.Sequential(
        nn.Unflatten(1, (1, config.size)),
        *(_Level(Down(a, b, causal=False)) for a, b in pairwise(channels)),
        nn.Flatten(1, 2),  # [B, C * D / 2^l, N]
        nn.Conv1d(bottom, config.width, 3, padding=1),
        along[0],
        nn.Conv1d(config.width, config.code, 1),
    )
    levels = list(zip(channels, channels[1:], sizes, strict=False))[::-1]
    decoder = nn.Sequential(
        nn.Conv1d(config.code + config.classes, config.width, 1),
        along[1],
        nn.Conv1d(config.width, bottom, 3, padding=1),
        nn.Unflatten(1, (channels[-1], sizes[-1])),
        *(_Level(Up(b, a, causal=False, last=a == 1), size) for a, b, size in levels),
        nn.Flatten(1, 2),
    )
    return encoder, decoder


def _along(config: AutoencoderConfig) -> nn.Sequential:
    return nn.Sequential(
        *(_Level(Residual(config.width, 2 ** (number % CYCLE), causal=False)) for number in range(config.depth))
    )


class _Level(nn.Module):
    """A layer that may keep a memory, without one. Args: layer; what else it is told."""

    def __init__(self, layer: nn.Module, *told: int) -> None:
        super().__init__()
        self.layer, self.told = layer, told

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x, *self.told, None)
