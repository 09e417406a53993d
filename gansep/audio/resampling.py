"""From one sample rate to another, for every length; from many channels to one."""

from __future__ import annotations

import math

import soxr
import torch
from torch import Tensor


def resample(wave: Tensor, from_rate: int, to_rate: int) -> Tensor:
    """Change the rate with soxr's high-quality filter (linear phase, no gradient).

    Args:
        wave: samples; returned as they are if the rates are equal.
        from_rate: in Hz.
        to_rate: in Hz.
    Shape: ``[..., T]`` to ``[..., max(1, round(T * to_rate / from_rate))]``.
    Raises:
        ValueError: no samples along the last axis, or a rate that is not positive.

    >>> resample(torch.zeros(2, 1, 44100), 44100, 16000).shape
    torch.Size([2, 1, 16000])
    """
    if wave.shape[-1] == 0 or min(from_rate, to_rate) <= 0:
        raise ValueError(f"resample needs samples and positive rates, got {tuple(wave.shape)}, {from_rate}, {to_rate}")
    if from_rate == to_rate:
        return wave
    length = max(1, round(wave.shape[-1] * to_rate / from_rate))
    flat = wave.detach().to("cpu", torch.float32).reshape(-1, wave.shape[-1])  # [C, T]
    # soxr rounds its length in its own way; one output sample of zeros more, and the end can be cut exactly.
    flat = torch.nn.functional.pad(flat, (0, math.ceil(from_rate / to_rate)))
    out = torch.from_numpy(soxr.resample(flat.T.contiguous().numpy(), from_rate, to_rate, "HQ"))[:length].T
    return out.reshape(*wave.shape[:-1], length).to(wave)


def mix_down(wave: Tensor) -> Tensor:
    """One channel: the mean, or the loudest one where the channels cancel each other.

    Shape: ``[C, T]`` to ``[T]``.

    >>> mix_down(torch.tensor([[1.0, -1.0], [-1.0, 1.0]]))
    tensor([ 1., -1.])
    """
    mono, powers = wave.mean(0), wave.square().mean(-1)
    return wave[powers.argmax()] if mono.square().mean() < 0.01 * powers.max() else mono
