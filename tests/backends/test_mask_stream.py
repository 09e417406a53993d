"""``Masks.stream``: the offline answer in blocks of any size, as soon as it can be known, and only where it can be."""

from __future__ import annotations

from dataclasses import replace
from itertools import cycle

import pytest
import torch
from torch import Tensor

from gansep.backends.mask import Masks, MaskStream
from gansep.library import Card, TrainedSeparator
from gansep.nets import precision
from gansep.nets.masknet import MaskNet, maps
from gansep.nets.spectral import NetConfig
from gansep.types import ModelError

CAUSAL = NetConfig(n_fft=128, hop=64, width=8, depth=2, causal=True)
BLOCKS = [(1,), (64,), (37, 0, 501, 3), (100_000,)]


@pytest.fixture(autouse=True)
def single_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    """What bfloat16 makes of a frame may differ with the frames beside it."""
    monkeypatch.setattr(precision, "gains_from_bfloat16", lambda _: False)


def masks(
    config: NetConfig = CAUSAL,
    target: str = "irm",
    names: tuple[str, ...] = (),
    threshold: float | None = None,
) -> Masks:
    """A network that has heard something, so that its batch normalisation does something."""
    config = replace(config, outputs=2 * maps(target))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        network = MaskNet(config, target)
        network(torch.randn(4, config.bins, 20) * (3 + 0j))
    card = Card("clean", config.to_json() | {"target": target}, 16000, None, ("speech", "noise"), kind="mask")
    return Masks(TrainedSeparator(card, network.eval().requires_grad_(False)), names, threshold)


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(shape[-1]))


def play(stream: MaskStream, wave: Tensor, sizes: tuple[int, ...]) -> Tensor:
    pieces, at, wanted = [], 0, cycle(sizes)
    while at < wave.shape[-1]:
        size = next(wanted)
        pieces.append(stream.push(wave[:, at : at + size]))
        at += size
    return torch.cat([*pieces, stream.finish()], -1)


@pytest.mark.parametrize("sizes", BLOCKS)
@pytest.mark.parametrize("length", [1, 63, 64, 1000, 4096])
def test_is_the_offline_answer(sizes: tuple[int, ...], length: int) -> None:
    separator, wave = masks(), noise(1, length)
    expected = separator(wave).waves[0]
    assert not torch.allclose(expected[0], expected[1], atol=1e-3)
    stream = separator.stream()
    for _ in range(2):  # finished, it starts afresh
        torch.testing.assert_close(play(stream, wave, sizes)[:, 0], expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("target", ["irm", "psm", "orm", "crm", "cirm"])
@pytest.mark.parametrize("hop", [32, 64])
def test_whatever_the_masks_and_their_order(target: str, hop: int) -> None:
    separator = masks(replace(CAUSAL, hop=hop, depth=6), target, ("noise", "speech"))
    wave = noise(1, 3000)
    expected = separator(wave).waves[0]
    torch.testing.assert_close(play(separator.stream(), wave, (200,))[:, 0], expected, rtol=1e-4, atol=1e-5)


def test_threshold() -> None:
    separator, wave = masks(threshold=0.5), noise(1, 3000)
    torch.testing.assert_close(
        play(separator.stream(), wave, (200,))[:, 0], separator(wave).waves[0], rtol=0, atol=1e-5
    )


def test_channels_share_the_mask_of_their_mean() -> None:
    """So a faint copy in another channel stays one, and the stems' mean is the answer to the mean."""
    separator, wave = masks(), noise(3, 2000)
    wave[2] = 0.25 * wave[0]
    stems = play(separator.stream(), wave, (111,))
    assert stems.shape == (2, 3, 2000)
    torch.testing.assert_close(stems[:, 2], 0.25 * stems[:, 0], rtol=0, atol=1e-5)
    expected = separator(wave.mean(0, keepdim=True)).waves[0]
    torch.testing.assert_close(stems.mean(1), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("gain", "heard"), [(0.9, 0.05), (0.95, 1.0), (1.0, 1.0), (1.05, -1.05)])
def test_channels_that_cancel(gain: float, heard: float) -> None:
    """A wave and its negative at a gain: the mean down to 0.001 of the power, below it the loudest channel."""
    separator, wave = masks(), noise(1, 2000)
    stems = play(separator.stream(), torch.cat([wave, -gain * wave]), (111,))
    expected = separator(heard * wave).waves[0] / heard
    torch.testing.assert_close(stems[:, 0], expected, rtol=0, atol=1e-4)
    torch.testing.assert_close(stems[:, 1], -gain * expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("sizes", BLOCKS)
def test_channels_that_cancel_for_a_while(sizes: tuple[int, ...]) -> None:
    """Each frame is judged by itself, so that blocks do not matter."""
    separator, waves = masks(), noise(2, 4096)
    waves[1, 2048:] = -waves[0, 2048:]
    stems = play(separator.stream(), waves, sizes)
    before, after = slice(0, 2048 - 128), slice(2048 + 1024, None)  # frames, and what is heard back, are in one half
    mean = separator(waves.mean(0, keepdim=True)).waves[0]
    torch.testing.assert_close(stems.mean(1)[:, before], mean[:, before], rtol=0, atol=1e-5)
    one = separator(waves[:1]).waves[0]
    torch.testing.assert_close(stems[:, 0, after], one[:, after], rtol=0, atol=1e-5)


def test_latency_is_what_it_lags() -> None:
    """The first ``t`` samples are out once ``t + latency - 1`` are in, and for some ``t`` not before."""
    stream, out, lags = masks().stream(), 0, []
    for samples in range(1, 1000):
        out += stream.push(torch.zeros(2, 1)).shape[-1]
        lags.append(samples - out)
    assert stream.latency == 128
    assert max(lags) == stream.latency - 1


def test_what_comes_after_changes_nothing_that_is_out() -> None:
    separator, wave = masks(), noise(1, 2000)
    first, second = separator.stream(), separator.stream()
    before = first.push(wave), second.push(wave)
    assert torch.equal(*before)
    assert before[0].shape[-1] > 2000 - 128
    after = first.push(noise(1, 500)), second.push(torch.zeros(1, 500))
    assert not torch.allclose(*after)


def test_memory_is_bounded() -> None:
    """The network keeps frames as far as it hears back, however many there were."""
    stream, kept = masks().stream(), []
    for _ in range(4):
        stream.push(noise(1, 50_000))
        kept.append(sum(frames.numel() for frames in stream._memory.values()))
    assert kept[0] == kept[-1] > 0


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"causal": False}, "this one is not a causal tfconv"),
        ({"network": "dnn"}, "this one is a causal dnn"),
        ({"network": "blstm", "causal": False}, "this one is not a causal blstm"),
    ],
)
def test_networks_that_cannot(changes: dict, said: str) -> None:
    with pytest.raises(ModelError, match=said) as error:
        masks(replace(CAUSAL, **changes)).stream()
    assert str(error.value).startswith("clean: a stream needs a causal tfconv network")


def test_nothing_to_finish() -> None:
    stream = masks().stream()
    assert stream.push(torch.zeros(2, 0)).shape == (2, 2, 0)
    with pytest.raises(ValueError, match="at least one sample"):
        stream.finish()
