"""The pipeline with separators whose answer is known: sums, order, shared batches, errors of one track alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from gansep.dsp.frames import split
from gansep.pipeline import Settings, Track, listen, segment_and_hop, separate_tracks
from gansep.refine import Refinement
from gansep.types import AudioError, Estimates, Separator

RATE, SEGMENT = 16_000, 2_048


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def tone(frequency: float, rate: int, frames: int) -> Tensor:
    return torch.sin(2 * math.pi * frequency * torch.arange(frames, dtype=torch.float64) / rate).float()


@dataclass
class Bands:
    """Takes low and high frequencies apart, exactly: its estimates sum to what it heard."""

    cutoff: float = 1_000.0
    segment: int | None = SEGMENT
    sample_rate: int = RATE
    sources: tuple[str, ...] = ("low", "high")
    refinement: Refinement | None = None
    heard: list[Tensor] = field(default_factory=list)

    def __call__(self, mixture: Tensor) -> Estimates:
        self.heard.append(mixture.clone())
        spectrum = torch.fft.rfft(mixture)
        keep = torch.arange(spectrum.shape[-1]) * self.sample_rate / mixture.shape[-1] < self.cutoff
        low = torch.fft.irfft(spectrum * keep, n=mixture.shape[-1])
        level = mixture.square().mean(-1)
        return Estimates(torch.stack([low, mixture - low], 1), self.sources, {"level": level})


@dataclass
class Nothing(Bands):
    """Gives everything to the first of two sources."""

    def __call__(self, mixture: Tensor) -> Estimates:
        self.heard.append(mixture.clone())
        return Estimates(torch.stack([mixture, torch.zeros_like(mixture)], 1), self.sources)


@dataclass
class Result:
    """A track of a waveform ``[C, T]`` and what came out of it."""

    wave: Tensor
    rate: int = RATE
    name: str = ""
    blocks: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    told: list[Estimates] = field(default_factory=list)

    def track(self, windows: Callable[[int, int], Iterator[Tensor]] | None = None) -> Track:
        def sink(stems: Tensor, mixture: Tensor) -> None:
            self.blocks.append((stems, mixture))

        return Track(
            windows or (lambda segment, hop: iter(split(self.wave, segment, hop))),
            self.rate,
            self.wave.shape[-1],
            sink,
            on_estimates=lambda _, estimates: self.told.append(estimates),
            on_error=lambda error: self.errors.append(str(error)),
        )

    @property
    def stems(self) -> Tensor:
        return torch.cat([stems for stems, _ in self.blocks], -1)  # [S, C, T]

    @property
    def mixture(self) -> Tensor:
        return torch.cat([mixture for _, mixture in self.blocks], -1)  # [C, T]


def separate(results: list[Result], separator: Separator, how: Settings = Settings()) -> None:
    separate_tracks((result.track() for result in results), separator, how)


# Sums


@given(
    frames=st.one_of(st.sampled_from([1, 2, 2_047, 2_048, 2_049]), st.integers(1, 12_000)),
    channels=st.integers(1, 3),
    rate=st.sampled_from([8_000, 16_000, 22_050, 44_100]),
    overlap=st.sampled_from([0.0, 0.25, 0.5, 0.8]),
)
@settings(max_examples=25, deadline=None)
def test_stems_sum_to_the_mixture_whatever_the_length(frames: int, channels: int, rate: int, overlap: float) -> None:
    result = Result(noise(channels, frames), rate)
    separate([result], Bands(), Settings(overlap, batch=5))
    assert result.stems.shape == (2, channels, frames)
    assert (result.mixture - result.wave).abs().max() < 1e-5
    assert (result.stems.sum(0) - result.wave).abs().max() < 1e-4


def test_bands_come_apart_and_keep_their_place() -> None:
    rate = 44_100
    low, high = tone(300, rate, 50_001), tone(4_000, rate, 50_001)
    result = Result(torch.stack([low + 0.5 * high, 0.2 * low + high]), rate)
    separate([result], Bands())
    expected = torch.stack([torch.stack([low, 0.2 * low]), torch.stack([0.5 * high, high])])
    assert (result.stems - expected)[..., 2_000:-2_000].abs().max() < 0.05


@dataclass
class Shares(Bands):
    """Gives each source of a known recording what an unsure mask would: most of its own, and some of the other's."""

    parts: Tensor = field(default_factory=lambda: torch.zeros(2, 1))  # [S, T], mono
    segment: int | None = None

    def __call__(self, mixture: Tensor) -> Estimates:
        at = sum(map(len, self.heard))
        self.heard.extend(mixture.split(1))
        hop = mixture.shape[-1] // 2
        waves = [self.parts[:, (at + row) * hop :][:, : mixture.shape[-1]] for row in range(len(mixture))]
        waves = [torch.nn.functional.pad(wave, (0, mixture.shape[-1] - wave.shape[-1])) for wave in waves]
        return Estimates(torch.stack([0.75 * wave + 0.25 * wave.flip(0) for wave in waves]), self.sources)


