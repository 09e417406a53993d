"""The loop: whatever ends a training, it continues to the same bytes from a checkpoint that is whole."""

from __future__ import annotations

import math
import os
import pickle
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from gansep.training.loop import Progress, Run, Schedule, load_checkpoint, save_checkpoint, thin, train
from gansep.training.prior import PriorTraining
from gansep.types import ModelError, OutputError, TrainingError

ROOT = Path(__file__).resolve().parents[2]
MakeTraining = Callable[..., PriorTraining]


@dataclass
class Counter:
    """The smallest trainee: its weight is the sum of the steps done; it goes bad when told to."""

    weight: Tensor = field(default_factory=lambda: torch.zeros(()))
    nan_at: int = -1
    ill_at: int = -1
    horizon: int | None = None
    steps: list[int] = field(default_factory=list)
    horizons: list[int | None] = field(default_factory=list)

    def step(self, number: int) -> dict[str, float]:
        self.steps.append(number)
        self.horizons.append(self.horizon)
        self.weight = self.weight + number
        return {"loss": math.nan if number == self.nan_at else float(number), "other": 1.0}

    def weights(self) -> dict[str, Tensor]:
        return {"weight": self.weight}

    def health(self) -> str | None:
        return "it is ill" if 0 <= self.ill_at <= self.steps[-1] else None

    def state_dict(self) -> dict[str, Any]:
        return {"weight": self.weight}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.weight = state["weight"]


def everything(training: PriorTraining) -> dict[str, Tensor]:
    return training.weights() | {f"now.{name}": value for name, value in training.nets.state_dict().items()}


def same_bytes(a: PriorTraining, b: PriorTraining) -> bool:
    ours, theirs = everything(a), everything(b)
    return set(ours) == set(theirs) and all(torch.equal(ours[name], theirs[name]) for name in ours)


# To the same bytes


@pytest.mark.parametrize("objective", ["default", "wgan-gp", "r3gan"])
def test_a_resumed_training_ends_with_the_same_bytes(
    tmp_path: Path, make_training: MakeTraining, objective: str
) -> None:
    whole, first, second = (make_training(objective, horizon=6) for _ in range(3))
    path = tmp_path / "checkpoint.pt"
    straight = train(whole, Schedule(6, checkpoint_every=2), tmp_path / "whole.pt")
    train(first, Schedule(3, checkpoint_every=2), path)
    assert not same_bytes(whole, first)
    run = train(second, Schedule(6, checkpoint_every=2), path, resume=True)
    assert same_bytes(whole, second)
    assert run.step == 6 and run.curve == straight.curve and [step for step, _ in run.curve] == [2, 4, 6]
    assert torch.equal(whole.random.get_state(), second.random.get_state())
    other = make_training(objective, seed=1, horizon=6)
    train(other, Schedule(6), tmp_path / "other.pt")
    assert not same_bytes(whole, other)


KILLED = """
import torch

torch.set_num_threads(1)  # sums depend on how many threads share them, and this process has one

import os, signal, sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from gansep.training.loop import Schedule, train
from tests.training.conftest import build_training
def die(progress):
    if progress.step == 4:
        os.kill(os.getpid(), signal.SIGKILL)
train(build_training("default"), Schedule(6, checkpoint_every=1), Path(sys.argv[1]), on_step=die)
"""


