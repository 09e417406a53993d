"""Tensors to files: exact WAV or FLAC, built beside the target and moved there when whole; nothing clips silently.

A stem is kept as float until all stems' peaks, and so the gain they share, are known.
"""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

import numpy as np
import soundfile
import torch
from torch import Tensor

from gansep.types import OutputError

_BLOCK = 1 << 16  # frames encoded at a time
_WAV_LIMIT = 2**32 - 2**16  # bytes of samples; RIFF counts in 32 bits, its header needs a few
_BYTES = {"PCM_16": 2, "PCM_24": 3, "PCM_32": 4, "FLOAT": 4, "DOUBLE": 8}  # a sample
_SUBTYPES = {"wav": tuple(_BYTES), "flac": ("PCM_16", "PCM_24")}


def shared_gain(peaks: Iterable[float], subtype: str) -> float:
    """The largest gain, at most 1, that lets no stem leave the range of ``subtype``.

    Args:
        peaks: largest absolute sample of each stem, as :attr:`StemWriter.peak`.
        subtype: ``PCM_16``, ``PCM_24``, ``PCM_32``; ``FLOAT`` and ``DOUBLE`` have no limit.

    >>> shared_gain([0.5, 2.0], "FLOAT"), shared_gain([0.5, 0.9], "PCM_16"), shared_gain([2.0], "PCM_16") < 0.5
    (1.0, 1.0, True)
    """
    if subtype not in _BYTES:
        raise ValueError(f"unknown subtype {subtype!r}, expected one of {', '.join(_BYTES)}")
    highest = max(peaks, default=0.0)
    limit = 1 - 2.0 ** (1 - 8 * _BYTES[subtype])  # the largest positive number of that many bits
    return limit / highest if subtype.startswith("PCM") and highest > limit else 1.0


class StemWriter:
    """Collects a stem of any length as float on disk until its gain is known, then encodes it.

    Args:
        folder: where the temporary file goes, best beside the target; made if missing.
        sample_rate: in Hz.
        channels: ``C`` of every block.
    Attributes:
        frames: samples per channel so far.
        peak: largest absolute sample so far.
    Raises:
        OutputError: a folder that cannot be written, a full disk; nothing temporary stays behind.
    """

    def __init__(self, folder: str | Path, sample_rate: int, channels: int) -> None:
        self.sample_rate, self.channels = sample_rate, channels
        self.frames, self.peak = 0, 0.0
        self._temporary = _hidden(Path(folder), ".w64")  # W64 because a float stem can pass 4 GiB
        with _writing(self._temporary.parent, self._temporary):
            self._file = _create(self._temporary, sample_rate, channels, "W64", "FLOAT")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.discard()

    def append(self, wave: Tensor) -> None:
        """Add ``[C, T]`` samples; a ``ValueError`` if the shape is another or a sample is not finite."""
        if self._file.closed:
            raise ValueError("append needs an open StemWriter, this one is finished or discarded")
        if wave.ndim != 2 or wave.shape[0] != self.channels:
            raise ValueError(f"append needs [{self.channels}, T] samples, got {list(wave.shape)}")
        samples = wave.detach().to("cpu", torch.float32).T.contiguous().numpy()  # [T, C]
        if not np.isfinite(samples).all():
            raise ValueError("append needs finite samples, got NaN or Inf")
        with _writing(self._temporary.parent, self._temporary):
            self._file.write(samples)
        self.frames += len(samples)
        self.peak = max(self.peak, float(np.abs(samples).max(initial=0.0)))

    def finish(self, target: str | Path, gain: float = 1.0, format: str = "wav", subtype: str = "PCM_24") -> Path:
        """Encode everything appended, times ``gain``, into ``target``, which appears whole or not at all.

        Args:
            target: the file to write, replaced if there; its folder is made if missing.
            gain: one factor for all samples, see :func:`shared_gain`.
            format: ``wav`` (RF64 inside where 4 GiB are not enough) or ``flac``.
            subtype: ``PCM_16``, ``PCM_24``; for wav also ``PCM_32``, ``FLOAT``, ``DOUBLE``.
        Raises:
            ValueError: nothing to write, PCM samples beyond full scale, or a subtype the format does not have.
            OutputError: more channels than flac holds, or a target that cannot be written; then the stem is discarded.
        """
        target = Path(target)
        self._check_result(target, gain, format, subtype)
        encoded = _hidden(target.parent, f".{format}")
        with _writing(target, encoded, self._temporary):
            self._encode(encoded, gain, format, subtype)
            _seal(encoded, self.frames, stamped=not subtype.startswith("PCM"))
            encoded.replace(target)
        self.discard()
        return target

    def discard(self) -> None:
        """Remove the temporary file; harmless when there is none."""
        with suppress(soundfile.LibsndfileError):
            self._file.close()
        _remove(self._temporary)

    def _check_result(self, target: Path, gain: float, format: str, subtype: str) -> None:
        if subtype not in _SUBTYPES.get(format, ()):
            known = "; ".join(f"{name} with {', '.join(subtypes)}" for name, subtypes in _SUBTYPES.items())
            raise ValueError(f"{format} cannot hold {subtype} samples, expected {known}")
        if format == "flac" and self.channels > 8:
            raise OutputError(f"{target}: flac holds at most 8 channels, got {self.channels}; write wav instead")
        if self._file.closed or not self.frames:
            raise ValueError("finish needs an open StemWriter with samples appended")
        if subtype.startswith("PCM") and self.peak * gain > 1:
            raise ValueError(
                f"{subtype} would clip: peak {self.peak:.4g} times gain {gain:.4g} is above 1; "
                "take the gain of shared_gain, or subtype FLOAT"
            )

    def _encode(self, encoded: Path, gain: float, format: str, subtype: str) -> None:
        self._file.close()
        large = self.frames * self.channels * _BYTES[subtype] > _WAV_LIMIT
        container = "RF64" if format == "wav" and large else format.upper()
        with (
            soundfile.SoundFile(self._temporary) as stem,
            _create(encoded, self.sample_rate, self.channels, container, subtype) as result,
        ):
            while len(samples := stem.read(_BLOCK, always_2d=True)):  # [T, C] float64
                result.write(_quantised(samples * gain, subtype))


