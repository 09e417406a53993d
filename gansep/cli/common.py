"""What the verbs share: the flags every one has, progress on stderr, tables and results on stdout."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

from gansep.types import OutputError

if TYPE_CHECKING:
    from tqdm import tqdm

Subparsers = argparse._SubParsersAction  # argparse has no public name for what add_subparsers returns


def add_common(parser: argparse.ArgumentParser, *, out: str, seed: int = 0) -> None:
    """Add the flags every verb has.

    Args:
        parser: the verb's.
        out: what ``-o`` means to it, for the help text.
        seed: the default of ``--seed``.
    """
    group = parser.add_argument_group("flags of every verb")
    group.add_argument("-o", "--out", type=Path, metavar="PATH", help=out)
    group.add_argument("--library", type=Path, metavar="DIR", help="a library of models to ask before all others")
    group.add_argument("--device", default="auto", metavar="NAME", help="auto, cpu, cuda or mps (default: auto)")
    group.add_argument("--seed", type=int, default=seed, metavar="N", help=f"of everything random (default: {seed})")
    group.add_argument("--progress", choices=("bar", "json", "none"), default="bar", help="on stderr (default: bar)")
    group.add_argument("-q", "--quiet", action="store_true", help="no progress and no notes")
    group.add_argument("-v", "--verbose", action="store_true", help="where an error comes from")


class Reporter(Protocol):
    """Tells how far a verb is; a context manager, because a bar must be closed."""

    def update(self, done: float, total: float | None = None, **values: float) -> None:
        """Say that ``done`` of ``total`` units are done, and any figures worth showing."""
        ...

    def say(self, line: str) -> None:
        """Show a line beside the progress."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


def reporter(args: argparse.Namespace, task: str, unit: str = "step") -> Reporter:
    """The reporter that ``--progress`` and ``--quiet`` ask for.

    Args:
        args: parsed, with the flags of :func:`add_common`.
        task: what is being done, shown before the bar and in every JSON line.
        unit: what is counted.
    """
    if args.quiet:
        return _Silent(notes=False)
    if args.progress == "bar":
        return _Bar(task, unit)
    return _Json(task, unit) if args.progress == "json" else _Silent(notes=True)


class _Silent:
    """No progress; notes if wanted."""

    def __init__(self, notes: bool) -> None:
        self.notes = notes

    def update(self, done: float, total: float | None = None, **values: float) -> None:
        pass

    def say(self, line: str) -> None:
        if self.notes:
            print(line, file=sys.stderr)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class _Json(_Silent):
    """A JSON object a line, at most two a second: ``{"task", "unit", "done", "total", figures...}``."""

    INTERVAL = 0.5  # seconds

    def __init__(self, task: str, unit: str) -> None:
        super().__init__(notes=True)
        self.head: dict[str, Any] = {"task": task, "unit": unit}
        self.last: dict[str, Any] | None = None  # not yet written
        self.written = -self.INTERVAL

    def update(self, done: float, total: float | None = None, **values: float) -> None:
        self.last = {"done": done, "total": total} | values
        if time.monotonic() - self.written >= self.INTERVAL:
            self._flush()

    def say(self, line: str) -> None:
        self._write({"note": line})

    def __exit__(self, *_: object) -> None:
        self._flush()

    def _flush(self) -> None:
        if self.last is not None:
            self._write(self.last)
            self.written, self.last = time.monotonic(), None

    def _write(self, values: dict[str, Any]) -> None:
        print(json.dumps(self.head | values), file=sys.stderr, flush=True)


class _Bar(_Silent):
    """A tqdm bar; ten seconds between its states where stderr is not a terminal but a log."""

    def __init__(self, task: str, unit: str) -> None:
        super().__init__(notes=True)
        self.task, self.unit = task, unit
        self.bar: tqdm | None = None

    def update(self, done: float, total: float | None = None, **values: float) -> None:
        if self.bar is None:
            self.bar = self._open(done)
        self.bar.total = total
        self.bar.set_postfix({name: f"{value:.3g}" for name, value in values.items()}, refresh=False)
        self.bar.update(done - self.bar.n)

    def say(self, line: str) -> None:
        if self.bar is None:
            super().say(line)
        else:
            self.bar.write(line, file=sys.stderr)

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.close()

    def _open(self, done: float) -> tqdm:
        from tqdm import tqdm

        pause = 0.1 if sys.stderr.isatty() else 10.0
        return tqdm(desc=self.task, unit=f" {self.unit}", initial=done, mininterval=pause, dynamic_ncols=True)


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Columns as wide as their widest cell.

    >>> print(table(["name", "rate"], [["drums", 16000], ["hi", ""]]))
    name   rate
    drums  16000
    hi
    """
    lines = [[str(cell) for cell in row] for row in (head, *rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = ("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)
    return "\n".join(line.rstrip() for line in padded)


def show(text: str, out: Path | None) -> None:
    """Print a result, or write it to the file that ``-o`` names.

    Raises:
        OutputError: the file cannot be written.
    """
    if out is None:
        print(text)
        return
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{out}: it cannot be written ({error.strerror}); name another file with -o") from error
