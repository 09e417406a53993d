"""What a supervised network should learn: the same mixtures and steps for each target, loss and network.

    python scripts/targets.py train --data DATA --library DIR
    python scripts/targets.py table --data DATA --library DIR

``train`` trains what is not there yet and goes on with what was stopped, on speech and noise (less dev); several calls
with other --only may share the work. ``table`` ranks what is there: SI-SDR improvement of the speech over sentences in
noise at -5, 0, 5 and 10 dB [95 % bootstrap interval by speaker], by the network's own answer and by masks that share
the recording out as it says, and STOI of the former.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from build_pretrained import SNR, report
from torch import Tensor

from gansep.backends.mapping import Mappings
from gansep.backends.mask import Masks
from gansep.library import CARD, TrainedSeparator, load_separation
from gansep.metrics import bootstrap_interval, paired_difference, si_sdr
from gansep.metrics.perceptual import stoi
from gansep.nets.mapping import WaveformConfig
from gansep.nets.spectral import NetConfig
from gansep.pipeline import Settings
from gansep.research.denoising import sentences
from gansep.research.protocol import Mixture
from gansep.research.running import through
from gansep.research.sources import split_files
from gansep.training.separators import DOMAINS, SeparatorSettings, train_mapping, train_mask

RATIOS = (-5.0, 0.0, 5.0, 10.0)
WIDTH = 1024  # of dnn, as the one that ships


@dataclass(frozen=True)
class Case:
    """One training: a mask's target, or ``spectral`` or ``waveform`` for a mapping, its loss and its network."""

    target: str
    loss: str
    network: str = "dnn"

    @property
    def name(self) -> str:
        return "-".join((self.target, self.loss) if self.network == "dnn" else (self.target, self.loss, self.network))

    @property
    def kind(self) -> str:
        return "mapping" if self.target in DOMAINS else "mask"

    def folder(self, args: argparse.Namespace) -> Path:
        return args.library / self.kind / self.name

    def train(self, args: argparse.Namespace) -> None:
        data = {name: split_files(args.data, name, "train") for name in ("speech", "noise")}
        settings = SeparatorSettings(self.loss, args.steps, mixing=SNR, seed=args.seed, device="cpu")
        where: dict[str, Any] = {"out": self.folder(args), "resume": True, "on_event": report}
        if self.target == "waveform":
            train_mapping(data, self.name, self.target, WaveformConfig(), settings, **where)
            return
        network = NetConfig(network=self.network, width=WIDTH if self.network == "dnn" else 0)
        if self.kind == "mapping":
            train_mapping(data, self.name, self.target, network, settings, **where)
        else:
            train_mask(data, self.name, self.target, network, settings, **where)


CASES = (
    *(Case("ibm", "cross-entropy"), Case("irm", "mse"), Case("iam", "mse"), Case("psm", "mse"), Case("orm", "mse")),
    *(Case("cirm", "mse"), Case("irm", "mae"), Case("irm", "signal"), Case("irm", "snr"), Case("irm", "si-sdr")),
    *(Case("psm", "snr"), Case("cirm", "snr"), Case("crm", "snr"), Case("crm", "signal"), Case("spectral", "mae")),
    *(Case("irm", "mse", "blstm"), Case("irm", "mse", "tfconv"), Case("irm", "snr", "blstm")),
    *(Case("irm", "snr", "tfconv"), Case("psm", "snr", "tfconv"), Case("crm", "snr", "tfconv")),
    *(Case("spectral", "mae", "tfconv"), Case("waveform", "snr", "conv")),
)


def chosen(args: argparse.Namespace) -> list[Case]:
    return [case for case in CASES if not args.only or case.name in args.only.split(",")]


def table(args: argparse.Namespace) -> None:
    examples = [one for ratio in RATIOS for one in sentences(args.data, args.split, ratio, args.seed)]
    speakers = [example.group.split("+")[0] for example in examples]
    rows = {}
    for case in chosen(args):
        if (case.folder(args) / CARD).exists():
            model = load_separation(case.kind, model=str(case.folder(args)))
            rows[case.name] = (model.card, *figures(case.kind, model, examples))
    if not rows:
        sys.exit(f"{args.library} holds none of these models; train them first")
    best = max(rows, key=lambda name: float(rows[name][1].mean()))
    print(
        "| target, loss, network | minutes | its own | behind the best, p | as shares | STOI |"
        "\n|---|---|---|---|---|---|"
    )
    for name, (card, own, shares, heard) in sorted(rows.items(), key=lambda row: -float(row[1][1].mean())):
        gap, low, high, p = paired_difference(own.numpy(), rows[best][1].numpy(), speakers, args.seed)
        behind = "" if name == best else f"{gap:+.2f} [{low:+.2f}, {high:+.2f}], {p:.3f}"
        masked, shared = (interval(values, speakers, args.seed) for values in (own, shares))
        minutes, intelligible = card.extra["minutes"], float(heard.nanmean())
        print(f"| {name} | {minutes} | {masked} | {behind} | {shared} | {intelligible:.3f} |")


def figures(kind: str, model: TrainedSeparator, examples: Sequence[Mixture]) -> tuple[Tensor, Tensor, Tensor]:
    """SI-SDR improvement of its own speech and of that shared out, and STOI of the former, ``[V]`` each."""
    separator = (Masks if kind == "mask" else Mappings)(model, ("speech", "noise"))
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
    parser.add_argument("--only", metavar="NAME,NAME", help=f"of {', '.join(case.name for case in CASES)}")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.what == "table":
        table(args)
        return
    for case in chosen(args):
        case.train(args)


if __name__ == "__main__":
    main()