def panned_noises(seconds: int) -> Tensor:
    """Two noises that come and go, each at its place: ``[S, C, T]`` at :data:`RATE`."""
    waves = noise(2, seconds * RATE) * (noise(2, seconds * 4, seed=1) > 0).repeat_interleave(RATE // 4, 1)
    return torch.tensor([[1.0, 0.3], [0.2, 0.8]])[..., None] * waves[:, None]


def test_stems_of_several_channels_are_told_apart_by_place_in_blocks_of_a_long_track() -> None:
    parts = panned_noises(27)  # several blocks, and a short last one
    errors = {}
    for rounds in (0, 4):
        result = Result(parts.sum(0))
        separate([result], Shares(parts=parts.mean(1)), Settings(longest=1.0, rounds=rounds))
        assert result.stems.shape == parts.shape
        assert (result.stems.sum(0) - result.wave).abs().max() < 1e-3
        assert (result.mixture - result.wave).abs().max() < 1e-5
        errors[rounds] = float(((result.stems - parts).square().sum() / parts.square().sum()).log10() * 10)
    assert errors[4] < errors[0] - 15


def test_tracks_of_several_channels_and_lengths_keep_to_themselves() -> None:
    waves = [panned_noises(1).sum(0), torch.cat([noise(2, 12 * RATE), torch.zeros(1, 12 * RATE)]), noise(2, 1)]
    together = [Result(wave) for wave in waves]
    separate(together, Bands(), Settings(refinement=Refinement()))
    for wave, result in zip(waves, together, strict=True):
        alone = Result(wave)
        separate([alone], Bands(), Settings(refinement=Refinement()))
        assert torch.allclose(result.stems, alone.stems, atol=1e-5)
        assert result.stems.shape == (2, *wave.shape)
        assert (result.stems.sum(0) - wave).abs().max() < 1e-4
        if len(wave) == 3:  # one channel is silent, and stays so
            assert result.stems[:, 2].abs().max() < 1e-4


def test_channels_that_are_the_same_sound_as_one() -> None:
    wave = panned_noises(3).sum((0, 1))
    one, two = Result(wave[None]), Result(wave.expand(2, -1))
    for result in (one, two):
        separate([result], Bands(), Settings(refinement=Refinement()))
    assert torch.allclose(two.stems[:, 0], two.stems[:, 1], atol=1e-5)
    error = (two.stems[:, :1] - one.stems).square().sum() / one.stems.square().sum()
    assert error < 10 ** (-25 / 10)  # levels are read again from the joined stems


def test_a_source_that_moves_is_found_again() -> None:
    parts = torch.cat([panned_noises(30), panned_noises(30).flip(1)], -1)  # left becomes right
    errors = {}
    for rounds in (0, 4):
        result = Result(parts.sum(0))
        separate([result], Shares(parts=parts.mean(1)), Settings(longest=1.0, rounds=rounds))
        late = (result.stems - parts)[..., 50 * RATE :].square().sum() / parts[..., 50 * RATE :].square().sum()
        errors[rounds] = float(late.log10() * 10)
    assert errors[4] < errors[0] - 8


def test_one_mask_for_all_channels_where_that_is_wanted() -> None:
    parts = panned_noises(2)
    result = Result(parts.sum(0))
    separate([result], Shares(parts=parts.mean(1)), Settings(rounds=0))
    other = Result(parts.sum(0).flip(0))
    separate([other], Shares(parts=parts.mean(1)), Settings(rounds=0))
    assert torch.allclose(result.stems, other.stems.flip(1), atol=1e-5)
    with pytest.raises(ValueError, match="rounds must be at least 0"):
        Settings(rounds=-1)


def test_all_to_one_source() -> None:
    result = Result(noise(2, 9_999))
    separate([result], Nothing(), Settings(refinement=Refinement(floor=0.0)))
    assert (result.stems[0] - result.wave).abs().max() < 1e-4 and result.stems[1].abs().max() < 1e-4


def test_silence_stays_silent() -> None:
    result = Result(torch.zeros(2, 5_000), 44_100)
    separate([result], Bands())
    assert result.stems.shape == (2, 2, 5_000) and not result.stems.any()


def test_a_separator_of_any_length_gets_windows_of_ten_seconds() -> None:
    separator, result = Bands(segment=None, sample_rate=8_000), Result(noise(1, 100_000), 8_000)
    separate([result], separator)
    assert [len(batch[0]) for batch in separator.heard] == [80_000]
    assert (result.stems.sum(0) - result.wave).abs().max() < 1e-4


# The separator's own waveforms


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
def test_raw_waveforms_are_resampled_back(rate: int) -> None:
    frames = round(0.71 * rate)
    low, high = tone(300, rate, frames), tone(2_000, rate, frames)
    result = Result(torch.stack([low + high, low + high]), rate)
    separate([result], Bands(), Settings(refinement=None))
    assert result.stems.shape == (2, 2, frames)
    inner = slice(rate // 20, -rate // 20)  # seconds; the filters ring at the ends
    for stem, expected in zip(result.stems, (low, high), strict=True):
        assert torch.equal(stem[0], stem[1])  # one waveform for all channels
        error = (stem[0] - expected)[inner]
        assert error.square().mean() < 0.01 * expected.square().mean()
    assert (result.mixture - result.wave).abs().max() < 1e-5  # the mixture beside them is untouched


def test_raw_stems_are_the_separator_s_to_the_sample_at_its_rate() -> None:
    result = Result(noise(1, 3 * SEGMENT))
    separate([result], Nothing(), Settings(0.0, refinement=None))
    assert torch.allclose(result.stems[0], result.wave, atol=1e-6) and not result.stems[1].any()


# Many tracks


def test_tracks_of_all_kinds_share_batches_and_stay_apart() -> None:
    results = [
        Result(noise(1, 5_000, seed=1), 8_000),
        Result(noise(2, 1, seed=2), 44_100),
        Result(noise(3, 20_001, seed=3), 48_000),
        Result(noise(1, 4_096, seed=4), 16_000),
    ]
    together, finished = Bands(), []
    tracks = [result.track() for result in results]
    separate_tracks(tracks, together, Settings(batch=8), on_finish=lambda track: finished.append(tracks.index(track)))
    sizes = [segment_and_hop(SEGMENT, RATE, result.rate, 0.5) for result in results]
    counts = [len(split(result.wave, *size)) for result, size in zip(results, sizes, strict=True)]
    assert [len(batch) for batch in together.heard] == [8] * (sum(counts) // 8) + [sum(counts) % 8] * (
        sum(counts) % 8 > 0
    )
    assert [len(result.told) for result in results] == counts
    assert finished == [0, 1, 2, 3]
    for result in results:
        alone = Result(result.wave, result.rate)
        separate([alone], Bands(), Settings(batch=1))
        assert torch.allclose(result.stems, alone.stems, atol=1e-5)
        assert (result.stems.sum(0) - result.wave).abs().max() < 1e-4


def test_estimates_are_told_row_by_row_in_order() -> None:
    results = [Result(noise(1, 6_000, seed=1)), Result(3 * noise(1, 6_000, seed=2))]
    separate(results, Bands(), Settings(batch=4))
    for result in results:
        windows = split(result.wave[0], SEGMENT, SEGMENT // 2)
        left = 6_000 - (len(windows) - 1) * SEGMENT // 2  # of the last window; its own mirror image fills it up
        last = torch.cat([windows[-1, :left], windows[-1, :left].flip(0)] * SEGMENT)[:SEGMENT]
        expected = [window.square().mean() for window in (*windows[:-1], last)]
        assert torch.allclose(torch.cat([told.stats["level"] for told in result.told]), torch.stack(expected))
        assert all(told.waves.shape == (1, 2, SEGMENT) and told.sources == ("low", "high") for told in result.told)


@pytest.mark.parametrize("at", [0, 1, 3])
@pytest.mark.parametrize("batch", [1, 4, 99])
def test_an_error_in_one_file_leaves_the_others_right(at: int, batch: int) -> None:
    results = [Result(noise(1, 6_000, seed=seed)) for seed in range(3)]

    def breaking(segment: int, hop: int) -> Iterator[Tensor]:
        for k, window in enumerate(split(results[1].wave, segment, hop)):
            if k == at:
                raise AudioError("b.wav: cut short")
            yield window

    tracks = [result.track(breaking if k == 1 else None) for k, result in enumerate(results)]
    finished: list[Track] = []
    separate_tracks(tracks, Bands(), Settings(batch=batch), on_finish=finished.append)
    assert [result.errors for result in results] == [[], ["b.wav: cut short"], []]
    assert finished == [tracks[0], tracks[2]] and [track.failed for track in tracks] == [False, True, False]
    for result in (results[0], results[2]):
        assert (result.stems.sum(0) - result.wave).abs().max() < 1e-4


def test_an_error_of_a_sink_is_its_track_s_too() -> None:
    results = [Result(noise(1, 6_000, seed=seed)) for seed in range(2)]
    tracks = [result.track() for result in results]

    def full(stems: Tensor, mixture: Tensor) -> None:
        raise AudioError("disk full")

    tracks[0].sink = full
    separate_tracks(tracks, Bands(), Settings(batch=3))
    assert results[0].errors == ["disk full"] and not results[1].errors
    assert (results[1].stems.sum(0) - results[1].wave).abs().max() < 1e-4


def test_without_on_error_the_error_is_raised() -> None:
    def breaking(segment: int, hop: int) -> Iterator[Tensor]:
        raise AudioError("b.wav: cut short")
        yield

    with pytest.raises(AudioError, match="cut short"):
        separate_tracks([replace(Result(noise(1, 6_000)).track(breaking), on_error=None)], Bands())


def test_tracks_are_opened_when_their_turn_comes() -> None:
    opened: list[int] = []
    separator = Bands()

    def tracks() -> Iterator[Track]:
        for _ in range(3):
            opened.append(len(separator.heard))
            yield Result(noise(1, 4 * SEGMENT)).track()  # seven windows

    separate_tracks(tracks(), separator, Settings(batch=7))
    assert opened == [0, 1, 2]


# What the separator hears


def test_mono_is_the_mean_at_the_separator_s_rate() -> None:
    stereo = torch.stack([tone(300, 44_100, 5_645), 0.5 * tone(300, 44_100, 5_645)])
    heard = listen(stereo, 44_100, SEGMENT, RATE)
    assert heard.shape == (SEGMENT,)
    assert (heard - 0.75 * tone(300, RATE, SEGMENT))[100:-100].abs().max() < 1e-3
    assert torch.equal(listen(stereo, RATE, 9_000, RATE)[:5_645], stereo.mean(0))  # filled up with silence
    assert not listen(stereo, RATE, 9_000, RATE)[5_645:].any()


def test_channels_that_cancel_are_heard_by_the_louder_one() -> None:
    wave = noise(SEGMENT)
    assert torch.equal(listen(torch.stack([0.99 * wave, -wave]), RATE, SEGMENT, RATE), -wave)
    assert torch.equal(listen(torch.stack([wave, -0.99 * wave]), RATE, SEGMENT, RATE), wave)
    assert torch.allclose(listen(torch.stack([wave, -0.5 * wave]), RATE, SEGMENT, RATE), 0.25 * wave)  # enough is left
    result, separator = Result(torch.stack([wave, -wave])), Bands()
    separate([result], separator)
    assert separator.heard[0].abs().max() > 0.1
    assert (result.stems.sum(0) - result.wave).abs().max() < 1e-4


@pytest.mark.parametrize(("overlap", "batch"), [(-0.1, 16), (0.95, 16), (0.5, 0)])
def test_bad_settings_are_refused(overlap: float, batch: int) -> None:
    with pytest.raises(ValueError, match="overlap must be in"):
        Settings(overlap, batch)


def test_windows_last_as_long_at_every_rate() -> None:
    assert segment_and_hop(16_384, 16_000, 44_100, 0.5) == (math.ceil(16_384 * 2.75625), round(45_159 / 2))
    assert segment_and_hop(2, 16_000, 8_000, 0.9) == (1, 1)  # never stands still


def test_the_refinement_is_the_one_asked_for() -> None:
    """With a residual, what no source claims is missing from the stems' sum."""

    class Deaf(Bands):
        def __call__(self, mixture: Tensor) -> Estimates:
            return Estimates(1e-3 * super().__call__(mixture).waves, self.sources)

    result = Result(noise(1, 6_000))
    separate([result], Deaf(), Settings(refinement=Refinement(residual=1.0)))
    assert result.stems.sum(0).square().mean() < 0.01 * result.wave.square().mean()


def test_a_last_window_goes_on_with_its_mirror_image() -> None:
    window = torch.cat([torch.arange(1.0, 5.0), torch.zeros(6)])[None]  # four samples, then the recording is over
    assert listen(window, RATE, 10, RATE, left=4).tolist() == [1, 2, 3, 4, 4, 3, 2, 1, 1, 2]
    assert listen(window, RATE, 10, RATE).tolist() == window[0].tolist()  # a recording of one window ends in silence


# Separators of other kinds: any length, channels, no rate of their own, no names


@dataclass
class Swapping(Bands):
    """Bands without names, whose order changes from call to call."""

    sources: tuple[str, ...] = ("component-1", "component-2")

    def __call__(self, mixture: Tensor) -> Estimates:
        waves = super().__call__(mixture).waves
        return Estimates(waves.flip(1) if len(self.heard) % 2 == 0 else waves, self.sources)


@pytest.mark.parametrize("overlap", [0.25, 0.5, 0.75])
def test_components_without_names_go_on_in_order(overlap: float) -> None:
    """A method that numbers what it finds may number it differently in each window; the stems do not jump."""
    wave = (tone(300, RATE, 20_000) + 0.7 * tone(4_000, RATE, 20_000))[None]
    result = Result(wave)
    separate([result], Swapping(), Settings(overlap, batch=1, refinement=None))
    inner = slice(2_000, 18_000)
    expected = torch.stack([tone(300, RATE, 20_000), 0.7 * tone(4_000, RATE, 20_000)])[:, inner]
    error = (result.stems[:, 0, inner] - expected).square().mean(-1) / expected.square().mean(-1)
    assert error.max() < 0.02


@dataclass
class Sides(Bands):
    """What is on the left is one source, what is on the right the other."""

    sources: tuple[str, ...] = ("left", "right")
    channels: bool = True

    def __call__(self, mixture: Tensor) -> Estimates:
        self.heard.append(mixture.clone())
        keep = torch.eye(2)[:, :, None]  # [S, C, 1]
        return Estimates(mixture[:, None] * keep, self.sources)


def test_a_separator_that_hears_channels() -> None:
    """It is given every channel, resampled, and its stems have every channel."""
    wave = torch.stack([tone(300, 44_100, 30_000), tone(700, 44_100, 30_000)])
    result = Result(wave, 44_100)
    separator = Sides()
    separate([result], separator, Settings(0.5, refinement=None))
    assert {tuple(batch.shape[1:]) for batch in separator.heard} == {(2, SEGMENT)}
    expected = wave * torch.eye(2)[:, :, None]
    assert result.stems.shape == expected.shape
    assert (result.stems - expected)[..., 500:-500].abs().max() < 0.03  # resampled twice
    masked = Result(wave, 44_100)
    separate([masked], Sides(), Settings(0.5, refinement=Refinement()))
    torch.testing.assert_close(masked.stems.sum(0), wave, atol=1e-4, rtol=0)


def test_a_separator_without_a_rate_works_at_the_recordings() -> None:
    wave = noise(1, 30_000)
    result = Result(wave, 22_050)
    separator = Nothing(segment=None, sample_rate=None)  # type: ignore[arg-type]
    separate([result], separator, Settings(refinement=None))
    assert [tuple(batch.shape) for batch in separator.heard] == [(1, 30_000)]
    torch.testing.assert_close(result.stems[0], wave)


def test_short_recordings_are_one_window_of_their_own_length() -> None:
    """Recordings of one length share a batch, others do not, and none is filled up with silence."""
    results = [Result(noise(1, frames)) for frames in (3_000, 3_000, 5_000)]
    separator = Nothing(segment=None)
    separate(results, separator, Settings(refinement=None, longest=0.25))
    assert [tuple(batch.shape) for batch in separator.heard] == [(2, 3_000), (2, 4_000)]
    for result in results:
        torch.testing.assert_close(result.stems[0], result.wave)
