"""The public names: all there, typed where they live, and none of them costs an import of torch."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import gansep

ROOT = Path(__file__).resolve().parent.parent


def test_public_names_are_those_of_their_modules() -> None:
    homes = {
        "Estimates": "gansep.types",
        "GansepError": "gansep.types",
        "Separator": "gansep.types",
        "denoise_files": "gansep.denoise",
        "load_prior": "gansep.library",
        "load_separator": "gansep.backends",
        "separate_file": "gansep.separate",
        "train_mapping": "gansep.training.separators",
        "train_mask": "gansep.training.separators",
        "train_prior": "gansep.training.api",
    }
    assert set(gansep.__all__) == homes.keys() | {"__version__"}
    assert set(gansep.__all__) <= set(dir(gansep))
    for name, home in homes.items():
        assert getattr(gansep, name) is getattr(import_module(home), name)


def test_unknown_name() -> None:
    with pytest.raises(AttributeError, match="no attribute 'separat'"):
        gansep.separat  # noqa: B018


def test_import_does_not_import_torch() -> None:
    heavy = "{'torch', 'librosa', 'scipy', 'sklearn', 'numpy', 'soundfile'}"
    code = f"import sys, gansep, gansep.library; gansep.GansepError; print(*{heavy} & set(sys.modules))"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert run.stdout.strip() == ""
