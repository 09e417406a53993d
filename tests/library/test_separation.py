"""``gansep.library.separation``: models found by the set of their sources, and foreign or damaged ones refused."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from gansep.library import Card, find_separator, load_separation, save_model, verify
from gansep.library.card import Found
from gansep.nets.masknet import MaskNet, maps
from gansep.nets.sound import SoundAutoencoder, SoundConfig
from gansep.nets.spectral import NetConfig
from gansep.types import ModelError

PACKAGED = Path(__file__).resolve().parent.parent.parent / "pretrained"


def make(
    library: Path, name: str, sources: Sequence[str] = ("dogs", "cats"), target: str = "irm", causal: bool = False
) -> Path:
    config = NetConfig(len(sources) * maps(target), "tfconv", 8, 2, n_fft=128, hop=64, causal=causal)
    torch.manual_seed(0)
    network = MaskNet(config, target)
    card = Card(name, config.to_json() | {"target": target, "loss": "mse"}, 16000, None, tuple(sources), kind="mask")
    folder = library / "mask" / name
    save_model(folder, network.state_dict(), card)
    return folder


def edit(folder: Path, **config: object) -> None:
    path = folder / "card.json"
    values = json.loads(path.read_text())
    values["config"] |= config
    path.write_text(json.dumps(values))


def test_found_by_the_set_of_sources(tmp_path: Path) -> None:
    make(tmp_path, "pets")
    make(tmp_path, "three", ("dogs", "cats", "birds"))
    assert find_separator("mask", ["cats", "dogs"], tmp_path).name == "pets"
    assert find_separator("mask", ["birds", "cats", "dogs"], tmp_path).name == "three"
    with pytest.raises(ModelError, match=r"no mask model of dogs\+birds; installed ones have .*dogs\+cats"):
        find_separator("mask", ["dogs", "birds"], tmp_path)


def test_the_one_called_as_its_sources_comes_first(tmp_path: Path) -> None:
    for name in ("a-first", "dogs-cats", "z-last"):
        make(tmp_path, name)
    assert find_separator("mask", ["cats", "dogs"], tmp_path).name == "dogs-cats"
    (tmp_path / "mask" / "dogs-cats" / "card.json").unlink()
    assert find_separator("mask", ["cats", "dogs"], tmp_path).name == "a-first"  # a broken one is passed over


def test_a_causal_one_where_it_must_be(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no causal mask model of dogs\+cats; (?!.*tfconv).*train-mask --causal"):
        find_separator("mask", ["dogs", "cats"], tmp_path, causal=True)
    make(tmp_path, "dogs-cats")
    edit(make(tmp_path, "earlier", causal=True), network="blstm")
    said = "; installed ones of these sources are no causal tfconv networks: dogs-cats, earlier; train one with"
    with pytest.raises(ModelError, match=said):
        find_separator("mask", ["dogs", "cats"], tmp_path, causal=True)
    make(tmp_path, "pets-now", causal=True)
    assert find_separator("mask", ["dogs", "cats"], tmp_path, causal=True).name == "pets-now"


@pytest.mark.parametrize("target", ["ibm", "crm"])
def test_loaded_as_it_was_saved(tmp_path: Path, target: str) -> None:
    make(tmp_path, "pets", target=target)
    torch.manual_seed(0)
    config = NetConfig(2 * maps(target), "tfconv", 8, 2, n_fft=128, hop=64)
    same = MaskNet(config, target).eval()
    before = torch.get_rng_state()
    model = load_separation("mask", ["cats", "dogs"], library=tmp_path)
    assert torch.equal(before, torch.get_rng_state())
    assert not model.network.training and not any(p.requires_grad for p in model.network.parameters())
    spectrum = torch.randn(1, 65, 9, dtype=torch.complex64)
    assert torch.allclose(model.network(spectrum), same(spectrum), atol=1e-6)


def test_named_models(tmp_path: Path) -> None:
    folder = make(tmp_path, "pets")
    assert load_separation("mask", model="pets", library=tmp_path).card.name == "pets"
    assert load_separation("mask", ["cats", "dogs"], str(folder)).card.name == "pets"
    with pytest.raises(ModelError, match="it separates dogs, cats, not dogs, birds"):
        load_separation("mask", ["dogs", "birds"], "pets", tmp_path)
    with pytest.raises(ModelError, match="no mapping model 'pets'"):
        load_separation("mapping", model="pets", library=tmp_path)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"width": 10}, "foreign weights"),
        ({"outputs": 3}, "3 outputs for 2 sources"),
        ({"target": "best"}, "unknown target"),
        ({"network": "magic"}, "unknown network"),
        ({"mean": [0.0]}, "mean and std must have 65 numbers"),
        ({"colour": "blue"}, "does not fit the kind mask"),
        ({"sample_rate": 8000}, "sample_rate differs"),
        ({"width": 10**4}, "foreign weights"),
        ({"width": 10**7}, "width must be at most 16384"),
        ({"depth": 30000}, "depth must be at most 64"),
    ],
)
def test_cards_that_do_not_fit(tmp_path: Path, config: dict[str, object], said: str) -> None:
    folder = make(tmp_path, "pets")
    edit(folder, **config)
    with pytest.raises(ModelError, match=said):
        load_separation("mask", model="pets", library=tmp_path)
    assert said in verify(Found("mask", "pets", folder, "path"))[0]


def test_verify_passes_a_whole_one(tmp_path: Path) -> None:
    assert verify(Found("mask", "pets", make(tmp_path, "pets"), "path")) == []


# Autoencoders


def make_autoencoder(library: Path, name: str, sources: Sequence[str], job: str = "conditional") -> Path:
    classes = len(sources) * (job == "conditional")
    config = SoundConfig("mel", 128, 64, 20, layers="dense", width=8, depth=1, code=4, classes=classes)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        weights = SoundAutoencoder(config).state_dict()
    said = config.to_json() | {"job": job, "loss": "mse"} | ({"corruption": "noise"} if job == "denoising" else {})
    folder = library / "autoencoder" / name
    save_model(folder, weights, Card(name, said, 16000, None, tuple(sources), kind="autoencoder"))
    return folder


def found(library: Path, *sources: str) -> str:
    return find_separator("autoencoder", sources, library).name


@pytest.mark.usefixtures("nothing_packaged")
def test_a_conditional_one_answers_for_any_of_its_sources(tmp_path: Path) -> None:
    make_autoencoder(tmp_path, "pets", ("dogs", "cats", "birds"))
    for wanted in (("cats",), ("birds", "dogs"), ("birds", "cats", "dogs")):
        assert found(tmp_path, *wanted) == "pets"
        assert load_separation("autoencoder", wanted, library=tmp_path).card.sources == ("dogs", "cats", "birds")
        assert load_separation("autoencoder", wanted, "pets", tmp_path).card.name == "pets"
    with pytest.raises(ModelError, match=r"no autoencoder model of dogs\+mice; installed ones have dogs\+cats\+birds;"):
        found(tmp_path, "dogs", "mice")
    with pytest.raises(ModelError, match="it separates dogs, cats, birds, not mice; give another one"):
        load_separation("autoencoder", ["mice"], "pets", tmp_path)
    with pytest.raises(ModelError, match="no autoencoder model of ; installed ones have"):
        found(tmp_path)


@pytest.mark.usefixtures("nothing_packaged")
def test_of_several_the_one_with_the_fewest_sources(tmp_path: Path) -> None:
    make_autoencoder(tmp_path, "a-zoo", ("dogs", "cats", "birds", "mice"))
    make_autoencoder(tmp_path, "dogs-cats-birds", ("dogs", "cats", "birds"))
    make_autoencoder(tmp_path, "b-pets", ("cats", "dogs", "birds"))
    assert found(tmp_path, "mice", "dogs") == "a-zoo"
    assert found(tmp_path, "birds", "dogs") == "dogs-cats-birds"  # called as its sources
    make_autoencoder(tmp_path, "two", ("dogs", "cats"))
    assert found(tmp_path, "cats", "dogs") == found(tmp_path, "cats") == "two"
    assert found(tmp_path, "cats", "birds") == "dogs-cats-birds"


@pytest.mark.usefixtures("nothing_packaged")
def test_a_denoiser_answers_for_exactly_its_two(tmp_path: Path) -> None:
    make_autoencoder(tmp_path, "cleaner", ("speech", "noise"), "denoising")
    assert found(tmp_path, "noise", "speech") == "cleaner"
    for wanted in (("speech",), ("noise",), ("speech", "noise", "music"), ()):
        with pytest.raises(ModelError, match="no autoencoder model of "):
            found(tmp_path, *wanted)
    with pytest.raises(ModelError, match="it separates speech, noise, not speech; give another one"):
        load_separation("autoencoder", ["speech"], "cleaner", tmp_path)
    make_autoencoder(tmp_path, "any", ("speech", "noise", "music"))
    assert (found(tmp_path, "noise", "speech"), found(tmp_path, "speech")) == ("cleaner", "any")


@pytest.mark.usefixtures("nothing_packaged")
def test_masks_answer_for_exactly_their_sources(tmp_path: Path) -> None:
    make(tmp_path, "three", ("dogs", "cats", "birds"))
    for wanted in (["dogs"], ["dogs", "cats"], []):
        with pytest.raises(ModelError, match="no mask model of "):
            find_separator("mask", wanted, tmp_path)


@pytest.mark.parametrize(
    ("job", "config", "said"),
    [
        ("denoising", {"job": "magic"}, "unknown job 'magic'; expected one of denoising, conditional"),
        ("denoising", {"job": ["denoising"]}, "does not fit the kind autoencoder"),
        ("denoising", {"job": "conditional"}, "0 classes for 2 sources of a conditional one"),
        ("conditional", {"job": "denoising"}, "2 classes for 2 sources of a denoising one"),
        ("conditional", {"classes": 3}, "3 classes for 2 sources of a conditional one"),
        ("denoising", {"domain": "magic"}, "unknown domain 'magic'"),
        ("denoising", {"layers": "magic"}, "unknown layers 'magic'"),
        ("denoising", {"layers": "lstm"}, "foreign weights"),
        ("denoising", {"code": 5}, "foreign weights"),
        ("denoising", {"mean": [0.0]}, "mean and std must have 20 numbers"),
        ("denoising", {"mean": ["loud"] * 20}, "does not fit the kind autoencoder"),
        ("denoising", {"colour": "blue"}, "does not fit the kind autoencoder"),
        ("denoising", {"sample_rate": 8000}, "sample_rate differs"),
        ("denoising", {"width": 10**7}, "width must be at most 16384"),
        ("denoising", {"depth": 30000}, "depth must be at most 64"),
        ("denoising", {"code": 10**9}, "code must be at most 16384"),
        ("denoising", {"n_fft": 2**20}, "n_fft must be at most 65536"),
        ("denoising", {"mels": 10**6}, "mels must be at most 4096"),
        ("denoising", {"floor": 1e9}, "floor must be at most 1000"),
    ],
)
def test_autoencoders_that_do_not_fit(tmp_path: Path, job: str, config: dict[str, object], said: str) -> None:
    folder = make_autoencoder(tmp_path, "pets", ("dogs", "cats"), job)
    assert verify(Found("autoencoder", "pets", folder, "path")) == []
    edit(folder, **config)
    with pytest.raises(ModelError, match=said):
        load_separation("autoencoder", model="pets", library=tmp_path)
    assert said in verify(Found("autoencoder", "pets", folder, "path"))[0]


def test_a_denoiser_of_three_and_a_card_without_a_job(tmp_path: Path) -> None:
    three = make_autoencoder(tmp_path, "three", ("speech", "noise", "music"), "denoising")
    with pytest.raises(ModelError, match="0 classes for 3 sources of a denoising one"):
        load_separation("autoencoder", model=three)
    values = json.loads((three / "card.json").read_text())
    del values["config"]["job"]
    (three / "card.json").write_text(json.dumps(values))
    with pytest.raises(ModelError, match=r"does not fit the kind autoencoder \('job'\)"):
        load_separation("autoencoder", model=three)
