"""Folders of single sources to mixtures with known parts, made on the fly."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gansep.training.data import Augmentation, Clips, draw

STRONGEST = 100  # dB that levels differ by at most; what is much quieter counts as silence


@dataclass(frozen=True)
class Mixing:
    """How training mixtures are made.

    Attributes:
        seconds: length of one.
        gain_db: each source has its peak at 1, times a gain of up to this much either way.
        snr_db: instead, the least and the most power of the first source over that of each other one, in dB.
        absent: probability of each source to be silent; one always sounds.
        sounding: how many sources there are at once at most, of more that there may be; 0 for all.
        level_db: quietest and loudest peak of a mixture, in dB of full scale.
        apart: pairs of sources, by number, that never sound at once; what they have in common is neither's.
    """

    seconds: float = 2.0
    gain_db: float = 9.0
    snr_db: tuple[float, float] | None = None
    absent: float = 0.1
    sounding: int = 0
    level_db: tuple[float, float] = (-30.0, 0.0)
    apart: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        if not 0 < self.seconds < math.inf or not 0 <= self.gain_db <= STRONGEST:
            said = f"got {self.seconds} and {self.gain_db}"
            raise ValueError(f"seconds must be above 0 and gain_db in 0 to {STRONGEST}, {said}")
        if self.sounding < 0 or (self.sounding and self.snr_db):
            raise ValueError(f"sounding must be at least 0, and 0 with snr_db, got {self.sounding}")
        if not 0 <= self.absent < 1:
            raise ValueError(f"absent must be in [0, 1), got {self.absent}")
        for name, span in (("snr_db", self.snr_db), ("level_db", self.level_db)):
            if span is not None and not -STRONGEST <= span[0] <= span[1] <= STRONGEST:
                said = f"within {STRONGEST} either way, got {span[0]} to {span[1]}"
                raise ValueError(f"{name} must go from low to high, {said}")


def draw_parts(
    clips: Sequence[Clips], count: int, mixing: Mixing, random: torch.Generator, augment: Augmentation
) -> Tensor:
    """Random parts of mixtures; a mixture is their sum.

    Args:
        clips: one set a source, at one rate.
        count: mixtures. mixing: how. random: where every draw comes from. augment: of each sound.
    Shape: returns ``[count, S, T]``.
    """
    segment = round(mixing.seconds * clips[0].sample_rate)
    parts = _draw(clips, count, segment, mixing.sounding, random, augment)
    if mixing.snr_db is None:
        gains = _uniform((count, len(clips)), -mixing.gain_db, mixing.gain_db, random)
        parts = parts * 10 ** (gains / 20)[..., None]
    else:
        power = parts.square().mean(-1)
        ratio = _uniform((count, len(clips) - 1), *mixing.snr_db, random)
        gains = (power[:, :1] / power[:, 1:].clamp_min(1e-10)).sqrt() * 10 ** (-ratio / 20)
        parts = torch.cat([parts[:, :1], parts[:, 1:] * gains[..., None]], 1)
    sounds = torch.rand(count, len(clips), generator=random) >= mixing.absent
    if 0 < mixing.sounding < len(clips):
        kept = parts.square().sum(-1).argmax(-1)
    else:
        kept = torch.randint(len(clips), (count,), generator=random)
    sounds[torch.arange(count), kept] = True
    sounds &= parts.any(-1)
    for one, other in mixing.apart:
        first = torch.rand(count, generator=random) < 0.5
        both = sounds[:, one] & sounds[:, other]
        sounds[:, one] &= ~both | first
        sounds[:, other] &= ~both | ~first
    parts = parts * sounds[..., None]
    level = 10 ** (_uniform((count,), *mixing.level_db, random) / 20)
    return parts * (level / parts.sum(1).abs().amax(-1).clamp_min(1e-6))[:, None, None]


def _draw(
    clips: Sequence[Clips], count: int, segment: int, sounding: int, random: torch.Generator, augment: Augmentation
) -> Tensor:
    """``[count, S, T]``, peak at 1 each; of some sources only if there are more than may sound at once."""
    if not 0 < sounding < len(clips):
        return torch.stack([draw(one, count, segment, random, augment) for one in clips], 1)
    chosen = torch.rand(count, len(clips), generator=random).argsort(1) < sounding  # [B, S]
    parts = torch.zeros(count, len(clips), segment)
    for number, one in enumerate(clips):
        rows = chosen[:, number].nonzero()[:, 0]
        if len(rows):
            parts[rows, number] = draw(one, len(rows), segment, random, augment)
    return parts


def _uniform(shape: tuple[int, ...], low: float, high: float, random: torch.Generator) -> Tensor:
    return low + (high - low) * torch.rand(shape, generator=random)
