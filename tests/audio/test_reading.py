"""Every kind of sound file in, whole or in windows; every kind of bad file refused in one line."""

from __future__ import annotations

import math
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from gansep import audio
from gansep.types import AudioError

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="the ffmpeg program is not installed")


def noise(channels: int = 2, frames: int = 30_000, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(channels, frames, generator=generator) * 1.6 - 0.8


def store(path: Path, wave: Tensor, rate: int = 16_000, subtype: str | None = None) -> Path:
    soundfile.write(path, wave.T.numpy(), rate, subtype=subtype)
    return path


def sine(rate: int, frames: int) -> Tensor:
    return torch.sin(2 * math.pi * 440 * torch.arange(frames, dtype=torch.float64) / rate).float()


def half(source: Path, target: Path) -> Path:
    data = source.read_bytes()
    target.write_bytes(data[: len(data) // 2])
    return target


@pytest.mark.parametrize(
    ("name", "subtype", "error"),
    [
        ("a.aiff", "PCM_16", 1e-4),
        ("a.aiff", "PCM_24", 1e-6),
        ("a.aiff", "FLOAT", 0.0),
        ("a.w64", "FLOAT", 0.0),
        ("a.ogg", "VORBIS", 0.05),
        ("a.mp3", "MPEG_LAYER_III", 0.1),  # at the very end
    ],
)
def test_other_containers_are_read(tmp_path: Path, name: str, subtype: str, error: float) -> None:
    wave = 0.5 * sine(44_100, 100_000).repeat(2, 1)
    back, rate = audio.read(store(tmp_path / name, wave, 44_100, subtype))
    assert (rate, back.shape) == (44_100, wave.shape)
    assert (back - wave).abs().max() <= error


def test_a_length_the_header_leaves_open_is_no_damage(tmp_path: Path) -> None:
    path = store(tmp_path / "piped.wav", noise(), subtype="PCM_16")
    data = bytearray(path.read_bytes())
    data[4:8] = data[40:44] = b"\xff\xff\xff\xff"  # what a program writes into a pipe
    path.write_bytes(data)
    assert audio.read(path)[0].shape == (2, 30_000)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    frames=st.integers(1, 300_000),
    segment=st.integers(200, 120_000),
    overlap=st.floats(0, 0.95),
    channels=st.integers(1, 3),
)
def test_windows_rebuild_the_file(tmp_path: Path, frames: int, segment: int, overlap: float, channels: int) -> None:
    hop = max(1, round(segment * (1 - overlap)))
    path = store(tmp_path / "a.wav", noise(channels, frames), subtype="FLOAT")
    whole, _ = audio.read(path)
    with audio.open_audio(path) as source:
        windows = list(source.windows(segment, hop))
    assert len(windows) == max(1, math.ceil((frames - segment) / hop) + 1)
    for k, window in enumerate(windows):
        part = whole[:, k * hop : k * hop + segment]
        assert window.shape == (channels, segment)
        assert torch.equal(window[:, : part.shape[1]], part)
        assert not window[:, part.shape[1] :].any()
    assert (len(windows) - 1) * hop + segment >= frames


def test_windows_shift_by_single_samples(tmp_path: Path) -> None:
    wave = noise(1, 12)
    with audio.open_audio(store(tmp_path / "a.wav", wave, subtype="FLOAT")) as source:
        for _ in range(2):  # every call starts again
            for start, window in enumerate(source.windows(5, 1)):
                assert torch.equal(window, wave[:, start : start + 5])
                window.zero_()  # a window is the caller's own


@pytest.mark.parametrize("extension", ["flac", "ogg", "mp3", "aiff"])
def test_windows_of_compressed_files_match_one_read(tmp_path: Path, extension: str) -> None:
    wave = 0.5 * sine(44_100, 200_000).repeat(2, 1)
    path = store(tmp_path / f"a.{extension}", wave, 44_100)
    with audio.open_audio(path) as source:
        windows = torch.cat(list(source.windows(7_000, 7_000)), dim=1)[:, :200_000]
    assert torch.equal(windows.T, torch.from_numpy(soundfile.read(path, dtype="float32")[0]))


@pytest.mark.parametrize("hop", [0, 11])
def test_windows_refuse_a_hop_that_stands_still_or_leaves_gaps(tmp_path: Path, hop: int) -> None:
    with (
        audio.open_audio(store(tmp_path / "a.wav", noise())) as source,
        pytest.raises(ValueError, match=f"got hop {hop}"),
    ):
        next(source.windows(10, hop))


def test_windows_of_a_long_file_stay_in_bounded_memory(tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    with soundfile.SoundFile(path, "w", 44_100, 2, "PCM_16") as file:
        for _ in range(400):
            file.write(np.zeros((65_536, 2), dtype=np.int16))  # 10 minutes: 210 MB as float32
    script = (
        "import resource, sys; from gansep import audio\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "before = peak()\n"
        "with audio.open_audio(sys.argv[1]) as source: count = sum(1 for _ in source.windows(44_100, 22_050))\n"
        "print(count, peak() - before)"
    )
    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True)
    count, grown = map(int, done.stdout.split())
    assert count == math.ceil((400 * 65_536 - 44_100) / 22_050) + 1
    assert grown < 50_000  # KiB


def cut(name: str) -> Callable[[Path], Path]:
    return lambda folder: half(store(folder / f"whole-{name}", noise(), 44_100), folder / name)


def header_only(folder: Path) -> Path:
    path = folder / "a.wav"
    path.write_bytes(store(folder / "whole.wav", noise(), subtype="PCM_16").read_bytes()[:44])
    return path


def garbled_flac(folder: Path) -> Path:
    data = bytearray(store(folder / "whole.flac", noise()).read_bytes())
    data[len(data) // 2 : len(data) // 2 + 4_000] = bytes(4_000)
    (folder / "a.flac").write_bytes(data)
    return folder / "a.flac"


def with_text(name: str, content: bytes) -> Callable[[Path], Path]:
    def build(folder: Path) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    return build


def with_sample(value: float) -> Callable[[Path], Path]:
    def build(folder: Path) -> Path:
        wave = noise()
        wave[1, 12_345] = value
        return store(folder / "a.wav", wave, subtype="FLOAT")

    return build


BAD = {
    "missing": (lambda folder: folder / "a.wav", "No such file"),
    "folder": (lambda folder: folder, "a folder, expected one sound file"),
    "empty": (with_text("a.wav", b""), r"empty \(0 bytes\)"),
    "header only": (header_only, "cut short"),
    "zero samples": (lambda folder: store(folder / "a.wav", noise(frames=0)), "no samples"),
    "zero samples flac": (lambda folder: store(folder / "a.flac", noise(frames=0)), r"empty \(0 bytes\)"),
    "truncated wav": (cut("a.wav"), "cut short or damaged, 60022 bytes"),
    "truncated aiff": (cut("a.aiff"), "cut short or damaged"),
    "truncated flac": (cut("a.flac"), "cut short or damaged"),
    "truncated ogg": (cut("a.ogg"), "cut short or damaged"),
    "truncated mp3": (cut("a.mp3"), "cut short or damaged"),
    "garbled flac": (garbled_flac, "cut short or damaged"),
    "text": (with_text("a.wav", b"hello, world\n" * 99), "not a readable wav"),
    "headless": (with_text("a.raw", bytes(999)), "ffmpeg"),
    "nan": (with_sample(math.nan), "NaN or Inf"),
    "inf": (with_sample(math.inf), "NaN or Inf"),
    "low rate": (lambda folder: store(folder / "a.wav", noise(), 7_999), "7999 Hz, expected 8000 to 192000 Hz"),
    "high rate": (lambda folder: store(folder / "a.wav", noise(), 384_000), "384000 Hz"),
    "text m4a": (with_text("a.m4a", b"hello, world\n" * 99), "ffmpeg"),
}


@pytest.mark.parametrize("bad", BAD)
def test_bad_files_are_refused_in_one_line(tmp_path: Path, bad: str) -> None:
    build, message = BAD[bad]
    path = build(tmp_path)
    with pytest.raises(AudioError, match=message) as whole:
        audio.read(path)
    with pytest.raises(AudioError, match=message), audio.open_audio(path) as source:
        for _ in source.windows(1_000, 500):
            pass
    assert str(whole.value).startswith(f"{path}: ")
    assert "\n" not in str(whole.value)


def test_a_damaged_tail_is_noticed_after_the_sound_part_was_streamed(tmp_path: Path) -> None:
    wave = noise(1, 400_000)
    path = half(store(tmp_path / "whole.flac", wave, 44_100), tmp_path / "a.flac")
    with audio.open_audio(path) as source, pytest.raises(AudioError, match="of 400000 frames"):
        for start, window in enumerate(source.windows(10_000, 10_000)):
            assert (window - wave[:, start * 10_000 :][:, :10_000]).abs().max() < 1e-4


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read every file")
def test_a_file_without_permission_is_refused(tmp_path: Path) -> None:
    path = store(tmp_path / "a.wav", noise())
    path.chmod(0)
    with pytest.raises(AudioError, match="Permission denied"):
        audio.read(path)


def encode(source: Path, target: Path, *options: str) -> Path:
    subprocess.run(["ffmpeg", "-v", "error", "-y", "-i", source, *options, target], check=True)
    return target


@needs_ffmpeg
def test_m4a_is_decoded_by_ffmpeg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    wave = 0.5 * sine(44_100, 88_200).repeat(2, 1)
    path = encode(store(tmp_path / "-a:b.wav", wave, 44_100), tmp_path / "a.m4a", "-b:a", "192k")
    with audio.open_audio(path) as source:
        assert (source.info.sample_rate, source.info.channels, source.info.container) == (44_100, 2, "M4A")
        assert 88_200 <= source.info.frames < 88_200 + 2_048  # AAC fills its last block
        back = torch.cat(list(source.windows(4_000, 4_000)), dim=1)
        assert (back[:, 2_000:86_000] - wave[:, 2_000:86_000]).abs().max() < 0.02
    assert not list(scratch.iterdir())


@needs_ffmpeg
@pytest.mark.parametrize(
    "options", [("-f", "flac", "pipe:1"), ("-f", "mp3", "-q:a", "2", "-write_xing", "0", "pipe:1")]
)
def test_streams_without_a_length_are_read_in_full(tmp_path: Path, options: tuple[str, ...]) -> None:
    wave = store(tmp_path / "a.wav", noise(2, 100_000), 44_100)
    path = tmp_path / f"piped.{options[1]}"
    path.write_bytes(subprocess.run(["ffmpeg", "-v", "error", "-i", wave, *options], capture_output=True).stdout)
    assert 100_000 <= audio.read(path)[0].shape[1] < 100_000 + 4 * 1_152  # MP3 pads its ends


@needs_ffmpeg
def test_float_w64_of_ffmpeg_is_not_taken_for_integers(tmp_path: Path) -> None:
    wave = noise()
    path = encode(store(tmp_path / "a.wav", wave, 44_100, "FLOAT"), tmp_path / "a.w64", "-c:a", "pcm_f32le")
    assert soundfile.info(path).subtype == "PCM_32"  # libsndfile 1.2.2 overlooks the float in its extended header
    assert torch.equal(audio.read(path)[0], wave)


@needs_ffmpeg
def test_a_truncated_m4a_is_refused(tmp_path: Path) -> None:
    whole = encode(store(tmp_path / "a.wav", noise(), 44_100), tmp_path / "whole.m4a", "-movflags", "+faststart")
    with pytest.raises(AudioError, match="ffmpeg cannot decode it") as error:
        audio.probe(half(whole, tmp_path / "a.m4a"))
    assert "\n" not in str(error.value)


def test_m4a_without_ffmpeg_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    (tmp_path / "a.m4a").write_bytes(b"....ftypM4A ")
    expected = "needs the ffmpeg program: apt-get install ffmpeg / brew install ffmpeg, or convert it to wav"
    with pytest.raises(AudioError, match=f"a.m4a: .*{expected}"):
        audio.read(tmp_path / "a.m4a")


def test_find_audio(tmp_path: Path) -> None:
    for name in ("b.WAV", "a.flac", "deep/er/c.mp3", ".hidden.wav", ".cache/d.wav", "notes.txt", "deep/._c.mp3"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.wav").mkdir()
    assert audio.find_audio(tmp_path) == [tmp_path / name for name in ("a.flac", "b.WAV", "deep/er/c.mp3")]
    assert audio.find_audio(tmp_path / "notes.txt") == [tmp_path / "notes.txt"]
    assert {".wav", ".m4a"} <= audio.AUDIO_EXTENSIONS
    with pytest.raises(AudioError, match="nowhere: no such file or folder"):
        audio.find_audio(tmp_path / "nowhere")
