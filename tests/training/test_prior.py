"""One step of each objective: who moves, what is averaged, and when a generator counts as gone bad."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor

from gansep.losses import adversarial, multi_resolution_spectral
from gansep.nets import spectrogram
from gansep.nets.sound import griffin_lim
from gansep.nets.spectral import NetConfig
from gansep.nets.spectrogram import SpectralGenerator, levels_of
from gansep.nets.wavegan import Critic, Encoder, Generator, PriorConfig
from gansep.training.data import Augmentation, Clips, noise_clips
from gansep.training.loop import Schedule, train
from gansep.training.objectives import OBJECTIVES
from gansep.training.prior import UNTOLD, PriorTraining, draw_rest

MakeTraining = Callable[..., PriorTraining]


def weights_of(training: PriorTraining) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in training.nets.named_parameters()}


def moved(training: PriorTraining, before: dict[str, Tensor]) -> set[str]:
    """Networks of which every weight but those without a gradient has changed."""
    now = weights_of(training)
    changed = {name.split(".")[0] for name in before if not torch.equal(before[name], now[name])}
    for network in changed:
        names = [name for name in before if name.startswith(network) and name.endswith("weight")]
        assert all(not torch.equal(before[name], now[name]) for name in names), network
    return changed


@pytest.mark.parametrize(
    ("objective", "number", "expected", "losses"),
    [
        ("wgan-gp", 0, {"generator", "critic"}, {"critic", "adversarial"}),
        ("r3gan", 0, {"generator", "critic"}, {"critic", "adversarial"}),
        ("default", 0, {"generator", "critic", "encoder"}, {"critic", "adversarial", "spectral", "gain", "box"}),
        ("default", 1, {"generator", "encoder"}, {"spectral", "gain", "box"}),  # no game in this step
        ("reconstruction", 0, {"generator", "encoder"}, {"spectral", "gain", "box"}),
    ],
)
def test_a_step_moves_the_networks_of_its_objective(
    make_training: MakeTraining, objective: str, number: int, expected: set[str], losses: set[str]
) -> None:
    training = make_training(objective)
    before = weights_of(training)
    got = training.step(number)
    assert moved(training, before) == expected
    assert set(got) == losses
    assert all(torch.tensor(value).isfinite() for value in got.values())


@pytest.mark.parametrize("objective", list(OBJECTIVES))
def test_the_networks_are_those_of_the_config(make_training: MakeTraining, objective: str) -> None:
    training = make_training(objective)
    reference = {"generator": Generator, "critic": Critic}
    if OBJECTIVES[objective].reconstruct:
        reference["encoder"] = Encoder
    for name, kind in reference.items():
        shapes = {key: value.shape for key, value in kind(training.config).state_dict().items()}
        assert {key: value.shape for key, value in training.nets[name].state_dict().items()} == shapes
    assert not any(name.startswith("critic") for name in training.weights())


def test_the_game_begins_when_the_objective_says(make_training: MakeTraining) -> None:
    training = make_training("default", adversarial_from=8, adversarial_every=4)
    played = ["critic" in training.step(number) for number in range(13)]
    assert [number for number, yes in enumerate(played) if yes] == [8, 12]


def test_five_critic_steps_and_penalties_now_and_then(
    make_training: MakeTraining, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    for name in ("gradient_penalty", "zero_centred_penalty"):
        original = getattr(adversarial, name)
        monkeypatch.setattr(adversarial, name, lambda *a, o=original, n=name: (calls.append(n), o(*a))[1])
    training = make_training("wgan-gp")
    training.step(0)
    assert calls == ["gradient_penalty"] * 5
    calls.clear()
    training = make_training("r3gan", penalty_every=2)
    for number in range(4):
        training.step(number)
    assert calls == ["zero_centred_penalty"] * 4  # R1 and R2 in steps 0 and 2


def test_the_average_forgets_its_start_and_then_decays(make_training: MakeTraining) -> None:
    """Against the formula in numbers: decay = min(0.998, (1 + n) / (10 + n))."""
    training = make_training("default")
    expected = {name: value.double() for name, value in training.weights().items()}
    for number in (0, 1, 5, 100_000):
        training.step(number)
        decay = {0: 0.1, 1: 2 / 11, 5: 6 / 15, 100_000: 0.998}[number]
        now = weights_of(training)
        expected = {name: decay * old + (1 - decay) * now[name].double() for name, old in expected.items()}
    for name, value in training.weights().items():
        assert torch.allclose(value.double(), expected[name], atol=1e-6), name


def test_the_step_size_falls_to_a_tenth_over_the_last_third(make_training: MakeTraining) -> None:
    training = make_training("r3gan", horizon=300)
    rates = {}
    for number in (0, 100, 200, 250, 300, 1000):
        training.step(number)
        rates[number] = training.player.param_groups[0]["lr"] / OBJECTIVES["r3gan"].rate
        assert training.judge.param_groups[0]["lr"] == training.player.param_groups[0]["lr"]
    assert rates == pytest.approx({0: 1.0, 100: 1.0, 200: 1.0, 250: 0.55, 300: 0.1, 1000: 0.1})
    endless = make_training("r3gan")
    endless.step(10**6)
    assert endless.player.param_groups[0]["lr"] == OBJECTIVES["r3gan"].rate


def test_the_same_seed_gives_the_same_training_whatever_torch_s_own(make_training: MakeTraining) -> None:
    results = []
    for own, seed in ((1, 0), (2, 0), (1, 3)):
        torch.manual_seed(own)
        training = make_training("default", seed=seed)
        training.step(0)
        results.append(training.weights())
    assert all(torch.equal(results[0][name], results[1][name]) for name in results[0])
    assert not torch.equal(results[0]["generator.seed.weight"], results[2]["generator.seed.weight"])


def test_reconstruction_learns(make_training: MakeTraining) -> None:
    training = make_training("reconstruction", rate=1e-2)
    saw = 65534 * (torch.arange(40_000) * 150 / 16_000 % 1 - 0.5)
    training.clips = replace(training.clips, waves=(saw.to(torch.int16),), active=((0, 40_000),))
    training.augment = Augmentation(shift=False, again=0.0, speed=0.0, tilt_db=0.0)
    losses = []
    for number in range(50):
        training.random.manual_seed(3)  # one batch over and over, so that every loss can fall
        losses.append(training.step(number))
    for name, share in (("spectral", 0.7), ("box", 0.5), ("gain", 0.5)):
        assert losses[-1][name] < share * losses[0][name], name
    wave = training._real(4)
    assert losses[-1]["spectral"] < 0.5 * multi_resolution_spectral(torch.zeros_like(wave), wave).min()  # no silence


def test_the_distance_to_the_box_is_zero_for_uniform_latents(make_training: MakeTraining) -> None:
    training = make_training("default")
    random = torch.Generator().manual_seed(5)
    uniform = torch.rand(4000, 8, generator=random) * 2 - 1
    distance = training._distance_to_box
    assert distance(uniform) < 0.002
    assert float(distance(torch.zeros(4000, 8))) == pytest.approx(1 / 3, rel=0.1)  # the variance of what it lacks
    assert float(distance(uniform.sign())) > 0.03  # at the corners


def test_the_rest_is_one_or_two_others_at_up_to_9_db_either_way() -> None:
    others = [tone(300), tone(1000), tone(4000)]
    rest = draw_rest(others, 300, 4096, torch.Generator().manual_seed(0))
    assert rest.shape == (300, 3, 4096)
    sounding = rest.abs().amax(2) > 0
    assert set(sounding.sum(1).tolist()) == {1, 2}
    assert float((sounding.sum(1) == 1).float().mean()) == pytest.approx(0.35, abs=0.08)
    assert sounding.sum(0).min() > 100  # all alike
    level = 20 * rest.sum(1).abs().amax(1).log10()
    assert -9.01 < level.min() < -8 and 8 < level.max() < 9.01
    for number, hertz in enumerate((300, 1000, 4000)):
        heard = centroids(rest[sounding[:, number], number])
        assert (heard / hertz).log2().abs().median() < 0.3
    assert draw_rest(others[:1], 8, 4096, torch.Generator().manual_seed(0)).abs().amax(2).min() > 0.3


def test_mixtures_are_what_is_said_of_them(make_training: MakeTraining) -> None:
    """Parts of the source and of every other one; one in ten lacks the source and one in eight all others."""
    training = make_training("default")
    training.others = [noise_clips(16_000), tone(1000)]
    mixed = training._mix(torch.ones(400, training.config.segment))
    parts, gain, there = mixed.parts, mixed.gain, mixed.present == 1
    assert parts.shape == (400, 3, training.config.segment)
    assert torch.equal(parts[:, 0], (gain * there)[:, None].expand_as(parts[:, 0]))
    assert 0.05 < float((mixed.present == 0).float().mean()) < 0.16 and ((mixed.present == 0) | there).all()
    decibels = 20 * gain[there].log10()
    assert decibels.abs().max() <= 9.001 and abs(float(decibels.mean())) < 1
    assert float(decibels.std()) == pytest.approx(18 / 12**0.5, rel=0.1)
    rest = parts[:, 1:].sum(1).abs().amax(-1)
    assert float((rest < 0.01).float().mean()) == pytest.approx(0.125, abs=0.05)
    assert (20 * rest[rest >= 0.01].log10()).abs().max() < 9.01
    torch.testing.assert_close(gain[~there], 0.01 * rest[~there])  # as good as nothing


def test_a_listener_of_the_source_and_all_others_is_trained(make_training: MakeTraining) -> None:
    plain = make_training("default")
    ears = NetConfig(outputs=6, width=16, depth=1, n_fft=256, hop=128)
    config = replace(plain.config, listener=ears, hears=("own", "noise", "tone"))
    others = [noise_clips(16_000), tone(1000)]
    training = PriorTraining(plain.clips, others, config, plain.objective)
    before = weights_of(training)
    losses = training.step(1)
    assert moved(training, before) == {"generator", "encoder", "listener"} and {"snr", "presence"} <= set(losses)
    training.calibrate(batches=4)
    assert training.average["listener.certainty"].shape == (3, 5)
    assert training.average["listener.certainty"].any(1).all()


# Health


def test_a_young_generator_is_healthy(make_training: MakeTraining) -> None:
    assert make_training("default").health() is None


def test_silence_is_noticed(make_training: MakeTraining) -> None:
    training = make_training("default")
    training.average["generator.layers.4.weight"].zero_()
    assert training.health() == "the generator has gone silent"


def test_collapse_is_noticed(make_training: MakeTraining) -> None:
    training = make_training("default")
    training.average["generator.seed.weight"].zero_()  # it no longer hears its latents
    training.average["generator.seed.bias"].fill_(1.0)
    training.average["generator.layers.4.weight"].mul_(30)
    assert training.health() == "the generator has collapsed: every latent gives the same sound"


def test_numbers_gone_bad_are_noticed(make_training: MakeTraining) -> None:
    training = make_training("default")
    training.average["generator.layers.2.bias"].fill_(torch.nan)
    assert training.health() == "the generator's output is not finite"


def test_health_looks_without_touching(make_training: MakeTraining) -> None:
    watched, alone = make_training("default"), make_training("default")
    for number in range(2):
        watched.health()
        watched.step(number)
        alone.step(number)
    assert all(torch.equal(a, b) for a, b in zip(watched.average.values(), alone.average.values(), strict=True))


# Beginning from a finished prior


def test_start_from_takes_what_is_there_and_keeps_the_rest(make_training: MakeTraining) -> None:
    donor, training = make_training("r3gan", seed=1), make_training("default")
    before = weights_of(training)
    training.start_from(donor.weights())  # a prior without an encoder
    for name, value in donor.weights().items():
        assert torch.equal(training.nets.get_parameter(name), value)
        assert torch.equal(training.average[name], value)
    for name, value in weights_of(training).items():
        if name.startswith(("encoder", "critic")):
            assert torch.equal(value, before[name])
    after = {name: value.clone() for name, value in donor.weights().items()}
    training.step(0)
    assert all(torch.equal(donor.weights()[name], value) for name, value in after.items())  # a copy was taken


def test_variational_latents_are_drawn_and_charged_for(make_training: MakeTraining) -> None:
    training = make_training("vae")
    encoder = training.nets["encoder"]
    assert isinstance(encoder, Encoder)
    mean, spread = torch.tensor([0.5, -2.0]), torch.tensor([0.0, -3.0])  # of the first latents, then of the others
    with torch.no_grad():
        encoder.head.weight.zero_()
        encoder.head.bias[:16] = torch.cat([mean.repeat_interleave(4), spread.repeat_interleave(4)])
    latents, _, losses = training._heard(0.1 * torch.randn(600, 16384))
    normal = torch.distributions.Normal
    expected = torch.distributions.kl_divergence(normal(mean, (spread / 2).exp()), normal(0.0, 1.0)).mean()
    torch.testing.assert_close(losses["divergence"], expected)
    torch.testing.assert_close(latents[:, :4].std(), torch.tensor(1.0), atol=0.05, rtol=0)
    torch.testing.assert_close(latents[:, 4:].mean(), mean[1], atol=0.05, rtol=0)
    torch.testing.assert_close(latents[:, 4:].std(), torch.tensor(-1.5).exp(), atol=0.02, rtol=0)


def test_divergence_weighs_more_and_more(make_training: MakeTraining) -> None:
    heavy, light = (make_training("vae", divergence=weight, warm_up=10) for weight in (100.0, 0.0))
    first = [training.step(0) for training in (heavy, light)]
    assert first[0] == first[1] and all(map(torch.equal, *(t.average.values() for t in (heavy, light))))
    for training in (heavy, light):
        training.step(10)
    assert not all(map(torch.equal, *(t.average.values() for t in (heavy, light))))


# Classes


def tone(frequency: float) -> Clips:
    wave = 32767 * torch.sin(2 * math.pi * frequency * torch.arange(40_000) / 16_000)
    return Clips((wave.to(torch.int16),), ((0, 40_000),), 16_000, f"tone of {frequency} Hz", ())


def told(*sounds: Clips, domain: str = "waveform", names: str = "abc", dim: int = 1, **changes: float) -> PriorTraining:
    """A small variational training of which every sound is a class; ``changes`` are the objective's."""
    config = PriorConfig(
        dim=dim, latent=8, width=16, variational=True, domain=domain, classes=tuple(names[: len(sounds)])
    )
    goal = replace(OBJECTIVES["vae"], **{"batch": 4, **changes})  # type: ignore[arg-type]
    return PriorTraining(sounds, [noise_clips(16_000)], config, goal, Augmentation(tilt_db=0.0))


