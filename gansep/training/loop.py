"""The training loop every model shares: step, log, check, checkpoint, resume, stop.

What is trained is a ``Trainee``: it has a ``step``, a ``state_dict`` that holds everything that changes (its random
generator too), ``weights`` to keep and a ``health`` check. A checkpoint is written to a temporary file, flushed to
the disk and renamed, so that a run killed at any moment continues from the last whole one, and to the same bytes.
"""

from __future__ import annotations

import math
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from gansep.types import ModelError, OutputError, TrainingError

CURVE_POINTS = 200


class Trainee(Protocol):
    """Something the loop can train; ``horizon`` is the number of steps there will be, ``None`` while unknown."""

    horizon: int | None

    def step(self, number: int) -> dict[str, float]: ...
    def weights(self) -> dict[str, Tensor]: ...
    def health(self) -> str | None: ...  # one line if the model has gone bad, else None
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


@dataclass(frozen=True)
class Schedule:
    """When to stop and how often to save: whichever of ``steps`` and ``minutes`` comes first."""

    steps: int | None = None
    minutes: float | None = None
    checkpoint_every: int = 500

    def __post_init__(self) -> None:
        if self.steps is None and self.minutes is None:
            raise ValueError("a schedule needs steps or minutes, got neither")
        if (self.steps is not None and self.steps < 1) or (self.minutes is not None and not self.minutes > 0):
            raise ValueError(f"steps and minutes must be above 0, got {self.steps} and {self.minutes}")
        if self.checkpoint_every < 1:
            raise ValueError(f"checkpoint_every must be at least 1, got {self.checkpoint_every}")


@dataclass
class Progress:
    """What a callback is told after every step: losses are means since the last checkpoint, times are seconds."""

    step: int
    losses: dict[str, float]
    elapsed: float
    left: float


@dataclass
class Run:
    """Where a training stands: what a checkpoint holds beside the trainee's own state.

    Attributes:
        step: steps done. seconds: spent on them, resumed runs included.
        curve: ``[step, {loss: mean}]`` per checkpoint interval.
        sums: total and count of every loss since the last point of the curve.
        outcome: ``steps``, ``minutes`` or ``interrupted``.
    """

    step: int = 0
    seconds: float = 0.0
    curve: list[tuple[int, dict[str, float]]] = field(default_factory=list)
    sums: dict[str, tuple[float, int]] = field(default_factory=dict)
    outcome: str = ""

    def add(self, losses: Mapping[str, float]) -> None:
        for name, value in losses.items():
            total, count = self.sums.get(name, (0.0, 0))
            self.sums[name] = total + value, count + 1

    def means(self) -> dict[str, float]:
        return {name: total / count for name, (total, count) in self.sums.items()}


def train(
    trainee: Trainee,
    schedule: Schedule,
    checkpoint: Path,
    *,
    resume: bool = False,
    on_step: Callable[[Progress], None] | None = None,
    on_checkpoint: Callable[[Run], None] | None = None,
    on_resume: Callable[[int], None] | None = None,
) -> Run:
    """Train until the schedule ends or Ctrl-C; the last checkpoint is always that of the last good step.

    Args:
        trainee: what to train; it is changed in place.
        schedule: when to stop and to save.
        checkpoint: file to save to.
        resume: continue from ``checkpoint`` if it exists.
        on_step: told after every step.
        on_checkpoint: called after every checkpoint, with health already checked.
        on_resume: told the step that ``resume`` continues from, 0 where there is no checkpoint.
    Raises:
        TrainingError: a loss that is not finite, or a model that failed its health check; the checkpoint before
            that is kept.
        ModelError: a checkpoint that cannot be read.
    """
    run = load_checkpoint(trainee, checkpoint) if resume else Run()
    if resume and on_resume:
        on_resume(run.step)
    if run.step:  # a run that had ended already only hands over its result again
        run.outcome = _outcome(run, schedule, False)
        if run.outcome and on_checkpoint:
            on_checkpoint(run)
    start = time.monotonic() - run.seconds
    with _interruptible() as interrupted:
        while not run.outcome:
            if schedule.minutes is not None:
                trainee.horizon = _horizon(run, schedule, schedule.minutes)
            losses = trainee.step(run.step)
            run.step += 1
            _check_finite(losses, run.step)
            run.add(losses)
            run.seconds = time.monotonic() - start
            run.outcome = _outcome(run, schedule, bool(interrupted))
            if on_step:
                on_step(Progress(run.step, run.means(), run.seconds, _time_left(run, schedule)))
            point = run.step % schedule.checkpoint_every == 0
            if point or run.outcome:
                if trouble := trainee.health():
                    raise TrainingError(f"step {run.step}: {trouble}; the last checkpoint before it, if any, is kept")
                if point:
                    run.curve.append((run.step, run.means()))
                    run.sums = {}
                save_checkpoint(trainee, run, checkpoint)
                if on_checkpoint:
                    on_checkpoint(run)
    return run


