"""The mixtures every figure is measured on: tasks, splits and conditions, the same bytes for the same seed.

Conditions:

- ``paper``: one second, each source with its peak at 1, plain sum (Narayanaswamy et al. 2020).
- ``wild``: one and a half seconds, onsets moved by up to 0.5 s, gains of -6 to +6 dB.
- ``sequence``: eight seconds of many events at 44.1 kHz, in stereo, each source at its own place, gains as in ``wild``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, permutations
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from gansep.audio import mix_down, read, resample, write
from gansep.research.sources import Pool, pool, split_files
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

    @property
    def sha256(self) -> str:
        """Hash over the references' bytes."""
        return hashlib.sha256(self.references.numpy().tobytes()).hexdigest()


def mixtures(data: Path, task: str, condition: str, split: str, count: int, seed: int = 0) -> Iterator[Mixture]:
    """``count`` mixtures of one of the four tasks; ``data`` holds ``<class>/train`` and ``<class>/valid``.

    Raises:
        DataError: unknown task, condition or split, or missing recordings.
    """
    if task not in TASKS:
        raise DataError(f"unknown task {task!r}; expected one of {', '.join(TASKS)}")
    pools = [pool(name, split_files(data, name, split)) for name in TASKS[task]]
    return mix(pools, condition, split, range(count), seed)


def mix(pools: Sequence[Pool], condition: str, split: str, numbers: Iterable[int], seed: int = 0) -> Iterator[Mixture]:
    """Mixtures of one recording of each pool; a number's mixture is the same whichever others are made.

    Args:
        pools: one a source, two or more.
        condition: one of :data:`CONDITIONS`.
        split: only part of what the draws depend on, so that no two splits are drawn alike.
        numbers: which mixtures.
        seed: of the draws.
    Raises:
        DataError: unknown condition, or a recording that is silent or cannot be read.
    """
    if condition not in CONDITIONS:
        raise DataError(f"unknown condition {condition!r}; expected one of {', '.join(CONDITIONS)}")
    task = "-".join(one.name for one in pools)
    make = {"paper": _paper, "wild": _wild, "sequence": _sequence}[condition]
    digits = sum(ord(letter) * 31**i for i, letter in enumerate(task + condition + split))
    for number in numbers:
        random = torch.Generator().manual_seed((digits * 1009 + seed * 1_000_003 + number) % 2**62)
        parts = [make(one, random) for one in pools]
        references = torch.stack([wave for wave, _ in parts])
        rate = 44100 if condition == "sequence" else RATE
        if condition != "paper":
            references = 0.9 * references / references.sum(0).abs().max()
        groups = "+".join(name for _, name in parts)
        yield Mixture(f"{task}-{condition}-{number:03d}", tuple(one.name for one in pools), references, rate, groups)


def tasks_of(names: Sequence[str], wanted: Sequence[str] | None = None) -> dict[str, tuple[str, ...]]:
    """Which sources are mixed: every pair and all together, or those wanted.

    Args:
        names: of the sources there are.
        wanted: ``digits-drums`` or, where names have hyphens, ``field-birds+drums``.
    Raises:
        DataError: fewer than two sources, or a task that is not made of them.

    >>> list(tasks_of(["digits", "drums", "piano"]))
    ['digits-drums', 'digits-piano', 'drums-piano', 'digits-drums-piano']
    """
    if len(names) < 2:
        raise DataError(f"a mixture needs at least two sources, got {', '.join(names) or 'none'}")
    if wanted is None:
        sets = [*combinations(names, 2), *([tuple(names)] if len(names) > 2 else [])]
        return {"-".join(one): one for one in sets}
    tasks = {}
    for text in wanted:
        found = [one for size in range(2, len(names) + 1) for one in permutations(names, size) if _said(one, text)]
        if not found:
            raise DataError(f"no task {text!r} of the sources {', '.join(names)}; expected two or more, as a+b")
        tasks["-".join(found[0])] = found[0]
    return tasks


def _said(names: Sequence[str], text: str) -> bool:
    return text in ("-".join(names), "+".join(names))


def export(examples: Iterable[Mixture], folder: Path) -> list[Path]:
    """Write mixtures so that other programs can run on them: ``<name>/mixture.wav`` and a WAV a source, 32-bit float.

    Raises:
        OutputError: the folder cannot be written.
    """
    written = []
    for example in examples:
        place = folder / example.name
        for name, wave in (("mixture", example.mixture), *zip(example.sources, example.references, strict=True)):
            written.append(place / f"{name}.wav")
            write(written[-1], wave, example.sample_rate, subtype="FLOAT")
        about = {"sources": example.sources, "group": example.group, "sha256": example.sha256}
        (place / "about.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    return written


def _uniform(random: torch.Generator, low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand((), generator=random))


def _pick(files: Sequence[Path], random: torch.Generator) -> Path:
    return files[int(torch.randint(len(files), (), generator=random))]


def _event(file: Path, length: int, random: torch.Generator) -> Tensor:
    """``[T]`` with its peak at 1: a short file whole, or ``length`` samples from anywhere in a long one."""
    wave, rate = read(file)
    wave = resample(mix_down(wave), rate, RATE)
    if not wave.abs().max() > 0:
        raise DataError(f"{file}: silent; remove it from the folder")
    if len(wave) > max(2 * SECOND, length):
        part = wave[:0]
        while part.numel() == 0 or part.abs().max() < 0.05 * wave.abs().max():  # a pause is no event
            start = int(_uniform(random, 0, len(wave) - length))
            part = wave[start : start + length]
        wave = part
    return wave / wave.abs().max().clamp_min(1e-6)


def _fit(wave: Tensor, length: int) -> Tensor:
    return F.pad(wave[:length], (0, max(0, length - len(wave))))


def _paper(pool: Pool, random: torch.Generator) -> tuple[Tensor, str]:
    file = _pick(pool.files, random)
    return _fit(_event(file, SECOND, random), SECOND)[None], pool.groups[file]


def _wild(pool: Pool, random: torch.Generator) -> tuple[Tensor, str]:
    file = _pick(pool.files, random)
    wave = _event(file, WILD, random)
    if len(wave) < WILD:
        wave = F.pad(wave, (int(_uniform(random, 0, 0.5) * RATE), 0))
    return _fit(wave, WILD)[None] * 10 ** (_uniform(random, -6, 6) / 20), pool.groups[file]


def _sequence(pool: Pool, random: torch.Generator) -> tuple[Tensor, str]:
    length = 8 * RATE
    file = _pick(pool.files, random)
    same = [other for other in pool.files if pool.groups[other] == pool.groups[file]]
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
    return resample(stereo, RATE, 44100), pool.groups[file]


def _sounding(wave: Tensor) -> Tensor:
    """``[T]`` without what is more than 40 dB below its peak at either end."""
    loud = (wave.abs() > 0.01 * wave.abs().max()).nonzero()
    return wave[int(loud[0]) : int(loud[-1]) + 1]
