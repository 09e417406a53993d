"""Which priors explain a mixture: with priors that each play one chord, the right ones are known."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from gansep.backends.choice import choose
from gansep.library import Card, Prior
from gansep.nets.listener import Ear, Listener
from gansep.nets.spectral import NetConfig
from gansep.types import ModelError

SEGMENT, RATE = 16384, 16000


class Chord(nn.Module):
    """A generator of one sound: a fundamental and two overtones. Shape: ``[B, 2]`` to ``[B, segment]``."""

    def __init__(self, frequency: float) -> None:
        super().__init__()
        time = torch.arange(SEGMENT) / RATE
        self.register_buffer("wave", sum(torch.sin(2 * torch.pi * n * frequency * time) / (3 * n) for n in (1, 2, 3)))

    def forward(self, latents: Tensor) -> Tensor:
        return self.wave.expand(len(latents), -1)


class Finder(nn.Module):
    """An encoder that hears how much of its chord is in a mixture, and counts how often and how much it is asked."""

    def __init__(self, wave: Tensor) -> None:
        super().__init__()
        self.wave = wave
        self.asked: list[int] = []

    def forward(self, mixture: Tensor) -> tuple[Tensor, Tensor]:
        self.asked.append(len(mixture))
        gain = (mixture @ self.wave).abs() / self.wave.square().sum()
        return torch.zeros(len(mixture), 2), gain.clamp_min(1e-4)


def prior(name: str, frequency: float, encoder: bool = True) -> Prior:
    card = Card(name, {"segment": SEGMENT, "latent": 2, "sample_rate": RATE}, RATE, SEGMENT, (name,))
    chord = Chord(frequency)
    return Prior(name, card, chord, Finder(chord.wave) if encoder else None)


FREQUENCIES = {"low": 170.0, "middle": 410.0, "high": 930.0, "top": 2110.0}


@pytest.fixture
def priors() -> list[Prior]:
    return [prior(name, frequency) for name, frequency in FREQUENCIES.items()]


def mix(priors: list[Prior], **levels: float) -> Tensor:
    """``[3, segment]``: chords at these levels, the second window silent but for noise."""
    random = torch.Generator().manual_seed(0)
    by_name = {one.name: one.generator(torch.zeros(1, 2))[0] for one in priors}
    wave = sum((level * by_name[name] for name, level in levels.items()), torch.zeros(SEGMENT))
    return torch.stack([wave, 0 * wave, 0.5 * wave]) + 1e-4 * torch.randn(3, SEGMENT, generator=random)


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        ({"low": 0.6, "high": 0.3}, ["low", "high"]),
        ({"low": 0.2, "high": 0.6}, ["high", "low"]),
        ({"middle": 0.5, "top": 0.4, "low": 0.2}, ["middle", "top", "low"]),
        ({"top": 0.01}, ["top"]),
    ],
)
def test_the_sounding_priors_are_chosen(priors: list[Prior], levels: dict[str, float], expected: list[str]) -> None:
    choice = choose(priors, mix(priors, **levels), len(levels))
    assert [one.name for one in choice.priors] == [name for name in FREQUENCIES if name in expected]
    assert set(choice.scores) == set(FREQUENCIES)
    assert list(choice.confidence) == expected  # the loudest was found first
    assert all(0 < sure <= 1 for sure in choice.confidence.values())
    assert all(isinstance(one, Prior) and one in priors for one in choice.priors)


def test_the_order_of_the_candidates_does_not_matter(priors: list[Prior]) -> None:
    windows = mix(priors, middle=0.5, top=0.3)
    names = [{one.name for one in choose(order, windows, 2).priors} for order in (priors, priors[::-1])]
    assert names == [{"middle", "top"}] * 2


def test_level_does_not_matter(priors: list[Prior]) -> None:
    loud, soft = (choose(priors, level * mix(priors, low=0.5, high=0.3), 2) for level in (1.0, 0.01))
    assert [one.name for one in loud.priors] == [one.name for one in soft.priors] == ["low", "high"]
    assert loud.scores == pytest.approx(soft.scores, abs=1e-3)


def test_priors_without_encoders_are_candidates_too(priors: list[Prior]) -> None:
    deaf = [prior(name, frequency, encoder=False) for name, frequency in FREQUENCIES.items()]
    choice = choose(deaf, mix(priors, low=0.4, top=0.4), 2)
    assert {one.name for one in choice.priors} == {"low", "top"}


@pytest.mark.parametrize("count", [1, 2, 4])
def test_every_prior_is_asked_once_whatever_k(priors: list[Prior], count: int) -> None:
    choose(priors, mix(priors, low=0.5, high=0.5), count)
    for one in priors:
        assert isinstance(one.encoder, Finder)
        assert one.encoder.asked == [3]


def test_confidence_falls_where_two_are_alike(priors: list[Prior]) -> None:
    twin = prior("twin", FREQUENCIES["low"])
    windows = mix(priors, low=0.5)
    sure, torn = choose(priors, windows, 1), choose([*priors, twin], windows, 1)
    assert sure.confidence["low"] > 0.9
    assert next(iter(torn.confidence.values())) < 0.01


def test_a_source_must_add_something(priors: list[Prior]) -> None:
    """A second prior of a sound that is explained already is passed over for a faint one that is not."""
    twin = prior("twin", FREQUENCIES["low"])
    chosen = {one.name for one in choose([*priors, twin], mix(priors, low=0.6, high=0.1), 2).priors}
    assert chosen in ({"low", "high"}, {"twin", "high"})


def test_silence_gives_some_answer(priors: list[Prior]) -> None:
    choice = choose(priors, torch.zeros(2, SEGMENT), 2)
    assert len({one.name for one in choice.priors}) == 2
    assert all(value == value for value in (*choice.scores.values(), *choice.confidence.values()))  # no NaN


@pytest.mark.parametrize("count", [0, -1, 5])
def test_more_than_there_are(priors: list[Prior], count: int) -> None:
    with pytest.raises(ModelError, match=f"cannot choose {count} sources from 4 installed priors .*low, middle, high"):
        choose(priors, mix(priors, low=0.5), count)


def test_priors_that_cannot_be_compared(priors: list[Prior]) -> None:
    with pytest.raises(ValueError, match="expected a mixture of shape"):
        choose(priors, torch.zeros(1, SEGMENT // 2), 1)


# By listeners


class Certain(Listener):
    """A listener that is as sure of its sources as it has been told, in log odds; counts what it is asked."""

    def __init__(self, *sure: float) -> None:
        super().__init__(NetConfig(outputs=2 * len(sure), width=16, depth=1, n_fft=256, hop=128))
        self.certainty[:, -1] = torch.tensor(sure)
        self.asked: list[int] = []

    def forward(self, spectrum: Tensor) -> tuple[Tensor, Tensor]:
        self.asked.append(len(spectrum))
        count, bins, frames = spectrum.shape
        sources = len(self.certainty)
        return torch.zeros(count, sources, bins, frames), torch.zeros(count, sources, frames)


def test_the_surest_listeners_choose_whatever_the_generators_play(priors: list[Prior]) -> None:
    shared = Certain(2.0, -1.0, 3.0)
    heard = [replace(one, listener=Ear(shared, number)) for number, one in enumerate(priors[:3])]
    choice = choose(heard, mix(priors, middle=0.5), 2)
    assert [one.name for one in choice.priors] == ["low", "high"]  # as they stand among the candidates
    expected = {"low": 2.0, "middle": -1.0, "high": 3.0}
    assert choice.scores == pytest.approx(
        {name: 1 / (1 + math.exp(-odds)) for name, odds in expected.items()}, abs=1e-6
    )
    assert choice.confidence == {name: choice.scores[name] for name in ("high", "low")}
    assert list(choice.confidence) == ["high", "low"]  # the surest first
    assert shared.asked == [3]
    assert [one.encoder.asked for one in heard if isinstance(one.encoder, Finder)] == [[], [], []]


def test_a_shared_network_is_asked_once_a_batch_of_windows_and_others_each_once(priors: list[Prior]) -> None:
    shared, own = Certain(0.0, 4.0), Certain(-3.0)
    ears = (Ear(shared, 1), Ear(own, 0), Ear(shared, 0))
    heard = [replace(one, listener=ear) for one, ear in zip(priors, ears, strict=False)]
    choice = choose(heard, mix(priors, low=0.5).repeat(7, 1), 1)
    assert [one.name for one in choice.priors] == ["low"]
    assert shared.asked == own.asked == [16, 5]


@pytest.mark.parametrize(("windows", "surest"), [(1, 0.0), (2, 9.0), (8, 9.0)])
def test_a_source_must_be_heard_in_a_quarter_of_the_windows(priors: list[Prior], windows: int, surest: float) -> None:
    """Of eight; in the others its listener is sure that it is not there."""

    class Once(Certain):
        def forward(self, spectrum: Tensor) -> tuple[Tensor, Tensor]:
            odds, presence = super().forward(spectrum)
            presence[:, 0] += torch.where(torch.arange(8) < windows, 9.0, -9.0)[:, None]
            return odds, presence

    shared = Once(0.0, 0.0)
    shared.certainty[0, 3] = 1.0  # weighs presence
    heard = [replace(one, listener=Ear(shared, number)) for number, one in enumerate(priors[:2])]
    choice = choose(heard, mix(priors, low=0.5)[:1].repeat(8, 1), 1)
    expected = float(torch.tensor(surest).sigmoid())
    assert list(choice.scores.values()) == pytest.approx([expected, 0.5], abs=1e-3)


def test_where_one_has_no_listener_all_are_judged_by_what_they_play(priors: list[Prior]) -> None:
    shared = Certain(-9.0, 9.0, 9.0)
    heard = [replace(one, listener=Ear(shared, number)) for number, one in enumerate(priors[:3])]
    assert [one.name for one in choose([*heard, priors[3]], mix(priors, low=0.5), 1).priors] == ["low"]
