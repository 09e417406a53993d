"""Weights to and from safetensors: written whole or not at all, read only if they are what the card says."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from gansep.library.card import CARD, WEIGHTS, Card, Found
from gansep.types import ModelError, OutputError

if TYPE_CHECKING:
    from torch import Tensor


HIGHEST = 65504  # of float16


def save_model(folder: str | Path, weights: Mapping[str, Tensor], card: Card, *, half: bool = False) -> Card:
    """Write a model; both files are whole on the disk before either takes its place.

    A process killed between the two renames leaves new weights beside the old card, which the checksum shows.

    Args:
        folder: where; made if missing, other files in it are left alone.
        weights: tensors by name.
        card: its ``sha256`` is replaced.
        half: store floating-point weights as float16, but for those that it cannot hold.
    Returns:
        The card as written.
    Raises:
        OutputError: the folder cannot be written, or the disk is full; an older model in it is kept.
    """
    import safetensors.torch

    folder = Path(folder)
    fresh = not folder.exists()
    content = safetensors.torch.save({name: _stored(value, half) for name, value in weights.items()})
    card = replace(card, sha256=hashlib.sha256(content).hexdigest())
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".saving-") as scratch:
            for name, data in ((WEIGHTS, content), (CARD, card.to_json().encode())):
                _write_through(Path(scratch, name), data)
            for name in (WEIGHTS, CARD):
                Path(scratch, name).replace(folder / name)
    except OSError as error:
        if fresh:
            with suppress(OSError):
                folder.rmdir()
        reason = error.strerror or type(error).__name__
        raise OutputError(f"{folder}: the model cannot be written ({reason}); check space and permissions") from error
    return card


def _stored(value: Tensor, half: bool) -> Tensor:
    value = value.detach().cpu()
    if half and value.is_floating_point() and value.abs().max() < HIGHEST:
        value = value.half()
    return value.clone().contiguous()


def _write_through(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def load_weights(found: Found, verify: bool = True) -> dict[str, Tensor]:
    """Read a model's weights, as float32 whatever they are stored as.

    Args:
        found: the model.
        verify: whether to check the weights against the card's checksum.
    Raises:
        ModelError: no card, no weights, weights that changed, or a file that is not safetensors.
    """
    import safetensors
    import safetensors.torch

    path = found.folder / WEIGHTS
    expected = found.card.sha256
    content = _read_weights(found.folder)
    if content[:2] in (b"PK", b"\x80\x02", b"\x80\x04", b"\x80\x05"):
        raise ModelError(f"{path}: a pickle or zip file, expected safetensors; a pickle is never loaded")
    if verify and hashlib.sha256(content).hexdigest() != expected:
        raise ModelError(f"{path}: damaged or changed, its SHA-256 is not the card's; get or train the model again")
    try:
        weights = safetensors.torch.load(content)
    except (safetensors.SafetensorError, ValueError, KeyError) as error:  # KeyError: a number type torch does not have
        raise ModelError(f"{path}: not a whole safetensors file; get or train the model again") from error
    if wrong := [name for name, value in weights.items() if value.is_floating_point() and not value.isfinite().all()]:
        raise ModelError(f"{path}: {wrong[0]} is not finite; get or train the model again")
    return {name: value.float() if value.is_floating_point() else value for name, value in weights.items()}


def check_shapes(found: Found, weights: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """See that weights are those of a network, whose own are ``expected``, by name and size.

    Raises:
        ModelError: weights of another program, another kind of network or another size.
    """
    ours = {name: value.shape for name, value in expected.items()}
    theirs = {name: value.shape for name, value in weights.items()}
    wrong = sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name))
    if wrong:
        problem = f"foreign weights, {len(wrong)} do not fit the card's config ({wrong[0]} for one)"
        raise ModelError(f"{found.folder / WEIGHTS}: {problem}; get or train the model again")


def _read_weights(folder: Path) -> bytes:
    path = folder / WEIGHTS
    try:
        return path.read_bytes()
    except FileNotFoundError:
        others = sorted(file.name for file in folder.glob("weights.*"))
        instead = f", only {', '.join(others)} (a pickle is never loaded)" if others else ""
        raise ModelError(f"{folder}: a card without {WEIGHTS}{instead}; get or train the model again") from None
    except OSError as error:
        raise ModelError(f"{path}: it cannot be read ({error.strerror}); check its permissions") from error
