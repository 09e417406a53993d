"""``gansep train-prior``: a folder of one source's sounds to a prior."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from gansep.cli.common import Subparsers, add_common, reporter
from gansep.types import GansepError

if TYPE_CHECKING:
    from gansep.training.loop import Progress

OBJECTIVES = ("default", "reconstruction", "r3gan", "wgan-gp")
SEGMENTS = (16384, 32768, 65536)


def add_parser(subparsers: Subparsers) -> None:
    """Add the verb."""
    parser = subparsers.add_parser(
        "train-prior",
        help="train a prior on recordings of one source",
        description="Train a prior on recordings of one source. Ctrl-C keeps what was reached; --resume goes on.",
    )
    parser.add_argument("--data", nargs="+", required=True, metavar="PATH", help="folders or files of one source")
    parser.add_argument("--name", help="of the source (default: the folder's name)")
    parser.add_argument("--steps", type=int, metavar="N", help="stop after N steps (default: 20000, or no limit)")
    parser.add_argument("--minutes", type=float, metavar="M", help="stop after M minutes")
    parser.add_argument("--interference", nargs="+", metavar="PATH", help="folders of other sounds, one source each")
    parser.add_argument("--objective", choices=OBJECTIVES, default="default", help="what is trained for")
    parser.add_argument("--dim", type=int, default=32, metavar="N", help="width of the networks (default: 32)")
    parser.add_argument("--segment", type=int, choices=SEGMENTS, default=16384, help="samples a prior plays")
    parser.add_argument("--sample-rate", type=int, default=16000, metavar="HZ", help="(default: 16000)")
    parser.add_argument("--checkpoint-every", type=int, default=500, metavar="N", help="steps (default: 500)")
    parser.add_argument("--resume", action="store_true", help="continue from the last checkpoint, if there is one")
    parser.add_argument("--init-from", metavar="MODEL", help="begin with a finished prior's weights")
    parser.add_argument("--licence", default="not stated", help="of the recordings, for the card")
    add_common(parser, out="the model's folder (default: gan/NAME in the first writable library)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Train; print where the prior is."""
    from gansep.nets.wavegan import PriorConfig
    from gansep.training.api import PriorSettings, Provenance, train_prior

    _check(args)
    steps = args.steps if args.steps or args.minutes else 20000
    settings = PriorSettings(
        args.objective,
        steps,
        args.minutes,
        args.checkpoint_every,
        PriorConfig(args.dim, segment=args.segment, sample_rate=args.sample_rate),
        seed=args.seed,
        device=args.device,
        init_from=args.init_from,
        library=args.library,
    )
    words = ", ".join(Path(path).resolve().name for path in args.data)
    with reporter(args, "train-prior") as progress:

        def note(event: Progress | str) -> None:
            if isinstance(event, str):
                progress.say(event)
            else:
                progress.update(event.step, steps, **event.losses, minutes_left=event.left / 60)

        folder = train_prior(
            args.data,
            args.name,
            settings,
            interference=args.interference,
            out=args.out,
            resume=args.resume,
            provenance=Provenance(f"recordings in {words}", args.licence),
            on_event=note,
        )
    print(folder)
    return 0


def _check(args: argparse.Namespace) -> None:
    limits = {"--steps": args.steps, "--minutes": args.minutes, "--checkpoint-every": args.checkpoint_every}
    for flag, value in (limits | {"--dim": args.dim, "--sample-rate": args.sample_rate}).items():
        if value is not None and not value > 0:
            raise GansepError(f"{flag} must be above 0, got {value}")
