r"""Masks: each source's share of a mixture's spectrogram.

The ideal ones are made from what a mixture :math:`Y = S + N` consists of, a source :math:`S` and the rest :math:`N`.
They are bounds of what masks can reach and targets that networks learn. Their arguments are complex spectrograms
``(source, rest)`` of one shape, any leading axes; where :math:`Y` is nothing but rounding (silence, or a source and a
rest that cancel), a mask that divides by it is 0. Shapes that differ or real spectrograms raise a ValueError.

References
----------
.. [#wang] D. Wang, "On Ideal Binary Mask As the Computational Goal of Auditory Scene Analysis", 2005.
.. [#wang14] Y. Wang, A. Narayanan and D. Wang, "On Training Targets for Supervised Speech Separation", TASLP 2014.
.. [#erdogan] H. Erdogan et al., "Phase-Sensitive and Recognition-Boosted Speech Separation Using Deep Recurrent Neural
   Networks", ICASSP 2015.
.. [#williamson] D. Williamson et al., "Complex Ratio Masking for Monaural Speech Separation", TASLP 2016.
.. [#liang] S. Liang et al., "The Optimal Ratio Time-Frequency Mask for Speech Separation in Terms of the
   Signal-to-Noise Ratio", JASA 2013.
.. [#choi] H.-S. Choi et al., "Phase-Aware Speech Enhancement with Deep Complex U-Net", ICLR 2019.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

K, C = 10.0, 0.1  # of compressed masks, as in Williamson et al. (2016)


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


def expected_energy(mask: Tensor, mixture_spec: Tensor) -> tuple[Tensor, Tensor]:
    """How much of what masks leave to expect right and wrong, if each is the probability that a point is its source's.

    Of a point of power ``p`` a mask ``m`` leaves ``m^2 p``, with an expected error of ``m (1 - m) p``: masks that are 0
    or 1 everywhere expect none. The ratio of the two sums in dB is near the true signal-to-distortion ratio where masks
    come from a network that learned to minimise the error.

    Shape: ``[..., S, F, N]`` and ``[..., F, N]`` to ``[..., S]`` twice.

    >>> import torch
    >>> energy, error = expected_energy(torch.tensor([1.0, 0.5]).reshape(1, 1, 2), torch.tensor([[3.0, 2.0j]]))
    >>> energy.item(), error.item()
    (10.0, 1.0)
    """
    power = mixture_spec.abs().square().unsqueeze(-3)
    return (mask.square() * power).sum((-2, -1)), (mask * (1 - mask) * power).sum((-2, -1))


def ibm(
    source: Tensor,
    rest: Tensor,
    *,
    theta: float | None = None,
    exponent: float = 1.0,
    criterion: float | None = None,
    context: int = 0,
) -> Tensor:
    r"""Ideal binary mask: 1 where the source prevails, else 0; silence counts as the source's.

    .. math::
        |S| \ge |N|, \qquad |S|^a / |N|^a \ge \theta, \qquad 10 \log_{10} (|S|^2 / |N|^2) \ge \mathrm{LC}

    After Wang (2005), without arguments and with a local criterion, and Erdogan et al. (2015), with a threshold (0.5
    there).

    Args:
        theta: threshold :math:`\theta` of the second form. exponent: :math:`a` there.
        criterion: LC of the third form, in dB.
        context: frames to drop at either end, where a network that hears neighbouring frames has too few of them.
    Shape: ``[..., F, N]`` twice to ``[..., F, N - 2 * context]``, of the real type.
    Raises:
        ValueError: both a theta and a criterion, or a context that leaves no frame.

    >>> s, n = torch.tensor([[3 + 4j, 1, 0.6]]), torch.tensor([[0j, 2, 1]])
    >>> ibm(s, n), ibm(s, n, criterion=-5.0)
    (tensor([[1., 0., 0.]]), tensor([[1., 0., 1.]]))
    """
    _check(source, rest)
    if theta is not None and criterion is not None:
        raise ValueError(f"expected a theta or a criterion in dB, got both, {theta} and {criterion}")
    if not 0 <= 2 * context < source.shape[-1]:
        raise ValueError(f"expected a context that leaves some of {source.shape[-1]} frames, got {context}")
    if criterion is not None:
        theta, exponent = 10 ** (criterion / 20), 1.0  # the same comparison, without a division
    ours, theirs = source.abs() ** exponent, rest.abs() ** exponent
    prevails = ours >= (1.0 if theta is None else theta) * theirs
    return prevails[..., context : source.shape[-1] - context].to(ours.dtype)


def irm(source: Tensor, rest: Tensor, beta: float = 0.5) -> Tensor:
    r"""Ideal ratio mask, in [0, 1]; 0 in silence.

    .. math:: \bigl( |S|^2 / (|S|^2 + |N|^2) \bigr)^\beta

    After Wang et al. (2014); :math:`\beta = 1` is the Wiener filter.

    Args:
        beta: exponent, above 0.
    Shape: ``[..., F, N]`` twice to ``[..., F, N]``, of the real type.

    >>> irm(torch.tensor([[3j]]), torch.tensor([[4 + 0j]]))
    tensor([[0.6000]])
    """
    _check(source, rest)
    ours = source.abs().square()
    total = ours + rest.abs().square()
    share = _ratio(ours, total, total > 0)
    some = share > 0  # the slope of a root at 0 is infinite
    return torch.where(some, share.masked_fill(~some, 1) ** beta, 0)


def iam(source: Tensor, rest: Tensor, clip: bool = False) -> Tensor:
    r"""Ideal amplitude mask, or spectral magnitude mask, from 0 up; to 1 at most if clipped.

    .. math:: |S| / |S + N|

    After Wang et al. (2014), FFT-MASK there.

    Args:
        clip: whether shares above 1, where the two cancel in part, become 1.
    Shape: ``[..., F, N]`` twice to ``[..., F, N]``, of the real type.

    >>> s, n = torch.tensor([[1j, 2j]]), torch.tensor([[1j, -1j]])
    >>> iam(s, n), iam(s, n, clip=True)
    (tensor([[0.5000, 2.0000]]), tensor([[0.5000, 1.0000]]))
    """
    mixture, sounds = _mixture(source, rest)
    mask = _ratio(source.abs(), mixture.abs(), sounds)
    return mask.clamp(max=1) if clip else mask


def psm(source: Tensor, rest: Tensor, truncate: bool = False) -> Tensor:
    r"""Phase-sensitive mask, any real number; in [0, 1] if truncated. Of all real masks the one with least error.

    .. math:: \frac{|S|}{|Y|} \cos(\angle S - \angle Y) = \mathrm{Re}(S / Y), \qquad Y = S + N

    After Erdogan et al. (2015).

    Args:
        truncate: whether to clip to [0, 1].
    Shape: ``[..., F, N]`` twice to ``[..., F, N]``, of the real type.

    >>> s, n = torch.tensor([[1 + 1j, 2j]]), torch.tensor([[1 - 1j, -1j]])
    >>> psm(s, n), psm(s, n, truncate=True)
    (tensor([[0.5000, 2.0000]]), tensor([[0.5000, 1.0000]]))
    """
    mask = cirm(source, rest).real
    return mask.clamp(0, 1) if truncate else mask


def cirm(source: Tensor, rest: Tensor) -> Tensor:
    r"""Complex ideal ratio mask, any complex number: with it the mixture becomes the source, phase and all.

    .. math:: S Y^* / |Y|^2 = S / Y, \qquad Y = S + N

    After Williamson et al. (2016). Networks learn it compressed, see :func:`compress`.

    Shape: ``[..., F, N]`` twice to ``[..., F, N]``, complex.

    >>> cirm(torch.tensor([[1 + 1j]]), torch.tensor([[1 - 1j]]))
    tensor([[0.5000+0.5000j]])
    """
    mixture, sounds = _mixture(source, rest)
    return _ratio(source, mixture, sounds)


def orm(source: Tensor, rest: Tensor, compressed: bool = False) -> Tensor:
    r"""Optimal ratio mask, any real number; in (-K, K) if compressed.

    .. math:: \frac{|S|^2 + \mathrm{Re}(S N^*)}{|S|^2 + |N|^2 + 2 \mathrm{Re}(S N^*)}

    After Liang et al. (2013). As :math:`|S|^2 + S N^* = S Y^*` and the denominator is :math:`|Y|^2`, it is the
    phase-sensitive mask without truncation; nothing but a network's ability to learn one or the other can differ.

    Args:
        compressed: whether to apply :func:`compress`.
    Shape: ``[..., F, N]`` twice to ``[..., F, N]``, of the real type.

    >>> orm(torch.tensor([[1 + 1j, 2j]]), torch.tensor([[1 - 1j, -1j]]))
    tensor([[0.5000, 2.0000]])
    """
    _check(source, rest)
    ours, theirs = source.abs().square(), rest.abs().square()
    both = (source * rest.conj()).real
    power = ours + theirs + 2 * both
    mask = _ratio(ours + both, power, power > 4 * torch.finfo(power.dtype).eps * (ours + theirs))
    return compress(mask) if compressed else mask


def crm(output: Tensor) -> Tensor:
    r"""Bounded complex ratio mask from a network's unbounded complex output, of magnitude below 1.

    .. math:: \tanh(|m|) \, m / |m|

    After Choi et al. (2019).

    Shape: any, complex (:math:`m`), to the same.
    Raises:
        ValueError: a real output.

    >>> crm(torch.tensor([0j, 100j, -0.001]))
    tensor([ 0.0000+0.j,  0.0000+1.j, -0.0010+0.j])
    """
    if not output.is_complex():
        raise ValueError(f"expected a complex output, got {output.dtype}")
    size = output.abs()
    some = size > 0
    return output * torch.where(some, _ratio(size.tanh(), size, some), 1)


def compress(mask: Tensor, k: float = K, c: float = C) -> Tensor:
    r"""An unbounded mask squeezed into (-K, K), real and imaginary part each.

    .. math:: K \frac{1 - e^{-C x}}{1 + e^{-C x}} = K \tanh(C x / 2)

    After Williamson et al. (2016).

    Shape: any, real or complex, to the same.

    >>> compress(torch.tensor([0.0, 1.0, 1e6]))
    tensor([ 0.0000,  0.4996, 10.0000])
    """
    return _by_parts(mask, lambda x: k * (c * x / 2).tanh())


def decompress(mask: Tensor, k: float = K, c: float = C, margin: float = 1e-6) -> Tensor:
    r"""What :func:`compress` squeezed; finite also at the bound and past it.

    .. math:: -\frac{1}{C} \ln \frac{K - x}{K + x} = \frac{2}{C} \operatorname{artanh}(x / K)

    After Williamson et al. (2016).

    Args:
        mask: real or complex. k, c: as it was compressed.
        margin: share of the bound that ``|x|`` stays away from it.
    Shape: any to the same.

    >>> decompress(compress(torch.tensor([-3.0, 0.0, 20.0])))
    tensor([-3.,  0., 20.])
    """
    return _by_parts(mask, lambda x: 2 / c * (x / k).clamp(margin - 1, 1 - margin).atanh())


def _check(source: Tensor, rest: Tensor) -> None:
    if source.shape != rest.shape or source.ndim < 2 or not (source.is_complex() and rest.is_complex()):
        said = f"{source.dtype} {list(source.shape)} and {rest.dtype} {list(rest.shape)}"
        raise ValueError(f"expected two complex spectrograms of one shape [..., F, N], got {said}")


def _mixture(source: Tensor, rest: Tensor) -> tuple[Tensor, Tensor]:
    """The mixture and where it is more than rounding."""
    _check(source, rest)
    mixture = source + rest
    return mixture, mixture.abs() > torch.finfo(mixture.dtype).eps * (source.abs() + rest.abs())


def _ratio(above: Tensor, below: Tensor, where: Tensor) -> Tensor:
    """A quotient, 0 elsewhere; nothing is ever divided by 0, which would give gradients that are not finite."""
    return torch.where(where, above / torch.where(where, below, 1), 0)


def _by_parts(mask: Tensor, squeeze: Callable[[Tensor], Tensor]) -> Tensor:
    return torch.complex(squeeze(mask.real), squeeze(mask.imag)) if mask.is_complex() else squeeze(mask)
