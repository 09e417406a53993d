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

    from gansep.refine import Refinement


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
        waves: ``[B, S, T]`` at the separator's rate, ``T`` as in the mixture; ``[B, S, C, T]`` from a separator that
            was given channels.
        sources: the ``S`` names; ``component-1`` and so on where a method has no names.
        stats: anything measured on the way (loss per step, chosen start, gains), ``[B, ...]`` each; may be empty.
    """

    waves: Tensor
    sources: tuple[str, ...]
    stats: Mapping[str, Tensor] = field(default_factory=dict)


@runtime_checkable
class Separator(Protocol):
    """Anything that takes ``[B, T]`` mixtures apart; settings and weights come in by the constructor.

    A separator that hears more than one channel has an attribute ``channels = True``; it is given ``[B, C, T]`` and
    answers with what each source is in each channel.

    Attributes:
        sources: names of the ``S`` sources it returns; see :func:`component_names` for a method without names.
        sample_rate: the rate it works at, in Hz; ``None`` if the recording's own will do.
        segment: samples a call must have; ``None`` if any length that fits in memory will do.
        refinement: how its waveforms become masks on the recording; ``None`` if they are the result.
    """

    @property
    def sources(self) -> tuple[str, ...]: ...

    @property
    def sample_rate(self) -> int | None: ...

    @property
    def segment(self) -> int | None: ...

    @property
    def refinement(self) -> Refinement | None: ...

    def __call__(self, mixture: Tensor) -> Estimates: ...


COMPONENT = "component-"


def component_names(count: int) -> tuple[str, ...]:
    """Names of ``count`` sources that a method finds but cannot name.

    >>> component_names(2)
    ('component-1', 'component-2')
    """
    return tuple(f"{COMPONENT}{number}" for number in range(1, count + 1))
