"""From a model folder to a prior that plays: a generator, its encoder, and the check that weights fit the card."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from gansep.library.card import CARD, Card, Found
from gansep.library.dictionary import check_dictionary
from gansep.library.search import find_model, find_models
from gansep.library.separation import SEPARATORS, check_separation
from gansep.library.weights import check_shapes, load_weights
from gansep.types import ModelError

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from gansep.inversion.projection import Space
    from gansep.nets.listener import Ear, Listener
    from gansep.nets.wavegan import PriorConfig


PRIORS = ("gan", "vae")


@dataclass(frozen=True)
class Prior:
    """A source's generator, and the encoder that starts a search with it.

    Attributes:
        name: of the source. card: of the model.
        generator: ``[B, Z]``, in [-1, 1] unless it is variational, to ``[B, segment]``; in eval mode, its weights take
            no gradient.
        encoder: ``[B, segment]`` mixture to latents ``[B, Z]`` and gains ``[B]``; ``None`` where none was trained.
        listener: how the source is heard in a mixture; ``None`` where none was trained.
    """

    name: str
    card: Card
    generator: nn.Module
    encoder: nn.Module | None
    listener: Ear | None = None

    @property
    def sample_rate(self) -> int:
        """In Hz."""
        return self.card.sample_rate

    @property
    def segment(self) -> int:
        """Samples the generator makes."""
        return self.card.config["segment"]

    @property
    def latent(self) -> int:
        """Numbers in a latent, ``Z``."""
        return self.card.config["latent"]

    @property
    def variational(self) -> bool:
        """Whether latents are normal, not uniform in [-1, 1]."""
        return self.card.kind == "vae"

    @property
    def searchable(self) -> bool:
        """Whether its sounds have a gradient: all but those whose phases Griffin-Lim finds."""
        return self.card.config.get("domain", "waveform") == "waveform"

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of what its generator can be told to play."""
        return tuple(self.card.config.get("classes", ()))

    def told(self, name: str) -> Prior:
        """The same prior, playing one of its classes.

        Raises:
            ModelError: it has no such class.
        """
        from gansep.nets.wavegan import Told

        if name not in self.classes:
            known = f"one of {', '.join(self.classes)}" if self.classes else "none, as it has no classes"
            raise ModelError(f"{self.name}: no class {name!r}, expected {known}")
        generator = self.generator.generator if isinstance(self.generator, Told) else self.generator
        return replace(self, generator=Told(generator, self.classes.index(name)).eval())

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return next(self.generator.parameters()).device

    @property
    def space(self) -> Space:
        """Where its latents lie."""
        from gansep.inversion.projection import BALL, BOX

        return BALL if self.card.kind == "vae" else BOX

    def latents(self, count: int, seed: int = 0) -> Tensor:
        """Latents drawn as the prior has them; the same for the same seed. Shape: ``[count, Z]``, on its device."""
        import torch

        from gansep.nets.wavegan import PriorConfig, draw_latents

        random = torch.Generator().manual_seed(seed)
        return draw_latents(PriorConfig(**self.card.config), count, random).to(self.device)

    def sample(self, count: int, seed: int = 0) -> Tensor:
        """Sounds of the prior; the same for the same seed. Shape: ``[count, segment]``, on its device."""
        import torch

        with torch.no_grad():
            return torch.cat([self.generator(few) for few in self.latents(count, seed).split(64)])


def load_prior(
    reference: str | Path | Found,
    library: str | Path | None = None,
    device: str | torch.device = "cpu",
    kind: str = "gan",
) -> Prior:
    """Load a prior, ready to play.

    Args:
        reference: ``drums``, ``gan/drums``, ``vae/drums``, a model folder, or what :func:`find_model` found.
        library: the one given with ``--library``.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        kind: of a model that is called by its name alone, ``gan`` or ``vae``.
    Raises:
        ModelError: no such model, or a damaged or foreign one.
    """
    import torch

    from gansep.nets.precision import pick_device

    found = reference if isinstance(reference, Found) else _find_prior(reference, library, kind)
    weights = load_weights(found)
    config = _check_prior(found, weights)
    device = pick_device(str(device))
    with torch.random.fork_rng(devices=[]):  # building a network draws random weights, from the caller's dice
        networks = _networks(config, weights)
    for name, network in networks.items():
        network.load_state_dict(_part(weights, name))
        network.to(device).eval().requires_grad_(False)
    listener = _ear(found, config, networks.pop("listener", None), library, device)
    return Prior(found.name, found.card, networks["generator"], networks.get("encoder"), listener)


def _ear(
    found: Found, config: PriorConfig, own: nn.Module | None, library: str | Path | None, device: torch.device
) -> Ear | None:
    """How a prior's source is heard: by a network of its own, or by one that hears others too, from the same library
    if it has one of that name.

    Raises:
        ModelError: a listener that is not installed, or that does not know the source.
    """
    from gansep.nets.listener import Ear, Listener

    if isinstance(own, Listener):
        return Ear(own, hears=config.hears or found.card.sources, sounds=config.hears_sha256)
    if config.listener is None:
        return None
    beside = found.folder.resolve().parent.parent / "listener" / str(config.listener)
    shared = find_model(beside if (beside / CARD).exists() else str(config.listener), "listener", library)
    names = shared.card.sources
    source = found.card.sources[0]
    if source not in names:
        raise ModelError(f"{found.folder / CARD}: its listener {shared.name} hears {', '.join(names)}, not {source}")
    return Ear(_shared(shared.folder, shared.card.sha256, str(device)), names.index(source), names)


