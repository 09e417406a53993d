"""Back ends: every way to take a mixture apart, behind one interface (:class:`gansep.types.Separator`).

A back end is asked for by a line of text, its name and options: ``nmf`` or ``gan-prior:quality=fast,seed=1``. Its
module is imported then, because some bring slow libraries with them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gansep.types import ModelError, Separator

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Wanted:
    """What any back end may be told; it takes what it needs and refuses what it cannot do without.

    Attributes:
        sources: names of installed models, or model folders.
        k: number of sources, for back ends that number what they find.
        library: a folder of models to ask first. device: where networks compute.
        references: the true sources by name, ``[C, T]`` each, and their ``sample_rate`` in Hz; for oracles.
    """

    sources: Sequence[str] = ()
    k: int | None = None
    library: Path | None = None
    device: str = "cpu"
    references: Mapping[str, Tensor] | None = None
    sample_rate: int | None = None

    def named(self, backend: str) -> Sequence[str]:
        """The sources, which must be given."""
        if not self.sources:
            raise ModelError(f"{backend} needs the names of its sources, as --sources drums,piano")
        return self.sources

    def count(self, backend: str) -> int:
        """The number of sources, which must be given, and no names."""
        if self.sources:
            raise ModelError(f"{backend} cannot know sources by name; say how many there are with -k")
        if self.k is None or self.k < 1:
            raise ModelError(f"{backend} needs the number of sources, as -k 2, got {self.k}")
        return self.k


def _gan_prior(
    wanted: Wanted,
    *,
    recipe: Any = "default",
    quality: str = "default",
    kind: str = "gan",
    steps: int | None = None,
    restarts: int | None = None,
    likelihood: float | None = None,
    listen: int | None = None,
    trust: float | None = None,
    fallback: int | None = None,
    seed: int = 0,
) -> Separator:
    from gansep.backends.gan_prior import GanPrior, recipe_for
    from gansep.library import load_prior

    priors = [load_prior(source, wanted.library, wanted.device, kind) for source in wanted.named("gan-prior")]
    if isinstance(recipe, str):
        numbers = {"steps": steps, "restarts": restarts, "likelihood": likelihood, "trust": trust}
        recipe = recipe_for(recipe, quality, listen=listen, fallback=fallback, seed=seed, **numbers)
    return GanPrior(priors, recipe)


def _nmf(
    wanted: Wanted,
    *,
    blind: int = 0,
    components: int = 12,
    divergence: str = "kullback-leibler",
    exponent: float = 2.0,
    iterations: int = 100,
    seed: int = 0,
) -> Separator:
    from gansep.backends.nmf import BlindNmf, Nmf
    from gansep.library import load_dictionary

    if wanted.sources and not blind:
        dictionaries = [load_dictionary(source, wanted.library) for source in wanted.sources]
        return Nmf(dictionaries, exponent, iterations)
    count = wanted.count("nmf without dictionaries")
    return BlindNmf(count, components, divergence, exponent, iterations, seed=seed)


def _mask(
    wanted: Wanted, *, model: str | None = None, threshold: float | None = None, exponent: float | None = None
) -> Separator:
    from gansep.backends.mask import Masks
    from gansep.library import load_separation

    names = wanted.sources if model else wanted.named("mask")
    return Masks(load_separation("mask", names, model, wanted.library, wanted.device), names, threshold, exponent)


def _mapping(wanted: Wanted, *, model: str | None = None, exponent: float = 1.0) -> Separator:
    from gansep.backends.mapping import Mappings
    from gansep.library import load_separation

    names = wanted.sources if model else wanted.named("mapping")
    return Mappings(load_separation("mapping", names, model, wanted.library, wanted.device), names, exponent)


def _autoencoder(wanted: Wanted, *, model: str | None = None, exponent: float | None = None) -> Separator:
    from gansep.backends.autoencoder import Autoencoders
    from gansep.library import load_separation

    names = wanted.sources if model else wanted.named("autoencoder")
    loaded = load_separation("autoencoder", names, model, wanted.library, wanted.device)
    return Autoencoders(loaded, names, exponent)


def _components(method: str) -> Callable[..., Separator]:
    def make(wanted: Wanted, *, seed: int = 0) -> Separator:
        from gansep.backends.components import Components

        return Components(wanted.count(method), method, seed=seed)

    return make


def _deep_prior(wanted: Wanted, *, steps: int | None = None, seed: int = 0) -> Separator:
    from gansep.backends.deep_prior import DeepPrior, DeepPriorSettings

    settings = DeepPriorSettings() if steps is None else DeepPriorSettings(steps=steps)
    return DeepPrior(wanted.count("deep-prior"), settings, seed=seed)


def _oracle(wanted: Wanted, *, mask: str = "wiener") -> Separator:
    import torch

    from gansep.backends.oracle import Oracle

    if not wanted.references or not wanted.sample_rate:
        raise ModelError("oracle needs the true sources, as --references drums.wav piano.wav")
    references = torch.stack(list(wanted.references.values()))
    return Oracle(references, wanted.sample_rate, tuple(wanted.references), mask)


def _mixture(wanted: Wanted) -> Separator:
    from gansep.backends.trivial import Mixture

    return Mixture(wanted.count("mixture"))


def _silence(wanted: Wanted) -> Separator:
    from gansep.backends.trivial import Silence

    return Silence(wanted.count("silence"))


def _time_cut(wanted: Wanted, *, seconds: float = 0.2) -> Separator:
    from gansep.backends.trivial import TimeCut

    return TimeCut(wanted.count("time-cut"), seconds)


def _reference(name: str) -> Callable[..., Separator]:
    def make(wanted: Wanted) -> Separator:
        from gansep.backends.reference import load_reference

        return load_reference(name)

    return make


BACKENDS: dict[str, Callable[..., Separator]] = {
    "gan-prior": _gan_prior,
    "mask": _mask,
    "mapping": _mapping,
    "autoencoder": _autoencoder,
    "nmf": _nmf,
    "pca": _components("pca"),
    "kernel-pca": _components("kernel-pca"),
    "fastica": _components("fastica"),
    "deep-prior": _deep_prior,
    "hdemucs": _reference("hdemucs"),
    "conv-tasnet": _reference("conv-tasnet"),
    "time-cut": _time_cut,
    "mixture": _mixture,
    "silence": _silence,
    "oracle": _oracle,
}


def parse_backend(text: str) -> tuple[str, dict[str, Any]]:
    """Name and options of a back end.

    Raises:
        ModelError: no such back end, or something that is not ``name:key=value,key=value``.

    >>> parse_backend("gan-prior:quality=fast,steps=3")
    ('gan-prior', {'quality': 'fast', 'steps': 3})
    """
    name, _, rest = text.partition(":")
    if name not in BACKENDS:
        raise ModelError(f"unknown back end {name!r}; expected one of {', '.join(BACKENDS)}")
    options = {}
    for part in filter(None, rest.split(",")):
        key, equals, value = part.partition("=")
        if not equals or not key.strip():
            raise ModelError(f"{text!r}: expected options as {name}:key=value,key=value, got {part!r}")
        options[key.strip().replace("-", "_")] = _number(value.strip())
    return name, options


def takes_seed(name: str) -> bool:
    """Whether a back end draws random numbers."""
    return "seed" in inspect.signature(BACKENDS[name]).parameters


def takes_names(text: str) -> bool:
    """Whether a back end's line of text asks for models of its sources, by name."""
    name, options = parse_backend(text)
    return name in ("gan-prior", "mask", "mapping", "autoencoder") or (name == "nmf" and not options.get("blind"))


