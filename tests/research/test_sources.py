"""Folders as sources: their names, splits and groups, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from gansep.research.sources import pools_of
from gansep.types import DataError


def record(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / f"{name}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, np.random.default_rng(len(name)).uniform(-0.5, 0.5, 2000), 16000)
    return folder


def test_a_folder_is_a_source_of_its_name(tmp_path: Path) -> None:
    birds, rain = record(tmp_path / "birds", "one", "two"), record(tmp_path / "rain", "a")
    pools = pools_of([birds, f"{rain}/"])
    assert list(pools) == ["birds", "rain"]
    assert [file.name for file in pools["birds"].files] == ["one.wav", "two.wav"]
    assert list(pools_of([f"wren={birds}", rain])) == ["wren", "rain"]


def test_files_whose_names_say_nothing_are_groups_of_their_own(tmp_path: Path) -> None:
    pool = pools_of([record(tmp_path / "birds", "take_1", "take_2", "take_3")])["birds"]
    assert sorted(pool.groups.values()) == ["take_1", "take_2", "take_3"]


def test_subfolders_are_groups(tmp_path: Path) -> None:
    pool = pools_of([record(tmp_path / "birds", "ann/1", "ann/2", "bob/1")])["birds"]
    assert [pool.groups[file] for file in pool.files] == ["ann", "ann", "bob"]


def test_splits(tmp_path: Path) -> None:
    """A folder with train and valid in it is split as ours are; one of the two is called as the folder above."""
    drums = tmp_path / "drums"
    record(drums / "train", "tr808_kick", "sonicpi_snare")
    record(drums / "valid", "dmx_kick")
    stems = {split: [file.stem for file in pools_of([drums], split)["drums"].files] for split in ("valid", "dev")}
    assert stems == {"valid": ["dmx_kick"], "dev": ["sonicpi_snare"]}
    assert [file.stem for file in pools_of([drums / "valid"])["drums"].files] == ["dmx_kick"]


def test_what_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    birds = record(tmp_path / "birds", "one")
    with pytest.raises(DataError, match="no such folder"):
        pools_of([tmp_path / "nowhere"])
    with pytest.raises(DataError, match="no sound files in it"):
        pools_of([tmp_path / "empty"])
    with pytest.raises(DataError, match="two folders are called birds; name one of them otherwise"):
        pools_of([birds, record(tmp_path / "other" / "birds", "one")])
