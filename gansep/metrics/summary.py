"""All figures of a separation at once, what they are called, and why one of them is missing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor

from gansep.metrics.bss import Projector
from gansep.metrics.pairs import silent
from gansep.metrics.spectral import envelope_distance, log_spectral_distance, spectral_snr
from gansep.metrics.waveform import si_sdr, si_sdr_improvement


@dataclass(frozen=True)
class Figure:
    """How a figure is shown.

    Attributes:
        title: its name in a table. unit: of its values. higher_is_better: which way is better.
        meaning: what it says, in a few words.
    """

    title: str
    unit: str
    higher_is_better: bool
    meaning: str


FIGURES: Mapping[str, Figure] = MappingProxyType(
    {
        "si_sdr": Figure("SI-SDR", "dB", True, "source to all error, whatever the gain"),
        "si_sdr_improvement": Figure("SI-SDR improvement", "dB", True, "SI-SDR less that of the mixture itself"),
        "sdr": Figure("SDR", "dB", True, "source to all error, gain and filtering included"),
        "isr": Figure("ISR", "dB", True, "source to error of filtering and panning"),
        "sir": Figure("SIR", "dB", True, "source to other sources"),
        "sar": Figure("SAR", "dB", True, "source to artefacts, the error no source explains"),
        "spectral_snr": Figure("spectral SNR", "dB", True, "magnitudes to their error, whatever the phase"),
        "envelope_distance": Figure("envelope distance", "full scale", False, "RMS distance of Hilbert envelopes"),
        "log_spectral_distance": Figure("log-spectral distance", "dB", False, "RMS distance of log power spectra"),
    }
)
UNITS: Mapping[str, str] = MappingProxyType({name: figure.unit for name, figure in FIGURES.items()})


def measure(
    estimates: Tensor, references: Tensor, mixture: Tensor | None = None, *, projector: Projector | None = None
) -> dict[str, Tensor]:
    """Every figure of :data:`FIGURES` for every source.

    SI-SDR, its improvement and the spectral and envelope figures take all channels of a source as one signal, one
    after the other; BSS Eval takes channels as images.

    Args:
        estimates: in the order of the references.
        references: the true sources; silent, their figures are NaN (:func:`reasons`).
        mixture: what was separated; without it there is no improvement.
        projector: of these references, where several estimates of them are measured.
    Shape: ``[S, C, T]`` twice and ``[C, T]`` to ``[S]`` each, float64.
    Raises:
        ValueError: other shapes, or lengths that differ.

    >>> x = torch.randn(2, 1, 4000)
    >>> figures = measure(0.9 * x, x, x.sum(0))
    >>> [round(value) for value in figures["sdr"].tolist()]
    [20, 20]
    """
    _check(estimates, references, mixture, projector)
    estimate, reference = estimates.flatten(1), references.flatten(1)  # [S, C T]
    figures = {"si_sdr": si_sdr(estimate, reference)}
    if mixture is not None:
        figures["si_sdr_improvement"] = si_sdr_improvement(estimate, reference, mixture.flatten().expand_as(reference))
    scores = (projector or Projector(references))(estimates)
    figures |= {"sdr": scores.sdr, "isr": scores.isr, "sir": scores.sir, "sar": scores.sar}
    for metric in (spectral_snr, envelope_distance, log_spectral_distance):
        each = [metric(*pair) for pair in zip(estimate, reference, strict=True)]  # one by one: spectra are large
        figures[metric.__name__] = torch.stack(each)
    return figures


def reasons(references: Tensor) -> list[str]:
    """Why :func:`measure` has NaN for a source; empty for sources that have all figures.

    Shape: ``[S, C, T]`` to ``S`` texts.

    >>> reasons(torch.stack([torch.zeros(1, 9), torch.ones(1, 9), torch.arange(9.0)[None]]))
    ['silent reference', 'constant reference, which has no SI-SDR', '']
    """
    flat = references.flatten(1)
    constant = si_sdr(flat, flat).isnan().tolist()
    texts = {(True, True): "silent reference", (False, True): "constant reference, which has no SI-SDR"}
    return [texts.get(state, "") for state in zip(silent(references).tolist(), constant, strict=True)]


def _check(estimates: Tensor, references: Tensor, mixture: Tensor | None, projector: Projector | None) -> None:
    if references.ndim != 3 or estimates.shape != references.shape or not references.numel():
        shapes = f"{list(estimates.shape)} and {list(references.shape)}"
        raise ValueError(f"expected estimates and references of one shape [S, C, T], got {shapes}")
    if mixture is not None and mixture.shape != references.shape[1:]:
        raise ValueError(f"expected a mixture of shape {list(references.shape[1:])}, got {list(mixture.shape)}")
    if projector is not None and projector.references.shape != references.shape:
        theirs = list(projector.references.shape)
        raise ValueError(f"expected a projector of references {list(references.shape)}, got one of {theirs}")
