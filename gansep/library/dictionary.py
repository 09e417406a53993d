"""NMF dictionaries: the spectra a source is made of, and the spectrograms they are learned from and used on.

The divergence decides what is modelled: Kullback-Leibler the magnitudes, Itakura-Saito the power, of which it is the
likelihood (Fevotte, Bertin and Durrieu, "Nonnegative matrix factorization with the Itakura-Saito divergence", Neural
Computation 2009).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gansep.library.card import CARD, WEIGHTS, Card, Found
from gansep.library.search import find_model
from gansep.library.weights import load_weights
from gansep.types import ModelError

if TYPE_CHECKING:
    from torch import Tensor

# What is added to a spectrogram whose mean is 1. Itakura-Saito judges ratios: without it, what lies far below hearing
# would count as much as the sound.
FLOORS = {"kullback-leibler": 1e-6, "itakura-saito": 1e-3}
DIVERGENCES = tuple(FLOORS)


@dataclass(frozen=True)
class Dictionary:
    """The spectra that a source is a sum of.

    Attributes:
        name: of the source. card: of the model.
        atoms: ``[A, F]``, not negative, magnitudes or power as the divergence has it.
    """

    name: str
    card: Card
    atoms: Tensor

    @property
    def sample_rate(self) -> int:
        """In Hz."""
        return self.card.sample_rate

    @property
    def n_fft(self) -> int:
        """Window of the spectrograms, in samples."""
        return self.card.config["n_fft"]

    @property
    def hop(self) -> int:
        """Samples between frames."""
        return self.card.config["hop"]

    @property
    def divergence(self) -> str:
        """One of :data:`DIVERGENCES`."""
        return self.card.config["divergence"]


def load_dictionary(reference: str | Path | Found, library: str | Path | None = None) -> Dictionary:
    """Load a dictionary.

    Args:
        reference: ``drums``, ``nmf/drums``, a model folder, or what :func:`find_model` found.
        library: the one given with ``--library``.
    Raises:
        ModelError: no such model, or one that is damaged, of another kind or does not fit its card.
    """
    found = reference if isinstance(reference, Found) else find_model(reference, "nmf", library)
    if found.card.kind != "nmf":
        raise ModelError(f"{found.folder}: a model of kind {found.card.kind}, expected nmf; give another one")
    return Dictionary(found.name, found.card, check_dictionary(found, load_weights(found)))


def check_dictionary(found: Found, weights: dict[str, Tensor]) -> Tensor:
    """The atoms ``[A, F]`` of a dictionary that fits its card.

    Raises:
        ModelError: a card without the settings of a dictionary, other weights, or atoms that cannot be spectra.
    """
    config = found.card.config
    sizes = [size for name in ("n_fft", "hop", "atoms") if type(size := config.get(name)) is int and size > 0]
    if len(sizes) < 3 or config.get("divergence") not in DIVERGENCES:
        expected = f"n_fft, hop and atoms above 0 and a divergence of {', '.join(DIVERGENCES)}"
        raise ModelError(f"{found.folder / CARD}: not a dictionary, its config is {dict(config)}; expected {expected}")
    n_fft, hop, count = sizes
    if hop > n_fft // 2:
        raise ModelError(f"{found.folder / CARD}: a hop of {hop} leaves gaps between windows of {n_fft} samples")
    path, shape = found.folder / WEIGHTS, [count, n_fft // 2 + 1]
    shapes = {name: list(value.shape) for name, value in weights.items()}
    if shapes != {"atoms": shape}:
        raise ModelError(f"{path}: foreign weights {shapes!s:.80}, expected atoms of shape {shape}; train it again")
    atoms = weights["atoms"].float()
    if not bool(atoms.isfinite().all()) or bool((atoms < 0).any()) or not bool(atoms.any()):
        raise ModelError(f"{path}: atoms must be finite, not negative and not all zero; train the dictionary again")
    return atoms


def nmf_spectrogram(wave: Tensor, n_fft: int, hop: int, divergence: str) -> Tensor:
    """What NMF factorises: magnitudes for Kullback-Leibler, power for Itakura-Saito, frame by frame.

    Shape: ``[..., T]`` to ``[..., N, F]``.

    >>> import torch
    >>> nmf_spectrogram(torch.zeros(2, 4096), 512, 128, "itakura-saito").shape
    torch.Size([2, 33, 257])
    """
    from gansep.dsp.stft import stft

    if divergence not in DIVERGENCES:
        raise ValueError(f"unknown divergence {divergence!r}; expected one of {', '.join(DIVERGENCES)}")
    magnitude = stft(wave, n_fft, hop).abs().mT
    return magnitude if divergence == "kullback-leibler" else magnitude.square()


def levelled(spectrogram: Tensor, divergence: str) -> Tensor:
    """Spectrograms brought to a mean of 1, and the floor that the divergence needs.

    Shape: ``[..., N, F]`` to the same; a silent spectrogram becomes the floor.

    >>> import torch
    >>> levelled(torch.tensor([[2.0, 6.0]]), "itakura-saito")
    tensor([[0.5010, 1.5010]])
    """
    mean = spectrogram.mean((-2, -1), keepdim=True)
    return spectrogram / mean.clamp_min(1e-20) + FLOORS[divergence]
