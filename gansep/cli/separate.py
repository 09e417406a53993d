"""``gansep separate``: recordings to one file a source."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gansep.backends import BACKENDS
from gansep.cli.common import Subparsers, add_common, reporter
from gansep.cli.files import expand_pattern, say_failures, use_threads

if TYPE_CHECKING:
    from gansep.results import Separation

QUALITIES = ("fast", "default", "best")
RECIPES = ("default", "narayanaswamy2020")
BACKEND_HELP = f"{', '.join(BACKENDS)}; with options as nmf:exponent=2 (default: gan-prior)"
FIELDS = (
    "backend",
    "model",
    "references",
    "quality",
    "recipe",
    "steps",
    "restarts",
    "max_seconds",
    "raw",
    "same_masks",
)  # of a Request


def add_parser(subparsers: Subparsers) -> None:
    """Add the verb."""
    parser = subparsers.add_parser(
        "separate",
        help="take recordings apart",
        description="Take recordings apart: one file a source, and a residual; together they are the recording.",
    )
    parser.add_argument("inputs", nargs="+", metavar="FILE", help="recordings, folders or patterns")
    parser.add_argument("-k", type=int, metavar="K", help="number of sources; which ones is found out")
    parser.add_argument("--sources", metavar="A,B", help="names of installed models or model folders, instead of -k")
    parser.add_argument("--backend", default="gan-prior", metavar="NAME", help=BACKEND_HELP)
    parser.add_argument("--model", metavar="NAME", help="of mask or mapping, instead of the one with these sources")
    parser.add_argument("--references", nargs="+", default=(), metavar="FILE", help="true sources, for oracle")
    parser.add_argument("--quality", choices=QUALITIES, default="default", help="of the search")
    parser.add_argument("--recipe", choices=RECIPES, default="default", help="ours, or the published one")
    parser.add_argument("--steps", type=int, metavar="N", help="of the search, instead of what --quality says")
    parser.add_argument("--restarts", type=int, metavar="R", help="starts of the search, the best one is kept")
    parser.add_argument("--max-seconds", type=float, metavar="S", help="most time for all searches of this call")
    parser.add_argument("--raw", action="store_true", help="the generators' own sound instead of masks")
    parser.add_argument("--same-masks", action="store_true", help="one mask for all channels, whatever stands where")
    parser.add_argument("--format", choices=("wav", "flac"), default="wav", help="of the results (default: wav)")
    parser.add_argument("--float32", action="store_true", help="32-bit float samples instead of 24-bit integers")
    parser.add_argument("--filename", default="{mix}/{source}.{ext}", metavar="TEMPLATE", help="(default: %(default)s)")
    parser.add_argument("--overwrite", action="store_true", help="replace existing results")
    parser.add_argument("--no-picture", action="store_true", help="no separation.png")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done and with which sources")
    parser.add_argument("--jobs", type=int, metavar="N", help="processor threads (default: all)")
    add_common(parser, out="folder of the results (default: separated)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Separate; print what was written."""
    from gansep.planning import Request, plan
    from gansep.results import Layout
    from gansep.separate import separate_files

    use_threads(args.jobs)
    request = Request(
        k=args.k,
        sources=[name.strip() for name in args.sources.split(",")] if args.sources is not None else None,
        **{name: getattr(args, name) for name in FIELDS},
        seed=args.seed,
        device=args.device,
        library=args.library,
    )
    layout = Layout(
        args.out or Path("separated"), args.filename, args.format, args.float32, args.overwrite, not args.no_picture
    )
    inputs = [path for item in args.inputs for path in expand_pattern(item)]
    if args.dry_run:
        plans, failed = plan(inputs, request, skip=layout.out)
        for planned in plans:
            for source in planned.separator.sources:
                print(f"{planned.path} -> {layout.out / layout.path(planned.name, source)}")
        return say_failures(len(plans), failed)
    with reporter(args, "separate", "window") as progress:
        outcome = separate_files(inputs, request, layout, progress.update)
    for separation in outcome.done:
        print(describe(separation))
    return say_failures(len(outcome.done), outcome.failed)


def describe(separation: Separation) -> str:
    """What was written for one input, and how sure the program is, in a few lines."""
    report = separation.report
    lines = [f"{separation.input}: {report['note'] or _sureness(report)}"]
    for source, path in (*separation.stems.items(), ("residual", separation.residual)):
        share = report["sources"].get(source, {}).get("share_of_power")
        lines.append(f"  {path}" + (f"  ({share:.0%} of the power)" if share is not None else ""))
    if report["output_gain"] != 1.0:
        lines.append(f"  all of them at {report['output_gain']:.3f} of the input's level, so that nothing clips")
    return "\n".join(lines)


def _sureness(report: Mapping[str, Any]) -> str:
    said = ", ".join(name + _doubt(source) for name, source in report["sources"].items())
    explained, failed = report["explained"], (report["windows"] or {}).get("failed", [])
    said = said if explained is None else f"{said}; the priors explain {explained:.0%} of it"
    if not failed:
        return said
    count = f"{len(failed)} windows are" if len(failed) > 1 else "one window is"
    return f"{said}; {count} like nothing they know and shared out equally"


def _doubt(source: Mapping[str, Any]) -> str:
    """How sure the program is that a source is there, and how well it expects to have separated it."""
    sure, expected = source["confidence"], source["expected_si_sdr_db"]
    words = [] if sure is None else [f"{sure:.0%} sure"]
    words += [] if expected is None else [f"about {round(expected)} dB"]
    return f" ({', '.join(words)})" if words else ""
