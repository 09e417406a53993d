"""``gansep compare`` as a user types it: a comparison, its continuation, a recording, an export, and wrong usage."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from gansep.audio import read
from gansep.cli import main

CLIPS = Path(__file__).resolve().parent.parent / "clips"


@pytest.fixture
def folders(tmp_path: Path) -> list[str]:
    made = []
    for name in ("digits", "drums", "piano"):
        folder = tmp_path / "held-out" / name
        folder.mkdir(parents=True)
        (folder / "one.flac").write_bytes((CLIPS / f"{name}.flac").read_bytes())
        made.append(str(folder))
    return made


def test_compare(folders: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    command = ["compare", "--data", *folders, "--tasks", "digits-drums,drums-piano", "--conditions", "wild", "-o"]
    command += [str(out), "--backends", "mixture,time-cut,oracle:mask=psm", "--n", "2", "--n-for", "time-cut=1"]
    command += ["--against", "mixture", "-q"]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "wild, digits-drums: SI-SDR improvement in dB" in said
    assert "ahead of mixture [95 %]" in said
    assert said.rstrip().endswith("index.html")
    first = (out / "results.jsonl").read_bytes()
    assert len(first.splitlines()) == 2 * (2 + 1 + 2)
    assert main(command) == 0  # nothing is done twice
    assert (out / "results.jsonl").read_bytes() == first
    rows = json.loads((out / "results.json").read_text())["about"]["rows"]
    assert rows == {"mixture": "mixture", "time-cut": "time-cut", "oracle:mask=psm": "oracle:mask=psm"}


def test_export(folders: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "mixtures"
    command = ["compare", "--data", *folders, "--conditions", "paper", "--n", "2", "--export", str(out)]
    assert main(command) == 0
    places = sorted(path.name for path in out.iterdir())
    assert len(places) == 4 * 2
    assert places[0] == "digits-drums-paper-000"
    place = out / places[0]
    mixture, rate = read(place / "mixture.wav")
    assert rate == 16000
    total = sum(read(place / f"{name}.wav")[0] for name in ("digits", "drums"))
    assert (total - mixture).abs().max() < 1e-6


def test_a_recording(
    sound: Callable[..., Path], tiny_library: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mix = sound("mix.wav", 20_000, 22_050, 2)
    command = ["compare", str(mix), "--sources", "tone,hiss", "--backends", "gan-prior-fast,mixture", "-q"]
    assert main([*command, "--library", str(tiny_library), "-o", str(tmp_path / "out")]) == 0
    assert "Sources: tone, hiss" in capsys.readouterr().out
    assert (tmp_path / "out" / "index.html").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "name either folders of sources"),
        (["mix.wav", "--data", "a", "b"], "name either folders of sources"),
        (["mix.wav"], "either how many sources are in the recording"),
        (["missing.wav", "-k", "2"], "missing.wav"),
        (["--data", "nowhere", "b"], "no such folder: nowhere"),
        (["--data", "digits"], "at least two sources, got digits"),
        (["--data", "digits", "drums", "-k", "2"], "--tasks says what is mixed"),
        (["--data", "digits", "drums", "--tasks", "digits-birds"], "no task 'digits-birds'"),
        (["--data", "digits", "drums", "--backends", "magic"], "unknown back end 'magic'"),
        (["--data", "digits", "drums", "--conditions", "tame"], "unknown condition tame"),
        (["--data", "digits", "drums", "--n", "0"], "--n must be at least 1"),
        (["--data", "digits", "drums", "--n-for", "magic=3"], "--n-for magic=3: expected a row"),
        (["--data", "digits", "drums", "--backends", "nmf", "--n-for", "nmf=x"], "--n-for nmf=x: expected a row"),
    ],
)
def test_wrong_usage(
    folders: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(Path(folders[0]).parent)
    assert main(["compare", *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
