"""``gansep.backends.mask``: what the network says is what is heard, in the order asked for."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from gansep.backends import Wanted, load_separator, make_separator
from gansep.backends.mask import Masks, _levelled
from gansep.dsp.masks import apply_mask
from gansep.dsp.stft import istft, stft
from gansep.library import Card, TrainedSeparator, save_model
from gansep.nets.masknet import MaskNet, maps
from gansep.nets.spectral import NetConfig
from gansep.pipeline import Settings, Track, separate_tracks
from gansep.types import ModelError, Separator


def model(target: str = "irm", loss: str = "mse", sources: tuple[str, ...] = ("dogs", "cats")) -> TrainedSeparator:
    config = NetConfig(len(sources) * maps(target), "tfconv", 8, 2, n_fft=128, hop=64)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        network = MaskNet(config, target).eval().requires_grad_(False)
    card = Card("pets", config.to_json() | {"target": target, "loss": loss}, 16000, None, sources, kind="mask")
    return TrainedSeparator(card, network)


@pytest.fixture
def library(tmp_path: Path) -> Path:
    for sources in (("dogs", "cats"), ("dogs", "cats", "birds")):
        trained = model(sources=sources)
        save_model(tmp_path / "mask" / "-".join(sources), trained.network.state_dict(), trained.card)
    return tmp_path


def test_stems_are_the_masked_mixture() -> None:
    trained = model()
    separator = Masks(trained)
    assert isinstance(separator, Separator)
    mixture = torch.randn(3, 4032)
    result = separator(mixture)
    spectrum = stft(mixture, 128, 64)
    assert isinstance(trained.network, MaskNet)
    masks = trained.network.masks(trained.network(spectrum))
    expected = istft(apply_mask(masks, spectrum), 4032, 128, 64)
    assert result.sources == ("dogs", "cats")
    assert torch.allclose(result.waves, expected, atol=2e-3)  # the network may compute in bfloat16
    assert not torch.allclose(result.waves[:, 0], result.waves[:, 1], atol=1e-2)


@pytest.mark.parametrize("length", range(1000, 1064, 9))
def test_ends_without_a_click(length: int) -> None:
    waves = Masks(model())(0.1 * torch.randn(1, length)).waves
    assert waves[..., -64:].abs().max() < 2 * waves[..., :-64].abs().max()


@pytest.mark.parametrize("target", ["irm", "orm", "crm"])
def test_order_is_the_one_asked_for(target: str) -> None:
    mixture = torch.randn(1, 3000)
    straight, turned = (Masks(model(target), names)(mixture) for names in (("dogs", "cats"), ("cats", "dogs")))
    assert turned.sources == ("cats", "dogs")
    assert torch.equal(straight.waves, turned.waves.flip(1))


def test_threshold_makes_masks_binary() -> None:
    separator = Masks(model("ibm", "cross-entropy"), threshold=0.5)
    masks = separator.masks(torch.randn(1, 65, 9, dtype=torch.complex64))
    assert set(masks.flatten().tolist()) <= {0.0, 1.0}
    with pytest.raises(ModelError, match=r"a threshold in \(0, 1\) is for ibm and irm masks, got 0.5 for psm"):
        Masks(model("psm"), threshold=0.5)
    with pytest.raises(ModelError, match=r"got 1\.5 for irm"):
        Masks(model("irm"), threshold=1.5)


@pytest.mark.parametrize(
    ("target", "loss", "exponent"), [("irm", "mse", 2.0), ("irm", "snr", 1.0), ("psm", "mse", 1.0)]
)
def test_square_root_masks_are_squared_into_shares(target: str, loss: str, exponent: float) -> None:
    refinement = Masks(model(target, loss)).refinement
    assert refinement is not None and refinement.exponent == exponent


def test_back_end_finds_its_model(library: Path) -> None:
    three = load_separator("mask", ["birds", "dogs", "cats"], library=library)
    assert three.sources == ("birds", "dogs", "cats")
    assert load_separator("mask:model=dogs-cats", library=library).sources == ("dogs", "cats")
    with pytest.raises(ModelError, match="mask needs the names of its sources"):
        load_separator("mask", k=2, library=library)
    with pytest.raises(ModelError, match=r"no mask model of dogs\+mice"):
        load_separator("mask", ["dogs", "mice"], library=library)
    with pytest.raises(ModelError, match="mask has no option colour"):
        make_separator("mask", wanted=_wanted(library), colour="blue")


def _wanted(library: Path):
    from gansep.backends import Wanted

    return Wanted(("dogs", "cats"), library=library)


@pytest.mark.parametrize("length", [1, 17, 24000])
def test_any_length_sums_to_the_recording(length: int) -> None:
    mixture = torch.randn(2, length) * 0.1
    pieces: list[Tensor] = []
    track = Track(lambda size, hop: _windows(mixture, size, hop), 16000, length, lambda stems, _: pieces.append(stems))
    separator = Masks(model())
    separate_tracks([track], separator, Settings(0.25, refinement=separator.refinement))
    stems = torch.cat(pieces, -1)
    assert stems.shape == (2, 2, length)
    assert torch.allclose(stems.sum(0), mixture, atol=1e-5)


def _windows(wave: Tensor, size: int, hop: int) -> Tensor:
    from gansep.dsp.frames import split

    return split(wave, size, hop)


def test_stems_whose_level_was_free_get_one_that_fits_the_recording() -> None:
    random = torch.Generator().manual_seed(0)
    parts = torch.randn(3, 2, 16000, generator=random)
    levels = torch.tensor([[0.1, 1.0], [1.0, 1.0], [3.0, 0.01]])[..., None]
    torch.testing.assert_close(_levelled(levels * parts, parts.sum(1)), parts, atol=0.05, rtol=0)
    silent = torch.stack([parts[:, 0], torch.zeros(3, 16000)], 1)
    torch.testing.assert_close(_levelled(silent, parts[:, 0]), silent, atol=1e-3, rtol=0)
    assert Masks(model(loss="si-sdr")).free and not Masks(model()).free


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("threshold=abc", "mask:threshold must be a number, got 'abc'"),
        ("exponent=x", "mask:exponent must be a number, got 'x'"),
        ("steps=3", "mask has no option steps; it has model, threshold, exponent"),
    ],
)
def test_options_of_the_wrong_kind(library: Path, option: str, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        make_separator(f"mask:{option}", Wanted(("cats", "dogs"), library=library))


def test_a_model_may_be_called_by_digits(library: Path) -> None:
    with pytest.raises(ModelError, match="'7'"):
        make_separator("mask:model=7", Wanted(("cats", "dogs"), library=library))
