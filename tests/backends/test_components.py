"""Component analysis: channels unmixed exactly, spectrograms taken apart where that is easy, sums, and odd input."""

from __future__ import annotations

from pathlib import Path

import pytest
import soundfile
import torch
from torch import Tensor

from gansep.backends.components import METHODS, UNMIXING, Components, independent_channels
from gansep.metrics import best_permutation, si_sdr
from gansep.pipeline import Settings, Track, separate_tracks
from gansep.types import Separator


@pytest.fixture(scope="module")
def clips() -> Tensor:
    """Digits, drums and piano, ``[3, T]``, each with its peak at 1."""
    folder = Path(__file__).parent.parent / "clips"
    waves = [soundfile.read(folder / f"{name}.flac", dtype="float32")[0] for name in ("digits", "drums", "piano")]
    return torch.stack([torch.from_numpy(wave / abs(wave).max()) for wave in waves])


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def improvement(stems: Tensor, references: Tensor) -> float:
    """Mean SI-SDR that stems ``[S, T]`` gain over the mixture, in their best order, in dB."""
    ordered = stems[best_permutation(stems, references)]
    return float((si_sdr(ordered, references) - si_sdr(references.sum(0), references)).mean())


@pytest.mark.parametrize("names", [(0, 1), (0, 2), (1, 2), (0, 1, 2)])
def test_fastica_takes_panned_recordings_apart(clips: Tensor, names: tuple[int, ...]) -> None:
    sources = clips[list(names)]
    mixing = torch.tensor([[0.9, 0.5, 0.2], [0.3, 0.6, 0.8], [0.4, -0.3, 0.7]])[: len(names), : len(names)]
    images = mixing.T[:, :, None] * sources[:, None]  # [S, C, T]
    mixture = images.sum(0)
    waves = Components(len(names), "fastica")(mixture[None]).waves[0]
    waves = waves[best_permutation(waves[:, 0], images[:, 0])]
    assert (si_sdr(waves, images) > 20).all()
    assert ((waves - images).square().mean((1, 2)) < 0.01 * images.square().mean((1, 2))).all()  # their levels too
    torch.testing.assert_close(waves.sum(0), mixture, atol=1e-5, rtol=0)


def test_fastica_uses_more_channels_than_sources(clips: Tensor) -> None:
    mixing = torch.tensor([[0.9, 0.2], [0.3, 0.8], [0.5, 0.5], [0.1, -0.4]])
    images = mixing.T[:, :, None] * clips[:2, None]
    mixture = images.sum(0) + 1e-3 * noise(4, clips.shape[1])
    waves = Components(2, "fastica")(mixture[None]).waves[0]
    waves = waves[best_permutation(waves[:, 0], images[:, 0])]
    assert (si_sdr(waves, images) > 20).all()
    torch.testing.assert_close(waves.sum(0), mixture, atol=1e-5, rtol=0)


def test_pca_unmixes_orthogonal_places_and_no_others(clips: Tensor) -> None:
    """The principal axes are those of the singular value decomposition; only orthogonal mixing matrices are found."""
    turn = torch.tensor([[0.8, -0.6], [0.6, 0.8]])
    sources = torch.stack([clips[0], 0.3 * clips[1]])
    for mixing, found in ((turn, True), (torch.tensor([[0.9, 0.5], [0.3, 0.6]]), False)):
        images = mixing.T[:, :, None] * sources[:, None]
        waves = Components(2, "pca")(images.sum(0)[None]).waves[0]
        centred = (images.sum(0) - images.sum(0).mean(-1, keepdim=True)).double()
        axes = torch.linalg.svd(centred, full_matrices=False)[0]  # [C, 2]
        expected = torch.einsum("cs,ds,dt->sct", axes, axes, centred)
        torch.testing.assert_close(waves - waves.mean(-1, keepdim=True), expected.float(), atol=1e-5, rtol=0)
        scores = si_sdr(waves[best_permutation(waves[:, 0], images[:, 0])], images)
        assert bool((scores > 20).all()) == found


