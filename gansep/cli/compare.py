"""``gansep compare``: every back end on the same mixtures, with tables, figures and a page to listen to."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from gansep.cli.common import Reporter, Subparsers, add_common, reporter, table
from gansep.types import GansepError

if TYPE_CHECKING:
    from gansep.research.compare import Comparison
    from gansep.research.rows import Row
    from gansep.research.running import Runner

CONDITIONS = ("paper", "wild", "sequence")
LONG = 20.0  # seconds of a user's recording beyond which rows that take minutes a second must be asked for
SLOW = ("deep-prior", "narayanaswamy2020", "narayanaswamy2020-raw")


def add_parser(subparsers: Subparsers) -> None:
    """Add the verb."""
    parser = subparsers.add_parser(
        "compare",
        help="compare back ends on mixtures of known sources, or on a recording",
        description="Compare back ends: on mixtures of held-out recordings (--data), with figures; or on a recording "
        "of yours, to listen to. A run that was stopped goes on where it was when it is started again.",
    )
    parser.add_argument("recording", nargs="?", type=Path, metavar="FILE", help="a mixture of yours, instead of --data")
    parser.add_argument("--data", nargs="+", metavar="FOLDER", help="held-out recordings, one folder a source")
    parser.add_argument("--tasks", metavar="A-B,..", help="which sources are mixed (default: every pair, and all)")
    parser.add_argument("--backends", metavar="NAME,..", help="rows, or back ends with options (default: all rows)")
    parser.add_argument("--conditions", default=",".join(CONDITIONS), metavar="NAME,..", help="(default: %(default)s)")
    parser.add_argument("--n", type=int, default=40, help="mixtures of a task and condition (default: 40)")
    parser.add_argument("--n-for", nargs="+", default=[], metavar="NAME=N", help="fewer for a row or a condition")
    parser.add_argument("--split", choices=("valid", "dev"), default="valid", help="of folders that have splits")
    parser.add_argument("--against", default="nmf", metavar="ROW", help="row the others are tested against")
    parser.add_argument("--listen", type=int, default=1, help="mixtures of each task and condition on the page")
    parser.add_argument("--export", type=Path, metavar="DIR", help="write the mixtures there, and do nothing else")
    parser.add_argument("-k", type=int, help="sources in a recording of yours; which ones is found out")
    parser.add_argument("--sources", metavar="A,B", help="names of the sources in a recording of yours")
    parser.add_argument("--batch", type=int, default=16, metavar="N", help="windows a back end gets at a time")
    parser.add_argument("--jobs", type=int, metavar="N", help="processor threads (default: all)")
    add_common(parser, out="folder of the results (default: comparison)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Compare; print the tables."""
    import torch

    from gansep.research.rows import DEFAULT, parse_rows
    from gansep.research.running import Runner

    _check(args)
    if args.jobs is not None:
        torch.set_num_threads(args.jobs)
    rows = parse_rows([name.strip() for name in args.backends.split(",")] if args.backends else DEFAULT)
    runner = Runner(args.library, args.device, args.seed, args.batch)
    if args.recording:
        return _audition(args, rows, runner)
    wanted = _comparison(args, rows)
    return _export(args.export, wanted) if args.export else _bench(args, wanted, runner)


def _check(args: argparse.Namespace) -> None:
    if (args.recording is None) == (args.data is None):
        raise GansepError("name either folders of sources (--data digits/ drums/) or one recording")
    if args.recording and (args.k is None) == (args.sources is None):
        raise GansepError("say either how many sources are in the recording (-k 2) or which (--sources drums,piano)")
    if args.data and (args.k is not None or args.sources is not None):
        raise GansepError("-k and --sources are for a recording of yours; with --data, --tasks says what is mixed")
    for flag, value, least in (("--n", args.n, 1), ("--listen", args.listen, 0), ("--batch", args.batch, 1)):
        if value < least:
            raise GansepError(f"{flag} must be at least {least}, got {value}")
    if args.jobs is not None and args.jobs < 1:
        raise GansepError(f"--jobs must be at least 1, got {args.jobs}")
    if unknown := set(args.conditions.split(",")) - set(CONDITIONS):
        raise GansepError(f"unknown condition {', '.join(sorted(unknown))}; expected {', '.join(CONDITIONS)}")


def _comparison(args: argparse.Namespace, rows: list[Row]) -> Comparison:
    from gansep.research.compare import Comparison
    from gansep.research.protocol import tasks_of
    from gansep.research.sources import pools_of

    pools = pools_of(args.data, args.split)
    tasks = tasks_of(list(pools), args.tasks.split(",") if args.tasks else None)
    limits = {}
    for item in args.n_for:
        name, _, count = item.partition("=")
        parts, names = name.split("/"), {row.name for row in rows}
        known = len(parts) < 3 and parts[-1] in {*CONDITIONS, *names} and parts[0] in {*names, parts[-1]}
        if not known or not count.isdigit():
            raise GansepError(f"--n-for {item}: expected a row, a condition or both, as deep-prior/wild=10")
        limits[name] = int(count)
    return Comparison(
        pools, tasks, rows, args.conditions.split(","), args.n, limits, args.split, args.seed, args.listen
    )


def _export(folder: Path, wanted: Comparison) -> int:
    from gansep.research.protocol import export, mix

    for condition in wanted.conditions:
        count = min(wanted.n, wanted.limits.get(condition, wanted.n))
        for sources in wanted.tasks.values():
            pools = [wanted.pools[name] for name in sources]
            export(mix(pools, condition, wanted.split, range(count), wanted.seed), folder)
    print(folder)
    return 0


def _bench(args: argparse.Namespace, wanted: Comparison, runner: Runner) -> int:
    from gansep.research.bench import bench
    from gansep.research.tables import HEAD, by_task, cells, overview

    folder = args.out or Path("comparison")
    with reporter(args, "compare", "separation") as progress:
        lines, notes = bench(wanted, runner, folder, args.against, _teller(progress))
    for (condition, task), group in by_task(lines).items():
        print(f"{condition}, {task}: SI-SDR improvement in dB")
        print(table([name.format(against=args.against) for name in HEAD], map(cells, group)), end="\n\n")
    for condition, (head, rows) in overview(lines).items():
        print(f"{condition}: SI-SDR improvement in dB [95 %], s/s: seconds of computing for a second")
        print(table(head, rows), end="\n\n")
    for note in notes:
        print(note)
    print(folder / "index.html")
    return 0


def _audition(args: argparse.Namespace, rows: list[Row], runner: Runner) -> int:
    from gansep.audio import probe
    from gansep.research.bench import audition

    info = probe(args.recording)
    if not args.backends and info.frames / info.sample_rate > LONG:
        print(f"left out, they take minutes a second: {', '.join(SLOW)}; --backends asks for them", file=sys.stderr)
        rows = [row for row in rows if row.name not in SLOW]
    folder = args.out or Path("comparison") / args.recording.stem
    sources = [name.strip() for name in args.sources.split(",")] if args.sources else None
    with reporter(args, "compare", "back end") as progress:
        notes = audition(args.recording, rows, runner, folder, k=args.k, sources=sources, on_progress=_teller(progress))
    for note in notes:
        print(note)
    print(folder / "index.html")
    return 0


def _teller(progress: Reporter) -> Callable[[int, int, str], None]:
    said = [""]

    def tell(done: int, total: int, what: str) -> None:
        if what != said[0]:
            progress.say(what)
            said[0] = what
        progress.update(done, total)

    return tell
