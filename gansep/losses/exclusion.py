"""Whether two spectrograms have their edges in the same places: unwanted between sources, wanted with the mixture.

After the exclusion loss of Zhang, Ng and Chen, "Single Image Reflection Separation with Perceptual Losses"
(CVPR 2018), which Narayanaswamy et al. (arXiv 2005.13769) carried from pictures to spectrograms.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from gansep.dsp.stft import stft
from gansep.losses.spectral import LEVELS, check_pair, choose, level, log_power, pyramid, uncentred_magnitude

ROOT_FLOOR = 1e-12  # under the fourth root of the article's form, whose slope at 0 is infinite
OVERLAP_FLOOR = 1e-4  # the same for ours, which lives between 0 and 1
FLAT = 1e-8  # the size of edges that are none, in the article's form
FAINT = 1e-3  # in ours, whose edges are of order 1 unless the source is silent: keeps the gradient there in bounds

# What a form is made of: waveforms [..., T] -> pictures [..., F, N]; two edge maps [..., F, N] -> overlap [...].
Picture = Callable[[Tensor], Tensor]
Overlap = Callable[[Tensor, Tensor], Tensor]


def source_dissimilarity(estimates: Tensor, variant: str = "default") -> Tensor:
    r"""How much the edges of the estimates coincide, the mean over pairs; small for sources that do not resemble.

    Edges are first differences :math:`a, b` of two spectrograms along time or frequency. E is the mean over both axes
    and over three levels, each a 2x2 average pooling of the one before, of an overlap.

    ``default``: with :math:`\hat a = \tanh^2(\tfrac12 a / \operatorname{rms} a)`, :math:`\hat b` likewise,

    .. math:: \Bigl( \frac{\operatorname{mean} \hat a \hat b}
        {\sqrt{\operatorname{mean} \hat a^2 \operatorname{mean} \hat b^2}} \Bigr)^{1/2}

    on :math:`\log(1 + |X| / r)`, 512/256, Hann, centred, :math:`r` the RMS of :math:`|X|`. By Cauchy and Schwarz it
    lies in [0, 1]: 0 for sources that never sound together in a bin, 1 for identical ones. It is symmetric, and
    turning an estimate down does not lower it (until the estimate is silent, where it is 0).

    ``code`` (as programmed): the overlap of the :math:`i`-th and a later estimate is

    .. math:: \bigl( \operatorname{mean} \tanh^2(a / 2) \tanh^2(\alpha b / 2) \bigr)^{1/4}, \quad
        \alpha = 2 \operatorname{mean}|a| / \operatorname{mean}|b|

    on :math:`\log(1 + |X|^2)` of a Hann STFT 256/128 without centring, zero-padded to 256 samples at least.

    Args:
        estimates: the ``S`` sources of each example; with one there is nothing to compare and the loss is 0.
        variant: ``default`` or ``code``.
    Shape: ``[B, S, T]`` to ``[B]``.
    Raises:
        ValueError: not ``[B, S, T]``, no source or no samples, an unknown variant.

    >>> x = torch.randn(2, 1, 4096)
    >>> source_dissimilarity(torch.cat([x, x], 1)).round(decimals=4)
    tensor([1., 1.])
    >>> source_dissimilarity(x)
    tensor([0., 0.])
    """
    if estimates.ndim != 3 or 0 in estimates.shape[1:]:
        raise ValueError(f"expected estimates of shape [B, S, T] with S, T >= 1, got {list(estimates.shape)}")
    picture, overlap = choose(_FORMS, variant)
    if estimates.shape[1] == 1:
        return (0 * estimates.sum((-2, -1))).abs()  # zero, and still part of the graph
    pictures = picture(estimates)  # [B, S, F, N]
    first, second = torch.combinations(torch.arange(estimates.shape[1], device=estimates.device)).unbind(1)
    return _exclusion(pictures[:, first], pictures[:, second], overlap).mean(1)  # [B, pairs] -> [B]


def mixture_correlation(estimate: Tensor, mixture: Tensor, variant: str = "default") -> Tensor:
    """Minus the overlap of the edges of ``mixture`` and ``estimate``, the sum of the sources found.

    The forms are those of :func:`source_dissimilarity`, the mixture first. ``default`` lies in [-1, 0], is -1 at the
    truth and indifferent to gain. ``code`` is a reward without that bound: sharper edges than the mixture's pay.

    Args:
        estimate: samples to judge.
        mixture: samples to explain.
        variant: ``default`` or ``code``.
    Shape: ``[B, T]`` and ``[B, T]`` to ``[B]``.
    Raises:
        ValueError: shapes that differ or are not ``[B, T]``, no samples, an unknown variant.

    >>> x = torch.randn(2, 4096)
    >>> mixture_correlation(0.5 * x, x).round(decimals=4)
    tensor([-1., -1.])
    """
    check_pair(estimate, mixture)
    picture, overlap = choose(_FORMS, variant)
    return -_exclusion(picture(mixture), picture(estimate), overlap)


def _exclusion(a: Tensor, b: Tensor, overlap: Overlap) -> Tensor:
    """E of two stacks of pictures: ``[..., F, N]`` twice to ``[...]``; an axis of one cell has no edges, hence 0."""
    total = a.new_zeros(a.shape[:-2])
    for at_a, at_b in zip(pyramid(a), pyramid(b), strict=True):
        for axis in (-2, -1):
            if at_a.shape[axis] > 1:
                total = total + overlap(at_a.diff(dim=axis), at_b.diff(dim=axis))
    return total / (2 * LEVELS)


def _relative_log_magnitude(wave: Tensor) -> Tensor:
    magnitude = stft(wave, 512, 256).abs()
    return (magnitude / level(magnitude)).log1p()


def _cosine_overlap(a: Tensor, b: Tensor) -> Tensor:
    # The RMS, where the article has the mean: the mean of a few tones' edges is so small that leakage would saturate.
    a, b = (torch.tanh(edges / (2 * _rms(edges))).square() for edges in (a, b))
    norms = a.square().mean((-2, -1)) * b.square().mean((-2, -1))
    cosine = (a * b).mean((-2, -1)) / (norms + OVERLAP_FLOOR**2).sqrt()
    # The root undoes the squares; its slope at 0 is infinite, so it starts a little later and is stretched to [0, 1].
    start, end = OVERLAP_FLOOR**0.5, (1 + OVERLAP_FLOOR) ** 0.5
    return ((cosine + OVERLAP_FLOOR).sqrt() - start) / (end - start)


def _log_power_uncentred(wave: Tensor) -> Tensor:
    return log_power(uncentred_magnitude(wave))


def _fourth_root_overlap(a: Tensor, b: Tensor) -> Tensor:
    alpha = 2 * _mean_size(a) / _mean_size(b)
    product = torch.tanh(a / 2).square() * torch.tanh(alpha * b / 2).square()
    return (product.mean((-2, -1)) + ROOT_FLOOR) ** 0.25


def _mean_size(edges: Tensor) -> Tensor:
    """``mean|edges|`` per example, kept off 0 so that a flat picture may divide: ``[..., F, N]`` to ``[..., 1, 1]``."""
    return edges.abs().mean((-2, -1), keepdim=True) + FLAT


def _rms(edges: Tensor) -> Tensor:
    """RMS per example, kept off 0 in the same way: ``[..., F, N]`` to ``[..., 1, 1]``."""
    return (edges.square().mean((-2, -1), keepdim=True) + FAINT**2).sqrt()


_FORMS: Mapping[str, tuple[Picture, Overlap]] = {
    "default": (_relative_log_magnitude, _cosine_overlap),
    "code": (_log_power_uncentred, _fourth_root_overlap),
}