def centroids(waves: Tensor) -> Tensor:
    """In Hz."""
    power = torch.fft.rfft(waves * torch.hann_window(waves.shape[-1])).abs().square()
    return (power @ torch.linspace(0, 8000, power.shape[-1])) / power.sum(-1)


def test_windows_are_of_the_class_that_is_told() -> None:
    waves, which = told(tone(300), tone(1000), tone(4000))._drawn(300)
    assert which is not None and waves.shape == (300, 16384)
    heard = torch.bucketize(centroids(waves), torch.tensor([550.0, 2000.0]))  # bends go up to a seventh of an octave
    untold = which < 0
    assert torch.equal(which[~untold], heard[~untold])
    assert set(which[untold].tolist()) == {-1}
    assert 0.12 < float(untold.float().mean()) < 0.28 and UNTOLD == 0.2
    assert heard.bincount().min() > 70  # all alike
    assert set(heard[untold].tolist()) == {0, 1, 2}  # which class it is does not tell whether it is told


def test_one_class_is_told_and_none_is_not() -> None:
    _, which = told(tone(300))._drawn(200)
    assert which is not None and set(which.tolist()) == {0, -1}
    assert 0.12 < float((which < 0).float().mean()) < 0.28


def test_a_source_without_classes_is_drawn_as_ever(make_training: MakeTraining) -> None:
    training, again = make_training("vae"), make_training("vae")
    waves, which = training._drawn(4)
    assert which is None and torch.equal(waves, again._real(4))


