"""Sentences in noise at given signal-to-noise ratios, the same bytes for the same seed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from gansep.audio import mix_down, read, resample
from gansep.research.protocol import RATE, Mixture
from gansep.research.sources import group, split_files
from gansep.types import DataError

PAUSE = 0.05  # of a noise recording's RMS: a piece below it is a pause


def sentences(data: Path, split: str, snr_db: float | None, seed: int = 0) -> Iterator[Mixture]:
    """Every sentence of a split with a noise recording of the same split behind it, peak of the sum at 0.9.

    A number's noise and the place where it begins are the same at every ratio.

    Args:
        data: holds ``speech`` and ``noise``. split: ``train``, ``dev`` or ``valid``.
        snr_db: power of the sentence over that of the noise, over the sentence's length; ``None`` for no noise.
        seed: of what goes with what; every noise serves before one serves again.
    Raises:
        DataError: no recordings, or a silent one.
    """
    speech, noise = (split_files(data, name, split) for name in ("speech", "noise"))
    if not speech or not noise:
        raise DataError(f"no recordings of {split} in {data / 'speech'} or {data / 'noise'}; expected some in both")
    random = torch.Generator().manual_seed(seed)
    order = torch.cat([torch.randperm(len(noise), generator=random) for _ in range(-(-len(speech) // len(noise)))])
    for number, (file, which) in enumerate(zip(speech, order.tolist(), strict=False)):
        sentence = _mono(file)
        behind = _piece(_mono(noise[which]), len(sentence), random)
        ratio = sentence.square().mean().sqrt() / behind.square().mean().sqrt()
        gain = 0.0 if snr_db is None else float(ratio) * 10 ** (-snr_db / 20)
        parts = torch.stack([sentence, gain * behind])[:, None]  # [S, C, T]
        parts = 0.9 * parts / parts.sum(0).abs().max()
        said = "clean" if snr_db is None else f"{snr_db:+g}dB"
        groups = f"{group(file)}+{group(noise[which])}"
        yield Mixture(f"speech-noise-{said}-{number:03d}", ("speech", "noise"), parts, RATE, groups)


def _mono(file: Path) -> Tensor:
    wave, rate = read(file)
    wave = resample(mix_down(wave), rate, RATE)
    if not wave.any():
        raise DataError(f"{file}: silent; remove it from the folder")
    return wave


def _piece(wave: Tensor, length: int, random: torch.Generator) -> Tensor:
    """``length`` samples of a wave from a random one on, but not of a pause; it begins again at its end."""
    level = wave.square().mean().sqrt()
    while True:
        start = int(torch.randint(len(wave), (), generator=random))
        piece = wave.roll(-start).repeat(-(-length // len(wave)))[:length]
        if piece.square().mean().sqrt() >= PAUSE * level:
            return piece
