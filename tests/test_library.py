"""Models on disk: round trips, the search order, and every kind of bad model refused in one line and never loaded."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gansep.library import (
    Card,
    Found,
    find_model,
    find_models,
    installed_priors,
    load_listener,
    load_prior,
    load_weights,
    read_card,
    save_model,
    search_path,
    verify,
    writable_library,
)
from gansep.library import search as search_module
from gansep.nets.listener import Listener
from gansep.nets.spectral import NetConfig
from gansep.nets.spectrogram import SpectralGenerator, make_generator
from gansep.nets.wavegan import Encoder, Generator, PriorConfig
from gansep.types import ModelError, OutputError

MakePrior = Callable[..., Path]
WEIGHTS = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor([1, 2])}


def card(name: str = "thing", **values: object) -> Card:
    return Card(name, {"size": 3}, 8000, None, ("one", "two"), **({"kind": "nmf"} | values))  # type: ignore[arg-type]


def at(folder: Path) -> Found:
    return Found("gan", folder.name, folder, "path")


def edit(folder: Path, **values: object) -> None:
    path = folder / "card.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


# -- cards -------------------------------------------------------------------------------------------------------------

words = st.text(st.characters(codec="utf-8"), max_size=20)


@given(data=words, licence=words, seed=st.integers(0, 2**40), metrics=st.dictionaries(words, st.floats(-9, 9)))
def test_card_round_trip(data: str, licence: str, seed: int, metrics: dict[str, float]) -> None:
    before = card(data=data, licence=licence, seed=seed, metrics=metrics, extra={"more": [1]})
    after = Card.from_json(before.to_json())
    assert (after.data, after.licence, after.seed, after.metrics) == (data, licence, seed, metrics)
    assert after.sources == ("one", "two")
    assert after.to_json() == before.to_json()


def test_card_keeps_what_it_does_not_know() -> None:
    values = json.loads(card(extra={"old": 1}).to_json()) | {"from_the_future": [1, 2]}
    assert Card.from_json(json.dumps(values)).extra == {"old": 1, "from_the_future": [1, 2]}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        (b"\xff\xfe\x00", "not JSON"),
        ("[1]", "expected a JSON object"),
        ("{}", "lacks name, kind, config"),
        (card().to_json().replace("8000", '"fast"'), "sample_rate"),
        (card().to_json().replace("8000", "0"), "positive"),
        (card().to_json().replace('"thing"', '"../thing"'), "folder name"),
        (card().to_json().replace('"thing"', "7"), "name cannot be 7"),
    ],
)
def test_garbled_card(tmp_path: Path, text: str | bytes, said: str) -> None:
    (tmp_path / "card.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ModelError, match=said) as caught:
        read_card(tmp_path)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize("name", ["", ".", "..", ".hidden", "a/b", "a\\b", "a,b", "a\n", "trailing ", "dot."])
def test_names_that_are_no_folders_are_refused(name: str) -> None:
    with pytest.raises(ModelError, match="folder name"):
        card(name)


@pytest.mark.parametrize("name", ["a", "drum kit (live)", "digits_en-8k", "träume", "speech+noise", "v1.2"])
def test_names_of_ordinary_folders(name: str) -> None:
    assert card(name).name == name


@pytest.mark.parametrize("name", ["../../../up", "/up", "a/b", "a,b", "", "..", ".hidden"])
def test_sources_that_are_no_files_are_refused(tmp_path: Path, name: str) -> None:
    text = card().to_json().replace('"two"', json.dumps(name))
    with pytest.raises(ModelError, match="a source's name must be usable as a file name and have no comma, got"):
        Card.from_json(text)


@pytest.mark.parametrize("sources", [("a", "a"), ("a", "residual")])
def test_sources_have_names_of_their_own(sources: tuple[str, ...]) -> None:
    with pytest.raises(ModelError, match=f"names of their own, and 'residual' is taken, got {', '.join(sources)}"):
        Card("thing", {}, 8000, None, sources)


# -- saving and loading ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("half", [False, True])
def test_weights_round_trip(tmp_path: Path, half: bool) -> None:
    written = save_model(tmp_path / "m", WEIGHTS, card(), half=half)
    found = find_model(tmp_path / "m", kind="nmf")
    weights = load_weights(found)
    assert torch.equal(weights["a"], WEIGHTS["a"])  # small integers, exact in float16 too
    assert weights["a"].dtype == torch.float32
    assert torch.equal(weights["b"], WEIGHTS["b"])
    assert written.sha256 == hashlib.sha256((tmp_path / "m" / "weights.safetensors").read_bytes()).hexdigest()
    assert found.card.to_json() == written.to_json()
    assert sorted(file.name for file in (tmp_path / "m").iterdir()) == ["card.json", "weights.safetensors"]


def test_what_half_cannot_hold_stays_whole(tmp_path: Path) -> None:
    """A variance of 91838 came back as infinity."""
    values = torch.tensor([1.0, 91838.0])
    save_model(tmp_path, {"x": values, "y": values[:1]}, card(), half=True)
    assert torch.equal(load_weights(find_model(tmp_path, None))["x"], values)


def test_infinite_weights_are_refused(tmp_path: Path) -> None:
    save_model(tmp_path, {"x": torch.tensor([1.0, torch.inf])}, card())
    with pytest.raises(ModelError, match=r"weights.safetensors: x is not finite; get or train the model again"):
        load_weights(find_model(tmp_path, None))


def test_half_is_rounded_to_the_nearest(tmp_path: Path) -> None:
    values = torch.randn(1000, generator=torch.Generator().manual_seed(0))
    save_model(tmp_path, {"x": values}, card(), half=True)
    loaded = load_weights(at(tmp_path))["x"]
    assert torch.equal(loaded, values.half().float())
    assert (tmp_path / "weights.safetensors").stat().st_size < 2 * 1000 + 200


def test_shared_and_strided_tensors_are_saved(tmp_path: Path) -> None:
    base = torch.arange(12.0).reshape(3, 4)
    save_model(tmp_path, {"x": base, "y": base, "z": base.T}, card())
    weights = load_weights(at(tmp_path))
    assert torch.equal(weights["y"], base)
    assert torch.equal(weights["z"], base.T)


def test_saving_again_replaces_and_leaves_other_files(tmp_path: Path) -> None:
    (tmp_path / "training").mkdir()
    save_model(tmp_path, WEIGHTS, card(seed=1))
    save_model(tmp_path, {"a": torch.zeros(2)}, card(seed=2))
    assert find_model(tmp_path, None).card.seed == 2
    assert list(load_weights(at(tmp_path))) == ["a"]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["card.json", "training", "weights.safetensors"]


def test_full_disk_keeps_the_old_model_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_model(tmp_path / "old", WEIGHTS, card(seed=1))

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    for name in ("old", "new"):
        with pytest.raises(OutputError, match="No space left"):
            save_model(tmp_path / name, {"a": torch.zeros(2)}, card(seed=2))
    assert not (tmp_path / "new").exists()
    assert sorted(file.name for file in (tmp_path / "old").iterdir()) == ["card.json", "weights.safetensors"]
    assert find_model(tmp_path / "old", None).card.seed == 1
    assert torch.equal(load_weights(at(tmp_path / "old"))["a"], WEIGHTS["a"])


def test_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="cannot be written"):
        save_model(tmp_path / "file" / "m", WEIGHTS, card())


class Bomb:
    """Unpickling it leaves a trace."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Callable[..., None], tuple[Path]]:
        return (Path.touch, (self.trace,))


