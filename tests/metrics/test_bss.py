"""BSS Eval against museval on recordings, and what museval refuses: silence."""

from __future__ import annotations

import math
from itertools import pairwise

import museval
import numpy as np
import pytest
import torch
from torch import Tensor

from gansep.metrics import BssScores, Projector, bss_eval


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def in_stereo(waves: Tensor) -> Tensor:
    """``[S, T]`` to images ``[S, 2, T]``, the right channel through a room of its own, in 16 bits."""
    rooms = noise(len(waves), 400, seed=3) * torch.exp(-torch.arange(400) / 60)
    size = 2 * waves.shape[-1]
    wet = torch.fft.irfft(torch.fft.rfft(waves.double(), size) * torch.fft.rfft(rooms, size), size)
    images = torch.stack([waves.double(), 0.2 * wet[:, : waves.shape[-1]]], 1)
    return (images * 2**15).round() / 2**15


def estimates_of(references: Tensor) -> Tensor:
    """Gain, filtering, interference and artefacts, all of them."""
    filtered = 0.8 * references + 0.1 * references.roll(3, -1)
    return filtered + 0.1 * references.sum(0) + 0.003 * noise(*references.shape, seed=1)


def musevals(estimates: Tensor, references: Tensor, window: float, hop: float, taps: int = 512) -> list[Tensor]:
    waves = (part.movedim(1, 2).double().numpy() for part in (references, estimates))
    return [torch.from_numpy(part) for part in museval.metrics.bss_eval(*waves, window, hop, filters_len=taps)[:4]]


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("sources", [2, 3])
def test_it_is_museval(clips: Tensor, sources: int, channels: int) -> None:
    references = clips[:sources, None] if channels == 1 else in_stereo(clips[:sources])
    estimates = estimates_of(references)
    projector = Projector(references)
    for actual, expected in zip(projector(estimates), musevals(estimates, references, np.inf, np.inf), strict=True):
        torch.testing.assert_close(actual, expected[:, 0], rtol=0, atol=1e-3)
    window, hop = 2400, 1700  # within the drum's sound
    for actual, expected in zip(
        projector(estimates, window, hop), musevals(estimates, references, window, hop), strict=True
    ):
        loud = expected.isfinite()
        assert actual.shape == expected.shape
        assert loud.any(0).sum() >= 2
        torch.testing.assert_close(actual[loud], expected[loud], rtol=0, atol=1e-3)


@pytest.mark.parametrize("taps", [1, 4, 40])
def test_other_filters_and_many_blocks(clips: Tensor, taps: int) -> None:
    references = clips[:, None]
    estimates = estimates_of(references)
    expected = musevals(estimates, references, np.inf, np.inf, taps)
    for actual, figure in zip(bss_eval(estimates, references, filters_length=taps), expected, strict=True):
        torch.testing.assert_close(actual, figure[:, 0], rtol=0, atol=1e-3)


def test_singular_references_have_a_projection(clips: Tensor) -> None:
    dual = clips[:2, None].expand(-1, 2, -1)
    half = torch.cat([clips[:2, None], torch.zeros(2, 1, clips.shape[-1])], 1)
    for references in (dual, half):
        estimates = estimates_of(references)
        expected = musevals(estimates, references, np.inf, np.inf, 128)
        for actual, figure in zip(bss_eval(estimates, references, filters_length=128), expected, strict=True):
            torch.testing.assert_close(actual, figure[:, 0], rtol=0, atol=1e-3)


def test_scale_of_a_source_does_not_matter() -> None:
    references = noise(2, 1, 3000)
    estimates = references + 0.1 * noise(2, 1, 3000, seed=1)
    gains = torch.tensor([1.0, 1e-5])[:, None, None]
    plain, quiet = (bss_eval(gain * estimates, gain * references, filters_length=16) for gain in (1, gains))
    for one, other in zip(plain, quiet, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6)


def test_known_answers() -> None:
    count, taps = 60_000, 8
    x, y, z = noise(3, 1, count)
    estimates = torch.stack([x + 0.1 * y + 0.01 * z, 2 * y])
    sdr, isr, sir, sar = bss_eval(estimates, torch.stack([x, y]), filters_length=taps)
    assert sdr.tolist() == pytest.approx([20, 0], abs=0.1)
    assert sir[0].item() == pytest.approx(20, abs=0.1)
    assert sar[0].item() == pytest.approx(40, abs=0.2)
    assert isr[1].item() == pytest.approx(0, abs=1e-6)  # the error of a gain of 2 is the source itself
    assert sir[1] > 80
    assert sar[1] > 100
    delayed = torch.stack([x.roll(3, -1), y])
    delayed[0, :, :3] = 0
    found = bss_eval(delayed, torch.stack([x, y]), filters_length=taps)
    assert found.sdr[0].item() == pytest.approx(10 * math.log10(0.5), abs=0.1)
    assert found.sar[0] > 40  # a delay is filtering: only the tail is lost
    assert bss_eval(x[None], x[None], filters_length=taps).sdr.item() == pytest.approx(156.5, abs=1)


