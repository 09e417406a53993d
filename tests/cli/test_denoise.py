"""``gansep denoise``: files and pipes, what is printed where, what is refused, and the exit codes."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import torch.nn.functional as F
from torch import Tensor

from gansep.audio import read
from gansep.audio.streaming import SAMPLES
from gansep.backends.mask import Masks
from gansep.cli import main
from gansep.cli.denoise import RAW
from gansep.library import Card, load_separation, save_model
from gansep.library import search as search_module
from gansep.nets.masknet import MaskNet
from gansep.nets.spectral import NetConfig

Capture = pytest.CaptureFixture[str]
Denoise = Callable[..., int]
Pipe = Callable[..., "subprocess.CompletedProcess[bytes]"]
ROOT = Path(__file__).resolve().parents[2]
MODEL = "by mask/speech-noise, trained on not described\n"  # a note on what is used


@pytest.fixture(scope="session")
def masks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library with a causal network of random weights."""
    library = tmp_path_factory.mktemp("masks")
    config = NetConfig(outputs=2, n_fft=128, hop=64, width=8, depth=2, causal=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        weights = MaskNet(config, "irm").state_dict()
    settings = config.to_json() | {"target": "irm", "loss": "snr"}
    card = Card("speech-noise", settings, 16000, None, ("speech", "noise"), kind="mask")
    save_model(library / "mask" / "speech-noise", weights, card)
    return library


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_module, "_packaged", lambda: tmp_path / "packaged")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def denoise(masks: Path) -> Denoise:
    def run(*arguments: str | Path) -> int:
        return main(["denoise", *map(str, arguments), "--library", str(masks), "--progress", "none"])

    return run


def command(masks: Path, *flags: str) -> list[str]:
    return [sys.executable, "-m", "gansep", "denoise", "--stream", "--library", str(masks), "--device", "cpu", *flags]


ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


