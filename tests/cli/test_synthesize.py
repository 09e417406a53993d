"""``gansep synthesize``: files, a picture, a table of a walk, and one line for what cannot be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from gansep.audio import read
from gansep.cli import main
from gansep.library import Card, load_prior, save_model
from gansep.nets.spectrogram import make_generator
from gansep.nets.wavegan import Encoder, PriorConfig

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
        (("drums", "-n", "0"), "-n must be from 1 to 999, got 0"),
        (("drums", "-n", "1000"), "-n must be from 1 to 999, got 1000"),
        (("drums", "--between", "x.wav", "y.wav", "-n", "1"), "-n must be from 2 to 999 with --between, for its two"),
        (("drums", "--walk", "pitch", "-n", "1"), "-n must be from 2 to 999 with --walk, for its two ends, got 1"),
        (("drums", "--from", CLIPS / "speech.flac", "-n", "3"), "-n is not for --from, which makes as many sounds as"),
        (("drums", "--from", CLIPS / "speech.flac", "-n", "0"), "-n is not for --from"),
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


# Priors with classes


@pytest.fixture
def voices(tmp_path: Path) -> Path:
    """A variational prior of the classes ``ann`` and ``bob`` with random weights."""
    return make_voices(tmp_path / "vae" / "voices")


def make_voices(folder: Path, **settings: Any) -> Path:
    config = PriorConfig(dim=1, latent=4, width=16, variational=True, classes=("ann", "bob"), **settings)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        networks = {"generator": make_generator(config), "encoder": Encoder(config)}
    with torch.no_grad():
        networks["generator"].get_parameter("seed.weight")[:, 4:] *= 10  # so that a class is heard
    weights = {f"{part}.{key}": value for part, net in networks.items() for key, value in net.state_dict().items()}
    save_model(folder, weights, Card("voices", config.to_json(), 16000, config.segment, ("voices",), "vae"))
    return folder


def waves_of(folder: Path) -> torch.Tensor:
    return torch.cat([read(path)[0] for path in sorted(folder.glob("*.wav"))])


def test_sounds_of_a_class(voices: Path, tmp_path: Path) -> None:
    prior = load_prior(voices)
    for name, flags in (("bob", ["--class", "bob"]), ("ann", ["--class", "ann"]), ("any", [])):
        assert synthesize(voices, *flags, "-n", "2", "--seed", "5", "-o", tmp_path / name, "--float32") == 0
        expected = (prior if name == "any" else prior.told(name)).sample(2, seed=5)
        torch.testing.assert_close(waves_of(tmp_path / name), 0.99 * expected, atol=1e-6, rtol=0)
    assert not torch.allclose(waves_of(tmp_path / "ann"), waves_of(tmp_path / "bob"), atol=1e-3)


def test_another_source_and_the_way_between_two_are_played_as_a_class(voices: Path, tmp_path: Path) -> None:
    for how in (
        ["--from", CLIPS / "speech.flac"],
        ["--between", CLIPS / "drums.flac", CLIPS / "piano.flac", "-n", "3"],
    ):
        for name in ("ann", "bob"):
            assert synthesize("vae/voices", "--library", tmp_path, "--class", name, *how, "-o", tmp_path / name) == 0
        ann, bob = waves_of(tmp_path / "ann"), waves_of(tmp_path / "bob")
        assert ann.shape == bob.shape == (3, 16384) and not torch.allclose(ann, bob, atol=1e-3)
        for name in ("ann", "bob"):
            for path in (tmp_path / name).iterdir():
                path.unlink()


def test_a_prior_that_plays_spectra_is_played_as_a_class(tmp_path: Path) -> None:
    folder = make_voices(tmp_path / "vae" / "voices", domain="magnitude")
    assert synthesize(folder, "--class", "bob", "-n", "1", "-o", tmp_path / "out", "--float32") == 0
    expected = load_prior(folder).told("bob").sample(1)
    torch.testing.assert_close(waves_of(tmp_path / "out"), 0.99 * expected, atol=1e-6, rtol=0)


def test_classes_that_cannot_be(voices: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for prior, name, said in (
        (voices, "eve", "voices: no class 'eve', expected one of ann, bob"),
        (voices, "", "voices: no class '', expected one of ann, bob"),
        ("drums", "ann", "drums: no class 'ann', expected none, as it has no classes"),
    ):
        assert synthesize(prior, "--class", name, "-o", tmp_path / "out") == 2
        assert capsys.readouterr().err == f"gansep: error: {said}\n"
    assert not (tmp_path / "out").exists()
