"""``gansep priors``: which models are installed, what their cards say, and whether they are whole."""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
import sys
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from gansep.cli.common import Subparsers, add_common, show, table
from gansep.types import GansepError, ModelError

if TYPE_CHECKING:
    from gansep.library import Found

MANY = 8  # numbers of a list that a card is shown with
HEAD = ("name", "kind", "sources", "origin", "segment", "rate", "licence", "folder", "note")
LONG = ("sources", "licence", "folder")  # columns that are cut where the terminal is narrower than the table
LEAST = 10  # letters that are left of them


def add_parser(subparsers: Subparsers) -> None:
    """Add the verb to the command."""
    about = "list, show and verify the installed models"
    parser = subparsers.add_parser("priors", help=about, description=f"{about.capitalize()}.")
    parser.add_argument("action", nargs="?", choices=("list", "show", "verify"), default="list", help="default: list")
    help_names = "drums, gan/drums or a model's folder; verify without a name checks all"
    parser.add_argument("names", nargs="*", metavar="NAME", help=help_names)
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_common(parser, out="write the answer to this file instead of stdout")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """List, show or verify; 1 if a model has a problem."""
    from gansep.library import find_model, find_models

    if args.action == "list" and args.names:
        raise GansepError(f"list takes no names, got {' '.join(args.names)}; did you mean gansep priors show?")
    if args.action == "show" and not args.names:
        raise GansepError("show needs the name of a model; gansep priors lists them")
    every = not args.names
    models = find_models(args.library) if every else [find_model(name, None, args.library) for name in args.names]
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() and not args.out else None
    answer, code = {"list": partial(_list, width=width), "show": _show, "verify": _verify}[args.action](
        models, args.json
    )
    show(answer, args.out)
    return code


def _list(models: Sequence[Found], as_json: bool, width: int | None) -> tuple[str, int]:
    rows = [_row(found) for found in models]
    if as_json:
        return json.dumps(rows, indent=1, ensure_ascii=False), 0
    if not rows:
        return "no models installed; train one with gansep train-prior --data FOLDER", 0
    cells = [[_cell(name, row[name]) for name in HEAD] for row in rows]
    return table(HEAD, cells if width is None else _fit(cells, width)), 0


def _fit(cells: Sequence[Sequence[str]], width: int) -> list[list[str]]:
    """Rows whose long columns, the longest first, are cut until they fit between the others."""
    sizes = {name: max(map(len, column)) for name, *column in zip(HEAD, HEAD, *cells, strict=True)}
    while sum(sizes.values()) + 2 * (len(HEAD) - 1) > width:
        longest = max(LONG, key=lambda name: sizes[name])
        if sizes[longest] <= LEAST:
            break
        sizes[longest] -= 1
    return [[_cut(name, cell, sizes[name]) for name, cell in zip(HEAD, row, strict=True)] for row in cells]


def _cut(name: str, cell: str, size: int) -> str:
    """The beginning of a cell, of a folder the end."""
    if len(cell) <= size:
        return cell
    return "…" + cell[1 - size :] if name == "folder" else cell[: size - 1] + "…"


def _row(found: Found) -> dict[str, Any]:
    row = {"name": found.name, "kind": found.kind, "origin": found.origin, "folder": str(found.folder)}
    row |= {"shadowed": found.shadowed, "sources": None, "causal": None, "segment": None, "rate": None, "licence": None}
    try:
        card = found.card
    except ModelError:
        return row | {"note": "broken, see gansep priors verify"}
    causal = bool(card.config.get("causal"))
    mute = found.kind == "vae" and card.config.get("domain") == "magnitude"  # to a search, which needs its gradient
    notes = {"causal": causal, "synthesis only": mute, "shadowed": found.shadowed}
    note = ", ".join(name for name, applies in notes.items() if applies)
    row |= {"sources": card.sources, "causal": causal, "segment": card.segment, "rate": card.sample_rate}
    return row | {"licence": card.licence, "note": note}


def _cell(name: str, value: Any) -> str:
    unit = {"segment": " samples", "rate": " Hz"}.get(name, "")
    value = ",".join(value) if name == "sources" and value else value
    return "-" if value is None else f"{value}{unit}"


def _show(models: Sequence[Found], as_json: bool) -> tuple[str, int]:
    cards = [(found, dataclasses.asdict(found.card)) for found in models]
    if as_json:
        rows = [{"origin": found.origin, "folder": str(found.folder)} | card for found, card in cards]
        return json.dumps(rows, indent=1, ensure_ascii=False), 0
    return "\n\n".join(_describe(found, card) for found, card in cards), 0


def _describe(found: Found, card: dict[str, Any]) -> str:
    """A card as lines of ``field  value``; of the training curve only its ends."""
    curve = card.pop("curve")
    lines = {"model": found.reference, "origin": found.origin, "folder": found.folder}
    lines |= {name: _flat(value) for name, value in card.items() if name not in ("name", "kind")}
    if curve:
        lines |= {"curve": f"{len(curve)} points", "  first": _flat(curve[0]), "  last": _flat(curve[-1])}
    return "\n".join(f"{name:14}{value}" for name, value in lines.items() if value not in ("", None))


def _flat(value: Any) -> str:
    """Fields and items in a line; of many numbers how many, and from which to which."""
    if isinstance(value, dict):
        parts = {name: f"({_flat(part)})" if isinstance(part, dict) else _flat(part) for name, part in value.items()}
        return ", ".join(f"{name} {part}" for name, part in parts.items() if part)
    if isinstance(value, list | tuple) and len(value) > MANY and all(isinstance(one, int | float) for one in value):
        return f"[{len(value)} numbers, {min(value):.4g} to {max(value):.4g}]"
    return ", ".join(map(_flat, value)) if isinstance(value, list | tuple) else "" if value is None else str(value)


def _verify(models: Sequence[Found], as_json: bool) -> tuple[str, int]:
    from gansep.library import verify

    problems = [(found, verify(found)) for found in models]
    code = 1 if any(lines for _, lines in problems) else 0
    if as_json:
        rows = [{"model": f.reference, "folder": str(f.folder), "problems": lines} for f, lines in problems]
        return json.dumps(rows, indent=1, ensure_ascii=False), code
    lines = [f"{found.reference}: {'; '.join(lines) or 'ok'}" for found, lines in problems]
    return "\n".join(lines) or "no models installed", code
