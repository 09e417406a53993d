"""Sources told apart by where they are: multichannel Wiener filters for recordings of several channels.

A source at one place reaches the channels in fixed proportions, as a mixing desk's pan-pot sets them. Where it has the
power :math:`v_s` its covariance across the channels is :math:`v_s R_s`, with one matrix :math:`R_s` for all times and
frequencies, and the best linear guess at it from all channels :math:`X` is

.. math:: v_s R_s \\Bigl( \\sum_j v_j R_j \\Bigr)^{-1} X.

Masks know the powers and nothing of places; places are found here. After N. Duong, E. Vincent and R. Gribonval,
"Under-determined reverberant audio source separation using a full-rank spatial covariance model" (TASLP 2010), but with
the powers held, real matrices, one for all frequencies (a recorded room only blurs them), and made of the parts as they
are guessed, without what is uncertain of them, which slows the search for places more than it helps in rooms.
"""

from __future__ import annotations

import torch
from torch import Tensor

REST = 1e-5  # share of the power that no place explains
ROUNDING = 1e-5  # of the loudest point, what is below it
APART = 4  # frames from one that places are found by to the next; those between share their samples
LARGEST = 2**22  # numbers that are worked on at a time
KEPT = 0.5  # of what was heard before, with every call


def multichannel_wiener(spectrum: Tensor, power: Tensor, covariance: Tensor) -> Tensor:
    """The parts of a spectrogram that sources of these powers at these places are expected to be.

    Whatever the places, the parts sum to the spectrogram: what they cannot explain is shared out by power.

    Args:
        spectrum: complex, of all channels. power: of each source at each point, in any unit.
        covariance: of the channels, where a source has power 1: real, symmetric, without negative eigenvalues, with a
            mean of 1 on the diagonal or, of a source that is nowhere yet, all 0.
    Shape: ``[C, F, N]``, ``[S, F, N]`` and ``[S, C, C]`` to ``[S, C, F, N]``.

    >>> spectrum = torch.randn(2, 5, 7, dtype=torch.cfloat)
    >>> left, right = torch.tensor([[1.0, 0.0], [0.0, 0.0]]), torch.tensor([[0.0, 0.0], [0.0, 1.0]])
    >>> parts = multichannel_wiener(spectrum, torch.ones(2, 5, 7), torch.stack([left, right]))
    >>> bool((parts[0, 0] - spectrum[0]).abs().max() < 1e-3)
    True
    """
    total = power.sum(0)  # [F, N]
    silent = total <= torch.finfo(total.dtype).tiny
    shares = torch.where(silent, 1 / len(power), power / total.masked_fill(silent, 1.0))  # of 1, whatever the level
    mixed = torch.einsum("sfn,scd->cdfn", shares, covariance)
    mixed.diagonal().add_(REST)
    solved = (_inverse(mixed) * spectrum).sum(1)  # [C, F, N]
    placed = shares[:, None] * _weighed(covariance, solved)
    return placed + shares[:, None] * (spectrum - placed.sum(0))


def _inverse(matrices: Tensor) -> Tensor:
    """Of symmetric ``[C, C, F, N]``, matrix by matrix; for two channels by the formula, as there are many of them."""
    if len(matrices) != 2:
        return torch.linalg.inv(matrices.permute(2, 3, 0, 1)).permute(2, 3, 0, 1)
    (a, b), (_, d) = matrices
    return torch.stack([d, -b, -b, a]).unflatten(0, (2, 2)) / (a * d - b * b)


def _weighed(weights: Tensor, channels: Tensor) -> Tensor:
    """Real ``[S, C, D]`` times complex ``[D, F, N]``: ``[S, C, F, N]``."""
    flat = weights.flatten(0, 1) @ torch.view_as_real(channels).flatten(1)
    return torch.view_as_complex(flat.unflatten(1, (*channels.shape[1:], 2))).unflatten(0, weights.shape[:2])


class Places:
    """Finds where sources are from what masks leave of each, block by block of a recording, and filters by it.

    Args:
        rounds: how often stems tell the places and places the stems.

    >>> left, right = torch.randn(2, 129, 50, dtype=torch.cfloat) * torch.rand(2, 129, 50).pow(8)
    >>> sources = torch.stack([torch.stack([left, 0.3 * left]), torch.stack([0.5 * right, right])])
    >>> mixture = sources.sum(0)
    >>> masked = sources.abs()[:, :1] / sources.abs()[:, :1].sum(0) * mixture  # the same mask for both channels
    >>> placed = Places()(mixture, masked)
    >>> bool((placed - sources).abs().square().sum() < 0.05 * (masked - sources).abs().square().sum())
    True
    """

    def __init__(self, rounds: int = 8) -> None:
        self.rounds = rounds
        self.known: Tensor | float = 0.0  # scatter of the channels of each part in the blocks before, [S + 1, C, C]

    def __call__(self, mixture: Tensor, stems: Tensor) -> Tensor:
        """Stems by place. Shape: complex ``[C, F, N]`` and ``[S, C, F, N]`` to ``[S, C, F, N]``.

        What the stems leave of the mixture stays left.
        """
        loudest = mixture.abs().max().clamp_min(torch.finfo(torch.float32).tiny)
        mixture, stems = mixture / loudest, stems / loudest
        rest = mixture - stems.sum(0)
        parts = torch.cat([stems, (rest * (rest.abs() > ROUNDING))[None]])  # places of rounding are none
        power = parts.abs().square().mean(1).sqrt()  # levels of masked parts are in proportion as powers of sources
        scatter = self.known + _scatter(parts[..., ::APART])
        for _ in range(self.rounds):
            pieces = _pieces(mixture[..., ::APART], power[..., ::APART])
            found = [_scatter(multichannel_wiener(few, some, _unit(scatter))) for few, some in pieces]
            scatter = self.known + torch.stack(found).sum(0)
        self.known = KEPT * scatter
        found = [multichannel_wiener(few, some, _unit(scatter))[:-1] for few, some in _pieces(mixture, power)]
        return torch.cat(found, -1) * loudest


def _unit(scatter: Tensor) -> Tensor:
    """Covariances with a mean of 1 on the diagonal."""
    size = scatter.diagonal(dim1=1, dim2=2).mean(1)[:, None, None]
    return scatter / size.clamp_min(torch.finfo(size.dtype).tiny)


def _pieces(mixture: Tensor, power: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Both in pieces of so many frames that matrices for all their points are no burden."""
    frames = max(1, LARGEST // (len(power) * mixture.shape[1] * len(mixture) ** 2))
    return list(zip(mixture.split(frames, -1), power.split(frames, -1), strict=True))


def _scatter(parts: Tensor) -> Tensor:
    """Products of channels, summed over all points: ``[S, C, F, N]`` to real ``[S, C, C]``."""
    flat = torch.view_as_real(parts).flatten(2)  # [S, C, F * N * 2]
    return flat @ flat.mT
