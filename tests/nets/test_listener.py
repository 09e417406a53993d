"""Listeners: one of several by itself, who competes for a point, networks of other sizes, and how sure they may be."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from gansep.dsp.stft import stft
from gansep.nets.listener import Ear, Heard, Listener, certainty, compete, evidence, listen
from gansep.nets.spectral import NetConfig

TINY = NetConfig(outputs=2, width=16, depth=1, n_fft=256, hop=128)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_listener(sources: int) -> Listener:
    """Random weights, and statistics that are not those of the start."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        listener = Listener(replace(TINY, outputs=2 * sources, mean=(-2.0,) * 129, std=(1.5,) * 129))
        for name, value in listener.state_dict().items():
            if name.endswith(("running_mean", "running_var", "certainty")):
                value.copy_(torch.rand(value.shape) + 0.5)
    return listener.eval()


class Ramps(Listener):
    """Odds of two sources that say where they are: at how many kHz, and at how many seconds; counts its calls."""

    def __init__(self, n_fft: int = 256, hop: int = 128) -> None:
        super().__init__(replace(TINY, outputs=4, n_fft=n_fft, hop=hop, mean=(), std=()))
        self.calls = 0

    def forward(self, spectrum: Tensor) -> tuple[Tensor, Tensor]:
        self.calls += 1
        count, bins, frames = spectrum.shape
        kilohertz = torch.linspace(0, 8, bins)[:, None].expand(bins, frames)
        seconds = (torch.arange(frames) * self.config.hop / 16000).expand(bins, frames)
        return torch.stack([kilohertz, seconds]).expand(count, -1, -1, -1), seconds[:2].expand(count, -1, -1)


def heard_of(magnitude: Tensor, odds: Tensor, presence: Tensor) -> Heard:
    phase = 6 * torch.rand(magnitude.shape, generator=seeded())
    return Heard(torch.polar(magnitude, phase), odds, presence, (256, 128))


# One of several


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_listener_by_itself_says_what_the_shared_one_says(number: int) -> None:
    shared, dice = random_listener(3), torch.get_rng_state()
    alone = shared.alone(number).eval()
    assert torch.equal(torch.get_rng_state(), dice)
    assert alone.config == replace(shared.config, outputs=2)
    spectrum = stft(torch.randn(2, 3000, generator=seeded()), 256, 128)
    (odds, presence), (own, sounds) = shared(spectrum), alone(spectrum)
    assert (odds.shape, presence.shape) == ((2, 3, 129, 24), (2, 3, 24))
    torch.testing.assert_close(own, odds[:, number : number + 1])
    torch.testing.assert_close(sounds, presence[:, number : number + 1])
    assert not torch.allclose(odds[:, number], odds[:, number - 1])
    assert torch.equal(alone.certainty, shared.certainty[number : number + 1])


def test_what_cannot_be_a_listener_is_refused() -> None:
    with pytest.raises(ValueError, match="a listener needs 2 maps a source, got 3"):
        Listener(replace(TINY, outputs=3))
    with pytest.raises(ValueError, match="only a tfconv listener can be taken apart, this one is dnn"):
        Listener(NetConfig(4, "dnn", 16, 1)).alone(0)


# Who competes


def test_competing_masks_are_shares_of_those_that_are_there() -> None:
    odds = 5 * torch.randn(2, 3, 5, 7, generator=seeded())
    masks = compete(odds)
    torch.testing.assert_close(masks.sum(1), torch.ones(2, 5, 7))
    torch.testing.assert_close(masks[:, 0] / masks[:, 1], (odds[:, 0] - odds[:, 1]).exp())
    few = compete(odds, torch.tensor([[True, False, True], [False, True, False]]))
    torch.testing.assert_close(few.sum(1), torch.ones(2, 5, 7))
    assert (few[0, 1] == 0).all() and (few[1, [0, 2]] == 0).all()
    torch.testing.assert_close(few[0, 0], (odds[0, 0] - odds[0, 2]).sigmoid())


# Networks of several sizes


def test_a_network_that_hears_several_hears_once_whatever_their_order() -> None:
    shared, other = Ramps(), Ramps()
    heard = listen([Ear(shared, 1), Ear(other, 0), Ear(shared, 0)], torch.zeros(2, 4096))
    assert (shared.calls, other.calls) == (1, 1)
    seconds, kilohertz, again = heard.odds.unbind(1)
    assert torch.equal(kilohertz, again) and float(kilohertz[0, -1, 0]) == 8
    torch.testing.assert_close(seconds[:, 0], torch.linspace(0, 0.256, 33).expand(2, -1))
    torch.testing.assert_close(heard.presence[:, 0], seconds[:, 0])


@pytest.mark.parametrize(("n_fft", "hop"), [(256, 128), (1024, 512), (512, 64)])
def test_odds_of_other_sizes_are_carried_to_the_same_hertz_and_seconds(n_fft: int, hop: int) -> None:
    mixture = torch.randn(2, 8192, generator=seeded())
    first = Ramps()
    heard = listen([Ear(first, 0), Ear(Ramps(n_fft, hop), 0), Ear(Ramps(n_fft, hop), 1)], mixture)
    assert heard.sizes == (256, 128) and torch.equal(heard.spectrum, stft(mixture, 256, 128))
    frames = torch.arange(65) * 128 / 16000
    torch.testing.assert_close(heard.odds[:, 1], heard.odds[:, 0])
    torch.testing.assert_close(heard.odds[:, 2], frames.expand(2, 129, 65))
    torch.testing.assert_close(heard.presence, frames.expand(2, 3, 65))


# How sure they may be


def test_evidence_is_the_log_odds_of_shares_and_of_presence() -> None:
    """Half of the points, at twice the magnitude, are surely the first source's: 4 to 1 of power, 2 to 1 else."""
    own = torch.arange(64)[:, None].expand(64, 40) % 2 == 0
    odds = torch.stack([torch.where(own, 20.0, -20.0), torch.full(own.shape, 1.5)])[None]
    presence = torch.stack([torch.arange(40.0), torch.full((40,), -3.0)])[None]
    for level in (1.0, 1e-3):
        found = evidence(heard_of(level * torch.where(own, 2.0, 1.0)[None], odds, presence))
        expected = torch.tensor([[[4.0, 2.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0]]]).log()
        expected += torch.tensor([[[0.0, 0.0, 34.5, 19.5], [1.5, 1.5, -3.0, -3.0]]])
        torch.testing.assert_close(found, expected, atol=1e-3, rtol=0)
    assert evidence(heard_of(torch.zeros(1, 64, 40), odds, presence)).isfinite().all()


def test_certainty_weighs_each_sources_evidence_by_its_own_numbers() -> None:
    shared, alone = Ramps(), Ramps()
    shared.certainty[1] = torch.tensor([2.0, 0.0, 0.0, 1.0, -5.0])
    alone.certainty[0] = torch.tensor([0.0, 0.0, 1.0, 0.0, 0.25])
    ears = [Ear(shared, 1), Ear(alone, 0), Ear(shared, 0)]
    odds = torch.tensor([1.5, 0.0, 7.0])[None, :, None, None].expand(1, 3, 64, 40)
    presence = torch.tensor([3.0, -0.5, 7.0])[None, :, None].expand(1, 3, 40)
    sure = certainty(ears, heard_of(torch.ones(1, 64, 40), odds, presence))
    torch.testing.assert_close(sure, torch.tensor([[2 * 1.5 + 3 - 5, -0.5 + 0.25, 0.0]]), atol=1e-4, rtol=0)
