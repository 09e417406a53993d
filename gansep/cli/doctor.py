"""``gansep doctor``: versions, devices, what is missing and how to get it."""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import import_module, metadata, util
from pathlib import Path

from gansep import __version__
from gansep.cli.common import Subparsers, add_common, show
from gansep.types import GansepError


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes:
        section, name, value: what was looked at, and what was found.
        remedy: what to do about it; empty if nothing need be done.
        broken: whether ``gansep separate`` cannot work because of it.
    """

    section: str
    name: str
    value: str
    remedy: str = ""
    broken: bool = False


def add_parser(subparsers: Subparsers) -> None:
    """Add the verb to the command."""
    about = "show versions, devices, what is missing and how to get it"
    parser = subparsers.add_parser("doctor", help=about, description=f"{about.capitalize()}.")
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_common(parser, out="write the report to this file instead of stdout")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Report; 1 if something on the main path is broken."""
    findings = [*_versions(), *_devices(args.device), *_programs(), *_extras(), *_libraries(args.library)]
    if args.json:
        show(json.dumps([asdict(finding) for finding in findings], indent=1, ensure_ascii=False), args.out)
    else:
        show(_report(findings), args.out)
    return 1 if any(finding.broken for finding in findings) else 0


def _report(findings: list[Finding]) -> str:
    lines: list[str] = []
    for number, finding in enumerate(findings):
        if number == 0 or finding.section != findings[number - 1].section:
            lines += ["", finding.section] if number else [finding.section]
        lines.append(f"  {finding.name:16}{finding.value}")
        if finding.remedy:
            lines.append(f"  {'':16}{'BROKEN' if finding.broken else 'to get it'}: {finding.remedy}")
    broken = [finding.name for finding in findings if finding.broken]
    return "\n".join([*lines, "", f"broken: {', '.join(broken)}" if broken else "gansep separate can work"])


# -- versions ----------------------------------------------------------------------------------------------------------


def _versions() -> Iterator[Finding]:
    yield Finding("versions", "gansep", __version__)
    yield Finding("versions", "python", f"{platform.python_version()} ({sys.executable}), {platform.platform()}")
    for module in ("torch", "numpy", "librosa", "soundfile", "soxr", "safetensors"):
        yield _package(module)
    yield _torchaudio()


def _package(module: str) -> Finding:
    """A package the main path needs: imported, because being installed does not mean that it loads."""
    try:
        package = import_module(module)
    except Exception as error:  # ImportError, or OSError from a library that is missing or does not fit
        return Finding("versions", module, f"does not load: {_reason(error)}", f"pip install {module}", broken=True)
    inner = getattr(package, "__libsndfile_version__", None)
    return Finding("versions", module, _version(module) + (f" (libsndfile {inner})" if inner else ""))


def _torchaudio() -> Finding:
    """Optional, and made for exactly one torch: says which one would fit."""
    wanted = _version("torch").partition("+")[0]
    pair = f"pip install torch=={wanted} torchaudio=={wanted}, both from the same index (CPU or CUDA); nothing on the"
    pair += " main path needs it"
    try:
        import_module("torchaudio")
    except Exception as error:  # OSError or RuntimeError beside another torch
        return Finding("versions", "torchaudio", f"does not load: {_reason(error)}", pair)
    version = _version("torchaudio")
    fits = version.split(".")[:2] == wanted.split(".")[:2]
    return Finding("versions", "torchaudio", version, "" if fits else f"made for another torch: {pair}")


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "unknown"


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}, {(str(error).splitlines() or ['no message'])[0]:.120}"


# -- machine -----------------------------------------------------------------------------------------------------------


def _devices(wanted: str) -> Iterator[Finding]:
    try:
        import torch

        from gansep.nets.precision import gains_from_bfloat16, pick_device
    except Exception:  # said under versions
        return
    try:
        yield Finding("devices", f"--device {wanted}", str(pick_device(wanted)))
    except GansepError as error:
        yield Finding("devices", f"--device {wanted}", "not here", str(error), broken=True)
    gain = "faster in bfloat16" if gains_from_bfloat16(torch.device("cpu")) else "float32 only"
    yield Finding("devices", "cpu", f"{torch.get_num_threads()} threads, {gain}")
    for number in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        memory = torch.cuda.get_device_properties(number).total_memory / 2**30
        yield Finding("devices", f"cuda:{number}", f"{torch.cuda.get_device_name(number)}, {memory:.0f} GiB")
    yield Finding("devices", "cuda", "available" if torch.cuda.is_available() else "none")
    yield Finding("devices", "mps", "available" if torch.backends.mps.is_available() else "none")


def _programs() -> Iterator[Finding]:
    program = shutil.which("ffmpeg")
    if program is None:
        remedy = "apt-get install ffmpeg / brew install ffmpeg; only m4a, aac, wma and the like need it"
        yield Finding("programs", "ffmpeg", "missing", remedy)
        return
    try:
        said = subprocess.run([program, "-version"], capture_output=True, text=True, errors="replace", timeout=20)
        first = (said.stdout.splitlines() or ["it says nothing"])[0]
        version = first.removeprefix("ffmpeg version ").partition(" Copyright")[0]
        yield Finding("programs", "ffmpeg", f"{version} ({program})")
    except (OSError, subprocess.TimeoutExpired) as error:
        yield Finding("programs", "ffmpeg", f"does not run: {_reason(error)}", "install it again")


def _extras() -> Iterator[Finding]:
    for extra, module, use in (("plots", "matplotlib", "pictures"), ("train", "tensorboard", "training logs")):
        if util.find_spec(module) is not None:
            yield Finding("extras", extra, f"{module} {_version(module)}")
        else:
            remedy = f"pip install {module}, or gansep with its extra [{extra}]"
            yield Finding("extras", extra, f"{module} is missing, so no {use}", remedy)


# -- libraries ---------------------------------------------------------------------------------------------------------


def _libraries(library: Path | None) -> Iterator[Finding]:
    from gansep.library import is_writable, models_in, search_path

    total = 0
    for origin, folder in search_path(library):
        count = len(models_in(folder, origin))
        total += count
        state = f"{count} model{'' if count == 1 else 's'}" if folder.is_dir() else "not there yet"
        yield Finding("libraries", origin, f"{folder}: {state}, {'writable' if is_writable(folder) else 'read-only'}")
    if not total:
        remedy = "install gansep again, or train one: gansep train-prior --data FOLDER"
        yield Finding("libraries", "models", "none", remedy, broken=True)
