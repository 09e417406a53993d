"""Masks: known shares and exact sums, identities between ideal masks, gradients, no crash where nothing sounds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile
import torch
from torch import Tensor

from gansep.dsp.masks import (
    apply_mask,
    cirm,
    compress,
    crm,
    decompress,
    expected_energy,
    iam,
    ibm,
    irm,
    orm,
    psm,
    wiener,
)
from gansep.dsp.stft import istft, stft

CLIPS = ("digits", "drums", "piano")


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


def test_expected_energy_is_what_happens_on_average() -> None:
    """Every point's owner is drawn by the masks, many times; what masking leaves, and what it then gets wrong."""
    masks = (2 * noise(2, 3, 5, 7)).softmax(1)
    spec = torch.complex(noise(2, 5, 7, seed=1), noise(2, 5, 7, seed=2))
    owners = torch.multinomial(
        masks.movedim(1, -1).reshape(-1, 3), 4000, True, generator=torch.Generator().manual_seed(0)
    )
    own = torch.nn.functional.one_hot(owners, 3).view(2, 5, 7, 4000, 3).permute(3, 0, 4, 1, 2)  # [4000, 2, 3, 5, 7]
    truth, found = own * spec[:, None], apply_mask(masks, spec)
    energy, error = expected_energy(masks, spec)
    torch.testing.assert_close(found.abs().square().sum((-2, -1)), energy)
    torch.testing.assert_close((found - truth).abs().square().sum((-2, -1)).mean(0), error, rtol=0.02, atol=0)
    torch.testing.assert_close((energy + error).sum(1), spec.abs().square().sum((1, 2)))
    sure = expected_energy(own[0].double(), spec)[1]
    assert torch.equal(sure, torch.zeros_like(sure))


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


def clips() -> Tensor:
    """Real recordings. ``[S, T]``"""
    folder = Path(__file__).parent.parent / "clips"
    return torch.stack([torch.from_numpy(soundfile.read(folder / f"{name}.flac")[0]) for name in CLIPS])


def real_pair(own: int = 0) -> tuple[Tensor, Tensor]:
    """A clip's spectrogram and that of the others' sum, ``[F, N]`` each, in float64."""
    spectra = stft(clips())
    return spectra[own], spectra.sum(0) - spectra[own]


def random_pair(*shape: int) -> tuple[Tensor, Tensor]:
    return tuple(torch.complex(noise(*shape, seed=i), noise(*shape, seed=i + 1)) for i in (1, 3))


def point(*values: complex) -> Tensor:
    """``[1, N]``: one bin, a frame each."""
    return torch.tensor([values], dtype=torch.complex128)


IDEAL = (ibm, irm, iam, psm, cirm, orm)
DIFFERENTIABLE = (irm, iam, psm, cirm, orm)


def test_binary_masks_are_comparisons_of_magnitudes_thresholds_and_decibels() -> None:
    source, rest = point(1, 2j, 3, 4), point(2, -2, 2j, 1)  # -6, 0, 3.5 and 12 dB
    assert ibm(source, rest).tolist() == [[0, 1, 1, 1]]
    assert ibm(source, rest, theta=0.5).tolist() == [[1, 1, 1, 1]]
    assert ibm(source, rest, theta=0.5, exponent=2.0).tolist() == [[0, 1, 1, 1]]
    assert ibm(source, rest, criterion=-7.0).tolist() == [[1, 1, 1, 1]]
    assert ibm(source, rest, criterion=3.0).tolist() == [[0, 0, 1, 1]]
    assert ibm(source, rest, criterion=4.0).tolist() == [[0, 0, 0, 1]]
    assert ibm(source, rest, criterion=3.0, context=1).tolist() == [[0, 1]]


def test_the_forms_of_the_binary_mask_agree_on_real_sound() -> None:
    source, rest = real_pair()
    plain = ibm(source, rest)
    assert 0.05 < plain.mean() < 0.95
    assert ibm(source, rest, criterion=0.0).equal(plain)
    assert ibm(source, rest, theta=1.0, exponent=2.0).ne(plain).sum() <= 1  # but for rounding
    decibels = 20 * (source.abs() / rest.abs()).log10()
    assert ibm(source, rest, criterion=6.0)[decibels.isfinite()].equal((decibels >= 6).double()[decibels.isfinite()])


@pytest.mark.parametrize("own", range(3))
def test_ratio_masks_stay_in_range_on_real_sound(own: int) -> None:
    source, rest = real_pair(own)
    for mask in (irm(source, rest), irm(source, rest, 1.0), iam(source, rest, clip=True), psm(source, rest, True)):
        assert mask.min() >= 0 and mask.max() <= 1
    assert iam(source, rest).max() > 1 and psm(source, rest).min() < 0  # what clipping is for
    assert orm(source, rest, compressed=True).abs().max() <= 10
    assert crm(50 * source).abs().max() < 1 + 1e-9


def test_the_squared_ratio_mask_of_two_sources_is_the_wiener_filter() -> None:
    source, rest = real_pair()
    power = torch.stack([source, rest]).abs().square()
    torch.testing.assert_close(irm(source, rest).square(), wiener(power, floor=1e-30)[0])
    torch.testing.assert_close(irm(source, rest, 1.0), wiener(power, floor=1e-30)[0])


