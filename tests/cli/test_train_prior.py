"""``gansep train-prior``: what it prints, writes, resumes and refuses."""

from __future__ import annotations

import json
import resource
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from gansep.cli import main
from gansep.cli.train_prior import DEFAULTS
from gansep.cli.train_prior import DIVERGENCES as OFFERED_DIVERGENCES
from gansep.cli.train_prior import OBJECTIVES as OFFERED
from gansep.cli.train_prior import SEGMENTS as OFFERED_SEGMENTS
from gansep.library import load_dictionary, load_prior, read_card
from gansep.library import search as search_module
from gansep.library.dictionary import DIVERGENCES
from gansep.nets.spectral import NetConfig
from gansep.nets.wavegan import SEGMENTS
from gansep.training import api
from gansep.training.nmf import DictionarySettings
from gansep.training.objectives import OBJECTIVES
from gansep.training.prior import PriorTraining

Capture = pytest.CaptureFixture[str]
MakePrior = Callable[..., Path]
Train = Callable[..., int]


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_module, "_packaged", lambda: tmp_path / "packaged")
    monkeypatch.chdir(tmp_path)
    for name, objective in OBJECTIVES.items():
        monkeypatch.setitem(OBJECTIVES, name, replace(objective, batch=2))
    monkeypatch.setattr(api, "SIZES", NetConfig(outputs=2, width=16, depth=1, n_fft=256, hop=128))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Six seconds in two files, one of them in a folder below and at another rate."""
    random = np.random.default_rng(0)
    (tmp_path / "hits" / "more").mkdir(parents=True)
    soundfile.write("hits/1.wav", random.uniform(-0.5, 0.5, (4 * 44100, 2)), 44100)
    soundfile.write("hits/more/2.flac", random.uniform(-0.5, 0.5, 2 * 16000), 16000)
    return tmp_path / "hits"


@pytest.fixture
def train(data: Path) -> Train:
    def run(*arguments: str | Path, dim: int = 1) -> int:
        flags = ["--dim", str(dim), "--library", "library", "--progress", "none"]
        return main(["train-prior", "--data", str(data), *map(str, arguments), *flags])

    return run


def test_flags_offer_what_there_is() -> None:
    assert {*OFFERED, "vae"} == set(OBJECTIVES)  # which has a verb of its own
    assert tuple(OFFERED_SEGMENTS) == SEGMENTS
    assert set(OFFERED_DIVERGENCES.values()) == set(DIVERGENCES)
    shipped = DictionarySettings()
    assert DEFAULTS["gan"]["keep_sounds"] == api.PriorSettings.kept
    assert DEFAULTS["nmf"]["atoms"] == shipped.atoms
    assert OFFERED_DIVERGENCES[str(DEFAULTS["nmf"]["divergence"])] == shipped.divergence


def test_from_a_folder_to_a_prior(train: Train, capsys: Capture) -> None:
    flags = ("--checkpoint-every", "1", "--seed", "5", "--licence", "CC0-1.0", "--keep-sounds", "5.5")
    assert train("--steps", "2", *flags) == 0
    out, err = capsys.readouterr()
    assert out == "library/gan/hits\n"
    assert "6 s of sound in 2 files" in err
    assert "ended by steps at step 2" in err
    assert "resumed" not in err
    folder = Path("library/gan/hits")
    card = read_card(folder)
    assert (card.name, card.seed, card.data_licence) == ("hits", 5, "CC0-1.0")
    assert card.data == "recordings in hits"
    assert sum(soundfile.info(file).duration for file in folder.glob("sounds/*.flac")) == pytest.approx(5, abs=0.01)
    assert [point["step"] for point in card.curve] == [1, 2]
    assert load_prior("hits", "library").sample(1).shape == (1, 16384)
    training = folder / "training"
    names = sorted(path.name for path in (training / "samples").iterdir())
    assert names == ["step-000001.png", "step-000001.wav", "step-000002.png", "step-000002.wav"]
    assert soundfile.info(training / "samples" / "step-000002.wav").frames == 8 * 16384
    assert (training / "samples" / "step-000002.png").read_bytes()[:4] == b"\x89PNG"
    assert list((training / "logs").glob("events.out.tfevents*"))


@pytest.mark.parametrize(("short", "full"), [("kl", "kullback-leibler"), ("is", "itakura-saito")])
def test_from_a_folder_to_a_dictionary(data: Path, capsys: Capture, short: str, full: str) -> None:
    flags = ["--kind", "nmf", "--atoms", "3", "--divergence", short, "--seed", "5", "--licence", "CC0-1.0"]
    assert main(["train-prior", "--data", "hits", *flags, "--library", "library", "--progress", "json"]) == 0
    out, err = capsys.readouterr()
    assert out == "library/nmf/hits\n"
    lines = [json.loads(line) for line in err.splitlines()]
    assert "6 s of sound in 2 files" in lines[0]["note"]
    assert (lines[-1]["done"], lines[-1]["total"]) == (100, 100)
    assert lines[-1]["divergence"] > 0
    dictionary = load_dictionary("hits", "library")
    assert dictionary.atoms.shape == (3, 513)
    assert dictionary.divergence == full
    assert (dictionary.card.seed, dictionary.card.data_licence) == (5, "CC0-1.0")
    assert dictionary.card.data == "recordings in hits"
    before = Path("library/nmf/hits/weights.safetensors").read_bytes()
    assert main(["train-prior", "--data", "hits", *flags, "--library", "library", "-q"]) == 2
    assert "library/nmf/hits holds a model already" in capsys.readouterr().err
    assert Path("library/nmf/hits/weights.safetensors").read_bytes() == before


def test_progress_has_losses_and_time_left(data: Path, capsys: Capture) -> None:
    flags = ["--data", str(data), "--steps", "2", "--dim", "1", "--library", "library", "--progress", "json"]
    assert main(["train-prior", *flags]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    last = [line for line in lines if "done" in line][-1]
    assert (last["done"], last["total"]) == (2, 2)
    assert last["spectral"] > 0
    assert last["minutes_left"] == 0


def test_resume(train: Train, capsys: Capture) -> None:
    assert train("--steps", "1", "--resume") == 0
    assert "resumed from step 0\n" in capsys.readouterr().err
    assert train("--steps", "3", "--resume") == 0
    out, err = capsys.readouterr()
    assert "resumed from step 1\n" in err
    assert "ended by steps at step 3" in err
    assert out == "library/gan/hits\n"
    assert read_card("library/gan/hits").extra["steps"] == 3


def test_a_finished_model_without_checkpoint_is_not_overwritten(train: Train, capsys: Capture) -> None:
    assert train("--steps", "1") == 0
    weights, checkpoint = (Path("library/gan/hits", name) for name in ("weights.safetensors", "training/checkpoint.pt"))
    before = weights.read_bytes()
    checkpoint.unlink()
    capsys.readouterr()
    assert train("--steps", "2", "--resume") == 2
    said = "library/gan/hits holds a model without training/checkpoint.pt, so it cannot be resumed"
    assert said in capsys.readouterr().err
    assert weights.read_bytes() == before and not checkpoint.exists()


def test_ctrl_c_keeps_what_was_reached(train: Train, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    step = PriorTraining.step

    def interrupted(self: PriorTraining, number: int) -> dict[str, float]:
        if number == 1:
            signal.raise_signal(signal.SIGINT)
        return step(self, number)

    monkeypatch.setattr(PriorTraining, "step", interrupted)
    assert train("--steps", "50", "--checkpoint-every", "10") == 130
    err = capsys.readouterr().err
    assert "ended by interrupted at step 2" in err
    assert err.splitlines()[-1] == "gansep: interrupted"
    assert read_card("library/gan/hits").extra["steps"] == 2
    monkeypatch.setattr(PriorTraining, "step", step)
    assert train("--steps", "3", "--resume") == 0
    assert "resumed from step 2\n" in capsys.readouterr().err


def test_minutes_end_it(train: Train, capsys: Capture) -> None:
    assert train("--minutes", "0.0001") == 0
    assert "ended by minutes at step 1" in capsys.readouterr().err


def test_name_place_and_start(train: Train, capsys: Capture) -> None:
    assert train("--steps", "1", "--name", "kit", "-o", "elsewhere/prior", "--objective", "r3gan") == 0
    assert capsys.readouterr().out == "elsewhere/prior\n"
    assert read_card("elsewhere/prior").name == "kit"
    assert load_prior(Path("elsewhere/prior")).encoder is None
    assert train("--steps", "1", "--name", "kit2", "--init-from", "elsewhere/prior", "--objective", "r3gan") == 0
    capsys.readouterr()
    assert train("--steps", "1", "--init-from", "elsewhere/prior", dim=2) == 2
    assert "sizes differ (dim is 1, wanted 2)" in capsys.readouterr().err


def test_one_file_gives_the_prior_its_name(capsys: Capture) -> None:
    soundfile.write("kick.drum.wav", np.random.default_rng(0).uniform(-0.5, 0.5, 6 * 16000), 16000)
    flags = ["--steps", "1", "--dim", "1", "--library", "library", "--progress", "none"]
    assert main(["train-prior", "--data", "kick.drum.wav", *flags]) == 0
    assert capsys.readouterr().out == "library/gan/kick.drum\n"
    assert read_card("library/gan/kick.drum").name == "kick.drum"


def test_a_full_disk_is_one_line_and_keeps_what_was_reached(train: Train, capsys: Capture) -> None:
    assert train("--steps", "1") == 0
    before = {path: path.read_bytes() for path in Path("library/gan/hits").glob("**/*.[pswj]*") if path.is_file()}
    capsys.readouterr()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        assert train("--steps", "2", "--resume") == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    err = capsys.readouterr().err
    assert err.splitlines()[-1].startswith(
        "gansep: error: library/gan/hits/training/checkpoint.pt: the checkpoint cannot"
    )
    assert "Traceback" not in err
    assert {path: path.read_bytes() for path in before} == before
    assert not list(Path("library").rglob("*.partial"))


def test_silent_and_broken_files_are_named(train: Train, data: Path, capsys: Capture) -> None:
    soundfile.write(data / "silent.wav", np.zeros(16000), 16000)
    (data / "broken.flac").write_bytes((data / "more" / "2.flac").read_bytes()[:2000])
    (data / "text.wav").write_text("once upon a time")
    assert train("--steps", "1") == 0
    lines = capsys.readouterr().err.splitlines()
    skipped = [line for line in lines if line.startswith("skipped ")]
    assert [Path(line.removeprefix("skipped ").split(": ")[0]).name for line in skipped] == [
        "broken.flac",
        "silent.wav",
        "text.wav",
    ]
    assert any("6 s of sound in 2 files" in line for line in lines)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--data", "missing"], "no such file or folder: missing"),
        (["--data", "empty"], "no audio files in empty"),
        (["--data", "short"], "only 1.0 s of usable sound in 1 files"),
        (["--data", "hits", "--steps", "0"], "--steps must be above 0, got 0"),
        (["--data", "hits", "--minutes", "-1"], "--minutes must be above 0, got -1"),
        (["--data", "hits", "--minutes", "nan"], "--minutes must be above 0"),
        (["--data", "hits", "--dim", "0"], "--dim must be above 0"),
        (["--data", "hits", "--checkpoint-every", "0"], "--checkpoint-every must be above 0"),
        (["--data", "hits", "--sample-rate", "0"], "--sample-rate must be above 0"),
        (["--data", "hits", "--seed", "-1"], "--seed must be in 0 to 4294967295, got -1"),
        (["--data", "hits", "--seed", "99999999999999999999"], "--seed must be in 0 to 4294967295, got 9999"),
        (["--data", "hits", "--kind", "nmf", "--seed", "4294967296"], "--seed must be in 0 to 4294967295"),
        (["--data", "hits", "--segment", "5"], "invalid choice: 5"),
        (["--data", "hits", "--objective", "magic"], "invalid choice: 'magic'"),
        (["--data", "hits", "--name", "a,b"], "a model's name must be usable as a folder name"),
        (["--data", "hits", "--init-from", "nobody"], "no gan model 'nobody'"),
        (["--data", "hits", "--interference", "missing"], "no such file or folder: missing"),
        (["--data", "hits", "--device", "abacus"], "device 'abacus' is not available"),
        (["--data", "hits", "-o", "file"], "file: the model cannot be written there"),
        (["--data", "hits", "--library", "file"], "no library can be written to"),
        ([], "the following arguments are required: --data"),
        (["--data", "hits", "--kind", "magic"], "invalid choice: 'magic'"),
        (["--data", "hits", "--atoms", "8"], "--atoms belongs to --kind nmf, not to gan; leave it out"),
        (["--data", "hits", "--divergence", "is"], "--divergence belongs to --kind nmf"),
        (["--data", "hits", "--kind", "nmf", "--minutes", "1"], "--minutes belongs to --kind gan, not to nmf"),
        (["--data", "hits", "--kind", "nmf", "--steps", "5"], "--steps belongs to --kind gan"),
        (["--data", "hits", "--kind", "nmf", "--objective", "default"], "--objective belongs to --kind gan"),
        (["--data", "hits", "--keep-sounds", "-1"], "seconds of sound to keep must be 0, or 5 or more, got -1.0"),
        (["--data", "hits", "--kind", "nmf", "--keep-sounds", "5"], "--keep-sounds belongs to --kind gan"),
        (["--data", "hits", "--kind", "nmf", "--resume"], "--resume belongs to --kind gan"),
        (["--data", "hits", "--kind", "nmf", "--dim", "32"], "--dim belongs to --kind gan"),
        (["--data", "hits", "--kind", "nmf", "--segment", "16384"], "--segment belongs to --kind gan"),
        (["--data", "hits", "--kind", "nmf", "--init-from", "a"], "--init-from belongs to --kind gan"),
        (["--data", "hits", "--kind", "nmf", "--interference", "hits"], "--interference belongs to --kind gan"),
        (["--data", "hits", "--kind", "nmf", "--checkpoint-every", "5"], "--checkpoint-every belongs to --kind gan"),
        (["--data", "hits", "--kind", "nmf", "--atoms", "0"], "--atoms must be above 0, got 0"),
        (["--data", "hits", "--kind", "nmf", "--atoms", "600"], "atoms must be in 1 to 513"),
        (["--data", "hits", "--kind", "nmf", "--divergence", "x"], "invalid choice: 'x'"),
        (["--data", "missing", "--kind", "nmf"], "no such file or folder: missing"),
        (["--data", "short", "--kind", "nmf"], "only 1.0 s of usable sound in 1 files"),
        (["--data", "hits", "--kind", "nmf", "-o", "file"], "file: the model cannot be written there"),
    ],
)
def test_refused(data: Path, capsys: Capture, arguments: list[str], said: str) -> None:
    Path("empty").mkdir()
    Path("short").mkdir()
    soundfile.write("short/1.wav", np.random.default_rng(0).uniform(-1, 1, 16000), 16000)
    Path("file").write_bytes(b"precious")
    library = [] if "--library" in arguments else ["--library", "library"]
    assert main(["train-prior", *arguments, *library]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("gansep: error: ")
    assert said in err
    assert err.count("\n") == 1
    assert not list(Path().glob("library/*/*"))
    assert Path("file").read_bytes() == b"precious"


def test_a_training_that_fails_is_one_line(train: Train, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setattr(PriorTraining, "health", lambda self: "the generator has gone silent")
    assert train("--steps", "1") == 2
    err = capsys.readouterr().err
    assert err.splitlines()[-1].startswith("gansep: error: step 1: the generator has gone silent")
    assert "Traceback" not in err
    assert not Path("library/gan/hits/weights.safetensors").exists()
