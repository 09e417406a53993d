"""The mixtures every figure is measured on: tasks, splits and conditions, the same bytes for the same seed.

Conditions:

- ``paper``: one second, each source with its peak at 1, plain sum (Narayanaswamy et al. 2020).
- ``wild``: one and a half seconds, onsets moved by up to 0.5 s, gains of -6 to +6 dB.
- ``sequence``: eight seconds of many events at 44.1 kHz, in stereo, each source at its own place, gains as in ``wild``.

Splits: ``valid`` is the folder of that name and serves only for reported figures; ``dev`` is the part of ``train``
that :func:`is_dev` names, by speaker, kit, piece or recording; nothing trains on either.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from gansep.audio import find_audio, read, resample
from gansep.types import DataError

TASKS: dict[str, tuple[str, ...]] = {
    "digits-drums": ("digits", "drums"),
    "digits-piano": ("digits", "piano"),
    "drums-piano": ("drums", "piano"),
    "digits-drums-piano": ("digits", "drums", "piano"),
}
CONDITIONS = ("paper", "wild", "sequence")
RATE = 16000  # Hz, of the recordings
SECOND = 16384  # samples of a clip
WILD = 24576  # samples: a clip moved by 0.5 s and some room behind it

# Speakers, kits, pieces and recordings held back from training: about a tenth of each folder.
DEV_PREFIXES: dict[str, tuple[str, ...]] = {
    "digits": ("ar_s05", "ar_s15", "ar_s20"),
    "drums": ("sonicpi", "casiorz1", "mrk2"),
    "piano": ("bwv784", "bwv785", "bwv786", "bwv787", "bwv853", "bwv860", "bwv903", "bwv117a", "bwvanh126"),
    "speech": ("pv_g12", "pv_g23"),
    "noise": ("babycry_3", "helicopter_3", "rain_3", "boiler_05"),
}


def is_dev(file: Path) -> bool:
    """Whether a file of a ``train`` folder belongs to ``dev``; the class is the folder above ``train``."""
    return file.name.startswith(DEV_PREFIXES.get(file.parent.parent.name, ("\0",)))


def split_files(data: Path, name: str, split: str) -> list[Path]:
    """Files of one source in ``train`` (less dev), ``dev`` or ``valid``.

    Raises:
        DataError: unknown split, or no such recordings in ``data``.
    """
    if split not in ("train", "dev", "valid"):
        raise DataError(f"unknown split {split!r}; expected train, dev or valid")
    folder = data / name / ("valid" if split == "valid" else "train")
    if not folder.is_dir():
        raise DataError(f"no recordings in {folder}; expected <class>/train and <class>/valid below the data folder")
    files = find_audio(folder)
    return files if split == "valid" else [file for file in files if is_dev(file) == (split == "dev")]


def group(file: Path) -> str:
    """Speaker, kit or piece of a recording, by its name: what a confidence interval must resample together."""
    parts = file.stem.replace("-", "_").split("_")
    if file.parent.parent.name == "noise":
        return "_".join(parts[:3])  # sound, fold and recording
    return "_".join(parts[:2]) if parts[0] in ("ar", "en", "sc", "pv") else parts[0]


@dataclass(frozen=True)
class Mixture:
    """One example of a task.

    Attributes:
        name: task, condition and number.
        sources: the ``S`` names.
        references: ``[S, C, T]``; the mixture is their sum.
        sample_rate: Hz.
        group: speakers, kits and pieces in it.
    """

    name: str
    sources: tuple[str, ...]
    references: Tensor
    sample_rate: int
    group: str

    @property
    def mixture(self) -> Tensor:
        """``[C, T]``."""
        return self.references.sum(0)


def mixtures(data: Path, task: str, condition: str, split: str, count: int, seed: int = 0) -> Iterator[Mixture]:
    """``count`` mixtures of a task; number ``i`` is the same whatever ``count`` is.

    Raises:
        DataError: unknown task, condition or split, or missing recordings.
    """
    if task not in TASKS or condition not in CONDITIONS:
        known = f"tasks {', '.join(TASKS)}; conditions {', '.join(CONDITIONS)}"
        raise DataError(f"unknown task or condition {task!r}, {condition!r}; expected {known}")
    pools = [split_files(data, name, split) for name in TASKS[task]]
    make = {"paper": _paper, "wild": _wild, "sequence": _sequence}[condition]
    for number in range(count):
        digits = sum(ord(letter) * 31**i for i, letter in enumerate(task + condition + split))
        random = torch.Generator().manual_seed((digits * 1009 + seed * 1_000_003 + number) % 2**62)
        parts = [make(pool, random) for pool in pools]
        references = torch.stack([wave for wave, _ in parts])
        rate = 44100 if condition == "sequence" else RATE
        if condition != "paper":
            references = 0.9 * references / references.sum(0).abs().max()
        groups = "+".join(name for _, name in parts)
        yield Mixture(f"{task}-{condition}-{number:03d}", TASKS[task], references, rate, groups)


def _uniform(random: torch.Generator, low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand((), generator=random))


def _pick(pool: Sequence[Path], random: torch.Generator) -> Path:
    return pool[int(torch.randint(len(pool), (), generator=random))]


def _event(file: Path, length: int, random: torch.Generator) -> Tensor:
    """``[T]`` with its peak at 1: a short file whole, or ``length`` samples from anywhere in a long one."""
    wave = read(file)[0].mean(0)
    if len(wave) > max(2 * SECOND, length):
        part = wave[:0]
        while part.numel() == 0 or part.abs().max() < 0.05 * wave.abs().max():  # a pause is no event
            start = int(_uniform(random, 0, len(wave) - length))
            part = wave[start : start + length]
        wave = part
    return wave / wave.abs().max().clamp_min(1e-6)


def _fit(wave: Tensor, length: int) -> Tensor:
    return F.pad(wave[:length], (0, max(0, length - len(wave))))


def _paper(pool: Sequence[Path], random: torch.Generator) -> tuple[Tensor, str]:
    file = _pick(pool, random)
    return _fit(_event(file, SECOND, random), SECOND)[None], group(file)


def _wild(pool: Sequence[Path], random: torch.Generator) -> tuple[Tensor, str]:
    file = _pick(pool, random)
    wave = _event(file, WILD, random)
    if len(wave) < WILD:
        wave = F.pad(wave, (int(_uniform(random, 0, 0.5) * RATE), 0))
    return _fit(wave, WILD)[None] * 10 ** (_uniform(random, -6, 6) / 20), group(file)


def _sequence(pool: Sequence[Path], random: torch.Generator) -> tuple[Tensor, str]:
    length = 8 * RATE
    file = _pick(pool, random)
    same = [other for other in pool if group(other) == group(file)]
    wave = torch.zeros(length)
    at = 0
    while at < length:  # one event after another, up to 0.6 s apart
        event = _event(_pick(same, random), length, random)
        if len(event) < length:
            event = _sounding(event) * 10 ** (_uniform(random, -3, 3) / 20)
        part = event[: length - at]
        wave[at : at + len(part)] += part
        at += len(event) + int(_uniform(random, 0, 0.6) * RATE)
    wave = wave / wave.abs().max() * 10 ** (_uniform(random, -6, 6) / 20)
    angle = torch.tensor(_uniform(random, 0.15, 0.85)) * torch.pi / 2
    stereo = torch.stack([angle.cos() * wave, angle.sin() * wave])  # [2, T]
    return resample(stereo, RATE, 44100), group(file)


def _sounding(wave: Tensor) -> Tensor:
    """``[T]`` without what is more than 40 dB below its peak at either end."""
    loud = (wave.abs() > 0.01 * wave.abs().max()).nonzero()
    return wave[int(loud[0]) : int(loud[-1]) + 1]
