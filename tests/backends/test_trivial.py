"""The mixture, silence and a cut: exactly that, at every shape, and without a copy shared between sources."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gansep.backends.trivial import Mixture, Silence, TimeCut
from gansep.pipeline import Settings, Track, separate_tracks
from gansep.types import Separator


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def test_the_mixture_is_every_source() -> None:
    mixture = noise(2, 3, 100)
    estimates = Mixture(4)(mixture)
    assert estimates.sources == ("component-1", "component-2", "component-3", "component-4")
    assert estimates.waves.shape == (2, 4, 3, 100)
    assert all(estimates.waves[:, source].equal(mixture) for source in range(4))
    estimates.waves[:, 0] = 0  # each source's samples are its own
    assert estimates.waves[:, 1].equal(mixture) and mixture.abs().sum() > 0


def test_silence_is_silent() -> None:
    estimates = Silence(2, ("a", "b"))(noise(2, 3, 100))
    assert estimates.sources == ("a", "b")
    assert estimates.waves.equal(torch.zeros(2, 2, 3, 100))


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_cut_gives_the_start_to_one_and_what_follows_to_the_others(count: int) -> None:
    mixture = noise(2, 2, 1000)
    waves = TimeCut(count, seconds=0.25, sample_rate=1000)(mixture).waves
    assert waves.shape == (2, count, 2, 1000)
    assert waves[:, 0, :, :250].equal(mixture[..., :250]) and waves[:, 0, :, 250:].abs().max() == 0
    for other in range(1, count):
        assert waves[:, other, :, 250:].equal(mixture[..., 250:]) and waves[:, other, :, :250].abs().max() == 0


def test_a_recording_shorter_than_the_cut_is_all_start() -> None:
    mixture = noise(1, 1, 100)
    waves = TimeCut(2)(mixture).waves
    assert waves[:, 0].equal(mixture) and waves[:, 1].abs().max() == 0


@pytest.mark.parametrize("separator", [Mixture(2), Silence(2), TimeCut(2)])
def test_they_go_through_the_pipeline(separator: Separator) -> None:
    mixture, parts = noise(2, 8000), []
    track = Track(lambda size, hop: [mixture], 16000, 8000, lambda stems, _: parts.append(stems))
    separate_tracks([track], separator, Settings(refinement=separator.refinement))
    torch.testing.assert_close(torch.cat(parts, -1), separator(mixture[None]).waves[0])


def test_refusals_name_what_was_expected() -> None:
    with pytest.raises(ValueError, match=r"at least one source and a name for each or none, got 0"):
        Mixture(0)
    with pytest.raises(ValueError, match=r"a name for each or none, got 2 and \['a'\]"):
        Silence(2, ("a",))
    with pytest.raises(ValueError, match=r"above 0, got -1 and 16000"):
        TimeCut(2, seconds=-1)
    with pytest.raises(ValueError, match=r"\[B, C, T\], got \[1, 100\]"):
        Mixture(2)(noise(1, 100))
