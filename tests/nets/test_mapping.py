"""Mappings: features there and back, what may be heard, any length and level of a waveform, sizes that are refused."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gansep.nets.mapping import SILENCE, SpectralMapping, WaveformConfig, WaveformMapping
from gansep.nets.spectral import FEATURES, NETWORKS, Memory, NetConfig
from gansep.nets.wavegan import UpConv1d

SMALL = NetConfig(n_fft=64, hop=32, width=12, depth=2)
CAUSAL = replace(SMALL, depth=6, causal=True)
TINY = WaveformConfig(width=4, depth=3)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def spectral(config: NetConfig = SMALL) -> SpectralMapping:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return SpectralMapping(config).eval()


def waveform(config: WaveformConfig = TINY, seed: int = 0) -> WaveformMapping:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return WaveformMapping(config)


def with_statistics(config: NetConfig) -> NetConfig:
    return replace(config, mean=np.linspace(-3, 1, config.bins).tolist(), std=np.linspace(0.5, 2, config.bins).tolist())


# Spectra


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("sources", [1, 3])
def test_every_source_has_an_answer_at_every_point(network: str, sources: int) -> None:
    mapping = spectral(replace(SMALL, network=network, outputs=sources))
    answer = mapping(torch.complex(noise(2, 33, 9), noise(2, 33, 9, seed=1)))
    assert answer.shape == mapping.magnitudes(answer).shape == (2, sources, 33, 9)


def test_dropped_edges_have_no_answer_in_training_alone() -> None:
    mapping = spectral(replace(SMALL, network="dnn", context=2, edges="drop"))
    spectrum = noise(2, 33, 12) + 0j
    assert mapping.train()(spectrum).shape == (2, 2, 33, 8)
    assert mapping.eval()(spectrum).shape == (2, 2, 33, 12)


@pytest.mark.parametrize("kind", FEATURES)
def test_magnitudes_are_normalised_and_come_back(kind: str) -> None:
    config = with_statistics(replace(SMALL, feature=kind, floor=0.01))
    mapping = spectral(config)
    magnitudes = torch.cat([10 * noise(2, 2, 33, 5).abs(), torch.zeros(2, 2, 33, 5)])
    targets = mapping.targets(magnitudes)
    m = magnitudes.numpy().astype(float)
    heard = {"log": np.log(m + 0.01), "magnitude": m, "power": m**2}[kind]
    expected = (heard - np.array(config.mean)[:, None]) / np.array(config.std)[:, None]
    np.testing.assert_allclose(targets, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(mapping.magnitudes(targets), magnitudes, atol=2e-3, rtol=1e-4)


@pytest.mark.parametrize("kind", FEATURES)
def test_no_answer_makes_a_magnitude_below_nothing(kind: str) -> None:
    """And its gradient is finite even there, where a square root's is not."""
    mapping = spectral(replace(SMALL, feature=kind))
    answer = torch.linspace(-40, 5, 33).reshape(1, 1, 33, 1).requires_grad_()
    magnitudes = mapping.magnitudes(answer)
    assert magnitudes.min() == 0 < magnitudes.max()
    (gradient,) = torch.autograd.grad(magnitudes.sum(), answer)
    assert gradient.isfinite().all()


def test_a_causal_mapping_hears_nothing_ahead() -> None:
    def heard(config: NetConfig) -> list[int]:
        spectrum = torch.complex(noise(1, 33, 40), noise(1, 33, 40, seed=1)).requires_grad_()
        answer = spectral(config)(spectrum)[..., 20]
        (gradient,) = torch.autograd.grad(answer.square().sum(), spectrum)
        return gradient.abs().sum((0, 1)).nonzero()[:, 0].tolist()

    assert max(heard(CAUSAL)) == 20
    assert max(heard(replace(CAUSAL, causal=False))) > 20


def test_a_causal_mapping_goes_on_where_it_stopped() -> None:
    mapping, memory = spectral(CAUSAL), dict[nn.Module, Any]()
    spectrum = torch.complex(noise(1, 33, 40), noise(1, 33, 40, seed=1))
    pieces = torch.cat([mapping(piece, memory) for piece in spectrum.split([1, 3, 17, 19], -1)], -1)
    torch.testing.assert_close(pieces, mapping(spectrum))


def test_every_weight_of_a_spectral_mapping_has_a_gradient() -> None:
    mapping = spectral().train()
    answer = mapping(noise(4, 33, 12) + 0j)
    mapping.magnitudes(answer).square().sum().backward()
    for name, weight in mapping.named_parameters():
        assert weight.grad is not None and weight.grad.isfinite().all() and weight.grad.abs().max() > 0, name


@pytest.mark.parametrize("make", [spectral, waveform])
def test_half_precision_is_for_the_layers_alone(make: Any) -> None:
    mixture = noise(2, 33, 12) + 0j if make is spectral else noise(2, 1000)
    net = make()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        half = net(mixture)
    assert half.dtype == torch.float32
    whole = net(mixture).detach()
    assert 0 < (half - whole).abs().max() < 0.05 * whole.abs().max()


# Waveforms