def test_a_killed_process_continues_to_the_same_bytes(tmp_path: Path, make_training: MakeTraining) -> None:
    path = tmp_path / "checkpoint.pt"
    done = subprocess.run([sys.executable, "-c", KILLED, str(path), str(ROOT)], capture_output=True, cwd=ROOT)
    assert done.returncode == -signal.SIGKILL, done.stderr
    resumed, whole = make_training("default"), make_training("default")
    assert load_checkpoint(resumed, path).step == 3  # it died after step 4, before that was saved
    train(resumed, Schedule(6, checkpoint_every=1), path, resume=True)
    train(whole, Schedule(6, checkpoint_every=1), tmp_path / "whole.pt")
    assert same_bytes(resumed, whole)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_training_saves_its_step_and_continues(
    tmp_path: Path, make_training: MakeTraining, number: signal.Signals
) -> None:
    path = tmp_path / "checkpoint.pt"
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)

    def interrupt(progress: Progress) -> None:
        if progress.step == 2:
            signal.raise_signal(number)

    first, second, whole = (make_training("default") for _ in range(3))
    run = train(first, Schedule(6), path, on_step=interrupt)
    assert run.outcome == "interrupted" and run.step in (2, 3)
    assert handlers == (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM))
    assert load_checkpoint(make_training("default"), path).step == run.step
    train(second, Schedule(6), path, resume=True)
    train(whole, Schedule(6), tmp_path / "whole.pt")
    assert same_bytes(second, whole)


def test_a_second_interrupt_stops_at_once(tmp_path: Path) -> None:
    def impatient(_: Progress) -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(Counter(), Schedule(6), tmp_path / "a.pt", on_step=impatient)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


# Checkpoints


def failing(*_: object) -> None:
    raise OSError("no space left on device")


@pytest.mark.parametrize("culprit", ["os.replace", "torch.save", "os.fsync"])
def test_a_crash_while_saving_leaves_the_old_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, culprit: str
) -> None:
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(Counter(torch.tensor(7.0)), Run(step=3), path)
    before = path.read_bytes()
    monkeypatch.setattr(culprit, failing)
    with pytest.raises(OutputError, match=r"the checkpoint cannot be written .*no space.*free some space"):
        save_checkpoint(Counter(torch.tensor(8.0)), Run(step=4), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    monkeypatch.undo()
    trainee = Counter()
    assert load_checkpoint(trainee, path).step == 3 and trainee.weight == 7
    save_checkpoint(Counter(torch.tensor(8.0)), Run(step=4), path)  # what the crash left is no obstacle
    assert load_checkpoint(trainee, path).step == 4
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_ends_it_and_keeps_the_checkpoint_before(tmp_path: Path) -> None:
    """No file may pass 100 kB, and at step 2 the weights do: writing fails as it does on a full disk."""
    path, trainee = tmp_path / "training" / "a.pt", Counter()

    def grow(progress: Progress) -> None:
        if progress.step == 2:
            trainee.weight = torch.zeros(1_000_000)

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(OutputError, match="the checkpoint cannot be written"):
            train(trainee, Schedule(3, checkpoint_every=1), path, on_step=grow)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(path.parent.iterdir()) == [path]
    assert load_checkpoint(Counter(), path).step == 1


def test_a_checkpoint_below_a_file_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"precious")
    with pytest.raises(OutputError, match="the checkpoint cannot be written"):
        save_checkpoint(Counter(), Run(step=1), tmp_path / "file" / "a.pt")
    assert (tmp_path / "file").read_bytes() == b"precious"


class Evil:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, ("touch evil-was-here",)


def foreign(path: Path) -> None:
    torch.save({"weights": torch.zeros(3)}, path)


def cut_short(path: Path) -> None:
    save_checkpoint(Counter(), Run(step=3), path)
    path.write_bytes(path.read_bytes()[:-200])


def other_kind(path: Path) -> None:
    save_checkpoint(Counter(), Run(step=3), path)


