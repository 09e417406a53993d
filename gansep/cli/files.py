"""What verbs that read many files share: patterns the shell left alone, threads, what failed and the exit code."""

from __future__ import annotations

import glob
import sys
from collections.abc import Sequence
from pathlib import Path

from gansep.types import GansepError


def expand_pattern(item: str) -> list[str]:
    """A pattern that the shell left alone to its files; anything else to itself."""
    found = [] if Path(item).exists() else sorted(glob.glob(item, recursive=True))
    return found or [item]


def use_threads(jobs: int | None) -> None:
    """Compute with so many processor threads; ``None`` leaves the choice to torch.

    Raises:
        GansepError: fewer than one.
    """
    if jobs is None:
        return
    if jobs < 1:
        raise GansepError(f"--jobs must be at least 1, got {jobs}")
    import torch

    torch.set_num_threads(jobs)


def say_failures(done: int, failed: Sequence[tuple[Path, GansepError]]) -> int:
    """Say what failed, one line each; 0 if nothing did, 1 if something is done all the same, else 2."""
    for _, error in failed:
        print(f"gansep: error: {' '.join(str(error).split())}", file=sys.stderr)
    return 0 if not failed else 1 if done else 2