def _number(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _typed(option: str, value: int | float | str, annotation: str) -> int | float | str:
    """The value of an option that was written, as its back end takes it: ``int``, ``float | None`` and so on."""
    kind = annotation.partition(" ")[0]
    if kind == "str":
        return str(value)
    if (kind == "int" and not isinstance(value, int)) or (kind == "float" and isinstance(value, str)):
        wanted = "a whole number" if kind == "int" else "a number"
        raise ModelError(f"{option} must be {wanted}, got {value!r}")
    return value


def make_separator(backend: str, wanted: Wanted, **options: Any) -> Separator:
    """A separator from a back end's line of text.

    Args:
        backend: name, and options if any. wanted: what it is told. options: more of them.
    Raises:
        ModelError: unknown back end, option or source, or sources that cannot be combined.
    """
    name, written = parse_backend(backend)
    options = written | options
    known = dict(list(inspect.signature(BACKENDS[name]).parameters.items())[1:])
    if unknown := [key for key in options if key not in known]:
        raise ModelError(f"{name} has no option {', '.join(unknown)}; it has {', '.join(known) or 'none'}")
    options |= {key: _typed(f"{name}:{key}", value, known[key].annotation) for key, value in written.items()}
    try:
        return BACKENDS[name](wanted, **options)
    except ModelError:
        raise
    except ValueError as error:
        raise ModelError(f"{name}: {error}") from error


def load_separator(
    backend: str = "gan-prior",
    sources: Sequence[str] = (),
    *,
    k: int | None = None,
    library: str | Path | None = None,
    device: str = "cpu",
    references: Mapping[str, Tensor] | None = None,
    sample_rate: int | None = None,
    **options: Any,
) -> Separator:
    """A separator, ready to be called with ``[B, T]`` mixtures.

    Args:
        backend: a name of :data:`BACKENDS`, with options as ``nmf:exponent=2`` if wanted.
        sources: names of installed models, or model folders; for the back ends that have models.
        k: number of sources, for those that have none.
        library: a folder of models to ask first.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        references: for ``oracle``, the true sources by name, ``[C, T]`` each, at ``sample_rate`` Hz.
        options: of the back end, as ``recipe="narayanaswamy2020"``.
    Raises:
        ModelError: unknown back end, option or source, or sources that cannot be combined.
    """
    wanted = Wanted(tuple(sources), k, Path(library) if library else None, device, references, sample_rate)
    return make_separator(backend, wanted, **options)
