"""What stands for the rest of a mixture: names, fallbacks, and the excerpts that priors keep."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from gansep.training.data import Clips, load_clips
from gansep.training.others import find_others, keep_sounds
from gansep.types import DataError


def record(folder: Path, seconds: int = 8) -> Path:
    folder.mkdir(parents=True)
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, seconds * 16000)
    soundfile.write(folder / "1.wav", noise, 16000)
    return folder


@pytest.fixture
def clips(tmp_path: Path) -> Clips:
    return load_clips([record(tmp_path / "sounds")], 16000)


def test_folders_of_one_name_are_told_apart(tmp_path: Path) -> None:
    folders = [record(tmp_path / one / "birds") for one in "ab"] + [record(tmp_path / "rain")]
    assert list(find_others(folders, "rain", 16000, None)) == ["birds", "birds 2", "rain 2"]


@pytest.mark.parametrize("name", ["birds", "coloured noise"])
def test_without_anything_there_is_noise(name: str) -> None:
    ((called, noise),) = find_others([], name, 8000, None).items()
    assert called == ("coloured noise" if name == "birds" else "coloured noise 2")
    assert noise.sample_rate == 8000 and noise.seconds == 60


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file or folder"):
        find_others([tmp_path / "birds"], "rain", 16000, None)


def test_excerpts_are_kept_once_and_taken_away(tmp_path: Path, clips: Clips) -> None:
    place = tmp_path / "model" / "sounds"
    keep_sounds(place.parent, clips, 5.0)
    files = sorted(place.iterdir())
    assert sum(soundfile.info(file).duration for file in files) == pytest.approx(5, abs=1e-3)
    files[0].unlink()
    keep_sounds(place.parent, clips, 5.0)
    assert sorted(place.iterdir()) == files[1:]  # what is there stays
    keep_sounds(place.parent, clips, 0.0)
    assert list(place.parent.iterdir()) == []
