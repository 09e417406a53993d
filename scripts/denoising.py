"""How well models take speech out of noise, and how fast.

    python scripts/denoising.py --data DATA mask:model=speech-noise mask:model=speech-noise-irm-dnn

DATA holds ``speech`` and ``noise``, each with ``train`` and ``valid``. Rows are back ends as ``gansep compare`` has
them; the noisy sentences themselves, and as bounds the ideal ratio mask and the Wiener filter of the true parts, stand
beside them. SI-SDR is that of the speech, its improvement over the noisy sentence [95 % bootstrap interval by speaker].
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from gansep.backends import Wanted, make_separator
from gansep.metrics import bootstrap_interval, log_spectral_distance, si_sdr, spectral_snr
from gansep.metrics.perceptual import pesq, stoi
from gansep.pipeline import Settings
from gansep.planning import OVERLAP
from gansep.research.denoising import sentences
from gansep.research.protocol import Mixture
from gansep.research.running import through
from gansep.types import GansepError, Separator

ALWAYS = ("mixture", "oracle:mask=irm", "oracle")
CLEAN = None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", default=["mask"], metavar="BACKEND")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--library", type=Path)
    parser.add_argument("--split", choices=("dev", "valid"), default="valid")
    parser.add_argument("--snr", default="-5,0,5,10", help="input ratios in dB; a clean row is always added")
    parser.add_argument("--raw", action="store_true", help="the models' own waveforms, not masks made of them")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print("| row | input | SI-SDR impr. dB [95 %] | SI-SDR dB | spectral SNR dB | LSD dB | STOI | PESQ | s/s |")
    print("|---" * 9 + "|")
    ratios: list[float | None] = [*map(float, args.snr.split(",")), CLEAN]
    for row in (*ALWAYS, *args.rows):
        for ratio in ratios:
            examples = list(sentences(args.data, args.split, ratio, args.seed))
            print(line(row, ratio, examples, args), flush=True)


def line(row: str, ratio: float | None, examples: Sequence[Mixture], args: argparse.Namespace) -> str:
    """One row of the table at one ratio."""
    separators = [separator_for(row, example, args.library) for example in examples[: 1 if named(row) else None]]
    began = time.perf_counter()
    found = []
    for separator, some in zip(separators, [examples] if named(row) else [[one] for one in examples], strict=True):
        settings = Settings(OVERLAP, refinement=None if args.raw else separator.refinement)
        found += through(separator, some, settings)
    seconds = time.perf_counter() - began
    spoken = [wave[0, 0] for wave in found]  # [T], the first source is the speech
    truth = [example.references[0, 0] for example in examples]
    noisy = [example.mixture[0] for example in examples]
    after = [float(si_sdr(*pair)) for pair in zip(spoken, truth, strict=True)]
    before = [float(si_sdr(*pair)) for pair in zip(noisy, truth, strict=True)]
    groups = [example.group.split("+")[0] for example in examples]
    told = f"| {row} | {'clean' if ratio is CLEAN else f'{ratio:g} dB'} | "
    if ratio is CLEAN:
        told += f"- | {mean(after):.2f}, at least {min(after):.1f} |"
    else:
        gains = [a - b for a, b in zip(after, before, strict=True)]
        low, high = bootstrap_interval(gains, groups, args.seed)
        told += f"{mean(gains):.2f} [{low:.2f}, {high:.2f}] | {mean(after):.2f} |"
    length = sum(wave.shape[-1] for wave in spoken) / examples[0].sample_rate
    pairs = list(zip(spoken, truth, strict=True))
    scores = [f"{mean([float(score(*pair)) for pair in pairs]):.2f}" for score in (spectral_snr, log_spectral_distance)]
    scores += [perceived(score, spoken, truth, examples[0].sample_rate) for score in (stoi, pesq)]
    return f"{told} {' | '.join(scores)} | {seconds / length:.4f} |"


def named(row: str) -> bool:
    """Whether one separator serves all mixtures; an oracle knows one only."""
    return not row.startswith("oracle")


def separator_for(row: str, example: Mixture, library: Path | None) -> Separator:
    if row == "mixture":
        return make_separator(row, Wanted(k=2))
    if named(row):
        return make_separator(row, Wanted(("speech", "noise"), library=library))
    references = dict(zip(example.sources, example.references, strict=True))
    return make_separator(row, Wanted(references=references, sample_rate=example.sample_rate))


def perceived(score, estimates: Sequence[Tensor], truth: Sequence[Tensor], rate: int) -> str:
    """A mean of STOI or PESQ; a dash where its package is not installed."""
    try:
        values = [float(score(estimate, one, rate)) for estimate, one in zip(estimates, truth, strict=True)]
    except GansepError:
        return "-"
    heard = [value for value in values if value == value]
    return f"{mean(heard):.3f}" if heard else "-"


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


if __name__ == "__main__":
    main()
