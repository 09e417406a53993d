"""STOI against its article, PESQ against the ITU's scale, both against torchmetrics; and what they cannot judge."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor
from torchmetrics.functional.audio import short_time_objective_intelligibility

from gansep.audio import resample
from gansep.metrics import pesq, stoi
from gansep.types import GansepError

RATE = 16000
Metric = Callable[[Tensor, Tensor, int], Tensor]


@pytest.fixture
def digits(clips: Tensor) -> Tensor:
    """Two seconds of spoken digits, ``[T]``."""
    return clips[0].double().repeat(2)


@pytest.fixture(params=[stoi, pesq], ids=["stoi", "pesq"])
def metric(request: pytest.FixtureRequest) -> Metric:
    if request.param is pesq:
        pytest.importorskip("pesq")
    return request.param


def noisy(speech: Tensor, *snrs: float) -> Tensor:
    """``speech [T]`` in white noise at signal-to-noise ratios in dB, ``[K, T]``."""
    noise = torch.randn(speech.shape, generator=torch.Generator().manual_seed(0), dtype=speech.dtype)
    noise = noise * speech.norm() / noise.norm()
    return torch.stack([speech + 10 ** (-snr / 20) * noise for snr in snrs])


def articles(estimate: np.ndarray, reference: np.ndarray) -> float:
    """STOI of samples at 10 kHz by Taal et al. (2011), section II, a band and a stretch at a time."""
    window = np.hanning(258)[1:-1]
    cuts = range(0, len(reference) - 256, 128)
    loud = [np.linalg.norm(window * reference[cut : cut + 256]) for cut in cuts]
    kept = [cut for cut, level in zip(cuts, loud, strict=True) if level > max(loud) / 100]
    bands = []
    for wave in (reference, estimate):
        joined = np.zeros(128 * (len(kept) + 1))
        for number, cut in enumerate(kept):
            joined[128 * number : 128 * number + 256] += window * wave[cut : cut + 256]
        frames = [window * joined[start : start + 256] for start in range(0, len(joined) - 256, 128)]
        power = np.abs(np.fft.rfft(frames, 512)) ** 2  # [N, F]
        centres = 150 * 2 ** (np.arange(15) / 3)
        edges = np.rint(np.outer(centres, [2 ** (-1 / 6), 2 ** (1 / 6)]) * 512 / 10000).astype(int)
        bands.append([np.sqrt(power[:, low:high].sum(1)) for low, high in edges])
    found = []
    for x, y in zip(*bands, strict=True):
        for end in range(30, len(x) + 1):
            clean, ours = x[end - 30 : end], y[end - 30 : end]
            ours = ours * np.linalg.norm(clean) / np.linalg.norm(ours)
            ours = np.minimum(ours, clean * (1 + 10 ** (15 / 20)))
            found.append(np.corrcoef(clean, ours)[0, 1])
    return float(np.mean(found))


def test_stoi_is_its_article(digits: Tensor) -> None:
    for estimate in noisy(digits, -10, 0, 10):
        expected = articles(estimate.numpy(), digits.numpy())
        assert stoi(estimate, digits, 10000).item() == pytest.approx(expected, abs=1e-9)


def test_stoi_is_torchmetrics(digits: Tensor) -> None:
    for rate in (8000, RATE, 44100):
        speech = resample(digits, RATE, rate)
        estimates = noisy(speech, -5, 5)
        expected = short_time_objective_intelligibility(estimates, speech.expand_as(estimates), rate)
        torch.testing.assert_close(stoi(estimates, speech, rate), expected, rtol=0, atol=1e-6)


def test_stoi_known_answers(digits: Tensor) -> None:
    assert stoi(-0.3 * digits, digits, RATE).item() == pytest.approx(1, abs=1e-9)
    assert stoi(0 * digits, digits, RATE).item() == 0


@pytest.mark.parametrize(("rate", "top"), [(16000, (1.3669, 3.8224)), (8000, (1.4945, 4.6607))])
def test_pesq_of_clean_speech_is_the_top_of_the_itus_scale(digits: Tensor, rate: int, top: tuple[float, float]) -> None:
    pytest.importorskip("pesq")
    slope, shift = top  # of P.862.2 and P.862.1, which map the 4.5 of P.862 to opinion scores
    expected = 0.999 + 4 / (1 + np.exp(shift - slope * 4.5))
    speech = resample(digits, RATE, rate)
    assert pesq(speech, speech, rate).item() == pytest.approx(expected, abs=1e-4)
    assert pesq(-0.1 * speech, speech, rate).item() == pytest.approx(expected, abs=1e-3)
    late = torch.cat([torch.zeros(rate // 100, dtype=speech.dtype), speech])[: len(speech)]
    assert pesq(late, speech, rate).item() == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize("rate", [16000, 8000])
def test_pesq_is_torchmetrics(digits: Tensor, rate: int) -> None:
    pytest.importorskip("pesq")
    from torchmetrics.functional.audio import perceptual_evaluation_speech_quality

    speech = resample(digits, RATE, rate)
    estimates = noisy(speech, 5, 25)
    mode = "wb" if rate == 16000 else "nb"
    expected = perceptual_evaluation_speech_quality(estimates, speech.expand_as(estimates), rate, mode)
    torch.testing.assert_close(pesq(estimates, speech, rate), expected.double(), rtol=0, atol=1e-4)


def test_less_noise_is_better(metric: Metric, digits: Tensor) -> None:
    scores = metric(noisy(digits, -5, 5, 15, 25, 60), digits, RATE).tolist()
    assert all(worse < better for worse, better in pairwise(scores)), scores


def test_arguments_are_estimate_and_reference(metric: Metric, digits: Tensor) -> None:
    estimate = noisy(digits, 5)[0]
    estimate[RATE:] = 0  # half the speech is lost, which is worse than silence in half of the reference
    assert metric(estimate, digits, RATE) < metric(digits, estimate, RATE) - 0.02


def test_leading_axes_broadcast(metric: Metric, digits: Tensor) -> None:
    estimates, references = noisy(digits, 20, 0, 10), torch.stack([digits, digits.roll(4000)])
    table = metric(estimates[None], references[:, None].requires_grad_(), RATE)
    assert table.shape == (2, 3) and table.dtype == torch.float64 and not table.requires_grad
    assert table[1, 2] == metric(estimates[2], references[1], RATE)
    assert table[0, 0] > table[0, 2] > table[0, 1]
    assert metric(estimates[:0], digits, RATE).shape == (0,)


def test_what_cannot_be_judged_is_nan_and_alone_so(metric: Metric, digits: Tensor, clips: Tensor) -> None:
    drum = torch.cat([clips[1].double(), torch.zeros_like(clips[1])])  # too short a sound in a long silence
    references = torch.stack([digits, 0 * digits, drum, digits * torch.nan])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert metric(noisy(digits, 10), references, RATE).isnan().tolist() == [False, True, True, True]
        assert metric(digits * torch.inf, digits, RATE).isnan()
        for short in (1, 100, 3900):
            assert metric(digits[:short], digits[:short], RATE).isnan()


def test_stoi_needs_30_frames(digits: Tensor) -> None:
    loud = digits.abs() + 1
    assert stoi(loud[:4096], loud[:4096], 10000).isnan()
    assert stoi(loud[:4097], loud[:4097], 10000).item() == pytest.approx(1)


def test_pesq_of_a_silent_estimate_is_nan(digits: Tensor) -> None:
    pytest.importorskip("pesq")
    assert pesq(torch.stack([0 * digits, digits]), digits, RATE).isnan().tolist() == [True, False]


def test_refusals_name_what_was_expected(metric: Metric, digits: Tensor) -> None:
    with pytest.raises(ValueError, match=r"one T >= 1, got \[31999\] and \[32768\]"):
        metric(digits[:31999], digits, RATE)
    with pytest.raises(ValueError, match=r"expected a sample rate .*, got 0"):
        metric(digits, digits, 0)
    if metric is pesq:
        with pytest.raises(ValueError, match="expected a sample rate of 16000 or 8000 Hz, got 44100; resample first"):
            pesq(digits, digits, 44100)
        with pytest.raises(ValueError, match=r"at most 20 s of speech, got 20\.5 s; measure excerpts"):
            pesq(digits.repeat(10), digits.repeat(10), RATE)  # longer ones end the whole process


@pytest.mark.parametrize(("judge", "name"), [(stoi, "pystoi"), (pesq, "pesq")])
def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, judge: Metric, name: str) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(GansepError, match=rf"needs the package {name} \(.*\); pip install {name}"):
        judge(torch.ones(RATE), torch.ones(RATE), RATE)
