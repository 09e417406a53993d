"""``gansep train-autoencoder``: what a source is, what it writes, what it refuses, and what its help says."""

from __future__ import annotations

import inspect
import signal
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from gansep.cli import build_parser, main
from gansep.cli import train_autoencoder as verb
from gansep.library import find_model, load_prior, load_separation, read_card, verify
from gansep.library import search as search_module
from gansep.nets import spectrogram
from gansep.nets.autoencoder import LAYERS, SIZES
from gansep.nets.sound import DOMAINS, PHASES, SoundConfig, griffin_lim
from gansep.nets.wavegan import SEGMENTS, PriorConfig
from gansep.training.autoencoder import CORRUPTIONS, LOSSES, SNR_DB, train_denoiser
from gansep.training.journal import Journal
from gansep.training.mixing import Mixing
from gansep.training.objectives import OBJECTIVES, Objective
from gansep.training.prior import PriorTraining
from gansep.training.separators import SeparatorSettings

Capture = pytest.CaptureFixture[str]
TINY = ["--width", "8", "--depth", "1", "--code", "4", "--layers", "dense", "--n-fft", "64", "--steps", "1"]
TINY += ["--seconds", "0.1", "--batch", "2", "--sample-rate", "8000", "--library", "library", "--progress", "none"]
DENOISING = ["--kind", "denoising", "--data", "speech"]
CONDITIONAL = ["--kind", "conditional", "--data", "speech", "hum"]
SMALL = ["--dim", "1", "--latent", "4", "--steps", "1", "--sample-rate", "8000", "--library", "library"]
SMALL += ["--progress", "none"]
VARIATIONAL = ["--kind", "variational", "--data", "speech"]


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_module, "_packaged", lambda: tmp_path / "packaged")
    monkeypatch.setattr(Journal, "write", lambda *_: None)  # pictures take longer than these trainings
    monkeypatch.chdir(tmp_path)
    record("speech/1.wav", 1)
    record("hum/1.wav", 2)


def record(file: str, seed: int) -> None:
    """Six seconds of noise."""
    Path(file).parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(file, np.random.default_rng(seed).uniform(-0.5, 0.5, 6 * 8000), 8000)


def train(*flags: str) -> int:
    return main(["train-autoencoder", *flags, *TINY])


def card_of(capsys: Capture, *flags: str):
    """The card of the model that a training prints."""
    assert train(*flags) == 0
    return read_card(capsys.readouterr().out.strip())


# What is learned of


def test_from_a_folder_to_a_denoiser(capsys: Capture) -> None:
    assert train(*DENOISING, "--noise", "hum", "--loss", "log-spectral", "--licence", "CC0-1.0") == 0
    out, err = capsys.readouterr()
    assert out == "library/autoencoder/speech-hum\n"
    assert "speech: 6 s of sound in 1 files" in err and "hum: 6 s of sound in 1 files" in err
    card = read_card("library/autoencoder/speech-hum")
    assert (card.kind, card.sources, card.data_licence) == ("autoencoder", ("speech", "hum"), "CC0-1.0")
    said = {"job": "denoising", "corruption": "noise", "loss": "log-spectral", "hop": 32, "layers": "dense"}
    assert {name: card.config[name] for name in said} == said
    assert card.data == "recordings in speech, hum"
    assert f"snr_db={SNR_DB}" in card.extra["mixing"]
    assert verify(find_model("speech-hum", "autoencoder", "library")) == []


def test_noise_by_another_name_and_loudness(capsys: Capture) -> None:
    card = card_of(capsys, *DENOISING, "--noise", "noise=hum", "--snr", "0", "5", "--name", "cleaner")
    assert (card.name, card.sources) == ("cleaner", ("speech", "noise"))
    assert "snr_db=(0.0, 5.0)" in card.extra["mixing"]


@pytest.mark.parametrize(
    ("flags", "corruption"),
    [
        ([], "gaussian"),
        (["--corruption", "gaussian"], "gaussian"),
        (["--corruption", "salt-pepper"], "salt-pepper 0.2"),
        (["--corruption", "salt-pepper", "--amount", "0.5"], "salt-pepper 0.5"),
    ],
)
def test_noise_that_is_made(flags: list[str], corruption: str, capsys: Capture) -> None:
    card = card_of(capsys, *DENOISING, *flags)
    assert (card.sources, card.config["corruption"]) == (("speech", "noise"), corruption)
    assert load_separation("autoencoder", ["noise", "speech"], library="library").card.name == "speech-noise"


