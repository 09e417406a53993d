"""A training's folder: whose it is, what is heard for it, and what Ctrl-C leaves in it."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from gansep.audio import write
from gansep.training.data import load_clips
from gansep.training.journal import Journal
from gansep.training.loop import Progress, Run, Schedule
from gansep.training.session import as_list, claim, curve_of, describe, hear, name_of, run_training
from gansep.types import DataError, ModelError, OutputError, TrainingError


@dataclass
class Counter:
    """The smallest trainee: its weight is the sum of the steps done."""

    weight: Tensor = field(default_factory=lambda: torch.zeros(()))
    ill: bool = False

    def step(self, number: int) -> dict[str, float]:
        self.weight = self.weight + number
        return {"loss": float(number)}

    def weights(self) -> dict[str, Tensor]:
        return {"weight": self.weight}

    def health(self) -> str | None:
        return "it is ill" if self.ill else None

    def state_dict(self) -> dict[str, Any]:
        return {"weight": self.weight}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.weight = state["weight"]


class Keeper:
    """Notes the steps it was called at, and whether its journal was closed."""

    def __init__(self, folder: Path) -> None:
        self.kept: list[int] = []
        self.closed = 0
        keeper = self

        class Noted(Journal):
            def close(self) -> None:
                keeper.closed += 1
                super().close()

        self.journal: Journal = Noted(folder, 8000)

    def __call__(self, run: Run) -> None:
        self.kept.append(run.step)


# Names


def test_one_path_or_several() -> None:
    assert as_list("a/b") == [Path("a/b")]
    assert as_list(Path("a/b")) == [Path("a/b")]
    assert as_list(["a", Path("b")]) == [Path("a"), Path("b")]
    assert as_list(()) == []


def test_a_source_is_called_as_its_first_folder_or_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "drums v1.2"
    folder.mkdir()
    monkeypatch.chdir(folder)
    assert name_of([folder, tmp_path]) == "drums v1.2"
    assert name_of([Path()]) == name_of([Path("../drums v1.2/")]) == "drums v1.2"
    (folder / "snare.01.wav").touch()
    assert name_of([Path("snare.01.wav"), tmp_path]) == "snare.01"
    assert name_of([tmp_path / "missing.wav"]) == "missing"


# The folder


def test_a_folder_that_is_free_may_be_claimed(tmp_path: Path) -> None:
    claim(tmp_path / "new" / "model")
    claim(tmp_path)
    assert not (tmp_path / "new").exists()  # nothing is made before there is something to keep
    claim(tmp_path, resume=True)
    (tmp_path / "card.json").write_text("{}")
    with pytest.raises(OutputError) as error:
        claim(tmp_path)
    expected = f"{tmp_path} holds a model already; go on with --resume, remove it, or name another with -o"
    assert str(error.value) == expected


def test_a_finished_model_is_resumed_only_from_its_checkpoint(tmp_path: Path) -> None:
    run_training(Counter(), Schedule(2), tmp_path, Keeper(tmp_path / "training"), False, lambda event: None)
    (tmp_path / "card.json").write_text("{}")
    claim(tmp_path, resume=True)
    (tmp_path / "training" / "checkpoint.pt").unlink()
    with pytest.raises(OutputError) as error:
        claim(tmp_path, resume=True)
    expected = f"{tmp_path} holds a model without training/checkpoint.pt, so it cannot be resumed; "
    assert str(error.value) == expected + (
        f"name another folder with -o, and --init-from {tmp_path} to begin with its weights"
    )


@pytest.mark.parametrize("resume", [False, True])
def test_a_place_that_cannot_be_written(tmp_path: Path, resume: bool) -> None:
    (tmp_path / "file").write_text("precious")
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OutputError) as error:
            claim(place, resume)
        assert str(error.value) == f"{place}: the model cannot be written there; name another folder with -o"
    assert (tmp_path / "file").read_text() == "precious"


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_is_read_only(tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(0o500)
    with pytest.raises(OutputError, match="cannot be written there"):
        claim(tmp_path / "locked" / "model")


# The sounds


def test_what_is_heard_and_what_is_left_out(tmp_path: Path) -> None:
    noise = 0.1 * torch.randn(1, 4 * 8000, generator=torch.Generator().manual_seed(0))
    write(tmp_path / "a.wav", noise, 8000)
    write(tmp_path / "b.wav", noise[:, : 3 * 8000], 8000)
    write(tmp_path / "silent.wav", 0 * noise, 8000)
    (tmp_path / "text.wav").write_text("no sound")
    events: list[Progress | str] = []
    clips = hear([tmp_path], 8000, events.append)
    assert clips.sha256 == load_clips([tmp_path], 8000).sha256
    assert [line.split(": ")[0] for line in map(str, events)] == [
        f"skipped {tmp_path / name}" for name in ("silent.wav", "text.wav")
    ]
    assert describe("hiss", clips) == "hiss: 7 s of sound in 2 files"
    with pytest.raises(DataError, match="no such file or folder"):
        hear([tmp_path / "missing"], 8000, events.append)


# The run


def test_a_run_to_its_end(tmp_path: Path) -> None:
    events: list[Progress | str] = []
    counter, keeper = Counter(), Keeper(tmp_path / "training")
    folder = run_training(counter, Schedule(5, checkpoint_every=2), tmp_path, keeper, False, events.append)
    assert folder == tmp_path
    assert (float(counter.weight), keeper.kept, keeper.closed) == (10, [2, 4, 5], 1)
    assert [event.step for event in events if isinstance(event, Progress)] == [1, 2, 3, 4, 5]
    assert events[0] == f"the model goes to {tmp_path}"
    assert events[-1] == "ended by steps at step 5, after 0.0 minutes"
    again, keeper = Counter(), Keeper(tmp_path / "training")
    run_training(again, Schedule(7, checkpoint_every=2), tmp_path, keeper, True, events.append)
    assert (float(again.weight), keeper.kept) == (21, [6, 7])
    assert "resumed from step 5" in events


def test_ctrl_c_is_passed_on_once_all_is_saved(tmp_path: Path) -> None:
    events: list[Progress | str] = []

    def say(event: Progress | str) -> None:
        events.append(event)
        if isinstance(event, Progress) and event.step == 3:
            signal.raise_signal(signal.SIGINT)

    keeper = Keeper(tmp_path / "training")
    with pytest.raises(KeyboardInterrupt):
        run_training(Counter(), Schedule(9, checkpoint_every=5), tmp_path, keeper, False, say)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    (done,) = keeper.kept
    assert done in (3, 4) and keeper.closed == 1
    assert events[-1] == f"ended by interrupted at step {done}, after 0.0 minutes"
    whole, keeper = Counter(), Keeper(tmp_path / "training")
    run_training(whole, Schedule(9, checkpoint_every=5), tmp_path, keeper, True, events.append)
    assert f"resumed from step {done}" in events
    assert float(whole.weight) == sum(range(9))


def test_the_journal_is_closed_whatever_happens(tmp_path: Path) -> None:
    keeper = Keeper(tmp_path / "training")
    with pytest.raises(TrainingError, match="step 2: it is ill"):
        run_training(Counter(ill=True), Schedule(5, checkpoint_every=2), tmp_path, keeper, False, lambda event: None)
    assert (keeper.kept, keeper.closed) == ([], 1)
    (tmp_path / "training" / "checkpoint.pt").write_bytes(b"no checkpoint")
    keeper = Keeper(tmp_path / "training")
    with pytest.raises(ModelError, match="does not continue this training"):
        run_training(Counter(), Schedule(5), tmp_path, keeper, True, lambda event: None)
    assert keeper.closed == 1


def test_a_curve_has_the_interval_under_way() -> None:
    run = Run(curve=[(2, {"loss": 3.0})])
    assert curve_of(run) == [(2, {"loss": 3.0})]
    run.step = 4
    run.add({"loss": 1.0})
    run.add({"loss": 2.0})
    assert curve_of(run) == [(2, {"loss": 3.0}), (4, {"loss": 1.5})]
    assert run.curve == [(2, {"loss": 3.0})]
