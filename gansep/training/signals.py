"""How far estimates are from sources, as losses: of any numbers, of spectrograms, of waveforms."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from gansep.types import GansepError

Distance = Callable[[Tensor, Tensor], Tensor]

SHARE = 1e-3  # of an error in the power of the mixture: nothing is gained beyond 30 dB
QUIET = 1e-8  # power that counts as silence
SLIGHT = 1e-6  # of the mixture's power: with it a silent stem is at 0 dB, where its error alone would be the least
TINY = 1e-12  # square under the root, whose gradient at 0 is infinite

# Over everything that is compared, real or complex.
DISTANCES: Mapping[str, Distance] = {
    "mse": lambda estimate, reference: (estimate - reference).abs().square().mean(),
    "rmse": lambda estimate, reference: (estimate - reference).abs().square().mean().clamp_min(TINY).sqrt(),
    "mae": lambda estimate, reference: (estimate - reference).abs().mean(),
}


def spectral_error(estimate: Tensor, reference: Tensor, mixture: Tensor) -> Tensor:
    """Mean absolute error of spectrograms or magnitudes, in means of the mixture's magnitude.

    Shape: ``[B, S, F, N]`` twice and ``[B, F, N]`` to ``[B]``.
    """
    error = (estimate - reference).abs().mean((1, 2, 3))
    return error / mixture.abs().mean((1, 2)).clamp_min(1e-6)


def error_ratio(estimate: Tensor, reference: Tensor) -> Tensor:
    """The error's power over that of the references' sum, the mixture, in dB: the negative SNR of a full source.

    It is not below -30 dB, and a silent source counts as much as another.

    Shape: ``[B, S, T]`` twice to ``[B, S]``.
    """
    ratio = (estimate - reference).square().mean(-1) / mixture_power(reference)
    return 10 * (ratio + SHARE).log10()


def scale_free_error_ratio(estimate: Tensor, reference: Tensor) -> Tensor:
    """The negative scale-invariant signal-to-distortion ratio (Le Roux et al., ICASSP 2019) in dB, means left out.

    It is not below -30 dB, and 0 dB for a silent estimate. Of a silent source there is no scale: the error is compared
    with the mixture.

    Shape: ``[B, S, T]`` twice to ``[B, S]``.
    """
    power = mixture_power(reference)
    estimate, reference = (wave - wave.mean(-1, keepdim=True) for wave in (estimate, reference))
    own = reference.square().mean(-1, keepdim=True)
    wanted = (estimate * reference).mean(-1, keepdim=True) / own.clamp_min(QUIET) * reference
    error = (estimate - wanted).square().mean(-1)
    slight = SLIGHT * power
    ratio = torch.where(own[..., 0] > QUIET, (error + slight) / (wanted.square().mean(-1) + slight), error / power)
    return 10 * (ratio + SHARE).log10()


def mixture_power(parts: Tensor) -> Tensor:
    """Mean square of the sum of parts, never below that of silence. Shape: ``[B, S, T]`` to ``[B, 1]``."""
    return parts.sum(1, keepdim=True).square().mean(-1).clamp_min(QUIET)


def check_loss(loss: str, known: Sequence[str], what: str) -> None:
    """See that a loss is one of those there are.

    Raises:
        GansepError: it is not; the message names them.
    """
    if loss not in known:
        raise GansepError(f"{what} cannot be learned by {loss!r}; expected one of {', '.join(known)}")