def spoil(folder: Path, how: str, trace: Path) -> None:
    weights = folder / "weights.safetensors"
    content = weights.read_bytes()
    if how == "pickle":
        weights.write_bytes(pickle.dumps(Bomb(trace)))
    elif how == "torch.save":
        torch.save({"bomb": Bomb(trace)}, weights)
    elif how == "weights.pt":
        torch.save({"bomb": Bomb(trace)}, folder / "weights.pt")
        weights.unlink()
    elif how == "no weights":
        weights.unlink()
    elif how == "folder":
        weights.unlink()
        weights.mkdir()
    else:
        changed = {"truncated": content[:-10], "empty": b"", "flipped": content[:-1] + bytes([content[-1] ^ 1])}[how]
        weights.write_bytes(changed)


@pytest.mark.parametrize("checksum", ["stale", "matching"])
@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("pickle", "pickle is never loaded"),
        ("torch.save", "pickle is never loaded"),
        ("weights.pt", r"only weights.pt \(a pickle is never loaded\)"),
        ("no weights", "a card without weights.safetensors"),
        ("folder", "cannot be read"),
        ("truncated", "damaged|not a whole safetensors"),
        ("empty", "damaged|not a whole safetensors"),
        ("flipped", "damaged"),
    ],
)
def test_spoilt_weights_are_refused(tmp_path: Path, make_prior: MakePrior, how: str, said: str, checksum: str) -> None:
    folder, trace = make_prior(tmp_path, "tone"), tmp_path / "trace"
    spoil(folder, how, trace)
    file = folder / "weights.safetensors"
    if checksum == "matching" and file.is_file() and how != "flipped":  # with its own checksum that is another model
        edit(folder, sha256=hashlib.sha256(file.read_bytes()).hexdigest())
    for load in (lambda: load_weights(at(folder)), lambda: load_prior(folder)):
        with pytest.raises(ModelError, match=said) as caught:
            load()
        assert "\n" not in str(caught.value)
    assert verify(at(folder)) == [str(caught.value)]
    assert not trace.exists()


