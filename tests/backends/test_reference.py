"""The reference separators: their plumbing with random weights of the real architectures, and what they refuse."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from gansep.backends import reference
from gansep.backends.reference import BUNDLES, TorchaudioReference, load_reference, reference_available
from gansep.pipeline import Settings, Track, separate_tracks
from gansep.types import ModelError, Separator

pipelines = pytest.importorskip("torchaudio.pipelines", exc_type=(ImportError, OSError, RuntimeError))
models = pytest.importorskip("torchaudio.models", exc_type=(ImportError, OSError, RuntimeError))


def noise(*shape: int, seed: int = 0) -> Tensor:
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def seeded(make: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make()


@pytest.fixture(scope="module")
def stereo() -> TorchaudioReference:
    """Hybrid Demucs, a sixth as wide as the trained one."""
    names = list(reference.STEMS)
    return TorchaudioReference(seeded(lambda: models.HDemucs(names, channels=8)), names, 44100, True)


@pytest.fixture(scope="module")
def mono() -> TorchaudioReference:
    """Conv-TasNet with few filters."""
    network = seeded(lambda: models.ConvTasNet(2, 16, 32, 3, 16, 32, 3, 1))
    return TorchaudioReference(network, ("component-1", "component-2"), 8000, False)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where torchaudio keeps weights, empty."""
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "torchaudio" / "models"
    folder.mkdir(parents=True)
    return folder


def test_attributes(stereo: TorchaudioReference, mono: TorchaudioReference) -> None:
    for separator in (stereo, mono):
        assert isinstance(separator, Separator)
        assert separator.segment is None and separator.refinement is None
        assert not separator.network.training
    assert (stereo.channels, mono.channels) == (True, False)
    assert (stereo.sample_rate, mono.sample_rate) == (44100, 8000)


def test_bundles_are_those_of_torchaudio() -> None:
    for bundle in BUNDLES.values():
        theirs = getattr(pipelines, bundle.title)
        assert (theirs._model_path, theirs.sample_rate) == (bundle.file, bundle.sample_rate)
        with torch.device("meta"):  # shapes alone
            ours, original = bundle.build(models).state_dict(), theirs._model_factory_func().state_dict()
        assert {key: value.shape for key, value in ours.items()} == {k: v.shape for k, v in original.items()}


def test_mono_is_the_network_itself(mono: TorchaudioReference) -> None:
    mixture = noise(2, 4001)
    estimates = mono(mixture)
    with torch.no_grad():
        expected = mono.network(mixture[:, None])
    assert estimates.sources == ("component-1", "component-2")
    assert estimates.waves.shape == (2, 2, 4001)
    torch.testing.assert_close(estimates.waves, expected)
    assert not estimates.waves.requires_grad


def test_stereo_of_a_normal_level_is_the_network_itself(stereo: TorchaudioReference) -> None:
    mixture = noise(1, 2, 20000)
    mixture = (mixture - mixture.mean()) / mixture.mean(1).std(correction=0)
    estimates = stereo(mixture)
    with torch.no_grad():
        expected = stereo.network(mixture)
    assert estimates.sources == reference.STEMS
    torch.testing.assert_close(estimates.waves, expected, atol=1e-4, rtol=1e-4)
    assert (estimates.waves[0, :, 0] - estimates.waves[0, :, 1]).abs().max() > 1e-3  # each channel has its own answer


