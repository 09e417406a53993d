"""What listeners learn: odds that separate, presence that is true, silence without harm, and how sure they may be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import soundfile
import torch
from torch import Tensor

from gansep.dsp.masks import apply_mask, psm
from gansep.dsp.stft import istft, stft
from gansep.library import find_model, load_listener, load_weights, read_card
from gansep.metrics import si_sdr
from gansep.nets.listener import Ear, Listener, certainty, listen
from gansep.nets.spectral import NetConfig
from gansep.training import separators
from gansep.training.data import Augmentation, Clips
from gansep.training.listener import ListenerTask, calibrate, listening_losses, with_silence
from gansep.training.mixing import Mixing, draw_parts
from gansep.training.separators import SeparatorSettings, calibrate_listener, train_listeners
from gansep.training.signals import error_ratio
from gansep.training.supervised import SupervisedTraining

RATE = 8000
TINY = NetConfig(outputs=4, width=16, depth=1, n_fft=256, hop=128, sample_rate=RATE)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def tones(low: float, high: float, sha256: str) -> Clips:
    """Ten tones of half a second each, between two frequencies in Hz."""
    frequencies = torch.linspace(low, high, 10).repeat_interleave(RATE // 2)
    wave = (0.8 * 32767 * (6.2831853 * (frequencies / RATE).cumsum(0)).sin()).to(torch.int16)
    return Clips((wave,), ((0, len(wave)),), RATE, sha256, ())


CLIPS = [tones(200, 900, "low"), tones(1800, 3500, "high")]
MIXING = Mixing(seconds=0.15, absent=0.5)
PLAIN = Augmentation(shift=False, again=0.0, speed=0.0, tilt_db=0.0)


def tiny(sources: int = 2) -> Listener:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Listener(replace(TINY, outputs=2 * sources))


class Says(Listener):
    """A listener that has been told what to say."""

    def __init__(self, odds: Tensor, presence: Tensor) -> None:
        super().__init__(replace(TINY, outputs=2 * odds.shape[1]))
        self.said = odds, presence

    def forward(self, spectrum: Tensor) -> tuple[Tensor, Tensor]:
        return self.said


# Losses


@pytest.fixture(scope="module")
def parts() -> Tensor:
    """Mixtures of slow noise and of a tone amid it, ``[4, 2, T]``."""
    slow = torch.randn(4, 8001, generator=seeded()).cumsum(1)
    slow = 0.2 * (slow[:, 1:] - slow[:, 1:].mean(1, keepdim=True)) / slow.std()
    return torch.stack([slow, 0.1 * (300 * 6.2831853 / RATE * torch.arange(8000)).sin().expand(4, -1)], 1)


def test_true_odds_cost_nearly_as_little_as_the_best_masks(parts: Tensor) -> None:
    spectra = stft(parts, 256, 128)
    power = spectra.abs().square()
    truth, unsaid = 40 + (power + 1e-9).log(), torch.zeros(4, 2, 63)
    found = {
        name: float(listening_losses(Says(odds, unsaid), parts)["snr"])
        for name, odds in (("true", truth), ("none", 0 * truth), ("swapped", truth.flip(1)))
    }
    mixture = spectra.sum(1)
    masks = torch.stack([psm(spectra[:, 0], spectra[:, 1], True), psm(spectra[:, 1], spectra[:, 0], True)], 1)
    best = float(error_ratio(istft(apply_mask(masks, mixture), 8000, 256, 128), parts).mean())
    assert best - 0.01 < found["true"] < best + 2
    assert found["true"] < found["none"] - 5 and found["none"] < found["swapped"] - 3


def test_presence_costs_what_it_misses(parts: Tensor) -> None:
    """The second source sounds in the first half only; who says 4 to 1 everywhere is wrong in a quarter of all."""
    half = parts.clone()
    half[:, 1, 4000:] = 0
    power = stft(half, 256, 128).abs().square().sum(2)
    sounds = power > 1e-3 * power.sum(1, keepdim=True)
    assert sounds[:, 0].all() and 0.45 < float(sounds[:, 1].float().mean()) < 0.55
    odds = torch.zeros(4, 2, 129, 63)
    right = listening_losses(Says(odds, torch.where(sounds, 20.0, -20.0)), half)
    assert float(right["presence"]) < 1e-6 and torch.equal(right["listening"], right["snr"])
    four = listening_losses(Says(odds, torch.full((4, 2, 63), 4.0).log()), half)
    share = float(sounds.float().mean())
    expected = -(share * torch.tensor(0.8).log() + (1 - share) * torch.tensor(0.2).log())
    torch.testing.assert_close(four["presence"], expected, atol=1e-3, rtol=0)
    torch.testing.assert_close(four["listening"], four["snr"] + 3 * four["presence"])


@pytest.mark.parametrize("seed", range(4))
def test_losses_and_gradients_are_finite_where_nothing_sounds(parts: Tensor, seed: int) -> None:
    """Of four mixtures one lacks a source and two are silent; who competes with them is up to the dice."""
    some = parts.clone()
    some[1, 0], some[2:] = 0, 0
    listener = tiny().train()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        losses = listening_losses(listener, some)
    losses["listening"].backward()
    assert all(loss.isfinite() for loss in losses.values())
    gradients = [weight.grad for weight in listener.parameters() if weight.grad is not None]
    assert gradients and all(gradient.isfinite().all() for gradient in gradients)


def test_half_of_the_mixtures_begin_or_end_in_silence() -> None:
    """Of ones there remains one stretch, for all parts of a mixture the same: 0.4 of it may be gone at either end."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        on = with_silence(torch.ones(1000, 2, 500))
    assert ((on == 0) | (on == 1)).all() and torch.equal(on[:, 0], on[:, 1])
    on = on[:, 0]
    assert (on[:, 200:300] == 1).all() and (on.diff().abs().sum(1) == 2 - on[:, 0] - on[:, -1]).all()
    begins, ends = on[:, 0] == 0, on[:, -1] == 0
    for share, expected in ((begins, 0.3), (ends, 0.3), (begins & ends, 0.09)):
        assert float(share.float().mean()) == pytest.approx(expected, abs=0.05)
    assert float((1 - on[begins, :250]).mean(1).max()) > 0.7 and float((1 - on[ends, 250:]).mean(1).max()) > 0.7


