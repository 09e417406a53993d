"""The oracle: known bounds, one mask for all channels, and agreement with the refinement it stands beside."""

from __future__ import annotations

from pathlib import Path

import pytest
import soundfile
import torch
from torch import Tensor

from gansep.backends.oracle import MASKS, Oracle
from gansep.metrics import si_sdr
from gansep.pipeline import Settings, Track, separate_tracks
from gansep.refine import Refinement, refine
from gansep.types import Separator

RATE = 16000
NAMES = ("digits", "drums", "piano")


@pytest.fixture(scope="module")
def references() -> Tensor:
    """Three recordings, each at its own place in a stereo image, ``[S, C, T]``."""
    folder = Path(__file__).parent.parent / "clips"
    waves = [torch.from_numpy(soundfile.read(folder / f"{name}.flac", dtype="float32")[0]) for name in NAMES]
    places = torch.tensor([[0.9, 0.3], [0.5, 0.6], [0.2, 0.8]])
    return torch.stack([wave * place[:, None] for wave, place in zip(waves, places, strict=True)])


def score(stems: Tensor, references: Tensor) -> float:
    """Mean over sources and channels, in dB."""
    return float(si_sdr(stems, references).mean())


def test_it_is_the_filter_of_the_refinement_with_the_true_sources(references: Tensor) -> None:
    mixture = references.sum(0)[None]
    expected = refine(mixture, RATE, references.mean(1)[None], RATE, Refinement(exponent=2.0, floor=0.0))
    waves = Oracle(references, RATE, NAMES)(mixture).waves
    torch.testing.assert_close(waves, expected)
    torch.testing.assert_close(waves.sum(1), mixture, atol=1e-5, rtol=0)


def test_bounds_of_real_sound_stand_in_their_known_order(references: Tensor) -> None:
    mono = references.mean(1, keepdim=True)
    mixture = mono.sum(0)
    found = {name: score(Oracle(mono, RATE, NAMES, name)(mixture[None]).waves[0], mono) for name in MASKS}
    assert found["cirm"] > 60  # nothing is lost but rounding
    assert found["orm"] == pytest.approx(found["psm"], abs=0.01)
    assert found["psm"] > found["psm-truncated"] > found["wiener"] > found["irm"] > 8
    assert min(found.values()) > score(mixture.expand_as(mono), mono) + 5


def test_every_channel_gets_the_same_mask(references: Tensor) -> None:
    oracle = Oracle(references, RATE, NAMES, "irm")
    mixture = references.sum(0)
    both = oracle(mixture[None]).waves[0]
    for channel in range(2):
        torch.testing.assert_close(oracle(mixture[None, channel, None]).waves[0, :, 0], both[:, channel])
    assert oracle(torch.stack([mixture, 2 * mixture])).waves.shape == (2, 3, 2, mixture.shape[-1])


@pytest.mark.parametrize("mask", MASKS)
def test_silent_and_cancelling_sources_do_no_harm(mask: str) -> None:
    wave = torch.randn(1, 3000, generator=torch.Generator().manual_seed(0))
    for references in (torch.stack([wave, 0 * wave]), torch.stack([wave, -wave]), torch.zeros(2, 1, 3000)):
        waves = Oracle(references, 8000, ("a", "b"), mask)(references.sum(0)[None]).waves
        assert waves.isfinite().all()
        assert waves.abs().max() <= 1.1 * wave.abs().max()


def test_through_the_pipeline_at_the_recordings_own_rate(references: Tensor) -> None:
    oracle = Oracle(references, RATE, NAMES)
    assert isinstance(oracle, Separator) and oracle.refinement is None and oracle.segment is None
    mixture, parts = references.sum(0), []
    track = Track(lambda size, hop: [mixture], RATE, mixture.shape[-1], lambda stems, _: parts.append(stems))
    separate_tracks([track], oracle, Settings(refinement=None))
    torch.testing.assert_close(torch.cat(parts, -1), oracle(mixture[None]).waves[0])


def test_refusals_name_what_was_expected(references: Tensor) -> None:
    with pytest.raises(ValueError, match=r"\[S, C, T\], none of them 0, got \[3, 16384\]"):
        Oracle(references[:, 0], RATE, NAMES)
    with pytest.raises(ValueError, match="a name for each of 3 references, got a, b"):
        Oracle(references, RATE, ("a", "b"))
    with pytest.raises(ValueError, match="unknown mask 'best'; expected one of wiener, ibm"):
        Oracle(references, RATE, NAMES, "best")
    with pytest.raises(ValueError, match="sample rate in Hz, got 0"):
        Oracle(references, 0, NAMES)
    with pytest.raises(ValueError, match=r"\[B, C, 16384\], as long as the references, got \[1, 2, 16000\]"):
        Oracle(references, RATE, NAMES)(references.sum(0)[None, :, :16000])
