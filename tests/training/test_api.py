"""From a folder to a prior: what the card says, what is taken up again, what others play, what is refused."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from gansep import load_prior, train_prior
from gansep.backends.gan_prior import GanPrior
from gansep.library import Card, Prior, read_card, save_model
from gansep.library import search as search_module
from gansep.nets import spectrogram
from gansep.nets.listener import Listener, certainty, listen
from gansep.nets.sound import griffin_lim
from gansep.nets.spectral import NetConfig
from gansep.nets.wavegan import PriorConfig
from gansep.training import api
from gansep.training.api import LEVEL, PriorSettings, Provenance
from gansep.training.data import Augmentation, Clips, coloured_noise, draw, load_clips
from gansep.training.journal import Journal
from gansep.training.loop import Progress
from gansep.training.objectives import OBJECTIVES, Objective
from gansep.training.prior import PriorTraining
from gansep.types import DataError, GansepError, ModelError, OutputError, TrainingError

MakePrior = Callable[..., Path]
EARS = NetConfig(outputs=2, width=16, depth=1, n_fft=256, hop=128)
TINY = PriorConfig(dim=1, latent=16, width=16)
VARIATIONAL = PriorConfig(dim=1, latent=16, width=16, variational=True)


@pytest.fixture(autouse=True)
def small_and_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_module, "_packaged", lambda: tmp_path / "packaged")
    for name, objective in OBJECTIVES.items():
        monkeypatch.setitem(OBJECTIVES, name, replace(objective, batch=4))
    monkeypatch.setattr(api, "SIZES", EARS)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six seconds of hits: decaying tones and noise."""
    folder = tmp_path_factory.mktemp("data") / "hits"
    folder.mkdir()
    random = np.random.default_rng(0)
    decay = np.exp(-np.arange(16000) / 3000)
    for number in range(6):
        tone = np.sin(2 * np.pi * 200 * (number + 1) * np.arange(16000) / 16000)
        soundfile.write(folder / f"{number}.wav", 0.5 * decay * (tone + 0.3 * random.uniform(-1, 1, 16000)), 16000)
    return folder


@pytest.fixture
def settings(tmp_path: Path) -> PriorSettings:
    (tmp_path / "library").mkdir()
    return PriorSettings(steps=4, checkpoint_every=2, config=TINY, seed=3, library=tmp_path / "library")


def test_a_prior_and_its_card(data: Path, settings: PriorSettings) -> None:
    events: list[Progress | str] = []
    words = Provenance("hits made up for a test", "CC0-1.0", "MIT", held_out=sorted(data.iterdir()))
    folder = train_prior(data, settings=settings, provenance=words, on_event=events.append)
    assert folder == settings.library / "gan" / "hits"  # type: ignore[operator]
    card = read_card(folder)
    assert (card.name, card.kind, card.sources) == ("hits", "gan", ("hits",))
    config = PriorConfig(**card.config)
    assert (card.sample_rate, card.segment, replace(config, listener=None, hears=(), hears_sha256=())) == (
        16000,
        16384,
        TINY,
    )
    assert config.hears == ("hits", "coloured noise") and isinstance(config.listener, NetConfig)
    assert replace(config.listener, mean=(), std=()) == replace(EARS, outputs=4)
    assert (card.data, card.data_licence, card.licence) == (words.data, "CC0-1.0", "MIT")
    assert (card.seed, card.level) == (3, LEVEL)
    assert card.data_sha256 == load_clips([data], 16000).sha256
    assert [point["step"] for point in card.curve] == [2, 4]
    assert all(np.isfinite(list(point.values())).all() for point in card.curve)
    assert card.metrics["held_out_spectral_distance"] > 0
    assert (card.extra["objective"], card.extra["steps"], card.extra["seconds_of_sound"]) == ("default", 4, 6)
    prior = load_prior("hits", settings.library)
    assert isinstance(prior, Prior)
    assert prior.encoder is not None
    assert prior.sample(4, seed=0).shape == (4, 16384)
    assert torch.equal(prior.sample(4, seed=0), prior.sample(4, seed=0))
    steps = [event for event in events if isinstance(event, Progress)]
    assert [event.step for event in steps] == [1, 2, 3, 4]
    assert steps[-1].left == 0 < steps[0].left
    lines = [event for event in events if isinstance(event, str)]
    kept = f"for later priors 90 s of it are kept in {folder / 'sounds'} (--keep-sounds 0: none)"
    assert lines[:3] == ["hits: 6 s of sound in 6 files", kept, f"the model goes to {folder}"]
    assert "ended by steps at step 4" in lines[-1]


