"""What is to be done: names and order of files, what is chosen for them, and what is refused before work starts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st

from gansep.nets.wavegan import PriorConfig
from gansep.planning import Request, expand, plan, unique_names
from gansep.results import Layout
from gansep.separate import separate_file, separate_files
from gansep.types import AudioError, GansepError, ModelError

MakePrior = Callable[..., Path]
MakeFile = Callable[..., Path]
BOTH = ["tone", "hiss"]
pytestmark = pytest.mark.usefixtures("nothing_packaged")


# -- files and their names ---------------------------------------------------------------------------------------------


def test_names(tmp_path: Path) -> None:
    files = [Path(name) for name in ("a/mix.wav", "b/mix.flac", "mix-2.wav", "c/mix.wav", "other.wav")]
    assert unique_names(files) == ["mix", "mix-3", "mix-2", "mix-4", "other"]


def test_folders_and_repeated_inputs(sound: MakeFile, tmp_path: Path) -> None:
    one, two = sound("a/1.wav"), sound("a/deep/2.flac", subtype="PCM_16")
    (tmp_path / "in" / "a" / "notes.txt").write_text("no sound")
    assert expand([tmp_path / "in" / "a", one]) == [one, two]
    (tmp_path / "empty").mkdir()
    assert expand([tmp_path / "empty", one, tmp_path / "missing.wav"]) == [
        tmp_path / "empty",
        one,
        tmp_path / "missing.wav",
    ]
    with pytest.raises(AudioError, match="no input files"):
        expand([])


def test_names_of_odd_files() -> None:
    """No name is empty, hidden or climbs out of its folder."""
    names = ("...wav", "..wav", ".wav", ".hidden.wav", "a..wav", "a b.wav", "...", "a.b.wav", "{mix}.wav", "-.wav")
    expected = ["mix", "mix-2", "wav", "hidden", "a", "a b", "mix-3", "a.b", "{mix}", "-"]
    assert unique_names([Path(name) for name in names]) == expected


@given(st.lists(st.text("ab-2.", min_size=1, max_size=4).filter(lambda name: name not in (".", "..")), max_size=8))
def test_names_are_unique_and_safe(stems: list[str]) -> None:
    names = unique_names([Path(str(number), f"{stem}.wav") for number, stem in enumerate(stems)])
    assert len(set(names)) == len(stems)
    assert all(name and not name.startswith(".") and name == Path(name).name for name in names)
    wanted = [Path(f"{stem}.wav").stem.strip(".") for stem in stems]
    assert all(names[wanted.index(name)] == name for name in wanted if name)  # the first who wants a name has it


def test_results_are_skipped_only_inside_an_input(sound: MakeFile, tmp_path: Path) -> None:
    folder = sound("a/1.wav").parent
    result = sound("a/out/1/tone.wav")
    assert expand([folder], folder / "out") == [folder / "1.wav"]
    assert expand([folder, result], folder / "out") == [folder / "1.wav", result]  # asked for by name
    assert expand([folder / "out"], folder / "out") == [result]  # results again, into the same folder
    assert expand([folder], tmp_path) == expand([folder], folder) == [folder / "1.wav", result]
    assert expand([folder / "out" / "1"], folder / "out" / "1" / "deep") == [result]
    (folder / "1.wav").unlink()
    assert expand([folder], folder / "out") == [folder]  # nothing but results


def test_what_cannot_be_read_fails_alone(sound: MakeFile, tmp_path: Path, fast: dict[str, Any]) -> None:
    (tmp_path / "empty").mkdir()
    inputs = [tmp_path / "empty", sound("mix.wav"), tmp_path / "missing.wav"]
    plans, failed = plan(inputs, Request(sources=BOTH, **fast))
    assert [planned.path for planned in plans] == [inputs[1]]
    assert [path for path, _ in failed] == [inputs[0], inputs[2]]
    assert "empty: no sound files in this folder; expected" in str(failed[0][1])
    assert all(isinstance(error, AudioError) for _, error in failed)


def test_broken_models_are_no_candidates(sound: MakeFile, tmp_path: Path, make_prior: MakePrior) -> None:
    library, path = tmp_path / "library", sound("mix.wav")
    make_prior(library, "tone")
    weights = make_prior(library, "hiss") / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    plans, _ = plan([path], Request(k=1, library=library))
    assert list(plans[0].separator.sources) == ["tone"]
    with pytest.raises(ModelError, match=r"k = 2 needs 2 priors, installed: tone, hiss \(broken\); train more"):
        plan([path], Request(k=2, library=library))
    with pytest.raises(ModelError, match="damaged or changed"):
        plan([path], Request(sources=BOTH, library=library))


def test_plan(sound: MakeFile, tmp_path: Path, fast: dict[str, Any]) -> None:
    plans, failed = plan([sound("mix.wav", 40_000), tmp_path / "missing.wav"], Request(k=1, **fast))
    assert [(planned.name, planned.windows, len(planned.separator.sources)) for planned in plans] == [("mix", 4, 1)]
    assert plans[0].choice is not None
    assert set(plans[0].choice.scores) == set(BOTH)
    assert [path.name for path, _ in failed] == ["missing.wav"]


# -- refused -----------------------------------------------------------------------------------------------------------


def broken(kind: str, path: Path) -> Path:
    """A file of that kind of damage."""
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 40_000)
    if kind == "missing":
        return path
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "text renamed":
        path.write_text("once upon a time " * 100)
    elif kind == "truncated flac":
        path = path.with_suffix(".flac")
        soundfile.write(path, noise, 16000)
        path.write_bytes(path.read_bytes()[:-20_000])
    elif kind in ("NaN", "Inf"):
        noise[30_000] = float(kind)
        soundfile.write(path, noise, 16000, "FLOAT")
    else:
        soundfile.write(path, noise[:0], 16000)
        if kind == "header only":
            path.write_bytes(path.read_bytes()[:44])
    return path


KINDS = ["missing", "empty", "header only", "zero samples", "truncated flac", "text renamed", "NaN", "Inf"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("wanted", [{"k": 1}, {"sources": BOTH}], ids=["k", "sources"])
def test_bad_files(sound: MakeFile, tmp_path: Path, fast: dict[str, Any], kind: str, wanted: dict[str, Any]) -> None:
    bad, out = broken(kind, tmp_path / "bad.wav"), tmp_path / "new" / "out"
    with pytest.raises(AudioError) as caught:
        separate_file(bad, out, **wanted, **fast)
    assert bad.name in str(caught.value)
    assert not out.parent.exists()
    outcome = separate_files([bad, sound("good.wav")], Request(**wanted, **fast), Layout(out, picture=False))
    assert [path for path, _ in outcome.failed] == [bad]
    assert [done.input.name for done in outcome.done] == ["good.wav"]
    assert [folder.name for folder in out.iterdir()] == ["good"]


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({}, "either how many sources to find .* or which"),
        ({"k": 2, "sources": BOTH}, "either how many sources to find .* or which"),
        ({"k": 0}, "k must be at least 1, got 0"),
        ({"k": -1}, "k must be at least 1, got -1"),
        ({"k": 3}, "k = 3 needs 3 priors, installed: hiss, tone;"),
        ({"sources": ["tone", "nobody"]}, "no gan model 'nobody', .* installed: hiss, tone"),
        ({"sources": ["tone", "tone"]}, "each source may be named once"),
        ({"sources": ["tone", "gan/tone"]}, "sources need names of their own"),
        ({"sources": []}, "needs the names of its sources"),
        ({"k": 3, "backend": "mask", "model": "m1", "quality": "default"}, "-k is not for --backend mask, whose model"),
        ({"k": 2, "backend": "mapping:exponent=2", "quality": "default"}, "-k is not for --backend mapping:exponent=2"),
        ({"k": 2, "sources": BOTH, "backend": "mask", "quality": "default"}, "-k is not for --backend mask"),
        ({"k": 2, "recipe": "magic"}, "unknown recipe"),
        ({"k": 2, "quality": "magic"}, "unknown quality"),
        ({"k": 2, "steps": -1}, "steps must be at least 0"),
        ({"k": 2, "restarts": 0}, "restarts must be at least 1"),
        ({"k": 2, "max_seconds": 0.0}, "max seconds must be above 0"),
        ({"k": 2, "device": "abacus"}, "device 'abacus' is not available"),
        ({"k": 2, "library": Path("nowhere")}, "nowhere: no such library folder"),
    ],
)
def test_bad_requests(sound: MakeFile, tmp_path: Path, fast: dict[str, Any], wanted: dict[str, Any], said: str) -> None:
    with pytest.raises(GansepError, match=said):
        separate_file(sound("mix.wav"), tmp_path / "out", **(fast | wanted))
    assert not (tmp_path / "out").exists()


def test_priors_that_cannot_be_combined(sound: MakeFile, tmp_path: Path, make_prior: MakePrior) -> None:
    library = tmp_path / "library"
    make_prior(library, "slow", config=PriorConfig(dim=1, latent=16, width=16, sample_rate=8000))
    make_prior(library, "long", config=PriorConfig(dim=1, latent=16, width=16, segment=32768))
    path = sound("mix.wav")
    with pytest.raises(ModelError, match=r"cannot be combined.*slow: 8000 Hz, 16384 .*long: 16000 Hz, 32768"):
        separate_file(path, tmp_path / "out", sources=["slow", "long"], library=library)
    with pytest.raises(ModelError, match="no 2 installed priors have the same rate and segment"):
        separate_file(path, tmp_path / "out", k=2, library=library)
    residual = sound("residual.wav")
    with pytest.raises(ModelError, match="'residual' is taken"):
        separate_file(path, tmp_path / "out", backend="oracle", references=[residual, path])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["corrupted", "foreign", "pickle", "pickle in its place", "no weights"])
@pytest.mark.parametrize("k", [False, True])
def test_bad_models(sound: MakeFile, tmp_path: Path, make_prior: MakePrior, kind: str, k: bool) -> None:
    library, mark = tmp_path / "library", tmp_path / "pickle was loaded"

    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (mark,))

    weights = make_prior(library, "tone") / "weights.safetensors"
    content = bytearray(weights.read_bytes())
    if kind == "corrupted":
        content[-100] ^= 1
        weights.write_bytes(content)
    elif kind == "foreign":
        other = make_prior(tmp_path / "other", "tone", config=PriorConfig(dim=2, latent=16, width=16))
        card = (other / "card.json").read_text()
        (weights.parent / "card.json").write_text(card.replace('"dim": 2', '"dim": 1'))
        weights.write_bytes((other / "weights.safetensors").read_bytes())
    elif kind == "pickle in its place":
        torch.save({"trap": Trap()}, weights)
    else:
        weights.unlink()
        if kind == "pickle":
            torch.save({"trap": Trap()}, weights.with_suffix(".pt"))
    expected = {"corrupted": "damaged", "foreign": "foreign", "no weights": "card without weights.safetensors"}
    said = r"installed: tone \(broken\)" if k else expected.get(kind, "a pickle is never loaded")
    with pytest.raises(ModelError, match=said):
        separate_file(sound("mix.wav"), tmp_path / "out", library=library, **({"k": 1} if k else {"sources": ["tone"]}))
    assert not (tmp_path / "out").exists()
    assert not mark.exists()


def test_a_pickle_named_as_a_source(sound: MakeFile, tmp_path: Path, tiny_library: Path) -> None:
    torch.save({}, tmp_path / "model.pt")
    with pytest.raises(ModelError, match="a pickle is never loaded"):
        separate_file(sound("mix.wav"), tmp_path / "out", sources=[str(tmp_path / "model.pt")], library=tiny_library)