def test_from_folders_to_a_conditional_one(capsys: Capture) -> None:
    record("wind/1.wav", 3)
    card = card_of(capsys, *CONDITIONAL, "storm=wind", "--sounding", "2", "--gain-db", "6", "--domain", "waveform")
    assert (card.name, card.sources) == ("speech-hum-storm", ("speech", "hum", "storm"))
    said = {"job": "conditional", "loss": "mse", "classes": 3, "domain": "waveform"}
    assert {name: card.config[name] for name in said} == said
    assert "gain_db=6.0" in card.extra["mixing"] and "sounding=2" in card.extra["mixing"]


def test_the_networks_own_flags_reach_its_card(capsys: Capture) -> None:
    flags = ["--domain", "mel", "--mels", "12", "--phase", "griffin-lim", "--floor", "0.01", "--hop", "16"]
    config = card_of(capsys, *CONDITIONAL, *flags).config
    names = ("domain", "mels", "phase", "floor", "hop", "n_fft", "width", "depth", "code", "sample_rate")
    assert [config[name] for name in names] == ["mel", 12, "griffin-lim", 0.01, 16, 64, 8, 1, 4, 8000]


def test_resumes(capsys: Capture) -> None:
    assert train(*CONDITIONAL) == 0
    assert train(*CONDITIONAL) == 2
    assert "holds a model already; go on with --resume" in capsys.readouterr().err
    assert main(["train-autoencoder", *CONDITIONAL, *TINY, "--steps", "3", "--resume"]) == 0
    assert "resumed from step 1" in capsys.readouterr().err
    assert main(["train-autoencoder", *CONDITIONAL, *TINY, "--steps", "3", "-o", "other"]) == 0
    weights = [Path(folder) / "weights.safetensors" for folder in ("other", "library/autoencoder/speech-hum")]
    assert weights[0].read_bytes() == weights[1].read_bytes()


# Sources of one folder


@pytest.fixture
def speakers() -> Path:
    for number, speaker in enumerate(("ann", "bob", "eve")):
        record(f"voices/{speaker}/deep/{speaker}_1.wav", number)
        record(f"voices/{speaker}/{speaker}_2.wav", 10 + number)
    record("voices/nobody_9.wav", 9)
    return Path("voices")


@pytest.mark.parametrize(
    ("flags", "sources", "seconds"),
    [
        (["--by-folder"], ("ann", "bob", "eve"), [12, 12, 12]),
        (["--by-name", "^[a-z]+"], ("ann", "bob", "eve", "nobody"), [12, 12, 12, 6]),
        (["--by-name", "[a-z]+_([12])"], ("1", "2"), [18, 18]),
        (["--by-name", "(?:(ann|bob)|nobody)_"], ("ann", "bob"), [12, 12]),
    ],
)
@pytest.mark.usefixtures("speakers")
def test_sources_by_folder_and_by_name(
    flags: list[str], sources: tuple[str, ...], seconds: list[int], capsys: Capture
) -> None:
    """What neither says anything about is left out."""
    card = card_of(capsys, "--kind", "conditional", "--data", "voices", *flags)
    assert (card.sources, card.name) == (sources, "-".join(sources))
    assert card.extra["seconds_of_sound"] == seconds


@pytest.mark.usefixtures("speakers")
def test_folders_of_one_name_are_one_source(capsys: Capture) -> None:
    record("more/ann/3.wav", 20)
    card = card_of(capsys, "--kind", "conditional", "--data", "voices", "more", "--by-folder")
    assert (card.sources, card.extra["seconds_of_sound"]) == (("ann", "bob", "eve"), [18, 12, 12])


