"""Wiener masks: known shares, an exact sum, and no crash where nothing sounds."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gansep.dsp.masks import apply_mask, wiener
from gansep.dsp.stft import istft, stft


def noise(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_masks_sum_to_one_everywhere(dtype: torch.dtype) -> None:
    power = noise(2, 3, 5, 7, dtype=dtype).square() * 10 ** (4 * noise(2, 3, 5, 7, seed=1, dtype=dtype))
    power[0] = 0
    masks = wiener(power)
    torch.testing.assert_close(masks.sum(1), torch.ones(2, 5, 7, dtype=dtype))
    torch.testing.assert_close(masks[0], torch.full((3, 5, 7), 1 / 3, dtype=dtype))
    assert (masks > 0).all() and (masks <= 1).all()


def test_shares_are_those_of_the_power() -> None:
    power = noise(1, 2, 5, 7).square() + 0.1
    torch.testing.assert_close(wiener(power)[:, 0], power[:, 0] / (power[:, 0] + power[:, 1]))
    rest = power[:, :1].sum(1) + power[:, 1]  # as much as both sources together
    torch.testing.assert_close(wiener(power, rest), wiener(power) / 2)


def test_the_floor_keeps_a_lost_source_alive() -> None:
    power = torch.tensor([1.0, 0.0]).reshape(1, 2, 1, 1)
    torch.testing.assert_close(wiener(power, floor=0.25).flatten(), torch.tensor([5 / 6, 1 / 6]))


def test_masked_sources_sum_to_the_mixture() -> None:
    mixture = noise(2, 3000)
    masks = wiener(stft(noise(2, 3, 3000, seed=1)).abs().square())
    sources = istft(apply_mask(masks, stft(mixture)), 3000)
    torch.testing.assert_close(sources.sum(1), mixture)


def test_every_channel_gets_the_same_mask() -> None:
    mask, spec = noise(2, 3, 5, 7), torch.complex(noise(2, 4, 5, 7), noise(2, 4, 5, 7, seed=1))
    together = apply_mask(mask[:, None], spec)  # [B, C, S, F, N]
    for channel in range(4):
        torch.testing.assert_close(together[:, channel], apply_mask(mask, spec[:, channel]))


def test_gradient() -> None:
    spec, rest = noise(1, 2, 3, 4).requires_grad_(), noise(1, 3, 4, seed=1).square().requires_grad_()
    assert torch.autograd.gradcheck(lambda s, r: wiener(s.square(), r), (spec, rest))
    silent = torch.zeros(1, 2, 3, 4, requires_grad=True)
    wiener(silent.square())[:, 0].sum().backward()
    assert silent.grad is not None and silent.grad.isfinite().all()


def test_refusals_name_what_was_expected() -> None:
    with pytest.raises(ValueError, match=r"\[\.\.\., S, F, N\], got \[5, 7\]"):
        wiener(torch.zeros(5, 7))
    with pytest.raises(ValueError, match=r"\[2, 5, 7\], got \[5, 7\]"):
        wiener(torch.zeros(2, 3, 5, 7), torch.zeros(5, 7))
    with pytest.raises(ValueError, match=r"\[\.\.\., S, 5, 8\], got \[2, 3, 5, 7\]"):
        apply_mask(torch.zeros(2, 3, 5, 7), torch.zeros(2, 5, 8))
