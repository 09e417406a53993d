"""What many tests need: tiny real priors in a library of their own, sound files, and the command as a process."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from gansep.library import Card, save_model
from gansep.library import search as search_module
from gansep.nets.wavegan import Encoder, Generator, PriorConfig

ROOT = Path(__file__).resolve().parent.parent
# What librosa compiles is kept on disk; of two test processes that fill one fresh cache at once, some have crashed.
_COMPILED = tempfile.TemporaryDirectory(prefix="gansep-numba-")
os.environ["NUMBA_CACHE_DIR"] = _COMPILED.name
torch.set_num_threads(1)  # tiny networks gain nothing from more, and lose much where other work runs

TINY = PriorConfig(dim=1, latent=16, width=16)

MakePrior = Callable[..., Path]
MakeFile = Callable[..., Path]
RunGansep = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(autouse=True)
def own_home(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test sees, or writes to, the models of whoever runs it."""
    monkeypatch.delenv("GANSEP_LIBRARY", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path_factory.getbasetemp() / "home"))


@pytest.fixture(scope="session")
def make_prior() -> MakePrior:
    """``make_prior(library, "tone", seed=1, config=..., encoder=True) -> folder``: a prior with random weights."""

    def make(library: Path, name: str, seed: int = 0, config: PriorConfig = TINY, encoder: bool = True) -> Path:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            networks = {"generator": Generator(config)} | ({"encoder": Encoder(config)} if encoder else {})
        weights = {f"{part}.{key}": value for part, net in networks.items() for key, value in net.state_dict().items()}
        licences = {"data": "nothing: random weights", "data_licence": "CC0-1.0", "licence": "CC0-1.0"}
        curve = ({"step": 1, "spectral": 2.0}, {"step": 2, "spectral": 1.5})
        card = Card(
            name, config.to_json(), config.sample_rate, config.segment, (name,), seed=seed, curve=curve, **licences
        )
        folder = library / "gan" / name
        save_model(folder, weights, card)
        return folder

    return make


@pytest.fixture(scope="session")
def tiny_library(tmp_path_factory: pytest.TempPathFactory, make_prior: MakePrior) -> Path:
    """A library with the priors ``tone`` and ``hiss``; to be read only."""
    library = tmp_path_factory.mktemp("library")
    make_prior(library, "tone", seed=1)
    make_prior(library, "hiss", seed=2)
    return library


@pytest.fixture
def nothing_packaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test that uses this sees the priors that come with the package."""
    monkeypatch.setattr(search_module, "_packaged", lambda: tmp_path / "packaged")


@pytest.fixture
def sound(tmp_path: Path) -> MakeFile:
    """``sound("mix.wav", frames, rate, channels, peak=0.5, subtype="PCM_16") -> file`` of reproducible noise."""

    def make(
        name: str,
        frames: int = 4000,
        rate: int = 16000,
        channels: int = 1,
        peak: float = 0.5,
        subtype: str = "PCM_16",
        seed: int = 0,
    ) -> Path:
        wave = np.random.default_rng(seed).standard_normal((frames, channels))
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, peak * wave / max(np.abs(wave).max(), 1e-9), rate, subtype)
        return path

    return make


@pytest.fixture
def fast(tiny_library: Path) -> dict[str, Any]:
    """The quickest request for the tiny priors, but for the sources."""
    return {"quality": "fast", "library": tiny_library}


@pytest.fixture
def run_gansep() -> RunGansep:
    """``run_gansep("priors", "--json") -> CompletedProcess``: the command of this checkout, as a process."""

    def run(*arguments: str | Path, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "gansep", *map(str, arguments)]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=timeout)

    return run
