"""What decides how good a prior of somebody's own sounds becomes.

    python scripts/own_sounds.py --data DATA --library LIBRARY --source speech --beside drums --steps 600

``--seconds`` of the source's training recordings are taken for all that somebody has, and a prior is trained on them
as ``gansep train-prior`` does, once as it comes and then with one thing changed at a time. LIBRARY holds the priors
that were there before, and the listener that the new one begins with; to be fair it has not heard the source. Each
prior then separates ``wild`` mixtures of the source and of the one beside it, on ``dev`` unless told otherwise.
A column is a way to separate: by listeners, and by the search alone. ``--seeds 0 1 2`` trains each prior three times,
a line each: what differs between these lines is chance.
"""

from __future__ import annotations

import argparse
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any

import torch
from ablate import improvement

from gansep.audio import write
from gansep.backends.gan_prior import QUALITIES, GanPrior
from gansep.library import SOUNDS, load_prior
from gansep.metrics import bootstrap_interval
from gansep.nets.wavegan import PriorConfig
from gansep.pipeline import Settings
from gansep.research.protocol import Mixture, mix
from gansep.research.running import through
from gansep.research.sources import pool, split_files
from gansep.training.api import PriorSettings, train_prior
from gansep.training.data import Augmentation, excerpts, load_clips
from gansep.types import Separator

COLUMNS = "| changed | seed | seconds of sound | steps | minutes | listeners | search alone |"


@dataclass(frozen=True)
class Lever:
    """One thing that is changed.

    Attributes:
        share: of the sounds that are given. pace: of the steps.
        settings, config: what differs from the defaults of :class:`PriorSettings` and of its config.
        sounds: whether installed priors' own recordings stand for the rest of a mixture; else what they play.
    """

    share: float = 1.0
    pace: float = 1.0
    settings: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    sounds: bool = True


LEVERS = {
    "nothing": Lever(),
    "30 % of the sounds": Lever(share=0.3),
    "10 % of the sounds": Lever(share=0.1),
    "a third of the steps": Lever(pace=1 / 3),
    "three times the steps": Lever(pace=3),
    "dim 16": Lever(config={"dim": 16}),
    "dim 64": Lever(config={"dim": 64}),
    "latent 25": Lever(config={"latent": 25}),
    "latent 200": Lever(config={"latent": 200}),
    "no augmentation": Lever(settings={"augment": Augmentation(again=0, speed=0, tilt_db=0)}),
    "more augmentation": Lever(settings={"augment": Augmentation(speed=0.25, tilt_db=8, room=0.3)}),
    "no average of weights": Lever(settings={"decay": 0.0}),
    "against what priors play": Lever(sounds=False),
}


def given(args: argparse.Namespace, share: float) -> list[Path]:
    """Files of as many seconds of the source's recordings as somebody has."""
    folder = args.out / f"{args.source}-{share}"
    if not folder.exists():
        clips = load_clips(split_files(args.data, args.source, "train"), 16000)
        for number, wave in enumerate(excerpts(clips, args.seconds * share, longest=10.0)):
            write(folder / f"{number:03d}.flac", wave[None], 16000, subtype="PCM_16")
    return sorted(folder.glob("*.flac"))


def without_sounds(library: Path, out: Path) -> Path:
    """The library, its priors without the recordings that they keep."""
    folder = out / "library"
    if not folder.exists():
        shutil.copytree(library, folder, ignore=shutil.ignore_patterns(SOUNDS, "training"))
    return folder


def trained(name: str, lever: Lever, seed: int, args: argparse.Namespace) -> tuple[Path, float]:
    """The model's folder, and the minutes of the processor that it took."""
    settings = replace(
        PriorSettings(steps=round(args.steps * lever.pace), seed=seed, device="cpu", checkpoint_every=10**6),
        config=PriorConfig(**lever.config),
        library=args.library if lever.sounds else without_sounds(args.library, args.out),
        **lever.settings,
    )
    before = time.process_time()
    folder = train_prior(given(args, lever.share), args.source, settings, out=args.out / f"{name} {seed}" / args.source)
    return folder, (time.process_time() - before) / 60


def gain(separator: Separator, examples: Sequence[Mixture], seed: int) -> str:
    """Mean SI-SDR improvement in dB, its 95 % interval, and that of each source."""
    stems = through(separator, examples, Settings(refinement=separator.refinement))
    gains = torch.stack([improvement(a, b) for a, b in zip(stems, examples, strict=True)])
    low, high = bootstrap_interval(gains.nanmean(1).numpy(), [one.group for one in examples], seed)
    each = ", ".join(f"{float(one):.1f}" for one in gains.nanmean(0))
    return f"{float(gains.nanmean()):.2f} [{low:.1f}, {high:.1f}] ({each})"


def lines(args: argparse.Namespace) -> Iterator[str]:
    pools = [pool(name, split_files(args.data, name, args.split)) for name in (args.source, args.beside)]
    examples = list(mix(pools, "wild", args.split, range(args.n), args.seed))
    beside = load_prior(args.beside, args.library)
    yield COLUMNS + "\n" + "|---" * 7 + "|"
    wanted = args.only.split(";") if args.only else LEVERS
    for name, seed in product(wanted, args.seeds):
        folder, minutes = trained(name, LEVERS[name], seed, args)
        prior = load_prior(folder, args.library)
        about = prior.card.extra
        priors = [prior, beside]
        found = [GanPrior(priors, recipe) for recipe in (QUALITIES["fast"], replace(QUALITIES["fast"], listen=False))]
        cells = [gain(one, examples, args.seed) for one in found]
        start = f"| {name} | {seed} | {about['seconds_of_sound']} | {about['steps']} | {minutes:.0f}"
        yield f"{start} | {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--library", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="an empty folder for what is trained")
    parser.add_argument("--source", default="speech")
    parser.add_argument("--beside", default="drums")
    parser.add_argument("--seconds", type=float, default=300.0, help="of sound that there are")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--only", help="only these levers, as 'nothing;dim 16'")
    parser.add_argument("--split", choices=("dev", "valid"), default="dev")
    parser.add_argument("--n", type=int, default=24, help="mixtures")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], help="of the trainings")
    parser.add_argument("--seed", type=int, default=0, help="of the mixtures")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    for line in lines(args):
        print(line, flush=True)


if __name__ == "__main__":
    main()
