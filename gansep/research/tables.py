"""Records to tables: mean, median and interval of every row, what it costs, and how it compares with a chosen one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from gansep.metrics import bootstrap_interval, paired_difference
from gansep.research.records import Record


@dataclass(frozen=True)
class Line:
    """One row of a table, over the mixtures of a task and condition.

    Attributes:
        n: mixtures. mean, median, low, high: of the metric, and the 95 % interval of the mean, by group.
        spectral_snr, sir: means, dB. seconds_per_second, peak_gib: cost; mean over mixtures, and largest.
        permuted: whether stems had no names. by_source: mean of the metric.
        ahead, ahead_low, ahead_high, p: mean difference to the row compared with, over the mixtures of both.
    """

    task: str
    condition: str
    row: str
    n: int
    mean: float
    median: float
    low: float
    high: float
    spectral_snr: float
    sir: float
    seconds_per_second: float
    peak_gib: float
    permuted: bool
    by_source: dict[str, float]
    ahead: float
    ahead_low: float
    ahead_high: float
    p: float


def summarise(
    records: Iterable[Record], metric: str = "si_sdr_improvement", against: str = "nmf", seed: int = 0
) -> list[Line]:
    """A line for every condition, task and row, in the order the records have."""
    groups: dict[tuple[str, str, str], list[Record]] = {}
    for record in records:
        groups.setdefault((record.condition, record.task, record.row), []).append(record)
    return [
        _line(found, groups.get((condition, task, against), []), metric, seed)
        for (condition, task, _), found in groups.items()
    ]


def _line(found: Sequence[Record], other: Sequence[Record], metric: str, seed: int) -> Line:
    values, labels = [record.mean(metric) for record in found], [record.group for record in found]
    low, high = bootstrap_interval(values, labels, seed)
    theirs = {record.mixture: record.mean(metric) for record in other}
    both = [record for record in found if record.mixture in theirs]
    ahead = (math.nan,) * 4
    if both and found[0].row != other[0].row:
        mine = [record.mean(metric) for record in both]
        ahead = paired_difference(mine, [theirs[one.mixture] for one in both], [one.group for one in both], seed)
    first = found[0]
    return Line(
        first.task,
        first.condition,
        first.row,
        len(found),
        _mean(values),
        float(np.nanmedian(values)) if not np.isnan(values).all() else math.nan,
        low,
        high,
        _mean([record.mean("spectral_snr") for record in found]),
        _mean([record.mean("sir") for record in found]),
        _mean([record.seconds_per_second for record in found]),
        max(record.peak_gib for record in found),
        any(record.permuted for record in found),
        {name: _mean([record.metrics[name].get(metric, math.nan) for record in found]) for name in first.metrics},
        *ahead,
    )


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan


HEAD = ("row", "n", "mean [95 %]", "median", "spectral SNR", "SIR", "s/s", "GiB", "ahead of {against} [95 %]", "p")


def cells(line: Line) -> list[str]:
    """A line as text, in the order of :data:`HEAD`."""
    ahead = "" if math.isnan(line.ahead) else f"{line.ahead:+.1f} [{line.ahead_low:+.1f}, {line.ahead_high:+.1f}]"
    return [
        f"{line.row}{' *' if line.permuted else ''}",
        str(line.n),
        _interval(line),
        _number(line.median),
        _number(line.spectral_snr),
        _number(line.sir),
        _seconds(line.seconds_per_second),
        f"{line.peak_gib:.1f}",
        ahead,
        "" if math.isnan(line.p) else "<0.001" if line.p < 0.001 else f"{line.p:.3f}",
    ]


def _interval(line: Line) -> str:
    return f"{_number(line.mean)} [{_number(line.low)}, {_number(line.high)}]"


def _seconds(value: float) -> str:
    return f"{value:.3f}" if value < 10 else f"{value:.0f}"


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.1f}".replace("-0.0", "0.0")


def by_task(lines: Iterable[Line]) -> dict[tuple[str, str], list[Line]]:
    """Lines of every condition and task, the best mean first."""
    groups: dict[tuple[str, str], list[Line]] = {}
    for line in lines:
        groups.setdefault((line.condition, line.task), []).append(line)
    for group in groups.values():
        group.sort(key=lambda line: -math.inf if math.isnan(line.mean) else line.mean, reverse=True)
    return groups


def overview(lines: Sequence[Line]) -> dict[str, tuple[list[str], list[list[str]]]]:
    """Head and rows of one table a condition: a line a row, a column a task, what a second costs last.

    Rows come by their mean over tasks, those that did not run on every task last.
    """
    tables = {}
    for condition in dict.fromkeys(line.condition for line in lines):
        found = {(line.row, line.task): line for line in lines if line.condition == condition}
        tasks = list(dict.fromkeys(task for _, task in found))
        rows = {}
        for row in dict.fromkeys(row for row, _ in found):
            mine = [found[row, task] for task in tasks if (row, task) in found]
            mean = sum(line.mean for line in mine) / len(mine) if len(mine) == len(tasks) else math.nan
            texts = [_interval(found[row, task]) if (row, task) in found else "-" for task in tasks]
            cost = _seconds(_mean([line.seconds_per_second for line in mine]))
            star = " *" if any(line.permuted for line in mine) else ""
            rows[row + star, mean] = [row + star, *texts, _number(mean), cost]
        order = sorted(rows, key=lambda key: -math.inf if math.isnan(key[1]) else key[1], reverse=True)
        tables[condition] = ["row", *tasks, "mean", "s/s"], [rows[key] for key in order]
    return tables


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}", *(f"| {' | '.join(row)} |" for row in rows), ""]


def markdown(lines: Sequence[Line], against: str, notes: Sequence[str] = ()) -> str:
    """An overview of every condition, then every condition and task with all figures, in Markdown."""
    head = [name.format(against=against) for name in HEAD]
    parts = ["SI-SDR improvement over the mixture in dB; mean over sources and mixtures [95 %].", ""]
    for condition, (columns, rows) in overview(lines).items():
        parts += [f"## {condition}", "", *_table(columns, rows)]
    for (condition, task), group in by_task(lines).items():
        parts += [f"### {condition}, {task}", "", *_table(head, map(cells, group))]
    return "\n".join([*parts, *(f"- {note}" for note in notes)]).rstrip() + "\n"
