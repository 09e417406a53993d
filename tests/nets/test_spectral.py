"""The spectral networks: what they hear, what they may not hear, and a recording fed to them piece by piece."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gansep.nets.spectral import FEATURES, NETWORKS, Memory, NetConfig, SpectralNet, feature, unfeature

SMALL = NetConfig(n_fft=64, hop=32, width=12, depth=2)
CAUSAL = replace(SMALL, network="tfconv", depth=6, causal=True)  # with every dilation, and one of the second cycle


def make(config: NetConfig = SMALL, seed: int = 0) -> SpectralNet:
    """A network that has heard something, in eval mode and double precision."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = SpectralNet(config).double()
        for _ in range(3):  # gives batch normalisation statistics of its own
            net(5 * torch.rand(4, config.bins, 12, dtype=torch.float64))
    return net.eval()


def magnitudes(*shape: int, seed: int = 1) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def heard_frames(config: NetConfig, frame: int, count: int = 40) -> list[int]:
    """Frames of the input that one frame of the answer depends on."""
    magnitude = magnitudes(1, config.bins, count).requires_grad_()
    answer = make(config)(magnitude)[..., frame]
    (gradient,) = torch.autograd.grad(answer.square().sum(), magnitude)
    return gradient.abs().sum((0, 1)).nonzero()[:, 0].tolist()