def test_the_optimal_ratio_mask_is_the_phase_sensitive_one() -> None:
    for source, rest in (real_pair(), random_pair(3, 5, 7)):
        torch.testing.assert_close(orm(source, rest), psm(source, rest), atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(orm(source, rest, compressed=True), compress(psm(source, rest)), atol=1e-4, rtol=0)


def test_the_phase_sensitive_mask_is_the_amplitude_mask_times_a_cosine_and_the_best_of_real_masks() -> None:
    source, rest = random_pair(3, 5, 7)
    mixture = source + rest
    expected = iam(source, rest) * (source.angle() - mixture.angle()).cos()
    torch.testing.assert_close(psm(source, rest), expected)
    error = (psm(source, rest) * mixture - source).abs()
    for off in (-0.01, 0.01):
        assert (error < ((psm(source, rest) + off) * mixture - source).abs()).all()


@pytest.mark.parametrize("own", range(3))
def test_the_complex_mask_gives_the_source_back(own: int) -> None:
    source, rest = real_pair(own)
    estimate = apply_mask(cirm(source, rest)[None], source + rest)
    torch.testing.assert_close(istft(estimate, 16384)[0], clips()[own])
    torch.testing.assert_close(cirm(source, rest) + cirm(rest, source), torch.ones_like(source))


def test_compression_is_the_published_curve_and_comes_back() -> None:
    x = torch.linspace(-80, 80, 321, dtype=torch.float64)
    published = 10 * (1 - (-0.1 * x).exp()) / (1 + (-0.1 * x).exp())
    torch.testing.assert_close(compress(x), published)
    torch.testing.assert_close(decompress(published), x)
    torch.testing.assert_close(decompress(compress(x, 2.0, 0.05), 2.0, 0.05), x)
    both = torch.complex(x, x.flip(0) / 3)
    torch.testing.assert_close(compress(both).imag, compress(x.flip(0) / 3))
    torch.testing.assert_close(decompress(compress(both)), both)
    mask = cirm(*real_pair())
    near = mask.abs() < 80
    torch.testing.assert_close(decompress(compress(mask))[near], mask[near])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_decompression_is_finite_at_and_past_the_bound(dtype: torch.dtype) -> None:
    bound = decompress(torch.tensor([-11.0, -10.0, 10.0, 1e9], dtype=dtype))
    assert bound.isfinite().all() and bound[0] == bound[1] == -bound[2] == -bound[3] and bound[2] > 100


def test_a_bounded_mask_keeps_the_phase() -> None:
    output = torch.complex(10 * noise(5, 7), 10 * noise(5, 7, seed=1))
    bounded = crm(output)
    torch.testing.assert_close(bounded.abs(), output.abs().tanh())
    torch.testing.assert_close(bounded.angle(), output.angle())
    torch.testing.assert_close(crm(1e-5 * output), 1e-5 * output)
    assert crm(torch.zeros(3, dtype=torch.complex64)).equal(torch.zeros(3, dtype=torch.complex64))


@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
def test_masks_and_their_gradients_are_finite_in_silence_and_where_sources_cancel(dtype: torch.dtype) -> None:
    source = torch.tensor([[0, 0, 1, 1, 1e-30, 1, 3e-39, 1j]], dtype=dtype, requires_grad=True)
    rest = torch.tensor([[0, 1, 0, -1, 0, -1 + 1e-7, 0, -1j]], dtype=dtype, requires_grad=True)
    for mask in IDEAL:
        values = mask(source, rest)
        assert values.isfinite().all(), mask
        if mask in DIFFERENTIABLE:
            for gradient in torch.autograd.grad(values.abs().sum(), (source, rest)):
                assert gradient.isfinite().all(), mask
    assert cirm(source, rest)[0, [0, 3, 7]].abs().max() == 0
    assert all(mask(source, rest)[0, 2].real == 1 for mask in IDEAL)  # nothing but the source


@pytest.mark.parametrize("mask", DIFFERENTIABLE)
def test_gradients_of_ideal_masks(mask: Callable[..., Tensor]) -> None:
    pair = [part.requires_grad_() for part in random_pair(2, 3, 4)]
    assert torch.autograd.gradcheck(mask, pair)


def test_gradients_of_bounded_and_compressed_masks() -> None:
    output = random_pair(3, 4)[0].requires_grad_()
    for function in (crm, compress, decompress):
        assert torch.autograd.gradcheck(function, (output,))
    silent = torch.zeros(3, dtype=torch.complex128, requires_grad=True)
    crm(silent).real.sum().backward()
    assert silent.grad is not None and silent.grad.equal(torch.ones_like(silent))


@pytest.mark.parametrize("mask", IDEAL)
def test_ideal_masks_refuse_other_shapes_and_real_spectrograms(mask: Callable[..., Tensor]) -> None:
    source, rest = random_pair(5, 7)
    with pytest.raises(ValueError, match=r"one shape \[\.\.\., F, N\], got .* \[5, 7\] and .* \[5, 6\]"):
        mask(source, rest[:, 1:])
    with pytest.raises(ValueError, match=r"two complex spectrograms .* got torch.float64"):
        mask(source.abs(), rest)


def test_settings_that_make_no_sense_are_refused() -> None:
    source, rest = random_pair(5, 7)
    with pytest.raises(ValueError, match="got both"):
        ibm(source, rest, theta=0.5, criterion=3.0)
    with pytest.raises(ValueError, match="leaves some of 7 frames, got 4"):
        ibm(source, rest, context=4)
    with pytest.raises(ValueError, match="expected a complex output"):
        crm(source.abs())
