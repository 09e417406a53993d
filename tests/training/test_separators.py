"""From folders of sources to a network that masks mixtures: what it learns, what its card says, what is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from gansep.library import Card, find_model, load_weights, read_card
from gansep.library import search as search_module
from gansep.metrics import si_sdr
from gansep.nets.masknet import TARGETS, MaskNet, maps
from gansep.nets.spectral import NetConfig
from gansep.training.api import Provenance
from gansep.training.data import Augmentation, Clips, load_clips
from gansep.training.loop import Progress
from gansep.training.mask import MaskTask
from gansep.training.mixing import Mixing, draw_parts
from gansep.training.separators import LEVEL, SeparatorSettings, by_name, default_loss, train_mask, with_statistics
from gansep.types import DataError, GansepError, ModelError, OutputError

RATE = 8000
CONFIG = NetConfig(2, "dnn", 128, 1, 256, 128, RATE, context=1, dropout=0.0)
TINY = NetConfig(2, "dnn", 12, 1, 64, 32, RATE, context=1, dropout=0.3)

Events = list[Progress | str]


@pytest.fixture(autouse=True)
def no_packaged_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_module, "_packaged", lambda: tmp_path / "packaged")


def record(folder: Path, seed: int, low: float, high: float) -> None:
    """Six seconds each of ``tones`` between two frequencies, in Hz, and of ``hiss``."""
    random = np.random.default_rng(seed)
    time = np.arange(RATE // 2) / RATE
    for number in range(2):
        for name in ("tones", "hiss"):
            (folder / name).mkdir(parents=True, exist_ok=True)
            tones = [np.sin(2 * np.pi * f * time) for f in np.exp(random.uniform(np.log(low), np.log(high), 6))]
            wave = np.concatenate(tones) if name == "tones" else random.uniform(-1, 1, 3 * RATE)
            soundfile.write(folder / name / f"{number}.wav", 0.5 * wave, RATE)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    record(folder / "train", 0, 200, 2000)
    record(folder / "test", 1, 300, 1500)
    return folder


@pytest.fixture
def folders(data: Path) -> list[Path]:
    return [data / "train" / "tones", data / "train" / "hiss"]


@pytest.fixture
def settings(tmp_path: Path) -> SeparatorSettings:
    """The quickest training there is."""
    (tmp_path / "library").mkdir()
    mixing = Mixing(seconds=0.1)
    return SeparatorSettings(
        steps=4, checkpoint_every=2, batch=4, mixing=mixing, seed=3, device="cpu", library=tmp_path / "library"
    )


def weights(folder: Path) -> bytes:
    return (folder / "weights.safetensors").read_bytes()


def network_of(folder: Path) -> MaskNet:
    """The network of a model folder, by what its card says."""
    config = dict(read_card(folder).config)
    target, _ = config.pop("target"), config.pop("loss")
    network = MaskNet(NetConfig(**config), target)
    network.load_state_dict(load_weights(find_model(folder, "mask")))
    return network.eval()


# It learns


def test_tones_and_hiss_are_told_apart(data: Path, folders: list[Path], settings: SeparatorSettings) -> None:
    """On sounds that it never heard, measured by the card and again by what it saved."""
    mixing = Mixing(seconds=0.5, gain_db=6.0, level_db=(-6.0, -6.0))
    goal = replace(settings, loss="snr", steps=150, checkpoint_every=75, batch=8, rate=5e-3, mixing=mixing)
    held_out = {name: data / "test" / name for name in ("hiss", "tones")}
    folder = train_mask(folders, target="psm", config=CONFIG, settings=goal, held_out=held_out)
    card = read_card(folder)
    assert card.metrics["held_out_mixtures"] == 32
    assert card.metrics["held_out_si_sdr_improvement"] > 4
    first, last = (point["snr"] for point in card.curve)
    assert last < first - 2
    clips = [load_clips([held_out[name]], RATE) for name in card.sources]
    plain = Augmentation(again=0, speed=0, tilt_db=0)
    parts = draw_parts(clips, 32, replace(mixing, absent=0.0), torch.Generator().manual_seed(7), plain)
    with torch.no_grad():
        stems = MaskTask(network_of(folder), "snr").separate(parts.sum(1))
    gain = (si_sdr(stems, parts) - si_sdr(parts.sum(1, keepdim=True), parts)).mean(0)
    assert gain.min() > 3  # of tones and of hiss
    assert float(gain.mean()) == pytest.approx(card.metrics["held_out_si_sdr_improvement"], abs=3)


# The model


def test_a_model_and_its_card(data: Path, folders: list[Path], settings: SeparatorSettings) -> None:
    events: Events = []
    words = Provenance("sounds made up for a test", "CC0-1.0", "MIT")
    folder = train_mask(
        folders, target="cirm", config=TINY, settings=settings, provenance=words, on_event=events.append
    )
    assert folder == settings.library / "mask" / "tones-hiss"  # type: ignore[operator]
    card = read_card(folder)
    assert (card.name, card.kind, card.sources) == ("tones-hiss", "mask", ("tones", "hiss"))
    assert (card.sample_rate, card.segment, card.seed, card.level) == (RATE, None, 3, LEVEL)
    clips = [load_clips([one], RATE) for one in folders]
    heard = replace(with_statistics(TINY, clips, settings), outputs=4)
    assert dict(card.config) == heard.to_json() | {"target": "cirm", "loss": "snr"}
    assert len(set(card.config["mean"])) > 30 and min(card.config["std"]) > 0
    assert (card.data, card.data_licence, card.licence) == (words.data, "CC0-1.0", "MIT")
    assert [point["step"] for point in card.curve] == [2, 4]
    assert all(-30 <= point["snr"] < 30 for point in card.curve)
    assert card.metrics == {}  # nothing was held out
    assert card.extra["steps"] == 4 and card.extra["minutes"] >= 0
    assert card.extra["seconds_of_sound"] == [6, 6] and card.extra["mixing"] == repr(settings.mixing)
    steps = [event.step for event in events if isinstance(event, Progress)]
    assert steps == [1, 2, 3, 4]
    lines = [event for event in events if isinstance(event, str)]
    assert lines[:2] == ["tones: 6 s of sound in 2 files", "hiss: 6 s of sound in 2 files"]
    assert lines[2] == f"the model goes to {folder}" and "ended by steps at step 4" in lines[-1]
    samples = folder / "training" / "samples" / "step-000004.wav"
    assert soundfile.info(samples).frames == 5 * 800  # the mixture, two sources, two stems


@pytest.mark.parametrize("target", TARGETS)
def test_every_target_and_three_sources(
    folders: list[Path], settings: SeparatorSettings, target: str, tmp_path: Path
) -> None:
    sources = {"high": folders[0], "low": [str(folders[0] / "0.wav"), str(folders[0])], "rain": folders[1]}
    folder = train_mask(sources, "mine", target, TINY, replace(settings, steps=1), out=tmp_path / "out")
    assert folder == tmp_path / "out"
    card, network = read_card(folder), network_of(folder)
    assert (card.name, card.sources) == ("mine", ("high", "low", "rain"))
    assert card.config["outputs"] == 3 * maps(target)
    assert (card.config["target"], card.config["loss"]) == (target, default_loss(target))
    assert [point["step"] for point in card.curve] == [1]  # less than a checkpoint's interval, and still said
    assert MaskTask(network, card.config["loss"]).separate(torch.rand(2, 999)).shape == (2, 3, 999)


def test_losses_unless_named(folders: list[Path], settings: SeparatorSettings) -> None:
    losses = {target: default_loss(target) for target in TARGETS}
    assert losses.pop("ibm") == "cross-entropy" and set(losses.values()) == {"snr"}
    folder = train_mask(folders, config=TINY, settings=replace(settings, steps=1, loss="si-sdr"))
    card = read_card(folder)
    assert (card.config["target"], card.config["loss"], list(card.curve[0])) == ("irm", "si-sdr", ["step", "si-sdr"])


def test_the_hash_is_that_of_the_sounds(folders: list[Path], settings: SeparatorSettings, tmp_path: Path) -> None:
    one = replace(settings, steps=1)

    def card_of(name: str, sources: list[Path]) -> Card:
        return read_card(train_mask(sources, config=TINY, settings=one, out=tmp_path / name))

    first, again = card_of("a", folders), card_of("b", folders)
    assert first.data_sha256 == again.data_sha256 and len(first.data_sha256) == 64
    other = tmp_path / "hiss"
    other.mkdir()
    for file in folders[1].iterdir():
        wave, _ = soundfile.read(file)
        soundfile.write(other / file.name, np.roll(wave, 1), RATE)
    changed, turned = card_of("c", [folders[0], other]), card_of("d", folders[::-1])
    assert len({card.data_sha256 for card in (first, changed, turned)}) == 3


def test_the_seed_decides_and_nothing_else(folders: list[Path], settings: SeparatorSettings, tmp_path: Path) -> None:
    models = []
    for number, seed in enumerate((0, 0, 1)):
        torch.manual_seed(number)
        state = torch.get_rng_state()
        out = tmp_path / f"run-{number}"
        models.append(weights(train_mask(folders, config=TINY, settings=replace(settings, seed=seed), out=out)))
        assert torch.equal(torch.get_rng_state(), state)
    assert models[0] == models[1] != models[2]


# Statistics


@pytest.mark.parametrize("kind", ["log", "magnitude", "power"])
def test_statistics_are_those_of_the_mixtures(folders: list[Path], settings: SeparatorSettings, kind: str) -> None:
    """Against spectra made frame by frame."""
    clips = [load_clips([folder], RATE) for folder in folders]
    config = with_statistics(replace(TINY, feature=kind, floor=0.01), clips, settings)
    random = torch.Generator().manual_seed(settings.seed)
    mixtures = draw_parts(clips, 64, settings.mixing, random, settings.augment).sum(1).double().numpy()
    padded = np.pad(mixtures, ((0, 0), (32, 32)))
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(64) / 64)
    frames = np.stack([padded[:, start : start + 64] for start in range(0, 801, 32)], 1)
    magnitude = np.abs(np.fft.rfft(frames * window))  # [B, N, F]
    heard = {"log": np.log(magnitude + 0.01), "magnitude": magnitude, "power": magnitude**2}[kind]
    assert config.mean == pytest.approx(heard.mean((0, 1)), rel=1e-3)
    assert config.std == pytest.approx(heard.std((0, 1)), rel=1e-3)
    assert replace(config, mean=(), std=()) == replace(TINY, feature=kind, floor=0.01)


def test_bins_in_which_nothing_happens_do_not_become_loud(settings: SeparatorSettings) -> None:
    time = torch.arange(800) / RATE
    wave = (-(((time - 0.05) / 0.01) ** 2)).exp() * (500 * 2 * torch.pi * time).sin()  # swells and fades: no click
    clips = [Clips(((32767 * wave).round().to(torch.int16),), ((0, 800),), RATE, "", ())] * 2
    plain = replace(settings, augment=Augmentation(shift=False, again=0, speed=0, tilt_db=0))
    std = np.array(with_statistics(replace(CONFIG, feature="power"), clips, plain).std)
    loudest = int(std.argmax())
    assert loudest == 16  # 500 Hz
    assert std[64:] == pytest.approx(1e-3 * std[loudest - 8 : loudest + 9].sum() / 129, rel=0.01)


# Going on


def stop_at(step: int) -> Callable[[Progress | str], None]:
    def stop(event: Progress | str) -> None:
        if isinstance(event, Progress) and event.step == step:
            raise InterruptedError

    return stop


def test_resumed_is_as_uninterrupted(folders: list[Path], settings: SeparatorSettings, tmp_path: Path) -> None:
    whole = train_mask(folders, config=TINY, settings=settings, out=tmp_path / "whole")
    with pytest.raises(InterruptedError):
        train_mask(folders, config=TINY, settings=settings, out=tmp_path / "parts", on_event=stop_at(3))
    before = weights(tmp_path / "parts")
    events: Events = []
    parts = train_mask(
        folders, config=TINY, settings=settings, out=tmp_path / "parts", resume=True, on_event=events.append
    )
    assert "resumed from step 2" in events
    assert weights(parts) == weights(whole) != before
    assert [dict(point) for point in read_card(parts).curve] == [dict(point) for point in read_card(whole).curve]


def test_resume_refuses_another_training(folders: list[Path], settings: SeparatorSettings, tmp_path: Path) -> None:
    out = tmp_path / "out"
    train_mask(folders, config=TINY, settings=replace(settings, steps=1), out=out)
    before = weights(out)
    with pytest.raises(ModelError, match="it was made with other settings"):
        train_mask(folders, config=TINY, settings=replace(settings, seed=4), out=out, resume=True)
    with pytest.raises(ModelError, match="it was made with other sounds and settings"):
        train_mask(folders[::-1], config=TINY, settings=settings, out=out, resume=True)
    assert weights(out) == before


def test_init_from(folders: list[Path], settings: SeparatorSettings, tmp_path: Path) -> None:
    """After one step the weights are near those it began with, and far from those of another seed."""
    begin = network_of(train_mask(folders, "begin", config=TINY, settings=replace(settings, seed=9)))
    one = replace(settings, steps=1)
    begun = train_mask(folders, "a", config=TINY, settings=replace(one, init_from="begin"))
    named = train_mask(
        folders,
        "b",
        config=TINY,
        settings=replace(one, init_from=str(settings.library / "mask" / "begin")),  # type: ignore[operator]
    )
    fresh = train_mask(folders, "c", config=TINY, settings=one)
    own = begin.net.get_parameter("trunk.head.weight").detach()
    heads = [network_of(one).net.get_parameter("trunk.head.weight").detach() for one in (begun, fresh)]
    gaps = [float((head - own).abs().mean()) for head in heads]
    assert gaps[0] < 1e-3 < 0.05 < gaps[1]
    assert weights(begun) == weights(named)


def test_init_from_what_does_not_fit(folders: list[Path], settings: SeparatorSettings) -> None:
    train_mask(folders, "narrow", config=TINY, settings=replace(settings, steps=1))
    wider = replace(TINY, width=13)
    with pytest.raises(ModelError, match="narrow: training cannot begin with it, it has other width"):
        train_mask(folders, config=wider, settings=replace(settings, init_from="narrow"))
    with pytest.raises(ModelError, match="no mask model 'nobody'"):
        train_mask(folders, config=wider, settings=replace(settings, init_from="nobody"))
    assert not (settings.library / "mask" / "tones-hiss").exists()  # type: ignore[operator]


# Refused


def test_sources_by_name(tmp_path: Path) -> None:
    for name in ("a", "b/a"):
        (tmp_path / name).mkdir(parents=True)
    a, b = tmp_path / "a", tmp_path / "b"
    assert by_name([a, str(b)]) == {"a": [a], "b": [b]}
    assert by_name({"one": [a, str(b)], "two": str(b)}) == {"one": [a, b], "two": [b]}
    assert by_name([tmp_path / "x.wav", tmp_path / "y.flac"]) == {"x": [tmp_path / "x.wav"], "y": [tmp_path / "y.flac"]}
    with pytest.raises(DataError, match=r"^two sources are called a; give folders of different names$"):
        by_name([a, b / "a"])
    for few, named in (([a], "a"), (str(a), "a"), (a, "a"), ({"x": [a, b]}, "x"), ([], "none"), ({}, "none")):
        with pytest.raises(
            DataError, match=f"^mixtures need at least two sources, got {named}; give a folder of each$"
        ):
            by_name(few)  # type: ignore[arg-type]


def test_a_model_is_not_trained_over(folders: list[Path], settings: SeparatorSettings, tmp_path: Path) -> None:
    (tmp_path / "card.json").write_text("{}")
    with pytest.raises(OutputError, match="holds a model already; go on with --resume"):
        train_mask(folders, config=TINY, settings=settings, out=tmp_path)
    assert (tmp_path / "card.json").read_text() == "{}"
    other = tmp_path / "mine"
    other.mkdir()
    (other / "notes.txt").write_text("precious")
    train_mask(folders, config=TINY, settings=replace(settings, steps=1), out=other)  # no model is in it
    assert (other / "notes.txt").read_text() == "precious" and (other / "card.json").exists()


def test_bad_input_leaves_nothing(folders: list[Path], settings: SeparatorSettings, tmp_path: Path, data: Path) -> None:
    (tmp_path / "nothing").mkdir()
    (tmp_path / "short").mkdir()
    soundfile.write(tmp_path / "short" / "1.wav", np.random.default_rng(0).uniform(-1, 1, RATE), RATE)
    (tmp_path / "file").write_bytes(b"precious")
    out = tmp_path / "new" / "out"

    def attempt(**changes: object) -> None:
        train_mask(**({"data": folders, "config": TINY, "settings": settings, "out": out} | changes))  # type: ignore[arg-type]

    for name, said in (
        ("missing", "no such file or folder"),
        ("nothing", "no audio files in"),
        ("short", "only 1.0 s of usable sound in 1 files; at least 5 s"),
    ):
        with pytest.raises(DataError, match=said):
            attempt(data=[folders[0], tmp_path / name])
    with pytest.raises(DataError, match="no such file or folder"):
        attempt(held_out={"tones": data / "test" / "tones", "hiss": tmp_path / "missing"})
    with pytest.raises(DataError, match="expected held-out sounds of tones, hiss, got those of tones, rain"):
        attempt(held_out={"tones": data / "test" / "tones", "rain": data / "test" / "hiss"})
    with pytest.raises(ModelError, match="usable as a folder name"):
        attempt(name="a/b")
    with pytest.raises(ValueError, match="needs steps or minutes"):
        attempt(settings=replace(settings, steps=None))
    with pytest.raises(ValueError, match="unknown target 'magic'"):
        attempt(target="magic")
    with pytest.raises(GansepError, match="psm masks cannot be learned by 'cross-entropy'"):
        attempt(target="psm", settings=replace(settings, loss="cross-entropy"))
    with pytest.raises(GansepError, match="device 'abacus' is not available"):
        attempt(settings=replace(settings, device="abacus"))
    assert not out.parent.exists()
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OutputError, match="the model cannot be written there"):
            attempt(out=place)
    assert (tmp_path / "file").read_bytes() == b"precious"
