"""The shipped models on real sound that they never heard: the main jobs, from end to end."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor

from gansep.audio import read, write
from gansep.backends.gan_prior import QUALITIES, RECIPES, GanPrior
from gansep.denoise import Denoising, denoise_files
from gansep.dsp.frames import split
from gansep.library import find_models, load_prior, verify
from gansep.live import LiveDenoiser, live_separator
from gansep.losses import multi_resolution_spectral
from gansep.metrics import si_sdr, si_sdr_improvement, spectral_snr
from gansep.metrics.perceptual import stoi
from gansep.pipeline import Settings, Track, separate_tracks
from gansep.planning import choose_for
from gansep.separate import separate_file

ROOT = Path(__file__).resolve().parent.parent
SHIPPED = ("digits", "drums", "piano")


@pytest.fixture(scope="module")
def clips() -> dict[str, Tensor]:
    """One second of each source, ``[T]``, peaks at 0.5."""
    waves = {name: read(ROOT / "tests" / "clips" / f"{name}.flac")[0][0] for name in SHIPPED}
    return {name: 0.5 * wave / wave.abs().max() for name, wave in waves.items()}


def stems_of(mixture: Tensor, sources: tuple[str, ...], quality: str = "fast") -> Tensor:
    """``[T]`` at 16 kHz to refined stems ``[S, T]``."""
    parts: list[Tensor] = []
    track = Track(partial(split, mixture[None]), 16000, len(mixture), lambda stems, _: parts.append(stems[:, 0]))
    separate_tracks([track], GanPrior([load_prior(name) for name in sources], QUALITIES[quality]), Settings())
    return torch.cat(parts, -1)


def test_they_are_whole_and_say_what_they_are() -> None:
    found = {model.name: model for model in find_models(kind="gan") if model.origin == "packaged"}
    assert set(SHIPPED) <= set(found)
    for name in SHIPPED:
        assert verify(found[name]) == []
        card = found[name].card
        assert card.licence != "not stated" and card.data_licence != "not stated" and card.level and card.data_sha256
        assert card.curve[-1]["step"] == card.extra["steps"]
        assert (found[name].folder / "weights.safetensors").stat().st_size <= 24 * 2**20


@pytest.mark.parametrize(
    ("sources", "at_least"), [(("digits", "drums"), 8.0), (("digits", "piano"), 2.0), (("drums", "piano"), 5.0)]
)
def test_real_mixtures_come_apart(clips: dict[str, Tensor], sources: tuple[str, ...], at_least: float) -> None:
    references = torch.stack([clips[name] for name in sources])
    mixture = references.sum(0)
    stems = stems_of(mixture, sources)
    assert (stems.sum(0) - mixture).abs().max() < 1e-4
    assert si_sdr_improvement(stems, references, mixture.expand_as(references)).mean() > at_least


def test_ours_beats_the_published_recipe_even_with_a_few_of_its_steps(clips: dict[str, Tensor]) -> None:
    sources = ("digits", "drums")
    references = torch.stack([clips[name] for name in sources])
    mixture = references.sum(0)[None]
    priors = [load_prior(name) for name in sources]
    published = RECIPES["narayanaswamy2020"]
    short = replace(published, settings=replace(published.settings, steps=50))
    theirs = GanPrior(priors, short)(mixture).waves[0]
    ours = GanPrior(priors)(mixture).waves[0]
    assert spectral_snr(ours, references).mean() > spectral_snr(theirs, references).mean() + 1


# Variational priors


def test_variational_priors_are_whole_and_say_what_they_are() -> None:
    found = {model.name: model for model in find_models(kind="vae") if model.origin == "packaged"}
    assert set(found) == set(SHIPPED)
    for model in found.values():
        assert verify(model) == []
        assert "not stated" not in (model.card.licence, model.card.data_licence) and model.card.data_sha256
        assert model.card.curve[-1]["step"] == model.card.extra["steps"]
        assert (model.folder / "weights.safetensors").stat().st_size <= 24 * 2**20


def test_variational_priors_are_searched_as_the_others(clips: dict[str, Tensor], tmp_path: Path) -> None:
    references = torch.stack([clips["digits"], clips["drums"]])
    write(tmp_path / "mix.wav", references.sum(0)[None], 16000, "FLOAT")
    done = separate_file(tmp_path / "mix.wav", tmp_path / "out", sources=["vae/digits", "vae/drums"])
    assert [done.report["sources"][name]["model"] for name in ("digits", "drums")] == ["vae/digits", "vae/drums"]
    stems = torch.stack([read(done.stems[name])[0][0] for name in ("digits", "drums")])
    assert si_sdr_improvement(stems, references, references.sum(0).expand_as(references)).mean() > 6


@pytest.mark.parametrize("name", SHIPPED)
def test_variational_priors_play_what_they_hear(clips: dict[str, Tensor], name: str) -> None:
    prior, wave = load_prior(f"vae/{name}"), clips[name][None, :16384]
    assert prior.encoder is not None
    latents = prior.encoder(wave)[0]
    by_chance = multi_resolution_spectral(prior.sample(8, seed=0), (2 * wave).expand(8, -1))
    assert multi_resolution_spectral(prior.generator(latents), 2 * wave) < 0.9 * by_chance.mean()


# The search


def test_the_search_lowers_the_objective(clips: dict[str, Tensor]) -> None:
    mixture = (clips["drums"] + clips["piano"])[None]
    total = GanPrior([load_prior("drums"), load_prior("piano")])(mixture).stats["total"]
    assert total.shape == (1, QUALITIES["default"].settings.steps + 1)
    assert total.min() < total[0, 0]


def test_the_example_comes_apart_without_names(tmp_path: Path) -> None:
    done = separate_file(ROOT / "examples" / "mix.wav", tmp_path, k=2, quality="fast")
    assert set(done.stems) == {"drums", "piano"}
    mixture, rate = read(done.input)
    assert (rate, mixture.shape) == (44100, (2, 352_800))
    parts = sum(read(path)[0] for path in (*done.stems.values(), done.residual))
    assert (parts - done.report["output_gain"] * mixture).abs().max() < 1e-4


def test_right_sources_are_chosen_for_a_pair(clips: dict[str, Tensor]) -> None:
    mixture = torch.cat([clips["drums"] + clips["piano"]] * 2)[None]
    choice = choose_for(partial(split, mixture), mixture.shape[1], 16000, [load_prior(name) for name in SHIPPED], 2)
    assert {prior.name for prior in choice.priors} == {"drums", "piano"}


def test_samples_sound_and_differ() -> None:
    for name in SHIPPED:
        sounds = load_prior(name).sample(4, seed=0)
        assert sounds.shape == (4, 16384) and sounds.abs().max() <= 1
        assert sounds.square().mean(-1).sqrt().min() > 1e-4
        assert torch.equal(sounds, load_prior(name).sample(4, seed=0))
        assert not torch.allclose(sounds[0], sounds[1], atol=1e-3)


def test_dictionaries_take_real_mixtures_apart(clips: dict[str, Tensor], tmp_path: Path) -> None:
    """Through the same files and flags as the priors, and without giving the mixture back."""
    found = {model.name: model for model in find_models(kind="nmf") if model.origin == "packaged"}
    assert set(SHIPPED) <= set(found)
    assert all(verify(model) == [] and model.card.licence != "not stated" for model in found.values())
    references = torch.stack([clips["drums"], clips["piano"]])
    write(tmp_path / "mix.wav", references.sum(0)[None], 16000, "FLOAT")
    done = separate_file(tmp_path / "mix.wav", tmp_path / "out", sources="drums,piano", backend="nmf")
    assert [done.report["sources"][name]["model"] for name in ("drums", "piano")] == ["nmf/drums", "nmf/piano"]
    stems = torch.stack([read(done.stems[name])[0][0] for name in ("drums", "piano")])
    assert si_sdr_improvement(stems, references, references.sum(0).expand_as(references)).mean() > 4


# Masks

MASKS = {
    "digits-drums": ("digits", "drums"),
    "digits-piano": ("digits", "piano"),
    "drums-piano": ("drums", "piano"),
    "digits-drums-piano": SHIPPED,
    "speech-noise": ("speech", "noise"),
    "speech-noise-causal": ("speech", "noise"),
    "speech-noise-irm-dnn": ("speech", "noise"),
}


def test_masks_are_whole_and_say_what_they_are() -> None:
    found = {model.name: model for model in find_models(kind="mask") if model.origin == "packaged"}
    assert {name: model.card.sources for name, model in found.items()} == MASKS
    for model in found.values():
        assert verify(model) == []
        assert "not stated" not in (model.card.licence, model.card.data_licence) and model.card.data_sha256
        assert model.card.curve[-1]["step"] == model.card.extra["steps"]
        assert (model.folder / "weights.safetensors").stat().st_size <= 8 * 2**20


@pytest.mark.parametrize(
    ("sources", "at_least"),
    [(("digits", "drums"), 12.0), (("piano", "digits"), 6.0), (("drums", "piano"), 8.0), (SHIPPED, 6.0)],
)
def test_masks_take_real_mixtures_apart(
    clips: dict[str, Tensor], tmp_path: Path, sources: tuple[str, ...], at_least: float
) -> None:
    references = torch.stack([clips[name] for name in sources]) / 2
    mixture = references.sum(0)
    write(tmp_path / "mix.wav", mixture[None], 16000, "FLOAT")
    done = separate_file(tmp_path / "mix.wav", tmp_path / "out", sources=sources, backend="mask")
    stems = torch.stack([read(done.stems[name])[0][0] for name in sources])
    assert (stems.sum(0) - mixture).abs().max() < 1e-4
    assert si_sdr_improvement(stems, references, mixture.expand_as(references)).mean() > at_least


@pytest.fixture(scope="module")
def noisy() -> tuple[Tensor, Tensor]:
    """Speech, and speech in noise of the same power, ``[T]`` each."""
    speech, noise = (read(ROOT / "tests" / "clips" / f"{name}.flac")[0][0] for name in ("speech", "noise"))
    noise = noise * speech.square().mean().sqrt() / noise.square().mean().sqrt()
    return 0.3 * speech, 0.3 * (speech + noise)


@pytest.mark.parametrize(
    ("model", "at_least"), [(None, 1.5), ("speech-noise-causal", 1.5), ("speech-noise-irm-dnn", 0.0)]
)
def test_speech_comes_out_of_noise_and_stays_as_it_is_without(
    noisy: tuple[Tensor, Tensor], tmp_path: Path, model: str | None, at_least: float
) -> None:
    speech, mixture = noisy
    for name, wave in (("noisy", mixture), ("clean", speech)):
        write(tmp_path / f"{name}.wav", wave[None], 16000, "FLOAT")
    denoise_files([tmp_path / "noisy.wav", tmp_path / "clean.wav"], tmp_path / "out", model=model, float32=True)
    heard, clean = (read(tmp_path / "out" / f"{name}.wav")[0][0] for name in ("noisy", "clean"))
    assert si_sdr_improvement(heard, speech, mixture) > at_least  # a machine that hums as low as the voice
    if model != "speech-noise-irm-dnn":  # the classic network lowers it here
        assert stoi(heard, speech, 16000) > stoi(mixture, speech, 16000)
    assert si_sdr(clean, speech) > 20


# Autoencoders


def test_autoencoders_are_whole_and_say_what_they_are() -> None:
    found = {model.name: model for model in find_models(kind="autoencoder") if model.origin == "packaged"}
    assert {name: model.card.sources for name, model in found.items()} == {
        "speech-noise": ("speech", "noise"),
        "digits-drums-piano": SHIPPED,
    }
    for model in found.values():
        assert verify(model) == []
        assert "not stated" not in (model.card.licence, model.card.data_licence) and model.card.data_sha256
        assert model.card.curve[-1]["step"] == model.card.extra["steps"]
        assert (model.folder / "weights.safetensors").stat().st_size <= 8 * 2**20


@pytest.mark.parametrize(
    ("sources", "at_least"),
    [(("digits", "drums"), 8.0), (("piano", "digits"), 2.0), (("drums", "piano"), 4.0), (SHIPPED, 3.0)],
)
def test_one_autoencoder_answers_with_any_of_its_sources(
    clips: dict[str, Tensor], tmp_path: Path, sources: tuple[str, ...], at_least: float
) -> None:
    references = torch.stack([clips[name] for name in sources]) / 2
    mixture = references.sum(0)
    write(tmp_path / "mix.wav", mixture[None], 16000, "FLOAT")
    done = separate_file(tmp_path / "mix.wav", tmp_path / "out", sources=sources, backend="autoencoder")
    stems = torch.stack([read(done.stems[name])[0][0] for name in sources])
    residual = read(done.residual)[0][0]  # what the others of its sources claim
    assert (stems.sum(0) + residual - mixture).abs().max() < 1e-4
    assert residual.square().mean() < (0.02 if sources != SHIPPED else 1e-8) * mixture.square().mean()
    assert si_sdr_improvement(stems, references, mixture.expand_as(references)).mean() > at_least


def test_an_autoencoder_denoises(noisy: tuple[Tensor, Tensor], tmp_path: Path) -> None:
    """Out of white noise, and out of a machine that hums as low as the voice, where it leaves the hum in."""
    speech, mixture = noisy
    hiss = torch.randn(speech.shape, generator=torch.Generator().manual_seed(0)) * speech.square().mean().sqrt()
    for name, wave in (("hum", mixture), ("hiss", speech + hiss)):
        write(tmp_path / f"{name}.wav", 0.5 * wave[None], 16000, "FLOAT")
    denoise_files([tmp_path / "hum.wav", tmp_path / "hiss.wav"], tmp_path / "out", backend="autoencoder")
    hum, heard = (2 * read(tmp_path / "out" / f"{name}.wav")[0][0] for name in ("hum", "hiss"))
    assert si_sdr_improvement(heard, speech, speech + hiss) > 1.5
    assert stoi(hum, speech, 16000) > stoi(mixture, speech, 16000)
    assert spectral_snr(hum, speech) > spectral_snr(mixture, speech) + 1


def test_a_stream_is_denoised(noisy: tuple[Tensor, Tensor]) -> None:
    speech, mixture = noisy
    live = LiveDenoiser(live_separator(Denoising()), 16000, 1, Denoising())
    assert live.latency == pytest.approx(0.032)
    heard = torch.cat([*(live.push(block) for block in mixture[None].split(333, -1)), live.finish()], -1)[0]
    assert heard.shape == mixture.shape
    assert si_sdr_improvement(heard, speech, mixture) > 1.5  # of a machine that hums as low as the voice
