"""Generator, critic and encoder: the article's layers, computed another way and to the same numbers."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from gansep.nets.spectral import NetConfig
from gansep.nets.wavegan import (
    MOST_CLASSES,
    Critic,
    Encoder,
    Generator,
    PriorConfig,
    Told,
    UpConv1d,
    phase_shuffle,
    told,
)

TINY = PriorConfig(dim=1, latent=5, width=16)
VARIATIONAL = PriorConfig(dim=1, latent=5, width=16, variational=True)
WITH_CLASSES = PriorConfig(dim=1, latent=5, width=16, variational=True, classes=("a", "b", "c"))


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)  # of the networks' weights


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def uniform(count: int, size: int) -> Tensor:
    return torch.rand(count, size, generator=seeded()) * 2 - 1


def parameters(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


@given(
    stride=st.sampled_from([2, 4]),
    channels=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    batch=st.integers(1, 3),
    frames=st.integers(1, 70),
)
@settings(max_examples=60, deadline=None)
def test_up_convolution_is_the_transposed_one(stride: int, channels: tuple[int, int], batch: int, frames: int) -> None:
    ours = UpConv1d(*channels, stride)
    nn.init.normal_(ours.bias)
    theirs = nn.ConvTranspose1d(*channels, 25, stride, ours.padding, output_padding=1)
    theirs.load_state_dict(ours.state_dict())  # the same names and layouts: either form loads the other's file
    x = noise(batch, channels[0], frames)
    got = ours(x)
    assert got.shape == (batch, channels[1], stride * frames)
    assert (got - ours.transposed(x)).abs().max() < 1e-5
    assert (got - theirs(x)).abs().max() < 1e-5


@pytest.mark.parametrize("stride", [2, 4])
def test_up_convolution_has_the_gradients_of_the_transposed_one(stride: int) -> None:
    layer = UpConv1d(3, 2, stride)
    x = noise(2, 3, 9).requires_grad_()
    weights = noise(2, 2, 9 * stride, seed=1)
    wanted = [x, layer.weight, layer.bias]
    ours = torch.autograd.grad((layer(x) * weights).sum(), wanted)
    theirs = torch.autograd.grad((layer.transposed(x) * weights).sum(), wanted)
    for a, b in zip(ours, theirs, strict=True):
        assert torch.allclose(a, b, atol=1e-4)


@pytest.mark.parametrize(("segment", "dim"), [(16384, 2), (32768, 1), (65536, 1)])
def test_every_segment_length(segment: int, dim: int) -> None:
    config = PriorConfig(dim=dim, latent=7, segment=segment, width=16)
    with torch.no_grad():
        wave = Generator(config)(uniform(2, 7))
        assert wave.shape == (2, segment)
        assert Critic(config)(wave).shape == (2,)
        latents, gain = Encoder(config)(wave)
    assert latents.shape == (2, 7) and gain.shape == (2,)


def test_the_generator_stays_within_full_scale_and_hears_every_latent() -> None:
    generator = Generator(TINY)
    with torch.no_grad():
        loud = generator(1e4 * uniform(4, 5))
    assert 0.5 < loud.abs().max() <= 1  # so far out that tanh is flat
    assert loud.isfinite().all()
    latents = uniform(4, 5).requires_grad_()
    (gradient,) = torch.autograd.grad(generator(latents).square().sum(), latents)
    assert (gradient.abs() > 0).all()


def test_the_parameters_are_the_article_s() -> None:
    """Donahue et al. 2019, tables 3 (generator) and 4 (critic), d = 64, c = 1, latents of 100."""
    config = PriorConfig(dim=64)
    d = 64
    layers = [(25, 16 * d, 8 * d), (25, 8 * d, 4 * d), (25, 4 * d, 2 * d), (25, 2 * d, d), (25, d, 1)]
    convolutions = sum(k * a * b for k, a, b in layers)
    with torch.device("meta"):
        generator, critic = Generator(config), Critic(config)
    assert parameters(generator) == 100 * 256 * d + 256 * d + convolutions + (8 + 4 + 2 + 1) * d + 1 == 19_065_345
    assert parameters(critic) == convolutions + (1 + 2 + 4 + 8 + 16) * d + 256 * d + 1 == 17_427_969


# Phase shuffle


def reflected(x: np.ndarray, shift: int) -> np.ndarray:
    reach = abs(shift)
    return np.pad(x, (reach, reach), mode="reflect")[reach + shift :][: len(x)]


def test_phase_shuffle_moves_each_example_by_its_own_shift_and_reflects() -> None:
    x = torch.arange(7.0).repeat(200, 2, 1)
    x[:, 1] += 100
    moved = phase_shuffle(x, 2, seeded()).numpy()
    expected = {tuple(reflected(np.arange(7.0), shift)): shift for shift in range(-2, 3)}
    assert (2.0, 1.0, 0.0, 1.0, 2.0, 3.0, 4.0) in expected and (2.0, 3.0, 4.0, 5.0, 6.0, 5.0, 4.0) in expected
    shifts = [expected[tuple(example[0])] for example in moved]  # a KeyError if it is none of the five
    assert np.array_equal(moved[:, 1], moved[:, 0] + 100)  # all channels of an example go together
    assert all(20 < shifts.count(shift) < 60 for shift in range(-2, 3))


def test_phase_shuffle_without_reach_changes_nothing() -> None:
    x = noise(3, 2, 11)
    assert torch.equal(phase_shuffle(x, 0, seeded()), x)


def test_phase_shuffle_passes_gradients_back_to_where_samples_came_from() -> None:
    x = noise(30, 1, 6).requires_grad_()
    weights = torch.arange(1.0, 7.0)
    (gradient,) = torch.autograd.grad((phase_shuffle(x, 1, seeded()) * weights).sum(), x)
    expected = {
        (1.0, 2.0, 3.0, 4.0, 5.0, 6.0),  # no shift
        (2.0, 4.0, 4.0, 5.0, 6.0, 0.0),  # to the right: sample 1 is also the reflected first one
        (0.0, 1.0, 2.0, 3.0, 4.0 + 6.0, 5.0),  # to the left
    }
    assert {tuple(row) for row in gradient[:, 0].tolist()} == expected


def test_the_critic_is_deterministic_unless_given_randomness() -> None:
    critic = Critic(TINY)
    wave = noise(6, 16384)
    with torch.no_grad():
        plain = critic(wave)
        assert torch.equal(critic(wave), plain)
        assert torch.equal(critic(wave, seeded(3)), critic(wave, seeded(3)))
        assert not torch.equal(critic(wave, seeded(3)), plain)
        unshuffled = Critic(TINY, shuffle=0)
        unshuffled.load_state_dict(critic.state_dict())
        assert torch.equal(unshuffled(wave, seeded(3)), plain)
        assert torch.allclose(critic(wave[2:3]), plain[2:3], atol=1e-6)  # no neighbour in the batch counts


# Encoder


@pytest.mark.parametrize("level", [2.0**-8, 0.3, 1.7, 2.0**5])
def test_the_encoder_is_blind_to_the_level_but_for_the_gain(level: float) -> None:
    encoder, mixture = Encoder(TINY), 0.1 * noise(3, 16384)
    with torch.no_grad():
        latents, gain = encoder(mixture)
        scaled_latents, scaled_gain = encoder(level * mixture)
    assert latents.abs().max() <= 1 and (gain > 0).all()
    tolerance = 0 if level in (2.0**-8, 2.0**5) else 1e-4  # powers of two do not round
    assert (scaled_latents - latents).abs().max() <= tolerance
    assert (scaled_gain / gain / level - 1).abs().max() <= tolerance


def test_the_encoder_answers_to_silence_and_stays_in_the_box() -> None:
    encoder = Encoder(TINY)
    with torch.no_grad():
        encoder.head.weight *= 1e3
        for mixture in (torch.zeros(2, 16384), noise(2, 16384)):
            latents, gain = encoder(mixture)
            assert latents.abs().max() <= 1
            assert gain.isfinite().all() and (gain > 0).all()
        assert latents.abs().max() > 0.99


# Variational priors


def answering(mean: float, spread: float, gain: float) -> Encoder:
    """A variational encoder whose last layer says the same of every mixture."""
    encoder = Encoder(VARIATIONAL)
    with torch.no_grad():
        encoder.head.weight.zero_()
        encoder.head.bias.copy_(torch.tensor([mean] * 5 + [spread] * 5 + [gain]))
    return encoder


@pytest.mark.parametrize(
    ("spread", "gain", "expected"),
    [
        (-3.0, 2.0, (-3.0, 2.0)),
        (4.0, -8.0, (4.0, -8.0)),
        (6.0, 9.0, (4.02, 4.05)),  # beyond their bounds a hundredth of the way on
        (-20.0, -10.0, (-12.08, -8.02)),
    ],
)
def test_variances_and_gains_are_bounded_but_find_back(
    spread: float, gain: float, expected: tuple[float, float]
) -> None:
    encoder, mixture = answering(7.0, spread, gain), noise(2, 16384)
    level = mixture.square().mean(-1).sqrt()
    means, spreads, gains = encoder.distribution(mixture)
    assert (means == 7).all()  # which have none
    torch.testing.assert_close(spreads, torch.full((2, 5), expected[0]))
    torch.testing.assert_close((gains / level).log(), torch.full((2,), expected[1]))
    (spreads.sum() + gains.log().sum()).backward()
    gradient = encoder.head.bias.grad
    assert gradient is not None
    slopes = [2.0 if said == bounded else 0.02 for said, bounded in zip((spread, gain), expected, strict=True)]
    torch.testing.assert_close(gradient, torch.tensor([0.0] * 5 + [slopes[0]] * 5 + [slopes[1]]))


def test_within_the_bounds_an_encoder_answers_as_its_last_layer_says() -> None:
    """As priors do that were trained when the bounds were hard."""
    mixture = 0.1 * noise(3, 16384)
    level = mixture.square().mean(-1).sqrt()
    for config in (TINY, VARIATIONAL):
        encoder, said = Encoder(config), []
        encoder.head.register_forward_hook(lambda layer, heard, answer, into=said: into.append(answer))
        with torch.no_grad():
            latents, gain = encoder(mixture)
            (y,) = said
            assert y[:, -1].min() > -8 and y[:, -1].max() < 4
            assert torch.equal(gain, level * y[:, -1].exp())
            assert torch.equal(latents, y[:, :5] if config.variational else torch.tanh(y[:, :5]))
            if config.variational:
                assert torch.equal(encoder.distribution(mixture)[1], y[:, 5:10])


def test_a_young_variational_encoder_is_sure_of_its_means() -> None:
    """Their deviation is far below that of the means over sounds, or the generator would hear mostly noise."""
    encoder = Encoder(PriorConfig(dim=1, latent=64, width=16, variational=True))
    sounds = noise(8, 16384) * torch.linspace(0, 1, 16384) ** torch.arange(8.0)[:, None]
    with torch.no_grad():
        means, spreads, _ = encoder.distribution(sounds)
    deviations = (spreads / 2).exp()
    assert abs(float(deviations.mean()) - math.exp(-2)) < 0.02
    assert means.square().mean().sqrt() > 3 * deviations.mean()


def test_no_class_is_zeros_beside_the_latents() -> None:
    latents = noise(2, 5)
    plain = torch.cat([latents, torch.zeros(2, 3)], 1)
    assert torch.equal(told(latents, None, 3), plain)
    assert torch.equal(told(latents, torch.tensor([-1, -1]), 3), plain)
    assert torch.equal(told(latents, None, 0), latents)
    half = told(latents.half(), torch.tensor([2, 0]), 3)
    assert half.dtype == torch.float16  # as the latents
    assert half[:, 5:].tolist() == [[0, 0, 1], [1, 0, 0]]


def test_a_class_is_a_bias_of_its_own_and_none_is_no_bias() -> None:
    generator, latents = Generator(WITH_CLASSES), noise(3, 5)
    with torch.no_grad():
        untold = generator(latents)
        assert torch.equal(generator(latents, torch.tensor([-1, -1, -1])), untold)
        played = generator(latents, torch.tensor([1, -1, 0]))
        torch.testing.assert_close(played[1], untold[1])
        for row, which in ((0, 1), (2, 0)):
            assert (played[row] - untold[row]).abs().max() > 0.01
            biased = Generator(WITH_CLASSES)
            biased.load_state_dict(generator.state_dict())
            biased.seed.bias.add_(generator.seed.weight[:, 5 + which])
            torch.testing.assert_close(played[row], biased(latents)[row], atol=1e-5, rtol=0)


def test_a_generator_without_classes_has_the_weights_of_before() -> None:
    shapes = {name: value.shape for name, value in Generator(VARIATIONAL).state_dict().items()}
    assert shapes == {name: value.shape for name, value in Generator(TINY).state_dict().items()}
    assert Generator(WITH_CLASSES).seed.weight.shape == (256, 5 + 3)


def test_a_generator_that_is_told_once_plays_that_class_and_passes_gradients() -> None:
    generator = Generator(WITH_CLASSES)
    latents = noise(2, 5).requires_grad_()
    played = Told(generator, 2)(latents)
    assert torch.equal(played, generator(latents, torch.tensor([2, 2])))
    (gradient,) = torch.autograd.grad(played.square().sum(), latents)
    assert (gradient.abs() > 0).all()


# Configurations


@pytest.mark.parametrize(
    "sizes",
    [{"segment": 16000}, {"segment": 0}, {"dim": 0}, {"latent": 0}, {"width": 0}, {"width": 24}, {"sample_rate": 0}],
)
def test_bad_sizes_are_refused(sizes: dict[str, Any]) -> None:
    name, value = next(iter(sizes.items()))
    with pytest.raises(ValueError, match=rf"{name}.*got.*{value}"):
        PriorConfig(**sizes)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"variational": True, "domain": "mel"}, "unknown domain 'mel'; expected one of waveform, magnitude"),
        ({"domain": "magnitude"}, "only a variational prior plays spectra or is told classes"),
        ({"classes": ("a", "b")}, "only a variational prior plays spectra or is told classes"),
        ({"variational": True, "classes": ("a", "b", "a")}, f"classes must be different names, at most {MOST_CLASSES}"),
        ({"variational": True, "classes": map(str, range(MOST_CLASSES + 1))}, "classes must be different names"),
    ],
)
def test_bad_domains_and_classes_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        PriorConfig(**settings)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"hears": ("tone", "hiss")}, "a listener of 2 sources needs 4 outputs"),
        ({"hears": ("tone", "hiss"), "listener": "common"}, "a listener of 2 sources needs 4 outputs"),
        ({"hears": ("tone",), "listener": NetConfig(outputs=4)}, "a listener of 1 sources needs 2 outputs"),
        ({"hears": "tone", "listener": NetConfig(outputs=8)}, "hears must be a list of names, got 'tone'"),
        ({"hears": (1, 2), "listener": NetConfig(outputs=4)}, "hears must be a list of names"),
    ],
)
def test_who_is_heard_must_fit_the_listener(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        PriorConfig(**settings)


@pytest.mark.parametrize(
    "config",
    [
        PriorConfig(dim=3, latent=9, segment=65536, sample_rate=8000, width=32),
        PriorConfig(variational=True, domain="magnitude", classes=("a", "b")),
        PriorConfig(variational=True, classes=tuple(map(str, range(MOST_CLASSES)))),
        PriorConfig(listener=NetConfig(outputs=4), hears=("tone", "hiss")),
    ],
)
def test_a_config_survives_its_json(config: PriorConfig) -> None:
    read = PriorConfig(**json.loads(json.dumps(config.to_json())))
    assert read == config and hash(read) == hash(config)


def test_a_config_of_before_plays_waveforms_and_has_no_classes() -> None:
    older = PriorConfig(dim=1, latent=5, segment=16384, sample_rate=16000, width=16)
    assert (older.variational, older.domain, older.classes) == (False, "waveform", ())
