"""What generator and critic want of each other: the published WGAN-GP game and a modern relativistic one.

Scores are the critic's, one number an example, ``[B]``; every function returns one number (a mean over the batch).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

Critic = Callable[[Tensor], Tensor]


def wasserstein_critic(real: Tensor, fake: Tensor) -> Tensor:
    """Critic's loss of a Wasserstein GAN (Arjovsky et al. 2017): score real sound above made sound."""
    return fake.mean() - real.mean()


def wasserstein_generator(fake: Tensor) -> Tensor:
    """Generator's loss of a Wasserstein GAN: be scored high."""
    return -fake.mean()


def gradient_penalty(critic: Critic, real: Tensor, fake: Tensor, random: torch.Generator) -> Tensor:
    """Mean ``(|grad| - 1)^2`` between real and made examples (Gulrajani et al. 2017, eq. 3, without its weight).

    Args:
        critic: ``[B, T]`` to ``[B]``.
        real, fake: ``[B, T]``.
        random: draws the points on the lines between them.
    """
    share = torch.rand(real.shape[0], 1, generator=random, device=random.device).to(real.device)
    between = (share * real + (1 - share) * fake).detach().requires_grad_()
    return (_input_gradient(critic, between).norm(dim=-1) - 1).square().mean()


def relativistic_critic(real: Tensor, fake: Tensor) -> Tensor:
    """Critic's relativistic pairing loss ``softplus(fake - real)`` (Jolicoeur-Martineau 2018; Huang et al. 2024)."""
    return F.softplus(fake - real).mean()


def relativistic_generator(real: Tensor, fake: Tensor) -> Tensor:
    """Generator's relativistic pairing loss: be scored above the real example beside you."""
    return F.softplus(real - fake).mean()


def zero_centred_penalty(critic: Critic, wave: Tensor) -> Tensor:
    """Mean squared gradient at ``wave``: R1 on real, R2 on made sound (Mescheder et al. 2018), without gamma / 2.

    Keeps the relativistic game convergent (Huang et al., "The GAN is dead; long live the GAN!", 2024, section 2).
    """
    return _input_gradient(critic, wave.detach().requires_grad_()).square().sum(-1).mean()


def _input_gradient(critic: Critic, wave: Tensor) -> Tensor:
    (gradient,) = torch.autograd.grad(critic(wave).sum(), wave, create_graph=True)
    return gradient
