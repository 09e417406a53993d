"""The box: nearest point, in place, idempotent."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from gansep.inversion.projection import to_box


@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=20))
def test_the_nearest_point_of_the_box(numbers: list[float]) -> None:
    expected = [min(1.0, max(-1.0, number)) for number in numbers]
    latents = torch.tensor(numbers)
    assert to_box(latents).tolist() == expected
    assert latents.tolist() == expected  # in place
    assert to_box(latents.clone()).equal(latents)


def test_a_leaf_under_optimisation_can_be_projected() -> None:
    leaf = torch.tensor([[2.0, -0.25]], requires_grad=True)
    assert to_box(leaf) is leaf
    assert leaf.requires_grad and leaf.is_leaf
    assert leaf.tolist() == [[1.0, -0.25]]
