"""A model in training and the folder it goes to: claim it, train, keep what every checkpoint reached."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Protocol

from gansep.library import CARD, is_writable
from gansep.training.data import Clips, load_clips
from gansep.training.journal import Journal
from gansep.training.loop import Progress, Run, Schedule, Trainee, train
from gansep.types import OutputError

CHECKPOINT = "training/checkpoint.pt"  # in a model's folder

Paths = str | Path | Sequence[str | Path]
Say = Callable[[Progress | str], None]


class Keeper(Protocol):
    """Saves a model at every checkpoint."""

    journal: Journal

    def __call__(self, run: Run) -> None: ...


def as_list(paths: Paths) -> list[Path]:
    """One path or several to several."""
    return [Path(path) for path in ([paths] if isinstance(paths, str | Path) else paths)]


def name_of(paths: Sequence[Path]) -> str:
    """What a source is called unless its name is given: as its first folder or file."""
    return paths[0].resolve().name if paths[0].is_dir() else paths[0].stem


def claim(folder: Path, resume: bool = False) -> None:
    """See that a model may be written to a folder.

    Raises:
        OutputError: it cannot be, or a model is there which is not to be resumed or cannot be.
    """
    if not is_writable(folder):
        raise OutputError(f"{folder}: the model cannot be written there; name another folder with -o")
    if not resume and (folder / CARD).exists():
        raise OutputError(f"{folder} holds a model already; go on with --resume, remove it, or name another with -o")
    if resume and (folder / CARD).exists() and not (folder / CHECKPOINT).exists():
        raise OutputError(
            f"{folder} holds a model without {CHECKPOINT}, so it cannot be resumed; "
            f"name another folder with -o, and --init-from {folder} to begin with its weights"
        )


def hear(paths: Sequence[Path], sample_rate: int, say: Say) -> Clips:
    """The recordings of a source, and a line on each that is left out."""
    clips = load_clips(paths, sample_rate)
    for reason in clips.skipped:
        say(f"skipped {reason}")
    return clips


def describe(name: str, clips: Clips) -> str:
    """How much sound there is of a source."""
    return f"{name}: {clips.seconds:.0f} s of sound in {len(clips.waves)} files"


def run_training(trainee: Trainee, schedule: Schedule, folder: Path, keep: Keeper, resume: bool, say: Say) -> Path:
    """Train to the schedule's end and return the model's folder.

    Raises:
        KeyboardInterrupt: after Ctrl-C, once what was reached is saved.
    """
    say(f"the model goes to {folder}")
    with closing(keep.journal):
        run = train(
            trainee,
            schedule,
            folder / CHECKPOINT,
            resume=resume,
            on_step=say,
            on_checkpoint=keep,
            on_resume=lambda step: say(f"resumed from step {step}"),
        )
    say(f"ended by {run.outcome} at step {run.step}, after {run.seconds / 60:.1f} minutes")
    if run.outcome == "interrupted":
        raise KeyboardInterrupt
    return folder


def curve_of(run: Run) -> list[tuple[int, dict[str, float]]]:
    """A run's curve, with the interval under way."""
    return [*run.curve, (run.step, run.means())] if run.sums else run.curve
