"""Exact lengths, the sound that a sampler at the other rate would have caught, and one channel for many."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from gansep import audio


def sine(rate: int, frames: int) -> Tensor:
    return torch.sin(2 * math.pi * 440 * torch.arange(frames, dtype=torch.float64) / rate).float()


@given(st.integers(1, 3_000), st.sampled_from([8_000, 16_000, 22_050, 44_100, 192_000]), st.integers(8_000, 192_000))
@settings(max_examples=100, deadline=None)
def test_resample_length_is_exact(frames: int, from_rate: int, to_rate: int) -> None:
    assert audio.resample(torch.ones(frames), from_rate, to_rate).shape == (
        max(1, round(frames * to_rate / from_rate)),
    )


@pytest.mark.parametrize(
    ("from_rate", "to_rate"), [(44_100, 16_000), (16_000, 44_100), (48_000, 44_100), (8_000, 192_000)]
)
def test_resampled_sine_is_the_sine_at_the_other_rate(from_rate: int, to_rate: int) -> None:
    wave = torch.stack([sine(from_rate, from_rate), 0.5 * sine(from_rate, from_rate)]).reshape(2, 1, -1)
    got = audio.resample(wave, from_rate, to_rate)
    inner = slice(to_rate // 10, -to_rate // 10)  # the filter rings where the sine starts and stops
    assert got.shape == (2, 1, to_rate)
    assert (got[0, 0, inner] - sine(to_rate, to_rate)[inner]).abs().max() < 1e-4
    assert torch.allclose(got[1], 0.5 * got[0], atol=1e-6)


def test_resample_removes_what_the_lower_rate_cannot_hold() -> None:
    wave = torch.sin(2 * math.pi * 12_000 * torch.arange(44_100, dtype=torch.float64) / 44_100)
    assert audio.resample(wave, 44_100, 16_000)[2_000:-2_000].abs().max() < 1e-4


def test_resample_to_the_same_rate_is_the_same_tensor() -> None:
    wave = sine(16_000, 30_000)[None]
    assert audio.resample(wave, 16_000, 16_000) is wave
    assert audio.resample(wave.double(), 16_000, 8_000).dtype == torch.float64
    with pytest.raises(ValueError, match="needs samples"):
        audio.resample(wave[:, :0], 16_000, 8_000)


def test_mix_down_is_the_mean() -> None:
    waves = torch.stack([sine(16_000, 800), 0.5 * sine(8_000, 800), torch.zeros(800)])
    assert torch.allclose(audio.mix_down(waves), waves.double().mean(0).float(), atol=1e-6)
    assert torch.equal(audio.mix_down(waves[:1]), waves[0])
    assert torch.equal(audio.mix_down(torch.zeros(2, 5)), torch.zeros(5))


@pytest.mark.parametrize(("right", "cancels"), [(-1.0, True), (-0.9, True), (-0.75, False), (0.0, False), (1.0, False)])
def test_mix_down_is_the_loudest_channel_where_they_cancel(right: float, cancels: bool) -> None:
    """Where the mean has less than a hundredth of the loudest channel's power: (1 + right)^2 / 4 < 1 / 100."""
    wave = sine(16_000, 1_600)
    for channels in (torch.stack([wave, right * wave]), torch.stack([right * wave, wave])):
        got = audio.mix_down(channels)
        expected = wave if cancels else (1 + right) / 2 * wave
        if right == -1.0:  # as loud as each other
            got = got * (got * wave).sum().sign()
        assert torch.allclose(got, expected, atol=1e-6)
