r"""BSS Eval v4: what part of an estimate's error is filtering, what other sources, and what neither.

An estimate :math:`\hat s` of the image :math:`s` (what the source is in each channel) is projected twice by least
squares: to the span of its own reference's channels delayed by 0 to 511 samples, :math:`P\hat s`, and to that of all
references, :math:`Q\hat s`. With energies summed over samples (and the 511 of the filters' tail) and channels,

.. math::

    \text{SDR} = \frac{\|s\|^2}{\|\hat s - s\|^2}, \quad
    \text{ISR} = \frac{\|s\|^2}{\|P\hat s - s\|^2}, \quad
    \text{SIR} = \frac{\|P\hat s\|^2}{\|Q\hat s - P\hat s\|^2}, \quad
    \text{SAR} = \frac{\|Q\hat s\|^2}{\|\hat s - Q\hat s\|^2}

in dB, after Vincent, Gribonval and Févotte (2006) and, for images and filters that stay the same over all windows,
Stöter, Liutkus and Ito (2018). museval's ``bss_eval`` gives the same figures with its defaults.

Silence
-------
* A silent reference has no figures (NaN): every ratio would compare with nothing. museval refuses the whole set; here
  the other sources are measured, for a silent one adds nothing to the span. The same holds for a silent window.
* A silent estimate has 0 dB, and no interference (one source alone) gives the 156 dB of a perfect estimate, where
  museval has NaN and infinity.

Agreement with museval is within 1e-3 dB for 16-bit recordings. Where references almost depend on each other
(one a filtered copy of another, or nothing above a cut-off but float rounding), rounding sets the filters; figures of
the whole signal hardly notice, framewise ones can become meaningless, in museval too.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from gansep.metrics.pairs import decibels, silent

RIDGES = (
    1e-15,
    1e-13,
    1e-11,
    1e-9,
)  # added to the unit diagonal of the normal equations; the next where one fails
REFINEMENTS = 2  # each takes what the ridge bent back by another factor ridge / eigenvalue
CHUNK = 64  # blocks held at a time, half a million samples a channel


class BssScores(NamedTuple):
    """Figures in dB, ``[..., S]`` or, framewise, ``[..., S, N]`` each; higher is better.

    Attributes:
        sdr: signal to distortion, all errors. isr: image to spatial distortion, errors of filtering.
        sir: signal to interference, other sources. sar: signal to artefacts, the rest.
    """

    sdr: Tensor
    isr: Tensor
    sir: Tensor
    sar: Tensor


class Projector:
    """The normal equations of a set of references, factorised once for any number of estimates.

    Args:
        references: images of the true sources, ``[S, C, T]``; no gradient reaches them.
        filters_length: taps of the distortion filters.
    Raises:
        ValueError: another shape, no samples, or no taps.

    >>> x = torch.randn(2, 1, 4000, generator=torch.Generator().manual_seed(0))
    >>> scores = Projector(x, filters_length=8)(x + 0.1 * x.flip(0))
    >>> [round(value) for value in (*scores.sdr.tolist(), *scores.sir.tolist())]
    [20, 20, 20, 20]
    """

    def __init__(self, references: Tensor, filters_length: int = 512) -> None:
        if references.ndim != 3 or not references.numel():
            raise ValueError(f"expected references of shape [S, C, T] with T >= 1, got {list(references.shape)}")
        if filters_length < 1:
            raise ValueError(f"expected filters of at least one tap, got {filters_length}")
        self.references = references.detach().double()
        self.taps = filters_length
        self.silent = silent(self.references)
        count, channels, _ = references.shape
        cross = _correlate(self._basis, self._basis, self.taps)  # [K, K, L]
        norms = cross[..., 0].diagonal().sqrt()
        self._scale = norms.masked_fill(norms == 0, 1).reciprocal()  # so that quiet sources are solved as well as loud
        gram = _toeplitz(cross * self._scale[:, None, None] * self._scale[:, None])
        side = channels * self.taps
        own = gram.view(count, side, count, side).diagonal(dim1=0, dim2=2).movedim(-1, 0)  # [S, CL, CL]
        self._own = _Solver(own.contiguous())
        self._all = self._own if count == 1 else _Solver(gram[None])

    @property
    def _basis(self) -> Tensor:
        return self.references.flatten(0, 1)  # [K, T], K = S C

    def __call__(self, estimates: Tensor, window: int | None = None, hop: int | None = None) -> BssScores:
        """Figures of ``estimates``; a gradient reaches them.

        Args:
            estimates: images of the estimated sources, in the order of the references.
            window: samples a window; the whole signal unless given. The filters are those of the whole signal.
            hop: samples from one window to the next; ``window`` unless given. A shorter rest is left out.
        Shape: ``[..., S, C, T]`` to ``[..., S]``, with a window to ``[..., S, N]``.
        Raises:
            ValueError: a shape other than the references', or a window or hop below 1.
        """
        self._check(estimates, window, hop)
        estimates = estimates.double()
        own, every = self._filters(estimates)
        parts = []
        for span in _spans(estimates.shape[-1], window, hop):
            part = self.references[..., span]
            scores = _ratios(estimates[..., span], part, own, every)  # 4 times [..., S]
            parts.append(torch.stack(scores).masked_fill(silent(part), torch.nan))
        return BssScores(*(parts[0] if window is None else torch.stack(parts, -1)))

    def _check(self, estimates: Tensor, window: int | None, hop: int | None) -> None:
        if estimates.shape[-3:] != self.references.shape:
            shapes = f"{list(self.references.shape)}, got {list(estimates.shape)}"
            raise ValueError(f"expected estimates of shape [..., S, C, T] as the references', {shapes}")
        if hop is not None and window is None:
            raise ValueError(f"expected a window for a hop of {hop} samples, got none")
        for name, value in (("window", window), ("hop", hop)):
            if value is not None and value < 1:
                raise ValueError(f"expected a {name} of at least one sample, got {value}")

    def _filters(self, estimates: Tensor) -> tuple[Tensor, Tensor]:
        """Distortion filters ``[..., S, C, L, C]`` from its own and ``[..., S, K, L, C]`` from all references."""
        sources, channels, _ = self.references.shape
        lead = estimates.shape[:-2]  # [..., S]
        cross = _correlate(self._basis, estimates.flatten(0, -2), self.taps) * self._scale[:, None, None]  # [K, E, L]
        right = cross.movedim(1, -1).unflatten(-1, (-1, sources, channels))  # [K, L, batch, S, C]
        right = right.permute(2, 3, 0, 1, 4)  # [batch, S, K, L, C]
        scale = self._scale[:, None, None]
        each = torch.arange(sources)
        mine = right.unflatten(2, (sources, channels))[:, each, each]  # [batch, S, C, L, C]
        columns = mine.permute(1, 2, 3, 0, 4).flatten(3).flatten(1, 2)  # [S, CL, batch C]
        solved = self._own(columns).view(sources, channels, self.taps, -1, channels).permute(3, 0, 1, 2, 4)
        own = (solved * scale.view(sources, channels, 1, 1)).reshape(*lead, channels, self.taps, channels)
        columns = right.permute(2, 3, 0, 1, 4).reshape(1, sources * channels * self.taps, -1)  # [1, KL, batch S C]
        solved = self._all(columns).view(-1, self.taps, right.shape[0], sources, channels).permute(2, 3, 0, 1, 4)
        return own, (solved * scale).reshape(*lead, -1, self.taps, channels)


def bss_eval(
    estimates: Tensor,
    references: Tensor,
    window: int | None = None,
    hop: int | None = None,
    filters_length: int = 512,
) -> BssScores:
    """SDR, ISR, SIR and SAR of ``estimates``; use :class:`Projector` to judge several estimates of one set.

    Args:
        estimates: images of the estimated sources, in the order of the references; a gradient reaches them.
        references: images of the true sources; silent, the figures of that source are NaN.
        window: samples a window; the whole signal unless given.
        hop: samples from one window to the next; ``window`` unless given.
        filters_length: taps of the distortion filters.
    Shape: ``[..., S, C, T]`` and ``[S, C, T]`` to ``[..., S]``, with a window to ``[..., S, N]``.
    Raises:
        ValueError: shapes other than these, or a size below 1.
    """
    return Projector(references, filters_length)(estimates, window, hop)


class _Solver:
    """Least squares by Cholesky factors ``[G, n, n]``; the ridge a singular system needs is refined away again.

    Dual mono, band-limited and silent channels make the normal equations singular, though the projection exists.
    """

    def __init__(self, gram: Tensor) -> None:
        self.gram = gram
        for ridge in RIDGES:
            shifted = gram.clone()
            shifted.diagonal(dim1=-2, dim2=-1).add_(ridge)
            self.factor, info = torch.linalg.cholesky_ex(shifted)
            if not info.any():
                return
        raise ValueError("the references' normal equations have no factors; expected samples that are finite")

    def __call__(self, right: Tensor) -> Tensor:
        """``[G, n, columns]`` to the same."""
        solution = torch.cholesky_solve(right, self.factor)
        for _ in range(REFINEMENTS):
            solution = solution + torch.cholesky_solve(right - self.gram @ solution, self.factor)
        return solution


def _spans(length: int, window: int | None, hop: int | None) -> Iterator[slice]:
    """Windows that fit; one of what there is if none does."""
    if window is None or window >= length:
        yield slice(0, length)
        return
    for start in range(0, length - window + 1, hop or window):
        yield slice(start, start + window)


# Correlation and filtering go block by block, so that memory does not grow with length and transforms stay small. A
# block of the signals comes with the L - 1 samples before it, as in overlap-save:
#
#     |-- L-1 --|-------- block --------|               signals, transformed
#               |-------- block --------|               waves they are correlated with, or what filtering returns


def _block(taps: int, length: int) -> tuple[int, int]:
    """Transform size and the samples of a block, few taps and a power of two."""
    n_fft = 1 << (16 * taps - 1).bit_length()
    n_fft = min(n_fft, 1 << (length + 2 * taps - 1).bit_length())
    return n_fft, n_fft - taps + 1


def _blocks(waves: Tensor, taps: int, history: bool) -> Iterator[Tensor]:
    """``[..., T]`` and ``taps - 1`` zeros to chunks of ``[..., blocks, block]``, or of spectra with history."""
    length = waves.shape[-1] + taps - 1
    n_fft, block = _block(taps, waves.shape[-1])
    count = -(-length // block)
    for first in range(0, count, CHUNK):
        last = min(first + CHUNK, count)
        start, stop = first * block - (taps - 1 if history else 0), last * block
        part = waves[..., max(start, 0) : min(stop, waves.shape[-1])]
        part = F.pad(part, (max(-start, 0), max(0, stop - max(waves.shape[-1], start, 0))))
        yield torch.fft.rfft(part.unfold(-1, n_fft, block)) if history else part.unflatten(-1, (-1, block))


def _correlate(signals: Tensor, waves: Tensor, taps: int) -> Tensor:
    """``sum_n signals[k, n - lag] waves[e, n]`` for lags below ``taps``: ``[K, T]``, ``[E, T]`` to ``[K, E, L]``."""
    n_fft, _ = _block(taps, signals.shape[-1])
    total = torch.zeros((), dtype=torch.complex128, device=signals.device)
    for history, block in zip(_blocks(signals, taps, True), _blocks(waves, taps, False), strict=True):
        theirs = torch.fft.rfft(F.pad(block, (taps - 1, 0)))
        total = total + torch.einsum("knf,enf->kef", history.conj(), theirs)
    return torch.fft.irfft(total, n_fft)[..., :taps]


def _toeplitz(cross: Tensor) -> Tensor:
    """Inner products of delayed signals, ``[K, K, L]`` to ``[K L, K L]``: entry ``(k, a), (l, b)`` has lag a - b."""
    count, _, taps = cross.shape
    lags = torch.cat([cross.transpose(0, 1)[..., 1:].flip(-1), cross], -1)  # 1 - L to L - 1
    return lags.unfold(-1, taps, 1).flip(-1).movedim(2, 1).reshape(count * taps, count * taps)


def _ratios(estimates: Tensor, references: Tensor, own: Tensor, every: Tensor) -> tuple[Tensor, ...]:
    """SDR, ISR, SIR and SAR ``[..., S]`` of a window ``[..., S, C, T]`` and its ``[S, C, T]``, with given filters."""
    taps = own.shape[-2]
    n_fft, _ = _block(taps, references.shape[-1])
    mine, theirs = (torch.fft.rfft(filters, n_fft, dim=-2) for filters in (own, every))  # [..., S, K, F, C]
    total = torch.zeros(7, *own.shape[:-3], dtype=torch.float64, device=own.device)
    chunks = zip(
        _blocks(references, taps, True), _blocks(references, taps, False), _blocks(estimates, taps, False), strict=True
    )
    for spectra, true, estimate in chunks:  # [S, C, blocks, F], [S, C, blocks, block], [..., S, C, blocks, block]
        filtered = torch.einsum("sknf,...skfc->...scnf", spectra, mine)
        projected = torch.einsum("knf,...skfc->...scnf", spectra.flatten(0, 1), theirs)
        p, q = (torch.fft.irfft(part, n_fft)[..., taps - 1 :] for part in (filtered, projected))
        parts = (true.expand_as(p), estimate - true, p - true, p, q - p, q, estimate - q)
        total = total + torch.stack([part.square().sum((-3, -2, -1)) for part in parts])
    signal, distortion, spatial, image, interference, span, artefacts = total
    return (
        decibels(signal, distortion),
        decibels(signal, spatial),
        decibels(image, interference),
        decibels(span, artefacts),
    )