@pytest.mark.parametrize("method", METHODS)
def test_one_channel_of_sounds_that_differ_comes_apart(clips: Tensor, method: str) -> None:
    """A low chord that swells against high noise that comes in bursts: whatever the method, this is possible."""
    seconds = torch.arange(24000) / 16000
    chord = sum((2 * torch.pi * f * seconds).sin() for f in (220.0, 331.0, 440.0)) * (3 * seconds).sin().square()
    hiss = noise(24000).diff(prepend=torch.zeros(1)).diff(prepend=torch.zeros(1)) * ((seconds * 4) % 1 < 0.3)
    sources = torch.stack([chord, hiss])
    waves = Components(2, method)(sources.sum(0)[None, None]).waves[0, :, 0]
    assert improvement(waves, sources) > 10


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_stems_sum_to_the_mixture_and_are_not_copies_of_it(clips: Tensor, method: str, channels: int) -> None:
    pan = noise(3, channels, seed=1).abs() + 0.1
    mixture = (pan[:, :, None] * clips[:, None]).sum(0)[None]
    waves = Components(3, method)(mixture).waves
    assert waves.shape == (1, 3, channels, clips.shape[1])
    torch.testing.assert_close(waves.sum(1), mixture, atol=1e-4, rtol=0)
    flat = torch.cat([waves[0].flatten(1), mixture.flatten(1)])  # the published program's answers were rank 1
    assert torch.corrcoef(flat).sub(torch.eye(4)).max() < 0.995


@pytest.mark.parametrize("method", UNMIXING)
def test_channels_that_are_alike_are_heard_as_one(clips: Tensor, method: str) -> None:
    mixture = clips[:2].sum(0)
    separator = Components(2, method)
    alike = torch.stack([mixture, 0.5 * mixture])
    assert independent_channels(alike) == 1 and independent_channels(clips) == 3
    waves = separator(alike[None]).waves[0]
    torch.testing.assert_close(waves[:, 1], 0.5 * waves[:, 0], atol=1e-5, rtol=0)
    alone = separator(0.75 * mixture[None, None]).waves[0, :, 0]  # the mean of the channels
    torch.testing.assert_close(0.75 * waves[:, 0], alone, atol=1e-3, rtol=0)


@pytest.mark.parametrize("method", METHODS)
def test_odd_input_gives_finite_stems_that_sum_to_it(method: str) -> None:
    separator = Components(2, method)
    assert separator(torch.zeros(1, 2, 5000)).waves.equal(torch.zeros(1, 2, 2, 5000))
    impulse, late = torch.zeros(1, 1, 8000), torch.cat([torch.zeros(1, 2, 8000), noise(1, 2, 4000)], -1)
    impulse[..., 4000] = 1
    for mixture in (torch.ones(1, 1, 9000), torch.ones(1, 2, 9000), noise(1, 2, 1), noise(1, 1, 700), impulse, late):
        waves = separator(mixture).waves
        assert waves.isfinite().all()
        torch.testing.assert_close(waves.sum(1), mixture, atol=1e-4, rtol=0)


@pytest.mark.parametrize("method", METHODS)
def test_answers_are_those_of_the_seed_whatever_else_is_in_the_batch(clips: Tensor, method: str) -> None:
    batch = torch.stack([clips[0] + clips[1], clips[1] + clips[2]])[:, None]
    state = torch.get_rng_state()
    both = Components(2, method, seed=3)(batch).waves
    assert both.equal(Components(2, method, seed=3)(batch).waves)
    assert both[1:].equal(Components(2, method, seed=3)(batch[1:]).waves)
    assert torch.get_rng_state().equal(state)


@pytest.mark.parametrize("method", METHODS)
def test_level_does_not_matter(clips: Tensor, method: str) -> None:
    mixture = clips[:2].sum(0)[None, None]
    loud, soft = (Components(2, method)(gain * mixture).waves for gain in (1.0, 2.0**-8))
    torch.testing.assert_close(2.0**8 * soft, loud, atol=1e-3, rtol=0)


def test_through_the_pipeline_in_stereo(clips: Tensor) -> None:
    separator = Components(2, "fastica")
    assert isinstance(separator, Separator) and separator.refinement is None and separator.segment is None
    mixture = torch.tensor([[0.9, 0.4], [0.3, 0.7]]) @ clips[:2]
    parts: list[Tensor] = []
    track = Track(lambda size, hop: [mixture], 16000, mixture.shape[-1], lambda stems, _: parts.append(stems))
    separate_tracks([track], separator, Settings(refinement=None))
    torch.testing.assert_close(torch.cat(parts, -1), separator(mixture[None]).waves[0])


def test_refusals_name_what_was_expected() -> None:
    with pytest.raises(ValueError, match="unknown method 'ica'; expected one of pca, kernel-pca, fastica"):
        Components(2, "ica")
    with pytest.raises(ValueError, match="at least one source, as many parts and a rate, got 0 sources"):
        Components(0)
    with pytest.raises(ValueError, match="got 5 sources, 4 parts"):
        Components(5, parts=4)
    for wrong in (torch.zeros(2, 100), torch.full((1, 1, 100), torch.nan)):
        with pytest.raises(ValueError, match=r"finite mixture of shape \[B, C, T\]"):
            Components(2)(wrong)
