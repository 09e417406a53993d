"""The transform against scipy, and its inverse for every length."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.signal
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from gansep.dsp.stft import change_spectrum, istft, stft


@pytest.mark.parametrize(("n_fft", "hop"), [(1024, None), (256, 128), (512, 100)])
def test_is_scipys_transform(n_fft: int, hop: int | None) -> None:
    wave = torch.randn(2, 5000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    step = hop or n_fft // 4
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)
    frames = 5000 // step + 1
    transform = scipy.signal.ShortTimeFFT(window, step, fs=1, phase_shift=None)  # phases from a frame's start
    theirs = transform.stft(wave.numpy(), p0=0, p1=frames)
    np.testing.assert_allclose(stft(wave, n_fft, hop).numpy(), theirs, atol=1e-9)


@given(length=st.integers(1, 3000), n_fft=st.sampled_from([64, 256, 1024]), share=st.sampled_from([2, 4]))
def test_round_trip_of_every_length(length: int, n_fft: int, share: int) -> None:
    wave = torch.randn(2, 1, length, dtype=torch.float64, generator=torch.Generator().manual_seed(length))
    spec = stft(wave, n_fft, n_fft // share)
    assert spec.shape == (2, 1, n_fft // 2 + 1, length * share // n_fft + 1)
    torch.testing.assert_close(istft(spec, length, n_fft, n_fft // share), wave)


def test_gradient() -> None:
    wave = torch.randn(1, 40, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: stft(x, 16), (wave,))
    assert torch.autograd.gradcheck(lambda x: istft(stft(x, 16) ** 2, 40, 16), (wave,))


def test_refuses_an_empty_wave() -> None:
    with pytest.raises(ValueError, match="at least one sample"):
        stft(torch.zeros(2, 0))


@pytest.mark.parametrize("length", [1, 63, 64, 65, 127, 500, 513])
def test_a_spectrum_left_as_it_is_gives_the_wave_back(length: int) -> None:
    wave = torch.randn(2, length, generator=torch.Generator().manual_seed(length))
    torch.testing.assert_close(change_spectrum(wave, lambda spectrum: spectrum, 128, 64), wave)
    both = change_spectrum(wave, lambda spectrum: torch.stack([spectrum, 0.5 * spectrum], 1), 128, 64)
    torch.testing.assert_close(both, torch.stack([wave, 0.5 * wave], 1))


def test_a_changed_spectrum_makes_no_click_at_the_end() -> None:
    wave = torch.ones(1, 64 * 9 + 2)  # the last two samples would be under the faintest of one window

    def jump(spectrum: Tensor) -> Tensor:
        gain = torch.ones(spectrum.shape[-1])
        gain[-2:] = torch.tensor([0.0, 1.0])
        return spectrum * gain

    assert change_spectrum(wave, jump, 128, 64).abs().max() < 1.5
