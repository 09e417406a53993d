"""The objective's terms, one by one, with toys whose sounds are known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from gansep.inversion.objective import Objective, Point, Problem, evaluate, fit_gains, play
from gansep.losses import (
    frequency_continuity,
    mixture_correlation,
    multi_resolution_spectral,
    source_dissimilarity,
)

Generate = Callable[[Tensor], Tensor]


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def identity(latents: Tensor) -> Tensor:
    return latents


def point(batch: int, sources: int = 2, size: int = 2, seed: int = 0) -> Point:
    random = torch.Generator().manual_seed(seed)
    latents = tuple(torch.rand(batch, size, generator=random) * 2 - 1 for _ in range(sources))
    return Point(latents, 0.5 * torch.randn(batch, sources, generator=random))


def test_play_is_the_generators_times_the_gains(toys: list[Generate]) -> None:
    here = point(3)
    sources = play(Problem(torch.zeros(3, 2048), toys), here)
    for s, toy in enumerate(toys):
        for b in range(3):
            expected = here.log_gains[b, s].exp() * toy(here.latents[s])[b]
            assert torch.allclose(sources[b, s], expected, atol=1e-6)


def test_unit_peak_divides_by_each_sound_s_own_peak_and_ignores_gains(toys: list[Generate]) -> None:
    problem = Problem(torch.zeros(3, 2048), toys, Objective(unit_peak=True))
    here = point(3)
    sources = play(problem, here)
    assert torch.allclose(sources.abs().amax(-1), torch.ones(3, 2))
    assert torch.equal(sources, play(problem, replace(here, log_gains=here.log_gains + 5)))
    ratio = sources[1, 0] / toys[0](here.latents[0])[1]
    assert ratio[100:].nan_to_num(float(ratio[500])).std() < 1e-3  # the same wave, scaled
    nothing = play(replace(problem, generators=[lambda z: torch.zeros(3, 2048), toys[1]]), here)[:, 0]
    assert not nothing.any()  # silence is not divided by its peak


@pytest.mark.parametrize("variant", ["default", "code"])
def test_every_term_is_its_loss_times_its_weight(toys: list[Generate], variant: str) -> None:
    mixture, here = noise(2, 2048), point(2)
    goal = Objective(0.3, 0.4, 0.1, 0.8, variant, anchor=5.0, likelihood=2.0)
    value = evaluate(Problem(mixture, toys, goal), here, point(2, seed=1))
    heard = value.sources.sum(1)
    gaps = torch.cat(here.latents, 1) - torch.cat(point(2, seed=1).latents, 1)
    expected = {
        "spectral": 0.3 * multi_resolution_spectral(heard, mixture, variant),
        "dissimilarity": 0.4 * source_dissimilarity(value.sources, variant),
        "correlation": 0.1 * mixture_correlation(heard, mixture, variant),
        "continuity": 0.8 * frequency_continuity(heard, mixture, variant),
        "anchor": 5 * gaps.square().mean(1),
        "likelihood": 2 * torch.cat(here.latents, 1).pow(4).mean(1),
    }
    assert set(value.terms) == set(expected)
    for name, term in expected.items():
        assert torch.allclose(value.terms[name], term, atol=1e-5), name
    assert torch.allclose(value.total, torch.stack(list(expected.values())).sum(0))


def test_batch_equivalent_multiplies_the_exclusion_terms_only(toys: list[Generate]) -> None:
    mixture, here = noise(2, 2048), point(2)
    goal = Objective(0.3, 0.4, 0.1, 0.8, "code", anchor=1.0, likelihood=1.0)
    one = evaluate(Problem(mixture, toys, goal), here, here).terms
    many = evaluate(Problem(mixture, toys, replace(goal, batch_equivalent=200)), here, here).terms
    for name, term in one.items():
        factor = 200 if name in ("dissimilarity", "correlation") else 1
        assert torch.allclose(many[name], factor * term), name


def test_a_weight_of_zero_leaves_the_term_out(toys: list[Generate]) -> None:
    value = evaluate(Problem(noise(2, 2048), toys), point(2), point(2))
    assert set(value.terms) == {"spectral"}


@pytest.mark.parametrize("others", [{}, {"agreement": 1.0}, {"unit_peak": True}])
def test_an_objective_that_hears_nothing_is_refused(others: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="needs one of the four losses, got only zero weights"):
        Objective(spectral=0.0, **others)
    for name in ("dissimilarity", "correlation", "continuity"):
        assert getattr(Objective(spectral=0.0, **{name: 0.1}), name) == 0.1


def test_the_truth_explains_the_mixture(toys: list[Generate]) -> None:
    truth = point(3)
    mixture = play(Problem(torch.zeros(3, 2048), toys), truth).sum(1)
    assert evaluate(Problem(mixture, toys), truth, truth).total.max() < 1e-5
    assert evaluate(Problem(mixture, toys), point(3, seed=1), truth).total.min() > 0.05


def test_one_source_is_a_problem_too(toys: list[Generate]) -> None:
    goal = Objective(1.0, 1.0, 1.0, 1.0, anchor=1.0, agreement=1.0)
    problem = Problem(noise(2, 2048), toys[:1], goal, 512, torch.ones(1))
    value = evaluate(problem, point(2, 1), point(2, 1))
    assert value.sources.shape == (2, 1, 2048)
    assert not value.terms["dissimilarity"].any()  # nothing to compare
    assert value.total.isfinite().all()


def test_the_anchor_is_zero_at_the_start_and_known_elsewhere(toys: list[Generate]) -> None:
    start = point(2)
    moved = Point((start.latents[0] + torch.tensor([[0.5], [1.0]]), start.latents[1]), start.log_gains + 3)
    problem = Problem(noise(2, 2048), toys, Objective(anchor=8.0))
    assert not evaluate(problem, start, start).terms["anchor"].any()
    anchor = evaluate(problem, moved, start).terms["anchor"]
    assert torch.allclose(anchor, torch.tensor([8 * 0.25 / 2, 8 * 1.0 / 2]))  # one of two sources has moved


# Agreement of overlapping windows; with the identity for a generator a latent is the sound itself.


def overlapping(batch: int, adjacent: list[float], overlap: int = 512) -> Problem:
    goal = Objective(agreement=2.0)
    return Problem(noise(batch, 1024, seed=7), [identity, identity], goal, overlap, torch.tensor(adjacent))


def windows_of(wave: Tensor, batch: int, overlap: int) -> Tensor:
    return torch.stack([wave[b * (1024 - overlap) :][:1024] for b in range(batch)])


@pytest.mark.parametrize("overlap", [256, 512, 768])
def test_windows_that_play_the_same_in_their_overlap_agree(overlap: int) -> None:
    latents = tuple(windows_of(noise(4096, seed=s), 3, overlap) for s in range(2))
    here = Point(latents, torch.zeros(3, 2))
    assert not evaluate(overlapping(3, [1, 1], overlap), here, here).terms["agreement"].any()


def test_disagreement_is_the_spectral_distance_shared_by_both_windows() -> None:
    here = Point((noise(3, 1024, seed=1), noise(3, 1024, seed=2)), torch.zeros(3, 2))
    gaps = [
        torch.stack(
            [multi_resolution_spectral(z[b + 1 : b + 2, :512], z[b : b + 1, -512:]) for z in here.latents]
        ).mean()
        for b in range(2)
    ]
    term = evaluate(overlapping(3, [1, 1]), here, here).terms["agreement"]
    assert torch.allclose(term, torch.stack([gaps[0], gaps[0] + gaps[1], gaps[1]]))  # weight 2, half for each
    term = evaluate(overlapping(3, [0, 1]), here, here).terms["agreement"]
    assert torch.allclose(term, torch.stack([0 * gaps[0], gaps[1], gaps[1]]))


def test_only_adjacent_windows_are_coupled() -> None:
    latents = noise(4, 1024, seed=1).requires_grad_()
    here = Point((latents, noise(4, 1024, seed=2)), torch.zeros(4, 2))
    term = evaluate(overlapping(4, [1, 0, 1]), here, here).terms["agreement"]
    (gradient,) = torch.autograd.grad(term[0], latents)
    assert [bool(row.any()) for row in gradient] == [True, True, False, False]
    assert not gradient[0, :512].any() and not gradient[1, 512:].any()  # nor anything outside the overlap


def test_a_single_window_has_no_neighbour() -> None:
    here = Point((noise(1, 1024, seed=1), noise(1, 1024, seed=2)), torch.zeros(1, 2))
    assert "agreement" not in evaluate(overlapping(1, []), here, here).terms
    alone = replace(overlapping(2, [1]), adjacent=None)
    here = Point((noise(2, 1024, seed=1), noise(2, 1024, seed=2)), torch.zeros(2, 2))
    assert "agreement" not in evaluate(alone, here, here).terms


# Gains


def test_gains_of_two_sources_in_bands_of_their_own(toys: list[Generate]) -> None:
    here = point(2)
    sources = torch.stack([toy(z) for toy, z in zip(toys, here.latents, strict=True)], 1)  # [B, S, T]
    truth = torch.tensor([[0.3, 2.0], [1.0, 0.05]])
    gains = fit_gains(sources, (sources * truth[..., None]).sum(1))
    assert torch.allclose(gains, truth, rtol=0.02)


def test_one_source_s_gain_is_the_least_squares_one() -> None:
    wave = noise(3, 1, 4096)
    level = torch.tensor([0.01, 1.0, 30.0])
    assert torch.allclose(fit_gains(wave, wave[:, 0] * level[:, None])[:, 0], level, rtol=1e-3)


def test_gains_are_never_negative_and_finite_without_sound() -> None:
    sources = noise(4, 3, 4096)
    sources[0, 1] = 0
    sources[1] = 0
    mixture = -noise(4, 4096, seed=1)
    mixture[2] = 0
    gains = fit_gains(sources, mixture)
    assert (gains > 0).all() and gains.isfinite().all()
    assert gains[2].max() < 1e-3  # nothing to explain


def test_alike_sources_share() -> None:
    wave = noise(1, 1, 4096)
    gains = fit_gains(wave.repeat(1, 2, 1), wave[:, 0])
    assert torch.allclose(gains, torch.tensor([[0.5, 0.5]]), atol=1e-3)
