"""Folders of single sources to mixtures with known parts, made on the fly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gansep.training.data import Augmentation, Clips, coloured_noise, draw


@dataclass(frozen=True)
class Mixing:
    """How training mixtures are made.

    Attributes:
        seconds: length of one.
        gain_db: each source has its peak at 1, times a gain of up to this much either way.
        snr_db: instead, the least and the most power of the first source over that of each other one, in dB.
        absent: probability of each source to be silent; one always sounds.
        doubled: probability of each source but the first to be two of its sounds at once, the second up to 12 dB below.
        coloured: probability of each source but the first to be coloured noise instead.
        level_db: quietest and loudest peak of a mixture, in dB of full scale.
    """

    seconds: float = 2.0
    gain_db: float = 9.0
    snr_db: tuple[float, float] | None = None
    absent: float = 0.1
    doubled: float = 0.0
    coloured: float = 0.0
    level_db: tuple[float, float] = (-30.0, 0.0)

    def __post_init__(self) -> None:
        if not self.seconds > 0 or self.gain_db < 0:
            said = f"got {self.seconds} and {self.gain_db}"
            raise ValueError(f"seconds must be above 0 and gain_db at least 0, {said}")
        for name in ("absent", "doubled", "coloured"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be in [0, 1), got {getattr(self, name)}")
        for name, span in (("snr_db", self.snr_db), ("level_db", self.level_db)):
            if span is not None and not span[0] <= span[1]:
                raise ValueError(f"{name} must go from low to high, got {span[0]} to {span[1]}")


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
    parts = torch.stack([draw(one, count, segment, random, augment) for one in clips], 1)
    if mixing.doubled or mixing.coloured:
        for number, one in enumerate(clips[1:], 1):
            parts[:, number] = _varied(parts[:, number], one, mixing, random, augment)
    if mixing.snr_db is None:
        gains = _uniform((count, len(clips)), -mixing.gain_db, mixing.gain_db, random)
        parts = parts * 10 ** (gains / 20)[..., None]
    else:
        power = parts.square().mean(-1)
        ratio = _uniform((count, len(clips) - 1), *mixing.snr_db, random)
        gains = (power[:, :1] / power[:, 1:].clamp_min(1e-10)).sqrt() * 10 ** (-ratio / 20)
        parts = torch.cat([parts[:, :1], parts[:, 1:] * gains[..., None]], 1)
    sounds = torch.rand(count, len(clips), generator=random) >= mixing.absent
    kept = torch.randint(len(clips), (count,), generator=random)
    sounds[torch.arange(count), kept] = True
    parts = parts * sounds[..., None]
    level = 10 ** (_uniform((count,), *mixing.level_db, random) / 20)
    return parts * (level / parts.sum(1).abs().amax(-1).clamp_min(1e-6))[:, None, None]


def _varied(sounds: Tensor, clips: Clips, mixing: Mixing, random: torch.Generator, augment: Augmentation) -> Tensor:
    """Some of ``sounds [B, T]`` with another of the same source below, and some replaced by noise; peak at 1 each."""
    count, segment = sounds.shape
    below = draw(clips, count, segment, random, augment) * 10 ** (_uniform((count, 1), -12, 0, random) / 20)
    twice, noise = (torch.rand(count, 1, generator=random) < share for share in (mixing.doubled, mixing.coloured))
    sounds = torch.where(noise, coloured_noise(count, segment, random), sounds + twice * below)
    return sounds / sounds.abs().amax(-1, keepdim=True).clamp_min(1e-6)


def _uniform(shape: tuple[int, ...], low: float, high: float, random: torch.Generator) -> Tensor:
    return low + (high - low) * torch.rand(shape, generator=random)
