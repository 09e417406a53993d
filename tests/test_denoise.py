"""Files in, the kept source out: forms, places, what adds up, what is refused, and what is left when it ends."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from gansep import library as library_module
from gansep.audio import read
from gansep.backends import mask as mask_module
from gansep.denoise import SOURCES, Denoising, Outcome, denoise_files
from gansep.library import Card, load_separation, save_model
from gansep.library import separation as separation_module
from gansep.nets.masknet import MaskNet
from gansep.nets.sound import SoundAutoencoder, SoundConfig
from gansep.nets.spectral import NetConfig
from gansep.results import Layout
from gansep.separate import separate_file
from gansep.types import AudioError, Estimates, GansepError, ModelError, OutputError

MakeFile = Callable[..., Path]
pytestmark = pytest.mark.usefixtures("nothing_packaged")


def make_model(library: Path, sources: tuple[str, ...] = ("speech", "noise"), seed: int = 0) -> Path:
    """A causal network with random weights, in a library."""
    config = NetConfig(outputs=len(sources), n_fft=128, hop=64, width=8, depth=2, causal=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        weights = MaskNet(config, "irm").state_dict()
    settings = config.to_json() | {"target": "irm", "loss": "snr"}
    name = "-".join(sources)
    save_model(library / "mask" / name, weights, Card(name, settings, 16000, None, sources, kind="mask"))
    return library / "mask" / name


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("masks")
    make_model(folder)
    make_model(folder, ("birds", "rain", "wind"), seed=1)
    return folder


Denoise = Callable[..., Outcome]


@pytest.fixture
def denoise(library: Path, tmp_path: Path) -> Denoise:
    def run(*inputs: Path, out: str = "out", **wanted: Any) -> Outcome:
        return denoise_files(inputs, tmp_path / out, library=library, **wanted)

    return run


def only(outcome: Outcome) -> Tensor:
    assert outcome.failed == []
    (done,) = outcome.done
    return read(done.output)[0]


def tree(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


# -- what is written ---------------------------------------------------------------------------------------------------

FORMS = [
    ("mix.wav", 1, 16000, 1, "PCM_16"),
    ("mix.wav", 2, 44100, 2, "FLOAT"),
    ("mix.wav", 20_001, 8000, 1, "PCM_U8"),
    ("mix.flac", 30_000, 44100, 2, "PCM_16"),
    ("mix.wav", 50_001, 22050, 8, "PCM_24"),
    ("mix.wav", 25_000, 96000, 1, "PCM_32"),
    ("mix.WAV", 16_000 * 21, 16000, 1, "PCM_16"),  # three windows
]


@pytest.mark.parametrize(("name", "frames", "rate", "channels", "subtype"), FORMS)
def test_form_and_sum(
    denoise: Denoise, sound: MakeFile, name: str, frames: int, rate: int, channels: int, subtype: str
) -> None:
    """Name, length, rate and channels are the input's; what is kept and what is not add up to it."""
    path = sound(name, frames, rate, channels, subtype=subtype)
    parts = []
    for keep in ("speech", "noise"):
        (done,) = denoise(path, out=keep, keep=keep).done
        assert (done.input, done.output.name, done.gain) == (path, name, 1.0)
        about = soundfile.info(done.output)
        assert (about.frames, about.samplerate, about.channels) == (frames, rate, channels)
        assert (about.format, about.subtype) == (path.suffix[1:].upper(), "PCM_24")
        parts.append(read(done.output)[0])
    torch.testing.assert_close(parts[0] + parts[1], read(path)[0], rtol=0, atol=1e-6)
    if frames > 100:
        assert min(float(part.square().mean()) for part in parts) > 1e-4  # and neither is all of it


def test_strength(denoise: Denoise, sound: MakeFile) -> None:
    path = sound("mix.wav", 20_000, 44100, 2)
    waves = {strength: only(denoise(path, out=str(strength), strength=strength)) for strength in (0, 0.25, 1)}
    mixture = read(path)[0]
    torch.testing.assert_close(waves[0], mixture, rtol=0, atol=2e-7)
    torch.testing.assert_close(waves[0.25], 0.75 * mixture + 0.25 * waves[1], rtol=0, atol=3e-7)
    assert (waves[1] - mixture).abs().max() > 0.05


def test_is_what_separate_writes(denoise: Denoise, sound: MakeFile, library: Path, tmp_path: Path) -> None:
    path = sound("mix.wav", 20_000, 44100, 2)
    wanted: dict[str, Any] = {"backend": "mask", "sources": ["speech", "noise"], "library": library}
    done = separate_file(path, tmp_path / "parts", layout=Layout(picture=False), **wanted)
    assert torch.equal(only(denoise(path, keep="noise")), read(done.stems["noise"])[0])