@pytest.mark.parametrize(
    "spoil",
    [
        foreign,
        cut_short,
        other_kind,
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"not a checkpoint" * 99),
        lambda path: path.write_bytes(pickle.dumps(Evil(), protocol=2)),
        lambda path: torch.save(Evil(), path),
    ],
    ids=["foreign", "cut short", "another trainee", "empty", "garbled", "pickle", "torch pickle"],
)
def test_a_checkpoint_that_is_none_is_one_line_and_runs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_training: MakeTraining, spoil: Callable[[Path], object]
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "checkpoint.pt"
    spoil(path)
    with pytest.raises(ModelError, match="does not continue this training") as error:
        train(make_training("default"), Schedule(6), path, resume=True)
    assert str(error.value).startswith(str(path)) and "\n" not in str(error.value)
    assert [file.name for file in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_a_checkpoint_of_other_settings_does_not_fit(tmp_path: Path, make_training: MakeTraining) -> None:
    path = tmp_path / "checkpoint.pt"
    train(make_training("r3gan"), Schedule(1), path)
    for other in (make_training("wgan-gp"), make_training("default"), make_training("r3gan", seed=1)):
        with pytest.raises(ModelError, match="other settings"):
            load_checkpoint(other, path)
    longer = make_training("r3gan", horizon=9)  # more steps are what resuming is for
    assert load_checkpoint(longer, path).step == 1


def test_no_checkpoint_is_a_fresh_start(tmp_path: Path) -> None:
    trainee, resumed = Counter(), []
    run = train(trainee, Schedule(3), tmp_path / "a.pt", resume=True, on_resume=resumed.append)
    assert trainee.steps == [0, 1, 2] and run.step == 3 and resumed == [0]


def test_a_training_that_had_ended_does_no_further_step(tmp_path: Path) -> None:
    path, saved = tmp_path / "a.pt", []
    train(Counter(), Schedule(3), path)
    before = path.read_bytes()
    trainee = Counter()
    run = train(trainee, Schedule(3), path, resume=True, on_checkpoint=lambda run: saved.append(run.step))
    assert not trainee.steps and trainee.weight == 0 + 1 + 2
    assert run.outcome == "steps" and saved == [3] and path.read_bytes() == before


# Going bad


def test_a_loss_that_is_not_finite_ends_it_and_keeps_the_checkpoint_before(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    with pytest.raises(
        TrainingError,
        match="step 6: the loss loss is not finite; the last checkpoint before it, if any, is kept; "
        "try another --seed or, where there is one, a smaller --rate",
    ):
        train(Counter(nan_at=5), Schedule(9, checkpoint_every=2), path)
    trainee = Counter()
    assert load_checkpoint(trainee, path).step == 4 and trainee.weight == 0 + 1 + 2 + 3


def test_failing_health_ends_it_and_keeps_the_checkpoint_before(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    with pytest.raises(TrainingError, match="step 6: it is ill; the last checkpoint before it, if any, is kept"):
        train(Counter(ill_at=4), Schedule(9, checkpoint_every=2), path)
    assert load_checkpoint(Counter(), path).step == 4


# Schedule, progress, curve


def test_minutes_stop_it_over_all_sessions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 10_000, 10))
    monkeypatch.setattr("time.monotonic", lambda: float(next(clock)))  # ten seconds a step
    path = tmp_path / "a.pt"
    run = train(Counter(), Schedule(minutes=1), path)
    assert (run.outcome, run.step, run.seconds) == ("minutes", 6, 60.0)
    run = train(Counter(), Schedule(minutes=2), path, resume=True)
    assert (run.outcome, run.step, run.seconds) == ("minutes", 12, 120.0)
    assert train(Counter(), Schedule(8, minutes=99), tmp_path / "b.pt").outcome == "steps"  # whichever comes first


@pytest.mark.parametrize(
    ("schedule", "seconds", "expected"),
    [
        (Schedule(minutes=1), [10] * 6, [None, 6, 6, 6, 6, 6]),
        (Schedule(100, 1), [10, 10, 20, 20], [100, 6, 6, 4]),  # twice 20 s, so that there is time for fewer
        (Schedule(100, 1), [30, 10, 10, 10], [100, 2, 3, 4]),  # faster than it began
        (Schedule(4, 1), [10] * 4, [4, 4, 4, 4]),  # steps end it before the clock does
        (Schedule(4), [10] * 4, [7, 7, 7, 7]),  # whoever made it has said so
    ],
)
def test_the_horizon_is_what_the_clock_allows(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    schedule: Schedule,
    seconds: list[int],
    expected: list[int | None],
) -> None:
    clock = iter([0, *accumulate(seconds)])
    monkeypatch.setattr("time.monotonic", lambda: float(next(clock)))
    trainee = Counter(horizon=7)
    assert train(trainee, schedule, tmp_path / "a.pt").step == len(seconds)
    assert trainee.horizons == expected


def test_a_resumed_training_knows_its_pace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 10_000, 10))
    monkeypatch.setattr("time.monotonic", lambda: float(next(clock)))  # ten seconds a step
    path = tmp_path / "a.pt"
    train(Counter(), Schedule(minutes=0.5), path)
    resumed = Counter()
    assert train(resumed, Schedule(minutes=2), path, resume=True).step == 12
    assert resumed.horizons == [12] * 9


