"""Rows on mixtures: the same stems as through the pipeline, one search for two rows, its cost on both."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from gansep.backends import load_separator
from gansep.pipeline import Settings
from gansep.research.protocol import Mixture
from gansep.research.rows import ROWS, Row
from gansep.research.running import Runner, through
from gansep.types import ModelError

SOURCES = ("hiss", "tone")


@pytest.fixture
def examples() -> list[Mixture]:
    random = torch.Generator().manual_seed(0)
    waves = 0.1 * torch.randn(3, 2, 1, 20_000, generator=random)
    return [Mixture(f"hiss-tone-{i}", SOURCES, wave, 16000, f"g{i}") for i, wave in enumerate(waves)]


def test_a_row_is_its_separator_through_the_pipeline(tiny_library: Path, examples: list[Mixture]) -> None:
    row = Row("gan-prior-fast", "gan-prior:quality=fast")
    stems, cost = Runner(tiny_library)(row, examples)
    separator = load_separator("gan-prior", SOURCES, library=tiny_library, quality="fast")
    expected = through(separator, examples, Settings(0.5, refinement=separator.refinement))
    for one, wave, example in zip(stems, expected, examples, strict=True):
        assert one.sources == SOURCES
        assert torch.equal(one.waves, wave)
        torch.testing.assert_close(one.waves.sum(0), example.mixture, atol=1e-4, rtol=0)
    assert cost.seconds_per_second > 0
    assert 0.05 < cost.peak_gib < 32


def test_raw_and_refined_share_a_search(tiny_library: Path, examples: list[Mixture]) -> None:
    """What comes from memory costs what it cost to find."""
    runner = Runner(tiny_library)
    rows = [Row("refined", "gan-prior:steps=40"), Row("raw", "gan-prior:steps=40", raw=True)]
    (_, first), (raw, second) = (runner(row, examples) for row in rows)
    assert second.seconds_per_second > 0.5 * first.seconds_per_second
    alone, _ = Runner(tiny_library)(rows[1], examples)
    assert all(torch.equal(one.waves, other.waves) for one, other in zip(raw, alone, strict=True))
    runner.forget()
    again, _ = runner(rows[1], examples[:1])
    torch.testing.assert_close(again[0].waves, raw[0].waves, atol=1e-4, rtol=1e-3)


def test_models_are_named(tiny_library: Path, make_prior, tmp_path: Path) -> None:
    models = Runner(tiny_library).models(ROWS["gan-prior"], SOURCES)
    assert [model.split()[0] for model in models] == ["gan/hiss", "gan/tone"]
    assert Runner(tiny_library).models(ROWS["gan-prior-raw"], SOURCES) == models
    assert Runner().models(ROWS["fastica"], SOURCES) == []
    assert Runner().models(ROWS["oracle-irm"], SOURCES) == []
    with pytest.raises(ModelError, match="no gan model 'nobody'"):
        Runner(tiny_library).models(ROWS["gan-prior"], ("nobody", "tone"))


def test_oracles_know_each_mixture(examples: list[Mixture]) -> None:
    stems, _ = Runner()(ROWS["oracle-wiener"], examples)
    for one, example in zip(stems, examples, strict=True):
        assert one.sources == SOURCES
        error = (one.waves - example.references).square().sum() / example.references.square().sum()
        assert error < 0.35  # two noises on top of each other: far below the 1 of the mixture itself
        torch.testing.assert_close(one.waves.sum(0), example.mixture, atol=1e-4, rtol=0)


def test_sources_are_chosen(tiny_library: Path, nothing_packaged: None, make_prior, tmp_path: Path) -> None:
    """Blind rows are told no names: a mixture of what two of three priors play is given to two priors."""
    for number, name in enumerate(("low", "mid", "high")):
        make_prior(tmp_path, name, seed=number + 5)
    runner = Runner(tmp_path)
    example = Mixture("x", ("low", "mid"), 0.1 * torch.randn(2, 1, 16384), 16000, "g")
    (stems,), _ = runner(ROWS["gan-prior-k"], [example])
    assert set(stems.sources) < {"low", "mid", "high"}
    assert stems.sources == runner.choose(example.mixture, 16000, 2)
    assert len(runner.models(ROWS["gan-prior-k"], ("low", "mid"))) == 3
