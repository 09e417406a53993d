"""Training on mixtures of known parts: step sizes, averages, where randomness comes from, and what a state holds."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from gansep.nets.masknet import MaskNet
from gansep.nets.spectral import NetConfig
from gansep.training.data import Augmentation, Clips
from gansep.training.mask import MaskTask
from gansep.training.mixing import Mixing, draw_parts
from gansep.training.supervised import SupervisedTraining

RATE = 8000
CONFIG = NetConfig(2, "dnn", 16, 2, 64, 32, RATE, context=1, dropout=0.5)
MIXING = Mixing(seconds=0.1)


def clips_of(wave: Tensor, sha256: str) -> Clips:
    scaled = (wave / wave.abs().max() * 32767).round().to(torch.int16)
    return Clips((scaled,), ((0, len(scaled)),), RATE, sha256, ())


def sounds() -> list[Clips]:
    """A tone and noise."""
    time = torch.arange(2 * RATE) / RATE
    hiss = torch.randn(len(time), generator=torch.Generator().manual_seed(9))
    return [clips_of((500 * time * 6.2831853).sin(), "tone"), clips_of(hiss, "hiss")]


def make(
    config: NetConfig = CONFIG, target: str = "irm", clips: list[Clips] | None = None, **changes: Any
) -> SupervisedTraining:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        task = MaskTask(MaskNet(config, target), changes.pop("loss", "mse"))
    settings = {"mixing": MIXING, "batch": 4} | changes
    return SupervisedTraining(task, clips or sounds(), **settings)


def weights_of(training: SupervisedTraining) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in training.task.network.state_dict().items()}


def same(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> bool:
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def saved(training: SupervisedTraining) -> dict[str, Any]:
    """Its state, after a file and back."""
    file = io.BytesIO()
    torch.save(training.state_dict(), file)
    file.seek(0)
    return torch.load(file, weights_only=True)


# Steps


@pytest.mark.parametrize("network", ["dnn", "blstm", "tfconv"])
def test_a_step_moves_every_weight_and_says_what_it_cost(network: str) -> None:
    training = make(replace(CONFIG, network=network))
    before = weights_of(training)
    losses = training.step(0)
    assert list(losses) == ["mse"] and 0 < losses["mse"] < 1
    for name, value in weights_of(training).items():
        assert not torch.equal(value, before[name]), name


def test_the_loss_is_that_of_the_mixtures_it_drew() -> None:
    training = make(replace(CONFIG, dropout=0.0))
    parts = draw_parts(training.clips, 4, MIXING, torch.Generator().manual_seed(0), training.augment)
    expected = training.task.losses(parts)["mse"]
    assert training.step(0)["mse"] == pytest.approx(float(expected.detach()), rel=0.02)  # in bfloat16 where it is fast


def test_it_learns() -> None:
    training = make(replace(CONFIG, dropout=0.0), rate=0.02, augment=Augmentation(tilt_db=0.0))
    losses = []
    for number in range(100):
        training.random.manual_seed(3)  # one batch over and over
        losses.append(training.step(number)["mse"])
    assert losses[-1] < 0.2 * losses[0]


def test_the_step_size_rises_and_falls() -> None:
    training = make(horizon=3000, rate=0.02)
    rates = {}
    for number in (0, 49, 99, 500, 1000, 1500, 2000, 3000):
        training.step(number)
        rates[number] = training.optimiser.param_groups[0]["lr"] / 0.02
    expected = {0: 0.01, 49: 0.5, 99: 1, 500: 1, 1000: 1, 1500: 0.01**0.25, 2000: 0.1, 3000: 0.01}
    assert rates == pytest.approx(expected)
    endless = make()
    endless.step(10**6)
    assert endless.optimiser.param_groups[0]["lr"] == 1e-3


def test_the_average_forgets_its_start_and_then_decays() -> None:
    """Against the formula in numbers: decay = min(0.998, (1 + n) / (10 + n)); counts are those of now."""
    training = make()
    expected = {name: value.double() for name, value in training.weights().items()}
    for number in (0, 1, 5, 100_000):
        training.step(number)
        decay = {0: 0.1, 1: 2 / 11, 5: 6 / 15, 100_000: 0.998}[number]
        now = weights_of(training)
        expected = {name: decay * old + (1 - decay) * now[name].double() for name, old in expected.items()}
    for name, value in training.weights().items():
        if name.endswith("num_batches_tracked"):
            assert value == 4 and not value.is_floating_point()
        else:
            assert torch.allclose(value.double(), expected[name], atol=1e-6), name


# Randomness


def test_torch_s_own_randomness_is_neither_heard_nor_touched() -> None:
    results = []
    for own, seed, dropout in ((1, 0, 0.5), (2, 0, 0.5), (1, 3, 0.5), (1, 0, 0.0)):
        training = make(replace(CONFIG, dropout=dropout), seed=seed)
        torch.manual_seed(own)
        state = torch.get_rng_state()
        for number in range(2):
            training.step(number)
        training.health()
        assert torch.equal(torch.get_rng_state(), state)
        results.append(weights_of(training))
    assert same(results[0], results[1])
    assert not same(results[0], results[2])  # the seed decides
    assert not same(results[0], results[3])  # there was dropout


def test_every_step_drops_others() -> None:
    """Of the same batch and weights, the cost differs from step to step."""
    losses = []
    for number in (0, 1, 0):
        training = make(rate=0.0)
        losses.append(training.step(number)["mse"])
    assert losses[0] == losses[2] != losses[1]


# States


@pytest.mark.parametrize(("network", "loss"), [("dnn", "mse"), ("blstm", "snr"), ("tfconv", "si-sdr")])
def test_a_resumed_training_ends_with_the_same_bytes(network: str, loss: str) -> None:
    whole, first, second = (make(replace(CONFIG, network=network), loss=loss, horizon=6) for _ in range(3))
    for number in range(6):
        whole.step(number)
    for number in range(3):
        first.step(number)
    torch.manual_seed(123)
    second.step(0)  # whatever it had been
    second.load_state_dict(saved(first))
    for number in range(3, 6):
        second.step(number)
    assert same(weights_of(whole), weights_of(second))
    assert same(whole.weights(), second.weights())
    assert torch.equal(whole.random.get_state(), second.random.get_state())
    assert not same(weights_of(whole), weights_of(first))


def test_another_training_s_state_is_refused() -> None:
    training = make()
    training.step(0)
    tone, hiss = sounds()
    others = {
        "sounds": [{"clips": [tone, replace(hiss, sha256="rain")]}, {"clips": [hiss, tone]}],
        "settings": [
            {"loss": "mae"},
            {"target": "ibm"},
            {"config": replace(CONFIG, width=17)},
            {"config": replace(CONFIG, mean=(0.1,) * 33)},
            {"mixing": Mixing(seconds=0.1, absent=0.2)},
            {"augment": Augmentation(speed=0.0)},
            {"batch": 5},
            {"rate": 2e-3},
            {"seed": 1},
            {"decay": 0.9},
        ],
    }
    for what, changes in others.items():
        for change in changes:
            other = make(**change)
            before = weights_of(other)
            with pytest.raises(ValueError, match=f"^it was made with other {what}$"):
                other.load_state_dict(saved(training))
            assert same(weights_of(other), before)
    with pytest.raises(ValueError, match=r"^it was made with other sounds and settings$"):
        make(clips=[hiss, tone], batch=5).load_state_dict(saved(training))
    make(horizon=99).load_state_dict(saved(training))  # a longer training goes on with it


def test_start_from_takes_copies() -> None:
    donor, training = make(seed=1), make()
    donor.step(0)
    training.start_from(donor.weights())
    assert same(weights_of(training), donor.weights()) and same(training.weights(), donor.weights())
    before = {name: value.clone() for name, value in donor.weights().items()}
    training.step(0)
    assert same(donor.weights(), before)
    assert not same(training.weights(), before)


# Separation


def test_separation_is_by_the_averaged_weights_and_leaves_the_others() -> None:
    training = make()
    for number in range(5):
        training.step(number)
    own = weights_of(training)
    assert not same(own, training.weights())
    mixture = torch.randn(20, 700, generator=torch.Generator().manual_seed(1))  # more than are done at once
    stems = training.separate(mixture)
    assert same(weights_of(training), own)
    assert stems.shape == (20, 2, 700) and not stems.requires_grad
    network = MaskNet(CONFIG, "irm")
    network.load_state_dict(training.weights())
    with torch.no_grad():
        expected = MaskTask(network.eval(), "mse").separate(mixture)
    torch.testing.assert_close(stems, expected)
    torch.testing.assert_close(training.separate(mixture[17:18]), expected[17:18])


def test_weights_come_back_although_separation_fails() -> None:
    training = make()
    training.step(0)
    own = weights_of(training)
    with pytest.raises(ValueError, match="at least one sample"):
        training.separate(torch.zeros(1, 0))
    assert same(weights_of(training), own)


# Health


@pytest.mark.parametrize("target", ["ibm", "irm", "iam", "psm", "orm"])
@pytest.mark.parametrize("level", [(-30.0, 0.0), (-90.0, -80.0)])
def test_a_young_network_is_healthy(target: str, level: tuple[float, float]) -> None:
    assert make(target=target, mixing=replace(MIXING, level_db=level)).health() is None


def head_of(training: SupervisedTraining) -> tuple[Tensor, Tensor]:
    return training.average["net.trunk.head.weight"], training.average["net.trunk.head.bias"]


@pytest.mark.parametrize("level", [(-30.0, 0.0), (-90.0, -80.0)])
@pytest.mark.parametrize(
    ("bias", "other", "said"),
    [
        (-50.0, -50.0, "the network has gone silent for source 1"),
        (0.0, -50.0, "the network has gone silent for source 2"),
        (0.0, 0.0, "the network has collapsed: every source gets the same sound"),
        (1.0, -1.0, "the network has collapsed: every source gets the same sound"),  # shares of the whole
        (torch.nan, 0.0, "the network's output is not finite"),
    ],
)
def test_a_network_gone_bad_is_noticed(bias: float, other: float, said: str, level: tuple[float, float]) -> None:
    training = make(mixing=replace(MIXING, level_db=level))
    weight, offset = head_of(training)
    weight.zero_()
    offset[:33] = bias
    offset[33:] = other
    assert training.health() == said


def test_sources_that_are_told_apart_a_little_are_no_collapse() -> None:
    training = make(mixing=replace(MIXING, level_db=(-90.0, -80.0)))
    weight, offset = head_of(training)
    weight.zero_()
    offset.zero_()
    offset[:16] = 0.3
    assert training.health() is None


def test_health_looks_without_touching() -> None:
    watched, alone = make(), make()
    for number in range(2):
        watched.health()
        watched.step(number)
        alone.step(number)
    assert same(watched.weights(), alone.weights()) and same(weights_of(watched), weights_of(alone))
    assert torch.equal(watched.random.get_state(), alone.random.get_state())
