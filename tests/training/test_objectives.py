"""The named objectives: settings that a step can work with, and the published ones of WaveGAN."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from gansep.training.api import PriorSettings
from gansep.training.objectives import OBJECTIVES, Objective


@pytest.mark.parametrize("name", list(OBJECTIVES))
def test_settings_make_sense(name: str) -> None:
    goal = OBJECTIVES[name]
    assert goal.game in ("wgan-gp", "r3gan")
    assert 0 < goal.rate < 0.01 and all(0 <= beta < 1 for beta in goal.betas)
    assert min(goal.batch, goal.critic_steps, goal.penalty_every, goal.adversarial_every) >= 1
    assert min(goal.adversarial, goal.penalty, goal.box, goal.gain, goal.adversarial_from) >= 0
    if goal.reconstruct:
        assert goal.batch % 2 == 0  # half of it plays the game
        assert goal.adversarial_from < (PriorSettings().steps or 0)  # a training of the usual length gets to it
    else:  # every step has a loss
        assert goal.adversarial > 0 and goal.adversarial_from == 0 and goal.adversarial_every == 1


def test_the_usual_training_uses_the_default() -> None:
    assert PriorSettings().objective == "default"


def test_wgan_gp_is_as_published() -> None:
    """WaveGAN (Donahue, McAuley and Puckette 2019): Adam, batch, updates of the critic for one, lambda."""
    goal = OBJECTIVES["wgan-gp"]
    published = {"batch": 64, "rate": 1e-4, "betas": (0.5, 0.9), "critic_steps": 5, "penalty": 10.0}
    assert {name: getattr(goal, name) for name in published} == published
    assert goal.game == "wgan-gp" and goal.penalty_every == 1 and not goal.reconstruct


def test_reconstruction_is_the_default_without_its_game() -> None:
    assert replace(OBJECTIVES["default"], adversarial=0.0, adversarial_from=0) == OBJECTIVES["reconstruction"]


def test_who_trains_an_encoder_and_who_plays_which_game() -> None:
    assert {name for name, goal in OBJECTIVES.items() if goal.reconstruct} == {"default", "reconstruction", "vae"}
    assert OBJECTIVES["r3gan"].game == OBJECTIVES["default"].game == "r3gan"


def test_objectives_cannot_be_changed_by_accident() -> None:
    for field in fields(Objective):
        with pytest.raises(AttributeError, match="cannot assign"):
            setattr(OBJECTIVES["default"], field.name, 0)