# A training


def test_a_small_listener_learns_to_separate_and_what_sounds() -> None:
    training = SupervisedTraining(ListenerTask(tiny()), CLIPS, MIXING, PLAIN, batch=6, rate=2e-2)
    for number in range(60):
        training.step(number)
    both = draw_parts(CLIPS, 16, replace(MIXING, absent=0.0, gain_db=3.0), seeded(1), PLAIN)
    stems = training.separate(both.sum(1))
    assert si_sdr(stems.flatten(0, 1), both.flatten(0, 1)).median() > 20
    listener = tiny().eval()
    listener.load_state_dict(training.weights())
    there = torch.eye(2).repeat(8, 1)  # one source each, in turn
    with torch.no_grad():
        heard = listen([Ear(listener, 0), Ear(listener, 1)], (both * there[..., None]).sum(1))
    right = (heard.presence.mean(-1) > 0) == (there > 0)
    assert right.float().mean() > 0.9


# How sure a listener may be


class Tells(Listener):
    """Presence of 1 for the sources of a mixture and -1 for the others, but for some answers that are wrong."""

    def __init__(self, there: Tensor, wrong: Tensor) -> None:
        super().__init__(replace(TINY, outputs=2 * there.shape[1]))
        self.said = torch.where(there ^ wrong, 1.0, -1.0)  # [B, S]

    def forward(self, spectrum: Tensor) -> tuple[Tensor, Tensor]:
        _, bins, frames = spectrum.shape
        presence = self.said[..., None].expand(-1, -1, frames)
        return torch.zeros(*self.said.shape, bins, frames), presence


def mixtures_of(there: Tensor) -> Tensor:
    return torch.randn(*there.shape, 1024, generator=seeded()) * there[..., None]


def sure_of(listener: Listener, parts: Tensor) -> Tensor:
    ears = [Ear(listener, number) for number in range(len(listener.certainty))]
    return certainty(ears, listen(ears, parts.sum(1)))


def test_who_tells_the_truth_may_be_sure() -> None:
    """All probabilities together are as many as there are mixtures with the source."""
    there = torch.rand(200, 2, generator=seeded()) < torch.tensor([0.3, 0.7])
    there[:, 1] |= ~there[:, 0]
    parts = mixtures_of(there)
    listener = Tells(there, torch.zeros_like(there))
    calibrate(listener, [parts])
    sure = sure_of(listener, parts)
    assert ((sure > 0) == there).all() and (sure.abs() > 2).all()
    torch.testing.assert_close(sure.sigmoid().mean(0), there.float().mean(0), atol=1e-3, rtol=0)


def test_who_is_wrong_one_time_in_five_may_be_sure_four_to_one() -> None:
    there = torch.rand(500, 2, generator=seeded()) < 0.5
    parts = mixtures_of(there)
    listener = Tells(there, torch.rand(500, 2, generator=seeded(1)) < 0.2)
    calibrate(listener, [parts])
    sure = sure_of(listener, parts).sigmoid()
    for number in (0, 1):
        for said, about in ((1.0, 0.8), (-1.0, 0.2)):
            which = listener.said[:, number] == said
            share = there[which, number].float().mean()
            assert float(share) == pytest.approx(about, abs=0.06)
            torch.testing.assert_close(sure[which, number], share.expand(int(which.sum())), atol=0.02, rtol=0)


def test_what_is_always_there_teaches_nothing() -> None:
    there = torch.tensor([[True, True], [True, False]]).repeat(20, 1)
    listener = Tells(there, torch.zeros_like(there))
    calibrate(listener, [mixtures_of(there)])
    assert (listener.certainty[0] == 0).all() and (listener.certainty[1] != 0).any()


def test_from_folders_to_a_listener_that_knows_how_sure_it_may_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, clips in zip(("low", "high"), CLIPS, strict=True):
        (tmp_path / name).mkdir()
        soundfile.write(tmp_path / name / "1.wav", clips.waves[0].repeat(2).numpy(), RATE)
    data = {name: tmp_path / name for name in ("low", "high")}
    settings = SeparatorSettings(steps=2, batch=2, mixing=MIXING, augment=PLAIN, device="cpu")
    folder = train_listeners(data, "both", replace(TINY, outputs=2), settings, out=tmp_path / "listener" / "both")
    card, before = read_card(folder), load_weights(find_model(folder, "listener"))
    assert (card.kind, card.name, card.sources, card.config["outputs"]) == ("listener", "both", ("low", "high"), 4)
    assert (before["certainty"] == 0).all()
    monkeypatch.setattr(separators, "CALIBRATED", (4, 0.15))
    calibrate_listener(folder, data, settings)
    after, listener = load_weights(find_model(folder, "listener")), load_listener("both", tmp_path)
    assert {name for name, value in after.items() if not torch.equal(value, before[name])} == {"certainty"}
    assert torch.equal(listener.certainty, after["certainty"]) and listener.certainty.any(1).all()
    assert not listener.training and len(listener.config.mean) == 129 and len(set(listener.config.mean)) > 100