def test_raw_is_the_networks_own(denoise: Denoise, sound: MakeFile, library: Path) -> None:
    """Hard masks stay hard, where shares of the recording have a floor and another window."""
    path, hard = sound("mix.wav", 9000), {"backend": "mask:threshold=0.5", "float32": True}
    separator = mask_module.Masks(load_separation("mask", ("speech", "noise"), library=library), threshold=0.5)
    expected = separator(read(path)[0]).waves[0, :1]
    torch.testing.assert_close(only(denoise(path, out="raw", raw=True, **hard)), expected, rtol=0, atol=1e-6)
    assert (only(denoise(path, out="shares", **hard)) - expected).abs().max() > 0.01
    half = only(denoise(path, out="half", raw=True, strength=0.5, **hard))
    torch.testing.assert_close(half, (read(path)[0] + expected) / 2, rtol=0, atol=1e-6)


def test_by_an_autoencoder(sound: MakeFile, tmp_path: Path) -> None:
    """A denoiser, or one that is told which; both have speech and noise."""
    faint = (-4.0,) * 65  # answers below the mixture
    sizes = SoundConfig("magnitude", 128, 64, mean=faint, layers="dense", width=8, depth=1, code=4)
    library, path = tmp_path / "models", sound("mix.wav", 20_000, 44100, 2)
    wanted: dict[str, Any] = {"backend": "autoencoder", "library": library}
    jobs = {"denoising": (sizes, SOURCES), "conditional": (replace(sizes, classes=3), (*SOURCES, "music"))}
    for job, (config, sources) in jobs.items():
        torch.manual_seed(0)
        card = Card("-".join(sources), config.to_json() | {"job": job}, 16000, None, sources, kind="autoencoder")
        save_model(library / "autoencoder" / card.name, SoundAutoencoder(config).state_dict(), card)
        speech, noise = (
            only(denoise_files([path], tmp_path / job / keep, keep=keep, model=card.name, **wanted)) for keep in SOURCES
        )
        assert min(float(part.square().mean()) for part in (speech, noise)) > 1e-4
        if job == "denoising":
            torch.testing.assert_close(speech + noise, read(path)[0], rtol=0, atol=1e-6)
            assert torch.equal(only(denoise_files([path], tmp_path / "found", **wanted)), speech)
        rest = only(denoise_files([path], tmp_path / job / "raw", raw=True, model=card.name, **wanted))
        assert (rest - speech).abs().max() > 0.01


def test_model_as_an_option_of_the_back_end(denoise: Denoise, sound: MakeFile) -> None:
    path = sound("mix.wav", 9000)
    one = denoise(path, out="a", backend="mask:threshold=0.5, model=birds-rain-wind", keep="rain")
    other = denoise(path, out="b", backend="mask:threshold=0.5", model="birds-rain-wind", keep="rain")
    assert torch.equal(only(one), only(other))
    assert (only(denoise(path, out="c", model="birds-rain-wind", keep="rain")) - only(one)).abs().max() > 0.01
    assert Denoising(backend="mask:model=7", model="7") == Denoising(model="7")


def test_other_sources(denoise: Denoise, sound: MakeFile, library: Path) -> None:
    """The first one named is kept; a model's own order says so where none is, unless it has speech."""
    path = sound("mix.wav")
    rain = only(denoise(path, out="a", sources=["rain", "wind", "birds"]))
    again = only(denoise(path, out="b", sources="birds, wind, rain", keep="rain"))
    torch.testing.assert_close(again, rain, rtol=0, atol=1e-6)
    birds = only(denoise(path, out="c", model="birds-rain-wind"))
    assert (birds - rain).abs().max() > 0.01
    assert torch.equal(
        birds, only(denoise(path, out="d", model=str(library / "mask" / "birds-rain-wind"), keep="birds"))
    )
    assert Denoising(model="x").kept(("noise", "speech")) == 1


def test_forms_that_are_asked_for(denoise: Denoise, sound: MakeFile) -> None:
    wav, flac, ogg = sound("a.wav"), sound("b.flac"), sound("c.d.ogg", subtype="VORBIS")
    for wanted, written in (
        ({}, {"a.wav": "PCM_24", "b.flac": "PCM_24", "c.d.wav": "PCM_24"}),
        ({"format": "flac"}, {"a.flac": "PCM_24", "b.flac": "PCM_24", "c.d.flac": "PCM_24"}),
        ({"float32": True}, {"a.wav": "FLOAT", "b.wav": "FLOAT", "c.d.wav": "FLOAT"}),
    ):
        outcome = denoise(wav, flac, ogg, out="-".join(wanted), **wanted)
        assert {done.output.name: soundfile.info(done.output).subtype for done in outcome.done} == written


