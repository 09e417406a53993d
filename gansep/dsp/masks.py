"""Masks: each source's share of a mixture's spectrogram."""

from __future__ import annotations

from torch import Tensor


def wiener(power: Tensor, rest: Tensor | None = None, floor: float = 1e-10) -> Tensor:
    r"""Share of every source in the power of each time-frequency point (Wiener filter, real, in [0, 1]).

    .. math:: m_k = (|S_k|^2 + \epsilon) / \bigl( \sum_j (|S_j|^2 + \epsilon) + |R|^2 \bigr)

    Without a rest the masks sum to 1 at every point, also where all sources are silent: there each gets an equal
    share. After Liutkus and Badeau, "Generalized Wiener filtering with fractional power spectrograms" (ICASSP 2015),
    with the power as is (alpha = 2).

    Args:
        power: :math:`|S_k|^2`, not negative.
        rest: power :math:`|R|^2` that belongs to no source; the masks leave it its share.
        floor: power :math:`\epsilon` given to every source, so that no mask vanishes.
    Shape: ``[..., S, F, N]`` and ``[..., F, N]`` to ``[..., S, F, N]``.
    Raises:
        ValueError: a power without a source axis, or a rest of another shape.

    >>> import torch
    >>> wiener(torch.tensor([9.0, 1.0]).reshape(1, 2, 1, 1)).flatten()
    tensor([0.9000, 0.1000])
    >>> wiener(torch.zeros(1, 2, 1, 1)).flatten()
    tensor([0.5000, 0.5000])
    """
    if power.ndim < 3:
        raise ValueError(f"expected power of shape [..., S, F, N], got {list(power.shape)}")
    shares = power + floor
    total = shares.sum(-3, keepdim=True)  # [..., 1, F, N]
    if rest is not None:
        expected = [*power.shape[:-3], *power.shape[-2:]]
        if list(rest.shape) != expected:
            raise ValueError(f"expected a rest of shape {expected}, got {list(rest.shape)}")
        total = total + rest.unsqueeze(-3)
    return shares / total


def apply_mask(mask: Tensor, mixture_spec: Tensor) -> Tensor:
    """Spectrograms of the sources, with the mixture's phase if the mask is real.

    Args:
        mask: one for each source, real or complex.
        mixture_spec: complex spectrogram of the mixture.
    Shape: ``[..., S, F, N]`` and ``[..., F, N]`` to ``[..., S, F, N]``; leading axes broadcast, so that
        ``mask[:, None]`` gives every channel of a ``[B, C, F, N]`` mixture the same mask.
    Raises:
        ValueError: ``F`` or ``N`` differ, or a mask without a source axis.

    >>> import torch
    >>> apply_mask(torch.full((2, 3, 5, 7), 0.5), torch.ones(2, 5, 7) * 1j).shape
    torch.Size([2, 3, 5, 7])
    """
    if mask.ndim < 3 or mask.shape[-2:] != mixture_spec.shape[-2:]:
        bins = ", ".join(map(str, mixture_spec.shape[-2:]))
        raise ValueError(f"expected a mask of shape [..., S, {bins}], got {list(mask.shape)}")
    return mask * mixture_spec.unsqueeze(-3)