@pytest.fixture
def pipe(masks: Path) -> Pipe:
    """``pipe(data, "--strength", "0.5") -> CompletedProcess``: the command with these bytes on stdin."""

    def run(data: bytes, *flags: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(command(masks, *flags), input=data, capture_output=True, env=ENVIRONMENT, timeout=120)

    return run


def noise(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(shape[-1])) - 0.5


def sound(name: str, frames: int = 4000, rate: int = 16000, channels: int = 1, peak: float = 1.0) -> Path:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    wave = peak * noise(channels, frames).T.numpy()
    subtype = "FLOAT" if peak > 1 else "VORBIS" if name.endswith("ogg") else "PCM_16"
    soundfile.write(name, wave, rate, subtype, format=Path(name).suffix[1:])
    return Path(name)


def tree(folder: str | Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("*"))


def offline(masks: Path, wave: Tensor) -> Tensor:
    """The network's answer to sound that silence follows. Shape: ``[T]`` to ``[T]``."""
    separator = Masks(load_separation("mask", ("speech", "noise"), library=masks))
    return separator(F.pad(wave, (0, 128))[None]).waves[0, 0, : len(wave)]


# -- files -------------------------------------------------------------------------------------------------------------


def test_the_main_job(denoise: Denoise, capsys: Capture) -> None:
    sound("in/a.wav", 20_000, 44100, 2)
    sound("in/deep/b.flac")
    assert denoise("in") == 0
    assert capsys.readouterr() == ("denoised/a.wav\ndenoised/deep/b.flac\n", MODEL)
    assert tree("denoised") == ["a.wav", "deep", "deep/b.flac"]
    about = soundfile.info("denoised/a.wav")
    assert (about.frames, about.samplerate, about.channels, about.subtype) == (20_000, 44100, 2, "PCM_24")


def test_flags_reach_the_work(denoise: Denoise, masks: Path) -> None:
    mix = sound("mix.ogg", 9000, 22050)
    model = masks / "mask" / "speech-noise"
    assert denoise(mix, "-o", "a", "--strength", "0", "--float32") == 0
    assert denoise(mix, "-o", "b", "--keep", "noise", "--model", model, "--format", "flac") == 0
    assert denoise(mix, "-o", "c", "--sources", "noise, speech", "--format", "flac", "--backend", "mask") == 0
    assert denoise(mix, "-o", "d", "--keep", "noise", "--raw", "--format", "flac") == 0
    torch.testing.assert_close(read("a/mix.wav")[0], read(mix)[0], rtol=0, atol=1e-6)
    assert soundfile.info("a/mix.wav").subtype == "FLOAT"
    torch.testing.assert_close(read("b/mix.flac")[0], read("c/mix.flac")[0], rtol=0, atol=1e-6)
    assert (read("d/mix.flac")[0] - read("b/mix.flac")[0]).abs().max() > 0.01


def test_patterns(denoise: Denoise) -> None:
    for name in ("1.wav", "2.wav", "odd [1].wav"):
        sound(name)
    assert denoise("[12].wav", "odd [1].wav") == 0
    assert tree("denoised") == ["1.wav", "2.wav", "odd [1].wav"]


def test_exit_codes_and_lines(denoise: Denoise, capsys: Capture) -> None:
    Path("text.wav").write_text("once upon a time")
    assert denoise("text.wav", "missing.wav") == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert [line.split(": ")[:3] for line in err.splitlines()] == [
        ["gansep", "error", name] for name in ("text.wav", "missing.wav")
    ]
    assert denoise("text.wav", sound("good.wav")) == 1
    out, err = capsys.readouterr()
    assert out == "denoised/good.wav\n" and err.startswith(MODEL) and err.count("\n") == 2
    assert denoise("good.wav") == 2
    assert "denoised/good.wav exists already; use --overwrite" in capsys.readouterr().err
    assert denoise("good.wav", "--overwrite") == 0
    assert denoise("good.wav", "-o", ".", "--overwrite") == 2
    assert "no input is written over" in capsys.readouterr().err
    assert tree("denoised") == ["good.wav"]


def test_a_folder_without_sound(denoise: Denoise, capsys: Capture) -> None:
    assert denoise(".") == 2
    said = "no sound files in this folder; expected wav, flac, ogg, mp3 or the like"
    assert capsys.readouterr() == ("", f"gansep: error: .: {said}\n")


def test_a_softer_result_is_said(denoise: Denoise, capsys: Capture) -> None:
    assert denoise(sound("loud.wav", peak=8.0), "--strength", "0") == 0
    assert capsys.readouterr().out == "denoised/loud.wav  (at 0.250 of the input's level, so that nothing clips)\n"


def test_jobs(denoise: Denoise, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    wanted: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", wanted.append)
    assert denoise(sound("mix.wav"), "--jobs", "3") == 0
    assert wanted == [3]
    capsys.readouterr()
    assert denoise("mix.wav", "--jobs", "0") == 2
    assert capsys.readouterr().err == "gansep: error: --jobs must be at least 1, got 0\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "no input files given; name recordings or folders, or use --stream for a pipe"),
        (["mix.wav", "--strength", "2"], "strength must be in [0, 1], got 2.0"),
        (["mix.wav", "--strength", "much"], "invalid float value: 'much'"),
        (["mix.wav", "--keep", "music"], "cannot keep 'music'"),
        (["mix.wav", "--sources", "a,b"], "no mask model of a+b; installed ones have speech+noise"),
        (["mix.wav", "--model", "nobody"], "nobody"),
        (["mix.wav", "--backend", "mapping"], "no mapping model of speech+noise"),
        (["mix.wav", "--backend", "gan-prior"], "denoising needs --backend mask or mapping"),
        (["mix.wav", "--format", "mp3"], "invalid choice: 'mp3'"),
        (["mix.wav", "--format", "flac", "--float32"], "flac has no float samples"),
        (["mix.wav", "--rate", "16000"], "--rate: for streams, not without --stream"),
        (["mix.wav", "--raw-input", "s16le", "--channels", "0"], "--raw-input, --channels: for streams"),
        (["--stream", "mix.wav"], "the file mix.wav: for files, not with --stream"),
        (["--stream", "-o", "out", "--float32"], "-o, --float32: for files, not with --stream"),
        (["--stream", "--raw"], "--raw: a stream is always the network's own sound; leave it out"),
        (["--stream", "--raw-input", "s16le"], "--raw-input needs the sample rate, as --rate 48000"),
        (["--stream", "--rate", "16000"], "--rate and --channels are for --raw-input"),
        (["--stream", "--raw-input", "mp3"], "invalid choice: 'mp3'"),
        (["--stream", "--strength", "-1"], "strength must be in [0, 1], got -1.0"),
    ],
)
def test_bad_usage(denoise: Denoise, capsys: Capture, arguments: list[str], said: str) -> None:
    sound("mix.wav")
    assert denoise(*arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("gansep: error: ")
    assert said in err
    assert err.count("\n") == 1
    assert tree(".") == ["mix.wav"]


def test_flags_offer_what_there_is() -> None:
    assert set(RAW) <= set(SAMPLES)


# -- pipes -------------------------------------------------------------------------------------------------------------


def test_wav_in_wav_out(pipe: Pipe, masks: Path) -> None:
    """As a file: the same samples, rate and channels; notes on stderr only."""
    wave = noise(1, 20_001)
    source = io.BytesIO()
    soundfile.write(source, wave.T.numpy(), 16000, "PCM_16", format="WAV")
    done = pipe(source.getvalue())
    assert done.returncode == 0
    assert len(done.stdout) == len(source.getvalue())
    result, rate = soundfile.read(io.BytesIO(done.stdout), dtype="float32", always_2d=True)
    about = soundfile.info(io.BytesIO(done.stdout))
    assert (rate, result.shape, about.subtype) == (16000, (20_001, 1), "PCM_16")
    torch.testing.assert_close(torch.from_numpy(result[:, 0]), offline(masks, wave[0]), rtol=0, atol=1e-3)
    first, last = done.stderr.decode().splitlines()
    assert first == "latency 8 ms"
    assert last.startswith("real-time factor 0.") and last.endswith("s for 1.25 s of sound")


def test_an_odd_number_of_bytes(pipe: Pipe) -> None:
    """Is made even, as the header says."""
    source = io.BytesIO()
    soundfile.write(source, noise(1, 1001).T.numpy(), 16000, "PCM_24", format="WAV")
    done = pipe(source.getvalue())
    assert done.returncode == 0
    assert len(done.stdout) == 44 + 3003 + 1
    assert int.from_bytes(done.stdout[4:8], "little") == len(done.stdout) - 8
    assert done.stdout[-1:] == b"\0"
    assert soundfile.info(io.BytesIO(done.stdout)).frames == 1001


def test_another_rate_and_no_length(pipe: Pipe) -> None:
    """What ffmpeg writes into a pipe can be read, and what is written into one."""
    wave = noise(2, 30_000).T.numpy()
    source = io.BytesIO()
    soundfile.write(source, wave, 48000, "FLOAT", format="WAV")
    data = bytearray(source.getvalue())
    at = data.index(b"data") + 4
    data[4:8] = data[at : at + 4] = b"\xff" * 4
    done = pipe(bytes(data), "--strength", "0")
    assert done.returncode == 0
    result, rate = soundfile.read(io.BytesIO(done.stdout), dtype="float32")
    assert rate == 48000
    np.testing.assert_allclose(result, wave, atol=1e-7)
    first = done.stderr.decode().splitlines()[0]
    assert first.startswith("latency ") and first.endswith("works at 16000 Hz, so what lies above 8 kHz is lost")
    assert float(first.split()[1]) > 8


@pytest.mark.parametrize("samples", RAW)
def test_raw_samples_in_odd_pieces(masks: Path, samples: str) -> None:
    """A microphone's bytes, cut anywhere; what was said is heard before the pipe ends."""
    wave = noise(1, 9001)
    kind, full = ("<i2", 32768) if samples == "s16le" else ("<f4", 1)
    data = (wave[0].numpy() * full).astype(kind).tobytes()
    expected = offline(masks, torch.from_numpy(np.frombuffer(data, kind).astype(np.float32) / full))
    flags = ["--raw-input", samples, "--rate", "16000", "--channels", "1", "-q"]
    with subprocess.Popen(
        command(masks, *flags), bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=ENVIRONMENT,
    ) as process:  # fmt: skip
        assert process.stdin and process.stdout and process.stderr
        half = 4500 * len(data) // 9001 + 1  # in the middle of a sample
        for at in range(0, half, 1001):
            process.stdin.write(data[at : min(at + 1001, half)])
        early = b""
        while len(early) < (4500 - 128) * len(data) // 9001 - 4:  # or it hangs here
            early += process.stdout.read(1 << 16)
        rest, err = process.communicate(data[half:], timeout=60)
    assert (process.returncode, err) == (0, b"")
    result = np.frombuffer(early + rest, kind).astype(np.float32) / full
    torch.testing.assert_close(torch.from_numpy(result), expected, rtol=0, atol=1e-3)  # may compute in bfloat16


@pytest.mark.parametrize(
    ("data", "flags", "said"),
    [
        (b"fLaC" + bytes(100), (), "stdin: it does not start with a WAV header"),
        (b"", (), "stdin: it ended inside its WAV header"),
        (b"", ("--raw-input", "s16le", "--rate", "16000"), "stdin: it ended before the first sample"),
        (b"abc", ("--raw-input", "s16le", "--rate", "16000"), "stdin: cut short, 1 bytes of its sound are missing"),
        (b"", ("--raw-input", "s16le", "--rate", "10"), "a rate of 1000 to 768000 Hz, got 1 channels at 10 Hz"),
        (b"", ("--raw-input", "s16le", "--rate", "16000", "--channels", "0"), "got 0 channels at 16000 Hz"),
        (b"", ("--sources", "a,b"), "no causal mask model of a+b"),
        (b"", ("--backend", "mapping"), "a stream needs --backend mask, got mapping"),
    ],
)
def test_bad_pipes(
    data: bytes,
    flags: tuple[str, ...],
    said: str,
    denoise: Denoise,
    capfdbinary: pytest.CaptureFixture[bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read_end, write_end = os.pipe()
    os.write(write_end, data)
    os.close(write_end)
    with open(read_end) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        assert denoise("--stream", "-q", *flags) == 2
    err = capfdbinary.readouterr().err.decode()
    assert err.startswith("gansep: error: ")
    assert said in err
    assert err.count("\n") == 1


def test_a_terminal_is_no_pipe(denoise: Denoise, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal, other = os.openpty()
    with open(other) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        assert denoise("--stream") == 2
    os.close(terminal)
    assert "not to a terminal; use < and >" in capsys.readouterr().err


@pytest.mark.parametrize("end", ["stdin", "stdout"])
def test_a_closed_end(denoise: Denoise, capsys: Capture, monkeypatch: pytest.MonkeyPatch, end: str) -> None:
    """As ``<&-`` leaves it."""
    with monkeypatch.context() as closed:
        closed.setattr(sys, end, None)
        assert denoise("--stream") == 2
    said = "--stream reads sound from stdin and writes it to stdout, got one closed; use < and >"
    assert capsys.readouterr().err == f"gansep: error: {said}\n"


@pytest.mark.skipif(os.name == "nt", reason="signals differ there")
def test_ctrl_c(masks: Path) -> None:
    flags = ["--raw-input", "s16le", "--rate", "16000"]
    with subprocess.Popen(
        command(masks, *flags), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT
    ) as process:
        assert process.stdin and process.stderr
        assert process.stderr.readline() == b"latency 8 ms\n"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, b"gansep: interrupted\n")
