"""``gansep evaluate``: its figures against museval and torchmetrics, its files, what it refuses, its exit codes."""

from __future__ import annotations

import csv
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import museval
import numpy as np
import pytest
import torch
from torch import Tensor
from torchmetrics.functional.audio import scale_invariant_signal_distortion_ratio

from gansep.audio import read, write
from gansep.cli import main

CLIPS = Path(__file__).resolve().parent.parent / "clips"
NAMES = ("digits", "drums", "piano")
Capture = pytest.CaptureFixture[str]
RunGansep = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Folders ``true`` (FLAC) and ``found`` (WAV, with what gansep separate writes beside the stems)."""
    true, found = tmp_path / "true", tmp_path / "found"
    waves = torch.stack([read(CLIPS / f"{name}.flac")[0][:, :12000] for name in NAMES])
    mixture = waves.sum(0)
    noise = 0.003 * torch.randn(waves.shape, generator=torch.Generator().manual_seed(1))
    for name, wave, error in zip(NAMES, waves, noise + 0.1 * mixture, strict=True):
        write(true / f"{name}.flac", wave, 16000, "PCM_16")
        write(found / f"{name}.wav", 0.8 * wave + error, 16000, "FLOAT")
    write(found / "residual.wav", 0.1 * mixture, 16000, "FLOAT")
    write(tmp_path / "mix.wav", mixture, 16000, "FLOAT")
    (found / "separation.json").write_text("{}")
    (found / "separation.png").write_bytes(b"")
    return true, found


def waves_of(folder: Path, ending: str) -> Tensor:
    return torch.stack([read(folder / f"{name}.{ending}")[0] for name in NAMES]).double()


def evaluate(*arguments: str | Path) -> int:
    return main(["evaluate", *map(str, arguments), "--progress", "none"])


def test_figures_are_musevals_and_torchmetrics(folders: tuple[Path, Path], tmp_path: Path, capsys: Capture) -> None:
    true, found = folders
    out = tmp_path / "out"
    assert evaluate(*folders, "--mixture", tmp_path / "mix.wav", "-o", out) == 0
    said = capsys.readouterr()
    assert said.err == "not compared, without a reference: residual.wav\n"
    report = json.loads((out / "evaluation.json").read_text())
    assert list(report["sources"]) == list(NAMES)
    references, estimates = waves_of(true, "flac"), waves_of(found, "wav")
    in_columns = (part.movedim(1, 2).numpy() for part in (references, estimates))
    scores = museval.metrics.bss_eval(*in_columns, window=np.inf, hop=np.inf)[:4]
    for figure, expected in zip(("sdr", "isr", "sir", "sar"), scores, strict=True):
        assert [one[figure] for one in report["sources"].values()] == pytest.approx(expected[:, 0].tolist(), abs=1e-3)
        assert report["mean"][figure] == pytest.approx(expected.mean(), abs=1e-3)
    mixture = read(tmp_path / "mix.wav")[0][0].double()
    for i, one in enumerate(report["sources"].values()):
        after, before = (
            scale_invariant_signal_distortion_ratio(wave, references[i, 0], zero_mean=True).item()
            for wave in (estimates[i, 0], mixture)
        )
        assert one["si_sdr"] == pytest.approx(after, abs=1e-3)
        assert one["si_sdr_improvement"] == pytest.approx(after - before, abs=1e-3)
    assert report["reasons"] == {}
    assert not report["permuted"]
    assert report["units"]["sir"] == "dB"
    assert sorted(path.name for path in out.iterdir()) == ["evaluation.csv", "evaluation.json"]
    rows = list(csv.DictReader((out / "evaluation.csv").open()))
    assert [row["source"] for row in rows] == list(NAMES)
    assert float(rows[1]["sir"]) == pytest.approx(report["sources"]["drums"]["sir"], abs=1e-6)
    lines = said.out.splitlines()
    assert lines[0].split() == ["figure", "unit", "better", *NAMES, "(mean)"]
    columns = [*report["sources"].values(), report["mean"]]
    assert lines[1].split() == ["SI-SDR", "dB", "higher", *(f"{one['si_sdr']:.2f}" for one in columns)]
    distances = (f"{one['envelope_distance']:.4f}" for one in columns)
    assert lines[8].split() == ["envelope", "distance", "full", "scale", "lower", *distances]


def test_single_files_and_paths(folders: tuple[Path, Path], tmp_path: Path, capsys: Capture) -> None:
    true, found = folders
    files = ["--csv", tmp_path / "a" / "table.csv", "--json", tmp_path / "b.json"]
    assert evaluate(true / "piano.flac", found / "drums.wav", *files) == 0
    report = json.loads((tmp_path / "b.json").read_text())
    assert list(report["sources"]) == ["piano"]
    assert report["sources"]["piano"]["si_sdr"] < 0
    assert "si_sdr_improvement" not in report["sources"]["piano"]
    assert "(mean)" not in capsys.readouterr().out
    assert (tmp_path / "a" / "table.csv").read_text().splitlines()[1].startswith("piano,")
    assert not [path for path in tmp_path.rglob("*") if path.name.endswith(".partial")]


def test_best_permutation_is_found_and_said(folders: tuple[Path, Path], tmp_path: Path, capsys: Capture) -> None:
    _, found = folders
    assert evaluate(*folders, "--json", tmp_path / "named.json") == 0
    for number, name in enumerate(("piano", "digits", "drums"), 1):
        (found / f"{name}.wav").rename(found / f"component-{number}.wav")
    noise = torch.randn(1, 12000, generator=torch.Generator().manual_seed(0))
    write(found / "component-0.wav", 0.1 * noise, 16000, "FLOAT")
    assert evaluate(*folders) == 2
    assert "no estimate for digits.flac, drums.flac, piano.flac" in capsys.readouterr().err
    assert evaluate(*folders, "--permute", "--json", tmp_path / "permuted.json") == 0
    said = capsys.readouterr().out
    assert "digits is component-2.wav, drums is component-3.wav, piano is component-1.wav" in said
    named, permuted = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("named", "permuted"))
    assert permuted["permuted"]
    assert permuted["sources"] == named["sources"]
    for name in ("component-0", "component-1"):
        (found / f"{name}.wav").unlink()
    assert evaluate(*folders, "--permute") == 2
    assert "3 references and 2 estimates" in capsys.readouterr().err


def test_silent_reference_is_null_and_has_a_reason(folders: tuple[Path, Path], tmp_path: Path, capsys: Capture) -> None:
    true, _ = folders
    (true / "drums.flac").unlink()
    write(true / "drums.wav", torch.zeros(1, 12000), 16000, "PCM_16")
    assert evaluate(*folders, "-o", tmp_path) == 0
    text = (tmp_path / "evaluation.json").read_text()
    report: dict[str, Any] = json.loads(text, parse_constant=pytest.fail)
    assert report["reasons"] == {"drums": "silent reference"}
    assert set(report["sources"]["drums"].values()) == {None}
    others = [report["sources"][name]["sir"] for name in ("digits", "piano")]
    assert report["mean"]["sir"] == pytest.approx(sum(others) / 2)
    assert "drums: silent reference" in capsys.readouterr().out
    row = (tmp_path / "evaluation.csv").read_text().splitlines()[2].split(",")
    assert row[0] == "drums"
    assert row[-1] == "silent reference"
    assert not any(row[1:-1])


def test_mixture_in_the_folder_is_no_source(folders: tuple[Path, Path], tmp_path: Path, capsys: Capture) -> None:
    true, _ = folders
    mixture = (tmp_path / "mix.wav").rename(true / "mixture.wav")
    assert evaluate(*folders) == 2
    assert "no estimate for mixture.wav" in capsys.readouterr().err
    assert evaluate(*folders, "--mixture", mixture) == 0
    assert "SI-SDR improvement" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("wave", "rate", "said"),
    [
        (torch.zeros(1, 12000), 8000, ("drums.wav has 8000 Hz", "digits.flac 16000 Hz", "resample")),
        (torch.zeros(2, 12000), 16000, ("drums.wav has 2 channels", "digits.flac 1", "mix down")),
        (torch.zeros(1, 11999), 16000, ("drums.wav has 11999 samples", "digits.flac 12000", "cut or pad")),
    ],
)
def test_files_that_do_not_fit(
    folders: tuple[Path, Path], capsys: Capture, wave: Tensor, rate: int, said: tuple[str, ...]
) -> None:
    write(
        folders[1] / "drums.wav",
        wave,
        rate,
        "PCM_16",
    )
    assert evaluate(*folders) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("gansep: error: ")
    assert all(part in error for part in said)


def test_folders_that_do_not_fit(folders: tuple[Path, Path], tmp_path: Path, capsys: Capture) -> None:
    true, found = folders
    empty = tmp_path / "empty"
    empty.mkdir()
    write(tmp_path / "twice" / "drums.wav", torch.ones(1, 9), 16000, "PCM_16")
    write(tmp_path / "twice" / "drums.flac", torch.ones(1, 9), 16000, "PCM_16")
    cases = {
        (tmp_path / "none", found): "none: no such file or folder",
        (true, found / "drums.wav"): f"{true} is a folder and {found / 'drums.wav'} a file",
        (true / "drums.flac", found): f"{found} is a folder and {true / 'drums.flac'} a file",
        (true, empty): "empty: no sound files in it",
        (true, tmp_path / "twice"): "drums.flac and drums.wav have one name",
        (true / "drums.flac", found / "separation.json"): "separation.json",
    }
    for (references, estimates), expected in cases.items():
        assert evaluate(references, estimates) == 2
        assert expected in capsys.readouterr().err
    assert evaluate(true, found, "--mixture", tmp_path / "no.wav") == 2
    assert "no.wav: it cannot be opened" in capsys.readouterr().err


def test_result_that_cannot_be_written(folders: tuple[Path, Path], tmp_path: Path, capsys: Capture) -> None:
    true, found = folders
    blocked = tmp_path / "mix.wav" / "evaluation.csv"  # in a file
    single = true / "drums.flac", found / "drums.wav"
    for flags in (["--csv", blocked], ["--json", blocked], ["-o", tmp_path / "mix.wav"], ["--json", true]):
        assert evaluate(*single, *flags) == 2
        said = capsys.readouterr()
        assert "it cannot be written" in said.err
        assert len(said.err.splitlines()) == 1
        assert said.out.startswith("figure ")
    assert sorted(path.name for path in true.parent.iterdir()) == ["found", "mix.wav", "true"]


def test_as_a_process(folders: tuple[Path, Path], tmp_path: Path, run_gansep: RunGansep) -> None:
    true, found = folders
    done = run_gansep("evaluate", true / "drums.flac", found / "drums.wav", "--json", tmp_path / "x.json", "-q")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0].split() == ["figure", "unit", "better", "drums"]
    assert json.loads((tmp_path / "x.json").read_text())["sources"]["drums"]["si_sdr"] > 5
    done = run_gansep("evaluate", true, tmp_path / "nowhere")
    assert done.returncode == 2
    assert done.stderr == f"gansep: error: {tmp_path / 'nowhere'}: no such file or folder; check the path\n"
