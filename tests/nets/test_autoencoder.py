"""Autoencoders of columns of any kind: what they hear, what they are told, and that they clean handwritten digits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor

from gansep.nets.autoencoder import LAYERS, SIZES, Autoencoder, AutoencoderConfig
from gansep.training.autoencoder import corrupt

SMALL = {
    "conv": AutoencoderConfig(40, "conv", 16, 2, 6),
    "dense": AutoencoderConfig(40, "dense", 24, 2, 6, dropout=0.3),
    "lstm": AutoencoderConfig(40, "lstm", 12, 2, 6),
}


def make(config: AutoencoderConfig, seed: int = 0) -> Autoencoder:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Autoencoder(config)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# Columns that are no sound


@pytest.fixture(scope="module")
def digits() -> tuple[Tensor, Tensor]:
    """Handwritten digits of 64 pixels in [0, 1] as single columns ``[B, 64, 1]``: to learn by, and held out."""
    images = torch.from_numpy(load_digits(return_X_y=True)[0]).float()[..., None] / 16
    images = images[torch.randperm(len(images), generator=torch.Generator().manual_seed(0))]
    return images[:1500], images[1500:]


@pytest.mark.parametrize(
    ("noisy", "share"),
    [(lambda clean: clean + 0.5 * torch.randn_like(clean), 0.2), (partial(corrupt, amount=0.4), 0.33)],
    ids=["gaussian", "salt-pepper"],
)
def test_handwritten_digits_are_cleaned(
    digits: tuple[Tensor, Tensor], noisy: Callable[[Tensor], Tensor], share: float
) -> None:
    """Far closer to the clean image than the noisy one, and than the mean digit, which one may answer unheard."""
    train, held_out = digits
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = Autoencoder(AutoencoderConfig(64, "dense", 256, 1, 32, context=0, dropout=0.0))
        optimiser = torch.optim.Adam(net.parameters(), 2e-3)
        for _ in range(300):
            clean = train[torch.randint(len(train), (128,))]
            loss = (net(noisy(clean)) - clean).square().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        heard = noisy(held_out)
        with torch.no_grad():
            answer = net.eval()(heard)
    before, after, unheard = ((one - held_out).square().mean() for one in (heard, answer, train.mean(0)))
    assert after < share * before
    assert after < 0.75 * unheard


# What comes out


@pytest.mark.parametrize("frames", [1, 2, 9])
@pytest.mark.parametrize("size", [1, 20, 21, 64, 257])
@pytest.mark.parametrize("layers", LAYERS)
@pytest.mark.parametrize("grid", [True, False])
def test_columns_of_any_size_and_number(layers: str, size: int, frames: int, grid: bool) -> None:
    net = make(replace(SMALL[layers], size=size, grid=grid, classes=3)).eval()
    columns, which = noise(2, size, frames), torch.tensor([2, 0])
    code = net.encode(columns)
    assert code.shape == (2, 6, frames)
    answer = net(columns, which)
    assert answer.shape == columns.shape
    assert torch.equal(answer, net.decode(code, which))  # nothing goes past the code
    torch.testing.assert_close(answer[1:], net(columns[1:], which[1:]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("context", "near"), [(0, [10]), (1, [9, 10, 11]), (3, list(range(7, 14)))])
def test_dense_hears_its_context_and_no_more(context: int, near: list[int]) -> None:
    net = make(replace(SMALL["dense"], context=context)).eval()
    assert changed_by(net, 10) == near


@pytest.mark.parametrize("layers", ["conv", "lstm"])
def test_the_others_hear_before_and_after(layers: str) -> None:
    near = changed_by(make(SMALL[layers]).eval(), 10)
    assert set(range(7, 14)) <= set(near)
    if layers == "conv":  # 1 on each level, 1 inwards, 1 and 2 along the dilated ones; and the same back
        assert near == list(range(max(0, 10 - 10), 21))


def changed_by(net: Autoencoder, frame: int) -> list[int]:
    """Frames of 25 whose answer another column at one frame changes."""
    columns = noise(1, net.config.size, 25)
    other = columns.clone()
    other[..., frame] += 1
    with torch.no_grad():
        change = (net(columns) - net(other)).abs().amax((0, 1))
    return change.gt(1e-6).nonzero()[:, 0].tolist()


def test_convolutions_share_weights_along_a_grid_only() -> None:
    def count(grid: bool, size: int) -> int:
        net = make(replace(SMALL["conv"], size=size, grid=grid))
        return sum(value.numel() for value in net.parameters())

    assert count(True, 640) - count(True, 639) == 0  # 20 rows at the narrow end, of either
    assert count(False, 640) - count(False, 639) == 2 * 3 * 16 + 1  # in and out, by three frames; an offset


# What the decoder is told


@pytest.mark.parametrize("layers", LAYERS)
def test_the_class_decides_the_answer(layers: str) -> None:
    net = make(replace(SMALL[layers], classes=3)).eval()
    code = net.encode(noise(1, 40, 5))
    answers = [net.decode(code, torch.tensor([which])) for which in range(3)]
    spread = torch.cat(answers).std(0).mean()
    assert spread > 1e-3
    together = net.decode(code.expand(3, -1, -1), torch.arange(3))
    torch.testing.assert_close(together, torch.cat(answers), rtol=1e-4, atol=1e-5)


def test_a_class_if_and_only_if_there_are_some() -> None:
    plain, told = make(SMALL["dense"]), make(replace(SMALL["dense"], classes=2))
    with pytest.raises(ValueError, match="got 0 classes and one given"):
        plain(noise(1, 40, 3), torch.tensor([0]))
    with pytest.raises(ValueError, match="got 2 classes and none given"):
        told(noise(1, 40, 3))
    with pytest.raises(RuntimeError, match="smaller than num_classes"):
        told(noise(1, 40, 3), torch.tensor([2]))


@pytest.mark.parametrize("layers", LAYERS)
def test_every_weight_learns(layers: str) -> None:
    net = make(replace(SMALL[layers], classes=2))
    columns = noise(3, 40, 8)
    (net(columns, torch.tensor([0, 1, 1])) - columns).square().mean().backward()
    still = [name for name, value in net.named_parameters() if value.grad is None or not value.grad.any()]
    # Normalisation takes away what these add.
    assert [name for name in still if not name.endswith("bias")] == []
    for part in (net.encoder, net.decoder):
        assert all(value.grad is not None and value.grad.isfinite().all() for value in part.parameters())


# Sizes


@pytest.mark.parametrize("layers", LAYERS)
def test_weights_by_the_seed(layers: str) -> None:
    first, again, other = (make(SMALL[layers], seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_sizes_that_suit_the_layers_and_there_and_back() -> None:
    for layers in LAYERS:
        config = AutoencoderConfig(80, layers)
        assert (config.width, config.depth) == SIZES[layers]
    assert (AutoencoderConfig(80, width=7).width, AutoencoderConfig(80, depth=3).depth) == (7, 3)
    config = AutoencoderConfig(80, "dense", 32, 3, 16, 4, False, 1, 0.2)
    assert AutoencoderConfig(**config.to_json()) == config


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"layers": "magic"}, "unknown layers 'magic'; expected one of conv, dense, lstm"),
        ({"size": 0}, "size, width, depth and code must be at least 1"),
        ({"width": -1}, "size, width, depth and code must be at least 1"),
        ({"code": 0}, "size, width, depth and code must be at least 1"),
        ({"classes": -1}, "classes and context at least 0"),
        ({"context": -1}, "classes and context at least 0"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\), got 1.0"),
        ({"dropout": float("nan")}, r"dropout must be in \[0, 1\), got nan"),
        ({"size": 65537}, "size must be at most 65536, got 65537"),
        ({"width": 10**7}, "width must be at most 16384"),
        ({"depth": 65}, "depth must be at most 64"),
        ({"code": 10**9}, "code must be at most 16384"),
        ({"classes": 1025}, "classes must be at most 1024"),
        ({"context": 65}, "context must be at most 64"),
    ],
)
def test_sizes_that_cannot_be(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        AutoencoderConfig(**({"size": 40} | wrong))  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [(40, 3), (1, 39, 3), (1, 40, 0), (0, 40, 3)])
def test_columns_that_cannot_be(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected columns \[B, 40, N\], got \["):
        make(SMALL["dense"])(torch.zeros(shape))
