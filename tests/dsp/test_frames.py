"""Splitting and laying back: exact for every length, at once or streamed."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from gansep.dsp.frames import OverlapAdd, crossfade, overlap_add, split


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(shape[-1]))


@st.composite
def segments_and_hops(draw: st.DrawFn) -> tuple[int, int]:
    segment = draw(st.integers(1, 200))
    return segment, draw(st.integers(1, segment))


def naive_overlap_add(frames: Tensor, length: int, hop: int, window: Tensor) -> Tensor:
    """The definition, in whole-length buffers."""
    count, segment = frames.shape[0], frames.shape[-1]
    total = torch.zeros(*frames.shape[1:-1], (count - 1) * hop + segment)
    weight = torch.zeros((count - 1) * hop + segment)
    for n, frame in enumerate(frames):
        total[..., n * hop : n * hop + segment] += frame * window
        weight[n * hop : n * hop + segment] += window
    return (total / weight)[..., :length]


@given(length=st.integers(1, 1001), sizes=segments_and_hops(), channels=st.integers(1, 2))
def test_round_trip_of_every_length(length: int, sizes: tuple[int, int], channels: int) -> None:
    segment, hop = sizes
    wave = noise(channels, length)
    frames = split(wave, segment, hop)
    assert frames.shape[1:] == (channels, segment)
    assert length <= (len(frames) - 1) * hop + segment < length + max(hop, segment)
    # up to two hundred float32 terms a sample, each off by at most half of 1.2e-7
    torch.testing.assert_close(overlap_add(frames, length, hop), wave, rtol=1e-5, atol=1e-5)


@given(length=st.integers(1, 1001), sizes=segments_and_hops())
def test_overlap_add_and_its_stream_are_the_definition(length: int, sizes: tuple[int, int]) -> None:
    segment, hop = sizes
    frames = noise(*split(torch.zeros(2, length), segment, hop).shape)  # segments that do not agree
    window = torch.rand(segment, generator=torch.Generator().manual_seed(0)) + 0.1
    expected = naive_overlap_add(frames, length, hop, window)
    torch.testing.assert_close(overlap_add(frames, length, hop, window), expected, rtol=1e-6, atol=1e-6)
    stream = OverlapAdd(segment, hop, window)
    for _ in range(2):  # flushed, it starts afresh
        blocks = [stream.push(frame) for frame in frames]
        assert [block.shape[-1] for block in blocks] == [0] + [hop] * (len(frames) - 1)
        streamed = torch.cat([*blocks, stream.flush(length)], -1)
        torch.testing.assert_close(streamed, expected, rtol=1e-6, atol=1e-6)


@given(sizes=segments_and_hops())
def test_crossfade_is_positive_symmetric_and_complementary(sizes: tuple[int, int]) -> None:
    segment, hop = sizes
    window = crossfade(segment, hop)
    assert window.shape == (segment,) and (window > 0).all() and window.max() <= 1
    torch.testing.assert_close(window, window.flip(0))
    if 2 * hop >= segment:
        torch.testing.assert_close(window[hop:] + window[: segment - hop], torch.ones(segment - hop))
        assert (window[segment - hop : hop] == 1).all()


def test_jumps_between_segments_are_faded() -> None:
    frames = torch.stack([torch.zeros(100), torch.ones(100)])
    faded = overlap_add(frames, 150, 50)
    assert (faded[:50] == 0).all() and (faded[100:] == 1).all()
    torch.testing.assert_close(faded[50:100], torch.arange(1, 51) / 51)


def test_gradient() -> None:
    frames = noise(3, 2, 8).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: overlap_add(x, 17, 5), (frames,))
    wave = noise(2, 17).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: split(x, 8, 5), (wave,))


def test_keeps_double_precision() -> None:
    wave = noise(1000).double()
    torch.testing.assert_close(overlap_add(split(wave, 300, 70), 1000, 70), wave, rtol=0, atol=1e-14)


def test_refusals_name_what_was_expected() -> None:
    with pytest.raises(ValueError, match="1 <= hop <= segment, got a hop of 5 and a segment of 4"):
        split(torch.zeros(10), 4, 5)
    with pytest.raises(ValueError, match="a hop of 0"):
        crossfade(4, 0)
    with pytest.raises(ValueError, match="at least one sample"):
        split(torch.zeros(2, 0), 4, 2)
    with pytest.raises(ValueError, match="at least one segment"):
        overlap_add([], 10, 2)
    with pytest.raises(ValueError, match="5 to 8 samples after 3 segments, got a length of 9"):
        overlap_add(torch.zeros(3, 4), 9, 2)
    with pytest.raises(ValueError, match=r"window of shape \[4\], got \[5\]"):
        OverlapAdd(4, 2, torch.ones(5))
    with pytest.raises(ValueError, match=r"segment of 4 samples, got \[2, 5\]"):
        OverlapAdd(4, 2).push(torch.zeros(2, 5))
    with pytest.raises(ValueError, match="a segment first"):
        OverlapAdd(4, 2).flush(3)
