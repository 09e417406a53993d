"""Mel bands and log-mel against librosa, what comes back of bands, and what 0 dB means."""

from __future__ import annotations

import librosa
import numpy as np
import pytest
import torch

from gansep.dsp.mel import log_mel, mel, mel_bank, unmel

BANKS = [(16000, 512, 80), (8000, 256, 40), (22050, 1024, 64)]  # rate in Hz, window, bands


def magnitudes(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize(("rate", "n_fft", "n_mels"), BANKS)
def test_bank_is_librosas(rate: int, n_fft: int, n_mels: int) -> None:
    """Whose triangles have equal areas, where ours have equal peaks."""
    edges = librosa.mel_frequencies(n_mels + 2, fmax=rate / 2)
    equal_areas = librosa.filters.mel(sr=rate, n_fft=n_fft, n_mels=n_mels)
    expected = equal_areas * (edges[2:] - edges[:-2])[:, None] / 2
    np.testing.assert_allclose(mel_bank(rate, n_fft, n_mels).numpy(), expected, atol=1e-6)


def test_is_the_root_of_librosas_mean_power() -> None:
    wave = 0.1 * np.random.default_rng(0).standard_normal((2, 8000))
    power = librosa.feature.melspectrogram(y=wave, sr=16000, n_fft=512, hop_length=256, n_mels=80, norm=None)
    weights = librosa.filters.mel(sr=16000, n_fft=512, n_mels=80, norm=None).sum(1)
    magnitude = np.abs(librosa.stft(wave, n_fft=512, hop_length=256))
    bands = mel(torch.from_numpy(magnitude), 16000, 80)
    np.testing.assert_allclose(bands.numpy(), np.sqrt(power / weights[:, None]), rtol=1e-5)


@pytest.mark.parametrize(("rate", "n_fft", "n_mels"), BANKS)
def test_bands_back_to_magnitudes_by_interpolation(rate: int, n_fft: int, n_mels: int) -> None:
    """Half overlapping triangles lay a line from the peak of each band to that of the next."""
    bands = magnitudes(2, n_mels, 3)
    back = unmel(bands, rate, n_fft)
    assert back.shape == (2, n_fft // 2 + 1, 3)
    peaks, bins = librosa.mel_frequencies(n_mels + 2, fmax=rate / 2)[1:-1], np.arange(n_fft // 2 + 1) * rate / n_fft
    expected = np.interp(bins, peaks, bands[1, :, 2].numpy())
    np.testing.assert_allclose(back[1, 1:-1, 2].numpy(), expected[1:-1], atol=1e-6)
    assert not back[:, [0, -1]].any()  # no band hears 0 Hz, or half the sample rate


@pytest.mark.parametrize(("rate", "n_fft", "n_mels"), BANKS)
def test_smooth_spectra_survive_bands_and_back(rate: int, n_fft: int, n_mels: int) -> None:
    slope = torch.exp(-3 * torch.linspace(0, 1, n_fft // 2 + 1, dtype=torch.float64))[:, None]
    bands = mel(slope, rate, n_mels)
    back = unmel(bands, rate, n_fft)
    peaks, bins = librosa.mel_frequencies(n_mels + 2, fmax=rate / 2)[1:-1], np.arange(n_fft // 2 + 1) * rate / n_fft
    among = (bins >= peaks[0]) & (bins <= peaks[-1])
    np.testing.assert_allclose(back[among].numpy(), slope[among].numpy(), rtol=0.03)
    np.testing.assert_allclose(mel(back, rate, n_mels).numpy(), bands.numpy(), rtol=0.03)


def test_bands_and_back_are_quiet_where_no_band_is() -> None:
    """More bands than there are frequencies for leave some without any."""
    with pytest.warns(UserWarning, match="Empty filters"):
        bank = mel_bank(16000, 64, 60)
    assert (bank.sum(1) == 0).any()
    magnitude = magnitudes(33, 2)
    bands = mel(magnitude, 16000, 60)
    assert bands.isfinite().all() and not bands[bank.sum(1) == 0].any()
    assert unmel(bands, 16000, 64).isfinite().all()


def test_is_librosas_melspectrogram() -> None:
    wave = 0.1 * torch.randn(2, 8000, generator=torch.Generator().manual_seed(0))
    wave[:, 4000:] = 0
    power = librosa.feature.melspectrogram(
        y=wave.double().numpy(), sr=16000, n_fft=1024, hop_length=256, n_mels=80, norm=None, pad_mode="constant"
    )
    window = librosa.filters.get_window("hann", 1024)
    expected = 10 * np.log10(np.maximum(4 * power / (1024 * np.sum(window**2)), 1e-8))
    np.testing.assert_allclose(log_mel(wave, 16000).numpy(), expected, atol=1e-3)


def test_a_full_scale_tone_has_0_db_and_silence_the_floor() -> None:
    tone = torch.sin(2 * torch.pi * 3000 / 16000 * torch.arange(16000))
    bands = 10 ** (log_mel(tone, 16000)[:, 20:40] / 10)
    total = 10 * bands.sum(0).log10()
    torch.testing.assert_close(total, torch.zeros(20), rtol=0, atol=0.05)
    quieter = log_mel(0.1 * tone, 16000, floor_db=-200)[:, 30].max() - log_mel(tone, 16000, floor_db=-200)[:, 30].max()
    assert quieter.item() == pytest.approx(-20, abs=1e-3)
    assert (log_mel(torch.zeros(500), 16000, floor_db=-60) == -60).all()


def test_gradient_is_finite_at_silence() -> None:
    wave = torch.zeros(1, 2000, dtype=torch.float64, requires_grad=True)
    log_mel(wave, 16000).sum().backward()
    assert wave.grad is not None and not wave.grad.any()
