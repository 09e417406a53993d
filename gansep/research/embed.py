"""Sounds of a page: players and pictures as ``data:`` addresses, 16-bit FLAC and palette PNG, which it holds itself.

PNG after the W3C recommendation "Portable Network Graphics" (third edition, 2025), without matplotlib: colour type 3,
one byte a pixel, rows unfiltered.
"""

from __future__ import annotations

import base64
import io
import math
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
import soundfile
from torch import Tensor

from gansep.dsp.frames import split
from gansep.plots import spectrogram

FULL = 32767 / 32768  # the largest 16-bit sample
HEAT = ("000004", "1c1044", "50127b", "812581", "b6367a", "e55064", "fb8761", "fec287", "fcfdbf")  # as magma
SHARE = ("10141c", "1d3450", "2a587c", "418098", "6da7a9", "a9cdbb", "f0f6e2")
TICKS_HZ = (250, 1000, 4000, 16000)
CLEAR = 0  # colour of pixels without a value


@dataclass(frozen=True)
class Sound:
    """Something to listen to: ``wave [C, T]`` and its rate in Hz."""

    wave: Tensor
    sample_rate: int


def common_gain(sounds: Mapping[str, Sound], title: str) -> tuple[float, str]:
    """The gain that brings the loudest sound to full scale, and that sound's name; 1 where all are silent."""
    for name, sound in sounds.items():
        if sound.wave.ndim != 2 or not 1 <= sound.wave.shape[0] <= 8 or not sound.wave.shape[1]:
            raise ValueError(f"{title}, {name}: expected 1 to 8 channels [C, T], got {list(sound.wave.shape)}")
        if not sound.wave.isfinite().all() or sound.sample_rate < 1:
            raise ValueError(f"{title}, {name}: expected finite samples and a rate in Hz, got {sound.sample_rate} Hz")
    peaks = {name: float(sound.wave.abs().max()) for name, sound in sounds.items()}
    loudest = max(peaks, key=peaks.__getitem__)
    return (FULL / peaks[loudest] if peaks[loudest] > 0 else 1.0), loudest


def image_of(sound: Sound, gain: float) -> np.ndarray:
    """Spectrogram of what is played, dB, ``[64, N]``."""
    wave = sound.wave.detach().cpu().double() * gain
    return spectrogram(lambda segment, hop: split(wave, segment, hop), wave.shape[1], sound.sample_rate)


def alike(sound: Sound, mixture: Sound) -> bool:
    """Whether the pictures of two sounds have the same points."""
    return sound.sample_rate == mixture.sample_rate and sound.wave.shape[1] == mixture.wave.shape[1]


def player(name: str, sound: Sound, gain: float, pictures: Mapping[str, bytes]) -> str:
    """HTML of a player and its pictures, by kind, with axes."""
    text, seconds = escape(name), sound.wave.shape[1] / sound.sample_rate
    source = data_uri("audio/flac", flac(sound.wave.detach().cpu(), sound.sample_rate, gain))
    shown = "".join(
        f'<img class="{kind}" alt="{kind}: {text}" src="{data_uri("image/png", image)}">'
        for kind, image in pictures.items()
    )
    top = sound.sample_rate / 2
    hertz = "".join(
        f'<b style="bottom:{100 * _mel(at) / _mel(top):.1f}%">{at / 1000:g}</b>' for at in TICKS_HZ if at < 0.9 * top
    )
    step = next(step for step in (10.0**n * m for n in range(-4, 9) for m in (1, 2, 5)) if seconds / step <= 5)
    times = [n * step for n in range(math.floor(seconds / step + 1e-9) + 1)]
    ticks = "".join(f'<b style="left:{100 * at / seconds:.1f}%">{at:g}</b>' for at in times)
    return (
        f'<div class="sound{" maskless" if len(pictures) == 1 else ""}"><audio controls preload="none" '
        f'aria-label="{text}" data-seconds="{seconds:.3f}" src="{source}"></audio>\n'
        f'<div class="plot"><div class="hertz" aria-hidden="true">{hertz}</div><div class="view">{shown}</div>'
        f'<div class="seconds" aria-hidden="true">{ticks}</div></div></div>'
    )


def _mel(frequency: float) -> float:
    import librosa  # slow to import

    return float(librosa.hz_to_mel(frequency))  # Slaney's scale, as the bands of log_mel


def data_uri(mime: str, content: bytes) -> str:
    """``content`` as an address.

    >>> data_uri("image/png", b"abc")
    'data:image/png;base64,YWJj'
    """
    return f"data:{mime};base64,{base64.b64encode(content).decode('ascii')}"


def flac(wave: Tensor, sample_rate: int, gain: float = 1.0) -> bytes:
    """``[C, T]`` times ``gain`` as a 16-bit FLAC file, each sample rounded to the nearest step."""
    steps = np.rint(wave.double().numpy() * gain * 32768).clip(-32768, 32767).astype(np.int16)
    file = io.BytesIO()
    soundfile.write(file, steps.T, sample_rate, "PCM_16", format="FLAC")
    return file.getvalue()


def heat_map(image: np.ndarray, low: float, high: float) -> bytes:
    """``[F, N]`` from ``low`` (dark) to ``high`` (bright) as a PNG, the first row at the bottom."""
    return _png(_indices((image - low) / (high - low)), HEAT)


def share_map(stem: np.ndarray, mixture: np.ndarray, floor: float) -> bytes:
    """Share ``|stem| / |mixture|`` in 0 to 1 as a PNG; clear where the mixture is silent.

    Args:
        stem, mixture: ``[F, N]`` in dB. floor: dB of silence.
    """
    share = 10 ** ((stem - mixture) / 20) * (stem > floor)
    return _png(np.where(mixture > floor, _indices(share), CLEAR), SHARE)


def gradient(stops: Sequence[str]) -> str:
    """The colours as the stops of a CSS gradient."""
    return ", ".join(f"#{stop}" for stop in stops)


def _indices(share: np.ndarray) -> np.ndarray:
    """0 to 1 to the colours 1 to 255."""
    return 1 + np.rint(share.clip(0, 1) * 254).astype(np.uint8)


def _png(pixels: np.ndarray, stops: Sequence[str]) -> bytes:
    """``[F, N]`` indices of a palette that runs through ``stops``, colour 0 being transparent."""
    at = np.linspace(0, len(stops) - 1, 255)
    channels = np.array([list(bytes.fromhex(stop)) for stop in stops])
    colours = np.stack([np.interp(at, np.arange(len(stops)), channel) for channel in channels.T], 1)  # [255, 3]
    palette = bytes(3) + np.rint(colours).astype(np.uint8).tobytes()
    height, width = pixels.shape
    rows = np.pad(pixels[::-1].astype(np.uint8), ((0, 0), (1, 0)))  # each row after its filter type, 0
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        (
            _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
            _chunk(b"PLTE", palette),
            _chunk(b"tRNS", b"\0"),
            _chunk(b"IDAT", zlib.compress(rows.tobytes(), 9)),
            _chunk(b"IEND", b""),
        )
    )


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
