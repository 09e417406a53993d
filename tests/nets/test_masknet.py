"""Masks of an answer: their ranges, the maps they come from, and that ideal answers give the sources back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import soundfile
import torch
from torch import Tensor, nn

from gansep.dsp.masks import apply_mask, cirm, compress, iam, ibm, irm, orm, psm
from gansep.dsp.stft import istft, stft
from gansep.metrics import si_sdr
from gansep.nets.masknet import COMPLEX, TARGETS, MaskNet, maps
from gansep.nets.spectral import Memory, NetConfig

SMALL = NetConfig(n_fft=64, hop=32, width=12, depth=2)
CLIP = NetConfig(width=12, depth=2)
CLIPS = ("digits", "drums")


class Fixed(nn.Module):
    """A trunk that answers the same whatever it hears."""

    def __init__(self, answer: Tensor) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, heard: Tensor, _: Memory | None) -> Tensor:
        return self.answer


def make(target: str, sources: int = 2, config: NetConfig = SMALL) -> MaskNet:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return MaskNet(replace(config, outputs=sources * maps(target)), target).eval()


def answering(target: str, answer: Tensor, config: NetConfig = SMALL) -> MaskNet:
    """A network whose trunk gives ``answer [B, outputs, F, N]``."""
    net = make(target, answer.shape[1] // maps(target), config)
    net.net.trunk = Fixed(answer)
    return net


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def spectra() -> Tensor:
    """Speech and drums. ``[1, S, F, N]``"""
    folder = Path(__file__).parent.parent / "clips"
    waves = [torch.from_numpy(soundfile.read(folder / f"{name}.flac", dtype="float32")[0]) for name in CLIPS]
    return stft(torch.stack(waves)[None], 512, 256)


# Ranges


@pytest.mark.parametrize("scale", [0.1, 3.0, 1e4])
@pytest.mark.parametrize(
    ("target", "low", "high"), [("ibm", 0, 1), ("irm", 0, 1), ("psm", 0, 1), ("iam", 0, 2), ("orm", -300, 300)]
)
def test_real_masks_stay_in_their_range(target: str, low: float, high: float, scale: float) -> None:
    net = answering(target, scale * noise(2, 3, 33, 50))
    masks = net.masks(net(noise(2, 33, 50) * 1j))
    assert masks.shape == (2, 3, 33, 50) and not masks.is_complex()
    assert masks.isfinite().all() and masks.min() >= low and masks.max() <= high
    if scale > 1 and target != "orm":
        assert masks.min() < low + 0.05 and masks.max() > high - 0.05  # all of it is used


@pytest.mark.parametrize("scale", [0.1, 3.0, 1e4])
@pytest.mark.parametrize(("target", "high"), [("crm", 1.0), ("cirm", 300.0 * 2**0.5)])
def test_complex_masks_stay_in_their_range(target: str, high: float, scale: float) -> None:
    net = answering(target, scale * noise(2, 6, 33, 50))
    masks = net.masks(net(noise(2, 33, 50) * 1j))
    assert masks.shape == (2, 3, 33, 50) and masks.is_complex()
    assert masks.abs().isfinite().all() and masks.abs().max() <= high + 1e-6


def test_known_masks() -> None:
    answer = torch.tensor([-1.0, 0.0, 0.25, 0.75, 3.0])
    expected = {
        "ibm": 1 / (1 + (-answer).exp()),
        "irm": 1 / (1 + (-answer).exp()),
        "psm": torch.tensor([0, 0, 0.25, 0.75, 1]),
        "iam": torch.tensor([0, 0, 0.25, 0.75, 2]),
        "orm": 10 * torch.log((10 + answer) / (10 - answer)),  # Williamson et al. (2016), K = 10 and C = 0.1
    }
    for target, masks in expected.items():
        torch.testing.assert_close(make(target).masks(answer), masks)
    both = torch.complex(answer, answer.flip(0))
    expected_parts = [10 * torch.log((10 + part) / (10 - part)) for part in (both.real, both.imag)]
    torch.testing.assert_close(make("cirm").masks(both), torch.complex(*expected_parts))
    torch.testing.assert_close(make("crm").masks(both), torch.polar(both.abs().tanh(), both.angle()))


# Answers


def test_complex_answers_have_the_real_parts_of_all_sources_first() -> None:
    answer = torch.arange(6.0)[None, :, None, None].expand(2, -1, 33, 9)
    net = answering("cirm", answer)
    got = net(noise(2, 33, 9) + 0j)
    for source, expected in enumerate((0 + 3j, 1 + 4j, 2 + 5j)):
        assert (got[:, source] == expected).all()
    assert torch.equal(answering("psm", answer)(noise(2, 33, 9) + 0j), answer)


def test_only_magnitudes_are_heard() -> None:
    net, spectrum = make("cirm"), torch.complex(noise(1, 33, 20), noise(1, 33, 20, seed=1))
    answer = net(spectrum)
    torch.testing.assert_close(net(spectrum.abs() + 0j), answer)
    assert not torch.allclose(net(2 * spectrum), answer)
    torch.testing.assert_close(net.net(spectrum.abs())[:, :2], answer.real)


@pytest.mark.parametrize("target", TARGETS)
def test_every_weight_has_a_gradient(target: str) -> None:
    net = make(target).train()
    spectrum = torch.complex(noise(2, 33, 20), noise(2, 33, 20, seed=1))
    wanted = 0.5 * torch.complex(noise(2, 2, 33, 20, seed=2), noise(2, 2, 33, 20, seed=3))
    (apply_mask(net.masks(net(spectrum)), spectrum) - wanted).abs().square().mean().backward()
    for name, weight in net.named_parameters():
        assert weight.grad is not None and weight.grad.isfinite().all() and weight.grad.abs().max() > 0, name


@pytest.mark.parametrize("target", ["irm", "cirm"])
def test_pieces_make_the_whole(target: str) -> None:
    net = make(target, config=replace(SMALL, causal=True))
    spectrum, memory = torch.complex(noise(1, 33, 40), noise(1, 33, 40, seed=1)), {}
    with torch.no_grad():
        pieces = [net.masks(net(piece, memory)) for piece in spectrum.split([1, 3, 1, 30, 5], -1)]
        torch.testing.assert_close(torch.cat(pieces, -1), net.masks(net(spectrum)), rtol=1e-4, atol=1e-5)


# Ideal answers


def test_the_ideal_complex_answer_gives_the_sources_back() -> None:
    sources = spectra()
    mixture = sources.sum(1)
    ideal = compress(cirm(sources, mixture[:, None] - sources))
    net = answering("cirm", torch.cat([ideal.real, ideal.imag], 1), CLIP)
    stems = apply_mask(net.masks(net(mixture)), mixture)
    got, expected = (istft(one, 16000, 512, 256) for one in (stems, sources))
    assert si_sdr(got, expected).min() > 60
    assert si_sdr(istft(mixture, 16000, 512, 256)[:, None], expected).max() < 10  # it was no small thing


def test_the_ideal_real_answer_gives_the_part_of_the_sources_in_phase_with_the_mixture() -> None:
    sources = spectra()
    mixture = sources.sum(1)
    net = answering("orm", orm(sources, mixture[:, None] - sources, compressed=True), CLIP)
    stems = apply_mask(net.masks(net(mixture)), mixture)
    unit = mixture.sgn()[:, None]
    in_phase = (sources * unit.conj()).real * unit
    assert (stems - in_phase).abs().max() < 1e-3 * sources.abs().max()
    shares = torch.tensor([0.3, 0.7])[None, :, None, None] * sources[:, :1]  # parts that are in phase throughout
    whole = shares.sum(1)
    net = answering("orm", orm(shares, whole[:, None] - shares, compressed=True), CLIP)
    torch.testing.assert_close(apply_mask(net.masks(net(whole)), whole), shares, rtol=1e-3, atol=1e-4)


def test_ideal_answers_of_the_other_masks_are_the_masks() -> None:
    sources = spectra()
    rest = sources.flip(1)
    ideal = {
        "ibm": (ibm(sources, rest), 60 * (ibm(sources, rest) - 0.5)),
        "irm": (irm(sources, rest), irm(sources, rest).logit(1e-6)),
        "iam": (iam(sources, rest).clamp(max=2), iam(sources, rest)),
        "psm": (psm(sources, rest, truncate=True), psm(sources, rest)),
    }
    for target, (masks, answer) in ideal.items():
        net = answering(target, answer, CLIP)
        torch.testing.assert_close(net.masks(net(sources.sum(1))), masks, atol=2e-6, rtol=0)


# Settings


@pytest.mark.parametrize("target", TARGETS)
def test_maps_of_every_target(target: str) -> None:
    assert maps(target) == (2 if target in ("cirm", "crm") else 1)
    net = make(target, sources=3)
    assert net.config.outputs == 3 * maps(target)
    answer = net(noise(2, 33, 5) * 1j)
    assert answer.shape == (2, 3, 33, 5) and answer.is_complex() == (target in COMPLEX)


def test_refused() -> None:
    with pytest.raises(ValueError, match="unknown target 'magic'; expected one of ibm, irm, iam, psm, orm, cirm, crm"):
        MaskNet(SMALL, "magic")
    with pytest.raises(ValueError, match="cirm needs an even number of outputs, got 3"):
        MaskNet(replace(SMALL, outputs=3), "cirm")
