"""``gansep train-mask`` and ``train-mapping``: what they print, write, resume and refuse."""

from __future__ import annotations

import argparse
import json
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from gansep.cli import main
from gansep.cli.train_mapping import LOSSES as OFFERED_OF_MAPPINGS
from gansep.cli.train_mask import DEFAULTS
from gansep.cli.train_mask import FEATURES as OFFERED_FEATURES
from gansep.cli.train_mask import LOSSES as OFFERED_LOSSES
from gansep.cli.train_mask import NETWORKS as OFFERED_NETWORKS
from gansep.cli.train_mask import TARGETS as OFFERED_TARGETS
from gansep.cli.training import MIXTURES
from gansep.library import find_model, load_separation, read_card, verify
from gansep.library import search as search_module
from gansep.nets.masknet import OF_MASKS, OF_SIGNALS, TARGETS
from gansep.nets.spectral import FEATURES, NETWORKS, NetConfig
from gansep.training.mapping import SPECTRAL_LOSSES, WAVEFORM_LOSSES
from gansep.training.mixing import Mixing

Capture = pytest.CaptureFixture[str]
TINY = ["--width", "8", "--depth", "2", "--seconds", "0.3", "--batch", "2", "--sample-rate", "8000"]
TINY += ["--library", "library", "--progress", "none"]
SPECTRAL = ["--n-fft", "128"]
BOTH = ["--data", "hiss", "tone"]


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_module, "_packaged", lambda: tmp_path / "packaged")
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    for name in ("hiss", "tone"):
        (tmp_path / name).mkdir()
        wave = random.uniform(-0.5, 0.5, 6 * 8000) if name == "hiss" else 0.5 * np.sin(np.arange(6 * 8000) * 0.3)
        soundfile.write(f"{name}/1.wav", wave, 8000)


def train(*flags: str, verb: str = "train-mask") -> int:
    spectra = [] if "waveform" in flags else SPECTRAL
    return main([verb, *BOTH, *TINY, *spectra, *flags])


def test_flags_offer_what_there_is() -> None:
    assert set(OFFERED_TARGETS) == set(TARGETS)
    assert (*OF_MASKS, *OF_SIGNALS) == OFFERED_LOSSES
    assert set(OFFERED_NETWORKS) == set(NETWORKS)
    assert set(OFFERED_FEATURES) == set(FEATURES)
    assert NetConfig(**DEFAULTS) == NetConfig()  # type: ignore[arg-type]
    assert Mixing(MIXTURES["seconds"], MIXTURES["gain_db"], absent=MIXTURES["absent"]) == Mixing()
    assert {domain: set(losses) for domain, losses in OFFERED_OF_MAPPINGS.items()} == {
        "spectral": set(SPECTRAL_LOSSES),
        "waveform": set(WAVEFORM_LOSSES),
    }


def test_from_folders_to_a_mask(capsys: Capture) -> None:
    assert train("--steps", "2", "--mask", "psm", "--snr", "-5", "5", "--licence", "CC0-1.0", "--causal") == 0
    out, err = capsys.readouterr()
    assert out == "library/mask/hiss-tone\n"
    assert "hiss: 6 s of sound in 1 files" in err and "tone: 6 s of sound in 1 files" in err
    assert "ended by steps at step 2" in err
    card = read_card("library/mask/hiss-tone")
    assert (card.kind, card.sources, card.data_licence) == ("mask", ("hiss", "tone"), "CC0-1.0")
    assert (card.config["target"], card.config["loss"], card.config["causal"]) == ("psm", "snr", True)
    assert card.config["hop"] == 64
    assert card.data == "recordings in hiss, tone"
    assert verify(find_model("hiss-tone", "mask", "library")) == []


def test_resumes(capsys: Capture) -> None:
    assert train("--steps", "2") == 0
    assert train("--steps", "3", "--resume") == 0
    assert "resumed from step 2" in capsys.readouterr().err
    resumed = Path("library/mask/hiss-tone/weights.safetensors").read_bytes()
    assert train("--steps", "3", "-o", "other") == 0
    assert Path("other/weights.safetensors").read_bytes() == resumed


def test_named_sources_and_model(capsys: Capture) -> None:
    flags = ["--steps", "1", "--name", "pair", *TINY, *SPECTRAL]
    assert main(["train-mask", "--data", "rain=hiss", "bell=tone", *flags]) == 0
    assert capsys.readouterr().out == "library/mask/pair\n"
    assert load_separation("mask", ["bell", "rain"], library="library").card.name == "pair"


@pytest.mark.parametrize(("domain", "kind"), [("spectral", "SpectralMapping"), ("waveform", "WaveformMapping")])
def test_from_folders_to_a_mapping(domain: str, kind: str, capsys: Capture) -> None:
    assert train("--steps", "2", "--domain", domain, verb="train-mapping") == 0
    assert capsys.readouterr().out == "library/mapping/hiss-tone\n"
    card = json.loads(Path("library/mapping/hiss-tone/card.json").read_text())
    assert (card["config"]["domain"], card["config"]["loss"]) == (domain, OFFERED_OF_MAPPINGS[domain][0])
    assert type(load_separation("mapping", ["tone", "hiss"], library="library").network).__name__ == kind


