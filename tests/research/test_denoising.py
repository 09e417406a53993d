"""Sentences in noise: the ratios asked for, the same noise at each, the same bytes for a seed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from gansep.research.denoising import sentences
from gansep.types import DataError


@pytest.fixture
def data(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    for name, count, seconds in (("speech", 5, 0.5), ("noise", 2, 0.3)):
        folder = tmp_path / name / "valid"
        folder.mkdir(parents=True)
        for number in range(count):
            wave = random.standard_normal(int(16000 * (seconds + 0.1 * number))) * 0.1
            soundfile.write(folder / f"pv_g{number}_{number}.wav", wave, 16000)
    return tmp_path


@pytest.mark.parametrize("ratio", [-5.0, 0.0, 10.0])
def test_ratio_is_the_one_asked_for(data: Path, ratio: float) -> None:
    for example in sentences(data, "valid", ratio):
        speech, noise = example.references[:, 0].square().mean(-1)
        assert float(10 * torch.log10(speech / noise)) == pytest.approx(ratio, abs=1e-3)
        assert float(example.mixture.abs().max()) == pytest.approx(0.9, abs=1e-4)
        assert example.sources == ("speech", "noise")


def test_ratios_have_the_same_noise_and_seeds_do_not(data: Path) -> None:
    at_0, at_10, again, other = (
        list(sentences(data, "valid", ratio, seed)) for ratio, seed in ((0.0, 0), (10.0, 0), (0.0, 0), (0.0, 1))
    )
    assert [one.sha256 for one in at_0] == [one.sha256 for one in again]
    assert [one.sha256 for one in at_0] != [one.sha256 for one in other]
    for one, two in zip(at_0, at_10, strict=True):
        first, second = (wave / wave.abs().max() for wave in (one.references[1], two.references[1]))
        assert torch.allclose(first, second, atol=1e-5)
        assert one.group == two.group


def test_every_noise_serves_before_one_serves_again(data: Path) -> None:
    noises = [example.group.split("+")[1] for example in sentences(data, "valid", 0.0)]
    assert len(set(noises[:2])) == 2 and len(set(noises[2:4])) == 2


def test_clean(data: Path) -> None:
    for example in sentences(data, "valid", None):
        assert example.references[1].abs().max() == 0
        assert "clean" in example.name


def test_pieces_are_no_pauses(data: Path) -> None:
    wave = np.zeros(160000)
    wave[80000:90000] = 0.5
    for file in (data / "noise" / "valid").iterdir():
        soundfile.write(file, wave, 16000)
    for example in sentences(data, "valid", 0.0):
        assert example.references[1].abs().max() > 0.01


def test_refused(data: Path) -> None:
    with pytest.raises(DataError, match="no recordings"):
        next(sentences(data, "train", 0.0))
    soundfile.write(data / "speech" / "valid" / "pv_g0_0.wav", np.zeros(8000), 16000)
    with pytest.raises(DataError, match="silent; remove it"):
        list(sentences(data, "valid", 0.0))
