"""What autoencoders learn: losses against their formulas, that every kind learns, from folders to a card and back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from gansep.library import find_separator, load_separation, read_card, verify
from gansep.library import search as search_module
from gansep.library.card import Found
from gansep.metrics import si_sdr
from gansep.nets.autoencoder import LAYERS
from gansep.nets.sound import DOMAINS, SoundAutoencoder, SoundConfig, columns
from gansep.training.api import Provenance
from gansep.training.autoencoder import (
    LOSSES,
    SNR_DB,
    ConditionalTask,
    DenoisingTask,
    corrupt,
    distance,
    losses_of,
    train_conditional,
    train_denoiser,
)
from gansep.training.data import Augmentation, load_clips
from gansep.training.journal import Journal
from gansep.training.loop import Progress
from gansep.training.mixing import Mixing, draw_parts
from gansep.training.separators import LEVEL, SeparatorSettings
from gansep.types import DataError, GansepError, ModelError, OutputError

RATE = 8000
TINY = SoundConfig("magnitude", 64, 32, 16, sample_rate=RATE, layers="dense", width=12, depth=1, code=8)
LEARNS = SoundConfig("magnitude", 256, 128, sample_rate=RATE, layers="dense", width=192, depth=2, code=64)
PLAIN = Augmentation(again=0.0, speed=0.0, tilt_db=0.0)

Train = Callable[..., Path]


@pytest.fixture(autouse=True)
def no_packaged_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_module, "_packaged", lambda: tmp_path / "packaged")


@pytest.fixture(autouse=True)
def samples(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """What a training's journal would keep; pictures of it take longer than these trainings."""
    kept: list[Tensor] = []
    monkeypatch.setattr(Journal, "write", lambda self, step, losses, waves: kept.append(waves))
    return kept


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six seconds of ``tones`` (three pitches) and of ``hiss``, to learn by (``train``) and held out (``test``)."""
    folder = tmp_path_factory.mktemp("data")
    time = np.arange(RATE // 2) / RATE
    for seed, part in enumerate(("train", "test")):
        random = np.random.default_rng(seed)
        notes = zip(random.permutation([500, 800, 1200] * 4), random.uniform(0, 2 * np.pi, 12), strict=True)
        tones = [np.sin(2 * np.pi * frequency * time + phase) for frequency, phase in notes]
        for name, wave in (("tones", np.concatenate(tones)), ("hiss", random.uniform(-1, 1, 6 * RATE))):
            (folder / part / name).mkdir(parents=True)
            soundfile.write(folder / part / name / "1.wav", 0.5 * wave, RATE)
    return folder


@pytest.fixture
def tones(data: Path) -> Path:
    return data / "train" / "tones"


@pytest.fixture
def hiss(data: Path) -> Path:
    return data / "train" / "hiss"


@pytest.fixture
def settings(tmp_path: Path) -> SeparatorSettings:
    """The quickest training there is."""
    (tmp_path / "library").mkdir()
    mixing = Mixing(seconds=0.1)
    return SeparatorSettings(
        steps=4, checkpoint_every=2, batch=4, mixing=mixing, seed=3, device="cpu", library=tmp_path / "library"
    )


@pytest.fixture(params=["denoising", "conditional"])
def train(request: pytest.FixtureRequest, tones: Path, hiss: Path, settings: SeparatorSettings) -> Train:
    """Either kind of training on tones and hiss, tiny unless told otherwise."""

    def run(**changes: Any) -> Path:
        call = {"denoising": train_denoiser, "conditional": train_conditional}[request.param]
        return call(**({"data": [tones, hiss], "config": TINY, "settings": settings} | changes))

    return run


def network(config: SoundConfig = TINY, **changes: Any) -> SoundAutoencoder:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return SoundAutoencoder(replace(config, **changes))


def noise(*shape: int, seed: int = 0) -> Tensor:
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def weights(folder: Path) -> bytes:
    return (folder / "weights.safetensors").read_bytes()


def mixtures(data: Path, names: Sequence[str], mixing: Mixing) -> Tensor:
    """Parts of held-out mixtures. ``[32, S, T]``"""
    clips = [load_clips([data / "test" / name], RATE) for name in names]
    return draw_parts(clips, 32, replace(mixing, absent=0.0), torch.Generator().manual_seed(7), PLAIN)


# Corruption and distance


@pytest.mark.parametrize("amount", [0.0, 0.1, 0.6])
def test_salt_and_pepper(amount: float) -> None:
    clean = noise(20, 65, 40)
    state = torch.get_rng_state()
    torch.manual_seed(0)
    noisy = corrupt(clean, amount)
    torch.set_rng_state(state)
    salt, pepper = (noisy == clean.max()).float().mean(), (noisy == clean.min()).float().mean()
    for share in (salt, pepper):
        assert float(share) == pytest.approx(amount / 2, abs=0.005)
    kept = (noisy != clean.max()) & (noisy != clean.min())
    assert torch.equal(noisy[kept], clean[kept])


def test_distances_against_numpy() -> None:
    answer, truth, std = noise(3, 9, 5), noise(3, 9, 5, seed=1), torch.rand(9, 1) + 0.5
    error = (answer - truth).double().numpy()
    assert float(distance(answer, truth, "mse", std)) == pytest.approx((error**2).mean(), rel=1e-5)
    spectral = np.sqrt(((error * std.double().numpy()) ** 2).mean(1)).mean()  # of frames
    assert float(distance(answer, truth, "log-spectral", std)) == pytest.approx(spectral, rel=1e-5)


def test_a_log_spectral_distance_is_that_of_the_spectra() -> None:
    """Twice as loud is a distance of ln 2, however columns are normalised."""
    net = network(floor=1e-6, mean=(1.0,) * 33, std=(3.0,) * 33)
    wave = noise(2, 640)
    one, other = net.hear(wave), net.hear(2 * wave)
    assert float(distance(one, other, "log-spectral", net.std)) == pytest.approx(np.log(2), rel=1e-3)


@pytest.mark.parametrize("loss", LOSSES)
def test_nothing_is_wrong_with_a_perfect_answer(loss: str) -> None:
    answer = noise(1, 9, 5).requires_grad_()
    value = distance(answer, answer.detach(), loss, torch.ones(9, 1))
    value.backward()
    assert float(value.detach()) == pytest.approx(0, abs=1e-5)
    assert answer.grad is not None and not answer.grad.any()


# Tasks


@pytest.mark.parametrize("loss", LOSSES)
def test_denoising_is_the_first_source_of_them_all(loss: str) -> None:
    task = DenoisingTask(network().eval(), loss)
    parts = noise(2, 3, 500)
    net = task.network
    expected = distance(net(net.hear(parts[:, 0] + parts[:, 1] + parts[:, 2])), net.hear(parts[:, 0]), loss, net.std)
    assert task.losses(parts).keys() == {loss}
    torch.testing.assert_close(task.losses(parts)[loss], expected)
    torch.testing.assert_close(
        task.separate(parts.sum(1)).sum(1), parts.sum(1)
    )  # what is not clean is what is left over


@pytest.mark.parametrize("loss", LOSSES)
def test_conditional_is_every_source_as_it_is_told(loss: str) -> None:
    task = ConditionalTask(network(classes=3).eval(), loss)
    net, parts = task.network, noise(2, 3, 500)
    mixture = parts.sum(1)
    alone = [net(net.hear(mixture), torch.tensor([which] * 2)) for which in range(3)]
    each = [distance(answer, net.hear(parts[:, which]), loss, net.std) for which, answer in enumerate(alone)]
    torch.testing.assert_close(task.losses(parts)[loss], torch.stack(each).mean())
    expected = torch.stack([net.sound(answer, mixture) for answer in alone], 1)
    torch.testing.assert_close(task.separate(mixture), expected, rtol=1e-4, atol=1e-6)


def test_salt_is_for_learning_only() -> None:
    salted, plain = DenoisingTask(network().eval(), amount=0.5), DenoisingTask(network().eval())
    parts = noise(4, 1, 500)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        assert (salted.losses(parts)["mse"] - plain.losses(parts)["mse"]).abs() > 0.01
        assert torch.equal(salted.separate(parts[:, 0]), plain.separate(parts[:, 0]))


def test_losses_that_there_are() -> None:
    for domain in DOMAINS:
        known = losses_of(replace(TINY, domain=domain, mean=(), std=()))
        assert known == (("mse",) if domain == "waveform" else ("mse", "log-spectral"))
    waves = network(SoundConfig("waveform", 64, 32, layers="dense", width=8))
    with pytest.raises(GansepError, match="denoising autoencoders cannot be learned by 'log-spectral'; expected one"):
        DenoisingTask(waves, "log-spectral")
    with pytest.raises(GansepError, match="conditional autoencoders cannot be learned by 'snr'; expected one of mse"):
        ConditionalTask(network(classes=2), "snr")
    for amount in (-0.1, 1.0):
        with pytest.raises(ValueError, match=r"amount must be in \[0, 1\)"):
            DenoisingTask(network(), amount=amount)


@pytest.mark.parametrize("kind", [DenoisingTask, ConditionalTask])
@pytest.mark.parametrize("domain", DOMAINS)
@pytest.mark.parametrize("layers", LAYERS)
def test_every_kind_learns(layers: str, domain: str, kind: type[DenoisingTask | ConditionalTask]) -> None:
    """The same mixtures a few times; and what the decoder is told, if anything, makes a difference to them."""
    time = torch.arange(600) / RATE
    tone = 0.3 * (2 * torch.pi * 500 * time).sin() * torch.linspace(0.5, 1, 3)[:, None]
    parts = torch.stack([tone, noise(3, 600)], 1)
    classes = 2 * (kind is ConditionalTask)
    config = SoundConfig(domain, 64, 32, 16, sample_rate=RATE, layers=layers, width=16, depth=1, classes=classes)
    heard = columns(torch.cat([parts.sum(1), parts.flatten(0, 1)]), config)
    mean, std = heard.mean((0, 2)).tolist(), heard.std((0, 2)).clamp_min(1e-3).tolist()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        task = kind(network(config, mean=mean, std=std))
        optimiser = torch.optim.Adam(task.network.parameters(), 5e-3)
        losses = []
        for _ in range(12):
            loss = task.losses(parts)["mse"]
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(float(loss.detach()))
        for part in (task.network.net.encoder, task.network.net.decoder):
            assert all(value.grad is not None for value in part.parameters())
    assert np.mean(losses[-3:]) < 0.8 * losses[0]
    stems = task.separate(parts.sum(1))
    assert stems.shape == parts.shape and stems.isfinite().all()
    assert (stems[:, 0] - stems[:, 1]).abs().max() > 1e-3


# From folders to models that do what they are for


def test_tones_and_hiss_are_told_apart(data: Path, tones: Path, hiss: Path, settings: SeparatorSettings) -> None:
    """On sounds that it never heard, measured by the card and again by what it saved."""
    mixing = Mixing(seconds=0.5, gain_db=6.0, level_db=(-12.0, 0.0))
    goal = replace(settings, steps=160, checkpoint_every=80, batch=8, rate=1e-2, mixing=mixing, augment=PLAIN)
    held_out = {name: data / "test" / name for name in ("tones", "hiss")}
    folder = train_conditional([tones, hiss], config=LEARNS, settings=goal, held_out=held_out)
    card = read_card(folder)
    assert card.metrics["held_out_mixtures"] == 32
    assert card.metrics["held_out_si_sdr_improvement"] > 4
    first, last = (point["mse"] for point in card.curve)
    assert last < 0.7 * first
    network = load_separation("autoencoder", ["hiss", "tones"], library=settings.library).network
    assert isinstance(network, SoundAutoencoder)
    parts = mixtures(data, ("tones", "hiss"), mixing)
    with torch.no_grad():
        stems = ConditionalTask(network).separate(parts.sum(1))
    gain = (si_sdr(stems, parts) - si_sdr(parts.sum(1, keepdim=True), parts)).mean(0)
    assert gain.min() > 3  # of tones and of hiss
    assert float(gain.mean()) == pytest.approx(card.metrics["held_out_si_sdr_improvement"], abs=3)


@pytest.mark.parametrize("corruption", ["noise", "gaussian"])
def test_tones_are_freed_of_noise(
    corruption: str, data: Path, tones: Path, hiss: Path, settings: SeparatorSettings
) -> None:
    """Of noise that it never heard."""
    mixing = Mixing(seconds=0.5, snr_db=(-5, 5), level_db=(-12.0, 0.0))
    goal = replace(settings, steps=120, checkpoint_every=120, batch=8, rate=1e-2, mixing=mixing, augment=PLAIN)
    sounds = [tones, hiss] if corruption == "noise" else [tones]
    folder = train_denoiser(sounds, config=LEARNS, settings=goal)
    task = DenoisingTask(load_separation("autoencoder", model=folder).network)  # type: ignore[arg-type]
    parts = mixtures(data, ("tones", "hiss"), mixing)
    with torch.no_grad():
        clean = task.separate(parts.sum(1))[:, 0]
    gain = si_sdr(clean, parts[:, 0]) - si_sdr(parts.sum(1), parts[:, 0])
    assert gain.mean() > 3


# What denoisers hear


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """The parts of every mixture that a denoiser learns by."""
    parts: list[Tensor] = []
    losses = DenoisingTask.losses

    def listen(self: DenoisingTask, mixed: Tensor) -> dict[str, Tensor]:
        parts.append(mixed)
        return losses(self, mixed)

    monkeypatch.setattr(DenoisingTask, "losses", listen)
    return parts


def ratios(parts: Tensor) -> Tensor:
    """dB of the first part over the second. ``[B, 2, T]`` to ``[B]``."""
    power = parts.square().mean(-1)
    return 10 * (power[:, 0] / power[:, 1]).log10()


@pytest.mark.parametrize("corruption", ["noise", "gaussian"])
@pytest.mark.parametrize("wanted", [None, (2.0, 3.0)])
def test_how_loud_the_noise_is(
    corruption: str,
    wanted: tuple[float, float] | None,
    heard: list[Tensor],
    tones: Path,
    hiss: Path,
    settings: SeparatorSettings,
) -> None:
    """As the settings say, or by a range of its own where they say nothing; as does the card."""
    mixing = replace(settings.mixing, snr_db=wanted, absent=0.0)
    sounds = [tones, hiss] if corruption == "noise" else [tones]
    folder = train_denoiser(sounds, config=TINY, settings=replace(settings, mixing=mixing, batch=32))
    low, high = wanted or SNR_DB
    found = ratios(torch.cat(heard))
    assert found.min() > low - 0.01 and found.max() < high + 0.01
    assert found.min() < low + 0.1 * (high - low) and found.max() > high - 0.1 * (high - low)
    assert f"snr_db=({low}, {high})" in read_card(folder).extra["mixing"]


def test_gaussian_noise_is_white_and_gaussian(heard: list[Tensor], tones: Path, settings: SeparatorSettings) -> None:
    plain = replace(settings, augment=PLAIN, batch=32, mixing=replace(settings.mixing, absent=0.0))
    train_denoiser([tones], corruption="gaussian", config=TINY, settings=plain)
    parts = torch.cat(heard)
    assert parts.shape[1] == 2
    wave = (parts[:, 1] / parts[:, 1].std(-1, keepdim=True)).double()
    power = torch.fft.rfft(wave, norm="ortho").abs().square()[:, 1:-1].unflatten(-1, (-1, 57)).mean((0, 2))
    assert power.min() > 0.9 and power.max() < 1.1  # of seven bands
    assert float(wave.pow(4).mean()) == pytest.approx(3, abs=0.1)


def test_salt_and_pepper_needs_no_noise(heard: list[Tensor], tones: Path, settings: SeparatorSettings) -> None:
    folder = train_denoiser([tones], corruption="salt-pepper", amount=0.3, config=TINY, settings=settings)
    assert all(parts.shape == (4, 1, 800) for parts in heard)
    card = read_card(folder)
    assert (card.sources, card.config["corruption"]) == (("tones", "noise"), "salt-pepper 0.3")
    assert "snr_db=None" in card.extra["mixing"]
    assert load_separation("autoencoder", ["noise", "tones"], library=settings.library).card.name == "tones-noise"


# The model


def test_a_denoiser_and_its_card(data: Path, tones: Path, hiss: Path, settings: SeparatorSettings) -> None:
    events: list[Progress | str] = []
    words = Provenance("sounds made up for a test", "CC0-1.0", "MIT")
    goal = replace(settings, loss="log-spectral")
    held_out = {name: data / "test" / name for name in ("tones", "hiss")}
    folder = train_denoiser(
        {"speech": tones, "noise": hiss}, config=TINY, settings=goal, provenance=words, on_event=events.append
    )
    assert folder == settings.library / "autoencoder" / "speech-noise"  # type: ignore[operator]
    card = read_card(folder)
    assert (card.name, card.kind, card.sources) == ("speech-noise", "autoencoder", ("speech", "noise"))
    assert (card.sample_rate, card.segment, card.seed, card.level) == (RATE, None, 3, LEVEL)
    config = dict(card.config)
    said = {name: config.pop(name) for name in ("job", "corruption", "loss")}
    assert said == {"job": "denoising", "corruption": "noise", "loss": "log-spectral"}
    sizes = SoundConfig(**config)
    assert replace(sizes, mean=(), std=()) == TINY
    assert len(set(sizes.mean)) > 30
    assert (card.data, card.data_licence, card.licence) == (words.data, "CC0-1.0", "MIT")
    assert [point["step"] for point in card.curve] == [2, 4]
    assert all(0 < point["log-spectral"] < 10 for point in card.curve)
    assert card.metrics == {} and card.extra["seconds_of_sound"] == [6, 6]
    lines = [event for event in events if isinstance(event, str)]
    assert lines[:2] == ["speech: 6 s of sound in 1 files", "noise: 6 s of sound in 1 files"]
    assert verify(Found("autoencoder", "speech-noise", folder, "path")) == []
    measured = train_denoiser([tones, hiss], "measured", config=TINY, settings=settings, held_out=held_out)
    assert read_card(measured).metrics.keys() == {"held_out_si_sdr_improvement", "held_out_mixtures"}


def test_what_a_denoiser_is_measured_on(data: Path, tones: Path, settings: SeparatorSettings) -> None:
    """Held-out clean sounds, in noise that is made; of salt and pepper there is no noise to measure."""
    held_out = {"tones": data / "test" / "tones"}
    for corruption, figures in (("gaussian", 2), ("salt-pepper", 0)):
        folder = train_denoiser([tones], corruption, corruption, TINY, replace(settings, steps=1), held_out=held_out)
        assert len(read_card(folder).metrics) == figures


def test_three_sources_of_which_two_sound(tones: Path, hiss: Path, settings: SeparatorSettings) -> None:
    sources = {"high": tones, "low": [str(tones / "1.wav")], "rain": hiss}
    goal = replace(settings, mixing=replace(settings.mixing, sounding=2))
    folder = train_conditional(sources, "mine", TINY, goal)
    card = read_card(folder)
    assert (card.name, card.sources, card.config["classes"]) == ("mine", ("high", "low", "rain"), 3)
    assert (card.config["job"], card.config["loss"]) == ("conditional", "mse")
    assert "sounding=2" in card.extra["mixing"]
    assert find_separator("autoencoder", ["rain", "high"], settings.library).name == "mine"


def test_sources_that_sound_one_at_a_time_are_measured_in_mixtures(
    tones: Path, hiss: Path, settings: SeparatorSettings, samples: list[Tensor]
) -> None:
    sources = {"high": tones, "low": tones, "rain": hiss}
    goal = replace(settings, steps=1, mixing=replace(settings.mixing, sounding=1))
    card = read_card(train_conditional(sources, config=TINY, settings=goal, held_out=sources))
    assert -60 < card.metrics["held_out_si_sdr_improvement"] < 60  # of a source alone it is without bounds
    ((_, *parts),) = samples
    assert sum(bool(part.any()) for part in parts[:3]) == 2


@pytest.mark.parametrize("domain", DOMAINS)
@pytest.mark.parametrize("layers", LAYERS)
def test_every_kind_is_loaded_as_it_was_trained(
    layers: str, domain: str, tones: Path, hiss: Path, settings: SeparatorSettings, samples: list[Tensor]
) -> None:
    """What was heard at the end of the run is what the model says."""
    config = SoundConfig(domain, 64, 32, 16, sample_rate=RATE, layers=layers, width=8, depth=1, code=4)
    train_conditional([tones, hiss], config=config, settings=replace(settings, steps=1))
    network = load_separation("autoencoder", ["hiss", "tones"], library=settings.library).network
    assert isinstance(network, SoundAutoencoder) and network.config.domain == domain
    ((mixture, _, _, *stems),) = samples  # the mixture, two parts, two stems
    expected = ConditionalTask(network).separate(mixture[None])[0]
    torch.testing.assert_close(torch.stack(stems), expected, rtol=0, atol=0.02 * float(expected.abs().max()))


def test_the_seed_decides_and_nothing_else(train: Train, settings: SeparatorSettings, tmp_path: Path) -> None:
    models = []
    for number, seed in enumerate((0, 0, 1)):
        torch.manual_seed(number)
        state = torch.get_rng_state()
        models.append(weights(train(settings=replace(settings, seed=seed), out=tmp_path / f"run-{number}")))
        assert torch.equal(torch.get_rng_state(), state)
    assert models[0] == models[1] != models[2]


# Going on


def stop_at(step: int) -> Callable[[Progress | str], None]:
    def stop(event: Progress | str) -> None:
        if isinstance(event, Progress) and event.step == step:
            raise InterruptedError

    return stop


def test_resumed_is_as_uninterrupted(train: Train, tmp_path: Path) -> None:
    whole = train(out=tmp_path / "whole")
    with pytest.raises(InterruptedError):
        train(out=tmp_path / "parts", on_event=stop_at(3))
    before = weights(tmp_path / "parts")
    events: list[Progress | str] = []
    parts = train(out=tmp_path / "parts", resume=True, on_event=events.append)
    assert "resumed from step 2" in events
    assert weights(parts) == weights(whole) != before
    assert [dict(point) for point in read_card(parts).curve] == [dict(point) for point in read_card(whole).curve]


def test_resume_refuses_another_training(train: Train, settings: SeparatorSettings, tmp_path: Path) -> None:
    out = tmp_path / "out"
    train(out=out)
    with pytest.raises(ModelError, match="it was made with other settings"):
        train(out=out, resume=True, config=replace(TINY, code=9))
    with pytest.raises(ModelError, match="it was made with other settings"):
        train(out=out, resume=True, settings=replace(settings, loss="log-spectral"))
    with pytest.raises(OutputError, match="holds a model already"):
        train(out=out)


def test_init_from(train: Train, settings: SeparatorSettings, tmp_path: Path) -> None:
    """After one step the weights are near those it began with, and far from those of another seed."""
    begin = train(name="begin", settings=replace(settings, seed=9))
    one = replace(settings, steps=1)
    begun = train(name="a", settings=replace(one, init_from="begin"))
    named = train(name="b", settings=replace(one, init_from=str(begin)))
    fresh = train(name="c", settings=one)
    heads = [code_of(folder) for folder in (begun, fresh)]
    gaps = [float((head - code_of(begin)).abs().mean()) for head in heads]
    assert gaps[0] < 1e-3 < 0.05 < gaps[1]
    assert weights(begun) == weights(named)


def code_of(folder: Path) -> Tensor:
    """Weights of the last layer before the code."""
    network = load_separation("autoencoder", model=folder).network
    return next(value for name, value in network.named_parameters() if name.endswith("encoder.1.weight"))


def test_init_from_what_does_not_fit(tones: Path, hiss: Path, settings: SeparatorSettings) -> None:
    one = replace(settings, steps=1)
    train_denoiser([tones, hiss], "cleaner", config=TINY, settings=one)
    begin = replace(one, init_from="cleaner")
    with pytest.raises(ModelError, match=r"cleaner: training cannot begin with it, it has other width$"):
        train_denoiser([tones, hiss], config=replace(TINY, width=13), settings=begin)
    with pytest.raises(ModelError, match=r"it has other classes, job$"):
        train_conditional([tones, hiss], config=TINY, settings=begin)
    with pytest.raises(ModelError, match=r"it has other sources$"):
        train_denoiser([tones], "other", "gaussian", TINY, begin)
    salted = train_denoiser({"tones": tones}, "d", "salt-pepper", TINY, one)  # what corrupts may change
    again = replace(one, init_from="d")
    assert (
        read_card(train_denoiser({"tones": tones}, "e", "gaussian", TINY, again)).sources == read_card(salted).sources
    )


# Refused


@pytest.mark.parametrize(
    ("sources", "corruption", "said"),
    [
        (["tones"], "noise", "wrong number of folders of noise: noise needs one folder, got 0 beside tones"),
        (["tones", "hiss"], "gaussian", "wrong number of folders of noise: gaussian needs none, got 1 beside tones"),
        (["tones", "hiss"], "salt-pepper", "salt-pepper needs none, got 1 beside tones"),
        (["tones", "hiss", "rain"], "", "noise needs one folder, got 2 beside tones"),
        (["tones"], "magic", "unknown corruption 'magic'; expected one of noise, gaussian, salt-pepper"),
    ],
)
def test_wrong_noise(
    sources: list[str], corruption: str, said: str, tones: Path, settings: SeparatorSettings, tmp_path: Path
) -> None:
    with pytest.raises(GansepError, match=f"{said}$"):
        train_denoiser(dict.fromkeys(sources, tones), corruption=corruption, config=TINY, settings=settings)
    assert not list((tmp_path / "library").iterdir())


def test_what_is_clean_is_no_noise(tones: Path, hiss: Path, settings: SeparatorSettings, tmp_path: Path) -> None:
    for corruption in ("gaussian", "salt-pepper"):
        with pytest.raises(DataError, match="clean sounds cannot be called noise, as what is left over is; name them"):
            train_denoiser({"noise": tones}, corruption=corruption, config=TINY, settings=settings)
    assert not list((tmp_path / "library").iterdir())
    clean = train_denoiser({"noise": tones, "hum": hiss}, config=TINY, settings=replace(settings, steps=1))
    assert read_card(clean).sources == ("noise", "hum")


def test_bad_input_leaves_nothing(
    train: Train, data: Path, tones: Path, settings: SeparatorSettings, tmp_path: Path
) -> None:
    for changes, error, said in (
        ({"data": [tones, tmp_path / "missing"]}, DataError, "no such file or folder"),
        ({"data": []}, DataError, "mixtures need at least (one source|two sources), got none"),
        ({"data": {"a/b": tones, "c": tones}, "name": "x"}, ModelError, "usable as a file name and have no comma"),
        ({"data": {"residual": tones, "c": tones}}, ModelError, "'residual' is taken"),
        ({"name": "a/b"}, ModelError, "usable as a folder name"),
        ({"settings": replace(settings, loss="snr")}, GansepError, "cannot be learned by 'snr'; expected one of mse"),
        ({"settings": replace(settings, device="abacus")}, GansepError, "device 'abacus' is not available"),
        ({"settings": replace(settings, init_from="nobody")}, ModelError, "no autoencoder model 'nobody'"),
        ({"held_out": {"rain": tones}}, DataError, "expected held-out sounds of tones, hiss, got those of rain"),
    ):
        with pytest.raises(error, match=said):
            train(**changes)
    waves = SoundConfig("waveform", 64, 32, layers="dense", width=8, sample_rate=RATE)
    with pytest.raises(GansepError, match="of waveform cannot be learned by 'log-spectral'; expected one of mse"):
        train(config=waves, settings=replace(settings, loss="log-spectral"))
    assert not list((tmp_path / "library").iterdir())