def _check_finite(losses: Mapping[str, float], step: int) -> None:
    bad = [name for name, value in losses.items() if not math.isfinite(value)]
    if bad:
        raise TrainingError(
            f"step {step}: the {bad[0]} loss is not finite; the last checkpoint before it, if any, is kept; "
            "try another --seed or, where there is one, a smaller --rate"
        )


def _outcome(run: Run, schedule: Schedule, interrupted: bool) -> str:
    if interrupted:
        return "interrupted"
    if schedule.steps is not None and run.step >= schedule.steps:
        return "steps"
    if schedule.minutes is not None and run.seconds >= 60 * schedule.minutes:
        return "minutes"
    return ""


def _horizon(run: Run, schedule: Schedule, minutes: float) -> int | None:
    """Steps there will be if they go on as they went, so that step sizes fall before the time is over."""
    if not run.seconds:
        return schedule.steps
    by_clock = max(1, round(run.step * 60 * minutes / run.seconds))
    return by_clock if schedule.steps is None else min(schedule.steps, by_clock)


def _time_left(run: Run, schedule: Schedule) -> float:
    by_steps = math.inf if schedule.steps is None else (schedule.steps - run.step) * run.seconds / run.step
    by_clock = math.inf if schedule.minutes is None else 60 * schedule.minutes - run.seconds
    return max(0.0, min(by_steps, by_clock))


@contextmanager
def _interruptible() -> Iterator[list[int]]:
    """Turn Ctrl-C and SIGTERM into an entry of the list that is handed out, so that a step is never cut in two.

    A second Ctrl-C is a KeyboardInterrupt again. Threads other than the main one cannot set handlers and run as is.
    """
    caught: list[int] = []

    def note(number: int, _: Any) -> None:
        if caught:
            raise KeyboardInterrupt
        caught.append(number)

    try:
        before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:
        before = {}
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def save_checkpoint(trainee: Trainee, run: Run, path: Path) -> None:
    """Write everything that changes to ``path``, whole or not at all."""
    state = {"trainee": trainee.state_dict(), "step": run.step, "seconds": run.seconds}
    state |= {"curve": run.curve, "sums": run.sums}
    temporary = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except (OSError, RuntimeError) as error:  # torch's own writer raises RuntimeError on a full disk
        with suppress(OSError):  # a place that cannot be
            temporary.unlink(missing_ok=True)
        raise OutputError(
            f"{path}: the checkpoint cannot be written ({error}); free some space, then --resume"
        ) from error


def load_checkpoint(trainee: Trainee, path: Path) -> Run:
    """Put ``trainee`` back to where ``path`` left it; a fresh ``Run`` if there is no such file.

    Raises:
        ModelError: not a checkpoint of this kind of training.
    """
    if not path.exists():
        return Run()
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        trainee.load_state_dict(state["trainee"])
        return Run(state["step"], state["seconds"], state["curve"], state["sums"])
    except Exception as error:  # torch raises half a dozen kinds for a damaged or foreign file
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ModelError(
            f"{path} does not continue this training ({reason}); keep to those, or begin anew with another -o"
        ) from error


def thin(curve: list[tuple[int, dict[str, float]]]) -> list[dict[str, float]]:
    """At most 200 points of a curve, evenly chosen, as a card keeps them: ``{"step": ..., loss: ...}``."""
    stride = max(1, math.ceil(len(curve) / CURVE_POINTS))
    kept = curve[::-1][::stride][::-1]
    return [{"step": step} | {name: round(value, 4) for name, value in losses.items()} for step, losses in kept]