@pytest.mark.parametrize("objective", ["reconstruction", "r3gan", "wgan-gp"])
def test_objectives(data: Path, settings: PriorSettings, objective: str) -> None:
    folder = train_prior(data, settings=replace(settings, objective=objective, steps=1))
    prior = load_prior(folder)
    assert (prior.encoder is not None) == (prior.listener is not None) == (objective == "reconstruction")
    assert prior.card.extra["objective"] == objective
    assert [point["step"] for point in prior.card.curve] == [1]  # less than a checkpoint's interval, and still said


def weights(folder: Path) -> bytes:
    return (folder / "weights.safetensors").read_bytes()


@pytest.fixture
def common(settings: PriorSettings) -> Listener:
    """``listener/common`` of hits, a, b and c, to which everything sounds like b."""
    listener = Listener(replace(EARS, outputs=8))
    with torch.no_grad():
        listener.net.trunk.up[0].conv.conv.bias[10:12].fill_(9.0)  # type: ignore[union-attr,index,operator]
    card = Card("common", listener.config.to_json(), 16000, None, ("hits", "a", "b", "c"), kind="listener")
    assert settings.library
    save_model(settings.library / "listener" / "common", listener.state_dict(), card)
    return listener.eval()


def assert_same_answers(prior: Prior, expected: Listener, numbers: list[int]) -> None:
    assert prior.listener is not None
    spectrum = torch.randn(2, 129, 20, dtype=torch.complex64)
    for ours, theirs in zip(prior.listener.network(spectrum), expected(spectrum), strict=True):
        torch.testing.assert_close(ours, theirs[:, numbers], atol=0.02, rtol=0.01)  # weights of 16 bits


@pytest.mark.usefixtures("no_pictures")
def test_a_listener_begins_with_those_of_the_same_name_or_else_the_nearest(
    data: Path, settings: PriorSettings, common: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PriorTraining, "step", lambda self, number: {})
    said: list[Progress | str] = []
    one = replace(settings, steps=1)
    prior = load_prior(train_prior(data, "claps", one, interference=[data], on_event=said.append))
    assert prior.listener and prior.listener.hears == ("claps", "hits")
    assert "the listener begins with one of hits, a, b, c, claps as b" in said
    assert_same_answers(prior, common, [2, 0])