def test_more_sources_than_a_name_can_hold(capsys: Capture) -> None:
    for number in range(25):
        record(f"voices/speaker-{number:03}/1.wav", number)
    by_folder = ["--kind", "conditional", "--data", "voices", "--by-folder"]
    assert train(*by_folder) == 2
    said = "--by-folder finds 25 sources, too many to call the model by; give it a --name"
    assert capsys.readouterr().err == f"gansep: error: {said}\n"
    card = card_of(capsys, *by_folder, "--name", "voices", "--sounding", "2")
    assert (card.name, len(card.sources), card.config["classes"]) == ("voices", 25, 25)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--by-name", "x[0-9]"], "--by-name 'x[0-9]' finds no file whose name matches in voices"),
        (["--by-name", ""], "--by-name '' finds no file whose name matches in voices"),
        (["--by-name", "(s"], "--by-name '(s' is no pattern: missing ), unterminated subpattern at position 0"),
        (["--by-name", "ann"], "mixtures need at least two sources, got ann from --by-name 'ann'"),
        (["--by-folder", "--by-name", "a"], "--by-folder and --by-name both say what a source is; give one"),
        (["--condition", "--by-name", "a"], "--condition and --by-name both say what a source is; give one"),
        (["--by-folder", "--sounding", "9"], "--sounding must be at most the number of sources, 3, got 9"),
    ],
)
@pytest.mark.usefixtures("speakers")
def test_sources_that_are_not_there(flags: list[str], said: str, capsys: Capture) -> None:
    refused(["--kind", "conditional", "--data", "voices", *flags], said, capsys)


@pytest.mark.parametrize(
    ("folders", "said"),
    [
        (["residual", "ann"], "'residual' is taken, got ann, residual; it comes from --by-folder"),
        (["a,b", "ann"], "and have no comma, got 'a,b'; it comes from --by-folder"),
        ([], "--by-folder finds no subfolder with recordings in all"),
    ],
)
def test_subfolders_that_are_no_sources(folders: list[str], said: str, capsys: Capture) -> None:
    record("all/1.wav", 0)
    for number, folder in enumerate(folders):
        record(f"all/{folder}/1.wav", number)
    refused(["--kind", "conditional", "--data", "all", "--by-folder"], said, capsys)


def test_matches_that_are_no_sources(capsys: Capture) -> None:
    record("all/ann+1.wav", 0)
    said = "a source's name must be usable as a file name and have no comma, got '+'; it comes from --by-name '[+-]'"
    refused(["--kind", "conditional", "--data", "all", "--by-name", "[+-]"], said, capsys)


def test_a_source_by_folder_needs_folders(capsys: Capture) -> None:
    for data in ("nobody", "speech/1.wav"):
        for flags, asked in ((["--condition"], "--condition"), (["--by-name", "a"], "--by-name 'a'")):
            said = f"{data}: no such folder; {asked} needs folders of recordings"
            refused(["--kind", "conditional", "--data", data, *flags], said, capsys)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--by-name", "(?:(ann|bob)|nobody)_"], "--by-name '(?:(ann|bob)|nobody)_': 3 of 7 files are without a match"),
        (["--condition"], "--condition: 1 of 7 files are in no subfolder and left out"),
        (["--by-name", "^[a-z]+"], ""),
    ],
)
@pytest.mark.usefixtures("speakers")
def test_files_that_are_left_out_are_counted(flags: list[str], said: str, capsys: Capture) -> None:
    assert train("--kind", "conditional", "--data", "voices", *flags) == 0
    lines = capsys.readouterr().err.splitlines()
    assert [line.startswith(said) for line in lines if "left out" in line] == [True] * bool(said)


# Priors


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> list[PriorTraining]:
    """Those of variational priors, as they begin; small ones, whose phases cost little."""
    begun: list[PriorTraining] = []
    create = PriorTraining.__post_init__
    monkeypatch.setattr(PriorTraining, "__post_init__", lambda self: (begun.append(self), create(self))[1])
    monkeypatch.setitem(OBJECTIVES, "vae", replace(OBJECTIVES["vae"], batch=2))
    monkeypatch.setattr(spectrogram, "griffin_lim", partial(griffin_lim, iterations=1))
    monkeypatch.setattr(PriorTraining, "health", lambda self: None)  # of noise, so small a network plays all alike
    return begun


def train_small(*flags: str) -> int:
    return main(["train-autoencoder", *SMALL, *flags])


