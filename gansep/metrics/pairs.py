"""An estimate beside its reference: one shape, float64, energies in decibels; and which references are silent."""

from __future__ import annotations

import torch
from torch import Tensor

PRECISION = torch.finfo(torch.float64).eps  # of a power ratio: no more than 156.5 dB
TINY = 1e-300  # keeps 0 / 0 at 1, that is 0 dB


def pair(estimate: Tensor, reference: Tensor) -> tuple[Tensor, Tensor]:
    """Both in float64 and of one shape.

    Shape: ``[..., T]`` and ``[..., T]`` to twice the shape they broadcast to.
    Raises:
        ValueError: no samples, lengths that differ, or shapes that do not broadcast.
    """
    shapes = f"{list(estimate.shape)} and {list(reference.shape)}"
    if not estimate.ndim or not reference.ndim or not 0 < estimate.shape[-1] == reference.shape[-1]:
        raise ValueError(f"expected an estimate and a reference of shape [..., T] with one T >= 1, got {shapes}")
    try:
        estimate, reference = torch.broadcast_tensors(estimate.double(), reference.double())
    except RuntimeError:
        raise ValueError(f"expected shapes [..., T] whose leading axes broadcast, got {shapes}") from None
    return estimate, reference


def decibels(signal: Tensor, error: Tensor) -> Tensor:
    """``10 log10(signal / error)`` of energies, held within the precision of float64."""
    floor = PRECISION * (signal + error) + TINY
    return 10 * ((signal + floor) / (error + floor)).log10()


def silent(references: Tensor) -> Tensor:
    """Which references hold nothing but zeros, the reason for a figure that is NaN.

    Shape: ``[S, C, T]`` (or ``[S, T]``) to ``[S]``.

    >>> silent(torch.tensor([[[0.0, 0.0], [0.0, 1.0]], [[0.0, 0.0], [0.0, 0.0]]])).tolist()
    [False, True]
    """
    return (references == 0).flatten(1).all(1)