@lru_cache(maxsize=8)
def _shared(folder: Path, sha256: str, device: str) -> Listener:
    """One network for all priors that it hears."""
    return load_listener(folder, device=device)


def _networks(config: PriorConfig, weights: Mapping[str, Tensor]) -> dict[str, nn.Module]:
    """What a prior is made of, by name, with random weights."""
    from gansep.nets.listener import Listener
    from gansep.nets.spectrogram import make_generator
    from gansep.nets.wavegan import Encoder

    networks: dict[str, nn.Module] = {"generator": make_generator(config)}
    networks |= {"encoder": Encoder(config)} if _part(weights, "encoder") else {}
    own = config.listener
    return networks | ({"listener": Listener(own)} if own and not isinstance(own, str) else {})


def load_listener(
    reference: str | Path | Found, library: str | Path | None = None, device: str | torch.device = "cpu"
) -> Listener:
    """Load a network that hears several sources, of kind ``listener``, in eval mode.

    Raises:
        ModelError: no such model, or a damaged or foreign one.
    """
    import torch

    from gansep.nets.listener import Listener
    from gansep.nets.precision import pick_device
    from gansep.nets.spectral import NetConfig

    found = reference if isinstance(reference, Found) else find_model(reference, "listener", library)
    weights = load_weights(found)
    try:
        config = NetConfig(**found.card.config)
        with torch.device("meta"):
            expected = Listener(config).state_dict()
    except (TypeError, ValueError, RuntimeError) as error:
        raise ModelError(f"{found.folder / CARD}: not a listener, its config does not fit ({error})") from error
    check_shapes(found, weights, expected)
    with torch.random.fork_rng(devices=[]):  # building a network draws random weights, from the caller's dice
        network = Listener(config)
    network.load_state_dict(dict(weights))
    return network.to(pick_device(str(device))).eval().requires_grad_(False)


def _find_prior(reference: str | Path, library: str | Path | None, kind: str) -> Found:
    """A prior by its name, with or without its kind, or by its folder."""
    if kind not in PRIORS:
        raise ModelError(f"priors are of kind {' or '.join(PRIORS)}, got {kind!r}")
    found = find_model(reference, kind if Path(reference).name == str(reference) else None, library)
    if found.kind not in PRIORS:
        raise ModelError(
            f"{found.folder}: a model of kind {found.kind}, expected {' or '.join(PRIORS)}; give another one"
        )
    return found


def installed_priors(
    library: str | Path | None = None, device: str | torch.device = "cpu"
) -> tuple[list[Prior], list[str]]:
    """Every prior that is installed and whole, one a name, and the names of the broken ones."""
    priors: list[Prior] = []
    broken: list[str] = []
    for found in find_models(library, "gan"):
        if not found.shadowed:
            try:
                priors.append(load_prior(found, device=device))
            except ModelError:
                broken.append(found.name)
    return priors, broken


def verify(found: Found) -> list[str]:
    """Problems of an installed model, one line each: card, checksum, file format, and whether the weights fit."""
    try:
        weights = load_weights(found)
        problems = []
        if found.card.kind in PRIORS:
            load_prior(found)
        if found.card.kind == "nmf":
            check_dictionary(found, weights)
        if found.card.kind in SEPARATORS:
            check_separation(found, weights)
        if found.card.kind == "listener":
            load_listener(found)
    except ModelError as error:
        return [str(error)]
    if (found.card.kind, found.card.name) != (found.kind, found.name):
        problems.append(f"{found.folder}: its card says {found.card.kind}/{found.card.name}; rename the folder")
    return problems


def _part(weights: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """The weights of one network, under their own names."""
    return {key.removeprefix(f"{name}."): value for key, value in weights.items() if key.startswith(f"{name}.")}


def _check_prior(found: Found, weights: Mapping[str, Tensor]) -> PriorConfig:
    """The configuration of a prior whose weights fit it.

    The networks are built without memory first, so that a card with absurd sizes cannot fill the machine.

    Raises:
        ModelError: weights of another program, another kind of network or another size.
    """
    import torch

    from gansep.nets.wavegan import PriorConfig

    card = found.card
    try:
        config = PriorConfig(**card.config)
        with torch.device("meta"):
            networks = _networks(config, weights)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ModelError(f"{found.folder / CARD}: not a prior, its config does not fit ({error})") from error
    if config.variational != (card.kind == "vae"):
        raise ModelError(f"{found.folder / CARD}: a {card.kind} whose config says variational is {config.variational}")
    if (config.sample_rate, config.segment) != (card.sample_rate, card.segment):
        raise ModelError(f"{found.folder / CARD}: sample_rate and segment differ from those of its own config")
    expected = {f"{part}.{key}": value for part, net in networks.items() for key, value in net.state_dict().items()}
    check_shapes(found, weights, expected)
    return config