def test_from_a_folder_to_a_prior(trainings: list[PriorTraining], capsys: Capture) -> None:
    assert train_small(*VARIATIONAL, "--seed", "5", "--licence", "CC0-1.0") == 0
    out, err = capsys.readouterr()
    assert out == "library/vae/speech\n"
    assert "speech: 6 s of sound in 1 files" in err and "ended by steps at step 1" in err
    card = read_card("library/vae/speech")
    assert (card.kind, card.sources, card.seed, card.data_licence) == ("vae", ("speech",), 5, "CC0-1.0")
    assert PriorConfig(**card.config) == PriorConfig(dim=1, latent=4, sample_rate=8000, variational=True)
    assert (card.data, card.extra["objective"]) == ("recordings in speech", "vae")
    assert trainings[0].objective == OBJECTIVES["vae"]
    assert [clips.sha256 for clips in trainings[0].others] == ["coloured noise"]
    assert not Path("library/vae/speech/sounds").exists()
    prior = load_prior("vae/speech", "library")
    assert prior.sample(2).shape == (2, 16384) and prior.encoder is not None
    assert verify(find_model("vae/speech", None, "library")) == []


def test_a_priors_own_flags_reach_it(trainings: list[PriorTraining], capsys: Capture) -> None:
    flags = ["--domain", "magnitude", "--segment", "32768", "--dim", "2", "--latent", "6", "--beta", "0.5"]
    flags += ["--warm-up", "7", "--interference", "hum", "hum/1.wav", "--name", "talk", "-o", "out/talk"]
    assert train_small(*VARIATIONAL, *flags) == 0
    assert capsys.readouterr().out == "out/talk\n"
    (training,) = trainings
    assert (training.objective.divergence, training.objective.warm_up) == (0.5, 7)
    assert [other.sha256 for other in training.others] == [training.others[0].sha256] * 2
    card = read_card("out/talk")
    assert card.name == "talk"
    wanted = PriorConfig(2, 6, 32768, 8000, variational=True, domain="magnitude")
    assert PriorConfig(**card.config) == wanted


def test_a_prior_by_another_name(trainings: list[PriorTraining], capsys: Capture) -> None:
    assert train_small("--kind", "variational", "--data", "talk=speech") == 0
    assert capsys.readouterr().out == "library/vae/talk\n"
    assert len(trainings) == 1


@pytest.mark.parametrize(
    ("flags", "classes", "seconds"),
    [
        (["--condition"], ("ann", "bob", "eve"), [12, 12, 12]),
        (["--by-folder"], ("ann", "bob", "eve"), [12, 12, 12]),
        (["--by-name", "^[a-z]+"], ("ann", "bob", "eve", "nobody"), [12, 12, 12, 6]),
        (["--by-name", "(ann)_", "--name", "choir"], ("ann",), [12]),  # one is enough
    ],
)
@pytest.mark.usefixtures("speakers")
def test_classes_by_folder_and_by_name(
    flags: list[str], classes: tuple[str, ...], seconds: list[int], trainings: list[PriorTraining], capsys: Capture
) -> None:
    assert train_small("--kind", "variational", "--data", "voices", *flags) == 0
    name = "choir" if "choir" in flags else "voices"
    out, err = capsys.readouterr()
    assert out == f"library/vae/{name}\n"
    for one, length in zip(classes, seconds, strict=True):
        assert f"{one}: {length} s of sound in {length // 6} files" in err
    assert [part.seconds for part in trainings[0].parts] == seconds
    prior = load_prior(f"vae/{name}", "library")
    assert prior.classes == classes and prior.card.sources == (name,)
    assert prior.told(classes[-1]).sample(1).shape == (1, 16384)


@pytest.mark.usefixtures("trainings")
def test_a_prior_has_as_many_classes_as_there_are(capsys: Capture) -> None:
    for number in range(25):
        record(f"voices/speaker-{number:03}/1.wav", number)
    assert train_small("--kind", "variational", "--data", "voices", "--condition") == 0
    assert len(load_prior(capsys.readouterr().out.strip()).classes) == 25


@pytest.mark.usefixtures("trainings", "speakers")
def test_a_prior_resumes(capsys: Capture) -> None:
    flags = ["--kind", "variational", "--data", "voices", "--condition"]
    assert train_small(*flags) == 0
    assert train_small(*flags) == 2
    assert "holds a model already; go on with --resume" in capsys.readouterr().err
    assert train_small(*flags, "--steps", "3", "--resume") == 0
    assert "resumed from step 1" in capsys.readouterr().err
    assert train_small(*flags, "--steps", "3", "-o", "other") == 0
    weights = [Path(folder) / "weights.safetensors" for folder in ("other", "library/vae/voices")]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    assert train_small(*flags, "--steps", "4", "--resume", "--beta", "0.5") == 2
    assert "it was made with other settings" in capsys.readouterr().err


