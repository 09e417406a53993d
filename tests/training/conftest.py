"""A training so small that a step takes a hundredth of a second."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from gansep.nets.wavegan import PriorConfig
from gansep.training.data import Clips
from gansep.training.objectives import OBJECTIVES
from gansep.training.prior import PriorTraining

MakeTraining = Callable[..., PriorTraining]


def noise_clips(seed: int) -> Clips:
    random = torch.Generator().manual_seed(seed)
    waves = tuple((40_000 * (torch.rand(size, generator=random) - 0.5)).to(torch.int16) for size in (40_000, 6_000))
    return Clips(waves, ((0, 40_000), (0, 6_000)), 16_000, f"noise {seed}", ())


def build_training(
    objective: str = "default", seed: int = 0, horizon: int | None = None, **changes: float
) -> PriorTraining:
    """A named objective with small networks on noise; ``changes`` are the objective's."""
    goal = replace(OBJECTIVES[objective], **{"batch": 4, "adversarial_from": 0, **changes})  # type: ignore[arg-type]
    config = PriorConfig(dim=1, latent=8, width=16, variational=objective == "vae")
    return PriorTraining(noise_clips(0), [noise_clips(1)], config, goal, seed=seed, horizon=horizon)


@pytest.fixture(scope="session")
def make_training() -> MakeTraining:
    """``make_training("r3gan", seed=1, horizon=6, adversarial_every=1) -> PriorTraining``."""
    return build_training
