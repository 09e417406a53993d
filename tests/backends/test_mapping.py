"""``gansep.backends.mapping``: what the network answers with is what is heard, in the order asked for."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from gansep.backends import Wanted, load_separator, make_separator
from gansep.backends.mapping import Mappings
from gansep.library import Card, TrainedSeparator, save_model
from gansep.nets.mapping import SpectralMapping, WaveformConfig, WaveformMapping
from gansep.nets.spectral import NetConfig
from gansep.pipeline import Settings, Track, separate_tracks
from gansep.types import ModelError, Separator


def model(domain: str, sources: tuple[str, ...] = ("dogs", "cats")) -> TrainedSeparator:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        if domain == "spectral":
            config = NetConfig(len(sources), "tfconv", 8, 2, n_fft=128, hop=64)
            network = SpectralMapping(config)
        else:
            config = WaveformConfig(len(sources), width=4, depth=2)
            network = WaveformMapping(config)
    card = Card("pets", config.to_json() | {"domain": domain, "loss": "mae"}, 16000, None, sources, kind="mapping")
    return TrainedSeparator(card, network.eval().requires_grad_(False))


def noise(*shape: int) -> Tensor:
    return 0.3 * torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("domain", ["spectral", "waveform"])
@pytest.mark.parametrize("length", [1, 63, 64, 1000])
def test_waves_are_the_network_s_in_the_order_asked_for(domain: str, length: int) -> None:
    trained, mixture = model(domain), noise(2, length)
    separator: Separator = Mappings(trained)
    estimates = separator(mixture)
    assert estimates.sources == ("dogs", "cats") and estimates.waves.shape == (2, 2, length)
    network = trained.network
    with torch.no_grad():
        expected = network.separate(mixture) if isinstance(network, SpectralMapping) else network(mixture)
    torch.testing.assert_close(estimates.waves, expected, atol=0.02, rtol=0)  # in half precision where it pays
    other = Mappings(trained, ("cats", "dogs"))(mixture)
    assert other.sources == ("cats", "dogs")
    torch.testing.assert_close(other.waves, estimates.waves.flip(1))


@pytest.mark.parametrize("domain", ["spectral", "waveform"])
def test_stems_sum_to_the_recording_unless_they_are_wanted_raw(domain: str) -> None:
    separator, mixture = Mappings(model(domain)), noise(2, 30_000)

    def stems(refined: bool) -> Tensor:
        parts: list[Tensor] = []
        track = Track(
            lambda size, hop: iter([mixture[:, start : start + size] for start in range(0, 30_000, hop)][:1]),
            16000,
            30_000,
            lambda some, _: parts.append(some),
        )
        separate_tracks([track], separator, Settings(0.25, refinement=separator.refinement if refined else None))
        return torch.cat(parts, -1)

    assert (stems(True).sum(0) - mixture).abs().max() < 1e-4
    assert (stems(False).sum(0) - mixture).abs().max() > 0.01


@pytest.mark.parametrize("domain", ["spectral", "waveform"])
def test_it_is_found_by_its_sources(tmp_path: Path, domain: str) -> None:
    trained = model(domain)
    save_model(tmp_path / "mapping" / "pets", trained.network.state_dict(), trained.card)
    separator = load_separator("mapping", ["cats", "dogs"], library=tmp_path)
    mixture = noise(1, 500)
    torch.testing.assert_close(separator(mixture).waves, Mappings(trained, ("cats", "dogs"))(mixture).waves)
    with pytest.raises(ModelError, match="no mapping model of cats"):
        load_separator("mapping", ["cats", "birds"], library=tmp_path)
    with pytest.raises(ModelError, match="mapping needs the names of its sources"):
        make_separator("mapping", Wanted(library=tmp_path))
    with pytest.raises(ModelError, match="mapping:exponent must be a number, got 'loud'"):
        make_separator("mapping:exponent=loud", Wanted(("cats", "dogs"), library=tmp_path))
