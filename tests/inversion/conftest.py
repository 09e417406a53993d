"""Linear toy generators: what they play for a latent can be said without them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor

LENGTH = 2048

Generate = Callable[[Tensor], Tensor]
MakeToy = Callable[[Sequence[float]], Generate]


def atoms(frequencies: Sequence[float]) -> Tensor:
    """Sinusoids under a Hann window, at cycles a sample. Shape: ``[len(frequencies), LENGTH]``."""
    time = torch.arange(LENGTH, dtype=torch.float64)
    tones = [torch.sin(2 * math.pi * frequency * time) for frequency in frequencies]
    return (torch.stack(tones) * torch.hann_window(LENGTH, dtype=torch.float64)).float()


@pytest.fixture(scope="session")
def make_toy() -> MakeToy:
    """``make_toy([f0, f1, f2])``: plays f0 always, and f1, f2 as loud as ``(1 + z) / 2``, so z and gain are unique."""

    def make(frequencies: Sequence[float]) -> Generate:
        basis = atoms(frequencies)
        return lambda z: basis[0] + (1 + z) / 2 @ basis[1:]

    return make


@pytest.fixture(scope="session")
def toys(make_toy: MakeToy) -> list[Generate]:
    """Two generators of disjoint bands, both of two latents."""
    return [make_toy([0.031, 0.053, 0.087]), make_toy([0.21, 0.29, 0.37])]
