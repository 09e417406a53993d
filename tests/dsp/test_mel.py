"""Log-mel against librosa, and what 0 dB means."""

from __future__ import annotations

import librosa
import numpy as np
import pytest
import torch

from gansep.dsp.mel import log_mel


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
