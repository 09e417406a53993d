"""What costs nothing: the mixture itself, silence, and a cut in time. Rows that every figure has to beat."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gansep.types import Estimates, component_names


class _Trivial:
    """What these separators have in common: any rate, any length, no masks (see :class:`gansep.types.Separator`).

    Args:
        count: number of sources. sources: their names, if they have any.
    Raises:
        ValueError: fewer than one source, or names that are not as many.
    """

    channels = True
    segment: int | None = None
    refinement = None

    def __init__(self, count: int, sources: Sequence[str] = ()) -> None:
        if count < 1 or len(sources) not in (0, count):
            raise ValueError(f"expected at least one source and a name for each or none, got {count} and {[*sources]}")
        self.count, self.sources = count, tuple(sources) or component_names(count)
        self.sample_rate: int | None = None

    def _expect(self, mixture: Tensor) -> None:
        if mixture.ndim != 3:
            raise ValueError(f"expected a mixture of shape [B, C, T], got {list(mixture.shape)}")


class Mixture(_Trivial):
    """The mixture as every source."""

    def __call__(self, mixture: Tensor) -> Estimates:
        """Shape: ``[B, C, T]`` to ``waves [B, S, C, T]``."""
        self._expect(mixture)
        return Estimates(mixture[:, None].repeat(1, self.count, 1, 1), self.sources)


class Silence(_Trivial):
    """Nothing as every source."""

    def __call__(self, mixture: Tensor) -> Estimates:
        """Shape: ``[B, C, T]`` to ``waves [B, S, C, T]``."""
        self._expect(mixture)
        return Estimates(torch.zeros_like(mixture)[:, None].repeat(1, self.count, 1, 1), self.sources)


class TimeCut(_Trivial):
    """What a pair of scissors reaches: the start is the first source, what follows is each of the others.

    Where it does well, a task is one of finding when a source sounds and not what it sounds like.

    Args:
        count: number of sources.
        seconds: where the cut is.
        sample_rate: Hz, of what is cut.
        sources: names, if they have any.
    Raises:
        ValueError: fewer than one source, names that are not as many, or a time or rate that is not positive.
    """

    def __init__(self, count: int, seconds: float = 0.2, sample_rate: int = 16000, sources: Sequence[str] = ()) -> None:
        super().__init__(count, sources)
        if not (0 < seconds < float("inf") and sample_rate > 0):
            raise ValueError(f"expected seconds and a rate in Hz above 0, got {seconds} and {sample_rate}")
        self.at, self.sample_rate = round(seconds * sample_rate), sample_rate

    def __call__(self, mixture: Tensor) -> Estimates:
        """Shape: ``[B, C, T]`` to ``waves [B, S, C, T]``; two sources sum to the mixture, more repeat its end."""
        self._expect(mixture)
        early = mixture.clone()
        early[..., self.at :] = 0
        late = mixture - early
        return Estimates(torch.stack([early, *[late] * (self.count - 1)], 1), self.sources)