def test_there_must_be_sounds_of_every_class() -> None:
    with pytest.raises(ValueError, match="expected sounds of 2 classes, got 3"):
        told(tone(300), tone(1000), tone(4000), names="ab")
    config = PriorConfig(dim=1, latent=8, width=16)
    with pytest.raises(ValueError, match="expected sounds of 1 classes, got 2"):
        PriorTraining([tone(300), tone(1000)], [], config, OBJECTIVES["default"])


@pytest.mark.parametrize("domain", ["waveform", "magnitude"])
def test_the_generator_learns_of_the_classes_it_is_told(domain: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gansep.training.prior.UNTOLD", 0.0)
    training = told(tone(300), tone(4000), domain=domain, batch=8)
    seed = training.nets["generator"].get_parameter("seed.weight")
    before = seed.detach().clone()
    training.step(0)
    assert (seed != before)[:, 8:].any(0).all()  # columns of both classes
    monkeypatch.setattr("gansep.training.prior.UNTOLD", 1.0)
    training = told(tone(300), tone(4000), domain=domain, batch=8)
    training.step(0)
    assert torch.equal(training.nets["generator"].get_parameter("seed.weight")[:, 8:], before[:, 8:])


def test_with_classes_it_resumes_to_the_same_bytes(tmp_path: Path) -> None:
    parts, resumed, whole = (told(tone(300), tone(4000)) for _ in range(3))
    train(parts, Schedule(2), tmp_path / "a.pt")
    train(resumed, Schedule(4), tmp_path / "a.pt", resume=True)
    train(whole, Schedule(4), tmp_path / "whole.pt")
    assert all(map(torch.equal, resumed.average.values(), whole.average.values()))
    assert not all(map(torch.equal, parts.average.values(), whole.average.values()))


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (lambda: told(tone(4000), tone(300)), "other sounds$"),  # each in the other's place
        (lambda: told(tone(300), tone(4000), names="ba"), "other settings$"),
        (lambda: told(tone(300), tone(4000), domain="magnitude"), "other settings$"),
    ],
)
def test_a_state_of_other_classes_is_refused(other: Callable[[], PriorTraining], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        other().load_state_dict(told(tone(300), tone(4000)).state_dict())


def test_a_state_beside_other_sounds_says_where_they_come_from() -> None:
    before, after = told(tone(300)), told(tone(300))
    after.others = [tone(500)]
    with pytest.raises(ValueError, match=r"other interference \(of --interference, or of other priors installed\)$"):
        after.load_state_dict(before.state_dict())


# Generators that play spectra


@pytest.fixture
def quick_phases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spectrogram, "griffin_lim", partial(griffin_lim, iterations=1))


