"""Which estimate belongs to which reference, for methods without names."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from gansep.metrics.waveform import si_sdr


def best_permutation(
    estimates: Tensor, references: Tensor, metric: Callable[[Tensor, Tensor], Tensor] = si_sdr
) -> Tensor:
    """Indices that put ``estimates`` into the order of ``references`` with the greatest sum of ``metric``.

    Each reference gets an estimate of its own; estimates beyond the number of references are left out. A reference for
    which the metric is NaN (a silent one) takes one that the others leave.

    Args:
        estimates: in any order; ``E``, at least as many as references.
        references: the true sources.
        metric: a figure that is higher for the better, of ``[..., T]`` and ``[..., T]`` that broadcast.
    Shape: ``[E, T]`` and ``[S, T]`` to ``[S]``, for ``estimates[indices]``.
    Raises:
        ValueError: shapes other than these, or fewer estimates than references.

    >>> x = torch.randn(3, 1000)
    >>> best_permutation(x[[2, 0, 1]], x)
    tensor([1, 2, 0])
    >>> best_permutation(x, x[[2]])
    tensor([2])
    """
    from scipy.optimize import linear_sum_assignment  # slow to import

    shapes = f"{list(estimates.shape)} and {list(references.shape)}"
    if estimates.ndim != 2 or references.ndim != 2 or estimates.shape[1] != references.shape[1]:
        raise ValueError(f"expected estimates [E, T] and references [S, T], got {shapes}")
    if len(estimates) < len(references):
        raise ValueError(f"expected at least as many estimates [E, T] as references [S, T], got {shapes}")
    with torch.no_grad():
        scores = torch.stack([metric(estimates, reference) for reference in references])  # [S, E]
    _, order = linear_sum_assignment(np.nan_to_num(scores.cpu().numpy()), maximize=True)
    return torch.from_numpy(order).to(estimates.device)
