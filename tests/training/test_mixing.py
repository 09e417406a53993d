"""Mixtures as they are promised: levels, ratios, silences, and the same again from the same generator."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from gansep.training.data import Augmentation, Clips
from gansep.training.mixing import Mixing, draw_parts

RATE = 8000
PLAIN = Augmentation(shift=False, again=0.0, speed=0.0, tilt_db=0.0)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def clips_of(wave: Tensor) -> Clips:
    scaled = (wave / wave.abs().max() * 32767).round().to(torch.int16)
    return Clips((scaled,), ((0, len(scaled)),), RATE, "", ())


@pytest.fixture(scope="module")
def clips() -> list[Clips]:
    """A tone, noise and a saw: peaks, powers and spectra that differ."""
    time = torch.arange(3 * RATE) / RATE
    waves = (500 * time * 6.2831853).sin(), torch.randn(len(time), generator=seeded(9)), (70 * time) % 1 - 0.5
    return [clips_of(wave) for wave in waves]


def parts_of(clips: list[Clips], count: int = 200, seed: int = 0, **changes: Any) -> Tensor:
    settings: dict[str, Any] = {"seconds": 0.1, "absent": 0.0} | changes
    return draw_parts(clips, count, Mixing(**settings), seeded(seed), PLAIN)


def peaks(waves: Tensor) -> Tensor:
    """In dB of full scale."""
    return 20 * waves.abs().amax(-1).log10()


def powers(waves: Tensor) -> Tensor:
    """In dB."""
    return 10 * waves.double().square().mean(-1).log10()


@pytest.mark.parametrize("sources", [1, 2, 3])
def test_parts_are_of_their_sources(clips: list[Clips], sources: int) -> None:
    parts = parts_of(clips[:sources], 20, seconds=0.5)
    assert parts.shape == (20, sources, 4000)
    spectra = torch.fft.rfft(parts * torch.hann_window(4000)).abs()
    assert (spectra[:, 0].argmax(-1) == 250).all()  # 500 Hz, at 2 Hz a bin
    if sources == 3:
        assert (spectra[:, 2].argmax(-1) == 35).all()
        flatness = spectra.clamp_min(1e-9).log().mean(-1).exp() / spectra.mean(-1)
        assert (flatness[:, 1] > 0.7).all() and (flatness[:, [0, 2]] < 0.5).all()


def test_the_sum_s_peak_is_within_the_levels(clips: list[Clips]) -> None:
    level = peaks(parts_of(clips, level_db=(-40.0, -10.0)).sum(1))
    assert level.min() > -40.001 and level.max() < -9.999
    assert torch.histc(level, 3, -40, -10).min() > 40  # all levels alike
    assert peaks(parts_of(clips, level_db=(-12.0, -12.0)).sum(1)).numpy() == pytest.approx(-12, abs=1e-3)
    assert peaks(parts_of(clips).sum(1)).max() <= 1e-3  # full scale is never left


def test_gains_move_the_peaks_either_way(clips: list[Clips]) -> None:
    level = peaks(parts_of(clips, 400, gain_db=6.0))
    apart = level[:, 0] - level[:, 1]
    assert 9 < apart.max() <= 12.001 and -12.001 <= apart.min() < -9  # one up, the other down
    assert abs(float(apart.mean())) < 0.7
    assert float(apart.std()) == pytest.approx(12 / 6**0.5, rel=0.1)  # of a difference of two uniform ones
    even = peaks(parts_of(clips, gain_db=0.0))
    torch.testing.assert_close(even, even[:, :1].expand_as(even), atol=1e-3, rtol=0)


def test_ratios_of_power_are_within_their_range(clips: list[Clips]) -> None:
    level = powers(parts_of(clips, 400, snr_db=(-5.0, 10.0)))
    for other in (1, 2):
        ratio = level[:, 0] - level[:, other]
        assert -5.001 < ratio.min() < -4 and 9 < ratio.max() < 10.001
        assert torch.histc(ratio.float(), 3, -5, 10).min() > 90  # all ratios alike
    assert (level[:, 1] - level[:, 2]).abs().max() > 3  # each its own


@pytest.mark.parametrize("snr", [-20.0, 0.0, 7.5])
@pytest.mark.parametrize("sources", [2, 3])
def test_one_ratio_is_met(clips: list[Clips], snr: float, sources: int) -> None:
    level = powers(parts_of(clips[:sources], 50, snr_db=(snr, snr)))
    assert (level[:, :1] - level[:, 1:]).numpy() == pytest.approx(snr, abs=1e-3)


@pytest.mark.parametrize("snr", [None, (-5.0, 5.0)])
@pytest.mark.parametrize("sources", [2, 3])
def test_absent_sources_are_silent_and_never_all_of_them(
    clips: list[Clips], sources: int, snr: tuple[float, float] | None
) -> None:
    parts = parts_of(clips[:sources], 1000, absent=0.4, snr_db=snr, level_db=(-12.0, -12.0))
    silent = (parts == 0).all(-1)  # [B, S]
    assert not silent.all(1).any()
    assert peaks(parts.sum(1)).numpy() == pytest.approx(-12, abs=1e-3)  # whoever sounds
    # A source is silent if the dice say so and it is not the one that sounds anyway.
    expected = 0.4 * (1 - 1 / sources)
    for source in range(sources):
        assert float(silent[:, source].float().mean()) == pytest.approx(expected, abs=0.05)
    assert parts[~silent].abs().amax(-1).min() > 1e-3


def test_nearly_always_absent_leaves_one(clips: list[Clips]) -> None:
    silent = (parts_of(clips, 300, absent=0.999) == 0).all(-1)
    assert (silent.sum(1) == 2).float().mean() > 0.98
    assert ((~silent).sum(0) > 60).all()  # each in its turn


def test_nobody_is_absent_unless_asked(clips: list[Clips]) -> None:
    assert not (parts_of(clips, 500, absent=0.0) == 0).all(-1).any()


def test_some_are_coloured_noise_but_never_the_first(clips: list[Clips]) -> None:
    parts = parts_of(clips, 300, seconds=0.2, gain_db=0.0, coloured=0.3)
    spectra = torch.fft.rfft(parts * torch.hann_window(parts.shape[-1])).abs()
    loudest = spectra.amax(-1) / spectra.norm(dim=-1)
    assert (loudest[:, 0] > 0.5).all()  # a tone is nearly all in one place
    saw = spectra.argmax(-1)[:, 2] == 14  # 70 Hz, at 5 Hz a bin
    assert float((~saw).float().mean()) == pytest.approx(0.3, abs=0.1)
    torch.testing.assert_close(peaks(parts), peaks(parts[:, :1]).expand(-1, 3), atol=1e-3, rtol=0)


def test_some_are_two_sounds_at_once_but_never_the_first() -> None:
    time = torch.arange(RATE) / RATE
    low, high = ((step * time * 6.2831853).sin() for step in (300, 900))
    tones = Clips(
        tuple((wave * 32767).round().to(torch.int16) for wave in (low, high)), ((0, RATE), (0, RATE)), RATE, "", ()
    )
    parts = parts_of([tones, tones], 300, gain_db=0.0, doubled=0.4)
    spectra = torch.fft.rfft(parts * torch.hann_window(parts.shape[-1])).abs()  # 10 Hz a bin
    apart = 20 * (spectra[..., 30] / spectra[..., 90]).log10().abs()  # dB between the two tones
    assert (apart[:, 0] > 40).all()
    both = apart[:, 1] < 12.1
    assert float(both.float().mean()) == pytest.approx(0.2, abs=0.07)  # half of the second ones are the same tone
    assert (apart[~both, 1] > 40).all() and apart[both, 1].max() > 9


def test_the_same_generator_gives_the_same_mixtures(clips: list[Clips]) -> None:
    mixing = Mixing(seconds=0.1, absent=0.3, doubled=0.3, coloured=0.3)
    draws = [draw_parts(clips, 8, mixing, seeded(seed), Augmentation()) for seed in (4, 4, 5)]
    assert torch.equal(draws[0], draws[1]) and not torch.equal(draws[0], draws[2])
    random = seeded(4)
    first, second = (draw_parts(clips, 8, mixing, random, Augmentation()) for _ in range(2))
    assert torch.equal(first, draws[0]) and not torch.equal(first, second)
    state = torch.get_rng_state()
    draw_parts(clips, 8, mixing, seeded(4), Augmentation())
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"seconds": 0.0}, r"seconds must be above 0 .* got 0.0 and 9.0"),
        ({"seconds": float("nan")}, "seconds must be above 0"),
        ({"gain_db": -1.0}, "gain_db at least 0"),
        ({"absent": 1.0}, r"absent must be in \[0, 1\), got 1.0"),
        ({"doubled": -0.1}, r"doubled must be in \[0, 1\), got -0.1"),
        ({"coloured": 1.5}, r"coloured must be in \[0, 1\), got 1.5"),
        ({"snr_db": (5.0, -5.0)}, "snr_db must go from low to high, got 5.0 to -5.0"),
        ({"level_db": (0.0, -30.0)}, "level_db must go from low to high, got 0.0 to -30.0"),
    ],
)
def test_wrong_settings(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Mixing(**change)
