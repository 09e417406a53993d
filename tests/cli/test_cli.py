"""The command itself: quick help, one line an error, exit codes, progress as a bar, as JSON or not at all."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gansep import __version__
from gansep.cli import doctor, main
from gansep.cli.common import add_common, reporter, show
from gansep.types import GansepError, OutputError

RunGansep = Callable[..., subprocess.CompletedProcess[str]]
ROOT = Path(__file__).resolve().parents[2]


def parse(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_common(parser, out="the result")
    return parser.parse_args(arguments)


def test_help_is_quick(run_gansep: RunGansep) -> None:
    seconds = []
    for _ in range(5):  # the best of five: the machine may be busy
        start = time.perf_counter()
        done = run_gansep("--help")
        seconds.append(time.perf_counter() - start)
        assert done.returncode == 0
    assert min(seconds) < 0.3
    for verb in ("train-prior", "separate", "priors", "doctor"):
        assert verb in done.stdout


@pytest.mark.parametrize("verb", ["train-prior", "separate", "priors", "doctor"])
def test_every_verb_has_the_shared_flags(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([verb, "--help"])
    assert stop.value.code == 0
    said = capsys.readouterr().out
    for flag in ("-o PATH", "--library", "--device", "--seed", "--progress", "--quiet", "--verbose"):
        assert flag in said


def test_help_imports_nothing_heavy() -> None:
    code = "import sys, gansep.cli; gansep.cli.build_parser().format_help(); "
    code += "print(*{'torch', 'numpy', 'tqdm', 'soundfile', 'safetensors'} & set(sys.modules))"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.strip() == ""


def test_version(run_gansep: RunGansep) -> None:
    assert run_gansep("--version").stdout == f"gansep {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["priors", "show", "nobody"], "nobody"),
        (["priors", "--library", "nowhere"], "nowhere: no such library folder"),
        (["priors", "--seed", "x"], "invalid int value: 'x'; see gansep priors --help"),
        (["priors", "--no-such-flag"], "unrecognized arguments: --no-such-flag"),
        (["unmix"], "invalid choice: 'unmix'"),
    ],
)
def test_errors_are_one_line(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("gansep: error: ")
    assert said in err
    assert err.count("\n") == 1


def test_verbose_shows_where_an_error_comes_from(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["priors", "show", "nobody", "-v"]) == 2
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert err.splitlines()[-1].startswith("gansep: error: ")


def test_no_verb_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "usage: gansep" in capsys.readouterr().err


def test_ctrl_c_and_lines_in_messages(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fail_with(error: BaseException) -> None:
        def fail(*_: object) -> None:
            raise error

        monkeypatch.setattr(doctor, "show", fail)

    fail_with(KeyboardInterrupt())
    assert main(["doctor"]) == 130
    assert capsys.readouterr().err == "gansep: interrupted\n"
    fail_with(GansepError("one\n  two"))
    assert main(["doctor"]) == 2
    assert capsys.readouterr().err == "gansep: error: one two\n"


@pytest.mark.skipif(os.name == "nt", reason="pipes break in another way there")
def test_a_reader_that_goes_away(tiny_library: Path) -> None:
    command = [sys.executable, "-m", "gansep", "priors", "--library", str(tiny_library)]
    read_end, write_end = os.pipe()
    os.close(read_end)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, stdout=write_end, stderr=subprocess.PIPE, text=True, env=environment)
    os.close(write_end)
    assert (done.returncode, done.stderr) == (1, "")


def test_progress_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    with reporter(parse("--progress", "json"), "training", "step") as progress:
        for step in range(1000):
            progress.update(step + 1, 1000, loss=0.5)
        progress.say("half of it")
    out, err = capsys.readouterr()
    lines = [json.loads(line) for line in err.splitlines()]
    assert out == ""
    assert lines[0] == {"task": "training", "unit": "step", "done": 1, "total": 1000, "loss": 0.5}
    assert {"task": "training", "unit": "step", "note": "half of it"} in lines
    assert lines[-1]["done"] == 1000
    assert len(lines) < 20


def test_progress_as_a_bar(capsys: pytest.CaptureFixture[str]) -> None:
    with reporter(parse(), "training", "step") as progress:
        progress.say("before")
        progress.update(100, 200, loss=0.5)
        progress.say("between")
        progress.update(200, 200, loss=0.25)
    out, err = capsys.readouterr()
    assert out == ""
    assert "before\n" in err
    assert "between\n" in err
    assert "200/200" in err
    assert "loss=0.25" in err


@pytest.mark.parametrize(("flags", "said"), [(["--progress", "none"], "a note\n"), (["--quiet"], "")])
def test_no_progress(flags: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with reporter(parse(*flags), "training") as progress:
        progress.update(1, 2)
        progress.say("a note")
    assert capsys.readouterr() == ("", said)


def test_results_go_to_a_file_if_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    show("ä", tmp_path / "new" / "answer.txt")
    assert (tmp_path / "new" / "answer.txt").read_text(encoding="utf-8") == "ä\n"
    assert capsys.readouterr().out == ""
    with pytest.raises(OutputError, match="cannot be written"):
        show("ä", tmp_path / "new")
