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


@pytest.mark.parametrize("change", [{"gain_db": 100.0}, {"snr_db": (-100.0, 100.0)}])
def test_the_widest_ranges_keep_the_levels(clips: list[Clips], change: dict[str, Any]) -> None:
    parts = parts_of(clips, absent=0.5, **change)
    assert parts.isfinite().all()
    level = peaks(parts.sum(1))
    assert level.min() > -30.001 and level.max() < 0.001


@pytest.mark.parametrize("sounding", [1, 2])
def test_only_some_sound_at_once(clips: list[Clips], sounding: int) -> None:
    parts = parts_of(clips, 600, sounding=sounding)
    heard = ~(parts == 0).all(-1)  # [B, S]
    assert (heard.sum(1) == sounding).all()
    assert heard.float().mean(0).numpy() == pytest.approx(sounding / 3, abs=0.07)  # each in its turn
    some = ~(parts_of(clips, 600, sounding=sounding, absent=0.5) == 0).all(-1)
    assert (some.sum(1) >= 1).all() and (some.sum(1) <= sounding).all()
    assert torch.equal(parts_of(clips, sounding=3), parts_of(clips))


@pytest.mark.parametrize("absent", [0.0, 0.6])
def test_sources_that_are_apart_never_sound_at_once(clips: list[Clips], absent: float) -> None:
    plain = parts_of(clips, 600, absent=absent)
    parts = parts_of(clips, 600, absent=absent, apart=((0, 2),), level_db=(-12.0, -12.0))
    before, heard = ((some != 0).any(-1) for some in (plain, parts))  # [B, S]
    both = before[:, 0] & before[:, 2]
    assert both.any() and not (heard[:, 0] & heard[:, 2]).any()
    assert heard.any(1).all() and torch.equal(heard[:, 1], before[:, 1])
    assert torch.equal(heard[:, 0] | heard[:, 2], before[:, 0] | before[:, 2])  # one of the two is left
    assert float(heard[both, 0].float().mean()) == pytest.approx(0.5, abs=0.1)  # either, by chance
    assert peaks(parts.sum(1)).numpy() == pytest.approx(-12, abs=1e-3)
    # But for their level, the mixtures are those that are drawn without it, less the one that gave way.
    kept = torch.cosine_similarity(parts.flatten(1), (plain * heard[..., None]).flatten(1))
    assert kept.min() > 0.9999


@pytest.mark.parametrize("apart", [((0, 1), (1, 2)), ((0, 1), (1, 2), (0, 2))])
def test_of_several_pairs_that_are_apart_someone_always_sounds(
    clips: list[Clips], apart: tuple[tuple[int, int], ...]
) -> None:
    heard = (parts_of(clips, 400, apart=apart) != 0).any(-1)
    assert heard.any(1).all() and not any((heard[:, one] & heard[:, other]).any() for one, other in apart)
    assert heard.any(0).all()


def test_nobody_is_absent_unless_asked(clips: list[Clips]) -> None:
    assert not (parts_of(clips, 500, absent=0.0) == 0).all(-1).any()


def test_the_same_generator_gives_the_same_mixtures(clips: list[Clips]) -> None:
    mixing = Mixing(seconds=0.1, absent=0.3)
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
        ({"seconds": float("inf")}, "seconds must be above 0"),
        ({"gain_db": -1.0}, "gain_db in 0 to 100, got 2.0 and -1.0"),
        ({"gain_db": float("nan")}, "gain_db in 0 to 100, got 2.0 and nan"),
        ({"gain_db": 1e6}, "gain_db in 0 to 100"),
        ({"absent": 1.0}, r"absent must be in \[0, 1\), got 1.0"),
        ({"sounding": -1}, "sounding must be at least 0"),
        ({"sounding": 2, "snr_db": (0.0, 5.0)}, "0 with snr_db, got 2"),
        ({"snr_db": (5.0, -5.0)}, "snr_db must go from low to high, within 100 either way, got 5.0 to -5.0"),
        ({"snr_db": (0.0, float("nan"))}, "snr_db must go from low to high, .* got 0.0 to nan"),
        ({"snr_db": (0.0, 1e6)}, "snr_db must go from low to high, within 100 either way"),
        ({"level_db": (0.0, -30.0)}, "level_db must go from low to high, .* got 0.0 to -30.0"),
    ],
)
def test_wrong_settings(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Mixing(**change)
