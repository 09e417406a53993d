"""Back ends by name: what a line of text means, and what each refuses in one line."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from gansep.backends import BACKENDS, load_separator, make_separator, parse_backend, takes_seed
from gansep.types import ModelError, Separator

BLIND = ("nmf", "pca", "kernel-pca", "fastica", "deep-prior:steps=2", "time-cut", "mixture", "silence")


def test_lines_of_text() -> None:
    assert parse_backend("nmf") == ("nmf", {})
    assert parse_backend("oracle:mask=irm") == ("oracle", {"mask": "irm"})
    assert parse_backend("x:a=1".replace("x", "time-cut")) == ("time-cut", {"a": 1})
    assert parse_backend("gan-prior:max-seconds=2.5,recipe=default")[1] == {"max_seconds": 2.5, "recipe": "default"}
    for wrong, said in (("magic", "unknown back end 'magic'; expected one of gan-prior, "), ("nmf:fast", "key=value")):
        with pytest.raises(ModelError, match=said):
            parse_backend(wrong)


def test_unknown_options_are_refused() -> None:
    with pytest.raises(ModelError, match="time-cut has no option mask; it has seconds"):
        load_separator("time-cut:mask=irm", k=2)
    with pytest.raises(ModelError, match="oracle has no option speed"):
        load_separator("oracle", speed=2)


@pytest.mark.parametrize("backend", BLIND)
def test_back_ends_that_number_what_they_find(backend: str) -> None:
    """Estimates sum to the mixture (those of the trivial rows aside), whatever the length."""
    separator = load_separator(backend, k=2)
    assert isinstance(separator, Separator)
    assert separator.sources == ("component-1", "component-2")
    assert separator.segment is None
    mixture = torch.randn(1, 12_345, generator=torch.Generator().manual_seed(0))
    channels = getattr(separator, "channels", False)
    waves = separator(mixture[:, None] if channels else mixture).waves
    assert waves.shape == ((1, 2, 1, 12_345) if channels else (1, 2, 12_345))
    if backend not in ("mixture", "silence"):
        torch.testing.assert_close(waves.sum(1).reshape(1, -1), mixture, atol=1e-4, rtol=0)
    for wrong in ({"sources": ["drums", "piano"]}, {"k": None}, {"k": 0}):
        if backend != "nmf" or "sources" not in wrong:
            with pytest.raises(ModelError, match=r"number of sources|cannot know sources by name"):
                load_separator(backend, **({"k": 2} | wrong if "sources" not in wrong else wrong))


def test_oracle_needs_references() -> None:
    with pytest.raises(ModelError, match="oracle needs the true sources, as --references"):
        load_separator("oracle")
    references = {name: torch.randn(1, 8000) for name in ("a", "b")}
    separator = load_separator("oracle", references=references, sample_rate=8000)
    assert separator.sources == ("a", "b")


def test_reference_separators_are_there_or_say_why_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    for name in ("hdemucs", "conv-tasnet"):
        with pytest.raises(ModelError, match=r"torchaudio|weights"):
            load_separator(name)


def test_seeds() -> None:
    assert takes_seed("deep-prior")
    assert not takes_seed("silence")
    assert set(BACKENDS) >= {"gan-prior", "nmf", "oracle"}
    with pytest.raises(ModelError, match="gan-prior needs the names of its sources"):
        from gansep.backends import Wanted

        make_separator("gan-prior", Wanted(k=2))
