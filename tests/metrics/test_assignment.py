"""The best assignment against trying all."""

from __future__ import annotations

from itertools import permutations

import pytest
import torch
from torch import Tensor

from gansep.metrics import best_permutation, si_sdr, spectral_snr


def noise(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def test_best_permutation_is_the_best_of_all() -> None:
    references = noise(4, 500)
    estimates = references[[2, 0, 3, 1]] + 2 * noise(4, 500, seed=1)
    chosen = si_sdr(estimates[best_permutation(estimates, references)], references).sum()
    every = [si_sdr(estimates[list(order)], references).sum() for order in permutations(range(4))]
    assert chosen == max(every)
    assert best_permutation(references[[2, 0, 3, 1]], references, spectral_snr).tolist() == [1, 3, 0, 2]


def test_silent_reference_takes_what_is_left() -> None:
    references = noise(3, 500)
    estimates = references[[2, 0, 1]]
    references[1] = 0
    assert best_permutation(estimates, references).tolist() == [1, 2, 0]


def test_more_estimates_than_references() -> None:
    references = noise(2, 500)
    others = noise(3, 500, seed=1)
    estimates = torch.stack([others[0], references[1] + 2 * others[0], others[1], references[0] + 2 * others[2]])
    order = best_permutation(estimates, references)
    assert order.tolist() == [3, 1]
    every = [si_sdr(estimates[list(some)], references).sum() for some in permutations(range(4), 2)]
    assert si_sdr(estimates[order], references).sum() == max(every)


def test_refusals_name_what_was_expected() -> None:
    with pytest.raises(ValueError, match=r"at least as many estimates .* got \[2, 100\] and \[3, 100\]"):
        best_permutation(noise(2, 100), noise(3, 100))
    for estimates, references in ((noise(2, 100), noise(2, 99)), (noise(2, 1, 100), noise(2, 1, 100))):
        with pytest.raises(ValueError, match=r"estimates \[E, T\] and references \[S, T\], got \[2, "):
            best_permutation(estimates, references)