@pytest.mark.usefixtures("trainings")
def test_ctrl_c_keeps_what_a_prior_reached(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    step = PriorTraining.step

    def interrupted(self: PriorTraining, number: int) -> dict[str, float]:
        if number == 1:
            signal.raise_signal(signal.SIGINT)
        return step(self, number)

    monkeypatch.setattr(PriorTraining, "step", interrupted)
    assert train_small(*VARIATIONAL, "--steps", "50") == 130
    err = capsys.readouterr().err
    assert "ended by interrupted at step 2" in err and err.splitlines()[-1] == "gansep: interrupted"
    assert read_card("library/vae/speech").extra["steps"] == 2
    monkeypatch.setattr(PriorTraining, "step", step)
    assert train_small(*VARIATIONAL, "--steps", "3", "--resume") == 0
    assert "resumed from step 2\n" in capsys.readouterr().err


@pytest.mark.usefixtures("trainings")
def test_a_prior_begins_with_another(capsys: Capture) -> None:
    assert train_small(*VARIATIONAL) == 0
    assert train_small(*VARIATIONAL, "--init-from", "speech", "--name", "more") == 0
    capsys.readouterr()
    assert train_small(*VARIATIONAL, "--init-from", "speech", "--name", "much", "--latent", "5") == 2
    assert "sizes differ (latent is 4, wanted 5)" in capsys.readouterr().err
    weights = [
        load_prior(f"vae/{name}", "library").generator.get_parameter("seed.weight") for name in ("speech", "more")
    ]
    assert 0 < (weights[0] - weights[1]).abs().mean() < 0.01


# Refused


def refused(flags: list[str], said: str, capsys: Capture) -> None:
    assert main(["train-autoencoder", *(SMALL if "variational" in flags else TINY), *flags]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("gansep: error: ") and said in err
    assert not list(Path().glob("library/*/*"))


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--data", "speech"], "the following arguments are required: --kind"),
        (["--kind", "magic", "--data", "speech"], "invalid choice: 'magic'"),
        # Flags of the other kind
        ([*CONDITIONAL, "--noise", "hum"], "--noise belongs to --kind denoising, not to conditional; leave it out"),
        ([*CONDITIONAL, "--corruption", "noise"], "--corruption belongs to --kind denoising, not to conditional"),
        ([*CONDITIONAL, "--amount", "0.1"], "--amount belongs to --kind denoising, not to conditional"),
        (
            [*DENOISING, "--by-folder"],
            "--by-folder belongs to --kind conditional or variational, not to denoising; leave it out",
        ),
        ([*DENOISING, "--condition"], "--condition belongs to --kind conditional or variational, not to denoising"),
        ([*DENOISING, "--by-name", "x"], "--by-name belongs to --kind conditional or variational, not to denoising"),
        ([*DENOISING, "--sounding", "1"], "--sounding belongs to --kind conditional, not to denoising"),
        ([*DENOISING, "--gain-db", "3"], "--gain-db belongs to --kind conditional, not to denoising"),
        # Flags that say nothing beside others
        ([*DENOISING, "--amount", "0.1"], "--amount belongs to --corruption salt-pepper; leave it out"),
        (
            [*DENOISING, "--corruption", "salt-pepper", "--snr", "0", "5"],
            "--snr belongs to --corruption noise or gaussian; leave it out",
        ),
        ([*DENOISING, "--mels", "40"], "--mels belongs to --domain mel; leave it out"),
        (
            [*CONDITIONAL, "--domain", "waveform", "--phase", "mixture"],
            "--phase belongs to --domain magnitude or mel; leave it out",
        ),
        ([*CONDITIONAL, "--domain", "waveform", "--floor", "1"], "--floor belongs to --domain magnitude or mel"),
        ([*CONDITIONAL, "--sounding", "1", "--snr", "0", "5"], "sounding must be at least 0, and 0 with snr_db"),
        ([*CONDITIONAL, "--snr", "0", "5", "--gain-db", "9"], "--gain-db and --snr both say how loud"),
        # Numbers
        ([*DENOISING, "--corruption", "salt-pepper", "--amount", "1"], "--amount must be in (0, 1), got 1.0"),
        ([*DENOISING, "--corruption", "salt-pepper", "--amount", "0"], "--amount must be above 0, got 0.0"),
        ([*DENOISING, "--corruption", "salt-pepper", "--amount", "nan"], "--amount must be above 0, got nan"),
        ([*CONDITIONAL, "--sounding", "0"], "--sounding must be above 0, got 0"),
        ([*CONDITIONAL, "--hop", "0"], "--hop must be above 0, got 0"),
        ([*CONDITIONAL, "--n-fft", "30"], "n_fft must be a multiple of 4 from 64 up"),
        ([*CONDITIONAL, "--floor", "inf"], "floor must be at most 1000, got inf"),
        ([*CONDITIONAL, "--code", "0"], "--code must be above 0, got 0"),
        ([*CONDITIONAL, "--width", "-1"], "--width must be above 0, got -1"),
        ([*CONDITIONAL, "--sounding", "3"], "--sounding must be at most the number of sources, 2, got 3"),
        ([*CONDITIONAL, "--depth", "30000"], "depth must be at most 64, got 30000"),
        ([*CONDITIONAL, "--steps", "0"], "--steps must be above 0, got 0"),
        ([*DENOISING, "--snr", "5", "-5"], "snr_db must go from low to high"),
        # Sounds
        ([*DENOISING, "hum"], "--kind denoising has one clean source, got 2; give noise with --noise"),
        ([*DENOISING, "--corruption", "noise"], "wrong number of folders of noise: noise needs one folder, got 0"),
        ([*DENOISING, "--corruption", "gaussian", "--noise", "hum"], "gaussian needs none, got 1 beside speech"),
        (["--kind", "denoising", "--data", "noise=speech"], "clean sounds cannot be called noise"),
        ([*DENOISING, "--noise", "speech"], "two sources are called speech; name one otherwise, as other=speech"),
        ([*DENOISING, "--noise", "nobody"], "no such file or folder: nobody"),
        (["--kind", "conditional", "--data", "speech"], "mixtures need at least two sources, got speech"),
        ([*CONDITIONAL, "--init-from", "x"], "no autoencoder model 'x'"),
        (
            [*DENOISING, "--domain", "waveform", "--loss", "log-spectral"],
            "denoisers of waveform cannot be learned by 'log-spectral'; expected one of mse",
        ),
    ],
)
def test_refused_in_one_line(flags: list[str], said: str, capsys: Capture) -> None:
    refused(flags, said, capsys)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        # Numbers
        (["--dim", "0"], "--dim must be above 0, got 0"),
        (["--latent", "-1"], "--latent must be above 0, got -1"),
        (["--steps", "0"], "--steps must be above 0, got 0"),
        (["--sample-rate", "0"], "--sample-rate must be above 0, got 0"),
        (["--checkpoint-every", "0"], "--checkpoint-every must be above 0, got 0"),
        (["--seed", "-1"], "--seed must be in 0 to 4294967295, got -1"),
        (["--segment", "5"], "invalid choice: 5"),
        (["--beta", "-0.1"], "--beta must be a number from 0 up, got -0.1"),
        (["--beta", "nan"], "--beta must be a number from 0 up, got nan"),
        (["--beta", "inf"], "--beta must be a number from 0 up, got inf"),
        (["--warm-up", "-1"], "--warm-up must be a number from 0 up, got -1"),
        # Words
        (["--domain", "mel"], "unknown domain 'mel'; expected one of waveform, magnitude"),
        (["--init-from", "x"], "no vae model 'x'"),
        (["--name", "a,b"], "a model's name must be usable as a folder name"),
        (["--device", "abacus"], "device 'abacus' is not available"),
        # Sounds
        (["--data", "speech", "hum"], "--kind variational has one source, got 2; train one a source"),
        (["--data", "nobody"], "no such file or folder: nobody"),
        (["--interference", "nobody"], "no such file or folder: nobody"),
        (["--condition"], "--condition finds no subfolder with recordings in speech"),
        (["--condition", "--by-name", "a"], "--condition and --by-name both say what a source is; give one"),
        (["--by-name", "x[0-9]"], "--by-name 'x[0-9]' finds no file whose name matches in speech"),
        (["--data", "nobody", "--condition"], "nobody: no such folder"),
    ],
)
def test_priors_that_cannot_be(flags: list[str], said: str, capsys: Capture) -> None:
    refused([*VARIATIONAL, *flags], said, capsys)


