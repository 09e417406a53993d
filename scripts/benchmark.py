"""What a separation costs and what it is worth: time and memory against quality, length and number of sources.

    python scripts/benchmark.py                              # commands as users run them: each quality, start-up
    python scripts/benchmark.py --minutes 10                 # also a long stereo recording at 44.1 kHz, quality fast
    python scripts/benchmark.py quality --data DATA -o DIR   # SI-SDR improvement against seconds of computing
    python scripts/benchmark.py length -o DIR                # time and peak memory against length
    python scripts/benchmark.py sources --data DATA -o DIR   # time against the number of sources

DATA holds ``<class>/train`` and ``<class>/valid``. With ``-o`` there are also a CSV file and a picture. Commands
(without a sub-command, and in ``length``) run in processes of their own: their wall time holds all but the
installation, their memory is the largest resident set that the system saw. An hour of 44.1 kHz stereo needs some 8 GB
below TMPDIR. All of it runs on the CPU; compare times of one run only, machines differ.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import cycle
from pathlib import Path

import numpy as np
import torch

from gansep.audio import StemWriter, probe, read, shared_gain
from gansep.backends.gan_prior import QUALITIES
from gansep.planning import candidates
from gansep.plots import save
from gansep.research.bench import STAR
from gansep.research.compare import Comparison, compare
from gansep.research.plots import COLOURS, DPI, SOFT, _label, _plain
from gansep.research.protocol import CONDITIONS, TASKS, Mixture, mix
from gansep.research.records import write_text
from gansep.research.rows import Row, parse_rows
from gansep.research.running import Runner
from gansep.research.sources import pool, split_files
from gansep.research.tables import Line, overview, summarise
from gansep.types import GansepError, ModelError

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "mix.wav"
SEARCHES = ("gan-prior-fast", "gan-prior", "gan-prior:listen=0")
ROWS = (*SEARCHES, "gan-prior-best", "narayanaswamy2020", "nmf", "mask", "oracle-wiener")
PAIRS = [task for task, names in TASKS.items() if len(names) == 2]
LONG = 60.0  # seconds of audio from which on growth is judged
COST = "seconds of computing for a second of audio"
# Linux counts what the parent held to a child's largest resident set, so a process that holds little starts it.
MEASURE = """
import json, resource, subprocess, sys, time
began = time.perf_counter()
code = subprocess.call(sys.argv[1:], stdout=subprocess.DEVNULL)
wall, unit = time.perf_counter() - began, 1 if sys.platform == "darwin" else 1024
print(json.dumps([code, wall, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit / 2**30]))
"""

Points = list[tuple[float, float]]


def measured(line: Sequence[str]) -> tuple[float, float]:
    """Wall seconds and peak GiB of one command; the program ends if it fails."""
    said = subprocess.run([sys.executable, "-c", MEASURE, *line], stdout=subprocess.PIPE, check=True).stdout
    code, wall, peak = json.loads(said)
    if code:
        raise SystemExit(f"exit code {code}, expected 0, of: {' '.join(line)}")
    return wall, peak


def separate(file: Path, out: Path, threads: int, *flags: str) -> tuple[float, float]:
    """Wall seconds and peak GiB of one ``gansep separate``."""
    line = [sys.executable, "-m", "gansep", "separate", str(file), "-o", str(out), "--overwrite", "-q"]
    print(f"{file.name}: {' '.join(flags)}", file=sys.stderr)
    return measured([*line, "--device", "cpu", "--jobs", str(threads), *flags])


def lengthen(file: Path, seconds: float, target: Path) -> Path:
    """A 16-bit WAV of ``file``, again and again, ``seconds`` long; only ``file`` itself is ever in memory."""
    wave, rate = read(file)
    left = max(1, round(seconds * rate))
    with StemWriter(target.parent, rate, len(wave)) as stem:
        while left:
            stem.append(wave[:, :left])
            left -= min(left, wave.shape[1])
        return stem.finish(target, shared_gain([stem.peak], "PCM_16"), "wav", "PCM_16")


def tell(args: argparse.Namespace, head: Sequence[str], rows: Sequence[Sequence[object]], notes: Sequence[str]) -> None:
    """Print a table in Markdown, and below it what there is to say."""
    print(f"| {' | '.join(head)} |", f"|{'---|' * len(head)}", sep="\n")
    for row in rows:
        print(f"| {' | '.join(map(str, row))} |")
    print("", *(f"- {note}" for note in (*notes, f"{args.threads} threads, torch {torch.__version__}")), sep="\n")


def write_sheet(path: Path, head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([head, *rows])
    write_text(path, text.getvalue())


def commands(args: argparse.Namespace) -> None:
    """Each quality on 40 s, less start-up; ``-k``, with its picture; a long recording if wanted."""
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder, short = Path(name), probe(EXAMPLE).frames / probe(EXAMPLE).sample_rate
        longer = lengthen(EXAMPLE, 40, folder / "40s.wav")
        for row in QUALITIES:
            flags = ("--sources", "drums,piano", "--quality", row, "--no-picture")
            first, _ = separate(EXAMPLE, folder / "out", args.threads, *flags)
            wall, peak = separate(longer, folder / "out", args.threads, *flags)
            cost = f"{(wall - first) / (40 - short):.2f}"
            rows.append(["40 s, 44.1 kHz stereo", " ".join(flags), f"{wall:.1f}", cost, f"{peak:.2f}"])
        wall, peak = separate(EXAMPLE, folder / "out", args.threads, "-k", "2")
        rows.append(["examples/mix.wav, 8 s", "-k 2", f"{wall:.1f}", "", f"{peak:.2f}"])
        if args.minutes:
            long = lengthen(EXAMPLE, 60 * args.minutes, folder / f"{60 * args.minutes:g}s.wav")
            wall, peak = separate(long, folder / "out", args.threads, "-k", "2", "--quality", "fast")
            what, cost = f"{args.minutes:g} minutes, 44.1 kHz stereo", f"{wall / 60 / args.minutes:.2f}"
            rows.append([what, "-k 2 --quality fast", f"{wall:.1f}", cost, f"{peak:.2f}"])
    tell(args, ["recording", "flags", "wall s", "s per s of audio, less start-up", "peak GiB"], rows, [])


def quality(args: argparse.Namespace) -> None:
    """SI-SDR improvement of rows on every task, and the time they take for it."""
    rows, runner, limits = parse_rows(args.rows), Runner(args.library, seed=args.seed), dict(args.n_for)
    names = dict.fromkeys(name for task in TASKS.values() for name in task)
    pools = {name: pool(name, split_files(args.data, name, args.split)) for name in names}
    wanted = Comparison(pools, TASKS, rows, (args.condition,), args.n, limits, args.split, args.seed, listen=0)
    first = [pools[name] for name in TASKS[PAIRS[0]]]
    warm_up(runner, rows, next(mix(first, args.condition, args.split, [args.n], args.seed)))
    with tempfile.TemporaryDirectory() as folder:  # so that no times of another run are taken over
        records, notes = compare(wanted, runner, Path(folder), lambda _, __, what: print(what, file=sys.stderr))
    lines = summarise(records, seed=args.seed)
    costs = of_pairs(lines)
    counts = [f"{row.name} {n}" for row in rows if (n := wanted.count(row, args.condition)) < args.n]
    about = f"{args.condition}, {args.split}, {args.n} mixtures a task" + (f" ({', '.join(counts)})" if counts else "")
    head, body = overview(lines)[args.condition]
    speeds = [costs[row[0].removesuffix(" *")][0] for row in body]
    body = [[*row[:-2], shown(cost), shown(1 / cost)] for row, cost in zip(body, speeds, strict=True)]
    notes = [f"SI-SDR improvement in dB [95 % interval]: {about}; real time is 1, more is faster", *notes]
    notes += [STAR] if any(line.permuted for line in lines) else []
    tell(args, [*head[:-2], "seconds per second (K = 2)", "times real time"], body, notes)
    if args.out:
        columns = ["task", "row", "n", "mean", "low", "high", "seconds_per_second"]
        write_sheet(args.out / "quality.csv", columns, [[getattr(line, name) for name in columns] for line in lines])
        save_quality(args.out / "quality.png", costs, f"K = 2: {about}")


def warm_up(runner: Runner, rows: Sequence[Row], example: Mixture) -> None:
    """Run rows on a mixture that does not count; those that cannot run are passed over."""
    for row in rows:
        with suppress(ModelError):
            runner(row, [example])
    runner.forget()


def of_pairs(lines: Sequence[Line]) -> dict[str, tuple[float, float]]:
    """Mean seconds per second and mean dB of each row over the tasks of two sources; NaN if it did not run on all."""
    means = {}
    for row in dict.fromkeys(line.row for line in lines):
        mine = [(line.seconds_per_second, line.mean) for line in lines if line.row == row and line.task in PAIRS]
        cost, gain = np.mean(mine, 0) if len(mine) == len(PAIRS) else (math.nan, math.nan)
        means[row] = float(cost), float(gain)
    return means


def shown(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}" if value < 10 else f"{value:.0f}"


def length(args: argparse.Namespace) -> None:
    """``gansep separate`` of longer and longer recordings; the first call, on the shortest, does not count."""
    head = ["quality", "seconds of audio", "wall seconds", "seconds per second", "peak GiB"]
    rows: list[list[str]] = []
    times: dict[str, Points] = {row: [] for row in args.rows}
    peaks: dict[str, Points] = {row: [] for row in args.rows}
    flags = ["--sources", args.sources, "--no-picture", *(["--library", str(args.library)] if args.library else [])]
    for number, seconds in enumerate([min(args.seconds), *sorted(args.seconds)]):
        for row in args.rows:
            with tempfile.TemporaryDirectory() as folder:
                file = lengthen(args.file, seconds, Path(folder) / f"{seconds:g}s.wav")
                wall, peak = separate(file, Path(folder) / "out", args.threads, "--quality", row, *flags)
            if number:
                times[row].append((seconds, wall))
                peaks[row].append((seconds, peak))
                rows.append([row, f"{seconds:g}", f"{wall:.2f}", f"{wall / seconds:.3f}", f"{peak:.3f}"])
    tell(args, head, rows, [f"{row}: {growth(times[row], peaks[row])}" for row in args.rows])
    if args.out:
        write_sheet(args.out / "length.csv", head, rows)
        save_curves(args.out / "length.png", {"wall seconds": times, "peak GiB": peaks}, "seconds of audio", log=True)


def growth(times: Points, peaks: Points) -> str:
    """Whether wall seconds are linear in seconds of audio and peak memory is flat, over lengths from 60 s up."""
    long = [one for one in times if one[0] >= LONG]
    held = [peak for seconds, peak in peaks if seconds >= LONG]
    if len({seconds for seconds, _ in long}) < 2:
        return f"two lengths from {LONG:g} s up are needed to say how time and memory grow"
    x, y = np.log(long).T
    slope, ratio = float(np.polyfit(x, y, 1)[0]), max(held) / min(held)
    time = "linear" if abs(slope - 1) <= 0.1 else "more than linear" if slope > 1 else "less than linear (start-up)"
    memory = "flat" if ratio <= 1.1 else "not flat"
    return f"from {LONG:g} s up time is {time}, slope {slope:.2f}; memory is {memory}, largest / smallest {ratio:.2f}"


def sources(args: argparse.Namespace) -> None:
    """The time of rows for more and more sources in a mixture of ten seconds."""
    names = args.sources or [one.name for one in candidates(min(args.k), args.library, torch.device("cpu"))]
    rows, runner = parse_rows(args.rows), Runner(args.library, seed=args.seed)
    notes = [f"{COST}, in stereo at 44.1 kHz, after a call that does not count"]
    curves: dict[str, Points] = {row.name: [] for row in rows}
    body = []
    for k in args.k:
        if k > len(names):
            notes.append(f"K = {k} left out: there are {', '.join(names)}; name more with --sources or --library")
            continue
        example, cells = ten_seconds(names[:k], args), []
        warm_up(runner, rows, example)
        for row in rows:
            try:
                cost = runner(row, [example])[1].seconds_per_second
                curves[row.name].append((k, cost))
            except ModelError as error:
                cost = math.nan
                notes.append(f"{row.name} left out for K = {k}: {error}")
            cells.append(shown(cost))
        runner.forget()
        body.append([k, ", ".join(names[:k]), *cells])
    head = ["K", "sources", *curves]
    tell(args, head, body, notes)
    if args.out:
        write_sheet(args.out / "sources.csv", head, body)
        save_curves(args.out / "sources.png", {COST: curves}, "sources K")


def ten_seconds(names: Sequence[str], args: argparse.Namespace) -> Mixture:
    """Two sequences of eight seconds, one after the other, cut after ten."""
    pools = [pool(name, split_files(args.data, name, args.split)) for name in names]
    first, second = mix(pools, "sequence", args.split, range(2), args.seed)
    both = torch.cat([first.references, second.references], -1)  # [S, C, T]
    return replace(first, references=both[..., : 10 * first.sample_rate])


def save_quality(path: Path, points: Mapping[str, tuple[float, float]], title: str) -> None:
    """Row by row, dB against seconds per second; lines where it keeps up with the sound, and five times faster."""
    from matplotlib.figure import Figure

    known = [(row, *point) for row, point in points.items() if np.isfinite(point).all()]
    figure = Figure(figsize=(7.2, 4.8), layout="constrained")
    axis = figure.subplots()
    axis.set_xscale("log")
    axis.scatter(*zip(*(point for _, *point in known), strict=True), s=28, color=COLOURS[0], zorder=3)
    axis.margins(x=0.12, y=0.12)
    for x, name in ((1, "real time"), (0.2, "5 times faster")):
        axis.axvline(x, color=SOFT, linewidth=1.0, linestyle="--")
        axis.text(x, 1.01, name, transform=axis.get_xaxis_transform(), ha="center", fontsize=8, color=SOFT)
    axis.set_xlabel(COST, fontsize=9)
    axis.set_ylabel("SI-SDR improvement, dB", fontsize=9)
    axis.set_title(title, loc="left", fontsize=10, pad=18)
    _plain(axis, grid="both")
    _label(figure, axis, known)
    save(figure, path, DPI)


def save_curves(path: Path, panels: Mapping[str, Mapping[str, Points]], across: str, log: bool = False) -> None:
    """A panel a quantity, a line a row; with ``log`` the first panel and all axes across are logarithmic."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1.2 + 3.6 * len(panels), 3.6), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axis, (name, curves) in zip(axes, panels.items(), strict=True):
        for colour, (row, points) in zip(cycle(COLOURS), curves.items(), strict=False):
            axis.plot(*np.reshape(points, (-1, 2)).T, "o-", color=colour, markersize=4, label=row)
        x, y = np.reshape([point for points in curves.values() for point in points], (-1, 2)).T
        axis.set_xscale("log" if log else "linear")
        axis.set_xticks(np.unique(x), [f"{one:g}" for one in np.unique(x)])
        axis.set_xticks([], minor=True)
        if log and axis is axes[0]:
            axis.set_yscale("log")
        else:
            axis.set_ylim(0, 1.15 * y.max(initial=0.0))
        axis.set_xlabel(across, fontsize=9)
        axis.set_ylabel(name, fontsize=9)
        _plain(axis, grid="both")
        axis.tick_params(which="minor", labelsize=8)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper left", fontsize=8, frameon=False, ncols=3)
    save(figure, path, DPI)


