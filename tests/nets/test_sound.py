"""Sound as columns and back: against other ways to hear it, and what comes back of every length and in every domain."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from gansep.dsp.mel import mel
from gansep.dsp.stft import stft
from gansep.nets.autoencoder import LAYERS
from gansep.nets.sound import DOMAINS, PHASES, SoundAutoencoder, SoundConfig, columns, griffin_lim

CLIPS = Path(__file__).parent.parent / "clips"
TINY: dict[str, Any] = {"n_fft": 128, "hop": 64, "mels": 20, "layers": "dense", "width": 8, "depth": 1, "code": 4}


def make(domain: str, **changes: Any) -> SoundAutoencoder:
    """With columns that are far from normalised."""
    config = SoundConfig(domain, **(TINY | changes))
    means = tuple(np.linspace(-3, 1, config.size).tolist())
    spreads = tuple(np.linspace(0.5, 2, config.size).tolist())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return SoundAutoencoder(replace(config, mean=means, std=spreads)).eval()


def noise(*shape: int, seed: int = 0) -> Tensor:
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def clip(name: str) -> Tensor:
    return torch.from_numpy(soundfile.read(CLIPS / f"{name}.flac", dtype="float32")[0])[None]


# What it hears


@pytest.mark.parametrize("length", [1, 300, 1280])
def test_columns_against_numpy_and_librosa(length: int) -> None:
    """Of a wave that silence fills up to a multiple of the hop."""
    wave = noise(2, length)
    whole = np.pad(wave.double().numpy(), ((0, 0), (64, 64 - length % -64)))
    pieces = [whole[:, start : start + 128] for start in range(0, length - length % -64 + 1, 64)]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(128) / 128)
    magnitude = np.abs(np.fft.rfft(np.stack(pieces, 1) * window)).swapaxes(1, 2)  # [B, F, N]
    bank = librosa.filters.mel(sr=8000, n_fft=128, n_mels=20, norm=None)
    bands = np.sqrt(bank @ magnitude**2 / bank.sum(1, keepdims=True))
    for domain, levels in (("magnitude", magnitude), ("mel", bands)):
        heard = columns(wave, SoundConfig(domain, sample_rate=8000, floor=0.01, **TINY))
        np.testing.assert_allclose(heard.numpy(), np.log(levels + 0.01), atol=1e-4)


def test_pieces_of_the_wave() -> None:
    """Every sample is in as many as any other: in two, at a hop of half a piece."""
    heard = columns(torch.arange(1.0, 101)[None], SoundConfig("waveform", **TINY))
    assert heard.shape[:2] == (1, 128)
    whole = heard[0].mT.flatten()
    assert all((whole == sample).sum() == 2 for sample in range(1, 101))
    assert heard[0, 64:, 0].tolist() == list(range(1, 65)) == heard[0, :64, 1].tolist()
    assert not heard[0, :64, 0].any()


@pytest.mark.parametrize("domain", DOMAINS)
def test_normalised_by_its_own_mean_and_spread(domain: str) -> None:
    net = make(domain)
    wave = noise(2, 1000)
    back = net.hear(wave) * torch.tensor(net.config.std)[:, None] + torch.tensor(net.config.mean)[:, None]
    torch.testing.assert_close(back, columns(wave, net.config), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("domain", DOMAINS)
def test_hears_as_exactly_where_networks_compute_in_half_precision(domain: str) -> None:
    net = make(domain)
    wave = noise(2, 1000)
    with torch.autocast("cpu", torch.bfloat16):
        heard = net.hear(wave)
    assert torch.equal(heard, net.hear(wave))


# There and back


@pytest.mark.parametrize(("n_fft", "hop"), [(128, 64), (64, 16), (64, 23)])
@pytest.mark.parametrize("domain", ["magnitude", "waveform"])
def test_exact_for_every_length(domain: str, n_fft: int, hop: int) -> None:
    net = make(domain, n_fft=n_fft, hop=hop)
    for length in range(1, 1001) if hop == 64 else range(1, 200):
        wave = noise(2, length, seed=length)
        back = net.sound(net.hear(wave), wave)
        assert back.shape == wave.shape
        torch.testing.assert_close(back, wave, rtol=0, atol=2e-5)


@pytest.mark.parametrize("domain", ["magnitude", "mel"])
def test_silence_stays_silent(domain: str) -> None:
    net = make(domain)
    assert net.sound(net.hear(torch.zeros(1, 700)), torch.zeros(1, 700)).abs().max() < 1e-6
    assert net.sound(net.hear(torch.zeros(1, 700)), noise(1, 700)).abs().max() < 1e-4


@pytest.mark.parametrize("name", ["speech", "drums", "piano"])
def test_close_in_mel_bands(name: str) -> None:
    """Bands of more than a thousandth of the loudest, in dB; power for magnitude, or a sum for a mean, is far off."""
    net, wave = make("mel", n_fft=512, hop=256, mels=80), clip(name)
    back = net.sound(net.hear(wave), wave)
    bands, again = (mel(stft(one, 512, 256).abs(), 16000, 80) for one in (wave, back))
    loud = bands > 1e-3 * bands.max()
    error = 20 * (again[loud] / bands[loud]).log10()
    assert error.abs().median() < 1.5
    assert abs(error.mean()) < 1


@pytest.mark.parametrize("length", [1, 100, 700, 4096, 16000])
def test_griffin_lim_is_as_good_as_librosas(length: int) -> None:
    """By spectral convergence (Sturmel and Daudet, DAFx 2011), on magnitudes that a sound has."""
    wave = clip("speech")[:, 8000 : 8000 + length]
    net = make("magnitude", phase="griffin-lim", n_fft=512, hop=128)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # it fits the frames, even where a window is longer than the sound
        back = net.sound(net.hear(wave), torch.zeros_like(wave))  # and needs no phase of the mixture
    assert back.shape == wave.shape
    whole = np.pad(wave.numpy()[0], (0, max(512, length - length % -128) - length))
    magnitude = np.abs(librosa.stft(whole, n_fft=512, hop_length=128, pad_mode="constant"))
    settings = {"n_fft": 512, "hop_length": 128, "length": len(whole), "pad_mode": "constant"}
    expected = librosa.griffinlim(magnitude, n_iter=60, random_state=0, **settings)

    def convergence(one: np.ndarray) -> float:
        padded = np.pad(one[:length], (0, len(whole) - length))
        error = np.abs(librosa.stft(padded, n_fft=512, hop_length=128, pad_mode="constant")) - magnitude
        return float(np.linalg.norm(error) / np.linalg.norm(magnitude))

    ours = convergence(back[0].numpy())
    assert ours == pytest.approx(convergence(expected), abs=0.02)
    if length > 4000:
        assert ours < 0.1


def test_griffin_lim_from_mel_bands() -> None:
    wave = clip("speech")
    net = make("mel", phase="griffin-lim", n_fft=512, hop=128, mels=80)
    back = net.sound(net.hear(wave), torch.zeros_like(wave))
    bands, again = (mel(stft(one, 512, 128).abs(), 16000, 80) for one in (wave, back))
    loud = bands > 1e-2 * bands.max()
    assert (20 * (again[loud] / bands[loud]).log10()).abs().median() < 2


def test_griffin_lim_is_always_the_same() -> None:
    """Whatever is in the batch beside it, and without a throw of anybody's dice."""
    magnitude = stft(noise(3, 1000), 128, 64).abs()
    before, dice = torch.get_rng_state(), repr(np.random.get_state())
    waves = griffin_lim(magnitude, 960, 128, 64, 5)
    assert torch.equal(waves[1:2], griffin_lim(magnitude[1:2], 960, 128, 64, 5))
    assert torch.equal(torch.get_rng_state(), before)
    assert repr(np.random.get_state()) == dice