def write(path: str | Path, wave: Tensor, sample_rate: int, subtype: str = "PCM_24") -> Path:
    """Write ``[C, T]`` samples at once; the extension, ``.wav`` or ``.flac``, chooses the container.

    Raises:
        ValueError, OutputError: as :meth:`StemWriter.append` and :meth:`StemWriter.finish`.
    """
    path = Path(path)
    if wave.ndim != 2:
        raise ValueError(f"write needs [C, T] samples, got {list(wave.shape)}")
    with StemWriter(path.parent, sample_rate, wave.shape[0]) as stem:
        stem.append(wave)
        return stem.finish(path, 1.0, path.suffix[1:].lower(), subtype)


def _hidden(folder: Path, extension: str) -> Path:
    return folder / f".gansep-{uuid.uuid4().hex}{extension}"


def _create(path: Path, sample_rate: int, channels: int, container: str, subtype: str) -> soundfile.SoundFile:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()  # soundfile would not say why it failed
    return soundfile.SoundFile(path, "w", sample_rate, channels, subtype, format=container)


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink()


@contextmanager
def _writing(path: Path, *temporaries: Path) -> Iterator[None]:
    """Leave no temporary behind whatever goes wrong; a failed write becomes an :class:`OutputError`."""
    try:
        yield
    except BaseException as error:
        for temporary in temporaries:
            _remove(temporary)
        if not isinstance(error, OSError | soundfile.LibsndfileError):
            raise
        reason = (isinstance(error, OSError) and error.strerror) or "disk full, or file too large for it"
        remedy = "check free space and permissions there, or choose another folder"
        raise OutputError(f"{path}: it cannot be written ({reason}); {remedy}") from error


def _quantised(samples: np.ndarray, subtype: str) -> np.ndarray:
    """Round to the nearest PCM step (soundfile rounds down), left-justified in 32 bits; float stays as it is."""
    if not subtype.startswith("PCM"):
        return samples
    bits = 8 * _BYTES[subtype]
    full = 2.0 ** (bits - 1)
    steps = np.clip(np.rint(samples * full), -full, full - 1)  # full scale itself is one step too far
    return (steps * 2.0 ** (32 - bits)).astype(np.int32)


def _seal(path: Path, frames: int, *, stamped: bool) -> None:
    """Make sure a result is whole and on the disk, and the same for the same sound: its PEAK chunk holds the time."""
    if soundfile.info(path).frames != frames:  # libsndfile is silent where a FLAC's last block finds no room
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with path.open("r+b") as file:
        peak = file.read(4096).partition(b"data")[0].find(b"PEAK") if stamped else -1
        if peak >= 0:
            file.seek(peak + 12)  # name, size, version, then the time
            file.write(bytes(4))
        os.fsync(file.fileno())
