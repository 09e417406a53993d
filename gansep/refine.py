"""Estimates to stems: the power of what the generators play becomes masks on the mixture itself.

A generated waveform has a meaningless phase and a useful magnitude, so the default output filters the mixture: every
channel of it, at its own rate. Masks are made from spectrograms at the separator's rate and carried to the mixture's
by seconds and Hz (windows of the same duration; frequencies above the separator's band follow the top of it), and all
channels get the same mask; where sources are is told apart afterwards (:mod:`gansep.dsp.spatial`).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from gansep.dsp.masks import apply_mask, wiener
from gansep.dsp.stft import istft, stft

TOP = 0.95  # share of the estimates' band that masks come from: resampling leaves only noise at its very top


@dataclass(frozen=True)
class Refinement:
    """How masks are made from estimates.

    Attributes:
        seconds: length of the analysis window.
        exponent: of the estimates' magnitudes in the masks; 2 is the Wiener filter.
        floor: share of every point that each source gets whatever its estimate says, so that a failed search makes
            a faint stem and not a silent one.
        residual: share of the power that no source claims which the masks leave to the residual; 0 gives it to
            the sources, as their own power goes.
    """

    seconds: float = 0.064
    exponent: float = 2.0
    floor: float = 0.001
    residual: float = 0.0


def refine(mixture: Tensor, sample_rate: int, estimates: Tensor, rate: int, how: Refinement = Refinement()) -> Tensor:
    """Filter the mixture into one stem a source.

    Args:
        mixture: every channel, at its own rate.
        sample_rate: of the mixture, in Hz.
        estimates: what each source sounds like, of the same duration.
        rate: of the estimates, in Hz.
        how: settings.
    Shape: ``[B, C, T]`` and ``[B, S, T']`` to ``[B, S, C, T]``; the stems sum to the mixture less the residual.

    >>> mixture = torch.randn(1, 2, 44100)
    >>> stems = refine(mixture, 44100, torch.randn(1, 3, 16000), 16000)
    >>> bool((stems.sum(1) - mixture).abs().max() < 1e-4)
    True
    """
    n_fft, hop = analysis_sizes(how.seconds, sample_rate)
    spectrum = stft(mixture, n_fft, hop)  # [B, C, F, N]
    masks = make_masks(mixture.mean(1), sample_rate, estimates, rate, how)  # [B, S, F', N']
    masks = _carry(masks, spectrum.shape[-2:], sample_rate / rate)
    stems = apply_mask(masks[:, None], spectrum)  # [B, C, S, F, N]
    return istft(stems, mixture.shape[-1], n_fft, hop).transpose(1, 2)


def make_masks(mixture: Tensor, sample_rate: int, estimates: Tensor, rate: int, how: Refinement) -> Tensor:
    """Each source's share of every time-frequency point, at the estimates' rate.

    Shape: ``[B, T]`` (used for the residual alone) and ``[B, S, T']`` to ``[B, S, F', N']``.
    """
    n_fft, hop = analysis_sizes(how.seconds, rate)
    power = stft(estimates, n_fft, hop).abs() ** how.exponent  # [B, S, F', N']
    rest = None
    if how.residual:
        n_mix, hop_mix = analysis_sizes(how.seconds, sample_rate)
        heard = stft(mixture, n_mix, hop_mix).abs() * (n_fft / n_mix)
        heard = _carry(heard[:, None], power.shape[-2:], rate / sample_rate)[:, 0] ** how.exponent
        rest = how.residual * (heard - power.sum(1)).clamp_min(0)
    return how.floor + (1 - how.floor * power.shape[1]) * wiener(power, rest)


def analysis_sizes(seconds: float, rate: int) -> tuple[int, int]:
    """Window and hop in samples, for a window of ``seconds`` at ``rate`` Hz.

    The window is a multiple of four, so that frames of any two rates stay together.
    """
    hop = max(1, round(seconds * rate / 4))
    return 4 * hop, hop


def _carry(image: Tensor, size: tuple[int, int] | torch.Size, ratio: float) -> Tensor:
    """``[B, S, F', N']`` to ``[B, S, F, N]``: frames as they come, frequencies at the same Hz.

    ``ratio`` is the target's rate over the image's; bins above the top of the image's band repeat the one there.
    """
    bins, frames = size
    if (bins, frames) == tuple(image.shape[-2:]) and ratio == 1:
        return image
    at = torch.arange(bins, device=image.device) / (bins - 1) * ratio * (image.shape[-2] - 1)
    at = at.clamp(max=TOP * (image.shape[-2] - 1))
    below = at.floor().long().clamp(max=image.shape[-2] - 2)
    share = (at - below)[:, None]
    image = image[..., below, :] * (1 - share) + image[..., below + 1, :] * share
    missing = frames - image.shape[-1]
    return F.pad(image, (0, missing, 0, 0), mode="replicate") if missing > 0 else image[..., :frames]
