"""What a page holds in itself: sounds and pictures decode to what went in."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile
import torch

from gansep.research.embed import FULL, HEAT, SHARE, Sound, common_gain, flac, heat_map, image_of, player, share_map

RATE = 16000


def decoded(png: bytes) -> np.ndarray:
    """``[H, W, 4]`` in 0 to 1, by matplotlib's reader and not ours."""
    image = pytest.importorskip("matplotlib.image")
    return image.imread(io.BytesIO(png), format="png")


def colour(text: str) -> np.ndarray:
    return np.array([*bytes.fromhex(text), 255]) / 255


@pytest.mark.parametrize("channels", [1, 2])
def test_flac_holds_every_sample_to_half_a_step(channels: int) -> None:
    wave = torch.rand(channels, 5001, generator=torch.Generator().manual_seed(0)) * 4 - 2
    gain = FULL / float(wave.abs().max())
    content, rate = soundfile.read(io.BytesIO(flac(wave, RATE, gain)), always_2d=True)
    assert rate == RATE
    assert np.abs(content.T - gain * wave.double().numpy()).max() <= 0.5001 / 32768
    assert np.abs(content).max() == FULL


def test_heat_map_ends_at_its_colours_and_has_the_first_row_at_the_bottom() -> None:
    image = np.array([[-70.0, -100.0], [0.0, 10.0], [-35.0, -35.0]])
    pixels = decoded(heat_map(image, -70, 0))
    assert pixels.shape == (3, 2, 4)
    assert np.allclose(pixels[2], colour(HEAT[0]))
    assert np.allclose(pixels[1], colour(HEAT[-1]))
    assert np.allclose(pixels[0], colour(HEAT[4]), atol=1 / 255)


def test_share_map_is_a_ratio_of_magnitudes_and_clear_in_silence() -> None:
    mixture = np.array([[-20.0, -20.0, -20.0, -80.0]])
    stem = np.array([[-20.0, -80.0, -10.0, -80.0]])
    pixels = decoded(share_map(stem, mixture, -80.0))[0]
    assert np.allclose(pixels[0], colour(SHARE[-1]))
    assert np.allclose(pixels[1], colour(SHARE[0]))
    assert np.allclose(pixels[2], colour(SHARE[-1]))
    assert pixels[3, 3] == 0
    half = decoded(share_map(np.array([[-26.0206]]), np.array([[-20.0]]), -80.0))[0, 0]
    assert np.allclose(half, colour(SHARE[3]), atol=2 / 255)


def test_an_image_has_a_tone_at_its_place() -> None:
    wave = torch.sin(2 * torch.pi * 1000 * torch.arange(RATE) / RATE)[None]
    image = image_of(Sound(0.1 * wave, RATE), 10.0)
    assert image.shape == (64, 63)
    top = 15 + 27 * np.log(8) / np.log(6.4)  # mels of 8 kHz (Slaney); 1 kHz has 15
    assert np.abs(image[:, 5:-5].argmax(0) - 64 * 15 / top).max() < 1.5
    assert abs(image.max()) < 6  # dB of full scale, with the gain


def test_the_common_gain_is_that_of_the_loudest() -> None:
    sounds = {name: Sound(torch.full((1, 4), value), RATE) for name, value in (("a", 0.1), ("b", -2.0))}
    assert common_gain(sounds, "x") == (FULL / 2, "b")
    assert common_gain({"a": Sound(torch.zeros(1, 4), RATE)}, "x") == (1.0, "a")


@pytest.mark.parametrize("wave", [torch.zeros(4), torch.zeros(1, 0), torch.zeros(9, 4), torch.tensor([[float("nan")]])])
def test_what_cannot_be_played_is_refused(wave: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="song, nmf"):
        common_gain({"nmf": Sound(wave, RATE)}, "song")


@pytest.mark.parametrize(("seconds", "last"), [(0.04, "0.04"), (1.5, "1.5"), (8, "8"), (70, "60")])
def test_axes_have_a_few_round_numbers(seconds: float, last: str) -> None:
    wave = torch.zeros(1, round(seconds * 8000))
    html = player("x", Sound(wave, 8000), 1.0, {})
    hertz, times = html.split('class="seconds"')
    assert [text.split("<")[0] for text in hertz.split('%">')[1:]] == ["0.25", "1"]
    ticks = [text.split("<")[0] for text in times.split('%">')[1:]]
    assert ticks[0] == "0"
    assert ticks[-1] == last
    assert 3 <= len(ticks) <= 6
