"""Back into the set a latent must lie in, after every step: that is what makes the descent a projected one."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Projection = Callable[[Tensor], Tensor]


@torch.no_grad()
def to_box(latents: Tensor) -> Tensor:
    """Nearest point of the box [-1, 1], in place. Shape: any to the same.

    >>> to_box(torch.tensor([-3.0, 0.5, 1.1]))
    tensor([-1.0000,  0.5000,  1.0000])
    """
    return latents.clamp_(-1, 1)
