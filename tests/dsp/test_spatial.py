"""Multichannel Wiener filters: the formula point by point, exact sums, places that are found and remembered."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from gansep.dsp.spatial import REST, Places, multichannel_wiener

GAINS = torch.tensor([[1.0, 0.2], [0.5, 1.0], [0.9, 0.8]])  # of three sources in two channels


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def spectra(*shape: int, seed: int = 0) -> Tensor:
    """Sparse, as those of sounds are."""
    loud = torch.rand(*shape, generator=torch.Generator().manual_seed(seed + 1)).pow(6)
    return torch.complex(drawn(*shape, seed=seed + 2), drawn(*shape, seed=seed + 3)) * loud


def panned(gains: Tensor, frames: int = 60, seed: int = 0) -> Tensor:
    """Sources ``[S, C, F, N]``, each in all channels at its gains ``[S, C]``."""
    return gains[:, :, None, None] * spectra(len(gains), 65, frames, seed=seed)[:, None]


def shares(parts: Tensor) -> Tensor:
    """Ratios of the true levels, blurred as a network's masks are: ``[S, F, N]``."""
    level = parts.abs().mean(1) ** 0.5
    return level / level.sum(0)


def error_db(stems: Tensor, parts: Tensor) -> float:
    return float(10 * ((stems - parts).abs().square().sum() / parts.abs().square().sum()).log10())


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_it_is_the_formula_of_the_literature(channels: int) -> None:
    power = drawn(3, 5, 7).abs() * 10 ** drawn(3, 5, 7, seed=1)
    factor = drawn(3, channels, channels, seed=2)
    covariance = factor @ factor.mT
    spectrum = spectra(channels, 5, 7)
    ours = multichannel_wiener(spectrum, power, covariance)
    for f, n in np.ndindex(5, 7):
        v = (power[:, f, n] / power[:, f, n].sum()).double().numpy()
        placed = v[:, None, None] * covariance.double().numpy()
        x = spectrum[:, f, n].to(torch.complex128).numpy()
        expected = placed @ np.linalg.solve(placed.sum(0) + REST * np.eye(channels), x)
        expected = expected + v[:, None] * (x - expected.sum(0))
        np.testing.assert_allclose(ours[:, :, f, n].numpy(), expected, atol=1e-4 * float(spectrum.abs().max()))


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_parts_sum_to_the_spectrogram_even_where_nothing_sounds(channels: int) -> None:
    spectrum, power = spectra(channels, 9, 11), drawn(3, 9, 11).square()
    power[:, 2] = 0
    spectrum[:, 3] = 0
    covariance = torch.zeros(3, channels, channels)
    covariance[0] = torch.eye(channels)  # of the others nothing is known
    parts = multichannel_wiener(spectrum, power, covariance)
    torch.testing.assert_close(parts.sum(0), spectrum)
    assert not parts[:, :, 3].any()
    alike = multichannel_wiener(spectrum, power, torch.eye(channels).expand(3, -1, -1))
    torch.testing.assert_close(alike[:, :, 2], spectrum[:, 2].expand(3, -1, -1) / 3)


def test_sources_at_one_place_get_their_shares() -> None:
    power, one = drawn(2, 65, 20).square(), drawn(2, 2, seed=1)
    spectrum = spectra(2, 65, 20)
    parts = multichannel_wiener(spectrum, power, (one @ one.mT).expand(2, 2, 2))
    torch.testing.assert_close(parts, (power / power.sum(0))[:, None] * spectrum, atol=1e-4, rtol=1e-3)


def test_two_places_in_two_channels_are_told_apart() -> None:
    parts = panned(GAINS[:2])
    masked = shares(parts)[:, None] * parts.sum(0)
    placed = Places()(parts.sum(0), masked)
    assert error_db(masked, parts) > -12 and error_db(placed, parts) < -25
    torch.testing.assert_close(placed.sum(0), parts.sum(0), atol=1e-4, rtol=1e-4)


def test_more_sources_than_channels_gain_too() -> None:
    parts = panned(GAINS)
    masked = shares(parts)[:, None] * parts.sum(0)
    assert error_db(Places()(parts.sum(0), masked), parts) < error_db(masked, parts) - 2


def test_channels_that_are_the_same_leave_the_masks() -> None:
    parts = panned(torch.ones(3, 2))
    masked = shares(parts)[:, None] * parts.sum(0)
    torch.testing.assert_close(Places()(parts.sum(0), masked), masked, atol=1e-4, rtol=1e-3)


def test_what_stems_leave_stays_left() -> None:
    parts = panned(GAINS)  # the third is in no stem
    masked = shares(parts)[:, None] * parts.sum(0)
    placed = Places()(parts.sum(0), masked[:2])
    assert error_db(parts.sum(0) - placed.sum(0), parts[2]) < error_db(masked[2], parts[2]) - 2
    single = Places()(parts.sum(0), parts.sum(0)[None])
    torch.testing.assert_close(single[0], parts.sum(0), atol=1e-4, rtol=1e-4)


def test_places_are_remembered_from_block_to_block() -> None:
    first, second = panned(GAINS[:2]), panned(GAINS[:2], seed=9)
    unsure = torch.tensor([0.55, 0.45])[:, None, None, None] * second.sum(0)  # masks that know next to nothing
    places = Places()
    places(first.sum(0), shares(first)[:, None] * first.sum(0))
    knowing, fresh = places(second.sum(0), unsure), Places()(second.sum(0), unsure)
    assert error_db(knowing, second) < error_db(fresh, second) - 6


def test_level_and_silence_do_not_matter() -> None:
    parts = panned(GAINS[:2])
    masked = shares(parts)[:, None] * parts.sum(0)
    loud, faint = Places()(parts.sum(0), masked), Places()(1e-6 * parts.sum(0), 1e-6 * masked)
    torch.testing.assert_close(1e6 * faint, loud, atol=1e-4, rtol=1e-3)
    silent = Places()(torch.zeros(2, 65, 9, dtype=torch.cfloat), torch.zeros(3, 2, 65, 9, dtype=torch.cfloat))
    assert not silent.any()


def test_many_points_are_worked_on_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = panned(GAINS)
    masked = shares(parts)[:, None] * parts.sum(0)
    whole = Places()(parts.sum(0), masked)
    monkeypatch.setattr("gansep.dsp.spatial.LARGEST", 65 * 4 * 4 * 7)  # seven frames
    torch.testing.assert_close(Places()(parts.sum(0), masked), whole, atol=1e-4, rtol=1e-2)
