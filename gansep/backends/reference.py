"""Reference separators: the trained networks of torchaudio's pipelines, as rows to compare with.

``hdemucs`` is Hybrid Demucs (Défossez, "Hybrid Spectrogram and Waveform Source Separation", MDX workshop at ISMIR 2021)
as ``HDEMUCS_HIGH_MUSDB_PLUS``; ``conv-tasnet`` is Luo and Mesgarani, "Conv-TasNet: Surpassing Ideal Time-Frequency
Magnitude Masking for Speech Separation" (TASLP 2019) as ``CONVTASNET_BASE_LIBRI2MIX``. Both are supervised, and learned
on other sounds than the priors here.

Weights are never fetched by this program: they are read from where torchaudio keeps what it fetched. torchaudio is
imported late, because it loads beside one version of torch only and everything else does without it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from types import ModuleType

import torch
from torch import Tensor, nn

from gansep.types import Estimates, ModelError, Separator, component_names

SHORTEST = 8192  # samples; Hybrid Demucs cannot frame much less than two of its windows of 4096
FAINT = 1e-8  # what a standard deviation is kept above, so that silence may be divided by it


@dataclass(frozen=True)
class Bundle:
    """A network of torchaudio and where its weights are.

    Attributes:
        title: what the network is called in torchaudio's pipelines.
        file: of the weights, under ``torchaudio`` in the cache of torch.hub.
        sources: names of what it returns. sample_rate: Hz.
        channels: whether it hears stereo; else it is mono.
        build: makes the network without weights from ``torchaudio.models``.
    """

    title: str
    file: str
    sources: tuple[str, ...]
    sample_rate: int
    channels: bool
    build: Callable[[ModuleType], nn.Module]


STEMS = ("drums", "bass", "other", "vocals")
BUNDLES: dict[str, Bundle] = {
    "hdemucs": Bundle(
        "HDEMUCS_HIGH_MUSDB_PLUS",
        "models/hdemucs_high_trained.pt",
        STEMS,
        44100,
        True,
        lambda models: models.hdemucs_high(sources=list(STEMS)),
    ),
    "conv-tasnet": Bundle(
        "CONVTASNET_BASE_LIBRI2MIX",
        "models/conv_tasnet_base_libri2mix.pt",
        component_names(2),
        8000,
        False,
        lambda models: models.conv_tasnet_base(num_sources=2),
    ),
}


class TorchaudioReference:
    """Separator by a trained network (see :class:`gansep.types.Separator`); its waveforms are the result.

    Args:
        network: ``[1, C, T]`` to ``[1, S, C, T]`` if it hears stereo, ``[1, 1, T]`` to ``[1, S, T]`` if it is mono.
        sources: its ``S`` names.
        sample_rate: Hz.
        channels: whether it hears stereo.
    """

    segment: int | None = None
    refinement = None

    def __init__(self, network: nn.Module, sources: Sequence[str], sample_rate: int, channels: bool) -> None:
        self.network = network.eval()
        self.sources, self.sample_rate, self.channels = tuple(sources), sample_rate, channels

    def __call__(self, mixture: Tensor) -> Estimates:
        """Separate a batch, one mixture at a time: these networks need much memory.

        Shape: ``[B, T]`` to ``waves [B, S, T]``; with ``channels`` ``[B, C, T]`` to ``[B, S, C, T]``. Stereo is heard
        as it is. Of any other number of channels the mean is heard, and each channel is given the answer.
        """
        axes, shape = ("[B, C, T]", 3) if self.channels else ("[B, T]", 2)
        if mixture.ndim != shape or 0 in mixture.shape:
            raise ValueError(f"expected a mixture of shape {axes}, none of them 0, got {list(mixture.shape)}")
        device = next(self.network.parameters()).device
        separate = self._stereo if self.channels else self._mono
        with torch.no_grad():
            waves = torch.stack([separate(wave) for wave in mixture.to(device, torch.float32)])
        return Estimates(waves.to(mixture.device), self.sources)

    def _mono(self, wave: Tensor) -> Tensor:
        """``[T]`` to ``[S, T]``."""
        return self.network(wave[None, None])[0]

    def _stereo(self, wave: Tensor) -> Tensor:
        """``[C, T]`` to ``[S, C, T]``."""
        count, length = wave.shape
        heard = wave if count == 2 else wave.mean(0, keepdim=True).expand(2, -1)
        # As Demucs was trained: level and offset of the channels' mean are taken out, and given back in the end.
        offset, level = heard.mean(), heard.mean(0).std(correction=0).clamp_min(FAINT)
        padded = nn.functional.pad((heard - offset) / level, (0, max(0, SHORTEST - length)))
        answer = self.network(padded[None])[0, ..., :length] * level + offset / len(self.sources)
        return answer if count == 2 else answer.mean(1, keepdim=True).expand(-1, count, -1)


def reference_available(name: str) -> str | None:
    """Why a reference separator cannot run here; ``None`` if it can.

    Raises:
        ModelError: no such reference.
    """
    try:
        _cached(_bundle(name))
        _models()
    except ModelError as error:
        if name not in BUNDLES:
            raise
        return str(error)
    return None


def load_reference(name: str) -> Separator:
    """A reference separator with its trained weights.

    Args:
        name: of :data:`BUNDLES`.
    Raises:
        ModelError: no such reference, torchaudio does not load, or weights that are not there or do not fit.
    """
    bundle = _bundle(name)
    models, file = _models(), _cached(bundle)
    network = bundle.build(models)
    again = f"delete it and run {_fetching(bundle)}"
    try:
        weights = torch.load(file, map_location="cpu", weights_only=True)
        network.load_state_dict(weights)
    except (OSError, EOFError, RuntimeError, UnpicklingError, TypeError, AttributeError) as error:
        reason = str(error).partition("\n")[0]
        raise ModelError(f"{file}: not the weights of {bundle.title} ({reason}); {again}") from error
    return TorchaudioReference(network, bundle.sources, bundle.sample_rate, bundle.channels)


def _bundle(name: str) -> Bundle:
    if name not in BUNDLES:
        raise ModelError(f"unknown reference {name!r}; expected one of {', '.join(BUNDLES)}")
    return BUNDLES[name]


def _models() -> ModuleType:
    """``torchaudio.models``, or ModelError where torchaudio is missing or made for another torch."""
    try:
        return importlib.import_module("torchaudio.models")
    except (ImportError, OSError, RuntimeError) as error:  # the latter two when it meets a foreign torch
        reason = str(error).partition("\n")[0]
        wanted = "install torch and torchaudio of the same version, both from the same index (CPU or CUDA)"
        raise ModelError(f"torchaudio does not load ({reason}); {wanted}") from error


def _cached(bundle: Bundle) -> Path:
    """The file of the weights, where torchaudio's download puts it."""
    file = Path(torch.hub.get_dir()) / "torchaudio" / bundle.file
    if not file.is_file():
        raise ModelError(f"no weights of {bundle.title}; expected {file}; fetch them with {_fetching(bundle)}")
    return file


def _fetching(bundle: Bundle) -> str:
    return f'python -c "from torchaudio.pipelines import {bundle.title} as b; b.get_model()"'