def test_louder_than_pcm_can_be(denoise: Denoise, sound: MakeFile) -> None:
    path = sound("loud.wav", peak=4.0, subtype="FLOAT")
    (done,) = denoise(path, strength=0).done
    assert done.gain == pytest.approx(0.25, abs=1e-4)
    torch.testing.assert_close(read(done.output)[0], done.gain * read(path)[0], rtol=0, atol=1e-6)
    (done,) = denoise(path, strength=0, float32=True, overwrite=True).done
    assert done.gain == 1
    torch.testing.assert_close(read(done.output)[0], read(path)[0], rtol=0, atol=1e-6)


def test_files_share_batches_and_a_model(denoise: Denoise, sound: MakeFile, monkeypatch: pytest.MonkeyPatch) -> None:
    batches, loaded = [], []
    call, load = mask_module.Masks.__call__, separation_module.load_separation

    def counting(self: mask_module.Masks, mixture: Tensor) -> Estimates:
        batches.append(len(mixture))
        return call(self, mixture)

    def loading(*arguments: Any) -> Any:
        loaded.append(arguments)
        return load(*arguments)

    monkeypatch.setattr(mask_module.Masks, "__call__", counting)
    monkeypatch.setattr(library_module, "load_separation", loading)
    told: list[tuple[int, int]] = []
    files = [sound(f"{number}.wav", 9000, seed=number) for number in range(5)]
    outcome = denoise(*files, batch=4, on_window=lambda *numbers: told.append(numbers))
    assert batches == [4, 1]
    assert len(loaded) == 1
    assert told == [(number, 5) for number in range(1, 6)]
    assert [done.input for done in outcome.done] == files
    torch.testing.assert_close(read(outcome.done[3].output)[0], only(denoise(files[3], out="b")), rtol=0, atol=1e-4)


# -- where it is written -----------------------------------------------------------------------------------------------


def test_folders(denoise: Denoise, sound: MakeFile, tmp_path: Path) -> None:
    """What is deeper in a folder stays so; names that meet are told apart; what is there already is no input."""
    for name in ("1.wav", "deep/er/2.flac", "deep/2.ogg", "deep/2.wav", ".hidden/3.wav"):
        sound(name, subtype="VORBIS" if name.endswith("ogg") else "PCM_16")
    (tmp_path / "in" / "notes.txt").write_text("no sound")
    inputs = [tmp_path / "in", tmp_path / "in" / "1.wav", sound("../other/1.wav")]
    for _ in range(2):
        outcome = denoise(*inputs, out="in/clean", overwrite=True)
        assert outcome.failed == []
        assert outcome.done[0].input == inputs[1]
    names = ["1-2.wav", "1.wav", "deep", "deep/2-2.wav", "deep/2.wav", "deep/er", "deep/er/2.flac"]
    assert tree(tmp_path / "in" / "clean") == names


@pytest.mark.parametrize("named", [".", "{}"])
def test_folders_without_sound(sound: MakeFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str) -> None:
    """Also the folder one is in, and one with nothing but results."""
    folder = sound("denoised/1.wav").parent.parent
    monkeypatch.chdir(folder)
    make_model(tmp_path / "models")
    item = Path(named.format(folder))
    outcome = denoise_files([item, "denoised"], "denoised", library=tmp_path / "models", overwrite=True)
    assert [str(error).partition(";")[0] for _, error in outcome.failed] == [
        f"{item}: no sound files in this folder",
        "denoised/1.wav: it is itself an input, and no input is written over",
    ]
    assert outcome.done == []
    assert tree(folder) == ["denoised", "denoised/1.wav"]


def test_existing_results_are_kept(denoise: Denoise, sound: MakeFile, tmp_path: Path) -> None:
    files = [sound("a.wav", seed=1), sound("b.wav", seed=2)]
    kept = denoise(files[0]).done[0].output
    before = kept.read_bytes()
    outcome = denoise(*files, keep="noise")
    assert [done.output.name for done in outcome.done] == ["b.wav"]
    ((path, error),) = outcome.failed
    assert path == files[0]
    assert isinstance(error, OutputError)
    assert "exists already; use --overwrite" in str(error)
    assert kept.read_bytes() == before
    assert denoise(*files, keep="noise", overwrite=True).failed == []
    assert kept.read_bytes() != before
    assert tree(tmp_path / "out") == ["a.wav", "b.wav"]


@pytest.mark.parametrize("how", ["same", "linked", "another's"])
def test_no_input_is_written_over(denoise: Denoise, sound: MakeFile, tmp_path: Path, how: str) -> None:
    path = sound("a.wav")
    inputs = [path]
    if how == "linked":
        (tmp_path / "out").mkdir()
        os.link(path, tmp_path / "out" / "a.wav")
    if how == "another's":  # would become a.wav
        inputs = [sound("sub/a.ogg", subtype="VORBIS"), path]
    before = path.read_bytes()
    outcome = denoise(*inputs, out="out" if how == "linked" else "in", overwrite=True)
    ((failed, error),) = outcome.failed
    assert failed == inputs[0]
    assert "a.wav: it is itself an input, and no input is written over" in str(error)
    assert [done.output.name for done in outcome.done] == ["a-2.wav"] * (how == "another's")
    assert path.read_bytes() == before


