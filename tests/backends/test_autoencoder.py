"""``gansep.backends.autoencoder``: a denoiser's two parts, any sources of a conditional one, and what becomes masks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from gansep.backends import Wanted, load_separator, make_separator, takes_names
from gansep.backends.autoencoder import Autoencoders
from gansep.dsp.frames import split
from gansep.dsp.stft import stft
from gansep.library import Card, TrainedSeparator, save_model
from gansep.metrics import si_sdr
from gansep.nets.autoencoder import LAYERS
from gansep.nets.precision import autocast
from gansep.nets.sound import DOMAINS, SoundAutoencoder, SoundConfig
from gansep.pipeline import Settings, Track, separate_tracks
from gansep.refine import refine
from gansep.types import ModelError, Separator

pytestmark = pytest.mark.usefixtures("nothing_packaged")


def tiny(domain: str = "magnitude", layers: str = "dense") -> SoundConfig:
    return SoundConfig(domain, 128, 64, 20, layers=layers, width=8, depth=1, code=4)


TINY = tiny()
PETS: tuple[str, ...] = ("dogs", "cats", "birds")


def model(sources: tuple[str, ...] = PETS, config: SoundConfig = TINY, job: str = "conditional") -> TrainedSeparator:
    config = replace(config, classes=len(sources) * (job == "conditional"))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        network = SoundAutoencoder(config).eval().requires_grad_(False)
    said = config.to_json() | {"job": job, "loss": "mse"}
    return TrainedSeparator(Card("-".join(sources), said, 16000, None, sources, kind="autoencoder"), network)


def denoiser(config: SoundConfig = TINY) -> TrainedSeparator:
    return model(("speech", "noise"), config, "denoising")


def noise(*shape: int, seed: int = 0) -> Tensor:
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def library(tmp_path: Path) -> Path:
    for trained in (model(), denoiser()):
        save_model(tmp_path / "autoencoder" / trained.card.name, trained.network.state_dict(), trained.card)
    return tmp_path


@pytest.mark.parametrize(("exponent", "share"), [(1.0, 1 / 8), (0.5, 8**-0.5), (None, 1 / 2)])
def test_a_denoiser_s_mask_is_as_soft_as_its_exponent(
    exponent: float | None, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An eighth of the magnitude makes a mask of an eighth to the power of the exponent, 1 / 3 unless given."""
    trained, mixture = denoiser(), noise(1, 4032)
    config = trained.network.config
    monkeypatch.setattr(trained.network, "magnitudes", lambda answer: stft(mixture, config.n_fft, config.hop).abs() / 8)
    monkeypatch.setattr(trained.network, "sound", lambda answer, mixture: mixture / 8)
    separator = Autoencoders(trained, exponent=exponent)
    clean, rest = separator(mixture).waves[0]
    torch.testing.assert_close(clean, mixture[0] / 8)
    torch.testing.assert_close(rest, (1 / share - 1) * mixture[0] / 8, atol=1e-4, rtol=0)
    assert separator.refinement is not None
    stem = refine(mixture[:, None], 8000, torch.stack([clean, rest])[None], 8000, separator.refinement)[0, 0]
    torch.testing.assert_close(stem, share * mixture, atol=0.01 * float(mixture.abs().max()), rtol=0)


class Echo(nn.Module):
    """Answers with what it hears."""

    def __init__(self, config: SoundConfig) -> None:
        super().__init__()
        self.config = config.net

    def forward(self, columns: Tensor, which: Tensor | None = None) -> Tensor:
        return columns


def test_a_denoiser_says_what_is_clean_and_the_rest_is_noise() -> None:
    trained = denoiser()
    separator, network = Autoencoders(trained), trained.network
    assert isinstance(separator, Separator) and isinstance(network, SoundAutoencoder)
    mixture = noise(3, 4032)
    result = separator(mixture)
    assert result.sources == ("speech", "noise")
    clean = network.sound(network(network.hear(mixture)), mixture)
    torch.testing.assert_close(result.waves[:, 0], clean, rtol=0, atol=0.02 * float(clean.abs().max()))  # of bfloat16
    assert result.waves[:, 1].square().mean() > 0
    turned = Autoencoders(trained, ("noise", "speech"))(mixture)
    assert turned.sources == ("noise", "speech")
    assert torch.equal(turned.waves, result.waves.flip(1))


@pytest.mark.parametrize("domain", ["magnitude", "waveform"])
def test_a_perfect_denoiser_leaves_no_noise(domain: str) -> None:
    trained = denoiser(tiny(domain))
    trained.network.net = Echo(tiny(domain))
    waves = Autoencoders(trained)(noise(2, 999)).waves
    torch.testing.assert_close(waves, torch.stack([noise(2, 999), torch.zeros(2, 999)], 1), rtol=0, atol=1e-5)


