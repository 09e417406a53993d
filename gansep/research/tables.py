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
        first.permuted,
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
        f"{_number(line.mean)} [{_number(line.low)}, {_number(line.high)}]",
        _number(line.median),
        _number(line.spectral_snr),
        _number(line.sir),
        f"{line.seconds_per_second:.3f}" if line.seconds_per_second < 10 else f"{line.seconds_per_second:.0f}",
        f"{line.peak_gib:.1f}",
        ahead,
        "" if math.isnan(line.p) else "<0.001" if line.p < 0.001 else f"{line.p:.3f}",
    ]


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.1f}"


def by_task(lines: Iterable[Line]) -> dict[tuple[str, str], list[Line]]:
    """Lines of every condition and task, the best mean first."""
    groups: dict[tuple[str, str], list[Line]] = {}
    for line in lines:
        groups.setdefault((line.condition, line.task), []).append(line)
    for group in groups.values():
        group.sort(key=lambda line: -math.inf if math.isnan(line.mean) else line.mean, reverse=True)
    return groups


def markdown(lines: Iterable[Line], against: str, notes: Sequence[str] = ()) -> str:
    """Every condition and task as a table in Markdown."""
    head = [name.format(against=against) for name in HEAD]
    parts = ["SI-SDR improvement over the mixture in dB; mean over sources and mixtures.", ""]
    for (condition, task), group in by_task(lines).items():
        parts += [f"### {condition}, {task}", "", f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
        parts += [f"| {' | '.join(cells(line))} |" for line in group]
        parts.append("")
    return "\n".join([*parts, *(f"- {note}" for note in notes)]).rstrip() + "\n"
