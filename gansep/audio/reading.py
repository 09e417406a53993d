"""Files to tensors: sound files of any common kind in, whole and finite or not at all.

soundfile decodes what it knows, the ``ffmpeg`` program the rest; a file that is damaged, cut short or holds no sound
is refused, never passed on in part. Samples are float32, full scale is 1.
"""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
import soundfile
import torch
from torch import Tensor

from gansep.types import AudioError

_NATIVE = frozenset({".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aiff", ".aif", ".aifc", ".w64", ".au", ".caf"})
_FOREIGN = frozenset({".m4a", ".m4b", ".aac", ".wma", ".mp4", ".mka", ".webm", ".ac3", ".amr", ".ape", ".wv"})  # ffmpeg
AUDIO_EXTENSIONS = _NATIVE | _FOREIGN

_RATES = range(8_000, 192_001)  # Hz
_BLOCK = 1 << 16  # frames decoded at a time
_UNKNOWN = 2**63 - 1  # the frame count soundfile reports for a FLAC stream whose header has none


@dataclass(frozen=True)
class AudioInfo:
    """What a file's header says.

    Attributes:
        sample_rate: in Hz.
        channels: 1 or more.
        frames: samples per channel.
        container: ``WAV``, ``FLAC``, ``OGG``, ``MP3`` ...
        subtype: how samples are stored, ``PCM_16``, ``FLOAT``, ``VORBIS`` ...; ``FLOAT`` if ffmpeg decoded them.
    """

    sample_rate: int
    channels: int
    frames: int
    container: str
    subtype: str


class _Forward(soundfile.SoundFile):
    """Reads straight on: soundfile seeks after every block, and in MP3 files that lands on other samples."""

    def seekable(self) -> bool:
        return False


@dataclass
class AudioSource:
    """A sound file open for reading; a context manager, because ffmpeg may have left it a temporary file.

    Attributes:
        path: the file, as messages name it.
        info: its header.
    """

    path: Path
    info: AudioInfo
    _decoded: Path
    _scratch: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove what ffmpeg decoded; the source cannot be read afterwards."""
        if self._scratch is not None:
            self._scratch.cleanup()

    def blocks(self, frames: int = _BLOCK) -> Iterator[Tensor]:
        """Decode from the start, ``frames`` at a time.

        Shape: ``[C, frames]`` each, the last one shorter.
        Raises:
            AudioError: samples that are not finite, or a file that ends, or breaks, before its header says.
        """
        decoded = 0
        try:
            with _Forward(self._decoded) as file:
                while len(samples := file.read(frames, dtype="float32", always_2d=True)):
                    if not np.isfinite(samples).all():
                        raise _refusal(self.path, "it has NaN or Inf samples, expected finite ones", "export it again")
                    decoded += len(samples)
                    yield torch.from_numpy(samples).T
        except soundfile.LibsndfileError as error:
            raise _cut(self.path, f"the decoder stopped after {decoded} of {self.info.frames} frames") from error
        if decoded != self.info.frames:
            raise _cut(self.path, f"it holds {decoded} of the {self.info.frames} frames its header promises")

    def windows(self, segment: int, hop: int) -> Iterator[Tensor]:
        """Overlapping windows in file order, in bounded memory; every frame is in at least one.

        Args:
            segment: samples a window.
            hop: samples from one window's start to the next, at most ``segment``.
        Shape: ``max(1, ceil((T - segment) / hop) + 1)`` windows of ``[C, segment]``, the last padded with zeros.
        Raises:
            ValueError: ``hop`` outside 1 ... ``segment``.
            AudioError: as :meth:`blocks`.
        """
        if not 1 <= hop <= segment:
            raise ValueError(f"windows needs 1 <= hop <= segment, got hop {hop} and segment {segment}")
        rest = torch.zeros(self.info.channels, 0)  # frames from the next window's start on
        first = True
        for block in self.blocks(max(_BLOCK, hop)):
            rest = torch.cat([rest, block], dim=1)
            while rest.shape[1] >= segment:
                yield rest[:, :segment].clone()
                rest, first = rest[:, hop:], False
        if first or rest.shape[1] > segment - hop:  # the previous window reaches segment - hop into the rest
            yield torch.nn.functional.pad(rest, (0, segment - rest.shape[1]))


def open_audio(path: str | Path) -> AudioSource:
    """Open a sound file; use it in a ``with`` statement.

    Args:
        path: a file soundfile knows (wav, flac, ogg, mp3, aiff ...), or any that the ``ffmpeg`` program decodes.
    Raises:
        AudioError: no such file, no sound in it, damaged, rate outside 8 to 192 kHz, or ffmpeg needed and missing.
    """
    path = Path(path)
    _check_file(path)
    info = _header(path)
    if info is None and path.suffix.lower() in _NATIVE:
        kind = path.suffix[1:].lower()
        raise _refusal(
            path, f"it is not a readable {kind} file (damaged, or another kind of file)", "check or replace it"
        )
    if info is None or not _header_is_enough(path, info):
        return _open_with_ffmpeg(path)
    if missing := _missing_bytes(path):
        raise _cut(path, f"{missing} bytes of the sound its header promises are missing")
    return AudioSource(path, _checked(path, info), path)


def probe(path: str | Path) -> AudioInfo:
    """Read a file's header (a format that needs ffmpeg is decoded for it); raises as :func:`open_audio`."""
    with open_audio(path) as source:
        return source.info