def test_broken_files_beside_good_ones(denoise: Denoise, sound: MakeFile, tmp_path: Path) -> None:
    text, cut = tmp_path / "text.wav", sound("cut.wav", 9000)
    text.write_text("once upon a time")
    cut.write_bytes(cut.read_bytes()[:5000])
    nan = tmp_path / "in" / "nan.wav"
    soundfile.write(nan, np.array([0.1] * 4000 + [np.nan]), 16000, "FLOAT")
    huge = sound("huge.wav", peak=1e38, subtype="FLOAT")
    (tmp_path / "hollow").mkdir()
    bad = [text, cut, tmp_path / "missing.wav", nan, huge, tmp_path / "hollow"]
    outcome = denoise(sound("1.wav"), *bad, sound("2.wav"))
    assert [done.output.name for done in outcome.done] == ["1.wav", "2.wav"]
    assert {path for path, _ in outcome.failed} == set(bad)
    assert all(isinstance(error, AudioError) and "\n" not in str(error) for _, error in outcome.failed)
    assert tree(tmp_path / "out") == ["1.wav", "2.wav"]


def test_nothing_is_left_of_a_failure(denoise: Denoise, sound: MakeFile, tmp_path: Path) -> None:
    nan = tmp_path / "in" / "deep" / "nan.wav"
    nan.parent.mkdir(parents=True)
    soundfile.write(nan, np.array([0.1, np.nan]), 16000, "FLOAT")
    assert len(denoise(tmp_path / "in", out="new/out").failed) == 1
    assert tree(tmp_path) == ["in", "in/deep", "in/deep/nan.wav"]
    nine = sound("nine.wav", channels=9)
    ((_, error),) = denoise(nine, out="new", format="flac").failed
    assert "flac holds at most 8 channels, got 9" in str(error)
    (tmp_path / "file").write_bytes(b"precious")
    ((_, error),) = denoise(nine, out="file/below").failed
    assert isinstance(error, OutputError)
    assert not (tmp_path / "new").exists()
    assert (tmp_path / "file").read_bytes() == b"precious"


def test_ctrl_c(denoise: Denoise, sound: MakeFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [sound("first.wav", 9000), sound("deep/second.wav", 16_000 * 30)]
    call, count = mask_module.Masks.__call__, [0]

    def interrupted(self: mask_module.Masks, mixture: Tensor) -> Estimates:
        count[0] += 1
        if count[0] == 3:
            raise KeyboardInterrupt
        return call(self, mixture)

    monkeypatch.setattr(mask_module.Masks, "__call__", interrupted)
    with pytest.raises(KeyboardInterrupt):
        denoise(*files, batch=1)
    assert tree(tmp_path / "out") == ["first.wav"]


# -- what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"keep": "music"}, "cannot keep 'music', the model separates speech, noise"),
        ({"sources": ["speech", "music"]}, r"no mask model of speech\+music; installed ones have birds\+rain\+wind"),
        ({"sources": ["speech", "music"], "model": "speech-noise"}, "separates speech, noise, not speech, music"),
        ({"model": "nobody"}, "nobody"),
        ({"backend": "mapping"}, r"no mapping model of speech\+noise"),
        ({"backend": "autoencoder"}, r"no autoencoder model of speech\+noise; .*train-autoencoder"),
        ({"backend": "nmf"}, "denoising needs --backend mask or mapping or autoencoder, got nmf"),
        ({"backend": "mask:model=a", "model": "b"}, "--model b and --backend mask:model=a name two models"),
        ({"backend": "magic"}, "unknown back end 'magic'"),
        ({"strength": 1.5}, r"strength must be in \[0, 1\], got 1.5"),
        ({"strength": float("nan")}, r"strength must be in \[0, 1\], got nan"),
        ({"format": "mp3"}, "unknown format 'mp3'; expected one of wav, flac"),
        ({"format": "flac", "float32": True}, "flac has no float samples"),
    ],
)
def test_refusals(denoise: Denoise, sound: MakeFile, tmp_path: Path, wanted: dict[str, Any], said: str) -> None:
    with pytest.raises(GansepError, match=said) as error:
        denoise(sound("mix.wav"), **wanted)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_no_inputs_and_no_models(denoise: Denoise, sound: MakeFile, tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="no input files given"):
        denoise()
    with pytest.raises(ModelError, match="none is installed; train one with gansep train-mask"):
        denoise_files([sound("mix.wav")], tmp_path / "out")
