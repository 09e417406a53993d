"""Networks that take mixtures of certain sources apart: found by the set of their sources, loaded, checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gansep.library.card import CARD, Card, Found
from gansep.library.search import find_model, find_models
from gansep.library.weights import check_shapes, load_weights
from gansep.types import ModelError

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn


@dataclass(frozen=True)
class TrainedSeparator:
    """A network and its card.

    Attributes:
        card: of the model; its ``sources`` are in the order of the network's answer.
        network: in eval mode, its weights take no gradient.
    """

    card: Card
    network: nn.Module


def find_separator(kind: str, sources: Sequence[str], library: str | Path | None = None, causal: bool = False) -> Found:
    """The model of a kind that separates exactly these sources, in any order; or, if it is told which, more of them.

    Of several the one with the fewest sources comes first, then one that is called as its sources, then the order in
    which libraries are asked.

    Args:
        kind: one of :data:`SEPARATORS`. sources: their names. library: the one given with ``--library``.
        causal: whether it must be one that can stream: a ``tfconv`` that hears nothing ahead.
    Raises:
        ModelError: there is none; the message says which sources the installed ones have, or that they cannot stream.
    """
    wanted, there, unfit = set(sources), [], []
    matching = []
    for found in find_models(library, kind):
        try:
            names, config = found.card.sources, found.card.config
        except ModelError:
            continue  # a broken model must not stand in the way of a whole one
        there.append("+".join(names))
        if not _answers(found.card, wanted) or found.shadowed:
            continue
        if causal and not (config.get("causal") and config.get("network") == "tfconv"):
            unfit.append(found.name)
            continue
        matching.append((len(names), found.name != "-".join(names), found))
    if matching:
        return min(matching, key=lambda match: match[:2])[2]
    have = f"installed ones have {', '.join(sorted(set(there)))}" if there else "none is installed"
    if unfit:
        have = f"installed ones of these sources are no causal tfconv networks: {', '.join(unfit)}"
    how = f"gansep train-{kind}{' --causal' if causal else ''}"
    raise ModelError(
        f"no {'causal ' if causal else ''}{kind} model of {'+'.join(sources)}; {have}; train one with {how}"
    )


def _answers(card: Card, wanted: set[str]) -> bool:
    """Whether a model can be asked for these sources."""
    known = set(card.sources)
    return wanted == known or (card.config.get("job") == "conditional" and set() < wanted < known)


def load_separation(
    kind: str,
    sources: Sequence[str] = (),
    model: str | Path | Found | None = None,
    library: str | Path | None = None,
    device: str | torch.device = "cpu",
) -> TrainedSeparator:
    """Load a network that separates, ready to answer.

    Args:
        kind: one of :data:`SEPARATORS`. sources: it must have, unless a model is named.
        model: its name or folder. library: the one given with ``--library``.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
    Raises:
        ModelError: no such model, one of other sources, or a damaged or foreign one.
    """
    import torch

    from gansep.nets.precision import pick_device

    if isinstance(model, Found):
        found = model
    else:
        found = find_separator(kind, sources, library) if model is None else find_model(model, kind, library)
    names = found.card.sources
    if sources and not _answers(found.card, set(sources)):
        raise ModelError(f"{found.folder}: it separates {', '.join(names)}, not {', '.join(sources)}; give another one")
    weights = load_weights(found)
    build = check_separation(found, weights)
    with torch.random.fork_rng(devices=[]):  # building a network draws random weights, from the caller's dice
        network = build()
    network.load_state_dict(dict(weights))
    return TrainedSeparator(found.card, network.to(pick_device(str(device))).eval().requires_grad_(False))


def check_separation(found: Found, weights: Mapping[str, Tensor]) -> Callable[[], nn.Module]:
    """What builds the network of a model whose weights fit it.

    Raises:
        ModelError: a card whose config is of no such network, or weights of another size.
    """
    import torch

    card = found.card
    if len(card.sources) < 2:
        raise ModelError(f"{found.folder / CARD}: a separator has two sources or more, got {len(card.sources)}")
    try:
        build = _BUILDERS[card.kind](dict(card.config), len(card.sources))
        with torch.device("meta"):  # without memory, so that a card with absurd sizes cannot fill the machine
            expected = build().state_dict()
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ModelError(f"{found.folder / CARD}: its config does not fit the kind {card.kind} ({error})") from error
    if card.config.get("sample_rate") != card.sample_rate:
        raise ModelError(f"{found.folder / CARD}: sample_rate differs from that of its own config")
    check_shapes(found, weights, expected)
    return build


def _mask(config: dict[str, Any], sources: int) -> Callable[[], nn.Module]:
    from gansep.nets.masknet import MaskNet, maps
    from gansep.nets.spectral import NetConfig

    target = config.pop("target")
    config.pop("loss", None)
    sizes = NetConfig(**config)
    if sizes.outputs != sources * maps(target):
        raise ValueError(f"{sizes.outputs} outputs for {sources} sources")
    return lambda: MaskNet(sizes, target)


def _mapping(config: dict[str, Any], sources: int) -> Callable[[], nn.Module]:
    from gansep.nets.mapping import SpectralMapping, WaveformConfig, WaveformMapping
    from gansep.nets.spectral import NetConfig

    domain = config.pop("domain")
    config.pop("loss", None)
    if config["outputs"] != sources:
        raise ValueError(f"{config['outputs']} outputs for {sources} sources")
    if domain == "spectral":
        sizes = NetConfig(**config)
        return lambda: SpectralMapping(sizes)
    if domain == "waveform":
        shape = WaveformConfig(**config)
        return lambda: WaveformMapping(shape)
    raise ValueError(f"unknown domain {domain!r}")


def _autoencoder(config: dict[str, Any], sources: int) -> Callable[[], nn.Module]:
    from gansep.nets.sound import SoundAutoencoder, SoundConfig

    job, classes = config.pop("job"), {"denoising": 0, "conditional": sources}
    config.pop("loss", None)
    config.pop("corruption", None)
    sizes = SoundConfig(**config)
    if job not in classes:
        raise ValueError(f"unknown job {job!r}; expected one of {', '.join(classes)}")
    if sizes.classes != classes[job] or (job == "denoising" and sources != 2):
        raise ValueError(f"{sizes.classes} classes for {sources} sources of a {job} one")
    return lambda: SoundAutoencoder(sizes)


_BUILDERS: dict[str, Callable[[dict[str, Any], int], Callable[[], nn.Module]]] = {
    "mask": _mask,
    "mapping": _mapping,
    "autoencoder": _autoencoder,
}
SEPARATORS = tuple(_BUILDERS)
