"""``gansep evaluate``: how well separated files match the true sources, as a table, CSV and JSON."""

from __future__ import annotations

import argparse
import csv
import io
import json
import math
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gansep.cli.common import Reporter, Subparsers, add_common, reporter, table
from gansep.types import GansepError, OutputError

if TYPE_CHECKING:
    from torch import Tensor

RESIDUAL = "residual"  # what gansep separate calls the part that no stem holds


@dataclass(frozen=True)
class Pairs:
    """Which estimate is compared with which reference.

    Attributes:
        references, estimates: files by source; the order of the sources is that of the references' names.
        permuted: whether the files were matched by how they fit, not by name.
    """

    references: Mapping[str, Path]
    estimates: Mapping[str, Path]
    permuted: bool


def add_parser(subparsers: Subparsers) -> None:
    """Add the verb."""
    parser = subparsers.add_parser(
        "evaluate",
        help="compare separated files with the true sources",
        description="Compare separated files with the true sources: SI-SDR, BSS Eval v4 (as museval), spectral and "
        "envelope figures. Files of two folders belong together by name: drums.wav and drums.flac.",
    )
    parser.add_argument("references", type=Path, metavar="REFERENCES", help="folder of the true sources, or one file")
    parser.add_argument("estimates", type=Path, metavar="ESTIMATES", help="folder of separated files, or one file")
    parser.add_argument("--mixture", type=Path, metavar="FILE", help="what was separated, for the improvement")
    parser.add_argument("--permute", action="store_true", help="match files by how they fit, not by name")
    parser.add_argument("--csv", type=Path, metavar="PATH", help="write the table there too")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the figures there too")
    add_common(parser, out="folder for evaluation.json and evaluation.csv")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measure, print and write."""
    from gansep.metrics import best_permutation, measure, reasons

    with reporter(args, "evaluate", "source") as progress:
        references, candidates = _find(args, progress)
    waves, rate = _read([*references.values(), *candidates.values(), *([args.mixture] if args.mixture else [])])
    true, found = waves[: len(references)], waves[len(references) : len(references) + len(candidates)]
    names = list(candidates)
    if args.permute:
        order = best_permutation(found.flatten(1), true.flatten(1)).tolist()
        found, names = found[order], [names[index] for index in order]
    pairs = Pairs(references, {s: candidates[n] for s, n in zip(references, names, strict=True)}, args.permute)
    figures = measure(found, true, waves[-1] if args.mixture else None)
    report = _report(pairs, figures, dict(zip(references, reasons(true), strict=True)), rate)
    print(_describe(report))
    for path, content in _files(args, report):
        _write(path, content)
    return 0


# -- which files -------------------------------------------------------------------------------------------------------


def _find(args: argparse.Namespace, progress: Reporter) -> tuple[dict[str, Path], dict[str, Path]]:
    """References and estimates by name; the estimates are in the references' order, with --permute in their own."""
    for path in (args.references, args.estimates):
        if not path.exists():
            raise GansepError(f"{path}: no such file or folder; check the path")
    if args.references.is_dir() != args.estimates.is_dir():
        folder, file = sorted((args.references, args.estimates), key=Path.is_file)
        raise GansepError(f"{folder} is a folder and {file} a file; expected two folders or two files")
    if not args.references.is_dir():
        name = args.references.stem
        return {name: args.references}, {name: args.estimates}
    references, estimates = _sounds(args.references, args.mixture), _sounds(args.estimates, args.mixture)
    if args.permute:
        extra = [RESIDUAL] if RESIDUAL in estimates and RESIDUAL not in references else []
        candidates = {name: path for name, path in estimates.items() if name not in extra}
        if len(candidates) < len(references):
            counts = f"{len(references)} references and {len(candidates)} estimates"
            raise GansepError(f"{args.estimates}: {counts}; expected at least as many estimates as references")
    else:
        if missing := [path.name for name, path in references.items() if name not in estimates]:
            raise GansepError(
                f"{args.estimates}: no estimate for {', '.join(missing)}; name the files alike, or let --permute match"
            )
        extra = [name for name in estimates if name not in references]
        candidates = {name: estimates[name] for name in references}
    if extra:
        progress.say(f"not compared, without a reference: {', '.join(estimates[name].name for name in extra)}")
    return references, candidates


