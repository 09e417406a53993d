"""A stream through a causal network: the network's own answer, in time, at any rate and with any samples."""

from __future__ import annotations

import io
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from gansep.audio import resample
from gansep.audio.streaming import PipeFormat, decode, encode
from gansep.denoise import Denoising
from gansep.library import Card, save_model
from gansep.live import LiveDenoiser, denoise_stream, live_separator
from gansep.nets import precision
from gansep.nets.masknet import MaskNet
from gansep.nets.spectral import NetConfig
from gansep.types import AudioError, GansepError, ModelError

pytestmark = pytest.mark.usefixtures("nothing_packaged", "single_precision")


@pytest.fixture
def single_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    """What bfloat16 makes of a frame may differ with the frames beside it."""
    monkeypatch.setattr(precision, "gains_from_bfloat16", lambda _: False)


@pytest.fixture(scope="module")
def how(tmp_path_factory: pytest.TempPathFactory) -> Denoising:
    """A library of two networks of speech and noise: the first in order hears what comes after."""
    library = tmp_path_factory.mktemp("masks")
    for name, causal in (("speech-noise", False), ("speech-noise-live", True)):
        config = NetConfig(outputs=2, n_fft=128, hop=64, width=8, depth=2, causal=causal)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            weights = MaskNet(config, "irm").state_dict()
        settings = config.to_json() | {"target": "irm", "loss": "snr"}
        card = Card(name, settings, 16000, None, ("speech", "noise"), kind="mask")
        save_model(library / "mask" / name, weights, card)
    return Denoising(library=library, device="cpu")


def noise(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(shape[-1])) - 0.5


def offline(how: Denoising, wave: Tensor, source: int = 0) -> Tensor:
    """The network's answer to sound that silence follows. Shape: ``[T]`` to ``[T]``."""
    return live_separator(how)(F.pad(wave, (0, 128))[None]).waves[0, source, : len(wave)]


def play(live: LiveDenoiser, wave: Tensor, sizes: tuple[int, ...]) -> Tensor:
    pieces, at, wanted = [], 0, cycle(sizes)
    while at < wave.shape[-1]:
        size = next(wanted)
        pieces.append(live.push(wave[:, at : at + size]))
        at += size
    return torch.cat([*pieces, live.finish()], -1)


