"""The U-Net: sizes, gradients, independence of neighbours, what its skips and levels are for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from gansep.nets.unet import UNet, UNetConfig

SMALL = UNetConfig(inputs=3, outputs=2, widths=(8, 12, 16))


def make(config: UNetConfig = SMALL, seed: int = 0) -> UNet:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return UNet(config)


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (33, 1), (64, 32), (65, 31)])
@pytest.mark.parametrize("skip", [0, 4])
def test_any_size_comes_out_as_it_went_in(size: tuple[int, int], skip: int) -> None:
    answer = make(replace(SMALL, skip=skip))(noise(2, 3, *size))
    assert answer.shape == (2, 2, *size)
    assert answer.isfinite().all()


def test_every_weight_has_a_gradient() -> None:
    net = make()
    net(noise(1, 3, 40, 20)).square().mean().backward()
    for name, weight in net.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.abs().max() > 0, name


def test_neighbours_do_not_matter() -> None:
    net, batch = make(), noise(3, 3, 17, 12)
    batch[1] *= 100
    torch.testing.assert_close(net(batch)[:1], net(batch[:1]))
    torch.testing.assert_close(net.eval()(batch), net.train()(batch))


def test_fits_a_picture() -> None:
    """A checkerboard as fine as its cells and a coarse slope, which need the skips and the depths."""
    row, column = torch.meshgrid(torch.arange(24.0), torch.arange(16.0), indexing="ij")
    picture = torch.stack([(row + column) % 2, row / 24])[None]
    net, z = make(), noise(1, 3, 24, 16)
    optimiser = torch.optim.Adam(net.parameters(), 0.01)
    before = float((net(z) - picture).square().mean().detach())
    for _ in range(150):
        loss = (net(z) - picture).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert float(loss.detach()) < 0.02 * before


def test_depth_sees_far() -> None:
    """Where a picture is 0 but for one cell, a cell 20 away hears of it through the deeper levels alone.

    The normalisation hears all cells, but what it tells them is the same for all that are far enough.
    """

    def spread(levels: int) -> float:
        picture = torch.zeros(1, 1, 1, 257)
        picture[..., 128] = 1
        answer = make(UNetConfig(inputs=1, widths=(8,) * levels))(picture)[0, 0, 0, 148:150]
        far = make(UNetConfig(inputs=1, widths=(8,) * levels))(picture)[0, 0, 0, 190:192]
        return float((answer - far).detach().abs().max())

    assert spread(1) < 1e-5
    assert spread(4) > 1e-3


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"inputs": 0}, "inputs and outputs must be at least 1"),
        ({"widths": ()}, "widths must be one or more multiples of 4"),
        ({"widths": (8, 6)}, "widths must be one or more multiples of 4"),
        ({"skip": 2}, "skip must be 0 or a multiple of 4"),
        ({"kernel": 4}, "kernel must be odd"),
    ],
)
def test_wrong_sizes(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        UNetConfig(**wrong)


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 2, 8, 8), (1, 3, 0, 8)])
def test_wrong_pictures(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected a picture of shape \[B, 3, F, N\]"):
        make()(torch.zeros(shape))