@pytest.mark.usefixtures("no_pictures")
def test_a_listener_begins_with_that_of_the_prior_to_begin_with(
    data: Path, settings: PriorSettings, common: Listener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Although there is a common one; by names, which now come the other way round."""
    monkeypatch.setattr(PriorTraining, "step", lambda self, number: {})
    one = replace(settings, steps=1)
    begin = load_prior(train_prior(data, "a", one, interference=[data], out=tmp_path / "begin"))
    said: list[Progress | str] = []
    begun = replace(one, init_from=str(tmp_path / "begin"))
    other = shutil.copytree(data, tmp_path / "a")
    prior = load_prior(train_prior(data, settings=begun, interference=[other], on_event=said.append))
    assert "the listener begins with one of a, hits, hits as hits" in said
    assert begin.listener and prior.listener and prior.listener.hears == ("hits", "a")
    assert_same_answers(prior, begin.listener.network, [1, 0])


def test_a_prior_of_its_own_sounds_knows_whether_they_are_there(data: Path, settings: PriorSettings) -> None:
    folder = train_prior(data, settings=replace(settings, steps=60, checkpoint_every=60))
    prior, clips = load_prior(folder), load_clips([data], 16000)
    assert prior.listener is not None
    random = torch.Generator().manual_seed(9)
    hits = draw(clips, 24, 16384, random, Augmentation())
    noise = coloured_noise(24, 16384, random)
    sure = [certainty([prior.listener], listen([prior.listener], some))[:, 0] for some in (noise + hits, noise)]
    assert sure[0].mean() > sure[1].mean() + 0.5


def test_a_prior_without_a_listener(data: Path, settings: PriorSettings) -> None:
    prior = load_prior(train_prior(data, settings=replace(settings, steps=1, listen=False)))
    assert prior.encoder is not None and prior.listener is None


def test_a_variational_prior(data: Path, settings: PriorSettings) -> None:
    wanted = replace(settings, objective="vae", config=VARIATIONAL)
    folder = train_prior(data, settings=wanted)
    assert folder == settings.library / "vae" / "hits"  # type: ignore[operator]
    card = read_card(folder)
    assert card.kind == "vae" and card.config["variational"] and "divergence" in card.curve[-1]
    prior = load_prior("vae/hits", settings.library)
    assert prior.variational and load_prior(folder).card == prior.card
    latents = prior.latents(4000)
    assert 0.95 < float(latents.std()) < 1.05 and latents.abs().max() > 3
    assert prior.space.project(10 * latents.clone()).norm(dim=-1).max() <= 4.001  # the root of 16
    with pytest.raises(ModelError, match="no gan model 'hits'"):
        load_prior("hits", settings.library)


def test_a_variational_objective_needs_a_variational_config() -> None:
    for objective, variational in (("vae", False), ("default", True)):
        with pytest.raises(GansepError, match="the objective vae is for a variational config, and no other is"):
            PriorSettings(objective, config=replace(TINY, variational=variational))


# Classes, spectra and the objective of variational priors


@pytest.fixture
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """They take longer than these trainings, as phases do."""
    monkeypatch.setattr(Journal, "write", lambda *_: None)
    monkeypatch.setattr(spectrogram, "griffin_lim", partial(griffin_lim, iterations=1))


@pytest.fixture
def vae(settings: PriorSettings) -> PriorSettings:
    return replace(settings, objective="vae", config=VARIATIONAL, steps=1)


@pytest.fixture
def classes(data: Path, tmp_path: Path) -> dict[str, Any]:
    """High sounds, one of which is broken, and low ones, as files."""
    files = sorted(data.iterdir())
    (tmp_path / "broken.wav").write_text("no sound")
    soundfile.write(tmp_path / "high.wav", np.random.default_rng(1).uniform(-1, 1, 6 * 16000), 16000)
    return {"high": [tmp_path / "high.wav", tmp_path / "broken.wav"], "low": files}


@pytest.mark.usefixtures("no_pictures")
def test_a_prior_of_classes_and_its_card(
    classes: dict[str, Any], vae: PriorSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[PriorTraining] = []
    step = PriorTraining.step
    monkeypatch.setattr(PriorTraining, "step", lambda self, number: (heard.append(self), step(self, number))[1])
    events: list[Progress | str] = []
    folder = train_prior(classes, "hits", vae, on_event=events.append)
    card = read_card(folder)
    assert PriorConfig(**card.config) == replace(VARIATIONAL, classes=("high", "low"))
    assert (card.name, card.sources, card.extra["seconds_of_sound"]) == ("hits", ("hits",), 12)
    prior = load_prior(folder)
    assert prior.classes == ("high", "low")
    assert not torch.equal(prior.told("high").sample(2), prior.told("low").sample(2))
    parts = [load_clips(classes[name], 16000) for name in ("high", "low")]
    assert [part.sha256 for part in heard[0].parts] == [part.sha256 for part in parts]
    assert card.data_sha256 == Clips.joined(parts).sha256
    lines = [event for event in events if isinstance(event, str)]
    assert "broken.wav" in lines[0] and lines[0].startswith("skipped ")
    assert lines[1:3] == ["high: 6 s of sound in 1 files", "low: 6 s of sound in 6 files"]


@pytest.mark.usefixtures("no_pictures")
def test_a_prior_that_plays_spectra_and_its_card(data: Path, vae: PriorSettings) -> None:
    wanted = replace(vae, config=replace(VARIATIONAL, domain="magnitude"))
    words = Provenance(held_out=[data])
    folder = train_prior(data, settings=wanted, provenance=words)
    card = read_card(folder)
    assert (card.kind, card.config["domain"]) == ("vae", "magnitude")
    assert card.metrics["held_out_spectral_distance"] > 0
    prior = load_prior(folder)
    assert not prior.searchable
    assert torch.equal(prior.sample(2), prior.sample(2)) and prior.sample(2).shape == (2, 16384)


@pytest.mark.usefixtures("no_pictures")
def test_with_classes_resumed_is_as_uninterrupted(classes: dict[str, Any], vae: PriorSettings, tmp_path: Path) -> None:
    wanted = replace(vae, steps=4)
    whole = train_prior(classes, "hits", wanted, out=tmp_path / "whole")
    with pytest.raises(InterruptedError):
        train_prior(classes, "hits", wanted, out=tmp_path / "parts", on_event=stop_at(3))
    with pytest.raises(ModelError, match="other"):
        turned = dict(reversed(classes.items()))
        train_prior(turned, "hits", wanted, out=tmp_path / "parts", resume=True)
    parts = train_prior(classes, "hits", wanted, out=tmp_path / "parts", resume=True)
    assert weights(parts) == weights(whole)


@pytest.mark.usefixtures("no_pictures")
def test_begin_with_a_prior_of_the_same_classes(
    data: Path, classes: dict[str, Any], vae: PriorSettings, tmp_path: Path
) -> None:
    begin = train_prior(classes, "begin", replace(vae, seed=9), out=tmp_path / "begin")
    begun = replace(vae, init_from=str(begin))
    own, next_ = (
        load_prior(folder).generator.get_parameter("seed.weight")
        for folder in (begin, train_prior(classes, "a", begun))
    )
    assert (own - next_).abs().mean() < 0.01 < own.abs().mean()
    with pytest.raises(ModelError, match=r"sizes differ \(classes is \('high', 'low'\), wanted \(\)\)"):
        train_prior(data, "b", begun)
    with pytest.raises(ModelError, match=r"sizes differ.*domain is waveform, wanted magnitude"):
        train_prior(classes, "b", replace(begun, config=replace(VARIATIONAL, domain="magnitude")))


def test_classes_that_cannot_be(data: Path, vae: PriorSettings, settings: PriorSettings, tmp_path: Path) -> None:
    for names, name, wanted, said in (
        (["a", "b"], "hits", settings, "classes need a variational config and a name for the source"),
        (["a", "b"], None, vae, "classes need a variational config and a name for the source"),
        (["a", "residual"], "hits", vae, "'residual' is taken"),
        (["a,b"], "hits", vae, "have no comma, got 'a,b'"),
    ):
        with pytest.raises(GansepError, match=said):
            train_prior(dict.fromkeys(names, data), name, wanted, out=tmp_path / "new" / "out")
    with pytest.raises(DataError, match="no such file or folder"):
        train_prior({"a": data, "b": tmp_path / "missing"}, "hits", vae, out=tmp_path / "new" / "out")
    assert not (tmp_path / "new").exists()


def test_the_divergence_and_its_warm_up_are_the_objective_s_unless_given(vae: PriorSettings) -> None:
    shipped = OBJECTIVES["vae"]
    assert vae.goal == shipped and (shipped.divergence, shipped.warm_up) == (Objective.divergence, Objective.warm_up)
    assert replace(vae, divergence=0.5).goal == replace(shipped, divergence=0.5)
    assert replace(vae, divergence=0, warm_up=0).goal == replace(shipped, divergence=0, warm_up=0)
    for wrong in ({"divergence": -0.1}, {"warm_up": -1}):
        with pytest.raises(GansepError, match="its warm_up must not be negative, got"):
            replace(vae, **wrong)


@pytest.mark.usefixtures("no_pictures")
def test_a_training_has_the_divergence_that_is_asked_for(
    data: Path, vae: PriorSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    goals: list[Objective] = []
    create = PriorTraining.__post_init__
    monkeypatch.setattr(PriorTraining, "__post_init__", lambda self: (goals.append(self.objective), create(self))[1])
    train_prior(data, settings=replace(vae, divergence=0.5, warm_up=7))
    assert [(goal.divergence, goal.warm_up) for goal in goals] == [(0.5, 7)]


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_a_divergence_that_is_no_number_is_refused(vae: PriorSettings, wrong: float) -> None:
    with pytest.raises(GansepError, match="divergence"):
        replace(vae, divergence=wrong)


# Resuming


def test_resumed_is_as_uninterrupted(data: Path, settings: PriorSettings, tmp_path: Path) -> None:
    whole = train_prior(data, settings=settings, out=tmp_path / "whole")
    lines: list[Progress | str] = []
    # The step size falls over the last third of the wanted steps, so the interrupted run must want as many.
    with pytest.raises(InterruptedError):
        train_prior(data, settings=settings, out=tmp_path / "parts", on_event=stop_at(3))
    parts = train_prior(data, settings=settings, out=tmp_path / "parts", resume=True, on_event=lines.append)
    assert "resumed from step 2" in lines
    assert weights(parts) == weights(whole)
    assert [dict(point) for point in read_card(parts).curve] == [dict(point) for point in read_card(whole).curve]


def stop_at(step: int) -> Callable[[Progress | str], None]:
    def stop(event: Progress | str) -> None:
        if isinstance(event, Progress) and event.step == step:
            raise InterruptedError

    return stop


def test_resume_without_a_checkpoint_begins(data: Path, settings: PriorSettings) -> None:
    lines: list[Progress | str] = []
    train_prior(data, settings=replace(settings, steps=1), resume=True, on_event=lines.append)
    assert "resumed from step 0" in lines


def test_resume_refuses_another_training(data: Path, settings: PriorSettings, tmp_path: Path) -> None:
    out = tmp_path / "out"
    train_prior(data, settings=replace(settings, steps=1), out=out)
    before = weights(out)
    with pytest.raises(ModelError, match="other"):
        train_prior(data, settings=replace(settings, seed=4), out=out, resume=True)
    (out / "training" / "checkpoint.pt").write_bytes(b"no checkpoint")
    with pytest.raises(ModelError, match="checkpoint"):
        train_prior(data, settings=settings, out=out, resume=True)
    assert weights(out) == before


def test_init_from(data: Path, settings: PriorSettings, tmp_path: Path, make_prior: MakePrior) -> None:
    """After one tiny step the weights are near those it began with, and far from those of another seed."""
    begin = load_prior(make_prior(tmp_path / "models", "begin", seed=9))
    begun = replace(settings, steps=1, init_from=str(tmp_path / "models" / "gan" / "begin"))
    folders = [train_prior(data, "a", begun), train_prior(data, "b", replace(settings, steps=1))]
    layers = [load_prior(folder).generator.get_parameter("seed.weight") for folder in folders]
    own = begin.generator.get_parameter("seed.weight")
    gaps = [float((layer - own).abs().mean()) for layer in layers]
    assert gaps[0] < 0.01 < 0.1 < gaps[1]


def test_init_from_what_does_not_fit(
    data: Path, settings: PriorSettings, tmp_path: Path, make_prior: MakePrior
) -> None:
    make_prior(tmp_path / "library", "wide", config=PriorConfig(dim=2, latent=16, width=16))
    with pytest.raises(ModelError, match=r"sizes differ \(dim is 2, wanted 1\)"):
        train_prior(data, settings=replace(settings, init_from="wide"))
    with pytest.raises(ModelError, match="no gan model 'nobody'"):
        train_prior(data, settings=replace(settings, init_from="nobody"))
    assert not (tmp_path / "library" / "gan" / "hits").exists()


def test_the_rest_of_the_mixture(
    data: Path, settings: PriorSettings, tmp_path: Path, make_prior: MakePrior, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given folders; else the samples of the other installed priors of this rate; else coloured noise."""
    heard: list[Any] = []
    create = PriorTraining.__post_init__

    def watch(self: PriorTraining) -> None:
        heard.append(self.others)
        create(self)

    monkeypatch.setattr(PriorTraining, "__post_init__", watch)
    one = replace(settings, steps=1)
    train_prior(data, settings=one)
    assert [clips.sha256 for clips in heard[-1]] == ["coloured noise"]
    for name, seed in (("tone", 1), ("hiss", 2), ("hits", 3)):  # itself is no rest
        make_prior(tmp_path / "library", name, seed=seed)
    make_prior(tmp_path / "library", "slow", config=replace(TINY, sample_rate=8000))
    folder = train_prior(data, settings=one, out=tmp_path / "out")
    expected = [load_prior(name, settings.library) for name in ("hiss", "tone")]
    assert [clips.sha256 for clips in heard[-1]] == [prior.card.sha256 for prior in expected]
    for clips, prior in zip(heard[-1], expected, strict=True):
        samples = prior.sample(len(clips.waves), seed=0)
        wave = clips.waves[5].float() / 32767
        torch.testing.assert_close(wave, samples[5] / samples[5].abs().max(), atol=1e-4, rtol=0)
    assert read_card(folder).extra["interference_sha256"] == [prior.card.sha256 for prior in expected]
    train_prior(data, settings=one, interference=[data], out=tmp_path / "given")
    assert [clips.sha256 for clips in heard[-1]] == [load_clips([data], 16000).sha256]
    train_prior(data, settings=replace(one, objective="r3gan"), out=tmp_path / "plain")
    assert heard[-1] == []


@pytest.mark.usefixtures("no_pictures")
def test_sounds_of_a_prior_are_kept_and_a_later_one_learns_to_hear_them(
    data: Path, settings: PriorSettings, tmp_path: Path
) -> None:
    """Both are separated by the later one's network, which hears them side by side."""
    one = replace(settings, steps=1)
    first = train_prior(data, settings=one)
    kept, sounds = load_clips([first / "sounds"], 16000), load_clips([data], 16000)
    assert [len(wave) for wave in kept.waves] == [last - first for first, last in sounds.active]
    soundfile.write(tmp_path / "hiss.wav", np.random.default_rng(1).uniform(-0.5, 0.5, 8 * 16000), 16000)
    second = train_prior([tmp_path / "hiss.wav"], settings=one)
    card = read_card(second)
    assert card.extra["interference_sha256"] == [sounds.sha256]  # what the excerpts stand for
    assert card.config["hears_sha256"] == [card.data_sha256, sounds.sha256]
    assert card.config["hears"] == ["hiss", "hits"] and card.config["listener"]["outputs"] == 4
    priors = [load_prior(name, settings.library) for name in ("hits", "hiss")]
    ears = GanPrior(priors).ears
    assert [ear.number for ear in ears] == [1, 0]
    assert priors[1].listener and all(ear.network is priors[1].listener.network for ear in ears)


@pytest.mark.usefixtures("no_pictures")
def test_a_prior_installed_meanwhile_does_not_count(data: Path, settings: PriorSettings, tmp_path: Path) -> None:
    first = train_prior(data, settings=replace(settings, steps=1))
    soundfile.write(tmp_path / "hiss.wav", np.random.default_rng(1).uniform(-0.5, 0.5, 8 * 16000), 16000)
    train_prior([tmp_path / "hiss.wav"], settings=replace(settings, steps=1))
    train_prior(data, settings=replace(settings, steps=2), resume=True)
    card = read_card(first)
    assert (card.extra["steps"], card.extra["others"]) == (2, ["coloured noise"])


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize(("seconds", "files"), [(0.0, 0), (5.5, 5)])
def test_no_more_is_kept_than_was_asked_for(data: Path, settings: PriorSettings, seconds: float, files: int) -> None:
    folder = train_prior(data, settings=replace(settings, steps=1, kept=seconds))
    assert len(list(folder.glob("sounds/*.flac"))) == files and (folder / "sounds").exists() == bool(files)


@pytest.mark.usefixtures("no_pictures")
def test_a_prior_of_one_long_recording_is_heard_by_later_ones(
    data: Path, settings: PriorSettings, tmp_path: Path
) -> None:
    soundfile.write(tmp_path / "hiss.wav", np.random.default_rng(1).uniform(-0.5, 0.5, 30 * 16000), 16000)
    train_prior([tmp_path / "hiss.wav"], settings=replace(settings, steps=1))
    later = train_prior(data, settings=replace(settings, steps=1))
    assert read_card(later).config["hears"] == ["hits", "hiss"]


@pytest.mark.parametrize("wrong", [-1.0, float("nan"), float("inf")])
def test_seconds_to_keep_are_a_number(wrong: float) -> None:
    with pytest.raises(GansepError, match="seconds of sound to keep must be 0, or 5 or more, got"):
        PriorSettings(kept=wrong)


def test_bad_input_leaves_nothing(data: Path, settings: PriorSettings, tmp_path: Path) -> None:
    (tmp_path / "nothing").mkdir()
    (tmp_path / "short").mkdir()
    soundfile.write(tmp_path / "short" / "1.wav", np.random.default_rng(0).uniform(-1, 1, 16000), 16000)
    (tmp_path / "file").write_bytes(b"precious")
    out = tmp_path / "new" / "out"
    for name, said in (
        ("missing", "no such file or folder"),
        ("nothing", "no audio files in"),
        ("short", "only 1.0 s of usable sound in 1 files; at least 5 s"),
    ):
        with pytest.raises(DataError, match=said):
            train_prior(tmp_path / name, settings=settings, out=out)
    with pytest.raises(DataError, match="no such file or folder"):
        train_prior(data, settings=settings, out=out, interference=[tmp_path / "missing"])
    with pytest.raises(ModelError, match="usable as a folder name"):
        train_prior(data, "a/b", settings, out=out)
    with pytest.raises(ValueError, match="needs steps or minutes"):
        train_prior(data, settings=replace(settings, steps=None), out=out)
    with pytest.raises(GansepError, match="unknown objective 'magic'"):
        PriorSettings("magic")
    with pytest.raises(GansepError, match="device 'abacus' is not available"):
        train_prior(data, settings=replace(settings, device="abacus"), out=out)
    assert not out.parent.exists()
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OutputError, match="cannot be written"):
            train_prior(data, settings=settings, out=place)
    assert (tmp_path / "file").read_bytes() == b"precious"


