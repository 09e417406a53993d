"""Listeners: some of several by themselves, who competes for a point, networks of other sizes, how sure they may be."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from gansep.dsp.stft import stft
from gansep.nets.listener import Ear, Heard, Listener, certainty, compete, evidence, listen, together
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


class Claims(Listener):
    """The same odds ``[S, F]`` in every frame."""

    def __init__(self, odds: Tensor) -> None:
        super().__init__(replace(TINY, outputs=2 * len(odds)))
        self.odds = odds

    def forward(self, spectrum: Tensor) -> tuple[Tensor, Tensor]:
        count, _, frames = spectrum.shape
        odds = self.odds[..., None].expand(count, -1, -1, frames)
        return odds, odds[:, :, 0]


def told(shares: Tensor, presence: Tensor) -> Heard:
    """What was heard, as far as it tells who is there: shares ``[S, 2]`` and presence ``[S, N]`` of one mixture."""
    nothing = torch.zeros(1, len(shares), 5, presence.shape[1])
    return Heard(nothing[:, 0], nothing, presence[None], shares[None], (256, 128))


# Some of several


@pytest.mark.parametrize("numbers", [[1], [2, 0], [0, 1, 1, 2]])
def test_some_of_a_listener_say_what_the_shared_one_says(numbers: list[int]) -> None:
    shared, dice = random_listener(3), torch.get_rng_state()
    some = shared.of(numbers).eval()
    assert torch.equal(torch.get_rng_state(), dice)
    assert some.config == replace(shared.config, outputs=2 * len(numbers))
    spectrum = stft(torch.randn(2, 3000, generator=seeded()), 256, 128)
    (odds, presence), (own, sounds) = shared(spectrum), some(spectrum)
    assert (odds.shape, presence.shape) == ((2, 3, 129, 24), (2, 3, 24))
    torch.testing.assert_close(own, odds[:, numbers])
    torch.testing.assert_close(sounds, presence[:, numbers])
    assert not torch.allclose(odds[:, 0], odds[:, 1]) and not torch.allclose(odds[:, 1], odds[:, 2])
    assert torch.equal(some.certainty, shared.certainty[numbers])


def test_what_cannot_be_a_listener_is_refused() -> None:
    with pytest.raises(ValueError, match="a listener needs 2 maps a source, got 3"):
        Listener(replace(TINY, outputs=3))
    with pytest.raises(ValueError, match="only a tfconv listener can be taken apart, this one is dnn"):
        Listener(NetConfig(4, "dnn", 16, 1)).of([0])


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


def test_sources_that_one_network_hears_are_heard_together() -> None:
    first, second = random_listener(3), random_listener(2)
    names = ("bell", "hiss", "tone"), ("hiss", "bird")
    tone, hiss = Ear(first, 2, names[0], ("1", "2", "3")), Ear(second, 0, names[1], ("2", "4"))
    assert together([hiss, tone], ["2", "3"]) == [replace(tone, number=1), tone]
    assert together([tone, hiss], ["3", "2"]) == [tone, replace(tone, number=1)]  # as they are named
    assert together([tone, hiss], ["3", "5"]) == [tone, hiss]  # another hiss than the first one heard
    bird = replace(hiss, number=1)
    assert together([bird, tone], ["4", "3"]) == [bird, tone]  # no network hears both: each its own
    assert together([tone, hiss], ["2", "2"]) == [tone, hiss]  # nobody could tell them apart
    untold = replace(tone, sounds=("", "", "")), replace(hiss, sounds=())
    assert together(untold, ["", ""]) == list(untold)


# How sure they may be


@pytest.mark.parametrize("level", [1.0, 1e-3])
def test_shares_are_what_is_left_where_all_of_a_network_and_an_unknown_one_compete(level: float) -> None:
    """Three tones at 2, 1 and 2: the first source wants all but the last, the second has three quarters of the mid."""
    time = torch.arange(16000) / 16000
    tones = [amplitude * (6.2831853 * hertz * time).sin() for hertz, amplitude in ((1000, 2), (3000, 1), (6000, 2))]
    hertz = torch.linspace(0, 8000, 129)
    wants = torch.where(hertz < 4500, 20.0, -20.0)
    mid = torch.where((hertz > 2000) & (hertz < 4500), 20 + torch.tensor(3.0).log(), -20.0)
    both = Claims(torch.stack([wants, mid]))
    ears = [Ear(both, 1), Ear(both, 0), Ear(Claims(wants[None]))]  # the last one has nobody beside it
    heard = listen(ears, level * torch.stack(tones).sum(0, keepdim=True))
    expected = torch.tensor([[[0.75 / 9, 0.75 / 5], [4.25 / 9, 2.25 / 5], [5 / 9, 3 / 5]]])
    torch.testing.assert_close(heard.shares, expected, atol=0.02, rtol=0)
    assert evidence(listen(ears, torch.zeros(1, 4000))).isfinite().all()


def test_evidence_is_the_log_odds_of_shares_and_of_presence() -> None:
    """A ramp of presence is at its highest quarter 34.5 on average."""
    shares = torch.tensor([[0.8, 2 / 3], [0.5, 1.0]])
    found = evidence(told(shares, torch.stack([torch.arange(40.0), torch.full((40,), -3.0)])))
    expected = torch.tensor([[[4.0, 2.0], [1.0, 9999.0]]]).log()
    torch.testing.assert_close(found[..., :2], expected, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(found[..., 2:], torch.tensor([[[34.5, 19.5], [-3.0, -3.0]]]))


def test_certainty_weighs_each_sources_evidence_by_its_own_numbers() -> None:
    shared, alone = Ramps(), Ramps()
    shared.certainty[1] = torch.tensor([2.0, 0.0, 0.0, 1.0, -5.0])
    alone.certainty[0] = torch.tensor([0.0, 0.0, 1.0, 0.0, 0.25])
    ears = [Ear(shared, 1), Ear(alone, 0), Ear(shared, 0)]
    shares = torch.tensor([1.5, 0.0, 7.0]).sigmoid()[:, None].expand(3, 2)
    sure = certainty(ears, told(shares, torch.tensor([3.0, -0.5, 7.0])[:, None].expand(3, 40)))
    torch.testing.assert_close(sure, torch.tensor([[2 * 1.5 + 3 - 5, -0.5 + 0.25, 0.0]]), atol=1e-4, rtol=0)