def test_weights_without_card(tmp_path: Path, make_prior: MakePrior) -> None:
    folder = make_prior(tmp_path, "tone")
    (folder / "card.json").unlink()
    with pytest.raises(ModelError, match=r"no card\.json"):
        load_prior("tone", tmp_path)
    assert "no card.json" in verify(find_model("tone", library=tmp_path))[0]


def test_card_without_checksum_is_not_trusted(tmp_path: Path, make_prior: MakePrior) -> None:
    folder = make_prior(tmp_path, "tone")
    edit(folder, sha256="")
    with pytest.raises(ModelError, match="SHA-256"):
        load_weights(at(folder))
    assert load_weights(at(folder), verify=False)


# -- finding -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def libraries(tmp_path: Path, make_prior: MakePrior, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """All four origins; ``common`` is in each, with the seed telling which."""
    folders = {origin: tmp_path / origin for origin in ("flag", "env", "home/gansep", "packaged")}
    monkeypatch.setenv("GANSEP_LIBRARY", str(folders["env"]))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(search_module, "_packaged", lambda: folders["packaged"])
    for seed, (origin, folder) in enumerate(folders.items()):
        make_prior(folder, "common", seed=seed)
        make_prior(folder, f"only-{origin.partition('/')[0]}", seed=seed)
    return folders


def test_search_order_and_shadows(libraries: dict[str, Path]) -> None:
    order = ["--library", "$GANSEP_LIBRARY", "user", "packaged"]
    assert [origin for origin, _ in search_path(libraries["flag"])] == order
    models = find_models(libraries["flag"])
    common = [model for model in models if model.name == "common"]
    assert [(model.origin, model.shadowed) for model in common] == [
        (origin, number > 0) for number, origin in enumerate(order)
    ]
    assert [model.name for model in models if not model.shadowed] == [
        "common",
        "only-flag",
        "only-env",
        "only-home",
        "only-packaged",
    ]
    assert find_model("common", library=libraries["flag"]).card.seed == 0
    assert find_model("common").card.seed == 1
    assert find_model("only-packaged").origin == "packaged"


