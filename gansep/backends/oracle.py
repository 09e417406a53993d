"""The oracle: masks made from the true sources, the bound of what any mask of this resolution can reach."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from torch import Tensor

from gansep.dsp.masks import apply_mask, cirm, iam, ibm, irm, orm, psm, wiener
from gansep.dsp.stft import istft, stft
from gansep.refine import analysis_sizes
from gansep.types import Estimates

SECONDS = 0.064  # of the window, as in the refinement of estimates, so that both have the same resolution


def _against_rest(mask: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """A mask of a source and the rest, for each of ``[S, F, N]`` with the sum of the others."""
    return lambda spectra: mask(spectra, spectra.sum(0, keepdim=True) - spectra)


MASKS: dict[str, Callable[[Tensor], Tensor]] = {  # of complex spectrograms, [S, F, N] to [S, F, N]
    "wiener": lambda spectra: wiener(spectra.abs().square()),
    "ibm": _against_rest(ibm),
    "irm": _against_rest(irm),
    "iam": _against_rest(iam),
    "iam-clipped": _against_rest(partial(iam, clip=True)),
    "psm": _against_rest(psm),
    "psm-truncated": _against_rest(partial(psm, truncate=True)),
    "orm": _against_rest(orm),
    "cirm": _against_rest(cirm),
}


class Oracle:
    """Separator that is told the truth (see :class:`gansep.types.Separator`).

    Every channel gets the same mask, made from the means of the sources' channels, as in :func:`gansep.refine.refine`.
    Waveforms of ``wiener`` sum to the mixture, those of the phase-aware masks nearly; others leave or repeat some.

    Args:
        references: the true sources, ``[S, C, T]``.
        sample_rate: of the references, in Hz.
        sources: their names.
        mask: a name of :data:`MASKS`.
    Raises:
        ValueError: references of another shape, names that are not as many, an unknown mask, or no rate.
    """

    channels = True
    segment: int | None = None
    refinement = None

    def __init__(self, references: Tensor, sample_rate: int, sources: Sequence[str], mask: str = "wiener") -> None:
        if references.ndim != 3 or not references.numel():
            raise ValueError(f"expected references of shape [S, C, T], none of them 0, got {list(references.shape)}")
        if len(sources) != len(references):
            raise ValueError(f"expected a name for each of {len(references)} references, got {', '.join(sources)}")
        if mask not in MASKS:
            raise ValueError(f"unknown mask {mask!r}; expected one of {', '.join(MASKS)}")
        if sample_rate < 1:
            raise ValueError(f"expected a sample rate in Hz, got {sample_rate}")
        self.sources, self.sample_rate = tuple(sources), sample_rate
        self.samples = references.shape[-1]
        self.n_fft, self.hop = analysis_sizes(SECONDS, sample_rate)
        self.masks = MASKS[mask](stft(references.mean(1), self.n_fft, self.hop))  # [S, F, N]

    def __call__(self, mixture: Tensor) -> Estimates:
        """Filter a batch of the references' mixture. Shape: ``[B, C, T]`` to ``waves [B, S, C, T]``.

        Raises:
            ValueError: a mixture of another shape or length.
        """
        if mixture.ndim != 3 or mixture.shape[-1] != self.samples:
            said = f"[B, C, {self.samples}], as long as the references, got {list(mixture.shape)}"
            raise ValueError(f"expected a mixture of shape {said}")
        spectrum = stft(mixture, self.n_fft, self.hop)  # [B, C, F, N]
        stems = apply_mask(self.masks.to(mixture.device), spectrum)  # [B, C, S, F, N]
        return Estimates(istft(stems, self.samples, self.n_fft, self.hop).transpose(1, 2), self.sources)
