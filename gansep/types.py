"""The words every room shares: what a separator is, what it returns, and how gansep refuses bad input.

Shape letters, everywhere: ``B`` batch, ``S`` sources, ``C`` channels, ``T`` samples, ``F`` frequency bins,
``N`` frames, ``Z`` latent size, ``R`` restarts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from torch import Tensor


class GansepError(ValueError):
    """Bad input, said in one line: what was wrong, what was expected, what to do. The CLI exits with 2."""


class AudioError(GansepError):
    """A sound file that cannot be read, decoded or written."""


class ModelError(GansepError):
    """A model folder that is missing, damaged, foreign or does not fit the request."""


class DataError(GansepError):
    """Training data that cannot be used: no audio, too little sound, or no such path."""


class TrainingError(GansepError):
    """A training run that failed by itself: silence, collapse or numbers that are not finite."""


class OutputError(GansepError):
    """A result that cannot be written: read-only folder, full disk, or something already there."""


@dataclass(frozen=True)
class Estimates:
    """What a separator says about a batch of mixtures.

    Attributes:
        waves: ``[B, S, T]`` at the separator's rate, ``T`` as in the mixture.
        sources: the ``S`` names; ``component-1`` and so on where a method has no names.
        stats: anything measured on the way (loss per step, chosen start, gains), ``[B, ...]`` each; may be empty.
    """

    waves: Tensor
    sources: tuple[str, ...]
    stats: Mapping[str, Tensor] = field(default_factory=dict)


@runtime_checkable
class Separator(Protocol):
    """Anything that takes ``[B, T]`` mixtures apart; settings and weights come in by the constructor.

    Attributes:
        sources: names of the ``S`` sources it returns.
        sample_rate: the rate it works at, in Hz.
        segment: samples a call must have; ``None`` if any length that fits in memory will do.
    """

    @property
    def sources(self) -> tuple[str, ...]: ...

    @property
    def sample_rate(self) -> int: ...

    @property
    def segment(self) -> int | None: ...

    def __call__(self, mixture: Tensor) -> Estimates: ...