# Answers


@pytest.mark.parametrize("domain", DOMAINS)
@pytest.mark.parametrize("layers", LAYERS)
def test_answers_are_those_of_each_class(domain: str, layers: str) -> None:
    net = make(domain, layers=layers, classes=3)
    with torch.no_grad():
        heard = net.hear(noise(2, 500))
        answers = net.answers(heard, [2, 0])
        assert answers.shape == (2, 2, *heard.shape[1:])
        for number, which in enumerate((2, 0)):
            alone = net(heard, torch.tensor([which, which]))
            torch.testing.assert_close(answers[:, number], alone, rtol=1e-4, atol=1e-5)
    assert (answers[:, 0] - answers[:, 1]).abs().max() > 1e-3


def test_statistics_are_the_cards_and_no_weights() -> None:
    assert {name.partition(".")[0] for name in make("mel").state_dict()} == {"net"}


# Sizes


@pytest.mark.parametrize("domain", DOMAINS)
@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("layers", LAYERS)
def test_settings_there_and_back(domain: str, phase: str, layers: str) -> None:
    config = SoundConfig(domain, 64, 20, 12, phase, 8000, 0.01, layers=layers, code=9, classes=2)
    config = replace(config, mean=(1.0,) * config.size, std=(2.0,) * config.size)
    card = json.loads(json.dumps(config.to_json()))
    assert SoundConfig(**card) == config
    assert SoundConfig(**card).net == config.net
    assert (config.net.size, config.net.grid) == (config.size, domain != "waveform")
    assert config.size == {"magnitude": 33, "mel": 12, "waveform": 64}[domain]
    assert SoundAutoencoder(config).hear(torch.zeros(1, 9)).shape[1] == config.size


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"domain": "magic"}, "unknown domain 'magic'; expected one of magnitude, mel, waveform"),
        ({"phase": "magic"}, "unknown phase 'magic'; expected one of mixture, griffin-lim"),
        ({"layers": "magic"}, "unknown layers 'magic'"),
        ({"n_fft": 62}, "n_fft must be a multiple of 4 from 64 up and hop at most half of it, got 62 and 256"),
        ({"n_fft": 130, "hop": 64}, "n_fft must be a multiple of 4"),
        ({"hop": 257}, "hop at most half of it, got 512 and 257"),
        ({"hop": 0}, "hop at most half of it"),
        ({"mels": 0}, "mels and sample_rate must be at least 1"),
        ({"sample_rate": 0}, "mels and sample_rate must be at least 1"),
        ({"floor": 0.0}, "floor above 0"),
        ({"floor": float("nan")}, "floor above 0"),
        ({"floor": 1001.0}, "floor must be at most 1000, got 1001.0"),
        ({"floor": float("inf")}, "floor must be at most 1000"),
        ({"n_fft": 65540}, "n_fft must be at most 65536"),
        ({"mels": 4097}, "mels must be at most 4096"),
        ({"width": 10**7}, "width must be at most 16384"),
        ({"depth": 30000}, "depth must be at most 64"),
        ({"code": 10**9}, "code must be at most 16384"),
        ({"classes": 1025}, "classes must be at most 1024"),
        ({"mean": (0.0,)}, "mean and std must have 257 numbers"),
        ({"std": (0.0,) * 257}, "those of std above 0"),
        ({"std": (float("nan"),) * 257}, "those of std above 0"),
    ],
)
def test_settings_that_cannot_be(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        SoundConfig(**wrong)
