"""The examples run as their first lines say, write what they promise, and what they say of it is so."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from gansep.library import find_models, read_card
from gansep.metrics import log_spectral_distance, si_sdr, spectral_snr

ROOT = Path(__file__).resolve().parent.parent
RATE = 16000


def run(name: str, *arguments: str | Path) -> str:
    """What ``examples/name.py`` prints."""
    command = [sys.executable, str(ROOT / "examples" / f"{name}.py"), *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def wave(path: Path) -> torch.Tensor:
    """A mono file that must be finite and not silent, ``[T]``."""
    samples, rate = soundfile.read(path)
    assert rate == RATE
    assert np.isfinite(samples).all() and np.abs(samples).max() > 1e-3
    return torch.from_numpy(samples)


def picture(path: Path) -> None:
    content = path.read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n" and content[-8:-4] == b"IEND"


def printed(text: str, before: str) -> list[float]:
    """Numbers that follow some words, one a line that has them."""
    return [float(number) for number in re.findall(rf"{re.escape(before)} ([-+]?[\d.]+)", text)]


def has(model: str) -> bool:
    return any(found.reference == model for found in find_models())


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("dog_barks", (), "the following arguments are required: FOLDER"),
        ("dog_barks", ("nowhere",), "nowhere: no such file or folder; check the path"),
        ("dog_barks", ("empty",), "empty: 0 recordings, expected two at least; one is kept to listen to"),
        ("dog_barks", ("empty", "out", "0"), "STEPS must be at least 1, got 0"),
        ("drum_kit_walk", ("out", "nobody"), "no gan model 'nobody'"),
        ("denoise_sentence", ("file",), "file: it cannot be written"),
        ("extract_each_source", ("file",), "file: it cannot be written"),
        ("extract_each_source", ("out", "more"), "unrecognized arguments: more"),
    ],
)
def test_wrong_arguments_end_in_a_line(
    name: str,
    arguments: tuple[str, ...],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    Path("file").write_text("no folder")
    program = str(ROOT / "examples" / f"{name}.py")
    monkeypatch.setattr(sys, "argv", [program, *arguments])
    with pytest.raises(SystemExit, match="2"):
        runpy.run_path(program, run_name="__main__")
    out, err = capsys.readouterr()
    assert out == "" and err.splitlines()[-1].startswith(f"{name}.py: error: {said}")


def test_a_sentence_comes_out_of_noise(tmp_path: Path) -> None:
    said = run("denoise_sentence", tmp_path)
    noisy, clean = wave(tmp_path / "noisy.wav"), wave(tmp_path / "clean.wav")
    snr = 10 * torch.log10(clean.square().mean() / (noisy - clean).square().mean())
    assert float(snr) == pytest.approx(0.0, abs=0.01)
    picture(tmp_path / "denoised.png")
    for backend in ("mask", "autoencoder"):
        if not has(f"{backend}/speech-noise"):
            assert f"{backend}: no model speech-noise is installed" in said
            continue
        heard = wave(tmp_path / backend / "noisy.wav")
        assert printed(said, f"{backend}: SI-SDR") == pytest.approx([float(si_sdr(heard, clean))], abs=0.06)
        assert spectral_snr(heard, clean) > spectral_snr(noisy, clean) + 2


@pytest.mark.slow
def test_each_source_comes_out_of_the_mixture(tmp_path: Path) -> None:
    said = run("extract_each_source", tmp_path)
    mixture = wave(tmp_path / "mixture.wav")
    picture(tmp_path / "extracted.png")
    methods = ["gan-prior"] + ["autoencoder"] * has("autoencoder/digits-drums-piano")
    for method in methods:
        stems = {name: wave(tmp_path / method / "mixture" / f"{name}.wav") for name in ("digits", "drums", "piano")}
        assert (torch.stack(list(stems.values())).sum(0) - mixture).abs().max() < 1e-4
        for name, stem in stems.items():
            clip = wave(ROOT / "tests" / "clips" / f"{name}.flac")
            better = float(si_sdr(stem, clip) - si_sdr(mixture, clip))
            assert printed(said, f"{method}: {name}") == pytest.approx([better], abs=0.06)
            assert better > 2


@pytest.mark.slow
def test_a_walk_through_drums_gets_brighter(tmp_path: Path) -> None:
    said = run("drum_kit_walk", tmp_path)
    walks = {name: wave(tmp_path / f"{name}.wav").unflatten(0, (8, -1)) for name in ("random", "between", "centroid")}
    for name in walks:
        picture(tmp_path / f"{name}.png")
    magnitude = np.abs(np.fft.rfft(walks["centroid"].numpy()))
    centroid = (magnitude * np.fft.rfftfreq(walks["centroid"].shape[1], 1 / RATE)).sum(1) / magnitude.sum(1)
    line = next(line for line in said.splitlines() if "along the walk:" in line)
    assert [float(number) for number in re.findall(r"\d+", line)] == pytest.approx(centroid, rel=0.01)
    assert np.all(np.diff(centroid) > 0) and centroid[-1] > 1.3 * centroid[0]
    snare = wave(ROOT / "tests" / "clips" / "drums.flac")[: walks["between"].shape[1]]
    far = log_spectral_distance(walks["between"] / walks["between"].abs().max(), snare / snare.abs().max())
    assert far[0] < far[-1]  # it begins with the snare that it heard


@pytest.mark.slow
def test_barks_are_learned_and_heard(tmp_path: Path) -> None:
    """Bursts of a few harmonics, which a handful of steps only begins to learn."""
    folder, out, random = tmp_path / "barks", tmp_path / "out", np.random.default_rng(0)
    folder.mkdir()
    time = np.arange(1.5 * RATE) / RATE
    for number in range(6):
        tones = [np.sin(2 * np.pi * part * random.uniform(300, 500) * time) / part for part in (1, 2, 3)]
        soundfile.write(folder / f"dogbark_{number}.wav", 0.4 * np.sum(tones, 0) * np.exp(-8 * (time % 0.5)), RATE)
    soundfile.write(folder / "rain.wav", random.uniform(-1, 1, 100), RATE)  # no bark
    said = run("dog_barks", folder, out, 8)
    card = read_card(out / "model")
    assert [point["step"] for point in card.curve] == [4, 8]
    assert card.curve[-1]["mse"] < card.curve[0]["mse"]
    assert card.extra["seconds_of_sound"][0] == 6  # four of six files: the first and the last are held out
    for name in ("dogbark_0", "dogbark_5"):
        noisy, clean, heard = (wave(out / f"{name}-{which}.wav") for which in ("noisy", "target", "reconstruction"))
        assert float(clean.square().mean() / (noisy - clean).square().mean()) == pytest.approx(1.0, abs=0.01)
        assert f"{name}: {float(si_sdr(noisy, clean)):.1f} to {float(si_sdr(heard, clean)):.1f} dB SI-SDR" in said
    picture(out / "barks.png")
    picture(out / "curve.png")
