"""``gansep doctor``: what it says of this machine, and what it says when something is missing."""

from __future__ import annotations

import json
import shutil
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch

from gansep.cli import doctor, main
from gansep.library import search as search_module

Capture = pytest.CaptureFixture[str]


def report(library: Path, capsys: Capture, *flags: str) -> tuple[int, dict[str, dict[str, Any]]]:
    code = main(["doctor", "--json", "--library", str(library), *flags])
    findings = json.loads(capsys.readouterr().out)
    return code, {finding["name"]: finding for finding in findings}


def without(monkeypatch: pytest.MonkeyPatch, module: str, error: Exception) -> None:
    real = doctor.import_module

    def fake(name: str) -> Any:
        if name == module:
            raise error
        return real(name)

    monkeypatch.setattr(doctor, "import_module", fake)


def test_a_whole_machine(tiny_library: Path, capsys: Capture) -> None:
    code, findings = report(tiny_library, capsys)
    assert code == 0
    assert findings["torch"]["value"] == metadata.version("torch")
    assert soundfile.__libsndfile_version__ in findings["soundfile"]["value"]
    assert f"{torch.get_num_threads()} threads" in findings["cpu"]["value"]
    assert findings["--library"]["value"] == f"{tiny_library}: 2 models, writable"
    assert not any(finding["broken"] for finding in findings.values())


def test_text_report(tiny_library: Path, capsys: Capture) -> None:
    assert main(["doctor", "--library", str(tiny_library)]) == 0
    said = capsys.readouterr().out
    for section in ("versions", "devices", "programs", "extras", "libraries"):
        assert f"{section}\n" in said
    assert said.endswith("gansep separate can work\n")


def test_no_ffmpeg_and_no_extras(tiny_library: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setattr(doctor.util, "find_spec", lambda _: None)
    code, findings = report(tiny_library, capsys)
    assert code == 0  # neither is on the main path
    assert "apt-get install ffmpeg" in findings["ffmpeg"]["remedy"]
    assert "[plots]" in findings["plots"]["remedy"]
    assert "[train]" in findings["train"]["remedy"]


@pytest.mark.parametrize("error", [OSError("undefined symbol"), RuntimeError("CUDA versions differ"), ImportError()])
def test_a_torchaudio_that_does_not_load(
    error: Exception, tiny_library: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    without(monkeypatch, "torchaudio", error)
    code, findings = report(tiny_library, capsys)
    torch_version = metadata.version("torch").partition("+")[0]
    assert code == 0
    assert findings["torchaudio"]["value"].startswith(f"does not load: {type(error).__name__}")
    assert f"torchaudio=={torch_version}" in findings["torchaudio"]["remedy"]


def test_a_broken_main_path(tiny_library: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "soundfile", OSError("libsndfile.so.1: cannot open shared object file"))
    code, findings = report(tiny_library, capsys)
    assert code == 1
    assert findings["soundfile"]["broken"]
    assert findings["soundfile"]["remedy"] == "pip install soundfile"
    assert main(["doctor", "--library", str(tiny_library)]) == 1
    assert capsys.readouterr().out.endswith("broken: soundfile\n")


def test_no_models_at_all(tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_module, "_packaged", lambda: tmp_path / "packaged")
    code, findings = report(tmp_path / "new", capsys)
    assert code == 1
    assert "not there yet, writable" in findings["--library"]["value"]
    assert "train-prior" in findings["models"]["remedy"]


def test_a_device_that_is_not_there(tiny_library: Path, capsys: Capture) -> None:
    code, findings = report(tiny_library, capsys, "--device", "warp")
    assert code == 1
    assert "warp" in findings["--device warp"]["remedy"]
