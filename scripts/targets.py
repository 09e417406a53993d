"""Which training target makes the best masks: one network, the same mixtures and steps, each target by each loss.

    python scripts/targets.py train --data DATA --library DIR
    python scripts/targets.py table --data DATA --library DIR

``train`` trains what is not there yet, on speech and noise (less dev); several calls with other --only may share the
work. ``table`` ranks what is there: SI-SDR improvement of the speech over sentences in noise at -5, 0, 5 and 10 dB
[95 % bootstrap interval by speaker], by the masked mixture itself and by masks that share the recording out, and STOI
of the former.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from build_pretrained import SNR, report
from torch import Tensor

from gansep.backends.mask import Masks
from gansep.library import CARD, TrainedSeparator, load_separation
from gansep.metrics import bootstrap_interval, paired_difference, si_sdr
from gansep.metrics.perceptual import stoi
from gansep.nets.spectral import NetConfig
from gansep.pipeline import Settings
from gansep.research.denoising import sentences
from gansep.research.protocol import Mixture
from gansep.research.running import through
from gansep.research.sources import split_files
from gansep.training.separators import SeparatorSettings, train_mask

RATIOS = (-5.0, 0.0, 5.0, 10.0)
CASES = (  # target and loss
    *(("ibm", "cross-entropy"), ("irm", "mse"), ("iam", "mse"), ("psm", "mse"), ("orm", "mse"), ("cirm", "mse")),
    *(("irm", "mae"), ("irm", "signal"), ("irm", "snr"), ("irm", "si-sdr")),
    *(("psm", "snr"), ("cirm", "snr"), ("crm", "snr"), ("crm", "signal")),
)


def train(args: argparse.Namespace) -> None:
    for target, loss in chosen(args):
        folder = args.library / "mask" / f"{target}-{loss}"
        if (folder / CARD).exists():
            continue
        data = {name: split_files(args.data, name, "train") for name in ("speech", "noise")}
        settings = SeparatorSettings(loss, args.steps, mixing=SNR, seed=args.seed, device="cpu")
        train_mask(data, folder.name, target, network(args), settings, out=folder, on_event=report)


def network(args: argparse.Namespace) -> NetConfig:
    return NetConfig(network=args.network, width=args.width)


def chosen(args: argparse.Namespace) -> list[tuple[str, str]]:
    return [case for case in CASES if not args.only or "-".join(case) in args.only.split(",")]


def table(args: argparse.Namespace) -> None:
    examples = [one for ratio in RATIOS for one in sentences(args.data, args.split, ratio, args.seed)]
    speakers = [example.group.split("+")[0] for example in examples]
    rows = {}
    for model in (load_separation("mask", model=str(args.library / "mask" / name)) for name in names(args)):
        rows[model.card.name] = (model.card, *figures(model, examples))
    best = max(rows, key=lambda name: float(rows[name][1].mean()))
    print(
        "| target, loss | minutes | masked mixture | behind the best, p | as shares | STOI |\n|---|---|---|---|---|---|"
    )
    for name, (card, own, shares, heard) in sorted(rows.items(), key=lambda row: -float(row[1][1].mean())):
        gap, low, high, p = paired_difference(own.numpy(), rows[best][1].numpy(), speakers, args.seed)
        behind = "" if name == best else f"{gap:+.2f} [{low:+.2f}, {high:+.2f}], {p:.3f}"
        masked, shared = (interval(values, speakers, args.seed) for values in (own, shares))
        minutes, intelligible = card.extra["minutes"], float(heard.nanmean())
        print(f"| {name} | {minutes} | {masked} | {behind} | {shared} | {intelligible:.3f} |")


def names(args: argparse.Namespace) -> Iterator[str]:
    for target, loss in chosen(args):
        if (args.library / "mask" / f"{target}-{loss}" / CARD).exists():
            yield f"{target}-{loss}"


def figures(model: TrainedSeparator, examples: Sequence[Mixture]) -> tuple[Tensor, Tensor, Tensor]:
    """SI-SDR improvement of the masked mixtures, of shares of them, and STOI of the former, ``[V]`` each."""
    separator = Masks(model, ("speech", "noise"))
    own, shared = (through(separator, examples, Settings(refinement=how)) for how in (None, separator.refinement))
    gains = [
        torch.stack([improvement(a[0, 0], b) for a, b in zip(one, examples, strict=True)]) for one in (own, shared)
    ]
    heard = [stoi(a[0, 0], b.references[0, 0], b.sample_rate) for a, b in zip(own, examples, strict=True)]
    return gains[0], gains[1], torch.stack([torch.as_tensor(value) for value in heard])


def improvement(estimate: Tensor, example: Mixture) -> Tensor:
    speech = example.references[0, 0]
    return si_sdr(estimate, speech) - si_sdr(example.mixture[0], speech)


def interval(values: Tensor, groups: Sequence[str], seed: int) -> str:
    low, high = bootstrap_interval(values.numpy(), groups, seed)
    return f"{float(values.mean()):.2f} [{low:.2f}, {high:.2f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("train", "table"))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--library", type=Path, required=True)
    parser.add_argument("--split", choices=("dev", "valid"), default="valid")
    parser.add_argument("--only", help=f"of {', '.join('-'.join(case) for case in CASES)}")
    parser.add_argument("--network", default="dnn")
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    {"train": train, "table": table}[args.what](args)


if __name__ == "__main__":
    main()
