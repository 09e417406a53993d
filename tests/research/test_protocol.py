"""The measured mixtures: known splits, the same bytes for the same seed, levels and lengths as each condition says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from gansep.audio import read
from gansep.research.protocol import CONDITIONS, TASKS, export, mix, mixtures, tasks_of
from gansep.research.sources import group, is_dev, pools_of, split_files
from gansep.types import DataError

RATE = 16000
FILES = {
    "digits/train": ["ar_s01_d0_01", "ar_s01_d1_01", "ar_s05_d0_01", "ar_s15_d3_02", "ar_s51_d0_01"],
    "digits/valid": ["ar_s02_d0_01", "ar_s02_d1_01"],
    "drums/train": ["korg_clap", "tr808_kick", "mrk2_snare", "sonicpi-bass"],
    "drums/valid": ["dmx_kick", "dmx_snare"],
    "piano/train": ["bwv772_01", "bwv784_01", "bwv846-prelude"],
    "piano/valid": ["bwv999_01"],
    "speech/train": ["pv_g01_1", "pv_g12_1"],
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with names as in the real one: half a second of noise each, piano five seconds."""
    root = tmp_path_factory.mktemp("data")
    for folder, names in FILES.items():
        (root / folder).mkdir(parents=True)
        for name in names:
            random = np.random.default_rng(sum(map(ord, name)))
            wave = random.uniform(-0.3, 0.3, RATE * 9 if folder.startswith("piano") else RATE // 2)
            soundfile.write(root / folder / f"{name}.flac", wave, RATE)
    return root


def names(files: list[Path]) -> list[str]:
    return [file.stem for file in files]


def test_splits_by_name(data: Path) -> None:
    assert names(split_files(data, "digits", "train")) == ["ar_s01_d0_01", "ar_s01_d1_01", "ar_s51_d0_01"]
    assert names(split_files(data, "digits", "dev")) == ["ar_s05_d0_01", "ar_s15_d3_02"]
    assert names(split_files(data, "digits", "valid")) == FILES["digits/valid"]
    assert names(split_files(data, "drums", "dev")) == ["mrk2_snare", "sonicpi-bass"]
    assert names(split_files(data, "piano", "dev")) == ["bwv784_01"]
    assert names(split_files(data, "speech", "dev")) == ["pv_g12_1"]
    assert not is_dev(data / "noise" / "train" / "ar_s05_d0_01.flac")  # a rule for each class


@pytest.mark.parametrize("name", ["digits", "drums", "piano"])
def test_splits_share_no_file_and_no_group(data: Path, name: str) -> None:
    splits = [split_files(data, name, split) for split in ("train", "dev", "valid")]
    groups = [{group(file) for file in files} for files in splits]
    assert all(groups)
    for first in range(3):
        for second in range(first):
            assert not set(splits[first]) & set(splits[second])
            assert not groups[first] & groups[second]
    assert len(splits[0] + splits[1]) == len(FILES[f"{name}/train"])


def test_groups() -> None:
    known = {
        "ar_s05_d0_01": "ar_s05",
        "en_s03_d1": "en_s03",
        "sc_0a7c_3": "sc_0a7c",
        "pv_g12_44": "pv_g12",
        "casiorz1_hihat-closed": "casiorz1",
        "sonicpi-bass": "sonicpi",
        "bwv784": "bwv784",
        "bwv846-prelude": "bwv846",
    }
    assert {name: group(Path(f"{name}.flac")) for name in known} == known


def test_what_is_not_there(data: Path) -> None:
    with pytest.raises(DataError, match="unknown split 'test'; expected train, dev or valid"):
        split_files(data, "digits", "test")
    with pytest.raises(DataError, match=r"no recordings in .*guitar.train"):
        split_files(data, "guitar", "train")
    with pytest.raises(DataError, match="unknown task 'speech-noise'"):
        next(mixtures(data, "speech-noise", "wild", "dev", 1))
    with pytest.raises(DataError, match="unknown condition 'tame'"):
        next(mixtures(data, "digits-drums", "tame", "dev", 1))
    with pytest.raises(DataError, match="unknown split 'test'"):
        next(mixtures(data, "digits-drums", "wild", "test", 1))


@pytest.mark.parametrize("condition", CONDITIONS)
def test_same_bytes_whatever_the_count(data: Path, condition: str) -> None:
    many = list(mixtures(data, "digits-piano", condition, "dev", 3, seed=4))
    again = list(mixtures(data, "digits-piano", condition, "dev", 2, seed=4))
    for first, second in zip(many[:2], again, strict=True):
        assert torch.equal(first.references, second.references)
        assert (first.name, first.group) == (second.name, second.group)
    assert not torch.equal(many[0].references, many[1].references)
    for change in ({"seed": 5, "split": "dev"}, {"seed": 4, "split": "train"}):
        other = next(mixtures(data, "digits-piano", condition, count=1, **change))  # type: ignore[arg-type]
        assert not torch.equal(other.references, many[0].references)
    assert [one.name for one in many] == [f"digits-piano-{condition}-{number:03d}" for number in range(3)]


@pytest.mark.parametrize("task", TASKS)
def test_references_sum_to_the_mixture(data: Path, task: str) -> None:
    for one in mixtures(data, task, "wild", "valid", 2):
        assert one.sources == TASKS[task]
        assert one.references.shape == (len(TASKS[task]), 1, 24576)
        assert one.sample_rate == RATE
        torch.testing.assert_close(one.mixture, one.references.sum(0))
        valid = {group(Path(f"{name}.flac")) for key in FILES if key.endswith("valid") for name in FILES[key]}
        assert set(one.group.split("+")) <= valid
        assert len(one.group.split("+")) == len(TASKS[task])


def test_paper(data: Path) -> None:
    """Every source has its peak at 1, short files begin at once and are whole."""
    clips = {file.stem: read(file)[0] for file in split_files(data, "drums", "dev")}
    for one in mixtures(data, "drums-piano", "paper", "dev", 4):
        assert one.references.shape == (2, 1, 16384)
        torch.testing.assert_close(one.references.abs().amax(-1), torch.ones(2, 1))
        drums = one.references[0, :, : RATE // 2]
        assert any(torch.allclose(drums, clip / clip.abs().max()) for clip in clips.values())
        assert one.references[0, :, RATE // 2 :].abs().max() == 0
        assert one.references[1, :, -100:].abs().max() > 0.1  # piano goes on


def test_wild(data: Path) -> None:
    """Onsets up to half a second, gains of -6 to +6 dB for each source, peak of the mixture 0.9."""
    onsets, ratios = [], []
    for one in mixtures(data, "digits-drums", "wild", "train", 40, seed=1):
        assert float(one.mixture.abs().max()) == pytest.approx(0.9, abs=1e-5)
        for wave in one.references[:, 0]:
            loud = wave.nonzero()[:, 0]
            onsets.append(int(loud[0]))
            assert int(loud[-1] - loud[0]) < RATE // 2
        peaks = one.references.abs().amax(-1)[:, 0]
        ratios.append(20 * float((peaks[0] / peaks[1]).log10()))
    assert 0 <= min(onsets) < 1000
    assert 7000 < max(onsets) <= RATE // 2 + 10
    assert -12 <= min(ratios) < -4
    assert 4 < max(ratios) <= 12


def test_sequence(data: Path) -> None:
    """Eight seconds of 44.1 kHz stereo; each source stands at one place and has events all along."""
    one = next(mixtures(data, "digits-drums-piano", "sequence", "dev", 1))
    assert one.sample_rate == 44100
    assert one.references.shape == (3, 2, 8 * 44100)
    assert float(one.mixture.abs().max()) == pytest.approx(0.9, abs=1e-5)
    for wave in one.references:
        level = wave.square().sum(-1).sqrt()
        correlation = float((wave[0] * wave[1]).sum() / (level[0] * level[1]))
        assert correlation == pytest.approx(1, abs=1e-3)
        assert 0.2 < float(torch.atan2(level[1], level[0])) / (torch.pi / 2) + 0.06 < 0.92
        assert (wave.reshape(2, 4, -1).abs().amax((0, 2)) > 0.05).all()  # something in each two seconds


def test_sources_of_a_user(data: Path, tmp_path: Path) -> None:
    """Any folders, any rate; the protocol's own tasks are the same whether named so or as folders."""
    pools = pools_of([data / "digits", data / "drums"], "dev")
    ours = list(mixtures(data, "digits-drums", "wild", "dev", 3, seed=7))
    theirs = list(mix(list(pools.values()), "wild", "dev", [0, 2], seed=7))
    assert torch.equal(ours[0].references, theirs[0].references)
    assert [one.sha256 for one in theirs] == [ours[0].sha256, ours[2].sha256]
    for name, rate in (("low", 8000), ("high", 48000)):
        (tmp_path / name).mkdir()
        time = np.arange(2 * rate) / rate
        soundfile.write(tmp_path / name / "tone.wav", np.stack([np.sin(2000 * time)] * 2, 1), rate)
    one = next(mix(list(pools_of([tmp_path / "low", tmp_path / "high"]).values()), "paper", "valid", [0]))
    assert one.references.shape == (2, 1, 16384)
    for wave in one.references[:, 0, 2000:10000]:
        spectrum = torch.fft.rfft(wave * torch.hann_window(8000)).abs()
        assert float(spectrum.argmax()) * RATE / 8000 == pytest.approx(2000 / (2 * np.pi), abs=2)


def test_a_silent_recording_is_named(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        soundfile.write(tmp_path / name / "nothing.wav", np.zeros(4000), RATE)
    with pytest.raises(DataError, match=r"nothing.wav: silent; remove it"):
        next(mix(list(pools_of([tmp_path / "a", tmp_path / "b"]).values()), "wild", "valid", [0]))


def test_tasks() -> None:
    assert list(tasks_of(["digits", "drums", "piano"])) == list(TASKS)
    assert tasks_of(["a", "b"]) == {"a-b": ("a", "b")}
    assert tasks_of(["a", "b", "c"], ["c-a", "a+b+c"]) == {"c-a": ("c", "a"), "a-b-c": ("a", "b", "c")}
    assert tasks_of(["field-birds", "rain"], ["field-birds+rain"]) == {"field-birds-rain": ("field-birds", "rain")}
    with pytest.raises(DataError, match="at least two sources, got a"):
        tasks_of(["a"])
    with pytest.raises(DataError, match="no task 'a-d' of the sources a, b"):
        tasks_of(["a", "b"], ["a-d"])


def test_export(data: Path, tmp_path: Path) -> None:
    """Other programs get the same samples, in files of 32-bit floats."""
    made = list(mixtures(data, "drums-piano", "wild", "dev", 2))
    export(made, tmp_path)
    for one in made:
        wave, rate = read(tmp_path / one.name / "mixture.wav")
        assert rate == one.sample_rate
        assert torch.equal(wave, one.mixture)
        parts = [read(tmp_path / one.name / f"{name}.wav")[0] for name in one.sources]
        assert torch.equal(torch.stack(parts), one.references)
        assert one.sha256 in (tmp_path / one.name / "about.json").read_text()
