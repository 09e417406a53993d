"""Where latents lie: back into their set after every step, which makes the descent a projected one, and how likely."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

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


@torch.no_grad()
def to_ball(latents: Tensor) -> Tensor:
    """Nearest point of the ball of radius ``sqrt(Z)``, near whose surface normal latents lie, in place.

    Shape: ``[..., Z]`` to the same.

    >>> to_ball(torch.tensor([[30.0, 40.0], [0.6, 0.8]]))
    tensor([[0.8485, 1.1314],
            [0.6000, 0.8000]])
    """
    radius = latents.shape[-1] ** 0.5
    return latents.mul_((radius / latents.norm(dim=-1, keepdim=True).clamp_min(1e-12)).clamp_max(1))


@dataclass(frozen=True)
class Space:
    """The latents of a generator.

    Attributes:
        project: back into the set they lie in. unlikely: ``[B, Z]`` to ``[B]``, what a penalty charges for.
    """

    project: Projection
    unlikely: Callable[[Tensor], Tensor]


BOX = Space(to_box, lambda latents: latents.pow(4).mean(-1))  # uniform latents; likely wherever no face is near
BALL = Space(to_ball, lambda latents: latents.square().mean(-1) / 2)  # normal ones; their negative log density
NORMAL = Space(lambda latents: latents, BALL.unlikely)  # the same, and no bound
