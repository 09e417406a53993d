"""What a separation costs: seconds per second of audio at each quality, start-up, memory against length.

    python scripts/benchmark.py                       # two threads, K = 2, the shipped priors
    python scripts/benchmark.py --minutes 10          # also a long stereo recording at 44.1 kHz, quality fast

Each case is a command of its own, as a user would run it, so its wall time holds everything but the installation and
its memory is the largest resident set the system saw. Compare cases of one run; machines differ.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from gansep.audio import read, write

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "mix.wav"


def command(source: Path, out: Path, threads: int, *flags: str) -> tuple[float, float]:
    """Wall seconds and peak MiB of one ``gansep separate``."""
    line = [sys.executable, "-m", "gansep", "separate", str(source), "-o", str(out), "--overwrite", "-q"]
    began = time.perf_counter()
    process = subprocess.Popen([*line, "--jobs", str(threads), *flags], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"the command failed: {' '.join(line)}")
    return time.perf_counter() - began, usage.ru_maxrss / 1024


def lengthen(seconds: float, folder: Path) -> Path:
    """The example, again and again, ``seconds`` long."""
    wave, rate = read(EXAMPLE)
    length = round(seconds * rate)
    return write(
        folder / f"{seconds:.0f}s.wav", wave.repeat(1, -(-length // wave.shape[1]))[:, :length], rate, "PCM_16"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--qualities", default="fast,default,best")
    parser.add_argument("--minutes", type=float, default=0.0, help="length of the long recording; 0: leave it out")
    args = parser.parse_args()
    print(f"{args.threads} threads, torch {torch.__version__}")
    print("| recording | flags | wall s | s per s of audio, less start-up | peak MiB |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        example, longer = read(EXAMPLE), lengthen(40, folder)
        short = example[0].shape[1] / example[1]
        for quality in args.qualities.split(","):
            flags = ("--sources", "drums,piano", "--quality", quality, "--no-picture")
            first, _ = command(EXAMPLE, folder / "out", args.threads, *flags)
            second, peak = command(longer, folder / "out", args.threads, *flags)
            rate = (second - first) / (40 - short)
            print(f"| 40 s, 44.1 kHz stereo | {' '.join(flags)} | {second:.1f} | {rate:.2f} | {peak:.0f} |", flush=True)
        whole, peak = command(EXAMPLE, folder / "out", args.threads, "-k", "2")
        print(f"| examples/mix.wav, 8 s | -k 2 | {whole:.1f} | | {peak:.0f} |", flush=True)
        if args.minutes:
            long = lengthen(60 * args.minutes, folder)
            flags = ("-k", "2", "--quality", "fast")
            whole, peak = command(long, folder / "out", args.threads, *flags)
            rate, what = whole / 60 / args.minutes, f"{args.minutes:g} minutes, 44.1 kHz stereo"
            print(f"| {what} | {' '.join(flags)} | {whole:.1f} | {rate:.2f} | {peak:.0f} |")


if __name__ == "__main__":
    main()
