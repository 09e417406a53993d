"""Exact round trips; results whole or absent; nothing clips silently."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from gansep import audio
from gansep.audio import writing
from gansep.types import AudioError, OutputError


def noise(channels: int = 2, frames: int = 30_000, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(channels, frames, generator=generator) * 1.6 - 0.8


def hidden(folder: Path) -> list[Path]:
    return [file for file in folder.rglob("*") if file.name.startswith(".")]


@pytest.mark.parametrize(
    ("name", "subtype", "step"),
    [
        ("a.wav", "PCM_16", 2.0**-15),
        ("a.wav", "PCM_24", 2.0**-23),
        ("a.wav", "PCM_32", 2.0**-24),  # float32 in memory has 24 bits
        ("a.wav", "FLOAT", 0.0),
        ("a.wav", "DOUBLE", 0.0),
        ("a.flac", "PCM_16", 2.0**-15),
        ("a.flac", "PCM_24", 2.0**-23),
    ],
)
@pytest.mark.parametrize("channels", [1, 2, 8])
def test_what_is_written_comes_back(tmp_path: Path, name: str, subtype: str, step: float, channels: int) -> None:
    wave = noise(channels)
    path = audio.write(tmp_path / name, wave, 44_100, subtype)
    back, rate = audio.read(path)
    assert (rate, back.shape, back.dtype) == (44_100, wave.shape, torch.float32)
    assert (back - wave).abs().max() <= step / 2
    expected = audio.AudioInfo(44_100, channels, wave.shape[1], path.suffix[1:].upper(), subtype)
    assert audio.probe(path) == expected
    assert not hidden(tmp_path)


@pytest.mark.parametrize(("subtype", "bits"), [("PCM_16", 16), ("PCM_24", 24)])
@pytest.mark.parametrize("extension", ["wav", "flac"])
def test_integer_files_survive_read_and_write_bit_for_bit(
    tmp_path: Path, subtype: str, bits: int, extension: str
) -> None:
    full = 2 ** (bits - 1)
    steps = np.random.default_rng(0).integers(-full, full, 5_000, dtype=np.int64)
    steps[:2] = -full, full - 1
    first, second = tmp_path / f"a.{extension}", tmp_path / f"b.{extension}"
    soundfile.write(first, (steps << (32 - bits)).astype(np.int32), 16_000, subtype=subtype)
    audio.write(second, *audio.read(first), subtype=subtype)
    back = np.asarray(soundfile.read(second, dtype="int32")[0], dtype=np.int32) >> (32 - bits)
    assert np.array_equal(back, steps)


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000, 192_000])
def test_rates_from_8_to_192_khz(tmp_path: Path, rate: int) -> None:
    assert audio.read(audio.write(tmp_path / "a.wav", noise(1, 99), rate))[1] == rate


def test_float_samples_beyond_full_scale_are_kept(tmp_path: Path) -> None:
    wave = 3 * noise()
    assert torch.equal(audio.read(audio.write(tmp_path / "a.wav", wave, 16_000, "FLOAT"))[0], wave)


@pytest.mark.parametrize("format", ["wav", "flac"])
def test_stem_writer_streams_and_applies_the_gain(tmp_path: Path, format: str) -> None:
    wave = 2 * noise(2, 200_000)
    with audio.StemWriter(tmp_path / "new", 44_100, 2) as stem:
        for block in wave.split(33_333, dim=1):
            stem.append(block)
        assert (stem.frames, stem.peak) == (200_000, wave.abs().max().item())
        gain = audio.shared_gain([stem.peak, 0.1], "PCM_24")
        target = stem.finish(tmp_path / "out" / f"a.{format}", gain, format, "PCM_24")
        assert not hidden(tmp_path)
    back, _ = audio.read(target)
    assert (back - gain * wave).abs().max() <= 2.0**-23


@given(st.floats(2**-10, 1e4, width=32), st.sampled_from(["PCM_16", "PCM_24", "PCM_32"]))
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_shared_gain_never_wraps(tmp_path: Path, peak: float, subtype: str) -> None:
    gain = audio.shared_gain([peak], subtype)
    with audio.StemWriter(tmp_path, 8_000, 1) as stem:
        stem.append(torch.tensor([[peak, -peak]]))
        stem.finish(tmp_path / "a.wav", gain, "wav", subtype)
    back = audio.read(tmp_path / "a.wav")[0][0]
    step = 2.0 ** (1 - int(subtype[4:]))
    assert gain <= 1 and (gain == 1 or peak * gain == pytest.approx(1 - step))
    assert back.tolist() == pytest.approx([peak * gain, -peak * gain], abs=step + 1e-7)


def test_shared_gain_is_one_where_nothing_clips() -> None:
    assert audio.shared_gain([], "PCM_16") == audio.shared_gain([0.3, 0.99], "PCM_16") == 1.0
    assert audio.shared_gain([7.0], "FLOAT") == 1.0
    with pytest.raises(ValueError, match="unknown subtype 'PCM16'"):
        audio.shared_gain([1.0], "PCM16")


def test_nothing_clips_silently(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"PCM_16 would clip: peak 1\.5 times gain 1 "):
        audio.write(tmp_path / "a.wav", torch.full((1, 9), 1.5), 16_000, "PCM_16")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "wave", "subtype", "message"),
    [
        ("a.flac", noise(), "FLOAT", "flac cannot hold FLOAT samples"),
        ("a.mp3", noise(), "PCM_16", "mp3 cannot hold PCM_16 samples, expected wav with"),
        ("a.wav", noise(2, 0), "PCM_16", "samples appended"),
        ("a.wav", noise()[0], "PCM_16", r"\[C, T\]"),
        ("a.wav", noise() / 0, "FLOAT", "NaN or Inf"),
    ],
)
def test_write_refuses_what_it_cannot_store(
    tmp_path: Path, name: str, wave: Tensor, subtype: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        audio.write(tmp_path / name, wave, 16_000, subtype)
    assert not list(tmp_path.iterdir())


def test_more_channels_than_flac_holds_are_one_line(tmp_path: Path) -> None:
    audio.write(tmp_path / "b.flac", noise(8, 9), 16_000)
    with pytest.raises(OutputError) as error:
        audio.write(tmp_path / "a.flac", noise(9, 9), 16_000)
    assert str(error.value) == f"{tmp_path / 'a.flac'}: flac holds at most 8 channels, got 9; write wav instead"
    assert list(tmp_path.iterdir()) == [tmp_path / "b.flac"]


def test_a_stem_refuses_other_channels_and_calls_after_its_end(tmp_path: Path) -> None:
    stem = audio.StemWriter(tmp_path, 16_000, 2)
    with pytest.raises(ValueError, match=r"needs \[2, T\] samples, got \[1, 9\]"):
        stem.append(noise(1, 9))
    stem.append(noise())
    stem.discard()
    for call in (lambda: stem.append(noise()), lambda: stem.finish(tmp_path / "a.wav")):
        with pytest.raises(ValueError, match="open StemWriter"):
            call()
    assert not list(tmp_path.iterdir())


def test_more_than_4_gib_become_rf64(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "_WAV_LIMIT", 100_000)
    path = audio.write(tmp_path / "a.wav", noise(), 16_000, "FLOAT")
    assert audio.probe(path).container == "RF64"
    assert torch.equal(audio.read(path)[0], noise())
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(AudioError, match="cut short or damaged, 1 bytes"):
        audio.read(path)


def test_equal_sound_gives_equal_bytes(tmp_path: Path) -> None:
    path = audio.write(tmp_path / "a.wav", noise(), 16_000, "FLOAT")
    _, found, rest = path.read_bytes().partition(b"PEAK")
    assert found and rest[8:12] == bytes(4)  # libsndfile puts the time here


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = audio.write(tmp_path / "a.wav", noise(), 16_000)
    before = path.read_bytes()

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with audio.StemWriter(tmp_path, 16_000, 2) as stem, pytest.raises(KeyboardInterrupt):
        stem.append(noise(seed=1))
        monkeypatch.setattr(writing, "_quantised", interrupt)
        stem.finish(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_target_that_is_a_folder_or_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder.wav").mkdir()
    (tmp_path / "file").touch()
    for target in (tmp_path / "folder.wav", tmp_path / "file" / "a.wav"):
        with pytest.raises(OutputError, match="cannot be written") as error:
            audio.write(target, noise(), 16_000)
        assert "\n" not in str(error.value)
    assert not hidden(tmp_path)


FULL_DISK = """
import resource, signal, sys, torch
from gansep import audio
from gansep.audio import writing
from gansep.types import OutputError
folder, limit, target, subtype = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
wave = torch.rand(2, 30_000, generator=torch.Generator().manual_seed(0)) - 0.5
stem = audio.StemWriter(folder, 16_000, 2)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
if limit < 240_000: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    stem.append(wave)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    stem.finish(target, 1.0, target.rpartition(".")[2], subtype)
except OutputError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("limit", "name", "subtype"),
    [(100_000, "a.wav", "PCM_16"), (300_000, "a.wav", "DOUBLE")],  # while appending, while finishing
)
def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path, limit: int, name: str, subtype: str) -> None:
    arguments = [str(tmp_path), str(limit), str(tmp_path / name), subtype]
    done = subprocess.run([sys.executable, "-c", FULL_DISK, *arguments], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(str(tmp_path)) and "cannot be written" in done.stdout
    assert done.stdout.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("frames", "missing"), [(30_000, 1), (30_000, 500), (30_000, 40_000), (3_000, 1), (3_000, 9_000)]
)
def test_a_flac_whose_tail_does_not_fit_is_noticed(tmp_path: Path, frames: int, missing: int) -> None:
    """The encoder keeps its last block until it closes, so every limit below the whole size must be noticed."""
    wave = noise(2, frames)
    limit = audio.write(tmp_path / "whole.flac", wave, 16_000, "PCM_24").stat().st_size - missing
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with audio.StemWriter(tmp_path, 16_000, 2) as stem:
        stem.append(wave)
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
            with pytest.raises(OutputError, match="it cannot be written"):
                stem.finish(tmp_path / "a.flac", 1.0, "flac", "PCM_24")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)
    assert list(tmp_path.iterdir()) == [tmp_path / "whole.flac"]