def test_silent_reference_is_nan_and_the_others_are_measured(clips: Tensor) -> None:
    references = clips[:, None].clone()
    references[1] = 0
    estimates = estimates_of(references)
    scores = bss_eval(estimates, references, filters_length=64)
    expected = bss_eval(estimates[[0, 2]], references[[0, 2]], filters_length=64)
    for actual, figure in zip(scores, expected, strict=True):
        assert actual.isnan().tolist() == [False, True, False]
        torch.testing.assert_close(actual[[0, 2]], figure, rtol=0, atol=1e-6)
    nothing = bss_eval(estimates, 0 * references, filters_length=8)
    assert all(figure.isnan().all() for figure in nothing)


def test_silent_estimate_has_zero_decibels() -> None:
    references = noise(2, 1, 500)
    for figure in bss_eval(0 * references, references, filters_length=4):
        assert figure.tolist() == [0, 0]


def test_silent_window_is_nan_and_alone_so() -> None:
    references = noise(2, 1, 4000)
    references[1, :, 1000:2000] = 0
    scores = bss_eval(estimates_of(references), references, 1000, filters_length=8)
    for figure in scores:
        assert figure.isnan().tolist() == [[False] * 4, [False, True, False, False]]


def test_windows_are_those_that_fit() -> None:
    references = noise(2, 2, 1000)
    counts = {(1000, None): 1, (5000, 10): 1, (300, None): 3, (300, 350): 3, (300, 351): 2, (250, 250): 4, (999, 1): 2}
    for (window, hop), count in counts.items():
        assert bss_eval(references, references, window, hop, 4).sdr.shape == (2, count)
    whole = bss_eval(estimates_of(references), references, filters_length=4)
    one = bss_eval(estimates_of(references), references, 1000, filters_length=4)
    for figure, framewise in zip(whole, one, strict=True):
        torch.testing.assert_close(framewise, figure[:, None])


def test_many_estimates_at_once_are_each_alone() -> None:
    references = noise(2, 2, 900)
    estimates = torch.stack([references + gain * noise(2, 2, 900, seed=1) for gain in (0.1, 0.5, 1)]).view(
        3, 1, 2, 2, 900
    )
    projector = Projector(references, 16)
    together = projector(estimates, 300)
    assert together.sdr.shape == (3, 1, 2, 3)
    for i in range(3):
        for figure, part in zip(projector(estimates[i, 0], 300), together, strict=True):
            torch.testing.assert_close(part[i, 0], figure)
    assert all((better > worse).all() for better, worse in pairwise(together.sdr))


def test_gradient_reaches_the_estimates() -> None:
    references, estimates = noise(2, 2, 20), noise(2, 2, 20, seed=1).requires_grad_()
    projector = Projector(references, 3)
    assert torch.autograd.gradcheck(lambda waves: tuple(projector(waves)), (estimates,))
    assert torch.autograd.gradcheck(lambda waves: tuple(projector(waves, 8)), (estimates,))


def test_refusals_name_what_was_expected() -> None:
    references = noise(2, 1, 100)
    for wrong in (noise(2, 100), noise(2, 1, 0), noise(0, 1, 100)):
        with pytest.raises(ValueError, match=r"references of shape \[S, C, T\]"):
            Projector(wrong)
    with pytest.raises(ValueError, match="one tap, got 0"):
        Projector(references, 0)
    with pytest.raises(ValueError, match=r"\[2, 1, 100\], got \[2, 1, 99\]"):
        bss_eval(references[..., 1:], references, filters_length=4)
    projector = Projector(references, 4)
    with pytest.raises(ValueError, match="window of at least one sample, got 0"):
        projector(references, 0)
    with pytest.raises(ValueError, match="hop of at least one sample, got -1"):
        projector(references, 10, -1)
    with pytest.raises(ValueError, match="a window for a hop of 10"):
        projector(references, hop=10)
    with pytest.raises(ValueError, match="samples that are finite"):
        Projector(torch.full((1, 1, 10), torch.nan))
    assert isinstance(projector(references), BssScores)
