"""What it is worth to know where the sources of a recording are.

    python scripts/places.py --data DATA --n 12

Mixtures of the condition ``sequence`` as priors' listeners take them apart, with one mask for both channels (0 rounds)
and by place after some rounds of finding out. They come as they are, panned by level alone, and changed: ``rooms`` adds
a decay of 0.3 s to every source in each channel, another noise in each, 8 dB below the source; ``delays`` makes one
channel of each source up to 0.6 ms late, as two microphones some way apart do; ``one place`` has the same in both.
A figure is the mean SI-SDR improvement over sources and mixtures in dB, with its 95 % bootstrap interval by speaker,
kit and piece.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from ablate import improvement
from torch import Tensor

from gansep.backends.gan_prior import QUALITIES, GanPrior
from gansep.library import load_prior
from gansep.metrics import bootstrap_interval
from gansep.pipeline import Settings
from gansep.research.protocol import TASKS, Mixture, mixtures
from gansep.research.running import through

DECAY, BELOW = 0.3, 8.0  # seconds until a room has faded by 60 dB, and dB from a source to its room
LATEST = 0.0006  # seconds
ROUNDS = (0, 1, 2, 4, 8)


def in_rooms(references: Tensor, rate: int, random: torch.Generator) -> Tensor:
    size = round(DECAY * rate)
    tails = torch.randn(*references.shape[:2], size, generator=random) * 10 ** (-3 * torch.arange(size) / size)
    tails[..., : rate // 200] = 0  # the first walls are some way off
    tails = tails / tails.square().sum(-1, keepdim=True).sqrt() * 10 ** (-BELOW / 20)
    tails[..., 0] = 1
    length = references.shape[-1] + size
    both = torch.fft.rfft(references, length) * torch.fft.rfft(tails, length)
    return torch.fft.irfft(both, length)[..., : references.shape[-1]]


def delayed(references: Tensor, rate: int, random: torch.Generator) -> Tensor:
    late = torch.randint(0, round(LATEST * rate) + 1, (len(references),), generator=random)
    which = torch.randint(0, 2, (len(references),), generator=random)
    parts = references.clone()
    for part, delay, channel in zip(parts, late.tolist(), which.tolist(), strict=True):
        part[channel] = part[channel].roll(delay)
    return parts


def at_one_place(references: Tensor, rate: int, random: torch.Generator) -> Tensor:
    return references.mean(1, keepdim=True).expand_as(references)


KINDS: dict[str, Callable[[Tensor, int, torch.Generator], Tensor]] = {
    "panned": lambda references, rate, random: references,
    "rooms": in_rooms,
    "delays": delayed,
    "one place": at_one_place,
}


def gain(separator: GanPrior, examples: Sequence[Mixture], rounds: int) -> str:
    stems = through(separator, examples, Settings(refinement=separator.refinement, rounds=rounds))
    gains = torch.stack([improvement(a, b).nanmean() for a, b in zip(stems, examples, strict=True)])
    low, high = bootstrap_interval(gains.numpy(), [one.group for one in examples], 0)
    return f"{float(gains.nanmean()):.1f} [{low:.1f}, {high:.1f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--library", type=Path)
    parser.add_argument("--tasks", default=",".join(TASKS))
    parser.add_argument("--split", choices=("dev", "valid"), default="dev")
    parser.add_argument("--n", type=int, default=12, help="mixtures a task")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print("| mixture | places | " + " | ".join(f"{rounds} rounds" for rounds in ROUNDS) + " |")
    print("|---" * (2 + len(ROUNDS)) + "|")
    for task in args.tasks.split(","):
        separator = GanPrior([load_prior(name, args.library) for name in TASKS[task]], QUALITIES["fast"])
        plain = list(mixtures(args.data, task, "sequence", args.split, args.n, args.seed))
        for kind, change in KINDS.items():
            random = torch.Generator().manual_seed(args.seed)
            examples = [replace(one, references=change(one.references, one.sample_rate, random)) for one in plain]
            cells = [gain(separator, examples, rounds) for rounds in ROUNDS]
            print(f"| {task} | {kind} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
