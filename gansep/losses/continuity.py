"""Whether the estimate has, frame by frame, as much going on across frequency as the mixture."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from gansep.dsp.stft import stft
from gansep.losses.spectral import Pairwise, check_pair, choose, level, uncentred_magnitude

EPSILON = 1e-6  # the authors' own
QUIET = 1e-2  # mean log magnitude of a frame, relative to the mixture's RMS, that counts as nothing


def frequency_continuity(estimate: Tensor, mixture: Tensor, variant: str = "default") -> Tensor:
    r"""Compare the log-magnitudes of ``estimate`` and ``mixture``.

    ``default``: zero if and only if every frame's mean log-magnitude agrees, at its smallest there,

    .. math:: \operatorname{mean}_n |\log c_{mix} - \log c_{est}|, \quad
        c = \operatorname{mean}_f \log(1 + |X| / r) + 0.01,

    with :math:`r` the RMS of :math:`|X_{mix}|` in both, on a centred Hann STFT 512/256. A gain on both changes nothing.

    The published forms use a Hann STFT 256/128 without centring (zero-padded to 256 samples at least). Both fall
    without bound as the estimate grows louder: they are smallest far from the truth and need other losses beside them.

    ``code`` (as programmed): :math:`\sum_n (\sum_f \log(1 + |X_{mix}|) + \epsilon) / (\sum_f \log(1 + |X_{est}|) +
    \epsilon)`.

    ``paper`` (arXiv 2005.13769): the text describes the ratio at each time-frequency point, so we read
    it as :math:`\sum_{n,f} (\log(1 + |X_{mix}|) + \epsilon) / (\log(1 + |X_{est}|) + \epsilon)`, with the program's
    :math:`\epsilon = 10^{-6}`.

    Args:
        estimate: samples to judge.
        mixture: samples to explain.
        variant: ``default``, ``code`` or ``paper``.
    Shape: ``[B, T]`` and ``[B, T]`` to ``[B]``.
    Raises:
        ValueError: shapes that differ or are not ``[B, T]``, no samples, an unknown variant.

    >>> import torch
    >>> x = torch.randn(1, 16384)
    >>> frequency_continuity(x, x).item(), frequency_continuity(x, x, "code").item()
    (0.0, 127.0)
    >>> bool(frequency_continuity(1.5 * x, x, "code") < 127)
    True
    """
    check_pair(estimate, mixture)
    return choose(_CONTINUITY, variant)(estimate, mixture)


def _absolute_log_ratio(estimate: Tensor, mixture: Tensor) -> Tensor:
    ours, theirs = stft(estimate, 512, 256).abs(), stft(mixture, 512, 256).abs()  # [B, F, N]
    scale = level(theirs)
    ours, theirs = ((magnitude / scale).log1p().mean(-2) + QUIET for magnitude in (ours, theirs))  # [B, N]
    return (theirs.log() - ours.log()).abs().mean(-1)


def _ratio_per_frame(estimate: Tensor, mixture: Tensor) -> Tensor:
    ours, theirs = (uncentred_magnitude(wave).log1p().sum(-2) + EPSILON for wave in (estimate, mixture))  # [B, N]
    return (theirs / ours).sum(-1)


def _ratio_per_point(estimate: Tensor, mixture: Tensor) -> Tensor:
    ours, theirs = (uncentred_magnitude(wave).log1p() + EPSILON for wave in (estimate, mixture))  # [B, F, N]
    return (theirs / ours).sum((-2, -1))


_CONTINUITY: Mapping[str, Pairwise] = {
    "default": _absolute_log_ratio,
    "code": _ratio_per_frame,
    "paper": _ratio_per_point,
}
