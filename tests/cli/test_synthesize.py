"""``gansep synthesize``: files, a picture, a table of a walk, and one line for what cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from gansep.audio import read
from gansep.cli import main
from gansep.library import load_prior

CLIPS = Path(__file__).resolve().parent.parent / "clips"


def synthesize(*args: str | Path) -> int:
    return main(["synthesize", *map(str, args), "--progress", "none"])


def test_samples_are_the_prior_s(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert synthesize("gan/drums", "-n", "3", "--seed", "5", "-o", tmp_path) == 0
    paths = [Path(line) for line in capsys.readouterr().out.splitlines()]
    assert [path.name for path in paths] == ["drums-01.wav", "drums-02.wav", "drums-03.wav", "drums.png"]
    sounds = load_prior("drums").sample(3, seed=5)
    for path, sound in zip(paths, sounds, strict=False):
        wave, rate = read(path)
        assert rate == 16000
        torch.testing.assert_close(wave[0], 0.99 * sound, atol=1e-6, rtol=0)


def test_between_and_from_recordings(tmp_path: Path) -> None:
    ends = CLIPS / "drums.flac", CLIPS / "piano.flac"
    assert synthesize("drums", "--between", *ends, "-n", "4", "-o", tmp_path / "a", "--float32") == 0
    assert len(list((tmp_path / "a").glob("*.wav"))) == 4
    assert synthesize("piano", "--from", CLIPS / "speech.flac", "-o", tmp_path / "b") == 0
    assert len(list((tmp_path / "b").glob("piano-*.wav"))) == 3  # three seconds


def test_a_walk_says_what_it_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert synthesize("drums", "--walk", "centroid", "-n", "4", "-o", tmp_path) == 0
    said = capsys.readouterr().out
    assert "centroid Hz" in said and "correlation 0." in said
    values = [float(line.split()[1]) for line in said.splitlines()[1:5]]
    assert values[0] < values[-1]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("drums", "-n", "0"), "-n must be from 1 to 999"),
        (("drums", "--from", CLIPS / "speech.flac", "-n", "3"), "is not for --from"),
        (("nobody",), "no gan model 'nobody'"),
        (("mask/drums-piano",), "a model of kind mask, expected gan or vae"),
        (("drums", "--between", "x.wav", "y.wav"), "x.wav"),
    ],
)
def test_what_cannot_be(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], args: tuple[str | Path, ...], said: str
) -> None:
    assert synthesize(*args, "-o", tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_nothing_is_lost(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert synthesize("drums", "-n", "1", "-o", tmp_path) == 0
    before = (tmp_path / "drums-01.wav").read_bytes()
    assert synthesize("drums", "-n", "1", "--seed", "1", "-o", tmp_path) == 2
    assert "exists already; use --overwrite" in capsys.readouterr().err
    assert (tmp_path / "drums-01.wav").read_bytes() == before
    assert synthesize("drums", "-n", "1", "--seed", "1", "-o", tmp_path, "--overwrite") == 0
    assert (tmp_path / "drums-01.wav").read_bytes() != before