def test_one_folder_under_two_names_counts_once(tiny_library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANSEP_LIBRARY", str(tiny_library))
    models = [model for model in find_models(tiny_library) if model.folder.parent.parent == tiny_library]
    assert [(model.name, model.origin, model.shadowed) for model in models] == [
        ("hiss", "--library", False),
        ("tone", "--library", False),
    ]


def test_references(tiny_library: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tiny_library / "gan" / "tone"
    for reference in ("tone", "gan/tone", str(folder), f"{folder}/", folder):
        assert find_model(reference, library=tiny_library).folder == folder
    monkeypatch.chdir(folder.parent)
    assert find_model("tone").origin == "path"
    assert find_model("./tone").origin == "path"
    assert find_model("tone", library=tiny_library).origin == "--library"
    (tmp_path / "tone").mkdir()  # a folder of training sounds, say
    monkeypatch.chdir(tmp_path)
    assert find_model("tone", library=tiny_library).folder == folder


def test_a_bare_name_means_the_kind_that_is_needed(
    tmp_path: Path, make_prior: MakePrior, nothing_packaged: None
) -> None:
    make_prior(tmp_path, "tone")
    save_model(tmp_path / "nmf" / "tone", WEIGHTS, card("tone"))
    assert find_model("tone", "nmf", tmp_path).kind == "nmf"
    assert find_model("tone", "gan", tmp_path).kind == "gan"
    assert find_model("nmf/tone", None, tmp_path).kind == "nmf"
    assert [model.kind for model in find_models(tmp_path, "nmf")] == ["nmf"]
    for reference in ("nmf/tone", tmp_path / "nmf" / "tone"):
        with pytest.raises(ModelError, match="kind nmf, expected gan"):
            load_prior(reference, tmp_path)


def test_unknown_models(tiny_library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_module, "_packaged", lambda: tmp_path / "none")
    with pytest.raises(ModelError, match=r"no gan model 'drums'.*installed: hiss, tone"):
        find_model("drums", library=tiny_library)
    verbs = {"gan": "prior", "nmf": "prior", "mask": "mask", "mapping": "mapping", "autoencoder": "autoencoder"}
    verbs["vae"] = "autoencoder"
    for kind, verb in verbs.items():
        with pytest.raises(ModelError, match=f"none is installed, train one with gansep train-{verb}$"):
            find_model("drums", kind)
    with pytest.raises(ModelError, match="no such library folder"):
        find_models(tmp_path / "none")
    with pytest.raises(ModelError, match=r"no card\.json"):
        find_model(tmp_path)
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(Bomb(tmp_path / "trace")))
    with pytest.raises(ModelError, match="expected a folder"):
        find_model(str(tmp_path / "model.pkl"))
    assert not (tmp_path / "trace").exists()


def test_writable_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    assert writable_library(tmp_path / "new" / "one") == tmp_path / "new" / "one"
    monkeypatch.setenv("GANSEP_LIBRARY", str(tmp_path / "env"))
    assert writable_library() == tmp_path / "env"
    monkeypatch.setenv("GANSEP_LIBRARY", str(in_the_way / "env"))
    assert writable_library() == tmp_path / "home" / "gansep"
    with pytest.raises(OutputError, match="--library"):
        writable_library(in_the_way)
    monkeypatch.setenv("XDG_DATA_HOME", str(in_the_way))
    with pytest.raises(OutputError, match="no library can be written to"):
        writable_library()


# -- priors ------------------------------------------------------------------------------------------------------------


def test_prior_plays_what_its_generator_played(tiny_library: Path) -> None:
    prior = load_prior("tone", tiny_library)
    assert (prior.name, prior.sample_rate, prior.segment, prior.latent) == ("tone", 16000, 16384, 16)
    generator = Generator(PriorConfig(dim=1, latent=16, width=16))
    weights = load_weights(find_model("tone", library=tiny_library))
    generator.load_state_dict({k.removeprefix("generator."): v for k, v in weights.items() if k.startswith("gen")})
    latents = torch.rand(3, 16, generator=torch.Generator().manual_seed(5)) * 2 - 1
    with torch.no_grad():
        torch.testing.assert_close(prior.sample(3, seed=5), generator(latents))


def test_samples_depend_on_the_seed_alone(tiny_library: Path) -> None:
    prior = load_prior("tone", tiny_library)
    before = torch.random.get_rng_state()
    waves = prior.sample(70, seed=1)
    assert waves.shape == (70, 16384)
    assert torch.equal(waves, load_prior("tone", tiny_library).sample(70, seed=1))
    assert not torch.equal(waves[:2], prior.sample(2, seed=2))
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_loaded_prior_is_finished(tiny_library: Path) -> None:
    prior = load_prior("hiss", tiny_library)
    assert prior.encoder is not None
    for network in (prior.generator, prior.encoder):
        assert not network.training
        assert not any(weight.requires_grad for weight in network.parameters())
    latents = torch.zeros(1, 16, requires_grad=True)
    prior.generator(latents).square().sum().backward()
    assert latents.grad is not None  # the search descends through it all the same
    latents, gain = prior.encoder(prior.sample(2))
    assert (latents.shape, gain.shape) == ((2, 16), (2,))


def test_installed_priors_are_the_whole_ones(
    tmp_path: Path, make_prior: MakePrior, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broken model is named and does not hide the others; the first of a name counts."""
    first, second = tmp_path / "first", tmp_path / "second"
    monkeypatch.setattr(search_module, "_packaged", lambda: tmp_path / "packaged")
    monkeypatch.setenv("GANSEP_LIBRARY", str(second))
    assert installed_priors() == ([], [])
    for library, names in ((first, "abcd"), (second, "ae")):
        for seed, name in enumerate(names, 10 * (library == second)):
            make_prior(library, name, seed)
    spoil(first / "gan" / "b", "flipped", tmp_path / "trace")
    (first / "gan" / "c" / "card.json").write_text("no card")
    save_model(first / "nmf" / "f", WEIGHTS, card("f"))  # another kind
    priors, broken = installed_priors(first)
    assert [prior.name for prior in priors] == ["a", "d", "e"]
    assert broken == ["b", "c"]
    assert torch.equal(priors[0].sample(1), load_prior(first / "gan" / "a").sample(1))
    with pytest.raises(ModelError, match="no such library folder"):
        installed_priors(tmp_path / "nowhere")


def test_prior_without_encoder(tmp_path: Path, make_prior: MakePrior) -> None:
    make_prior(tmp_path, "plain", encoder=False)
    assert load_prior("plain", tmp_path).encoder is None
    assert verify(find_model("plain", library=tmp_path)) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"config": {"dim": 2, "latent": 16, "width": 16}}, "foreign weights"),
        ({"config": {"dim": 10**5, "latent": 16, "width": 16}}, "foreign weights"),
        ({"config": {"dim": 1, "latent": 16, "width": 16, "segment": 32768}}, "differ|foreign"),
        ({"config": {"layers": 7}}, "config does not fit"),
        ({"config": {"dim": "big"}}, "config does not fit"),
        ({"config": {"dim": 1, "width": 24}}, "config does not fit"),
        ({"sample_rate": 8000}, "differ"),
    ],
)
def test_foreign_models(tmp_path: Path, make_prior: MakePrior, change: dict[str, object], said: str) -> None:
    folder = make_prior(tmp_path, "tone")
    edit(folder, **change)
    with pytest.raises(ModelError, match=said):
        load_prior("tone", tmp_path)
    assert len(verify(find_model("tone", library=tmp_path))) == 1


def test_weights_of_another_program(tmp_path: Path) -> None:
    config = PriorConfig(dim=1, latent=16, width=16)
    save_model(tmp_path, WEIGHTS, Card("tone", config.to_json(), 16000, 16384, ("tone",)))
    with pytest.raises(ModelError, match="foreign weights"):
        load_prior(tmp_path)


def test_verify_tells_a_renamed_folder(tmp_path: Path, make_prior: MakePrior) -> None:
    folder = make_prior(tmp_path, "tone")
    assert verify(find_model("tone", library=tmp_path)) == []
    folder.rename(folder.with_name("hiss"))
    assert "its card says gan/tone" in verify(find_model("hiss", library=tmp_path))[0]


# -- variational priors ------------------------------------------------------------------------------------------------


def make_variational(library: Path, name: str, **settings: Any) -> Path:
    """A variational prior with random weights, in which a class is heard."""
    config = PriorConfig(dim=1, latent=4, width=16, variational=True, **settings)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        networks = {"generator": make_generator(config), "encoder": Encoder(config)}
    with torch.no_grad():
        networks["generator"].get_parameter("seed.weight")[:, 4:] *= 10
    weights = {f"{part}.{key}": value for part, net in networks.items() for key, value in net.state_dict().items()}
    folder = library / "vae" / name
    save_model(folder, weights, Card(name, config.to_json(), 16000, config.segment, (name,), "vae"))
    return folder


def test_a_prior_of_classes_plays_the_one_it_is_told(tmp_path: Path) -> None:
    prior = load_prior(make_variational(tmp_path, "voices", classes=("ann", "bob")))
    assert prior.classes == ("ann", "bob") and prior.searchable
    latents = prior.latents(3)
    with torch.no_grad():
        for number, name in enumerate(prior.classes):
            expected = prior.generator(latents, torch.full((3,), number))
            told = prior.told(name)
            assert torch.equal(told.sample(3), expected) and not torch.allclose(prior.sample(3), expected, atol=1e-3)
            assert (told.name, told.card, told.encoder) == (prior.name, prior.card, prior.encoder)
            assert told.device == prior.device and not told.generator.training
    latents.requires_grad_()
    prior.told("bob").generator(latents).square().sum().backward()
    assert latents.grad is not None and (latents.grad.abs() > 0).all()  # a search can follow it


def test_a_prior_can_be_told_another_class(tmp_path: Path) -> None:
    prior = load_prior(make_variational(tmp_path, "voices", classes=("ann", "bob")))
    assert torch.equal(prior.told("ann").told("bob").sample(2), prior.told("bob").sample(2))


def test_classes_that_a_prior_does_not_have(tmp_path: Path, tiny_library: Path) -> None:
    prior = load_prior(make_variational(tmp_path, "voices", classes=("ann", "bob")))
    with pytest.raises(ModelError, match="voices: no class 'eve', expected one of ann, bob"):
        prior.told("eve")
    plain = load_prior("tone", tiny_library)
    assert plain.classes == () and plain.searchable
    with pytest.raises(ModelError, match="tone: no class 'ann', expected none, as it has no classes"):
        plain.told("ann")


@pytest.mark.parametrize("classes", [(), ("ann", "bob")])
def test_a_prior_that_plays_spectra_plays_what_its_generator_played(tmp_path: Path, classes: tuple[str, ...]) -> None:
    folder = make_variational(tmp_path, "voices", domain="magnitude", classes=classes)
    dice = torch.get_rng_state()
    prior = load_prior(folder)
    assert torch.equal(torch.get_rng_state(), dice)
    assert prior.variational and not prior.searchable and prior.classes == classes
    assert isinstance(prior.generator, SpectralGenerator)
    assert prior.encoder is not None and prior.encoder(torch.zeros(1, 16384))[0].shape == (1, 4)
    generator = SpectralGenerator(PriorConfig(dim=1, latent=4, variational=True, domain="magnitude", classes=classes))
    weights = load_weights(at(folder))
    generator.load_state_dict({k.removeprefix("generator."): v for k, v in weights.items() if k.startswith("gen")})
    assert torch.equal(prior.sample(2), generator(prior.latents(2)))
    if classes:
        assert torch.equal(prior.told("bob").sample(1), generator(prior.latents(1), torch.tensor([1])))
    assert verify(find_model("vae/voices", None, tmp_path)) == []


def test_cards_of_before_have_neither_domain_nor_classes(tmp_path: Path) -> None:
    folder = make_variational(tmp_path, "voices")
    wave = load_prior(folder).sample(1)
    edit(folder, config={"dim": 1, "latent": 4, "width": 16, "segment": 16384, "variational": True})
    prior = load_prior(folder)
    assert prior.searchable and prior.classes == () and torch.equal(prior.sample(1), wave)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"domain": "waveform"}, "foreign weights"),
        ({"domain": "mel"}, "config does not fit .unknown domain 'mel'"),
        ({"domain": ["magnitude"]}, "config does not fit"),
        ({"classes": []}, "foreign weights"),
        ({"classes": ["ann"]}, "foreign weights"),
        ({"classes": ["ann", "ann"]}, "config does not fit .classes must be different names"),
        ({"classes": [f"voice {number}" for number in range(10**5)]}, "config does not fit .classes must be"),
        ({"classes": 2}, "config does not fit"),
        ({"classes": None}, "config does not fit"),
        ({"classes": [["ann"], ["bob"]]}, "config does not fit"),
        ({"classes": [1, 2]}, "config does not fit"),
        ({"classes": "ab"}, "config does not fit"),
        ({"variational": False}, "config does not fit .only a variational prior plays spectra"),
        ({"dim": 10**5}, "foreign weights"),
    ],
)
def test_cards_of_variational_priors_that_lie(tmp_path: Path, change: dict[str, object], said: str) -> None:
    folder = make_variational(tmp_path, "voices", domain="magnitude", classes=("ann", "bob"))
    edit(folder, config=dict(read_card(folder).config) | change)
    with pytest.raises(ModelError, match=said):
        load_prior(folder)
    assert len(verify(find_model("vae/voices", None, tmp_path))) == 1


def test_a_prior_that_plays_spectra_is_variational_by_its_kind_too(tmp_path: Path) -> None:
    folder = make_variational(tmp_path, "voices", domain="magnitude")
    edit(folder, kind="gan")
    with pytest.raises(ModelError, match="a gan whose config says variational is True"):
        load_prior(folder)


# -- listeners ---------------------------------------------------------------------------------------------------------

EARS = NetConfig(outputs=2, width=16, depth=1, n_fft=256, hop=128)
TOLD = PriorConfig(dim=1, latent=16, width=16, listener="common")


def make_listener(library: Path, *sources: str, name: str = "common", seed: int = 0) -> Listener:
    """A listener with random weights in a library."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Listener(replace(EARS, outputs=2 * len(sources), mean=(-1.0,) * 129)).eval()
    about = Card(name, network.config.to_json(), 16000, None, sources, kind="listener")
    save_model(library / "listener" / name, network.state_dict(), about)
    return network


def test_priors_share_the_listener_beside_them(tmp_path: Path, make_prior: MakePrior) -> None:
    """Also where they are called by their folders, and where another library has one of that name."""
    made = make_listener(tmp_path / "a", "hiss", "tone")
    make_listener(tmp_path / "b", "hiss", "tone", seed=1)
    folders = [make_prior(tmp_path / "a", name, config=TOLD) for name in ("tone", "hiss")]
    dice = torch.get_rng_state()
    tone, hiss, again = (load_prior(folder, tmp_path / "b").listener for folder in (*folders, folders[0]))
    assert torch.equal(torch.get_rng_state(), dice)
    assert tone and hiss and again
    assert (tone.number, hiss.number) == (1, 0) and tone.hears == hiss.hears == ("hiss", "tone")
    assert tone.network is hiss.network is again.network
    assert not tone.network.training and not any(weight.requires_grad for weight in tone.network.parameters())
    spectrum = torch.randn(2, 129, 9, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
    for ours, theirs in zip(tone.network(spectrum), made(spectrum), strict=True):
        torch.testing.assert_close(ours, theirs)
    priors, broken = installed_priors(tmp_path / "a")
    heard = {prior.name: prior.listener for prior in priors if prior.name in ("tone", "hiss")}
    assert heard == {"tone": tone, "hiss": hiss} and not broken


def test_a_listener_elsewhere_is_found_as_other_models_are(tmp_path: Path, make_prior: MakePrior) -> None:
    make_listener(tmp_path / "b", "tone")
    folder = make_prior(tmp_path / "a", "tone", config=TOLD)
    prior = load_prior(folder, tmp_path / "b")
    assert prior.listener and prior.listener.network.config == load_listener("common", tmp_path / "b").config
    make_listener(tmp_path / "b", "tone", seed=1)  # another one of the same name, later
    other = load_prior(folder, tmp_path / "b").listener
    assert other and other.network is not prior.listener.network


@pytest.mark.parametrize("hears", [(), ("tone",), ("tone", "hiss")])
def test_a_prior_with_a_listener_of_its_own(tmp_path: Path, make_prior: MakePrior, hears: tuple[str, ...]) -> None:
    folder, own = make_prior(tmp_path, "tone"), make_listener(tmp_path, *(hears or ("tone",)))
    assert load_prior(folder).listener is None
    about = read_card(folder)
    ears = {f"listener.{name}": value for name, value in own.state_dict().items()}
    config = dict(about.config) | {"listener": own.config.to_json(), "hears": hears}
    save_model(folder, dict(load_weights(at(folder))) | ears, replace(about, config=config))
    ear = load_prior(folder).listener
    assert ear and (ear.number, ear.hears) == (0, hears or ("tone",))  # older cards do not say
    assert ear.network.config == own.config and not ear.network.training
    spectrum = torch.randn(2, 129, 9, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(ear.network(spectrum)[0], own(spectrum)[0])
    assert verify(at(folder)) == []
    save_model(folder, load_weights(at(folder)), about)  # ears that no card tells of
    with pytest.raises(ModelError, match="listener"):
        load_prior(folder)
    assert "listener" in verify(at(folder))[0]


@pytest.mark.usefixtures("nothing_packaged")
def test_listeners_that_are_not_there_or_hear_others(tmp_path: Path, make_prior: MakePrior) -> None:
    folder = make_prior(tmp_path, "tone", config=TOLD)
    with pytest.raises(ModelError, match="no listener model 'common'"):
        load_prior(folder)
    assert installed_priors(tmp_path) == ([], ["tone"])
    make_listener(tmp_path, "hiss", "drums")
    with pytest.raises(ModelError, match=r"tone.card\.json: its listener common hears hiss, drums, not tone"):
        load_prior(folder)
    for name, change in (("odd", {"outputs": 3}), ("other", {"n_fft": "big"}), ("large", {"outputs": 8})):
        make_listener(tmp_path, "tone", name=name)
        edit(tmp_path / "listener" / name, config=EARS.to_json() | change)
        with pytest.raises(ModelError, match=name):
            load_listener(name, tmp_path)
        assert verify(find_model(name, "listener", tmp_path))