def _sounds(folder: Path, mixture: Path | None) -> dict[str, Path]:
    """The sound files right in a folder by their names without ending; the mixture is none of them."""
    from gansep.audio import AUDIO_EXTENSIONS

    try:
        inside = sorted(folder.iterdir())
    except OSError as error:
        raise GansepError(f"{folder}: it cannot be read ({error.strerror}); check its permissions") from error
    found: dict[str, Path] = {}
    for path in inside:
        sound = path.suffix.lower() in AUDIO_EXTENSIONS and path.is_file() and not path.name.startswith(".")
        if not sound or (mixture is not None and mixture.exists() and path.samefile(mixture)):
            continue
        if path.stem in found:
            both = f"{found[path.stem].name} and {path.name} have one name"
            raise GansepError(f"{folder}: {both}; expected one file a source, move the other away")
        found[path.stem] = path
    if not found:
        raise GansepError(f"{folder}: no sound files in it; expected one a source")
    return found


def _read(paths: Sequence[Path]) -> tuple[Tensor, int]:
    """All files as ``[files, C, T]``, and their rate in Hz; refused unless they agree."""
    import torch

    from gansep.audio import probe, read

    first, info = paths[0], probe(paths[0])
    for path in paths[1:]:
        other = probe(path)
        if other.sample_rate != info.sample_rate:
            rates = f"{path} has {other.sample_rate} Hz and {first} {info.sample_rate} Hz"
            raise GansepError(f"{rates}; expected one rate, resample one of them")
        if other.channels != info.channels:
            channels = f"{path} has {other.channels} channels and {first} {info.channels}"
            raise GansepError(f"{channels}; expected as many, mix down or copy channels")
        if other.frames != info.frames:
            lengths = f"{path} has {other.frames} samples and {first} {info.frames}"
            raise GansepError(f"{lengths}; expected one length, cut or pad one of them")
    return torch.stack([read(path)[0] for path in paths]), info.sample_rate


# -- what is said ------------------------------------------------------------------------------------------------------


def _report(pairs: Pairs, figures: Mapping[str, Tensor], reasons: Mapping[str, str], rate: int) -> dict[str, Any]:
    """What evaluation.json holds; a figure that is missing is None, and has a reason."""
    from gansep.metrics import UNITS

    columns = {name: [_known(value) for value in values.tolist()] for name, values in figures.items()}
    sources = {
        source: {name: values[i] for name, values in columns.items()} for i, source in enumerate(pairs.references)
    }
    mean = {}
    for name, values in columns.items():
        known = [value for value in values if value is not None]
        mean[name] = sum(known) / len(known) if known else None
    files = {
        source: {"reference": str(path), "estimate": str(pairs.estimates[source])}
        for source, path in pairs.references.items()
    }
    return {
        "sources": sources,
        "mean": mean,
        "reasons": {source: reason for source, reason in reasons.items() if reason},
        "units": {name: UNITS[name] for name in figures},
        "files": files,
        "permuted": pairs.permuted,
        "sample_rate": rate,
    }


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _describe(report: Mapping[str, Any]) -> str:
    """The table, a figure a line, and what a reader must know about its columns."""
    from gansep.metrics import FIGURES

    columns = dict(report["sources"])
    if len(columns) > 1:
        columns["(mean)"] = report["mean"]
    rows = []
    for name in report["units"]:
        about, values = FIGURES[name], (_cell(name, one[name]) for one in columns.values())
        rows.append([about.title, about.unit, "higher" if about.higher_is_better else "lower", *values])
    lines = [table(["figure", "unit", "better", *columns], rows)]
    if report["permuted"]:
        matches = (f"{name} is {Path(files['estimate']).name}" for name, files in report["files"].items())
        lines.append(f"best permutation by SI-SDR: {', '.join(matches)}")
    lines += [f"{source}: {reason}" for source, reason in report["reasons"].items()]
    return "\n".join(lines)


def _cell(name: str, value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}" if name == "envelope_distance" else f"{value:.2f}"


def _files(args: argparse.Namespace, report: Mapping[str, Any]) -> list[tuple[Path, str]]:
    """Paths that were asked for and what goes there."""
    as_json = json.dumps(report, indent=1, ensure_ascii=False) + "\n"
    columns = list(report["units"])
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["source", *columns, "reason"])
    for source, one in report["sources"].items():
        cells = ["" if one[name] is None else f"{one[name]:.6f}" for name in columns]
        writer.writerow([source, *cells, report["reasons"].get(source, "")])
    wanted = [(args.json, as_json), (args.csv, text.getvalue())]
    if args.out is not None:
        wanted += [(args.out / "evaluation.json", as_json), (args.out / "evaluation.csv", text.getvalue())]
    return [(path, content) for path, content in wanted if path is not None]


def _write(path: Path, content: str) -> None:
    """Whole, or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(content, encoding="utf-8", errors="surrogateescape", newline="")  # names of any bytes
        os.replace(temporary, path)
    except OSError as error:
        raise OutputError(f"{path}: it cannot be written ({error.strerror}); name another place") from error
    finally:
        with suppress(OSError):  # gone already, or never there
            temporary.unlink()