def foreign_flags() -> Iterator[tuple[str, str, str]]:
    """Each flag that only some kinds have, with a kind that does not have it, and what is said of it."""
    for kinds, names in verb.OF_KINDS.items():
        for name in names:
            for kind in set(verb.KINDS) - set(kinds):
                flag = "--" + name.replace("_", "-")
                yield kind, flag, f"{flag} belongs to --kind {' or '.join(kinds)}, not to {kind}; leave it out"


@pytest.mark.parametrize(("kind", "flag", "said"), sorted(foreign_flags()))
def test_flags_of_other_kinds_are_refused(kind: str, flag: str, said: str, capsys: Capture) -> None:
    known: dict[str, list[str]] = {
        "--corruption": ["noise"],
        "--by-folder": [],
        "--layers": ["conv"],
        "--phase": ["mixture"],
        "--loss": ["mse"],
        "--snr": ["0", "5"],
        "--segment": ["16384"],
    }
    common = ["--steps", "1", "--library", "library", "--progress", "none"]
    args = ["train-autoencoder", "--kind", kind, "--data", "speech", *common, flag, *known.get(flag, ["1"])]
    assert main(args) == 2
    assert capsys.readouterr().err == f"gansep: error: {said}\n"
    assert not Path("library").exists()


# Help