def read(path: str | Path) -> tuple[Tensor, int]:
    """Read a whole file: samples and rate in Hz.

    Shape: ``[C, T]`` float32.
    Raises:
        AudioError: as :func:`open_audio` and :meth:`AudioSource.blocks`.
    """
    with open_audio(path) as source:
        return torch.cat(list(source.blocks()), dim=1), source.info.sample_rate


def find_audio(path: str | Path) -> list[Path]:
    """Sound files of a folder and the folders in it, sorted, hidden ones skipped; a file gives itself.

    Raises:
        AudioError: no such file or folder.
    """
    path = Path(path)
    if not path.exists():
        raise _refusal(path, "no such file or folder", "check the path")
    if not path.is_dir():
        return [path]
    files = (file for file in path.rglob("*") if file.suffix.lower() in AUDIO_EXTENSIONS and file.is_file())
    return sorted(file for file in files if not any(part.startswith(".") for part in file.relative_to(path).parts))


def _refusal(path: Path, problem: str, remedy: str) -> AudioError:
    return AudioError(f"{path}: {problem}; {remedy}")


def _cut(path: Path, detail: str) -> AudioError:
    return _refusal(path, f"cut short or damaged, {detail}", "copy, download or export it again")


def _check_file(path: Path) -> None:
    if path.exists() and not path.is_file():
        kind = "a folder" if path.is_dir() else "not a regular file"
        raise _refusal(path, f"it is {kind}, expected one sound file", "name a file")
    try:
        with path.open("rb") as file:
            empty = not file.read(1)
    except OSError as error:
        raise _refusal(path, f"it cannot be opened ({error.strerror})", "check the path and its permissions") from error
    if empty:
        raise _refusal(path, "it is empty (0 bytes), expected sound", "copy or record it again")


def _header(path: Path) -> AudioInfo | None:
    try:
        with soundfile.SoundFile(path) as file:
            if "lacks an end-of-stream" in file.extra_info:
                raise _cut(path, "its last Ogg page is missing")
            return AudioInfo(file.samplerate, file.channels, file.frames, file.format, file.subtype)
    except (soundfile.LibsndfileError, TypeError):  # TypeError: *.raw, which has no header
        return None


def _checked(path: Path, info: AudioInfo) -> AudioInfo:
    if info.frames == 0:
        raise _refusal(path, "it has a header but no samples, expected sound", "copy or record it again")
    if info.sample_rate not in _RATES:
        expected = f"expected {_RATES.start} to {_RATES.stop - 1} Hz"
        raise _refusal(path, f"its sample rate is {info.sample_rate} Hz, {expected}", "convert it")
    return info


def _header_is_enough(path: Path, info: AudioInfo) -> bool:
    """False where soundfile guesses: FLAC and MP3 without a length in their header, and W64 that may be float."""
    if info.container != "MP3":
        return info.frames < _UNKNOWN and (info.container, info.subtype) != ("W64", "PCM_32")
    with path.open("rb") as file:
        tag = file.read(10)
        if tag[:3] == b"ID3":  # its size has 7 bits a byte
            file.seek(sum(byte << shift for byte, shift in zip(tag[6:], (21, 14, 7, 0), strict=True)), os.SEEK_CUR)
        start = file.read(4096)
    return any(name in start for name in (b"Xing", b"Info", b"VBRI"))


def _missing_bytes(path: Path) -> int:
    """Bytes of samples a WAV, RF64 or AIFF header promises and the file lacks; soundfile just shortens the sound."""
    with path.open("rb") as file:
        magic = file.read(12)[:4]
        if magic not in (b"RIFF", b"RF64", b"FORM"):
            return 0
        layout, sound = (">4sI", b"SSND") if magic == b"FORM" else ("<4sI", b"data")
        wide = 0
        while len(head := file.read(8)) == 8:
            name, size = struct.unpack(layout, head)
            start = file.tell()
            if name == sound:
                streamed = size >= 0xFFFF0000 or 0x7FFF0000 <= size <= 0x80000000  # sizes a pipe writes for "unknown"
                size = wide if magic == b"RF64" and size == 0xFFFFFFFF else 0 if streamed else size
                return max(0, size - (path.stat().st_size - start))
            if name == b"ds64":
                wide = struct.unpack("<8xQ", file.read(16))[0]
            file.seek(start + size + size % 2)
    return 0


def _open_with_ffmpeg(path: Path) -> AudioSource:
    program = shutil.which("ffmpeg")
    if program is None:
        problem = "this kind of file, or one whose header does not tell enough, needs the ffmpeg program"
        raise AudioError(f"{path}: {problem}: apt-get install ffmpeg / brew install ffmpeg, or convert it to wav")
    scratch = tempfile.TemporaryDirectory(prefix="gansep-")
    try:
        decoded = Path(scratch.name, "decoded.wav")
        # -xerror: stop at damage instead of skipping it; file only: a playlist must not open the network.
        source = [program, "-nostdin", "-v", "error", "-xerror", "-protocol_whitelist", "file", "-i", f"file:{path}"]
        result = ["-map", "0:a:0", "-c:a", "pcm_f32le", "-rf64", "auto", str(decoded)]
        done = subprocess.run(source + result, capture_output=True, text=True, errors="replace")
        info = _header(decoded) if done.returncode == 0 else None
        if info is None:
            said = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise _refusal(path, f"ffmpeg cannot decode it ({said})", "check it, or convert it to wav")
        info = replace(info, container=path.suffix[1:].upper())
        return AudioSource(path, _checked(path, info), decoded, scratch)
    except BaseException:
        scratch.cleanup()
        raise
