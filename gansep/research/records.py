"""The results of a comparison on disk: a line a mixture and row, added as they are made, so that a killed run goes on.

``results.jsonl`` is what a run continues from; ``results.csv`` and ``results.json`` are the same for readers, one row
a mixture, back end and source.
"""

from __future__ import annotations

import csv
import json
import math
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from gansep.types import DataError, OutputError

LOG = "results.jsonl"


@dataclass(frozen=True)
class Record:
    """What one row made of one mixture.

    Attributes:
        mixture: its name. sha256: of its references. task, condition: of the mixture. group: speakers, kits, pieces.
        row: name. key: back end, options and models; another key is another result.
        metrics: by source. permuted: whether the stems had no names and were matched to the references.
        seconds_per_second, peak_gib: cost of the call that the mixture was in.
    """

    mixture: str
    sha256: str
    task: str
    condition: str
    group: str
    row: str
    key: str
    metrics: Mapping[str, Mapping[str, float]]
    permuted: bool
    seconds_per_second: float
    peak_gib: float
    models: Sequence[str] = ()

    @property
    def identity(self) -> tuple[str, str, str, str]:
        return self.mixture, self.sha256, self.row, self.key

    def mean(self, metric: str) -> float:
        """Mean over sources; those that are NaN (silent references) are left out."""
        known = [value for one in self.metrics.values() if not math.isnan(value := one.get(metric, math.nan))]
        return sum(known) / len(known) if known else math.nan


@dataclass
class Log:
    """The records of a folder, old and new."""

    folder: Path
    records: list[Record] = field(default_factory=list)

    def __post_init__(self) -> None:
        path = self.folder / LOG
        if path.exists():
            lines = path.read_bytes().split(b"\n")
            whole, torn = lines[:-1], lines[-1]  # a run that was killed may have left half a line
            self.records = [_read(line, path, number) for number, line in enumerate(whole, 1) if line.strip()]
            if torn:
                _replace(path, b"".join(line + b"\n" for line in whole))

    @property
    def known(self) -> set[tuple[str, str, str, str]]:
        return {record.identity for record in self.records}

    def add(self, records: Iterable[Record]) -> None:
        """Append, and have it on the disk when this returns."""
        new = list(records)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with (self.folder / LOG).open("ab", buffering=0) as file:  # one write, so that runs can share a folder
                file.write("".join(json.dumps(_plain(asdict(record))) + "\n" for record in new).encode())
                os.fsync(file.fileno())
        except OSError as error:
            raise OutputError(f"{self.folder}: the results cannot be written ({error.strerror})") from error
        self.records += new


def _read(line: bytes, path: Path, number: int) -> Record:
    try:
        values = json.loads(line)
        metrics = {
            source: {name: math.nan if value is None else value for name, value in one.items()}
            for source, one in values["metrics"].items()
        }
        known: dict[str, Any] = {one.name: values[one.name] for one in fields(Record)}
        known["metrics"] = metrics
        return Record(**known)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        said = f"{path}: line {number} is no result ({error}); remove the file or name another folder"
        raise DataError(said) from error


def _plain(value: Any) -> Any:
    """NaN as null, which JSON has."""
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_csv(path: Path, records: Sequence[Record]) -> None:
    """One line a mixture, row and source."""
    metrics = list(dict.fromkeys(name for record in records for one in record.metrics.values() for name in one))
    head = ["mixture", "task", "condition", "row", "source", "group", *metrics]
    head += ["permuted", "seconds_per_second", "peak_gib"]
    lines = []
    for record in records:
        for source, figures in record.metrics.items():
            line: list[Any] = [record.mixture, record.task, record.condition, record.row, source, record.group]
            line += ["" if math.isnan(value := figures.get(name, math.nan)) else f"{value:.4f}" for name in metrics]
            lines.append([*line, int(record.permuted), f"{record.seconds_per_second:.4f}", f"{record.peak_gib:.3f}"])
    with tempfile.TemporaryFile("w+", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([head, *lines])
        file.seek(0)
        _replace(path, file.read().encode())


def write_json(path: Path, records: Sequence[Record], about: Mapping[str, Any]) -> None:
    """What was run, and every record."""
    content = {"about": about, "results": [asdict(record) for record in records]}
    _replace(path, (json.dumps(_plain(content), indent=1) + "\n").encode())


def write_text(path: Path, text: str) -> None:
    """A text, whole or not at all."""
    _replace(path, text.encode())


def _replace(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(content)
        os.replace(temporary, path)
    except OSError as error:
        raise OutputError(f"{path}: it cannot be written ({error.strerror}); choose another folder with -o") from error
