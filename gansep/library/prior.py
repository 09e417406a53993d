"""From a model folder to a prior that plays: a generator, its encoder, and the check that weights fit the card."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
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
    """

    name: str
    card: Card
    generator: nn.Module
    encoder: nn.Module | None

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
    reference: str | Path | Found, library: str | Path | None = None, device: str | torch.device = "cpu"
) -> Prior:
    """Load a prior, ready to play.

    Args:
        reference: ``drums``, ``gan/drums``, ``vae/drums``, a model folder, or what :func:`find_model` found.
        library: the one given with ``--library``.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
    Raises:
        ModelError: no such model, or a damaged or foreign one.
    """
    import torch

    from gansep.nets.precision import pick_device
    from gansep.nets.wavegan import Encoder, Generator

    found = reference if isinstance(reference, Found) else _find_prior(reference, library)
    weights = load_weights(found)
    config = _check_prior(found, weights)
    device = pick_device(str(device))
    with torch.random.fork_rng(devices=[]):  # building a network draws random weights, from the caller's dice
        generator, encoder = Generator(config), Encoder(config) if _part(weights, "encoder") else None
    for name, network in (("generator", generator), ("encoder", encoder)):
        if network is not None:
            network.load_state_dict(_part(weights, name))
            network.to(device).eval().requires_grad_(False)
    return Prior(found.name, found.card, generator, encoder)


def _find_prior(reference: str | Path, library: str | Path | None) -> Found:
    """A prior by name, of kind ``gan`` unless the name says ``vae/``, or by its folder."""
    found = find_model(reference, "gan" if Path(reference).name == str(reference) else None, library)
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
            _check_prior(found, weights)
        if found.card.kind == "nmf":
            check_dictionary(found, weights)
        if found.card.kind in SEPARATORS:
            check_separation(found, weights)
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

    from gansep.nets.wavegan import Encoder, Generator, PriorConfig

    card = found.card
    try:
        config = PriorConfig(**card.config)
        with torch.device("meta"):
            networks = {"generator": Generator(config)}
            networks |= {"encoder": Encoder(config)} if _part(weights, "encoder") else {}
    except (TypeError, ValueError, RuntimeError) as error:
        raise ModelError(f"{found.folder / CARD}: not a prior, its config does not fit ({error})") from error
    if config.variational != (card.kind == "vae"):
        raise ModelError(f"{found.folder / CARD}: a {card.kind} whose config says variational is {config.variational}")
    if (config.sample_rate, config.segment) != (card.sample_rate, card.segment):
        raise ModelError(f"{found.folder / CARD}: sample_rate and segment differ from those of its own config")
    expected = {f"{part}.{key}": value for part, net in networks.items() for key, value in net.state_dict().items()}
    check_shapes(found, weights, expected)
    return config