def test_level_is_given_back_and_offset_shared(stereo: TorchaudioReference) -> None:
    mixture = noise(1, 2, 20000)
    quiet, shifted = stereo(0.001 * mixture).waves, stereo(mixture + 0.5).waves
    waves = stereo(mixture).waves
    torch.testing.assert_close(1000 * quiet, waves, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(shifted.sum(1), waves.sum(1) + 0.5, atol=1e-3, rtol=1e-3)


def test_other_channel_counts_hear_the_mean(stereo: TorchaudioReference) -> None:
    three = noise(1, 3, 10000)
    mean = three.mean(1, keepdim=True)
    alone = stereo(mean).waves
    assert alone.shape == (1, 4, 1, 10000)
    torch.testing.assert_close(stereo(three).waves, alone.expand(-1, -1, 3, -1))
    torch.testing.assert_close(stereo(mean.expand(-1, 2, -1)).waves.mean(2, keepdim=True), alone)


def test_neighbours_do_not_matter(stereo: TorchaudioReference, mono: TorchaudioReference) -> None:
    batch = noise(2, 2, 9000) * torch.tensor([1.0, 30.0])[:, None, None]
    torch.testing.assert_close(stereo(batch).waves[:1], stereo(batch[:1]).waves)
    torch.testing.assert_close(mono(batch[:, 0]).waves[:1], mono(batch[:1, 0]).waves)


@pytest.mark.parametrize("length", [1, 100, 8193])
def test_any_length(stereo: TorchaudioReference, mono: TorchaudioReference, length: int) -> None:
    for waves, shape in [
        (stereo(noise(1, 2, length)).waves, (1, 4, 2, length)),
        (mono(noise(1, length)).waves, (1, 2, length)),
    ]:
        assert waves.shape == shape
        assert waves.isfinite().all()


def test_silence_stays_silent(stereo: TorchaudioReference, mono: TorchaudioReference) -> None:
    assert stereo(torch.zeros(1, 2, 9000)).waves.abs().max() == 0
    assert mono(torch.zeros(1, 9000)).waves.abs().max() == 0


def test_wrong_shapes(stereo: TorchaudioReference, mono: TorchaudioReference) -> None:
    with pytest.raises(ValueError, match=r"expected a mixture of shape \[B, C, T\].*got \[2, 100\]"):
        stereo(torch.zeros(2, 100))
    with pytest.raises(ValueError, match=r"expected a mixture of shape \[B, T\].*got \[1, 2, 100\]"):
        mono(torch.zeros(1, 2, 100))
    with pytest.raises(ValueError, match="none of them 0"):
        mono(torch.zeros(1, 0))


def test_through_the_pipeline(stereo: TorchaudioReference) -> None:
    track = noise(2, 30000)
    stems: list[Tensor] = []

    def windows(segment: int, hop: int) -> list[Tensor]:
        assert segment >= track.shape[1]
        return [nn.functional.pad(track, (0, segment - track.shape[1]))]

    separate_tracks([Track(windows, 44100, 30000, lambda s, _: stems.append(s))], stereo, Settings(refinement=None))
    torch.testing.assert_close(torch.cat(stems, -1), stereo(track[None]).waves[0])


def test_cached_weights_are_loaded(cache: Path) -> None:
    network = seeded(lambda: models.conv_tasnet_base(2))
    torch.save(network.state_dict(), cache / "conv_tasnet_base_libri2mix.pt")
    assert reference_available("conv-tasnet") is None
    separator = load_reference("conv-tasnet")
    assert separator.sources == ("component-1", "component-2")
    assert (separator.sample_rate, separator.segment, separator.refinement) == (8000, None, None)
    mixture = noise(1, 2000)
    with torch.no_grad():
        torch.testing.assert_close(separator(mixture).waves, network.eval()(mixture[:, None]))


@pytest.mark.parametrize("name", BUNDLES)
def test_weights_that_are_not_there(cache: Path, name: str) -> None:
    bundle = BUNDLES[name]
    reason = reference_available(name)
    assert reason is not None and "\n" not in reason
    for part in (bundle.title, str(cache / Path(bundle.file).name), "get_model()"):
        assert part in reason
    with pytest.raises(ModelError) as caught:
        load_reference(name)
    assert str(caught.value) == reason
    assert not any(cache.iterdir())  # nothing was fetched


class Dangerous:
    """Leaves a file behind when unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Callable[..., object], tuple[Path]]:
        return Path.touch, (self.file,)


def test_foreign_files_are_refused(cache: Path, tmp_path: Path) -> None:
    file = cache / "conv_tasnet_base_libri2mix.pt"
    trace = tmp_path / "was-here"
    contents = [b"", b"<html>", pickle.dumps(Dangerous(trace), protocol=2)]
    for content in contents:
        file.write_bytes(content)
        with pytest.raises(ModelError, match="not the weights of CONVTASNET_BASE_LIBRI2MIX") as caught:
            load_reference("conv-tasnet")
        assert "\n" not in str(caught.value)
    for saved in ({"a": torch.zeros(1)}, torch.zeros(3), Dangerous(trace)):
        torch.save(saved, file)
        with pytest.raises(ModelError, match="not the weights of CONVTASNET_BASE_LIBRI2MIX"):
            load_reference("conv-tasnet")
    assert not trace.exists()


@pytest.mark.parametrize("error", ["ImportError('missing')", "OSError('foreign')", "RuntimeError('foreign\\nmore')"])
def test_torchaudio_that_does_not_load(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: str
) -> None:
    (cache / "conv_tasnet_base_libri2mix.pt").touch()
    package = tmp_path / "broken" / "torchaudio"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(f"raise {error}\n")
    for module in [one for one in sys.modules if one.split(".")[0] == "torchaudio"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.syspath_prepend(package.parent)
    reason = reference_available("conv-tasnet")
    assert reason is not None and "\n" not in reason
    assert "torchaudio does not load" in reason and "torch and torchaudio of the same version" in reason
    with pytest.raises(ModelError, match="torchaudio does not load"):
        load_reference("conv-tasnet")


def test_unknown_reference() -> None:
    for ask in (load_reference, reference_available):
        with pytest.raises(ModelError, match=r"unknown reference 'umx'; expected one of hdemucs, conv-tasnet"):
            ask("umx")