def test_what_a_spectral_generator_missed_is_the_error_of_its_levels() -> None:
    training = told(tone(300), tone(4000), domain="magnitude")
    generator = training.nets["generator"]
    assert isinstance(generator, SpectralGenerator)
    source, which = training._drawn(3)
    latents = torch.randn(3, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        error = (generator.levels(latents, which) - levels_of(source)).pow(2).flatten(1).mean(1)
        missed = training._missed(latents, which, source)
        torch.testing.assert_close(missed, error, rtol=0.01, atol=0)  # bfloat16 where it pays
        for weight in generator.last.parameters():
            weight.zero_()
        torch.testing.assert_close(training._missed(latents, which, source), levels_of(source).pow(2).mean((1, 2)))


def test_a_spectral_generator_learns() -> None:
    training = told(tone(300), tone(4000), domain="magnitude", dim=4, rate=1e-2)
    before = weights_of(training)
    losses = []
    for number in range(30):
        training.random.manual_seed(3)  # one batch over and over, so that every loss can fall
        losses.append(training.step(number))
        if not number:
            assert moved(training, before) == {"generator", "encoder"}
    assert set(losses[0]) == {"spectral", "gain", "divergence"}
    assert losses[-1]["spectral"] < 0.5 * losses[0]["spectral"]
    assert losses[-1]["gain"] < 0.5 * losses[0]["gain"]
    source = training._real(4)
    flat = levels_of(source).var((1, 2), correction=0).mean()  # of the best levels that are the same everywhere
    assert losses[-1]["spectral"] < float(flat)


@pytest.mark.usefixtures("quick_phases")
def test_the_health_of_spectral_generators() -> None:
    training = told(tone(300), tone(4000), domain="magnitude")
    assert training.health() is None
    training.average["generator.last.bias"].fill_(-9.0)
    assert training.health() == "the generator has gone silent"


@pytest.mark.usefixtures("quick_phases")
def test_numbers_of_a_spectral_generator_gone_bad_are_noticed() -> None:
    training = told(tone(300), domain="magnitude")
    training.average["generator.last.bias"].fill_(torch.nan)
    assert training.health() == "the generator's output is not finite"
