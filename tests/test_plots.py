"""Pictures: tones where they are in time and frequency, bounded sizes, whole PNG files."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from torch import Tensor

from gansep import plots
from gansep.dsp.frames import split
from gansep.plots import Blocks, can_plot, save, save_samples, save_separation, save_spectrograms, spectrogram

RATE = 16000


def blocks(wave: Tensor) -> Blocks:
    return lambda segment, hop: split(wave[None], segment, hop)


def sine(frequency: float, seconds: float) -> Tensor:
    return torch.sin(2 * torch.pi * frequency * torch.arange(round(seconds * RATE)) / RATE)


def png_size(path: Path) -> tuple[int, int]:
    content = path.read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    assert content[-8:-4] == b"IEND"
    return struct.unpack(">II", content[16:24])


def test_a_sine_is_a_line_at_its_mel() -> None:
    image = spectrogram(blocks(sine(1000, 1.0)), RATE, RATE)
    assert image.shape == (64, 63)
    top = 15 + 27 * np.log(8) / np.log(6.4)  # mels of 8 kHz (Slaney); 1 kHz has 15
    loudest = image[:, 5:-5].argmax(0)
    assert np.all(np.abs(loudest - 64 * 15 / top) < 1.5)


@pytest.mark.parametrize("seconds", [30.0, 100.0])
def test_long_recordings_are_thinned_and_nothing_is_lost(seconds: float) -> None:
    """A click in a long silence is seen, at its place, and no more columns are drawn than wanted."""
    wave = torch.zeros(round(seconds * RATE))
    at = [0.123, 0.5, 0.777, 0.98]
    for place in at:
        wave[round(place * len(wave))] = 1.0
    image = spectrogram(blocks(wave), len(wave), RATE)
    assert image.shape[1] <= 1600 + 2 * 63
    loud = np.flatnonzero(image.max(0) > image.max() - 40) / image.shape[1]
    for place in at:
        assert np.abs(loud - place).min() < 0.01
    assert np.abs(loud[:, None] - np.array(at)).min(1).max() < 0.01


def test_a_long_recording_is_not_held() -> None:
    """Blocks are asked for one by one and are much shorter than the recording."""
    frames = 600 * RATE
    sizes: list[int] = []

    def windows(segment: int, hop: int) -> Iterator[Tensor]:
        for _ in range(1 + max(0, -(-(frames - segment) // hop))):
            sizes.append(segment)
            yield torch.zeros(1, segment)

    image = spectrogram(windows, frames, RATE)
    assert max(sizes) < frames / 10
    assert 1000 < image.shape[1] < 1800
    assert np.isfinite(image).all()


@pytest.mark.parametrize("frames", [1, 2, 255, 1024, 1025])
def test_very_short(frames: int) -> None:
    image = spectrogram(blocks(torch.ones(frames)), frames, RATE)
    assert image.shape[0] == 64
    assert image.shape[1] >= 1
    assert np.isfinite(image).all()


def test_picture_of_a_separation(tmp_path: Path) -> None:
    assert can_plot()
    images = {name: spectrogram(blocks(sine(440, 0.5)), RATE // 2, RATE) for name in ("mixture", "tone", "residual")}
    save_separation(tmp_path / "a.png", images, 0.5, RATE)
    save_separation(tmp_path / "b.png", images, 0.5, RATE, {"total": [3.0, 2.0]})
    save_separation(tmp_path / "c.png", images, 0.5, RATE, {"total": [3.0]})  # no steps, no curve
    widths, heights = zip(*(png_size(tmp_path / name) for name in ("a.png", "b.png", "c.png")), strict=True)
    assert set(widths) == {990}
    assert heights[1] > heights[0] == heights[2] > 500
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.png", "b.png", "c.png"]


def test_picture_of_samples(tmp_path: Path) -> None:
    save_samples(tmp_path / "samples.png", torch.stack([sine(440, 0.2), sine(880, 0.2)]), RATE, "samples")
    assert png_size(tmp_path / "samples.png") == (374, 286)


def test_spectrograms_side_by_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one colour scale, each under its title, over its own length; in rows where columns are asked for."""
    figures: list[Figure] = []
    monkeypatch.setattr(plots, "save", lambda figure, path: (figures.append(figure), save(figure, path)))
    waves = {"quiet": 0.01 * sine(440, 0.3), "loud": sine(440, 0.5), "again": 0.01 * sine(440, 0.3)}
    save_spectrograms(tmp_path / "row.png", waves, RATE)
    save_spectrograms(tmp_path / "grid.png", waves, RATE, columns=2)
    assert png_size(tmp_path / "row.png") == (1067, 297)
    assert png_size(tmp_path / "grid.png") == (748, 550)
    for figure, under in zip(figures, [["time (s)"] * 3, ["", "time (s)", "time (s)"]], strict=True):
        axes = [axis for axis in figure.axes if axis.get_title("left")]
        assert [axis.get_title("left") for axis in axes] == list(waves)
        assert [axis.get_xlabel() for axis in axes] == under
        meshes = [axis.images[0] for axis in axes]
        assert [mesh.get_extent()[1] for mesh in meshes] == [0.3, 0.5, 0.3]
        images = [np.asarray(mesh.get_array()) for mesh in meshes]
        assert images[1].max() - images[0].max() == pytest.approx(40, abs=0.1)
        assert {mesh.get_clim() for mesh in meshes} == {(-80.0, float(images[1].max()))}