# Sizes


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("kind", FEATURES)
@pytest.mark.parametrize(("n_fft", "frames"), [(64, 1), (100, 7), (512, 12)])
def test_maps_are_as_large_as_what_is_heard(network: str, kind: str, n_fft: int, frames: int) -> None:
    config = NetConfig(3, network, 12, 2, n_fft, n_fft // 4, feature=kind)
    magnitude = magnitudes(2, config.bins, frames).float()
    answer = SpectralNet(config).eval()(magnitude)
    assert answer.shape == (2, 3, config.bins, frames)
    assert answer.isfinite().all()
    assert SpectralNet(config).eval()(0 * magnitude).isfinite().all()  # silence


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("causal", [False, True])
def test_every_weight_has_a_gradient(network: str, causal: bool) -> None:
    net = make(replace(SMALL, network=network, causal=causal)).train()
    net(magnitudes(4, 33, 40)).square().mean().backward()
    for name, weight in net.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.abs().max() > 0, name


@pytest.mark.parametrize(("network", "width"), [("tfconv", 0), ("blstm", 0), ("dnn", 1024)])
def test_a_model_fits_into_its_eight_mebibytes(network: str, width: int) -> None:
    with torch.device("meta"):
        net = SpectralNet(NetConfig(network=network, width=width))
    assert 1_000_000 < sum(weight.numel() for weight in net.parameters()) < 4_100_000


# What is heard


@pytest.mark.parametrize("kind", FEATURES)
def test_features_are_normalised_by_the_statistics(kind: str) -> None:
    class Echo(nn.Module):
        def forward(self, heard: Tensor, _: Memory | None) -> Tensor:
            return heard[:, None]

    mean, std = np.linspace(-2, 3, 33), np.linspace(0.5, 4, 33)
    net = SpectralNet(replace(SMALL, feature=kind, floor=0.01, mean=tuple(mean), std=tuple(std))).double()
    net.trunk = Echo()
    magnitude = magnitudes(2, 33, 5)
    m = magnitude.numpy()
    expected = {"log": np.log(m + 0.01), "magnitude": m, "power": m**2}[kind]
    expected = (expected - mean[:, None]) / std[:, None]
    assert np.allclose(net(magnitude)[:, 0].numpy(), expected, atol=1e-5)  # statistics are stored as float32


@pytest.mark.parametrize("kind", FEATURES)
def test_magnitudes_come_back_from_features(kind: str) -> None:
    magnitude = torch.cat([magnitudes(2, 33, 5) * 10, torch.zeros(2, 33, 5)]).requires_grad_()
    heard = feature(magnitude, kind, 0.01)
    back = unfeature(heard, kind, 0.01)
    torch.testing.assert_close(back, magnitude)
    (gradient,) = torch.autograd.grad(back.sum(), magnitude)
    torch.testing.assert_close(gradient[:2], torch.ones(2, 33, 5).double())
    assert gradient.isfinite().all()
    below = torch.full((1, 33, 5), -50.0).requires_grad_()  # what no magnitude sounds like
    nothing = unfeature(below, kind, 0.01)
    assert torch.equal(nothing, torch.zeros(1, 33, 5))
    (gradient,) = torch.autograd.grad(nothing.sum(), below)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("context", [0, 1, 3])
def test_the_classic_network_hears_its_context_and_no_more(context: int) -> None:
    config = replace(SMALL, network="dnn", context=context)
    assert heard_frames(config, 20) == list(range(20 - context, 20 + context + 1))
    assert heard_frames(replace(config, causal=True), 20) == list(range(20 - 2 * context, 21))


def test_the_others_hear_far() -> None:
    assert heard_frames(replace(SMALL, network="blstm"), 20) == list(range(40))
    # Each of two convolutions along frequency hears a frame either way, each block as far as its dilation.
    reach = 2 + 1 + 2 + 4 + 8 + 16 + 1
    config = replace(SMALL, network="tfconv", depth=6)
    assert heard_frames(config, 50, 120) == list(range(50 - reach, 50 + reach + 1))
    assert heard_frames(replace(config, causal=True), 80, 120) == list(range(80 - 2 * reach, 81))


def test_the_outermost_skip_alone_is_heard() -> None:
    net = make(NetConfig(width=12, depth=1))
    ups = net.trunk.up
    assert isinstance(ups, nn.ModuleList) and len(ups) == 4  # 257, 129, 65, 33 and 17 bins
    for weight in ups[1:].parameters():  # nothing comes from below
        weight.data.zero_()
    magnitude = magnitudes(1, 257, 9)
    assert (net(magnitude) - net(2 * magnitude)).abs().max() > 1e-3


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("causal", [False, True])
def test_a_later_frame_changes_earlier_ones_unless_causal(network: str, causal: bool) -> None:
    net = make(replace(SMALL, network=network, causal=causal))
    magnitude = magnitudes(2, 33, 30)
    later = magnitude.clone()
    later[..., 21] += 3
    change = (net(later) - net(magnitude)).abs().amax((0, 1, 2))  # [N]
    assert change[21] > 1e-4
    assert (change[20] < 1e-12) == causal
    assert (change[:21].max() < 1e-12) == causal


# Piece by piece


@pytest.mark.parametrize("size", [1, 3, 25, 90])
def test_pieces_make_the_whole(size: int) -> None:
    net, magnitude, memory = make(CAUSAL), magnitudes(2, 33, 90), {}
    pieces = [net(piece, memory) for piece in magnitude.split(size, -1)]
    torch.testing.assert_close(torch.cat(pieces, -1), net(magnitude), rtol=1e-9, atol=1e-12)


def test_pieces_of_any_size_and_two_recordings_at_once() -> None:
    net = make(CAUSAL)
    one, other = magnitudes(1, 33, 60), magnitudes(1, 33, 60, seed=2)
    memories: tuple[Memory, Memory] = {}, {}
    sizes = [7, 1, 30, 2, 20]
    answers: list[list[Tensor]] = [[], []]
    for pieces in zip(one.split(sizes, -1), other.split(sizes, -1), strict=True):
        for answer, piece, memory in zip(answers, pieces, memories, strict=True):
            answer.append(net(piece, memory))
    for answer, magnitude in zip(answers, (one, other), strict=True):
        torch.testing.assert_close(torch.cat(answer, -1), net(magnitude), rtol=1e-9, atol=1e-12)


def test_without_memory_a_piece_begins_anew() -> None:
    net, magnitude = make(CAUSAL), magnitudes(1, 33, 60)
    assert (net(magnitude[..., 30:]) - net(magnitude)[..., 30:])[..., 0].abs().max() > 1e-4


def test_memory_does_not_grow() -> None:
    net, memory = make(CAUSAL), {}
    sizes = []
    for piece in magnitudes(1, 33, 200).split(2, -1):
        net(piece, memory)
        sizes.append(sum(kept.numel() for kept in memory.values()))
    assert len(set(sizes)) == 1 and 0 < sizes[0] < 10_000


@pytest.mark.parametrize("change", [{"causal": False}, {"network": "blstm"}, {"network": "dnn"}])
def test_only_a_causal_convolutional_network_takes_pieces(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="only a causal tfconv can hear a recording piece by piece"):
        make(replace(CAUSAL, **change))(magnitudes(1, 33, 9), {})


# A recording's ends


@pytest.mark.parametrize("context", [1, 2])
def test_dropped_edges_have_no_answer_in_training_and_their_own_frame_for_context_after(context: int) -> None:
    zero = make(replace(SMALL, network="dnn", context=context, dropout=0.0))
    drop = make(replace(SMALL, network="dnn", context=context, dropout=0.0, edges="drop"))
    drop.load_state_dict(zero.state_dict())
    magnitude = magnitudes(3, 33, 11)
    whole, cut = zero(magnitude), drop(magnitude)
    torch.testing.assert_close(cut[..., context:-context], whole[..., context:-context])  # all neighbours are there
    first, last = magnitude[..., :1].expand(-1, -1, context), magnitude[..., -1:].expand(-1, -1, context)
    repeated = torch.cat([first, magnitude, last], -1)
    torch.testing.assert_close(cut, zero(repeated)[..., context:-context])
    for frame in (0, context - 1, -context, -1):
        assert not torch.allclose(cut[..., frame], whole[..., frame])
    assert drop.train()(magnitude).shape == (3, 2, 33, 11 - 2 * context)
    assert zero.train()(magnitude).shape == (3, 2, 33, 11)


def test_zero_edges_are_frames_at_the_mean() -> None:
    """What lies beyond a recording counts as 0 once normalised."""
    mean = tuple(np.linspace(0.2, 0.8, 33).tolist())
    net = make(replace(SMALL, network="dnn", context=2, feature="magnitude", mean=mean))
    magnitude = magnitudes(1, 33, 9)
    silence = net.mean.expand(33, 2)[None]
    padded = torch.cat([silence, magnitude, silence], -1)
    torch.testing.assert_close(net(padded)[..., 2:-2], net(magnitude))


def test_too_few_frames_for_dropped_edges() -> None:
    net = make(replace(SMALL, network="dnn", context=2, edges="drop"))
    assert net(magnitudes(1, 33, 1)).shape == (1, 2, 33, 1)
    net.train()
    assert net(magnitudes(2, 33, 5)).shape == (2, 2, 33, 1)
    with pytest.raises(ValueError, match="expected at least 5 frames, got 4"):
        net(magnitudes(2, 33, 4))


# Neighbours in a batch


@pytest.mark.parametrize("network", NETWORKS)
def test_once_trained_a_mixture_s_answer_is_its_own(network: str) -> None:
    net, batch = make(replace(SMALL, network=network, dropout=0.0)), magnitudes(3, 33, 20)
    batch[1:] *= 100
    torch.testing.assert_close(net(batch)[:1], net(batch[:1]))
    net.train()
    normalised = network != "blstm"  # by the batch while it is trained
    assert torch.allclose(net(batch)[:1], net(batch[:1])) != normalised


def test_batch_normalisation_uses_what_training_heard() -> None:
    """Against the formula: running mean and variance, by a momentum of a tenth."""
    net = SpectralNet(replace(SMALL, network="dnn", context=0, depth=1, dropout=0.0, feature="magnitude")).double()
    layer = net.trunk.layers[0]  # type: ignore[index]
    linear, norm = layer[0], layer[1]
    heard, fresh = magnitudes(5, 33, 20), magnitudes(1, 33, 6, seed=3)

    def rows(magnitude: Tensor) -> Tensor:
        return linear(magnitude.permute(0, 2, 1).reshape(-1, 33))

    net.train()(heard)
    mean, variance = 0.1 * rows(heard).mean(0), 0.9 + 0.1 * rows(heard).var(0)
    normalised = (rows(fresh) - mean) / (variance + norm.eps).sqrt()
    expected = net.trunk.head(torch.where(normalised > 0, normalised, 0.2 * normalised))  # type: ignore[operator]
    got = net.eval()(fresh)[0].permute(2, 0, 1).reshape(6, -1)
    torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("network", ["dnn", "blstm"])
def test_dropout_is_for_training(network: str) -> None:
    net, magnitude = make(replace(SMALL, network=network, dropout=0.5)), magnitudes(1, 33, 9)
    assert torch.equal(net(magnitude), net(magnitude))
    assert not torch.allclose(net.train()(magnitude), net(magnitude))


# Configurations


def test_a_config_survives_its_json() -> None:
    statistics = tuple(range(65)), (2.5,) * 65
    for network, edges, causal in (("dnn", "drop", False), ("blstm", "zero", True)):
        config = NetConfig(4, network, 100, 3, 128, 32, 8000, "power", 0.1, *statistics, 1, edges, 0.1, causal)
        assert NetConfig(**json.loads(json.dumps(config.to_json()))) == config
    assert NetConfig(**NetConfig().to_json()) == NetConfig()


def test_sizes_are_the_network_s_own_unless_given() -> None:
    sizes = {"dnn": (2048, 3), "blstm": (256, 2), "tfconv": (192, 10)}
    for network, expected in sizes.items():
        config = NetConfig(network=network)
        assert (config.width, config.depth) == expected
    assert (NetConfig(width=8).width, NetConfig(depth=3).depth) == (8, 3)
    assert (SMALL.bins, SMALL.mean, SMALL.std) == (33, (0.0,) * 33, (1.0,) * 33)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"network": "gan"}, "unknown network 'gan'; expected one of dnn, blstm, tfconv"),
        ({"feature": "mel"}, "unknown feature 'mel'; expected one of log, magnitude, power"),
        ({"edges": "wrap"}, "unknown edges 'wrap'; expected one of zero, drop"),
        ({"outputs": 0}, "outputs, width, depth and sample_rate must be at least 1"),
        ({"width": -1}, "outputs, width, depth and sample_rate must be at least 1"),
        ({"depth": -1}, "outputs, width, depth and sample_rate must be at least 1"),
        ({"sample_rate": 0}, "outputs, width, depth and sample_rate must be at least 1"),
        ({"context": -1}, "context at least 0"),
        ({"outputs": 257}, "outputs must be at most 256, got 257"),
        ({"width": 16385}, "width must be at most 16384, got 16385"),
        ({"depth": 65}, "depth must be at most 64, got 65"),
        ({"context": 65}, "context must be at most 64, got 65"),
        ({"n_fft": 2**40, "mean": (), "std": ()}, "n_fft must be at most 65536, got 1099511627776"),
        ({"floor": float("inf")}, "floor must be at most 1000, got inf"),
        ({"n_fft": 32}, "n_fft must be a multiple of 4 from 64 up and hop at most half of it, got 32 and 32"),
        ({"n_fft": 66}, "got 66 and 32"),
        ({"hop": 33}, "got 64 and 33"),
        ({"hop": 0}, "got 64 and 0"),
        ({"mean": (0.0,) * 32}, "mean and std must have 33 numbers"),
        ({"std": (1.0,) * 34}, "mean and std must have 33 numbers"),
        ({"std": (1.0,) * 32 + (0.0,)}, "those of std above 0"),
        ({"std": (1.0,) * 32 + (float("nan"),)}, "those of std above 0"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\) and floor above 0, got 1.0 and 0.001"),
        ({"floor": 0.0}, "floor above 0, got 0.2 and 0.0"),
        ({"network": "dnn", "edges": "drop", "causal": True}, "edges must be zero, got drop"),
    ],
)
def test_wrong_settings(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        replace(SMALL, **change)


@pytest.mark.parametrize("shape", [(33, 9), (1, 32, 9), (1, 33, 0), (0, 33, 9), (1, 1, 33, 9)])
def test_wrong_magnitudes(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected magnitudes \[B, 33, N\], got \["):
        make()(torch.zeros(shape, dtype=torch.float64))