@pytest.mark.parametrize("length", [1, 63, 1000, 5055])
@pytest.mark.parametrize("sizes", [(17, 0, 400), (10_000,)])
def test_is_the_networks_answer_at_its_own_rate(how: Denoising, length: int, sizes: tuple[int, ...]) -> None:
    """Of every length, also those whose last sample is at the edge of the last frame."""
    wave = noise(1, length)
    live = LiveDenoiser(live_separator(how), 16000, 1, how)
    torch.testing.assert_close(play(live, wave, sizes)[0], offline(how, wave[0]), rtol=0, atol=1e-5)


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000])
@pytest.mark.parametrize("length", [1, 700, 30_000])
def test_other_rates(how: Denoising, rate: int, length: int) -> None:
    """In step with the recording, in which the network's band is."""
    there = resample(noise(1, length), 4000, 16000)  # of nothing above 2 kHz, which all these rates have
    wave = resample(there, 16000, rate)
    live = LiveDenoiser(live_separator(how), rate, 1, how)
    result = play(live, wave, (441, 0, 3000))
    assert result.shape == wave.shape
    if length == 30_000:
        expected = resample(offline(how, resample(wave, rate, 16000)[0]), 16000, rate)[: wave.shape[-1]]
        inside = slice(rate // 10, -rate // 10)  # resampling rings at the ends
        torch.testing.assert_close(result[0, inside], expected[inside], rtol=0, atol=1e-3)
        assert (result - wave)[0, inside].abs().max() > 0.05


@pytest.mark.parametrize("rate", [16000, 44100])
def test_strength_and_keep(how: Denoising, rate: int) -> None:
    wave, separator = noise(2, 20_000), live_separator(how)

    def with_(**changes: Any) -> Tensor:
        return play(LiveDenoiser(separator, rate, 2, replace(how, **changes)), wave, (999,))

    assert torch.equal(with_(strength=0.0), wave)  # also what is above the network's band
    speech, noise_ = with_(), with_(keep="noise")
    torch.testing.assert_close(with_(strength=0.25), 0.75 * wave + 0.25 * speech, rtol=0, atol=1e-5)
    assert (speech - noise_).abs().max() > 0.01


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
def test_latency_is_what_it_lags(how: Denoising, rate: int) -> None:
    """Never more than promised, and not much less at the worst."""
    live = LiveDenoiser(live_separator(how), rate, 1, how)
    out, lags = 0, []
    for heard in range(100, 3 * rate, 100):
        out += live.push(noise(1, 100)).shape[-1]
        lags.append((heard - out) / rate)
    assert max(lags) <= live.latency
    assert max(lags) > 0.6 * live.latency
    if rate == 16000:
        assert live.latency == 128 / 16000


@pytest.mark.parametrize("samples", ["s16le", "f32le"])
@pytest.mark.parametrize("channels", [1, 2])
def test_bytes(how: Denoising, samples: str, channels: int) -> None:
    """Blocks are written while the pipe is open, all samples come out, and they are what the denoiser says."""
    form = PipeFormat(samples, 16000, channels)
    data, _ = encode(noise(channels, 9001), form)
    source, written, lags = io.BytesIO(data), [], []

    def read(count: int) -> bytes:
        lags.append(source.tell() - sum(map(len, written)))
        return source.read(min(count, 999))

    separator = live_separator(how)
    done = denoise_stream(read, written.append, form, LiveDenoiser(separator, 16000, channels, how))
    assert max(lags) <= 128 * form.frame  # what was read is out, but for the latency, before more is read
    assert len(b"".join(written)) == len(data)
    assert (done.samples, done.clipped) == (9001, 0)
    assert done.seconds > 0
    expected = play(LiveDenoiser(separator, 16000, channels, how), decode(data, form), (5000,))
    step = 2.0**-15 if samples == "s16le" else 1e-6
    torch.testing.assert_close(decode(b"".join(written), form), expected, rtol=0, atol=step)


def test_what_is_past_full_scale_is_counted(how: Denoising) -> None:
    class Louder(LiveDenoiser):
        def push(self, block: Tensor) -> Tensor:
            return 2 * super().push(block)

    form = PipeFormat("s16le", 16000, 1)
    live = Louder(live_separator(how), 16000, 1, replace(how, strength=0.0))
    written: list[bytes] = []
    data = np.array([30_000] * 500 + [-3000] * 1000, "<i2").tobytes()
    assert denoise_stream(io.BytesIO(data).read, written.append, form, live).clipped == 500
    first, last = (np.frombuffer(part, "<i2").tolist() for part in written)
    assert first == [32767] * 500 + [-6000] * (len(first) - 500)
    assert last == [-3000] * (1500 - len(first))


def stream_of(how: Denoising, data: bytes, form: PipeFormat) -> tuple[list[bytes], str]:
    """What is written of a bad pipe, and what is said."""
    written: list[bytes] = []
    live = LiveDenoiser(live_separator(how), form.sample_rate, form.channels, how)
    with pytest.raises(AudioError) as error:
        denoise_stream(io.BytesIO(data).read, written.append, form, live)
    return written, str(error.value)


def test_what_came_before_the_trouble_is_written(how: Denoising) -> None:
    form = PipeFormat("f32le", 16000, 1)
    good = np.full(20_000, 0.1, np.float32).tobytes()
    written, said = stream_of(how, good + b"abc", form)
    assert len(b"".join(written)) == len(good)
    assert "cut short, 1 bytes of its sound are missing" in said
    written, said = stream_of(how, good + np.array([np.nan, 0.1], "<f4").tobytes(), form)
    assert len(b"".join(written)) == len(good)
    assert "NaN or Inf" in said
    written, said = stream_of(how, b"", form)
    assert written == []
    assert "ended before the first sample" in said


def test_samples_too_large_to_compute_with(how: Denoising) -> None:
    """Nothing of their block is written, and nothing after it; all of the blocks before."""
    form = PipeFormat("f32le", 16000, 1)
    values = np.full(40_000, 0.1, np.float32)
    values[20_000] = 3e38
    written, said = stream_of(how, values.tobytes(), form)
    assert "its samples are too large to compute with; scale it to full scale 1" in said
    wave = decode(b"".join(written), form)
    before = (1 << 16) // form.frame  # samples of the first block
    assert wave.isfinite().all()
    assert before - 128 <= wave.shape[-1] <= before


def test_models(how: Denoising, tmp_path: Path) -> None:
    """The causal one is found though another comes first; one that cannot is refused, whoever names it."""
    refused: list[tuple[dict[str, Any], type[GansepError], str]] = [
        ({"backend": "mask:model=speech-noise"}, ModelError, "speech-noise: a stream needs a causal tfconv network"),
        ({"model": "speech-noise"}, ModelError, "a stream needs a causal tfconv network, this one is not a causal"),
        ({"sources": ("a", "b")}, ModelError, r"no causal mask model of a\+b; .*; train one with .* --causal"),
        ({"backend": "mapping"}, GansepError, "a stream needs --backend mask, got mapping"),
        ({"backend": "mask:speed=1"}, ModelError, "mask has no option speed"),
        ({"keep": "music"}, GansepError, "cannot keep 'music', the model separates speech, noise"),
    ]
    assert live_separator(how).cards[0].name == "speech-noise-live"
    for changes, kind, said in refused:
        other = replace(how, **changes)
        with pytest.raises(kind, match=said):
            LiveDenoiser(live_separator(other), 16000, 1, other)


def test_sudden_silence_makes_no_click(how: Denoising) -> None:
    """A tone that stops anywhere in a frame ends as loud as it was."""
    tone = torch.sin(torch.arange(4000) * 0.3)[None]
    tops: list[float] = []
    for length in range(3000, 3064):
        live = LiveDenoiser(live_separator(how), 16000, 1, how)
        tops.append(float(play(live, tone[:, :length], (length,)).abs().max()))
    assert max(tops) < 1.2
