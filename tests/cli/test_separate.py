"""``gansep separate``: what it prints, writes and refuses, and its exit codes."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from gansep.audio import read
from gansep.backends.gan_prior import QUALITIES as KNOWN_QUALITIES
from gansep.backends.gan_prior import RECIPES as KNOWN_RECIPES
from gansep.cli import main
from gansep.cli.separate import QUALITIES, RECIPES
from gansep.library import Card, save_model
from gansep.library import search as search_module
from gansep.nets.listener import Listener
from gansep.nets.spectral import NetConfig
from gansep.nets.wavegan import PriorConfig
from gansep.results import FORMATS

Capture = pytest.CaptureFixture[str]
RunGansep = Callable[..., "subprocess.CompletedProcess[str]"]
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_module, "_packaged", lambda: tmp_path / "packaged")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def separate(tiny_library: Path) -> Callable[..., int]:
    def run(*arguments: str | Path, quality: str = "fast") -> int:
        flags = ["--library", str(tiny_library), "--quality", quality, "--progress", "none"]
        return main(["separate", *map(str, arguments), *flags])

    return run


Separate = Callable[..., int]


def sound(name: str, frames: int = 4000, rate: int = 16000, peak: float = 0.5) -> Path:
    wave = np.random.default_rng(len(name)).uniform(-peak, peak, frames)
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(name, wave, rate, "FLOAT" if peak > 1 else "PCM_16", format=Path(name).suffix[1:])
    return Path(name)


def files(folder: str | Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("*"))


RESULTS = ["hiss.wav", "residual.wav", "separation.json", "separation.png", "tone.wav"]


def test_flags_offer_what_there_is() -> None:
    assert set(QUALITIES) == set(KNOWN_QUALITIES)
    assert set(RECIPES) == set(KNOWN_RECIPES)
    assert set(FORMATS) == {"wav", "flac"}


def test_the_main_job(separate: Separate, capsys: Capture, make_prior: Callable[..., Path]) -> None:
    make_prior(Path("packaged"), "other", seed=9)  # where one is left out, the choice can be more or less sure
    assert separate(sound("mix.wav", 20_000), "-k", "2") == 0
    written = files("separated")
    stems = {Path(name).stem for name in written if name.endswith(".wav")}
    assert len(written) == 1 + len(RESULTS) and len(stems & {"tone", "hiss", "other"}) == 2
    out, err = capsys.readouterr()
    assert err == ""
    lines = out.splitlines()
    assert lines[0].startswith("mix.wav: ")
    sure = re.findall(r"(\w+) \((\d+)% sure, about (-?\d+) dB\)", lines[0])
    assert "the priors explain " in lines[0]
    assert {line.split()[0] for line in lines[1:]} == {f"separated/mix/{name}.wav" for name in stems}
    report = json.loads(Path("separated/mix/separation.json").read_text())
    expected = {
        (name, f"{source['confidence']:.0%}"[:-1], f"{source['expected_si_sdr_db']:.0f}")
        for name, source in report["sources"].items()
    }
    assert set(sure) == expected and len(expected) == 2
    assert report["input"] == "mix.wav"
    assert all(Path("separated/mix", name).exists() for name in report["files"].values())
    parts = [read(f"separated/mix/{name}")[0] for name in report["files"].values()]
    torch.testing.assert_close(sum(parts), read("mix.wav")[0], atol=1e-4, rtol=0)


def test_sources_that_are_named_are_not_doubted(separate: Separate, capsys: Capture) -> None:
    assert separate(sound("mix.wav"), "--sources", "tone,hiss", "--no-picture") == 0
    line = capsys.readouterr().out.splitlines()[0]
    assert re.match(r"mix.wav: tone \(about -?\d+ dB\), hiss \(about -?\d+ dB\); the priors explain \d+% of it", line)


def test_windows_like_nothing_they_know_are_counted(
    separate: Separate, capsys: Capture, make_prior: Callable[..., Path]
) -> None:
    """The listener of both takes everything for something unknown."""
    ears = Listener(NetConfig(outputs=4, width=16, depth=1, n_fft=256, hop=128))
    weights = {name: value.clone() for name, value in ears.state_dict().items()}
    weights["net.trunk.up.0.conv.conv.weight"].zero_()
    weights["net.trunk.up.0.conv.conv.bias"].fill_(-20.0)
    card = Card("common", ears.config.to_json(), 16000, None, ("a", "b"), kind="listener")
    save_model(Path("lost/listener/common"), weights, card)
    config = PriorConfig(dim=1, latent=16, width=16, listener="common")
    folders = [make_prior(Path("lost"), name, config=config) for name in ("a", "b")]
    mix = sound("mix.wav", 30_000)
    assert separate(mix, "--sources", ",".join(map(str, folders)), "--no-picture") == 0
    line = capsys.readouterr().out.splitlines()[0]
    assert line.endswith("0% of it; 3 windows are like nothing they know and shared out equally")
    assert json.loads(Path("separated/mix/separation.json").read_text())["windows"]["failed"] == [0, 1, 2]
    for name in ("a", "b"):
        torch.testing.assert_close(read(f"separated/mix/{name}.wav")[0], read(mix)[0] / 2, atol=1e-4, rtol=0)


def test_gain_is_said(separate: Separate, capsys: Capture) -> None:
    assert separate(sound("mix.wav", peak=4.0), "--sources", "tone,hiss", "--no-picture") == 0
    gain = json.loads(Path("separated/mix/separation.json").read_text())["output_gain"]
    assert 0.2 < gain < 1
    assert f"all of them at {gain:.3f} of the input's level, so that nothing clips" in capsys.readouterr().out
    assert separate("mix.wav", "--sources", "tone,hiss", "--no-picture", "--float32", "--overwrite") == 0
    assert "clips" not in capsys.readouterr().out
    assert soundfile.info("separated/mix/tone.wav").subtype == "FLOAT"


def test_silence_is_said(separate: Separate, capsys: Capture) -> None:
    assert separate(sound("mix.wav", peak=0.0), "-k", "2") == 0
    assert "mix.wav: the input is silent, and so are the stems" in capsys.readouterr().out
    assert read("separated/mix/tone.wav")[0].abs().max() == 0


def test_forms_and_places(separate: Separate) -> None:
    mix = sound("mix.wav")
    flags = ["--sources", "tone, hiss", "--format", "flac", "--no-picture", "-o", "new/out"]
    assert separate(mix, *flags, "--filename", "{source}-of-{mix}.{ext}") == 0
    stems = [f"{name}-of-mix.flac" for name in ("hiss", "residual", "tone")]
    assert files("new/out") == sorted([*stems, "separation-of-mix.json"])
    assert soundfile.info("new/out/tone-of-mix.flac").format == "FLAC"


def test_raw_differs(separate: Separate) -> None:
    mix = sound("mix.wav")
    assert separate(mix, "--sources", "tone,hiss", "--no-picture") == 0
    masked = Path("separated/mix/tone.wav").read_bytes()
    assert separate(mix, "--sources", "tone,hiss", "--no-picture", "--raw", "--overwrite") == 0
    assert Path("separated/mix/tone.wav").read_bytes() != masked
    assert json.loads(Path("separated/mix/separation.json").read_text())["settings"]["refinement"] is None


def test_same_masks_in_stereo(separate: Separate, capsys: Capture) -> None:
    left, right = (soundfile.read(sound(name))[0] for name in ("left.wav", "on the right.wav"))
    soundfile.write("mix.wav", np.stack([left + 0.2 * right, 0.3 * left + right], 1) / 2, 16000)
    for flags in ((), ("--same-masks",)):
        assert separate("mix.wav", "--sources", "tone,hiss", "--no-picture", "--overwrite", *flags) == 0
        settings = json.loads(Path("separated/mix/separation.json").read_text())["settings"]
        assert settings["rounds"] == (0 if flags else 8)
    assert separate("mix.wav", "--sources", "tone,hiss", "--same-masks", "--raw") == 2
    assert "--same-masks is of masks; --raw has none" in capsys.readouterr().err


def test_folders_and_patterns(separate: Separate, capsys: Capture) -> None:
    for name in ("in/1.wav", "in/deep/2.wav", "in/3.wav", "odd [1].wav"):
        sound(name)
    Path("in/notes.txt").write_text("no sound")
    assert separate("in", "odd [1].wav", "--sources", "tone", "--no-picture", "-o", "a") == 0
    assert [path.name for path in sorted(Path("a").iterdir())] == ["1", "2", "3", "odd [1]"]
    assert separate("in/*.wav", "--sources", "tone", "--no-picture", "-o", "b") == 0
    assert [path.name for path in sorted(Path("b").iterdir())] == ["1", "3"]
    assert separate("in/**/2.wav", "--sources", "tone", "--no-picture", "-o", "c") == 0
    assert [path.name for path in sorted(Path("c").iterdir())] == ["2"]
    capsys.readouterr()
    Path("hollow").mkdir()
    assert separate("in/*.flac", "hollow", "--sources", "tone", "-o", "d") == 2
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("gansep: error: in/*.flac: ")
    assert second.startswith("gansep: error: hollow: no sound files in this folder")
    assert not Path("d").exists()
    assert separate("in/*.flac", "hollow", "in/1.wav", "--sources", "tone", "--no-picture", "-o", "d") == 1
    out, err = capsys.readouterr()
    assert out.startswith("in/1.wav: ") and err.count("\n") == 2
    assert [path.name for path in Path("d").iterdir()] == ["1"]


def test_results_in_the_input_folder_are_no_inputs(separate: Separate, capsys: Capture) -> None:
    sound("in/1.wav")
    for flags in ([], ["--overwrite"]):
        assert separate("in", "--sources", "tone", "--no-picture", "-o", "in/parts", *flags) == 0
        assert [path.name for path in Path("in/parts").iterdir()] == ["1"]
    assert separate("in", "--sources", "tone", "--no-picture", "-o", ".") == 0  # beside and above the inputs
    assert Path("1/tone.wav").exists()
    capsys.readouterr()
    assert separate("in", "--sources", "tone", "--dry-run", "-o", "in/parts") == 0
    assert capsys.readouterr().out == "in/1.wav -> in/parts/1/tone.wav\n"


def test_odd_names_stay_in_the_output_folder(separate: Separate) -> None:
    for name in ("...wav", "a..wav", ".b.wav"):
        sound(name)
    assert separate("...wav", "a..wav", ".b.wav", "--sources", "tone", "--no-picture", "-o", "out/deep") == 0
    assert sorted(path.name for path in Path("out/deep").iterdir()) == ["a", "b", "mix"]
    assert [path.name for path in Path("out").iterdir()] == ["deep"]


def test_dry_run_writes_nothing(separate: Separate, capsys: Capture) -> None:
    sound("mix.wav")
    before = files(".")
    assert separate("mix.wav", "-k", "1", "--dry-run") == 0
    assert files(".") == before
    (line,) = capsys.readouterr().out.splitlines()
    assert line in ("mix.wav -> separated/mix/tone.wav", "mix.wav -> separated/mix/hiss.wav")
    flags = ["-o", "new", "--filename", "{source}/{mix}.{ext}", "--format", "flac", "--dry-run"]
    assert separate("mix.wav", "--sources", "tone,hiss", *flags) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["mix.wav -> new/tone/mix.flac", "mix.wav -> new/hiss/mix.flac"]
    assert separate("mix.wav", "missing.wav", "--sources", "tone,hiss", "--dry-run") == 1
    assert files(".") == before
    assert separate("missing.wav", "--sources", "tone,hiss", "--dry-run") == 2


def test_jobs(separate: Separate, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    wanted: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", wanted.append)
    assert separate(sound("mix.wav"), "--sources", "tone", "--no-picture", "--jobs", "3") == 0
    assert wanted == [3]
    capsys.readouterr()
    assert separate("mix.wav", "--sources", "tone", "--jobs", "0") == 2
    assert capsys.readouterr().err == "gansep: error: --jobs must be at least 1, got 0\n"


def test_steps_and_seconds_reach_the_search(separate: Separate) -> None:
    flags = ["--steps", "2", "--restarts", "3", "--max-seconds", "50", "--seed", "9"]
    assert separate(sound("mix.wav"), "--sources", "tone", "--no-picture", *flags) == 0
    settings = json.loads(Path("separated/mix/separation.json").read_text())["settings"]
    recipe = settings["recipe"]
    assert (recipe["settings"]["steps"], recipe["restarts"], recipe["seed"]) == (2, 3, 9)
    assert recipe["settings"]["seconds"] == 50


def test_progress_counts_windows(tiny_library: Path, capsys: Capture) -> None:
    sound("mix.wav", 16_384 * 3)
    flags = ["--library", str(tiny_library), "--quality", "fast", "--sources", "tone", "--no-picture"]
    assert main(["separate", "mix.wav", *flags, "--progress", "json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert lines[-1] == {"task": "separate", "unit": "window", "done": 5, "total": 5}


# -- what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "say either how many sources to find"),
        (["-k", "2", "--sources", "tone"], "say either how many sources to find"),
        (["-k", "0"], "k must be at least 1, got 0"),
        (["-k", "two"], "argument -k: invalid int value: 'two'"),
        (["-k", "9"], "k = 9 needs 9 priors, installed: hiss, tone; train more"),
        (["--sources", "tone,nobody"], "no gan model 'nobody'"),
        (["--sources", "tone,"], "no gan model ''"),
        (["--sources", ""], "no gan model ''"),
        (["--sources", "tone,tone"], "each source may be named once"),
        (["--sources", "tone,gan/tone"], "sources need names of their own"),
        (["-k", "1", "--steps", "-1"], "steps must be at least 0"),
        (["-k", "1", "--restarts", "0"], "restarts must be at least 1"),
        (["-k", "1", "--max-seconds", "0"], "max seconds must be above 0"),
        (["-k", "1", "--max-seconds", "nan"], "max seconds must be above 0"),
        (["-k", "1", "--format", "mp3"], "invalid choice: 'mp3'"),
        (["-k", "1", "--format", "flac", "--float32"], "flac has no float samples"),
        (["-k", "1", "--filename", "{source}.wav"], "must be a relative path with {mix} and {source}"),
        (["-k", "1", "--filename", "../{mix}/{source}"], "must be a relative path with {mix} and {source}"),
        (["-k", "1", "--filename", "{mix.x}{source}"], "must be a relative path with {mix} and {source}"),
        (["-k", "1", "--device", "abacus"], "device 'abacus' is not available"),
    ],
)
def test_bad_usage(separate: Separate, capsys: Capture, arguments: list[str], said: str) -> None:
    sound("mix.wav")
    assert separate("mix.wav", *arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("gansep: error: ")
    assert said in err
    assert err.count("\n") == 1
    assert files(".") == ["mix.wav"]


def test_bad_files_beside_good_ones(separate: Separate, capsys: Capture) -> None:
    Path("text.wav").write_text("once upon a time")
    Path("empty.wav").touch()
    bad = ["missing.wav", "text.wav", "empty.wav"]
    assert separate(*bad, "--sources", "tone") == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert [line.split(": ")[:3] for line in err.splitlines()] == [["gansep", "error", name] for name in bad]
    assert files(".") == ["empty.wav", "text.wav"]
    assert separate(sound("good.wav"), *bad, "--sources", "tone", "--no-picture") == 1
    out, err = capsys.readouterr()
    assert "separated/good/tone.wav" in out
    assert len(err.splitlines()) == 3
    assert [path.name for path in Path("separated").iterdir()] == ["good"]


def test_existing_results(separate: Separate, capsys: Capture) -> None:
    sound("mix.wav")
    assert separate("mix.wav", "--sources", "tone", "--no-picture") == 0
    before = Path("separated/mix/tone.wav").read_bytes()
    capsys.readouterr()
    sound("mix.wav", 6000)
    assert separate("mix.wav", "--sources", "tone", "--no-picture") == 2
    assert "separated/mix/tone.wav exists already; use --overwrite" in capsys.readouterr().err
    assert Path("separated/mix/tone.wav").read_bytes() == before
    assert separate("mix.wav", "--sources", "tone", "--no-picture", "--overwrite") == 0
    assert soundfile.info("separated/mix/tone.wav").frames == 6000
    assert files("separated") == ["mix", "mix/residual.wav", "mix/separation.json", "mix/tone.wav"]


def test_output_that_cannot_be_written(separate: Separate, capsys: Capture) -> None:
    sound("mix.wav")
    Path("file").write_bytes(b"precious")
    Path("out").mkdir()
    Path("out/mix").write_bytes(b"precious")
    for place in ("file", "file/below", "out"):
        assert separate("mix.wav", "--sources", "tone", "--no-picture", "-o", place) == 2
        err = capsys.readouterr().err
        assert err.startswith("gansep: error: ")
        assert err.count("\n") == 1
    assert Path("file").read_bytes() == Path("out/mix").read_bytes() == b"precious"
    assert files(".") == ["file", "mix.wav", "out", "out/mix"]


def test_full_disk(separate: Separate, capsys: Capture) -> None:
    """The second of two files is larger than what is left: the first one is whole, of the second nothing stays."""
    inputs = [sound("small.wav", 1000), sound("large.wav", 60_000)]
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        code = separate(*inputs, "--sources", "tone", "--no-picture")
        alone = separate(inputs[1], "--sources", "tone", "--no-picture", "-o", "other")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (code, alone) == (1, 2)
    err = capsys.readouterr().err
    assert err.count("cannot be written") == err.count("\n") == 2
    assert files("separated") == ["small", "small/residual.wav", "small/separation.json", "small/tone.wav"]
    assert not Path("other").exists()


@pytest.mark.skipif(os.name == "nt", reason="signals differ there")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_keeps_what_is_finished_and_no_more(tiny_library: Path, number: signal.Signals) -> None:
    sound("1.wav", 9000)
    sound("2.wav", 8000 * 1200, 8000)
    command = [sys.executable, "-m", "gansep", "separate", "1.wav", "2.wav", "--sources", "tone,hiss", "--no-picture"]
    command += ["--library", str(tiny_library), "--quality", "fast", "--progress", "none"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        deadline = time.monotonic() + 100
        while not Path("separated/1/separation.json").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
            assert process.poll() is None
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == "gansep: interrupted\n"
    names = ("hiss.wav", "residual.wav", "separation.json", "tone.wav")
    assert files("separated") == ["1", *(f"1/{name}" for name in names)]
    assert soundfile.info("separated/1/tone.wav").frames == 9000


def test_as_a_process(run_gansep: RunGansep, tiny_library: Path) -> None:
    """The command as a user has it; its errors are one line there too."""
    flags = ["--library", tiny_library, "--sources", "tone", "--quality", "fast", "--no-picture", "-q"]
    done = run_gansep("separate", sound("mix.wav"), "missing.wav", *flags)
    assert done.returncode == 1
    assert done.stderr.startswith("gansep: error: missing.wav: ")
    assert done.stderr.count("\n") == 1
    assert done.stdout.splitlines()[1].startswith("  separated/mix/tone.wav")
