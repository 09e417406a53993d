"""Bytes of a pipe to samples and back, against soundfile; WAV headers of all kinds; resampling in pieces."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from gansep.audio import resample
from gansep.audio.streaming import (
    SAMPLES,
    PipeFormat,
    StreamingResampler,
    blocks,
    decode,
    encode,
    padding,
    write_header,
)
from gansep.audio.streaming import read_header as read_wav_header
from gansep.types import AudioError

SUBTYPES = {
    "u8": "PCM_U8",
    "s16le": "PCM_16",
    "s24le": "PCM_24",
    "s32le": "PCM_32",
    "f32le": "FLOAT",
    "f64le": "DOUBLE",
}


def noise(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(shape[-1])) * 1.8 - 0.9


def wav(wave: Tensor, rate: int = 16000, subtype: str = "PCM_16", kind: str = "WAV") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, wave.T.numpy(), rate, subtype, format=kind)
    return file.getvalue()


def dripping(data: bytes, sizes: tuple[int, ...] = (1, 7, 300, 2)) -> Callable[[int], bytes]:
    """A pipe that gives odd numbers of bytes."""
    file, calls = io.BytesIO(data), iter(range(10**9))
    return lambda count: file.read(min(count, sizes[next(calls) % len(sizes)]))


@pytest.mark.parametrize("samples", SAMPLES)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", ["WAV", "WAVEX", "RF64"])
def test_reads_what_soundfile_writes(samples: str, channels: int, kind: str) -> None:
    data = wav(noise(channels, 501), 22050, SUBTYPES[samples], kind)
    read = dripping(data)
    form = read_wav_header(read)
    assert form == PipeFormat(samples, 22050, channels, 501 * channels * SAMPLES[samples])
    wave = torch.cat(list(blocks(read, form)), -1)
    expected, _ = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
    torch.testing.assert_close(wave, torch.from_numpy(expected.T), rtol=0, atol=0)


@pytest.mark.parametrize("samples", SAMPLES)
@pytest.mark.parametrize("size", [None, 1])
def test_soundfile_reads_what_is_written(samples: str, size: int | None) -> None:
    """With a length in the header and without."""
    wave = noise(2, 300)
    form = PipeFormat(samples, 48000, 2, size and 600 * SAMPLES[samples])
    data, clipped = encode(wave, form)
    assert clipped == 0
    assert len(data) == 600 * SAMPLES[samples]
    result, rate = soundfile.read(io.BytesIO(write_header(form) + data), dtype="float32", always_2d=True)
    assert rate == 48000
    step = {"u8": 2.0**-8, "s16le": 2.0**-16, "s24le": 2.0**-24}.get(samples, 0.0)  # half of one
    torch.testing.assert_close(torch.from_numpy(result.T), wave, rtol=0, atol=step + 1e-7)


@pytest.mark.parametrize(
    ("samples", "size", "bytes_"),
    [("s24le", 3003, 1), ("u8", 1, 1), ("s24le", 3006, 0), ("u8", None, 0), ("u8", 0x7FFFFFFF, 0)],
)
def test_padding(samples: str, size: int | None, bytes_: int) -> None:
    """So that chunks are of even size, as soundfile writes them; where the header promises nothing, none."""
    form = PipeFormat(samples, 16000, 1, size)
    assert padding(form) == bytes(bytes_)
    if size == 3003:
        silence = write_header(form) + bytes(size) + padding(form)
        assert silence == wav(torch.zeros(1, 1001), subtype="PCM_24")


@pytest.mark.parametrize("samples", SAMPLES)
def test_bytes_are_the_same_after_a_round_trip(samples: str) -> None:
    form = PipeFormat(samples, 16000, 2)
    values = np.random.default_rng(0)
    if samples in ("f32le", "f64le"):
        data = values.standard_normal(400).astype(np.float32).astype("<f4" if samples == "f32le" else "<f8").tobytes()
    else:
        data = values.bytes(400 * SAMPLES[samples])
    if samples == "s32le":  # float32 has 24 of its bits
        data = bytes(byte if at % 4 else 0 for at, byte in enumerate(data))
    assert encode(decode(data, form), form) == (data, 0)


def test_clipping_is_counted() -> None:
    wave = torch.tensor([[1.0, -1.0, 1.5, -3.0, 0.25]])
    data, clipped = encode(wave, PipeFormat("s16le", 16000, 1))
    assert np.frombuffer(data, "<i2").tolist() == [32767, -32768, 32767, -32768, 8192]
    assert clipped == 2  # full scale itself is a step too far, as in files
    assert encode(wave, PipeFormat("f32le", 16000, 1)) == (np.array([1, -1, 1.5, -3, 0.25], "<f4").tobytes(), 0)


# -- headers -----------------------------------------------------------------------------------------------------------


def chunk(name: bytes, content: bytes, size: int | None = None) -> bytes:
    return struct.pack("<4sI", name, len(content) if size is None else size) + content + bytes(len(content) % 2)


RIFF = b"RIFF\0\0\0\0WAVE"
FMT = chunk(b"fmt ", struct.pack("<HHIIHH", 1, 1, 8000, 16000, 2, 16))


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 0xFFFFFF00, 0x7FFFFFFF, 0x80000000, 0x7FFFF000])
def test_sizes_that_pipes_write_mean_that_nobody_knows(size: int) -> None:
    read = dripping(b"RIFF\xff\xff\xff\xffWAVE" + FMT + chunk(b"data", b"abcdef", size))
    form = read_wav_header(read)
    assert form == PipeFormat("s16le", 8000, 1, None)
    assert sum(block.shape[-1] for block in blocks(read, form)) == 3


def test_other_chunks_are_left_out() -> None:
    before, after = chunk(b"LIST", bytes(100_001)), chunk(b"LIST", b"INFO" * 20_000)
    file = io.BytesIO(RIFF + before + FMT + chunk(b"odd!", b"x") + chunk(b"data", b"abcdef") + after)
    form = read_wav_header(file.read)
    (block,) = blocks(file.read, form)
    assert (block * 32768).tolist() == [[25185.0, 25699.0, 26213.0]]
    assert file.read() == b""  # whoever writes the pipe can end


def test_header_of_ffmpegs_pipe() -> None:
    """The 78 bytes it writes before samples whose number it cannot know."""
    about = chunk(b"fmt ", struct.pack("<HHIIHH", 1, 2, 44100, 176400, 4, 16))
    info = chunk(b"LIST", b"INFOISFT\x0e\0\0\0Lavf60.16.100\0")
    head = b"RIFF\xff\xff\xff\xffWAVE" + about + info + b"data\xff\xff\xff\xff"
    assert len(head) == 78
    assert read_wav_header(io.BytesIO(head).read) == PipeFormat("s16le", 44100, 2, None)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "it ended inside its WAV header"),
        (RIFF + FMT[:-3], "it ended inside its WAV header"),
        (b"fLaC" + bytes(100), "does not start with a WAV header; pipe in WAV, or say what the samples are"),
        (b"RIFF\0\0\0\0AVI " + bytes(100), "does not start with a WAV header"),
        (RIFF + chunk(b"data", b"abcd"), "no fmt chunk"),
        (
            RIFF + FMT.replace(b"\x01\0\x01\0", b"\x11\0\x01\0") + chunk(b"data", b""),
            "format 17 with 16",
        ),
        (
            RIFF + FMT.replace(b"\x01\0\x01\0", b"\x01\0\0\0") + chunk(b"data", b""),
            "got 0 channels at 80",
        ),
        (RIFF + FMT.replace(b"\x40\x1f", b"\0\0") + chunk(b"data", b""), "1 channels at 0 Hz"),
    ],
)
def test_headers_that_are_none(data: bytes, said: str) -> None:
    with pytest.raises(AudioError, match=said) as error:
        read_wav_header(dripping(data))
    assert "\n" not in str(error.value)


# -- what goes wrong later ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "data", "missing"), [(None, b"abcdefg", 1), (20, b"abcdefg", 13), (7, b"abcdefg--", 1), (8, b"abcd", 4)]
)
def test_what_is_cut_short_is_given_and_then_said(size: int | None, data: bytes, missing: int) -> None:
    read, given = dripping(data), []
    with pytest.raises(AudioError, match=f"cut short, {missing} bytes of its sound are missing"):
        given.extend(blocks(read, PipeFormat("s16le", 8000, 2, size)))
    assert sum(block.shape[-1] for block in given) == 1


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_numbers_that_are_not_finite(value: float) -> None:
    data = np.array([0.5, value], "<f8").tobytes()
    with pytest.raises(AudioError, match="NaN or Inf"):
        list(blocks(io.BytesIO(data).read, PipeFormat("f64le", 8000, 1)))


@pytest.mark.parametrize("at", [0, 1, 20_000])
def test_what_comes_before_a_number_that_is_not_finite_is_given(at: int) -> None:
    """Up to the frame that it is in, whichever channel has it, and nothing after."""
    wave = noise(2, 30_000)
    broken = wave.clone()
    broken[1, at] = torch.nan
    data, given = broken.T.numpy().astype("<f4").tobytes(), [torch.zeros(2, 0)]
    with pytest.raises(AudioError, match="NaN or Inf"):
        given.extend(blocks(io.BytesIO(data).read, PipeFormat("f32le", 8000, 2)))
    assert torch.equal(torch.cat(given, -1), wave[:, :at])


def test_forms_that_cannot_be() -> None:
    for wrong, said in (
        (("mp3", 8000, 1), "unknown samples 'mp3'"),
        (("s16le", 8000, 0), "got 0 channels at 8000 Hz"),
        (("s16le", 0, 1), "got 1 channels at 0 Hz"),
        (("s16le", -8000, 1), "got 1 channels at -8000 Hz"),
    ):
        with pytest.raises(AudioError, match=said):
            PipeFormat(*wrong)


# -- rates -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rate", "to"), [(44100, 16000), (16000, 44100), (8000, 16000), (48000, 16000), (16000, 16000)]
)
@pytest.mark.parametrize("length", [1, 2, 1000, 30_001])
def test_resampling_in_pieces_is_resampling(rate: int, to: int, length: int) -> None:
    wave, stream = noise(2, length), StreamingResampler(rate, to, 2)
    pieces, at, size = [], 0, 0
    while at < length:
        pieces.append(stream.push(wave[:, at : at + size]))
        at, size = at + size, (3 * size + 1) % 4001  # also no samples at all
    result = torch.cat([*pieces, stream.finish()], -1)
    torch.testing.assert_close(result, resample(wave, rate, to), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("rate", "to"), [(44100, 16000), (16000, 48000), (16000, 16000)])
def test_latency_is_the_most_it_lags(rate: int, to: int) -> None:
    stream = StreamingResampler(rate, to, 1)
    heard = given = 0
    lags = []
    for size in [37] * (3 * rate // 37):
        heard, given = heard + size, given + stream.push(noise(1, size)).shape[-1]
        lags.append(heard / rate - given / to)
    assert max(lags) == pytest.approx(stream.latency, abs=0.002)
    assert (stream.latency == 0) == (rate == to)
