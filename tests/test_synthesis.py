"""Sounds of a prior: ends that are the recordings', places along an attribute, another source's sound in stretches."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from gansep.audio import read
from gansep.library import Prior, load_prior
from gansep.nets.wavegan import Encoder, Generator, PriorConfig
from gansep.synthesis import MEASURES, between, centroid, fit, hear, loudness, pitch, play, transfer, walk
from gansep.types import ModelError

ROOT = Path(__file__).resolve().parent.parent
RATE = 16000


@pytest.fixture(scope="module")
def drums() -> Prior:
    return load_prior("drums")


@pytest.fixture(scope="module")
def clips() -> dict[str, Tensor]:
    return {name: read(ROOT / "tests" / "clips" / f"{name}.flac")[0][0] for name in ("drums", "piano", "speech")}


def tones(*frequencies: float, amplitude: float = 0.5) -> Tensor:
    time = torch.arange(16384) / RATE
    return amplitude * torch.stack([(6.2831853 * frequency * time).sin() for frequency in frequencies])


def variational() -> Prior:
    config = PriorConfig(dim=2, latent=6, width=16, variational=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        generator, encoder = Generator(config).eval(), Encoder(config).eval()
    card = replace(load_prior("drums").card, kind="vae", config=config.to_json())
    return Prior("toy", card, generator, encoder)


def test_attributes_of_known_sounds() -> None:
    assert centroid(tones(500, 2000), RATE).numpy() == pytest.approx([500, 2000], rel=0.1)
    assert pitch(tones(220, 440), RATE).numpy() == pytest.approx([220, 440], rel=0.01)
    assert loudness(tones(500), RATE).numpy() == pytest.approx([-9.03], abs=0.05)
    noise = torch.randn(1, 16384, generator=torch.Generator().manual_seed(0))
    assert pitch(0.1 * noise, RATE).isnan().all()


def test_a_pitch_is_heard_beside_noise() -> None:
    """Struck strings, 10 dB over the noise that priors play beside them; and none in noise of any colour."""
    random, time = torch.Generator().manual_seed(0), torch.arange(16384) / RATE
    notes = []
    for frequency in (98.0, 262.0, 523.0):
        partials = [frequency * n * (1 + 2e-4 * n**2) ** 0.5 for n in range(1, 9)]
        sizes = zip(partials, range(1, 9), strict=True)
        notes.append(sum((6.2831853 * hertz * time).sin() * (-2 * n * time).exp() / n for hertz, n in sizes))
    clean = torch.stack([torch.as_tensor(note) for note in notes])
    noise = torch.randn(3, 16384, generator=random)
    beside = noise * (0.1 * clean.square().mean(-1, keepdim=True)).sqrt()
    assert pitch(clean + beside, RATE).numpy() == pytest.approx([98, 262, 523], rel=0.03)  # stretched strings
    slopes = torch.fft.rfftfreq(16384, 1 / RATE).clamp_min(20) ** torch.tensor([[-1.0], [-0.5], [0.5]])
    coloured = torch.fft.irfft(torch.fft.rfft(noise) * slopes)
    assert pitch(coloured / coloured.abs().amax(-1, keepdim=True), RATE).isnan().all()
    assert pitch(noise * (-20 * time).exp(), RATE).isnan().all()


def test_sounds_of_the_piano_have_a_pitch() -> None:
    assert pitch(load_prior("piano").sample(8), RATE).isfinite().sum() >= 6


def test_ends_are_what_the_encoder_hears(drums: Prior, clips: dict[str, Tensor]) -> None:
    waves = between(drums, clips["drums"], clips["piano"], 5)
    assert waves.shape == (5, 16384)
    ends = play(drums, hear(drums, torch.stack([clips["drums"], clips["piano"]])))
    torch.testing.assert_close(waves[[0, -1]], ends, atol=1e-4, rtol=0)
    steps = (waves[1:] - waves[:-1]).square().mean(-1)
    assert (steps > 0).all() and steps.max() < (waves[0] - waves[-1]).square().mean() * 2


def test_normal_latents_go_around_a_sphere() -> None:
    prior = variational()
    seen: list[Tensor] = []

    class Spy(nn.Module):
        def forward(self, latents: Tensor) -> Tensor:
            seen.append(latents)
            return torch.zeros(len(latents), 16384)

    encoder = prior.encoder
    assert encoder is not None
    heard = encoder(tones(300, 3000))[0]
    spy = Spy()
    spy.register_parameter("where", nn.Parameter(torch.zeros(1)))  # tells the device
    first, second = tones(300, 3000)
    between(replace(prior, generator=spy), first, second, 5)
    sizes = seen[0].norm(dim=-1)
    torch.testing.assert_close(seen[0][[0, -1]], heard, atol=1e-5, rtol=0)
    torch.testing.assert_close(sizes, torch.linspace(float(sizes[0]), float(sizes[-1]), 5), atol=1e-4, rtol=0)


@pytest.mark.parametrize("attribute", ["centroid", "loudness"])
def test_a_walk_climbs(drums: Prior, attribute: str) -> None:
    found = walk(drums, attribute, 5)
    assert found.waves.shape == (5, 16384)
    torch.testing.assert_close(found.values, MEASURES[attribute](found.waves, RATE))
    assert found.values[-1] > found.values[0] and found.correlation > 0.2
    assert torch.equal(found.waves, walk(drums, attribute, 5).waves)


def test_transfer_plays_every_stretch(drums: Prior, clips: dict[str, Tensor]) -> None:
    waves = transfer(drums, clips["speech"])
    assert waves.shape == (3, 16384) and waves.square().mean(-1).min() > 1e-8
    torch.testing.assert_close(waves[1], transfer(drums, clips["speech"][16384:32768])[0], atol=1e-4, rtol=0)


@pytest.mark.parametrize("length", [1, 16384, 16385, 50000])
def test_the_loudest_stretch_is_what_is_heard(drums: Prior, length: int) -> None:
    wave = 0.1 * torch.ones(length)
    wave[length // 2] = 1.0
    part = fit(drums, wave)
    assert part.shape == (16384,) and part.max() == 1


def test_a_prior_without_ears(drums: Prior) -> None:
    deaf = replace(drums, encoder=None)
    with pytest.raises(ModelError, match="drums: it has no encoder"):
        transfer(deaf, torch.zeros(100))