def limit(text: str) -> tuple[str, int]:
    name, _, count = text.rpartition("=")
    return name, int(count)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=0.0, help="without a sub-command: length of a long recording")
    parser.set_defaults(run=commands)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--threads", type=int, default=argparse.SUPPRESS, help="(default: 2)")
    common.add_argument("--library", type=Path, help="folder of models to ask first")
    common.add_argument("-o", "--out", type=Path, metavar="FOLDER", help="of CSV and picture; needs matplotlib")
    mixed = argparse.ArgumentParser(add_help=False, parents=[common])
    mixed.add_argument("--data", type=Path, required=True)
    mixed.add_argument("--split", choices=("dev", "valid"), default="dev")
    mixed.add_argument("--seed", type=int, default=0)
    verbs = parser.add_subparsers()
    verb = verbs.add_parser("quality", parents=[mixed], help="SI-SDR improvement against time")
    verb.add_argument("--n", type=int, default=20, help="mixtures a task")
    verb.add_argument("--n-for", nargs="+", type=limit, default=[("narayanaswamy2020", 4)], metavar="ROW=N")
    verb.add_argument("--condition", choices=CONDITIONS, default="wild")
    verb.add_argument("--rows", nargs="+", default=ROWS, metavar="ROW", help="as --backends of gansep compare")
    verb.set_defaults(run=quality)
    verb = verbs.add_parser("length", parents=[common], help="time and peak memory against length")
    verb.add_argument("--file", type=Path, default=EXAMPLE, help="repeated until it is long enough")
    verb.add_argument("--seconds", nargs="+", type=float, default=[1, 10, 60, 600, 3600])
    verb.add_argument("--rows", nargs="+", choices=QUALITIES, default=["fast"], help="as --quality of gansep separate")
    verb.add_argument("--sources", default="drums,piano", metavar="A,B")
    verb.set_defaults(run=length)
    verb = verbs.add_parser("sources", parents=[mixed], help="time against the number of sources")
    verb.add_argument("--k", nargs="+", type=int, default=[2, 3, 4, 5])
    verb.add_argument("--sources", nargs="+", metavar="NAME", help="the first K of them (default: of those installed)")
    verb.add_argument("--rows", nargs="+", default=SEARCHES, metavar="ROW", help="as --backends of gansep compare")
    verb.set_defaults(run=sources)
    return parser.parse_args()


def main() -> None:
    args = parse()
    torch.set_num_threads(args.threads)
    try:
        args.run(args)
    except GansepError as error:
        raise SystemExit(f"benchmark.py: {error}") from error


if __name__ == "__main__":
    main()
