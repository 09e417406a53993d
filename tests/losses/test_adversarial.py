"""The games' losses against critics whose gradients are known."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from gansep.losses import adversarial

REAL, FAKE = torch.tensor([2.0, -1.0, 0.5]), torch.tensor([1.0, 3.0, 0.5])


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def softplus(x: float) -> float:
    return math.log1p(math.exp(x))


def test_wasserstein_losses() -> None:
    assert adversarial.wasserstein_critic(REAL, FAKE) == pytest.approx(1.5 - 0.5)
    assert adversarial.wasserstein_generator(FAKE) == pytest.approx(-1.5)


def test_relativistic_losses() -> None:
    critic = sum(softplus(f - r) for r, f in zip(REAL.tolist(), FAKE.tolist(), strict=True)) / 3
    generator = sum(softplus(r - f) for r, f in zip(REAL.tolist(), FAKE.tolist(), strict=True)) / 3
    assert adversarial.relativistic_critic(REAL, FAKE) == pytest.approx(critic)
    assert adversarial.relativistic_generator(REAL, FAKE) == pytest.approx(generator)
    assert adversarial.relativistic_critic(REAL, REAL) == pytest.approx(math.log(2))
    # Only the difference counts: a critic cannot win by scoring everything higher.
    assert adversarial.relativistic_critic(REAL + 7, FAKE + 7) == pytest.approx(critic, rel=1e-5)


def test_the_losses_pull_scores_the_right_way() -> None:
    real, fake = REAL.clone().requires_grad_(), FAKE.clone().requires_grad_()
    for critic, generator in (
        (adversarial.wasserstein_critic(real, fake), adversarial.wasserstein_generator(fake)),
        (adversarial.relativistic_critic(real, fake), adversarial.relativistic_generator(real.detach(), fake)),
    ):
        up, down = torch.autograd.grad(critic, [real, fake])
        assert (up < 0).all() and (down > 0).all()  # descent lifts real sound, lowers made sound
        assert (torch.autograd.grad(generator, fake)[0] < 0).all()


@pytest.mark.parametrize("norm", [0.25, 1.0, 3.0])
def test_penalties_of_a_linear_critic(norm: float) -> None:
    weight = noise(16, seed=1)
    weight = (norm * weight / weight.norm()).requires_grad_()
    real, fake = noise(5, 16, seed=2), noise(5, 16, seed=3)
    one = adversarial.gradient_penalty(lambda wave: wave @ weight, real, fake, seeded())
    zero = adversarial.zero_centred_penalty(lambda wave: wave @ weight, real)
    assert float(one.detach()) == pytest.approx((norm - 1) ** 2, abs=1e-6)
    assert float(zero.detach()) == pytest.approx(norm**2, rel=1e-5)
    (pull,) = torch.autograd.grad(one, weight)  # second order: the penalty moves the critic
    assert torch.allclose(pull, 2 * (norm - 1) * weight / norm, atol=1e-5)
    (pull,) = torch.autograd.grad(zero, weight)
    assert torch.allclose(pull, 2 * weight, atol=1e-5)


def test_the_gradient_penalty_looks_between_real_and_made() -> None:
    """The critic |x|^2 / 2 has the gradient x: its norm tells where the penalty looked, one place an example."""
    seen: list[Tensor] = []

    def critic(wave: Tensor) -> Tensor:
        seen.append(wave.detach().clone())
        return wave.square().sum(-1) / 2

    real, fake = noise(50, 8, seed=2).requires_grad_(), noise(50, 8, seed=3)
    penalty = adversarial.gradient_penalty(critic, real, fake, seeded())
    (points,) = seen
    share = ((points - fake) * (real - fake)).sum(-1) / (real - fake).square().sum(-1)
    assert torch.allclose(points, fake + share[:, None] * (real - fake), atol=1e-5)  # on the line
    assert share.min() >= 0 and share.max() <= 1 and share.std() > 0.2
    assert float(penalty.detach()) == pytest.approx(float((points.norm(dim=-1) - 1).square().mean()), rel=1e-5)


def test_the_zero_centred_penalty_is_a_mean_over_examples_and_leaves_the_waves_alone() -> None:
    wave = noise(4, 8)
    penalty = adversarial.zero_centred_penalty(lambda x: x.square().sum(-1) / 2, wave)
    assert float(penalty.detach()) == pytest.approx(float(wave.square().sum(-1).mean()), rel=1e-6)
    assert not wave.requires_grad and wave.grad is None
