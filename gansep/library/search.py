"""Where models are looked for, in which order, and where new ones go."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import platformdirs

from gansep.library.card import CARD, WEIGHTS, Found, read_card
from gansep.types import ModelError, OutputError

# The verb that trains a kind; train-prior does the others.
TRAINED = {kind: f"train-{kind}" for kind in ("mask", "mapping", "autoencoder")} | {"vae": "train-autoencoder"}


def search_path(library: str | Path | None = None) -> list[tuple[str, Path]]:
    """Libraries in the order they are asked, ``(origin, folder)`` each, whether they exist or not.

    Args:
        library: the one given with ``--library``.
    """
    named = os.environ.get("GANSEP_LIBRARY")
    path = [("--library", Path(library))] if library is not None else []
    path += [("$GANSEP_LIBRARY", Path(named))] if named else []
    path += [("user", platformdirs.user_data_path("gansep", appauthor=False)), ("packaged", _packaged())]
    unique = {folder.resolve(): (origin, folder) for origin, folder in reversed(path)}  # the first of equals stays
    return [entry for entry in path if entry in unique.values()]


def _packaged() -> Path:
    """``pretrained/`` inside the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    checkout = package.parent / "pretrained"
    return checkout if (package.parent / "pyproject.toml").exists() else package / "pretrained"


def models_in(library: Path, origin: str) -> list[Found]:
    """The models of one library folder, whole or not, sorted by kind and name; none if there is no such folder."""
    folders = sorted(folder for folder in library.glob("*/*") if _looks_like_model(folder))
    return [Found(folder.parent.name, folder.name, folder, origin) for folder in folders]


def _looks_like_model(folder: Path) -> bool:
    if folder.name.startswith("."):
        return False
    try:
        return folder.is_dir() and any(file.name == CARD or file.stem == "weights" for file in folder.iterdir())
    except OSError:
        return False


def find_models(library: str | Path | None = None, kind: str | None = None) -> list[Found]:
    """Every model of every library, in search order; later ones of a name already seen are marked ``shadowed``.

    Args:
        library: the one given with ``--library``.
        kind: only models of this kind.
    Raises:
        ModelError: ``library`` is not a folder.
    """
    if library is not None and not Path(library).is_dir():
        raise ModelError(f"{library}: no such library folder; expected one that holds <kind>/<name>/{CARD}")
    models: list[Found] = []
    seen: set[str] = set()
    for origin, folder in search_path(library):
        for found in models_in(folder, origin):
            if kind is None or found.kind == kind:
                models.append(replace(found, shadowed=found.reference in seen))
                seen.add(found.reference)
    return models


def find_model(reference: str | Path, kind: str | None = "gan", library: str | Path | None = None) -> Found:
    """One model by name, by kind and name, or by the path of its folder.

    Args:
        reference: ``drums``, ``gan/drums`` or a path; installed models come before paths.
        kind: the kind that is needed; with ``None`` a bare name means the first of any kind.
        library: the one given with ``--library``.
    Raises:
        ModelError: no such model (the message names those there are), or one of another kind.
    """
    asked, _, name = str(reference).rpartition("/")
    models = find_models(library) if isinstance(reference, str) else []
    for found in models:
        if found.name == name and (found.kind == asked if asked else kind in (None, found.kind)):
            return _of_kind(found, kind)
    path = Path(reference)
    if path.exists() and (str(reference) != path.name or (path / CARD).exists()):  # not merely a folder of that name
        return _of_kind(_at(path), kind)
    names = sorted({m.name if kind else m.reference for m in find_models(library, kind)})
    verb = TRAINED.get(kind or "", "train-prior")
    there = f"installed: {', '.join(names)}" if names else f"none is installed, train one with gansep {verb}"
    raise ModelError(f"no {kind + ' ' if kind else ''}model {str(reference)!r}, by name or as a folder; {there}")


def _at(path: Path) -> Found:
    if not path.is_dir():
        raise ModelError(f"{path}: not a model, expected a folder with {CARD} and {WEIGHTS} (a pickle is never loaded)")
    card = read_card(path)
    return Found(card.kind, card.name, path, "path")


def _of_kind(found: Found, kind: str | None) -> Found:
    if kind not in (None, found.kind):
        raise ModelError(f"{found.folder}: a model of kind {found.kind}, expected {kind}; give another one")
    return found


def is_writable(folder: Path) -> bool:
    """Whether ``folder`` can be written to, or made."""
    there = next((parent for parent in (folder, *folder.parents) if parent.exists()), folder)
    return there.is_dir() and os.access(there, os.W_OK | os.X_OK)


def writable_library(library: str | Path | None = None) -> Path:
    """Where new models go: the first library that can be written to, made if missing; never the packaged one.

    Args:
        library: the one given with ``--library``; then it is this one or an error.
    Raises:
        OutputError: none can be written to.
    """
    candidates = [folder for origin, folder in search_path(library) if origin != "packaged"]
    for folder in candidates[: 1 if library is not None else None]:
        with suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
        if is_writable(folder) and folder.is_dir():
            return folder
    tried = library if library is not None else ", ".join(map(str, candidates))
    raise OutputError(f"no library can be written to, tried {tried}; name another one with --library")