def test_the_model_separates_a_file() -> None:
    assert train("--steps", "1") == 0
    assert train("--steps", "1", verb="train-mapping") == 0
    random = np.random.default_rng(1)
    mixture = random.uniform(-0.5, 0.5, (4410, 2))
    soundfile.write("mix.wav", mixture, 44100, "PCM_24")
    for backend in ("mask", "mapping"):
        flags = ["--sources", "tone,hiss", "--library", "library", "--float32", "--no-picture", "-o", backend]
        assert main(["separate", "mix.wav", "--backend", backend, *flags]) == 0
        parts = [soundfile.read(f"{backend}/mix/{name}.wav")[0] for name in ("tone", "hiss", "residual")]
        assert np.abs(np.sum(parts, 0) - mixture).max() < 1e-5
        report = json.loads(Path(f"{backend}/mix/separation.json").read_text())
        assert report["sources"]["tone"]["model"] == f"{backend}/hiss-tone"


@pytest.mark.parametrize(
    ("verb", "flags", "said"),
    [
        ("train-mask", ["--data", "hiss"], "mixtures need at least two sources, got hiss"),
        ("train-mask", ["--data", "hiss", "a=hiss", "a=tone"], "two sources are called a"),
        ("train-mask", ["--data", "hiss", "nobody"], "no such file or folder: nobody"),
        ("train-mask", ["--data", "hiss", "tone", "--steps", "0"], "--steps must be above 0, got 0"),
        ("train-mask", ["--data", "hiss", "tone", "--mask", "crm", "--loss", "mse"], "crm masks cannot be learned by"),
        ("train-mask", ["--data", "hiss", "tone", "--n-fft", "30"], "n_fft must be a multiple of 4 from 64 up"),
        ("train-mask", ["--data", "hiss", "tone", "--snr", "5", "-5"], "snr_db must go from low to high"),
        ("train-mask", ["--data", "hiss", "tone", "--absent", "1"], "absent must be in [0, 1)"),
        ("train-mask", ["--data", "hiss", "tone", "--hop", "0"], "--hop must be above 0"),
        ("train-mask", ["--data", "hiss", "tone", "--init-from", "x"], "no mask model 'x'"),
        ("train-mask", ["--data", "hiss", "tone", "--device", "abacus"], "device 'abacus' is not available"),
        (
            "train-mapping",
            ["--data", "hiss", "tone", "--loss", "snr"],
            "--loss of --domain spectral must be one of",
        ),
        ("train-mask", ["--data", "../../../up=hiss", "tone"], "a source's name must be usable as a file name"),
        (
            "train-mask",
            ["--data", "residual=hiss", "tone"],
            "'residual' is taken, got residual, tone; name it otherwise",
        ),
        (
            "train-mask",
            [*BOTH, "--seconds", "1e-9"],
            "--seconds must be at least 6.25e-05 for this network at 16000 Hz",
        ),
        ("train-mask", [*BOTH, "--seconds", "0.031"], "--seconds must be at least 0.032 for this network at 16000 Hz"),
        ("train-mask", [*BOTH, "--network", "dnn", "--batch", "1", "--seconds", "0.001"], "--seconds must be at least"),
        (
            "train-mask",
            [*BOTH, "--network", "dnn", "--edges", "drop", "--context", "3", "--seconds", "0.111"],
            "--seconds must be at least 0.112",
        ),
        ("train-mapping", [*BOTH, "--seconds", "0.031"], "--seconds must be at least 0.032"),
        ("train-mapping", [*BOTH, "--domain", "waveform", "--seconds", "1e-9"], "--seconds must be at least 6.25e-05"),
        ("train-mask", [*BOTH, "--seconds", "inf"], "seconds must be above 0"),
        ("train-mask", [*BOTH, "--gain-db", "nan"], "gain_db in 0 to 100, got 2.0 and nan"),
        ("train-mask", [*BOTH, "--seed", "99999999999999"], "--seed must be in 0 to 4294967295, got 99999999999999"),
        ("train-mapping", [*BOTH, "--seed", "-1"], "--seed must be in 0 to 4294967295, got -1"),
        ("train-mask", [*BOTH, "--depth", "30000"], "depth must be at most 64"),
        ("train-mask", [*BOTH, "--floor", "inf"], "floor must be at most 1000"),
        ("train-mask", [*BOTH, "--snr", "0", "5", "--gain-db", "9"], "--gain-db and --snr both say how loud"),
        ("train-mask", [*BOTH, "--edges", "zero"], "--edges belongs to --network dnn, not to tfconv; leave it out"),
        ("train-mask", [*BOTH, "--network", "blstm", "--context", "0"], "--context belongs to --network dnn, not to"),
        ("train-mask", [*BOTH, "--dropout", "0"], "--dropout belongs to --network dnn or blstm, not to tfconv"),
        (
            "train-mapping",
            [*BOTH, "--feature", "power", "--floor", "1"],
            "--floor belongs to --feature log, not to power",
        ),
    ],
)
def test_refused_in_one_line(verb: str, flags: list[str], said: str, capsys: Capture) -> None:
    assert main([verb, *flags, "--library", "library", "--progress", "none"]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("gansep: error: ") and said in err


@pytest.mark.parametrize(
    "flags",
    [
        ("--network", "tfconv"),
        ("--causal",),
        ("--context", "0"),
        ("--edges", "zero"),
        ("--dropout", "0"),
        ("--feature", "log"),
        ("--floor", "0.1"),
        ("--n-fft", "77"),
        ("--hop", "256"),
    ],
)
def test_waveforms_have_no_spectra(flags: tuple[str, ...], capsys: Capture) -> None:
    assert train("--domain", "waveform", *flags, verb="train-mapping") == 2
    said = f"gansep: error: {flags[0]} belongs to --domain spectral, not to waveform; leave it out\n"
    assert capsys.readouterr().err == said


def test_a_network_s_own_flags_reach_its_card() -> None:
    own = ["--network", "dnn", "--context", "1", "--edges", "drop", "--dropout", "0.1", "--floor", "0.01"]
    shortest = ["--seconds", "0.024", "--batch", "1"]  # three hops of 64 samples; two frames have an answer
    assert train("--steps", "1", *own, *shortest) == 0
    config = read_card("library/mask/hiss-tone").config
    names = ("network", "context", "edges", "dropout", "floor", "feature", "n_fft")
    assert [config[name] for name in names] == ["dnn", 1, "drop", 0.1, 0.01, "log", 128]


def test_the_largest_seed_trains() -> None:
    assert train("--steps", "1", "--seed", "4294967295") == 0
    assert read_card("library/mask/hiss-tone").seed == 4294967295


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    """The one that builds what ships."""
    return runpy.run_path(str(Path(__file__).resolve().parents[2] / "scripts" / "build_pretrained.py"))


def test_the_script_that_builds_what_ships_knows_its_models(
    script: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    def names(*flags: str) -> list[str]:
        monkeypatch.setattr("sys.argv", ["build_pretrained.py", "--data", "data", *flags])
        return list(script["parse"]().names)

    assert names() == names("--kind", "sounds") == ["drums", "piano", "digits", "speech", "noise", "guitar"]
    assert names("--kind", "nmf") == names("--kind", "vae") == ["drums", "piano", "digits"]
    assert names("--kind", "listener") == ["common"]
    assert names("--kind", "mask") == list(script["MASKS"])
    assert names("--kind", "mask", "speech-noise") == ["speech-noise"]
    for flags in (("--kind", "mask", "drums"), ("speech-noise",)):
        with pytest.raises(SystemExit):
            names(*flags)
        assert f"model is called {flags[-1]}; expected " in capsys.readouterr().err


def record(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True)
    for number, name in enumerate(names):
        soundfile.write(folder / f"{name}.wav", np.random.default_rng(number).uniform(-0.5, 0.5, 3 * 16000), 16000)


def test_the_script_keeps_sounds_of_what_was_trained_on_once(script: dict[str, Any]) -> None:
    record(Path("data/drums/train"), "kit_1", "kit_2", "sonicpi_1")  # the last one is dev's
    asked = argparse.Namespace(data=Path("data"), library=Path("library"), kind="sounds")
    folder = script["build"]("drums", asked)
    assert folder == Path("library/gan/drums/sounds")
    assert [soundfile.info(file).duration for file in sorted(folder.iterdir())] == pytest.approx([3, 3], abs=0.01)
    (folder / "001.flac").unlink()
    script["build"]("drums", asked)
    assert [file.name for file in folder.iterdir()] == ["000.flac"]


def test_listeners_hear_more_recordings_and_small_kits_oftener(script: dict[str, Any]) -> None:
    """Nine of one kit and one of another, which comes three times; the licence is the one that binds most."""
    record(Path("data/drums/train"), *(f"big_{number}" for number in range(9)), "small_1", "sonicpi_1")
    record(Path("data/kits/train"), "other_1")
    asked = argparse.Namespace(data=Path("data"), library=Path("library"), kind="listener", resume=False)
    plain, more = (script["told"]("common", ["drums"], asked, more=more) for more in (False, True))
    stems = [[file.stem for file in words["data"]["drums"]] for words in (plain, more)]
    big = [f"big_{number}" for number in range(9)]
    assert stems == [[*big, "small_1"], [*big, *["small_1"] * 3, "other_1"]]
    assert more["provenance"].licence == "CC BY-SA 4.0"


def test_a_model_is_not_overwritten(capsys: Capture) -> None:
    assert train("--steps", "1") == 0
    capsys.readouterr()
    assert train("--steps", "1") == 2
    assert "holds a model already; go on with --resume" in capsys.readouterr().err
