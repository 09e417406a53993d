"""What is known of a model (its card), and where it lies."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from pathlib import Path
from types import NoneType
from typing import Any, Self

from gansep import __version__
from gansep.types import ModelError

CARD = "card.json"
WEIGHTS = "weights.safetensors"
SOUNDS = "sounds"  # folder of excerpts that a prior may keep of what it was trained on

_NAME = re.compile(r"\w([^/\\,:*?\"<>|\x00-\x1f]*[^/\\,:*?\"<>|\x00-\x1f .])?")  # a folder everywhere, no list of names
_REQUIRED = ("name", "kind", "config", "sample_rate", "segment", "sources")
_JSON_TYPES: dict[str, type | tuple[type, ...]] = {  # of the fields that are not text
    "config": dict,
    "sample_rate": int,
    "segment": (int, NoneType),
    "sources": list,
    "seed": int,
    "curve": list,
    "metrics": dict,
    "extra": dict,
}


def check_sources(sources: Sequence[str]) -> None:
    """See that sources can be told apart and that files can be called as they are.

    Raises:
        ModelError: a name that is no file's everywhere, that is given twice, or that of the residual.
    """
    for source in sources:
        if not _NAME.fullmatch(source):
            raise ModelError(f"a source's name must be usable as a file name and have no comma, got {source!r}")
    if len({*sources, "residual"}) <= len(sources):
        raise ModelError(f"sources need names of their own, and 'residual' is taken, got {', '.join(sources)}")


@dataclass(frozen=True)
class Card:
    """What is known of a model, as ``card.json`` says it.

    Attributes:
        name: of the model, and of its folder. kind: ``gan``, ``vae``, ``nmf``, ``mask``, ``autoencoder`` ...
        config: settings its networks are built from.
        sample_rate: Hz. segment: samples a call makes or takes; ``None`` for any length.
        sources: names of what it plays or separates.
        data: what it was trained on, in words. data_sha256: hash over that sound.
        data_licence, licence: of the data and of the weights.
        level: at what level it was trained, in words.
        seed: of training.
        sha256: of the weights file; :func:`save_model` fills it in.
        curve: losses over training, ``{"step": ..., loss: ...}`` each. metrics: figures of the finished model.
        version: of the gansep that made it.
        extra: anything else; keys this version does not know are kept here.
    """

    name: str
    config: Mapping[str, Any]
    sample_rate: int
    segment: int | None
    sources: tuple[str, ...]
    kind: str = "gan"
    data: str = "not described"
    data_sha256: str = ""
    data_licence: str = "not stated"
    licence: str = "not stated"
    level: str = ""
    seed: int = 0
    sha256: str = ""
    curve: Sequence[Mapping[str, Any]] = ()
    metrics: Mapping[str, Any] = field(default_factory=dict)
    version: str = __version__
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for what, text in (("name", self.name), ("kind", self.kind)):
            if not _NAME.fullmatch(text):
                raise ModelError(f"a model's {what} must be usable as a folder name and have no comma, got {text!r}")
        check_sources(self.sources)
        if self.sample_rate < 1 or (self.segment is not None and self.segment < 1):
            raise ModelError(f"sample_rate and segment must be positive, got {self.sample_rate} and {self.segment}")

    def to_json(self) -> str:
        """The text of ``card.json``."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Read the text of ``card.json``.

        Raises:
            ModelError: not a JSON object, or a field that is missing or of the wrong type.
        """
        try:
            values = json.loads(text)
        except ValueError as error:  # also text that is not UTF-8
            raise ModelError(f"it is not JSON ({error})") from error
        if not isinstance(values, dict):
            raise ModelError("it is not a card, expected a JSON object")
        if missing := [name for name in _REQUIRED if name not in values]:
            raise ModelError(f"it lacks {', '.join(missing)}")
        names = {own.name for own in fields(cls)}
        known = {name: value for name, value in values.items() if name in names}
        for name, value in known.items():
            if not isinstance(value, _JSON_TYPES.get(name, str)):
                raise ModelError(f"its {name} cannot be {value!r:.60}")
        unknown = {name: value for name, value in values.items() if name not in names}
        known["sources"] = tuple(map(str, known["sources"]))
        known["extra"] = known.get("extra", {}) | unknown
        return cls(**known)


@dataclass(frozen=True)
class Found:
    """A model folder, not yet read.

    Attributes:
        kind, name: what it is called by. folder: where it is.
        origin: ``--library``, ``$GANSEP_LIBRARY``, ``user``, ``packaged``, or ``path`` if it was named by its path.
        shadowed: whether a model of the same kind and name comes before it in the search order.
    """

    kind: str
    name: str
    folder: Path
    origin: str
    shadowed: bool = False

    @property
    def reference(self) -> str:
        """``gan/drums``: what finds it."""
        return f"{self.kind}/{self.name}"

    @cached_property
    def card(self) -> Card:
        """Its card.

        Raises:
            ModelError: no card, or a garbled one.
        """
        return read_card(self.folder)


def read_card(folder: str | Path) -> Card:
    """Read a model folder's card.

    Raises:
        ModelError: no card, or a garbled one.
    """
    path = Path(folder, CARD)
    try:
        return Card.from_json(path.read_bytes())
    except FileNotFoundError:
        raise ModelError(f"{folder}: no {CARD} in it; a model is a folder with {CARD} and {WEIGHTS}") from None
    except OSError as error:
        raise ModelError(f"{path}: it cannot be read ({error.strerror}); check its permissions") from error
    except ModelError as error:
        raise ModelError(f"{path}: {error}; get or train the model again") from error