@pytest.mark.parametrize("domain", DOMAINS)
@pytest.mark.parametrize("layers", LAYERS)
def test_any_sources_in_any_order(domain: str, layers: str) -> None:
    trained = model(config=tiny(domain, layers))
    mixture = noise(2, 1500)
    network = trained.network
    assert isinstance(network, SoundAutoencoder)
    with autocast(mixture.device):
        answers = network.answers(network.hear(mixture), (1, 2, 0)).float()
    waves = torch.stack([network.sound(one, mixture) for one in answers.unbind(1)], 1)
    shares = refine(mixture[:, None], 16000, waves, 16000)[:, :, 0]
    for wanted, expected in (
        (("cats",), shares[:, :1]),
        (("birds", "dogs"), shares[:, 1:]),
        (("cats", "birds", "dogs"), waves),
    ):
        separator = Autoencoders(trained, wanted)
        result = separator(mixture)
        assert result.sources == separator.sources == wanted
        assert [card.name for card in separator.cards] == ["dogs-cats-birds"] * len(wanted)
        torch.testing.assert_close(result.waves, expected, rtol=0, atol=0.02 * float(expected.abs().max()))


def test_the_back_end_finds_its_model(library: Path) -> None:
    assert load_separator("autoencoder", ["noise", "speech"], library=library).sources == ("noise", "speech")
    assert load_separator("autoencoder", ["birds", "dogs"], library=library).sources == ("birds", "dogs")
    named = load_separator("autoencoder:model=dogs-cats-birds,exponent=1", library=library)
    assert named.sources == PETS and named.refinement is not None and named.refinement.exponent == 1
    assert takes_names("autoencoder")
    with pytest.raises(ModelError, match="autoencoder needs the names of its sources"):
        load_separator("autoencoder", k=2, library=library)
    with pytest.raises(
        ModelError, match=r"no autoencoder model of dogs\+mice; installed ones have .*train-autoencoder"
    ):
        load_separator("autoencoder", ["dogs", "mice"], library=library)
    with pytest.raises(ModelError, match="autoencoder has no option steps; it has model, exponent"):
        make_separator("autoencoder:steps=3", Wanted(PETS, library=library))
    with pytest.raises(ModelError, match="autoencoder:exponent must be a number, got 'x'"):
        make_separator("autoencoder:exponent=x", Wanted(PETS, library=library))


def stems_of(separator: Autoencoders, mixture: Tensor, rate: int = 16000) -> Tensor:
    """By the pipeline, masks and all. Shape: ``[C, T]`` to ``[S, C, T]``."""
    pieces: list[Tensor] = []
    length = mixture.shape[-1]
    track = Track(lambda size, hop: split(mixture, size, hop), rate, length, lambda stems, _: pieces.append(stems))
    separate_tracks([track], separator, Settings(0.25, refinement=separator.refinement))
    return torch.cat(pieces, -1)


@pytest.mark.parametrize("length", [1, 17, 24000])
def test_masks_of_all_sources_sum_to_the_recording(length: int) -> None:
    mixture = noise(2, length)
    stems = stems_of(Autoencoders(model()), mixture)
    assert stems.shape == (3, 2, length)
    torch.testing.assert_close(stems.sum(0), mixture, rtol=0, atol=1e-5)


class Bands(nn.Module):
    """Answers with what it hears below 2 kHz, for dogs, from 2 to 4 kHz, for cats, or above, for birds."""

    def __init__(self, config: SoundConfig) -> None:
        super().__init__()
        self.config, self.silence = config.net, float(torch.tensor(config.floor).log())

    def encode(self, columns: Tensor) -> Tensor:
        return columns

    def decode(self, code: Tensor, which: Tensor) -> Tensor:
        band = (torch.arange(code.shape[1]) // 16).clamp(max=2)[:, None]
        return torch.where(band == which[:, None, None], code, self.silence)

    def forward(self, columns: Tensor, which: Tensor | None = None) -> Tensor:
        return self.decode(columns, torch.zeros(len(columns)) if which is None else which)


@pytest.mark.parametrize("rate", [16000, 44100])
def test_some_sources_get_the_masks_that_they_have_among_all(rate: int) -> None:
    """And leave the others' share to the residual, at any rate and in every channel."""
    trained, mixture = model(), noise(2, rate)
    trained.network.net = Bands(TINY)
    every = dict(zip(PETS, stems_of(Autoencoders(trained), mixture, rate), strict=True))
    for wanted in (("cats",), ("cats", "dogs")):
        stems = stems_of(Autoencoders(trained, wanted), mixture, rate)
        for name, stem in zip(wanted, stems, strict=True):
            assert si_sdr(stem, every[name]).min() > 20
    tones = [0.3 * (6.2831853 * hertz * torch.arange(rate) / rate).sin()[None] for hertz in (500, 3000, 5000)]
    cats = stems_of(Autoencoders(trained, ("cats",)), torch.stack(tones).sum(0), rate)[0]
    middle = slice(rate // 8, -rate // 8)
    torch.testing.assert_close(cats[:, middle], tones[1][:, middle], rtol=0, atol=0.01)


def test_a_denoiser_that_is_asked_for_one_part_masks_too() -> None:
    trained, time = denoiser(), torch.arange(24000) / 16000
    trained.network.net = Bands(TINY)
    low, high = (0.3 * (6.2831853 * hertz * time).sin()[None] for hertz in (500, 5000))
    for name, part in (("speech", low), ("noise", high)):
        (stem,) = stems_of(Autoencoders(trained, (name,)), low + high)
        assert si_sdr(stem, part) > 15
