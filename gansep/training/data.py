"""Folders of sound to batches of training windows: load once, then place, bend and mix at random.

Clips stay in memory as 16-bit integers (an hour at 16 kHz is 110 MiB). Every random choice comes from one
``torch.Generator``, so a run that restores its state draws the same batches again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from gansep.audio import find_audio, mix_down, read, resample
from gansep.types import AudioError, DataError

SILENT = 1e-3  # peak below which a file or a window counts as silent (-60 dB of full scale)
MIN_SECONDS = 5.0


@dataclass(frozen=True)
class Clips:
    """The sounds of one folder set, mono at one rate.

    Attributes:
        waves: ``int16 [T]`` each, peak at full scale, so that level differences between files do not count.
        active: first and last sample above -50 dB of the peak, ``(start, stop)`` each.
        sample_rate: Hz.
        sha256: hash over names and samples, to say in a card what a model heard.
        skipped: ``"path: reason"`` of files left out.
    """

    waves: tuple[Tensor, ...]
    active: tuple[tuple[int, int], ...]
    sample_rate: int
    sha256: str
    skipped: tuple[str, ...]

    @classmethod
    def joined(cls, parts: Sequence[Clips]) -> Clips:
        """The sounds of several, one after another, all at one rate."""
        if len(parts) == 1:
            return parts[0]
        waves, active, skipped = (
            tuple(one for part in parts for one in getattr(part, name)) for name in ("waves", "active", "skipped")
        )
        digest = hashlib.sha256("".join(part.sha256 for part in parts).encode())
        return cls(waves, active, parts[0].sample_rate, digest.hexdigest(), skipped)

    @property
    def seconds(self) -> float:
        return sum(len(wave) for wave in self.waves) / self.sample_rate


def load_clips(paths: Sequence[str | Path], sample_rate: int) -> Clips:
    """Read every sound file in ``paths`` (files or folders, searched recursively).

    Silent and broken files are skipped and named in ``Clips.skipped``.

    Raises:
        DataError: no such path, no sound file in it, or less than five seconds of sound.
    """
    files = [file for path in paths for file in _files(Path(path))]
    if not files:
        raise DataError(f"no audio files in {', '.join(map(str, paths))}; expected wav, flac, ogg, mp3 or the like")
    waves, active, skipped = [], [], []
    digest = hashlib.sha256()
    for file in files:
        try:
            wave = _mono(file, sample_rate)
        except AudioError as error:
            skipped.append(str(error))
            continue
        peak = wave.abs().max()
        if peak < SILENT:
            skipped.append(f"{file}: silent")
            continue
        loud = (wave.abs() > peak * 10 ** (-50 / 20)).nonzero()
        waves.append((wave / peak * 32767).round().to(torch.int16))
        active.append((int(loud[0]), int(loud[-1]) + 1))
        digest.update(file.name.encode() + waves[-1].numpy().tobytes())
    clips = Clips(tuple(waves), tuple(active), sample_rate, digest.hexdigest(), tuple(skipped))
    if clips.seconds < MIN_SECONDS:
        raise DataError(
            f"{', '.join(map(str, paths))}: only {clips.seconds:.1f} s of usable sound in {len(waves)} files; "
            f"at least {MIN_SECONDS:.0f} s are needed, minutes are better"
        )
    return clips


def excerpts(clips: Clips, seconds: float, longest: float = 3.0) -> list[Tensor]:
    """Short recordings, and parts of long ones, by chance until there are ``seconds`` of them; always the same ones.

    Args:
        clips: to choose from. longest: seconds of one part.
    Returns:
        waves ``[T]``, none of them silent, in the order of the clips.
    """
    size = round(longest * clips.sample_rate)
    parts = [
        (index, start, min(start + size, last))
        for index, (first, last) in enumerate(clips.active)
        for start in range(first, last, size)
    ]
    left = round(seconds * clips.sample_rate)
    chosen = []
    for number in torch.randperm(len(parts), generator=torch.Generator().manual_seed(0)).tolist():
        index, start, stop = parts[number]
        if stop - start > left:
            continue
        wave = clips.waves[index][start:stop].float() / 32767
        if wave.abs().max() >= SILENT:
            chosen.append((number, wave))
            left -= stop - start
    return [wave for _, wave in sorted(chosen, key=lambda one: one[0])]


def _files(path: Path) -> list[Path]:
    if not path.exists():
        raise DataError(f"no such file or folder: {path}")
    return find_audio(path)


def _mono(file: Path, sample_rate: int) -> Tensor:
    wave, rate = read(file)
    return resample(mix_down(wave), rate, sample_rate)  # [T]


@dataclass(frozen=True)
class Augmentation:
    """How far a training window may stray from the recording.

    Attributes:
        shift: whether short sounds start anywhere in the window (or before it); else where the file has them.
        again: probability that a second sound follows a short one in its window.
        speed: largest change of speed (and so of pitch), in octaves; half of the windows are changed.
        tilt_db: largest gain, in dB, of a random smooth equaliser.
        room: probability that a window is heard in a room.
    """

    shift: bool = True
    again: float = 0.3
    speed: float = 0.15
    tilt_db: float = 6.0
    room: float = 0.0


def draw(clips: Clips, count: int, segment: int, random: torch.Generator, augment: Augmentation) -> Tensor:
    """Random training windows of one source.

    Shape: ``[count, segment]``, each with its peak at 1.
    """
    lengths = torch.tensor([max(1.0, len(wave) / segment) for wave in clips.waves])
    picks = torch.multinomial(lengths, 3 * count, replacement=True, generator=random).tolist()
    windows = torch.zeros(count, segment)
    for row in range(count):
        index = picks[row]
        if len(clips.waves[index]) >= 2 * segment or not augment.shift:
            windows[row] = _crop(clips, index, segment, random, augment)
        else:
            end = _place(windows[row], clips, index, -0.5, random, augment)
            if _uniform(random) < augment.again:
                _place(windows[row], clips, picks[count + row], end / segment, random, augment)
        if windows[row].abs().max() < SILENT:  # a pause in a long file, or only the faint end of a sound
            windows[row] = _crop(clips, picks[2 * count + row], segment, random, augment, loud=True)
    windows = _equalise(windows, random, augment.tilt_db)
    if augment.room:
        windows = _in_rooms(windows, clips.sample_rate, random, augment.room)
    return windows / windows.abs().amax(-1, keepdim=True).clamp_min(SILENT)


def _uniform(random: torch.Generator, low: float = 0.0, high: float = 1.0) -> float:
    return low + (high - low) * float(torch.rand((), generator=random))


def _bend(wave: Tensor, random: torch.Generator, octaves: float) -> Tensor:
    """Half of the time, play ``[T]`` faster or slower by up to ``octaves`` (linear interpolation)."""
    if octaves <= 0 or _uniform(random) < 0.5:
        return wave
    size = max(1, round(len(wave) * 2 ** _uniform(random, -octaves, octaves)))
    return F.interpolate(wave[None, None], size=size, mode="linear")[0, 0]


def _crop(
    clips: Clips, index: int, segment: int, random: torch.Generator, augment: Augmentation, loud: bool = False
) -> Tensor:
    """A random ``[segment]`` of a long file (if ``loud``, one with its peak), or the beginning of a short one."""
    wave = clips.waves[index]
    size = min(len(wave), round(segment * 2**augment.speed) + 1)
    low, high = 0, len(wave) - size
    if loud:
        peak = int(wave.abs().argmax())
        low, high = min(high, max(0, peak - segment // 2)), min(high, peak)  # half, as a bend moves the peak
    start = int(_uniform(random, low, high))
    part = _bend(wave[start : start + size].float() / 32767, random, augment.speed)[:segment]
    return F.pad(part, (0, segment - len(part)))


def _place(
    window: Tensor, clips: Clips, index: int, earliest: float, random: torch.Generator, augment: Augmentation
) -> int:
    """Add a short sound to ``window [T]`` at a random onset and return the sample where it ends.

    ``earliest`` counts in windows for an onset inside; a negative one counts in lengths of the sound, so that a
    window may hold only the end of it, as windows cut from a long recording do.
    """
    first, last = clips.active[index]
    wave = clips.waves[index]
    sound = _bend(wave[first : min(len(wave), last + 800)].float() / 32767, random, augment.speed)
    segment = len(window)
    low = earliest * (len(sound) if earliest < 0 else segment)
    onset = int(_uniform(random, low, max(low, 0.9 * segment)))
    sound = sound * 10 ** (_uniform(random, -6, 0) / 20)
    part = sound[max(0, -onset) : segment - onset]
    window[max(0, onset) : max(0, onset) + len(part)] += part
    return min(segment, onset + len(sound))


def _equalise(windows: Tensor, random: torch.Generator, reach_db: float) -> Tensor:
    """A gain curve per window, smooth over frequency: eight random points from 0 Hz to the top, interpolated."""
    if reach_db <= 0:
        return windows
    points = (torch.rand(len(windows), 1, 8, generator=random) * 2 - 1) * reach_db
    spectrum = torch.fft.rfft(windows)
    # Points stand at equal steps of the square root of frequency, so that the low end may move on its own.
    curve = F.interpolate(points, size=512, mode="linear", align_corners=True)[:, 0]  # [B, 512]
    at = torch.linspace(0, 1, spectrum.shape[-1]).sqrt() * 511
    gain = 10 ** (curve[:, at.long()] / 20)
    return torch.fft.irfft(spectrum * gain, n=windows.shape[-1])


def _in_rooms(windows: Tensor, rate: int, random: torch.Generator, share: float) -> Tensor:
    """Some of ``windows [B, T]`` with a room's decay behind every sound: noise that fades, 60 dB in 0.1 to 1 s.

    Its energy is 0 to 20 dB below that of the sound itself (Moorer, "About this reverberation business", 1979).
    """
    rows = (torch.rand(len(windows), generator=random) < share).nonzero()[:, 0]
    count, size = len(rows), windows.shape[1]
    if not count:
        return windows
    fading, below = torch.rand(2, count, 1, generator=random)
    time = torch.arange(size) / rate
    tail = torch.randn(count, size, generator=random) * 10 ** (-3 * time / (0.1 * 10**fading))
    tail[:, : rate // 200] = 0  # the first walls are some way off
    tail = tail / tail.square().sum(1, keepdim=True).sqrt().clamp_min(1e-6) * 10**-below
    spectra = [torch.fft.rfft(part, n=2 * size) for part in (windows[rows], tail)]
    windows = windows.clone()
    windows[rows] += torch.fft.irfft(spectra[0] * spectra[1], n=2 * size)[:, :size]
    return windows


def coloured_noise(count: int, segment: int, random: torch.Generator) -> Tensor:
    """Noise of a random slope (0 to -9 dB an octave). Shape: ``[count, segment]``, peak at 1 each."""
    spectrum = torch.fft.rfft(torch.randn(count, segment, generator=random))
    slope = torch.rand(count, 1, generator=random) * 1.5
    frequency = torch.arange(1, spectrum.shape[-1] + 1) / spectrum.shape[-1]
    noise = torch.fft.irfft(spectrum * frequency ** (-slope), n=segment)
    return noise / noise.abs().amax(-1, keepdim=True)


def noise_clips(sample_rate: int) -> Clips:
    """A minute of coloured noise, as if it were recordings: what mixtures are made with where there is nothing else."""
    waves = (coloured_noise(30, 2 * sample_rate, torch.Generator().manual_seed(0)) * 32767).round().to(torch.int16)
    return Clips(tuple(waves), ((0, 2 * sample_rate),) * 30, sample_rate, "coloured noise", ())
