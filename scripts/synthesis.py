"""How good the sounds of priors are: how near they come to recordings they never heard, and how much of them they meet.

    python scripts/synthesis.py --data DATA gan/drums vae/drums
    python scripts/synthesis.py --data DATA --library DIR --split dev vae/piano

DATA holds ``<class>/train`` and ``<class>/valid``; a prior is judged on the class of its name. Reconstruction is what
it plays when its encoder hears a held-out window: log-spectral distance and the search's spectral distance. Samples are
compared with as many held-out windows: coverage and density (gansep/metrics/coverage.py), and how far each held-out
window is from the nearest of them by its features, in log-spectral distance. Intervals are 95 % bootstrap intervals by
speaker, kit or piece. Gains do not count. Density beyond 1 is no praise: the samples crowd where recordings are dense,
as sounds near the mean of all do.

Four rows stand beside, as if they were samples: other windows of the held-out recordings, a bound; windows of the
recordings that the prior heard, which a lookup would give; the same as training bends them, which is what the prior
learned to play; and coloured noise.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from build_pretrained import PRIORS
from torch import Tensor

from gansep.dsp.stft import stft
from gansep.library import Prior, load_prior
from gansep.losses import multi_resolution_spectral
from gansep.metrics import bootstrap_interval, log_spectral_distance
from gansep.metrics.coverage import coverage, density, features
from gansep.research.sources import group, split_files
from gansep.synthesis import hear, play
from gansep.training.data import Augmentation, coloured_noise, draw, load_clips
from gansep.types import DataError

PLAIN = Augmentation(again=0, speed=0, tilt_db=0)
COLUMNS = (
    "row",
    "reconstruction: log-spectral distance dB [95 %]",
    "spectral distance",
    "samples: coverage",
    "density",
    "nearest: log-spectral distance dB [95 %]",
)


@dataclass(frozen=True)
class Real:
    """Held-out windows ``[N, segment]`` at a rate in Hz, and the speaker, kit or piece of each."""

    waves: Tensor
    groups: tuple[str, ...]
    sample_rate: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("priors", nargs="+", metavar="PRIOR", help="gan/drums, vae/drums or a model folder")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--library", type=Path)
    parser.add_argument("--split", choices=("dev", "valid"), default="valid")
    parser.add_argument("--windows", type=int, default=256, help="held-out windows, and samples of each prior")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|")
    known: dict[tuple[str, int, int], Real] = {}
    for reference in args.priors:
        prior = load_prior(reference, args.library)
        task = (prior.name, prior.sample_rate, prior.segment)
        if task not in known:
            random = torch.Generator().manual_seed(args.seed)
            held_out = split_files(args.data, prior.name, args.split)
            known[task] = Real(*windows(held_out, args.windows, prior, random, PLAIN), prior.sample_rate)
            for name, waves in beside(prior, held_out, args, random):
                print(f"| {prior.name}: {name} | - | - | {sampled(waves, known[task], args.seed)} |", flush=True)
        print(line(reference, prior, known[task], args.seed), flush=True)


def windows(
    files: Sequence[Path], count: int, prior: Prior, random: torch.Generator, augment: Augmentation
) -> tuple[Tensor, tuple[str, ...]]:
    """Windows ``[count, segment]`` of a prior's size, each recording heard as often as the others, and their groups."""
    heard = [files[i] for i in torch.randperm(len(files), generator=random)[:count].tolist()]
    clips = load_clips(heard, prior.sample_rate)
    if clips.skipped:
        raise DataError(f"{clips.skipped[0]}; every recording of a split must be heard")
    single = [
        replace(clips, waves=(wave,), active=(span,)) for wave, span in zip(clips.waves, clips.active, strict=True)
    ]
    picks = [i % len(heard) for i in range(count)]
    waves = torch.cat([draw(single[i], 1, prior.segment, random, augment) for i in picks])
    return waves, tuple(group(heard[i]) for i in picks)


def beside(
    prior: Prior, held_out: Sequence[Path], args: argparse.Namespace, random: torch.Generator
) -> Iterator[tuple[str, Tensor]]:
    """Windows ``[count, segment]`` that a prior's samples are compared with, and what they are called."""
    classes = PRIORS[prior.name]["classes"] if prior.name in PRIORS else (prior.name,)
    train = [file for name in classes for file in split_files(args.data, name, "train")]
    rows = {"held-out": (held_out, PLAIN), "train": (train, PLAIN), "train, bent": (train, Augmentation())}
    for name, (files, augment) in rows.items():
        yield name, windows(files, args.windows, prior, random, augment)[0]
    yield "noise", coloured_noise(args.windows, prior.segment, random)


def line(reference: str, prior: Prior, real: Real, seed: int) -> str:
    """The row of one prior."""
    told = "- | -"
    if prior.encoder is not None:
        latents = torch.cat([hear(prior, few) for few in real.waves.split(64)])
        played = levelled(play(prior, latents).cpu(), real.waves)
        apart = multi_resolution_spectral(played, real.waves).mean()
        told = f"{interval(log_spectral_distance(played, real.waves), real.groups, seed)} | {float(apart):.3f}"
    return f"| {reference} | {told} | {sampled(prior.sample(len(real.waves), seed).cpu(), real, seed)} |"


def sampled(waves: Tensor, real: Real, seed: int) -> str:
    """The columns of a set of samples ``[M, segment]``."""
    ours, theirs = features(waves, real.sample_rate), features(real.waves, real.sample_rate)
    nearest = waves[torch.cdist(theirs, ours).argmin(1)]
    distance = log_spectral_distance(levelled(nearest, real.waves), real.waves)
    told = f"{coverage(theirs, ours):.3f} | {density(theirs, ours):.3f}"
    return f"{told} | {interval(distance, real.groups, seed)}"


def levelled(estimate: Tensor, reference: Tensor) -> Tensor:
    """The estimate where its magnitudes fit best by least squares. Shape: ``[B, T]`` and ``[B, T]`` to ``[B, T]``."""
    ours, theirs = stft(estimate).abs(), stft(reference).abs()  # [B, F, N]
    gain = (ours * theirs).sum((1, 2)) / ours.square().sum((1, 2)).clamp_min(1e-12)
    return gain[:, None] * estimate


def interval(values: Tensor, groups: Sequence[str], seed: int) -> str:
    low, high = bootstrap_interval(values.numpy(), groups, seed)
    return f"{float(values.mean()):.2f} [{low:.2f}, {high:.2f}]"


if __name__ == "__main__":
    main()
