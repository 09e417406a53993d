"""Folders to clips to windows: every file read or named, every window loud, every draw repeatable."""

from __future__ import annotations

import hashlib
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from gansep.audio import write
from gansep.training.data import Augmentation, Clips, coloured_noise, draw, excerpts, load_clips, noise_clips
from gansep.types import DataError

RATE, SEGMENT = 8000, 4096
PLAIN = Augmentation(shift=False, again=0.0, speed=0.0, tilt_db=0.0)
SHIFTED = replace(PLAIN, shift=True)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def tone(seconds: float, rate: int = RATE, channels: int = 1, frequency: float = 440.0) -> Tensor:
    time = torch.arange(round(seconds * rate)) / rate
    return 0.3 * torch.sin(2 * math.pi * frequency * time).repeat(channels, 1)


def clips_of(*waves: Tensor) -> Clips:
    """Clips as :func:`load_clips` makes them of files at their own rate."""
    scaled = [(wave / wave.abs().max() * 32767).round().to(torch.int16) for wave in waves]
    active = []
    for wave in scaled:
        loud = (wave.abs() > 32767 * 10 ** (-50 / 20)).nonzero()
        active.append((int(loud[0]), int(loud[-1]) + 1))
    return Clips(tuple(scaled), tuple(active), RATE, "", ())


# Loading


def test_files_of_all_kinds_in_nested_folders(tmp_path: Path) -> None:
    for name, rate, channels in [("a.wav", 44_100, 2), ("x/b.flac", 16_000, 1), ("x/y/c.wav", RATE, 3)]:
        write(tmp_path / name, tone(2, rate, channels), rate)
    write(tmp_path / "x" / "silent.wav", torch.zeros(1, 9000), RATE)
    (tmp_path / "broken.wav").write_text("no sound")
    (tmp_path / "notes.txt").write_text("not tried")
    clips = load_clips([tmp_path], RATE)
    assert [len(wave) for wave in clips.waves] == [2 * RATE] * 3 and clips.seconds == 6
    assert clips.sample_rate == RATE
    skipped = {Path(line.split(": ")[0]).name: line for line in clips.skipped}
    assert set(skipped) == {"silent.wav", "broken.wav"}
    assert skipped["silent.wav"].endswith(": silent") and not any("\n" in line for line in clips.skipped)
    expected = tone(2)[0] / 0.3 * 32767
    for wave in clips.waves:
        assert wave.dtype == torch.int16 and wave.abs().max() == 32767  # each at full scale, whatever its level
        assert (wave[800:-800].float() - expected[800:-800]).abs().max() < 0.005 * 32767


def test_channels_that_cancel_are_heard(tmp_path: Path) -> None:
    write(tmp_path / "wide.wav", torch.cat([tone(6), -0.99 * tone(6)]), RATE)
    (wave,) = load_clips([tmp_path], RATE).waves
    assert (wave.float() - tone(6)[0] / 0.3 * 32767).abs().max() < 0.001 * 32767


def test_active_is_where_the_sound_is(tmp_path: Path) -> None:
    wave = torch.zeros(1, 6 * RATE)
    wave[:, 10_000:20_000] = 0.5
    wave[:, 30_000:] = 0.5 * 10 ** (-60 / 20)  # too faint to count
    write(tmp_path / "a.wav", wave, RATE)
    assert load_clips([tmp_path / "a.wav"], RATE).active == ((10_000, 20_000),)


