"""A wave in pieces of any sizes: the frames and the samples of the offline transform, and no more held than a frame."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from gansep.dsp.stft import istft, stft
from gansep.dsp.streaming import StreamingIstft, StreamingStft


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(shape[-1]), dtype=torch.float64)


@st.composite
def sizes(draw: st.DrawFn) -> tuple[int, int]:
    n_fft = 2 * draw(st.integers(1, 40))
    return n_fft, draw(st.integers(1, n_fft // 2))


def cut(length: int, at: list[int]) -> list[slice]:
    """Pieces of a length, some of them empty."""
    edges = [0, *sorted(min(length, place) for place in at), length]
    return [slice(*pair) for pair in pairwise(edges)]


def transform(stream: StreamingStft, wave: Tensor, pieces: list[slice]) -> Tensor:
    return torch.cat([*(stream.push(wave[:, piece]) for piece in pieces), stream.finish()], -1)


@given(sizes=sizes(), length=st.integers(1, 400), at=st.lists(st.integers(0, 400), max_size=6))
def test_is_the_offline_transform(sizes: tuple[int, int], length: int, at: list[int]) -> None:
    wave, stream = noise(2, length), StreamingStft(*sizes)
    expected = stft(wave, *sizes)
    for _ in range(2):  # finished, it starts afresh
        torch.testing.assert_close(transform(stream, wave, cut(length, at)), expected, rtol=0, atol=1e-12)


@given(sizes=sizes(), length=st.integers(1, 400), at=st.lists(st.integers(0, 400), max_size=6))
def test_is_the_offline_inverse(sizes: tuple[int, int], length: int, at: list[int]) -> None:
    """Of spectra that no wave has, as masked ones are."""
    (n_fft, hop), stream = sizes, StreamingIstft(*sizes)
    spectrum = torch.complex(noise(2, n_fft // 2 + 1, length // hop + 1), noise(2, n_fft // 2 + 1, length // hop + 1))
    expected = istft(spectrum, length, n_fft, hop)
    for _ in range(2):
        pieces = [stream.push(spectrum[..., piece]) for piece in cut(spectrum.shape[-1], at)]
        result = torch.cat([*pieces, stream.finish(length)], -1)
        torch.testing.assert_close(result, expected, rtol=1e-9, atol=1e-9)


@given(sizes=sizes(), length=st.integers(1, 400), at=st.lists(st.integers(0, 400), max_size=6))
def test_round_trip(sizes: tuple[int, int], length: int, at: list[int]) -> None:
    wave, forth, back = noise(2, length), StreamingStft(*sizes), StreamingIstft(*sizes)
    pieces = [back.push(forth.push(wave[:, piece])) for piece in cut(length, at)]
    result = torch.cat([*pieces, back.push(forth.finish()), back.finish(length)], -1)
    torch.testing.assert_close(result, wave, rtol=0, atol=1e-8)


@pytest.mark.parametrize(("n_fft", "hop"), [(512, 128), (512, 256), (1024, 100)])
def test_single_precision(n_fft: int, hop: int) -> None:
    wave, forth, back = noise(2, 6000).float(), StreamingStft(n_fft, hop), StreamingIstft(n_fft, hop)
    spectra = [forth.push(piece) for piece in wave.split(77, -1)] + [forth.finish()]
    torch.testing.assert_close(torch.cat(spectra, -1), stft(wave, n_fft, hop), rtol=0, atol=1e-4)  # of sums near 30
    waves = [back.push(spectrum) for spectrum in spectra] + [back.finish(6000)]
    torch.testing.assert_close(torch.cat(waves, -1), wave, rtol=0, atol=1e-5)


def test_frames_and_samples_come_as_soon_as_they_can() -> None:
    """A frame with its last sample; a sample with the last frame that reaches it, at most ``n_fft - 1`` later."""
    forth, back, out, lags = StreamingStft(64, 16), StreamingIstft(64, 16), 0, []
    for sample in range(1, 300):
        spectrum = forth.push(torch.zeros(1, 1))
        assert spectrum.shape[-1] == (sample >= 32 and (sample - 32) % 16 == 0)
        out += back.push(spectrum).shape[-1]
        lags.append(sample - out)
    assert max(lags) == 63
    assert min(lags[100:]) == 48


def test_memory_is_bounded() -> None:
    """What is kept does not hang on to the pieces: a megabyte in, a frame or less held."""
    forth, back = StreamingStft(64, 16), StreamingIstft(64, 16)
    back.push(forth.push(noise(1, 1 << 17)))
    kept = [value for stream in (forth, back) for value in vars(stream).values() if isinstance(value, Tensor)]
    assert len(kept) == 3
    assert sum(value.untyped_storage().nbytes() for value in kept) <= 3 * 64 * 8


def test_gradient() -> None:
    def there_and_back(wave: Tensor) -> Tensor:
        forth, back = StreamingStft(16, 4), StreamingIstft(16, 4)
        waves = [back.push(forth.push(piece) ** 2) for piece in wave.split(11, -1)]
        return torch.cat([*waves, back.push(forth.finish() ** 2), back.finish(40)], -1)

    assert torch.autograd.gradcheck(there_and_back, (noise(1, 40).requires_grad_(),))


def test_refusals_name_what_was_expected() -> None:
    for wrong in ((63, 16), (64, 0), (64, 33), (0, 0)):
        for stream in (StreamingStft, StreamingIstft):
            with pytest.raises(ValueError, match=f"an even n_fft and a hop of at most half of it, got {wrong[0]} and"):
                stream(*wrong)
    forth, back = StreamingStft(64, 16), StreamingIstft(64, 16)
    with pytest.raises(ValueError, match="at least one sample pushed, got none"):
        forth.finish()
    forth.push(torch.zeros(2, 0))
    with pytest.raises(ValueError, match="at least one sample pushed, got none"):
        forth.finish()
    with pytest.raises(ValueError, match=r"a spectrum \[C, 33, m\], got \[2, 32, 5\]"):
        back.push(torch.zeros(2, 32, 5) * 1j)
    with pytest.raises(ValueError, match="a frame first after 0 frames, got a length of 10"):
        back.finish(10)
    back.push(torch.zeros(2, 33, 3) * 1j)
    with pytest.raises(ValueError, match="32 to 47 samples after 3 frames, got a length of 48"):
        back.finish(48)