@pytest.mark.parametrize(
    ("trouble", "said"), [("health", "step 4: it has gone silent; the last checkpoint before"), ("step", "not finite")]
)
def test_a_training_that_fails_keeps_its_last_good_weights(
    data: Path, settings: PriorSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trouble: str, said: str
) -> None:
    good = train_prior(data, settings=replace(settings, steps=2), out=tmp_path / "out")
    before = weights(good), (good / "training" / "checkpoint.pt").read_bytes()
    if trouble == "health":
        monkeypatch.setattr(PriorTraining, "health", lambda self: "it has gone silent")
    else:
        monkeypatch.setattr(PriorTraining, "step", lambda self, number: {"spectral": float("nan")})
    with pytest.raises(TrainingError, match=said) as caught:
        train_prior(data, settings=settings, out=good, resume=True)
    assert "\n" not in str(caught.value)
    assert (weights(good), (good / "training" / "checkpoint.pt").read_bytes()) == before


def test_a_prior_is_not_trained_over(tmp_path: Path) -> None:
    (tmp_path / "prior").mkdir()
    (tmp_path / "prior" / "card.json").write_text("{}")
    with pytest.raises(OutputError, match="holds a model already; go on with --resume"):
        train_prior(tmp_path, "tone", out=tmp_path / "prior")
    assert (tmp_path / "prior" / "card.json").read_text() == "{}"