def test_the_hash_is_that_of_names_and_samples(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        write(tmp_path / folder / "x.wav", tone(6), RATE)
    first, second = load_clips([tmp_path / "a"], RATE).sha256, load_clips([tmp_path / "b"], RATE).sha256
    assert first == second and len(first) == 64  # wherever the folder lies
    (tmp_path / "b" / "x.wav").rename(tmp_path / "b" / "y.wav")
    renamed = load_clips([tmp_path / "b"], RATE).sha256
    wave = tone(6)
    wave[0, 100] += 0.01
    write(tmp_path / "a" / "x.wav", wave, RATE)
    changed = load_clips([tmp_path / "a"], RATE).sha256
    assert len({first, renamed, changed}) == 3


def test_what_cannot_be_used_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    write(tmp_path / "short" / "a.wav", tone(2), RATE)
    write(tmp_path / "short" / "b.wav", torch.zeros(1, 9 * RATE), RATE)
    for path, message in (
        (tmp_path / "nowhere", "no such file or folder"),
        (tmp_path / "empty", "no audio files in"),
        (tmp_path / "short", r"only 2\.0 s of usable sound in 1 files; at least 5 s are needed"),
    ):
        with pytest.raises(DataError, match=message) as error:
            load_clips([path], RATE)
        assert "\n" not in str(error.value) and str(path) in str(error.value)


def test_joined_clips_are_those_of_all_in_their_order() -> None:
    first = replace(clips_of(tone(2)[0], torch.cat([torch.zeros(500), tone(1)[0]])), sha256="1", skipped=("a: silent",))
    second = replace(clips_of(tone(4, frequency=3_000)[0]), sha256="2", skipped=("b: broken", "c: silent"))
    both = Clips.joined([first, second])
    assert [len(wave) for wave in both.waves] == [16_000, 8_500, 32_000] and both.seconds == 7.0625
    assert all(map(torch.equal, both.waves, (*first.waves, *second.waves)))
    assert both.active == (*first.active, *second.active) and both.active[1][0] >= 500
    assert (both.sample_rate, both.skipped) == (RATE, ("a: silent", "b: broken", "c: silent"))
    assert both.sha256 == hashlib.sha256(b"12").hexdigest() != Clips.joined([second, first]).sha256


# Excerpts


def loud_ones() -> Clips:
    """Noise without a quiet sample, 10, 1, 4, 1 and 10 s of it, each amid silence of its own length."""
    seconds = (10, 1, 4, 1, 10)
    waves = [0.5 + 0.5 * torch.rand(size * RATE, generator=seeded(number)) for number, size in enumerate(seconds)]
    return clips_of(*(torch.cat([0 * wave, wave, 0 * wave]) for wave in waves))


def holds(whole: Tensor, part: Tensor) -> bool:
    starts = (whole[: len(whole) - len(part) + 1] == part[0]).nonzero()[:, 0].tolist()
    return any(torch.equal(whole[start : start + len(part)], part) for start in starts)


@pytest.mark.parametrize("seconds", [3.5, 8.0, 100.0])
def test_excerpts_are_parts_of_recordings_until_there_are_enough(seconds: float) -> None:
    clips = loud_ones()
    waves = excerpts(clips, seconds, longest=3.0)
    whole = min(seconds, 26)
    assert whole - 3 < sum(map(len, waves)) / RATE <= whole
    numbers = [[holds(one, (wave * 32767).round()) for one in clips.waves].index(True) for wave in waves]
    assert numbers == sorted(numbers) and all(len(wave) <= 3 * RATE for wave in waves)
    assert all(map(torch.equal, waves, excerpts(loud_ones(), seconds, longest=3.0)))
    if seconds == 100:
        sounding = [wave[len(wave) // 3 : len(wave) // 3 * 2] for wave in clips.waves]
        assert torch.equal(torch.cat(waves), torch.cat(sounding).float() / 32767)


def test_no_excerpt_is_a_pause() -> None:
    """Of a recording with 18 of its 20 seconds silent."""
    sound = torch.rand(RATE, generator=seeded()) + 0.5
    waves = excerpts(clips_of(torch.cat([sound, torch.zeros(18 * RATE), sound])), 90.0)
    assert len(waves) == 2 and all(wave.abs().max() > 0.3 for wave in waves)


def test_no_seconds_no_excerpts() -> None:
    assert excerpts(loud_ones(), 0.0) == []


# Drawing


def two_noises() -> Clips:
    return clips_of(torch.randn(30_000, generator=seeded(1)), torch.randn(3_000, generator=seeded(2)))


@pytest.mark.parametrize("augment", [Augmentation(), PLAIN, SHIFTED])
def test_windows_have_their_peak_at_one_and_repeat_with_their_seed(augment: Augmentation) -> None:
    windows = draw(two_noises(), 20, SEGMENT, seeded(), augment)
    assert windows.shape == (20, SEGMENT)
    assert torch.allclose(windows.abs().amax(-1), torch.ones(20))
    assert torch.equal(windows, draw(two_noises(), 20, SEGMENT, seeded(), augment))
    assert not torch.equal(windows, draw(two_noises(), 20, SEGMENT, seeded(1), augment))


def test_no_window_is_silent_although_most_of_the_file_is() -> None:
    wave = torch.zeros(200 * SEGMENT)
    wave[100 * SEGMENT : 100 * SEGMENT + 500] = 1
    for augment in (Augmentation(), PLAIN):
        windows = draw(clips_of(wave), 20, SEGMENT, seeded(), augment)
        assert torch.allclose(windows.abs().amax(-1), torch.ones(20))


def test_shift_moves_onsets_over_the_window() -> None:
    wave = torch.zeros(2_000)
    wave[700:720] = 1.0

    def onsets(augment: Augmentation) -> Tensor:
        return (draw(clips_of(wave), 200, SEGMENT, seeded(), augment) > 0.5).int().argmax(-1)

    assert (onsets(PLAIN) == 700).all()  # as the file has it
    moved = onsets(SHIFTED).float()
    assert torch.histc(moved, 9, 0, 0.9 * SEGMENT).min() >= 10  # every ninth of the first 90 % has its share
    assert moved.max() <= 0.9 * SEGMENT


def test_a_shifted_window_may_hold_only_the_end_of_a_sound() -> None:
    wave = torch.linspace(0.2, 1, 4_000)  # its level tells how much of it has passed
    windows = draw(clips_of(wave), 200, SEGMENT, seeded(), SHIFTED)
    begun_before = windows[:, 0] > 0.25 * windows.amax(-1)
    assert 20 < int(begun_before.sum()) < 100


def test_a_second_sound_may_follow() -> None:
    wave = torch.zeros(400)
    wave[:10] = 1.0

    def sounds(again: float) -> Tensor:
        windows = draw(clips_of(wave), 100, SEGMENT, seeded(), replace(SHIFTED, again=again)) > 0.2
        return (windows[:, 1:] & ~windows[:, :-1]).sum(-1) + windows[:, 0]

    assert (sounds(0.0) == 1).all()
    assert (sounds(1.0) == 2).float().mean() > 0.5  # some run out of the window


def test_long_files_are_cropped_anywhere_as_they_are() -> None:
    wave = torch.arange(1.0, 32_768.0)  # a step of 16 bits a sample
    windows = draw(clips_of(wave), 100, SEGMENT, seeded(), SHIFTED)
    last = (SEGMENT - 1) / (1 - windows[:, 0])  # a ramp tells where it was cut from
    start = last - SEGMENT
    assert start.min() < 3_000 and start.max() > 0.85 * (32_767 - SEGMENT)
    steps = windows.diff(dim=-1) * last[:, None]
    assert (steps - 1).abs().max() < 0.01


def test_speed_changes_the_pitch_both_ways_and_by_no_more() -> None:
    clips = clips_of(tone(4)[0])

    def pitches(octaves: float) -> Tensor:
        windows = draw(clips, 200, SEGMENT, seeded(), replace(PLAIN, speed=octaves))
        spectrum = torch.fft.rfft(windows * torch.hann_window(SEGMENT), 8 * SEGMENT).abs()
        return (spectrum.argmax(-1) * RATE / (8 * SEGMENT) / 440).log2()

    assert pitches(0.0).abs().max() < 0.01
    bent = pitches(0.5)
    assert bent.max() < 0.51 and bent.min() > -0.51 and bent.max() > 0.4 and bent.min() < -0.4
    assert 0.35 < (bent.abs() < 0.01).float().mean() < 0.65  # half of them


def test_the_equaliser_stays_within_its_decibels() -> None:
    clips = clips_of(tone(4, frequency=300)[0] + tone(4, frequency=3_000)[0])
    windows = draw(clips, 200, SEGMENT, seeded(), replace(PLAIN, tilt_db=6.0))
    spectrum = torch.fft.rfft(windows * torch.hann_window(SEGMENT)).abs()
    at = [round(frequency * SEGMENT / RATE) for frequency in (300, 3_000)]
    low, high = (spectrum[:, k - 3 : k + 4].amax(-1) for k in at)
    balance = 20 * (high / low).log10()
    assert 8 < balance.abs().max() < 12.5 and abs(float(balance.mean())) < 1  # +6 dB here, -6 dB there at most


def click() -> Clips:
    """One sample at full scale, amid silence."""
    wave = torch.zeros(2_000)
    wave[700] = 1.0
    return clips_of(wave)


def test_a_room_lets_a_sound_fade_by_60_db_in_a_tenth_of_a_second_to_one() -> None:
    windows = draw(click(), 100, SEGMENT, seeded(), replace(PLAIN, room=1.0))
    assert windows[:, :700].abs().max() < 1e-5 and torch.equal(windows[:, 700], torch.ones(100))
    after = windows[:, 701:]
    assert after[:, : RATE // 200 - 1].abs().max() < 1e-5  # the first walls are 5 ms off
    energy = after.square().sum(1)  # of the click's, which is 1
    assert energy.min() > 0.005 and energy.max() < 1.01 and energy.log10().std() > 0.4
    blocks = after[:, 40:840].unflatten(1, (2, 400)).square().sum(2).log10()  # two times 50 ms
    slope = 10 * blocks.diff(dim=1)[:, 0] / 0.05  # dB a second
    assert -660 < slope.min() < -300 and -100 < slope.max() < -40


def test_rooms_leave_the_other_draws_as_they_were() -> None:
    assert Augmentation().room == 0
    dry, some = (draw(two_noises(), 200, SEGMENT, seeded(), replace(SHIFTED, room=room)) for room in (0.0, 0.5))
    same = (dry == some).all(1)
    assert 0.4 < float(same.float().mean()) < 0.6


# What else sounds


def slopes(noise: Tensor) -> Tensor:
    """Decibels an octave, by a straight line through the mean power of each octave."""
    power = torch.fft.rfft(noise).abs().square()
    octaves = [power[:, 2**k : 2 ** (k + 1)].mean(-1) for k in range(3, 12)]
    decibels = 10 * torch.stack(octaves, 1).log10()
    x = torch.arange(9.0) - 4
    return (decibels * x).sum(1) / x.square().sum()


def test_coloured_noise_falls_by_0_to_9_db_an_octave() -> None:
    noise = coloured_noise(400, 8192, seeded())
    assert noise.shape == (400, 8192)
    assert torch.allclose(noise.abs().amax(-1), torch.ones(400))
    slope = slopes(noise)
    assert slope.max() < 0.6 and slope.min() > -9.6
    assert torch.histc(slope, 3, -9, 0).min() > 100  # all slopes alike
    assert torch.equal(noise, coloured_noise(400, 8192, seeded()))


def test_a_minute_of_noise_stands_for_recordings() -> None:
    clips = noise_clips(RATE)
    assert (clips.seconds, clips.sample_rate) == (60, RATE)
    assert all(map(torch.equal, clips.waves, noise_clips(RATE).waves))
    slope = slopes(torch.stack([wave[:8192].float() for wave in clips.waves]))
    assert slope.min() < -6 and slope.max() > -3
    windows = draw(clips, 20, SEGMENT, seeded(), Augmentation())
    assert torch.allclose(windows.abs().amax(-1), torch.ones(20))
