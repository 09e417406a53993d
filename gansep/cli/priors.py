"""``gansep priors``: which models are installed, what their cards say, and whether they are whole."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gansep.cli.common import Subparsers, add_common, show, table
from gansep.types import GansepError, ModelError

if TYPE_CHECKING:
    from gansep.library import Found


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
    answer, code = {"list": _list, "show": _show, "verify": _verify}[args.action](models, args.json)
    show(answer, args.out)
    return code


def _list(models: Sequence[Found], as_json: bool) -> tuple[str, int]:
    rows = [_row(found) for found in models]
    if as_json:
        return json.dumps(rows, indent=1, ensure_ascii=False), 0
    if not rows:
        return "no models installed; train one with gansep train-prior --data FOLDER", 0
    head = ["name", "kind", "sources", "origin", "segment", "rate", "licence", "folder", "note"]
    return table(head, ([_cell(name, row[name]) for name in head] for row in rows)), 0


def _row(found: Found) -> dict[str, Any]:
    row = {"name": found.name, "kind": found.kind, "origin": found.origin, "folder": str(found.folder)}
    row |= {"shadowed": found.shadowed, "sources": None, "causal": None, "segment": None, "rate": None, "licence": None}
    try:
        card = found.card
    except ModelError:
        return row | {"note": "broken, see gansep priors verify"}
    causal = bool(card.config.get("causal"))
    note = ", ".join(["causal"] * causal + ["shadowed"] * found.shadowed)
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
    if isinstance(value, dict):
        return ", ".join(f"{name} {_flat(part)}" for name, part in value.items())
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