def test_flags_offer_what_there_is() -> None:
    assert (verb.DOMAINS, verb.PHASES, verb.LOSSES) == (DOMAINS, PHASES, LOSSES)
    assert (verb.LAYERS, verb.CORRUPTIONS, verb.SEGMENTS) == (LAYERS, CORRUPTIONS, SEGMENTS)


def shown(value: Any) -> str:
    return str(value) if isinstance(value, str) else f"{value:g}"


def test_help_says_the_defaults(capsys: Capture) -> None:
    with pytest.raises(SystemExit):
        main(["train-autoencoder", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    config, prior, mixing = SoundConfig(), PriorConfig(), Mixing()
    for flag, default in (
        ("--domain {magnitude,mel,waveform}", f"{config.domain}; variational: {prior.domain}"),
        ("--layers {conv,dense,lstm}", config.layers),
        ("--code N", config.code),
        ("--mels N", config.mels),
        ("--phase {mixture,griffin-lim}", config.phase),
        ("--floor X", config.floor),
        ("--n-fft N", config.n_fft),
        ("--amount P", inspect.signature(train_denoiser).parameters["amount"].default),
        ("--loss {mse,log-spectral}", LOSSES[0]),
        ("--seconds S", mixing.seconds),
        ("--gain-db DB", mixing.gain_db),
        ("--absent P", mixing.absent),
        ("--batch B", SeparatorSettings.batch),
        ("--rate R", SeparatorSettings.rate),
        ("--beta B", Objective.divergence),
        ("--warm-up N", Objective.warm_up),
        ("--dim N", prior.dim),
        ("--latent N", prior.latent),
        ("--segment {16384,32768,65536}", str(prior.segment)),
    ):
        text = said[said.rindex(flag) + len(flag) :]
        assert text[: text.index(")") + 1].endswith(f"(default: {shown(default)})"), flag
    assert (OBJECTIVES["vae"].divergence, OBJECTIVES["vae"].warm_up) == (Objective.divergence, Objective.warm_up)
    low, high = SNR_DB
    assert f"without --snr the clean sound is {-low:g} dB below the noise to {high:g} dB above it" in said
    for number, flag in enumerate(("width", "depth")):
        assert ", ".join(f"{layers} {SIZES[layers][number]}" for layers in LAYERS) in said, flag
    args = build_parser().parse_args(["train-autoencoder", *CONDITIONAL])
    verb._check(args)
    assert verb._config(args) == config


def test_a_prior_s_defaults_are_those_of_its_config(
    trainings: list[PriorTraining], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(self: PriorTraining, number: int) -> dict[str, float]:
        raise InterruptedError

    monkeypatch.setattr(PriorTraining, "step", stop)
    with pytest.raises(InterruptedError):
        main(["train-autoencoder", *VARIATIONAL, "--library", "library", "--progress", "none"])
    assert trainings[0].config == PriorConfig(variational=True)
    assert trainings[0].objective == OBJECTIVES["vae"]