@pytest.mark.parametrize("length", [1, 2, 63, 64, 65, 1001])
@pytest.mark.parametrize("outputs", [1, 3])
def test_any_length_comes_out_as_it_went_in(length: int, outputs: int) -> None:
    answer = waveform(replace(TINY, outputs=outputs))(noise(2, length))
    assert answer.shape == (2, outputs, length)
    assert answer.isfinite().all()


@pytest.mark.parametrize(("kernel", "stride", "depth"), [(8, 4, 1), (5, 4, 2), (3, 2, 4), (9, 2, 3), (2, 2, 2)])
def test_other_strides_keep_the_length_too(kernel: int, stride: int, depth: int) -> None:
    mapping = waveform(WaveformConfig(width=4, depth=depth, kernel=kernel, stride=stride))
    assert mapping(noise(1, 301)).shape == (1, 2, 301)
    layer = UpConv1d(3, 2, stride, kernel)  # what goes up is the transpose of what went down
    torch.testing.assert_close(layer(noise(1, 3, 9)), layer.transposed(noise(1, 3, 9)))


@pytest.mark.parametrize("gain", [1e-3, 30.0])
def test_level_does_not_matter(gain: float) -> None:
    mapping, mixture = waveform(), noise(3, 777)
    torch.testing.assert_close(mapping(gain * mixture) / gain, mapping(mixture), rtol=1e-3, atol=1e-5)


def test_an_offset_belongs_to_no_source() -> None:
    mapping, mixture = waveform(), noise(2, 777)
    torch.testing.assert_close(mapping(mixture + 0.3), mapping(mixture), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("value", [0.0, 0.5])
def test_nothing_comes_of_silence(value: float) -> None:
    answer = waveform()(torch.full((1, 500), value))
    assert answer.abs().max() < 10 * SILENCE


def test_neighbours_do_not_matter() -> None:
    mapping, batch = waveform(), noise(3, 500)
    alone = mapping(batch[:1])
    batch[1] *= 100
    torch.testing.assert_close(mapping(batch)[:1], alone)


def test_the_answer_stands_where_the_sound_is() -> None:
    """A sound that comes later by what the deepest level steps over has its answer later by as much."""
    config = replace(TINY, depth=2)
    mapping = waveform(config).double()
    mixture = torch.zeros(1, 2000, dtype=torch.float64)
    mixture[0, 900:1000] = noise(100)
    later = mapping(mixture.roll(config.multiple, -1))
    inner = slice(300, 1700)  # the edges do not move with it
    torch.testing.assert_close(later[..., inner], mapping(mixture).roll(config.multiple, -1)[..., inner])
    flat = mapping(mixture)[0, 0, 300:600].std()
    assert mapping(mixture)[0, 0, 850:1050].std() > 100 * flat  # nothing far from it, all about it


def test_every_weight_of_a_waveform_mapping_has_a_gradient() -> None:
    mapping = waveform()
    mapping(noise(2, 2000)).square().sum().backward()
    for name, weight in mapping.named_parameters():
        assert weight.grad is not None and weight.grad.isfinite().all() and weight.grad.abs().max() > 0, name


def test_an_untrained_answer_is_quiet_but_there() -> None:
    for seed in range(3):
        level = waveform(WaveformConfig(), seed)(noise(1, 8000)).std()
        assert 0.01 < level < 0.5


def test_the_default_fits_a_small_file() -> None:
    with torch.device("meta"):
        mapping = WaveformMapping()
    assert sum(value.numel() for value in mapping.state_dict().values()) <= 4.1e6  # 8 MiB as float16


def test_a_config_survives_its_card() -> None:
    config = WaveformConfig(3, 8, 4, 6, 3, 8000)
    assert WaveformConfig(**json.loads(json.dumps(config.to_json()))) == config
    assert (config.multiple, config.channels) == (81, (8, 16, 32, 64))
    assert WaveformConfig(width=8, depth=6).channels == (8, 16, 32, 64, 64, 64)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"outputs": 0}, "outputs must be at least 1, got 0"),
        ({"width": 0}, "width must be at least 1, got 0"),
        ({"depth": 0}, "depth must be at least 1, got 0"),
        ({"sample_rate": -1}, "sample_rate must be at least 1, got -1"),
        ({"outputs": 257}, "outputs must be at most 256, got 257"),
        ({"width": 16385}, "width must be at most 16384, got 16385"),
        ({"depth": 10**12}, "depth must be at most 64, got 1000000000000"),
        ({"stride": 1}, "stride must be at least 2 and kernel at least as long, got 1 and 8"),
        ({"kernel": 3}, "stride must be at least 2 and kernel at least as long, got 4 and 3"),
        ({"depth": 9}, "stride to the power of depth must be at most 65536 samples, got 4 to the power of 9"),
    ],
)
def test_wrong_sizes(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError) as error:
        WaveformConfig(**wrong)
    assert str(error.value) == said


@pytest.mark.parametrize("shape", [(100,), (1, 2, 100), (1, 0), (0, 100)])
def test_wrong_mixtures(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected mixtures \[B, T\] with B, T >= 1"):
        waveform()(torch.zeros(shape))


def test_only_a_causal_mapping_hears_piece_by_piece() -> None:
    memory: Memory = {}
    with pytest.raises(ValueError, match="only a causal tfconv"):
        spectral()(noise(1, 33, 4) + 0j, memory)
