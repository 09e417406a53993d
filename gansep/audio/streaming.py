"""Sound that comes block by block: the bytes of a pipe to tensors and back, and from rate to rate on the way.

read(n) -> bytes, at most n of what is there, none at the end (as os.read) ... read_header -> blocks [C, n] -> encode
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import soxr
import torch
from torch import Tensor

from gansep.types import AudioError

Read = Callable[[int], bytes]

SAMPLES = {"u8": 1, "s16le": 2, "s24le": 3, "s32le": 4, "f32le": 4, "f64le": 8}  # bytes of each, as ffmpeg calls them

_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE  # format tags
_KINDS = {
    (_PCM, 8): "u8",
    (_PCM, 16): "s16le",
    (_PCM, 24): "s24le",
    (_PCM, 32): "s32le",
    (_FLOAT, 32): "f32le",
    (_FLOAT, 64): "f64le",
}
_FLOATS = {"f32le": "<f4", "f64le": "<f8"}
_UNKNOWN = 0xFFFFFFFF  # the size a pipe writes, which cannot go back to correct it
_BLOCK = 1 << 16  # bytes read at a time
_FULL = 2.0**31  # full scale of samples left-justified in 32 bits
_OFFSET = 128  # 8-bit samples have no sign


@dataclass(frozen=True)
class PipeFormat:
    """What samples of a pipe are.

    Attributes:
        samples: one of :data:`SAMPLES`. sample_rate: in Hz. channels: 1 or more, interleaved.
        size: bytes of sound that a header promises, ``None`` if nobody knows.
    Raises:
        AudioError: samples of another kind, no channel, or a rate outside 1 to 768 kHz.
    """

    samples: str
    sample_rate: int
    channels: int
    size: int | None = None

    def __post_init__(self) -> None:
        if self.samples not in SAMPLES:
            raise AudioError(f"unknown samples {self.samples!r}; expected one of {', '.join(SAMPLES)}")
        if self.channels < 1 or not 1000 <= self.sample_rate <= 768_000:
            said = f"got {self.channels} channels at {self.sample_rate} Hz"
            raise AudioError(f"a stream needs a channel or more and a rate of 1000 to 768000 Hz, {said}")

    @property
    def frame(self) -> int:
        """Bytes of one sample of every channel."""
        return SAMPLES[self.samples] * self.channels


def read_header(read: Read) -> PipeFormat:
    """Read a WAV header up to the first sample.

    Raises:
        AudioError: another kind of file, or samples that are neither PCM nor float.
    """
    start = _exactly(read, 12)
    if start[:4] not in (b"RIFF", b"RF64") or start[8:] != b"WAVE":
        raise AudioError(
            "stdin: it does not start with a WAV header; pipe in WAV, or say what the samples are, "
            "as --raw-input s16le --rate 48000 --channels 1"
        )
    samples, rate, channels, wide = "", 0, 0, 0
    while True:
        name, size = struct.unpack("<4sI", _exactly(read, 8))
        if name == b"data":
            break
        content = _exactly(read, size + size % 2)
        if name == b"ds64" and size >= 16:  # of RF64
            wide = struct.unpack("<8xQ", content[:16])[0]
        elif name == b"fmt " and size >= 16:
            tag, channels, rate, _, _, bits = struct.unpack("<HHIIHH", content[:16])
            if tag == _EXTENSIBLE and size >= 26:
                tag = struct.unpack("<H", content[24:26])[0]
            samples = _KINDS.get((tag, bits), f"format {tag} with {bits} bits")
    if not samples:
        raise AudioError("stdin: its WAV header does not say what the samples are (no fmt chunk); write it again")
    if start[:4] == b"RF64" and size == _UNKNOWN:
        return PipeFormat(samples, rate, channels, wide or None)
    streamed = size == 0 or size >= 0xFFFF0000 or 0x7FFF0000 <= size <= 0x80000000  # what pipes write for "unknown"
    return PipeFormat(samples, rate, channels, None if streamed else size)


def write_header(form: PipeFormat) -> bytes:
    """A WAV header for samples of this form; of unknown length where ``form.size`` is not known, or too large for it.

    >>> len(write_header(PipeFormat("s16le", 16000, 1)))
    44
    """
    tag, bits = next(key for key, samples in _KINDS.items() if samples == form.samples)
    rate, frame = form.sample_rate, form.frame
    about = struct.pack("<4sIHHIIHH", b"fmt ", 16, tag, form.channels, rate, rate * frame, frame, bits)
    size = _promised(form)
    whole = _UNKNOWN if size is None else 4 + len(about) + 8 + size + size % 2
    data = struct.pack("<4sI", b"data", _UNKNOWN if size is None else size)
    return struct.pack("<4sI4s", b"RIFF", whole, b"WAVE") + about + data


def padding(form: PipeFormat) -> bytes:
    """What comes after the samples that :func:`write_header` promises: a byte where their size is odd.

    >>> padding(PipeFormat("s24le", 16000, 1, size=3)), padding(PipeFormat("s24le", 16000, 1))
    (b'\\x00', b'')
    """
    return bytes((_promised(form) or 0) % 2)


def _promised(form: PipeFormat) -> int | None:
    """Bytes of sound that a header of ours can promise."""
    return form.size if form.size is not None and form.size < 0x7FFF0000 else None


def blocks(read: Read, form: PipeFormat) -> Iterator[Tensor]:
    """Samples as they come. What follows the sound in a WAV file is read and left out.

    Shape: ``[C, n]`` each, ``n`` from 1 up.
    Raises:
        AudioError: after the last block, a pipe that ends inside a sample or before its header says; after the samples
            before it, one that is NaN or Inf, or larger than float32 can be.
    """
    rest, left = b"", math.inf if form.size is None else form.size
    while left and (data := read(int(min(left, _BLOCK)))):
        left -= len(data)
        rest += data
        whole = len(rest) - len(rest) % form.frame
        if whole:
            wave = decode(rest[:whole], form)
            bad = (~wave.isfinite()).any(0).nonzero()
            good = int(bad[0]) if len(bad) else wave.shape[-1]
            if good:
                yield wave[:, :good]
            if len(bad):
                raise AudioError("stdin: it has NaN or Inf samples, expected finite ones; what came before is written")
            rest = rest[whole:]
    if rest or 0 < left < math.inf:
        missing = int(left) if 0 < left < math.inf else form.frame - len(rest)
        raise AudioError(f"stdin: cut short, {missing} bytes of its sound are missing; what came before is written")
    while form.size is not None and read(_BLOCK):
        pass


def decode(data: bytes, form: PipeFormat) -> Tensor:
    """Bytes of whole frames to samples, full scale 1; Inf where float32 cannot be as large.

    Shape: returns ``[C, n]`` float32.
    """
    if form.samples in _FLOATS:
        with np.errstate(over="ignore"):
            wave = np.frombuffer(data, _FLOATS[form.samples]).astype(np.float32)
    else:
        size = SAMPLES[form.samples]
        wide = np.zeros((len(data) // size, 4), np.uint8)
        wide[:, 4 - size :] = np.frombuffer(data, np.uint8).reshape(-1, size)
        wide[:, 3] ^= _OFFSET if form.samples == "u8" else 0
        wave = (wide.view("<i4")[:, 0] / _FULL).astype(np.float32)
    return torch.from_numpy(wave.reshape(-1, form.channels).T)


def encode(wave: Tensor, form: PipeFormat) -> tuple[bytes, int]:
    """Samples to bytes, rounded to the nearest step, and how many of them are past full scale and were clipped.

    Shape: takes ``[C, n]``.

    >>> encode(torch.tensor([[0.5, -2.0]]), PipeFormat("s16le", 16000, 1))
    (b'\\x00@\\x00\\x80', 1)
    """
    flat = wave.detach().to("cpu", torch.float64).T.reshape(-1).numpy()
    if form.samples in _FLOATS:
        return flat.astype(_FLOATS[form.samples]).tobytes(), 0
    size = SAMPLES[form.samples]
    full = 2.0 ** (8 * size - 1)
    steps = np.clip(np.rint(flat * full), -full, full - 1) * (_FULL / full)
    wide = steps.astype("<i4").view(np.uint8).reshape(-1, 4)
    wide[:, 3] ^= _OFFSET if form.samples == "u8" else 0
    return wide[:, 4 - size :].tobytes(), int((np.abs(flat) > 1).sum())


class StreamingResampler:
    """:func:`gansep.audio.resample` of a sound in pieces; samples as they are if the rates are equal.

    Args:
        from_rate: in Hz. to_rate: in Hz.
        channels: ``C`` of every piece.

    >>> stream = StreamingResampler(48000, 16000, 1)
    >>> sum(piece.shape[-1] for piece in (stream.push(torch.zeros(1, 48000)), stream.finish()))
    16000
    """

    def __init__(self, from_rate: int, to_rate: int, channels: int) -> None:
        self.from_rate, self.to_rate = from_rate, to_rate
        self._soxr = None if from_rate == to_rate else soxr.ResampleStream(from_rate, to_rate, channels)
        self._channels, self._heard, self._given = channels, 0, 0

    @property
    def latency(self) -> float:
        """Seconds that output lags input by at most, found by a second of silence through a filter like this one."""
        if self._soxr is None:
            return 0.0
        probe = soxr.ResampleStream(self.from_rate, self.to_rate, 1)
        step = max(1, self.from_rate // 1000)
        given, worst = 0, 0.0
        for heard in range(step, self.from_rate + 1, step):
            given += len(probe.resample_chunk(np.zeros((step, 1), np.float32)))
            worst = max(worst, heard / self.from_rate - given / self.to_rate)
        return worst

    def push(self, wave: Tensor) -> Tensor:
        """Samples that are ready. Shape: ``[C, n]``, ``n`` from 0 up, to ``[C, m]``."""
        return self._push(wave, last=False)

    def finish(self) -> Tensor:
        """The last samples, as many as bring all that came out to ``max(1, round(T * to_rate / from_rate))``.

        Shape: returns ``[C, m]``.
        """
        if self._soxr is None:
            return torch.zeros(self._channels, 0)
        left = max(1, round(self._heard * self.to_rate / self.from_rate)) - self._given
        # soxr rounds its length in its own way; one output sample of zeros more, and the end can be cut exactly.
        more = torch.zeros(self._channels, math.ceil(self.from_rate / self.to_rate))
        return self._push(more, last=True)[:, :left]

    def _push(self, wave: Tensor, last: bool) -> Tensor:
        if self._soxr is None:
            return wave
        self._heard += wave.shape[-1]
        out = self._soxr.resample_chunk(wave.to(torch.float32).T.contiguous().numpy(), last=last)
        self._given += len(out)
        return torch.from_numpy(out).T


def _exactly(read: Read, count: int) -> bytes:
    """``count`` bytes of a header, or 4096 where it is longer than any we read; all of it is gone then."""
    kept, left = b"", count
    while left:
        data = read(min(left, _BLOCK))
        if not data:
            raise AudioError("stdin: it ended inside its WAV header, expected sound; check what is piped in")
        left -= len(data)
        kept = (kept + data)[:4096]
    return kept
