"""How far two waveforms are apart in their spectrograms, at several resolutions.

Also what the losses beside it share: the two ways to a spectrogram (theirs and ours), the pooling pyramid and
the checks of shape and variant.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from gansep.dsp.stft import stft

LEVELS = 3
RESOLUTIONS = ((1024, 256), (256, 128))  # (n_fft, hop_length): tones, then onsets; each more costs as much as a network
FLOOR = 0.1  # magnitudes 20 dB below the reference's RMS magnitude (about 45 dB below its peaks) count as nothing
TINY = 1e-3  # keeps the gradients of the square roots finite
SILENCE = 1e-4  # RMS STFT magnitude taken for silence, about -100 dB of full scale

Pairwise = Callable[[Tensor, Tensor], Tensor]
Form = TypeVar("Form")


def multi_resolution_spectral(estimate: Tensor, reference: Tensor, variant: str = "default") -> Tensor:
    r"""Distance between the spectrograms of ``estimate`` and ``reference``.

    ``default``, the mean over the resolutions 1024/256 and 256/128 (Hann, centred) of

    .. math:: \operatorname{mean} |\log (x + 0.1) - \log (y + 0.1)| +
        \lVert x^{1/2} - y^{1/2} \rVert / \lVert y^{1/2} \rVert, \quad x = |X| / r, \quad y = |Y| / r,

    with :math:`r` the RMS of the reference's magnitudes :math:`|Y|`. The logarithm hears quiet bins; the relative error
    of square roots hears the loud ones, which decide the masks, and counts a pure tone as much as a noise: silence
    scores about 1 for either. It is zero where the magnitudes agree and positive elsewhere, feels the gain of the
    estimate, and does not change when one gain is applied to both.

    ``code`` (arXiv 2005.13769, as programmed): the sum over three levels, each a 2x2 average pooling
    of the one before, and over time and frequency of :math:`|A_{ref} - A_{est}|` with :math:`A = \log(1 + |X|^2)` on
    a Hann STFT 256/128 without centring. Waveforms under 256 samples are padded with zeros.

    Args:
        estimate: samples to judge.
        reference: samples to come near, in the search the mixture.
        variant: ``default`` or ``code``.
    Shape: ``[B, T]`` and ``[B, T]`` to ``[B]``.
    Raises:
        ValueError: shapes that differ or are not ``[B, T]``, no samples, an unknown variant.

    >>> x = torch.randn(2, 4096)
    >>> multi_resolution_spectral(x, x)
    tensor([0., 0.])
    >>> bool((multi_resolution_spectral(0.5 * x, x) > 0.5).all())
    True
    """
    check_pair(estimate, reference)
    return choose(_SPECTRAL, variant)(estimate, reference)


def _log_and_compressed(estimate: Tensor, reference: Tensor) -> Tensor:
    distances = [_at_resolution(estimate, reference, *resolution) for resolution in RESOLUTIONS]
    return torch.stack(distances).mean(0)


def _at_resolution(estimate: Tensor, reference: Tensor, n_fft: int, hop_length: int) -> Tensor:
    ours, theirs = stft(estimate, n_fft, hop_length).abs(), stft(reference, n_fft, hop_length).abs()  # [B, F, N]
    scale = level(theirs)
    ours, theirs = ours / scale, theirs / scale
    quiet = ((ours + FLOOR).log() - (theirs + FLOOR).log()).abs().mean((-2, -1))
    ours, theirs = (ours + TINY).sqrt(), (theirs + TINY).sqrt()
    missed = (ours - theirs).square().mean((-2, -1)) / theirs.square().mean((-2, -1))
    return quiet + (missed + TINY**2).sqrt() - TINY


def _pyramid_distance(estimate: Tensor, reference: Tensor) -> Tensor:
    ours, theirs = (log_power(uncentred_magnitude(wave)) for wave in (estimate, reference))
    # Pooling is linear, so pooling the difference is pooling both.
    return torch.stack([gap.abs().sum((-2, -1)) for gap in pyramid(ours - theirs)]).sum(0)


_SPECTRAL: Mapping[str, Pairwise] = {"default": _log_and_compressed, "code": _pyramid_distance}


def level(magnitude: Tensor) -> Tensor:
    """RMS over frequency and time, never below that of silence, so that one may divide by it.

    Shape: ``[..., F, N]`` to ``[..., 1, 1]``.

    >>> level(torch.full((1, 2, 2), 3.0)).item()
    3.0
    """
    return (magnitude.square().mean((-2, -1), keepdim=True) + SILENCE**2).sqrt()


def uncentred_magnitude(wave: Tensor) -> Tensor:
    """Magnitudes as the authors' program takes them: periodic Hann, 256/128, no centring, an incomplete frame dropped.

    Args:
        wave: samples; fewer than 256 are padded with zeros.
    Shape: ``[..., T]`` to ``[..., 129, N]``, ``N = (T - 256) // 128 + 1``.

    >>> uncentred_magnitude(torch.zeros(1, 16384)).shape
    torch.Size([1, 129, 127])
    """
    flat = F.pad(wave, (0, max(0, 256 - wave.shape[-1]))).flatten(0, -2)  # [B, T]
    window = torch.hann_window(256, device=wave.device, dtype=wave.dtype)
    spec = torch.stft(flat, 256, 128, window=window, center=False, return_complex=True)
    return spec.abs().reshape(*wave.shape[:-1], *spec.shape[-2:])


def log_power(magnitude: Tensor) -> Tensor:
    """``log(1 + magnitude^2)``, the article's scale for everything but frequency continuity."""
    return magnitude.square().log1p()


def pyramid(image: Tensor) -> list[Tensor]:
    """``image`` and its 2x2 average poolings, three levels; odd sizes round up, the missing cells are not counted.

    Shape: ``[B, ..., F, N]`` to three tensors, ``[B, ..., ceil(F / 2^l), ceil(N / 2^l)]`` for ``l = 0, 1, 2``.

    >>> [tuple(level.shape) for level in pyramid(torch.zeros(1, 129, 127))]
    [(1, 129, 127), (1, 65, 64), (1, 33, 32)]
    """
    levels = [image]
    while len(levels) < LEVELS:
        levels.append(F.avg_pool2d(levels[-1], 2, ceil_mode=True))
    return levels


def check_pair(estimate: Tensor, reference: Tensor) -> None:
    """Raise ValueError unless both are ``[B, T]`` with the same sizes and at least one sample."""
    if estimate.ndim != 2 or estimate.shape[-1] == 0:
        raise ValueError(f"expected an estimate of shape [B, T] with T >= 1, got {list(estimate.shape)}")
    if reference.shape != estimate.shape:
        expected, actual = list(estimate.shape), list(reference.shape)
        raise ValueError(f"expected a reference of the estimate's shape {expected}, got {actual}")


def choose(forms: Mapping[str, Form], variant: str) -> Form:
    """The form that ``variant`` names, or ValueError with the names there are."""
    if variant not in forms:
        raise ValueError(f"expected a variant out of {', '.join(forms)}, got {variant!r}")
    return forms[variant]