def test_step_sizes_fall_before_the_time_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_training: MakeTraining
) -> None:
    """Six steps in the time there is, of a hundred: over the last third sizes fall as they would with six."""
    rates: dict[str, list[float]] = {}
    for name, schedule, horizon in (("clock", Schedule(100, 1), 100), ("steps", Schedule(6), 6)):
        clock, training = iter(range(0, 100, 10)), make_training("reconstruction", horizon=horizon)
        monkeypatch.setattr("time.monotonic", lambda clock=clock: float(next(clock)))

        def note(_: Progress, training: PriorTraining = training, name: str = name) -> None:
            rates.setdefault(name, []).append(training.player.param_groups[0]["lr"])

        train(training, schedule, tmp_path / f"{name}.pt", on_step=note)
    assert rates["clock"] == rates["steps"] and len(rates["clock"]) == 6
    assert rates["clock"][-1] == pytest.approx(0.55 * rates["clock"][0])


def test_progress_and_curve_are_means_since_the_last_checkpoint(tmp_path: Path) -> None:
    told: list[float] = []
    run = train(
        Counter(), Schedule(5, checkpoint_every=2), tmp_path / "a.pt", on_step=lambda p: told.append(p.losses["loss"])
    )
    assert told == [0.0, 0.5, 2.0, 2.5, 4.0]
    assert run.curve == [(2, {"loss": 0.5, "other": 1.0}), (4, {"loss": 2.5, "other": 1.0})]


def test_time_left_counts_steps_and_the_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for schedule, expected in ((Schedule(3), [20.0, 10.0, 0.0]), (Schedule(9, 0.5), [20.0, 10.0, 0.0])):
        clock, left = iter(range(0, 100, 10)), []
        monkeypatch.setattr("time.monotonic", lambda clock=clock: float(next(clock)))
        train(Counter(), schedule, tmp_path / "a.pt", on_step=lambda p, left=left: left.append(p.left))
        assert left == expected


def test_bad_schedules_are_refused() -> None:
    for steps, minutes, every in [(None, None, 9), (0, None, 9), (-3, None, 9), (None, 0, 9), (5, -1, 9), (5, None, 0)]:
        with pytest.raises(ValueError, match="got"):
            Schedule(steps, minutes, every)
    with pytest.raises(ValueError, match="got None and nan"):
        Schedule(minutes=math.nan)


@pytest.mark.parametrize("points", [0, 1, 2, 199, 200, 201, 399, 400, 401, 12_345])
def test_a_thin_curve_has_few_points_and_the_last(points: int) -> None:
    curve = [(step, {"loss": step / 3}) for step in range(10, 10 * points + 1, 10)]
    kept = thin(curve)
    assert len(kept) == points if points <= 200 else 100 < len(kept) <= 200
    if points:
        assert kept[-1] == {"step": 10 * points, "loss": round(10 * points / 3, 4)}
    assert len({b["step"] - a["step"] for a, b in pairwise(kept)}) <= 1  # even
