"""``gansep train-prior``: a folder of one source's sounds to a prior, a generator or a dictionary."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from gansep.cli.common import Subparsers, add_common, reporter
from gansep.cli.training import add_schedule, check_positive, check_seed, flag, steps_of, teller
from gansep.types import GansepError

if TYPE_CHECKING:
    from gansep.training.api import Provenance

OBJECTIVES = ("default", "reconstruction", "r3gan", "wgan-gp")
SEGMENTS = (16384, 32768, 65536)
DIVERGENCES = {"kl": "kullback-leibler", "is": "itakura-saito"}
# What a flag that only one kind has is when it is not given; None in the parser tells that it was not.
DEFAULTS = {
    "gan": {
        "steps": None,
        "minutes": None,
        "interference": None,
        "objective": "default",
        "dim": 32,
        "segment": 16384,
        "checkpoint_every": 500,
        "resume": False,
        "init_from": None,
        "no_listener": False,
        "keep_sounds": 90.0,
    },
    "nmf": {"atoms": 32, "divergence": "kl"},
}


def add_parser(subparsers: Subparsers) -> None:
    """Add the verb."""
    parser = subparsers.add_parser(
        "train-prior",
        help="train a prior on recordings of one source",
        description="Train a prior on recordings of one source. Ctrl-C keeps what was reached; --resume goes on.",
    )
    parser.add_argument("--data", nargs="+", required=True, metavar="PATH", help="folders or files of one source")
    parser.add_argument("--name", help="of the source (default: the folder's name)")
    parser.add_argument("--kind", choices=tuple(DEFAULTS), default="gan", help="a generator, or an NMF dictionary")
    parser.add_argument("--sample-rate", type=int, default=16000, metavar="HZ", help="(default: 16000)")
    parser.add_argument("--licence", default="not stated", help="of the recordings, for the card")
    gan = parser.add_argument_group("flags of --kind gan")
    add_schedule(gan, "a finished prior")
    gan.add_argument("--interference", nargs="+", metavar="PATH", help="folders of other sounds, one source each")
    gan.add_argument("--objective", choices=OBJECTIVES, help="what is trained for (default: default)")
    gan.add_argument("--dim", type=int, metavar="N", help="width of the networks (default: 32)")
    gan.add_argument("--no-listener", action="store_true", default=None, help="masks shall come from the search alone")
    gan.add_argument(
        "--keep-sounds",
        type=float,
        metavar="SECONDS",
        help="of the recordings to keep beside the weights, for later priors to be trained against (default: 90)",
    )
    gan.add_argument("--segment", type=int, choices=SEGMENTS, help="samples a prior plays (default: 16384)")
    nmf = parser.add_argument_group("flags of --kind nmf")
    nmf.add_argument("--atoms", type=int, metavar="N", help="spectra in the dictionary (default: 32)")
    nmf.add_argument("--divergence", choices=DIVERGENCES, help="Kullback-Leibler or Itakura-Saito (default: kl)")
    add_common(parser, out="the model's folder (default: KIND/NAME in the first writable library)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Train; print where the prior is."""
    from gansep.training.api import Provenance

    _settle(args)
    words = ", ".join(Path(path).resolve().name for path in args.data)
    train = {"gan": _train_generator, "nmf": _train_dictionary}[args.kind]
    print(train(args, Provenance(f"recordings in {words}", args.licence)))
    return 0


def _train_generator(args: argparse.Namespace, provenance: Provenance) -> Path:
    from gansep.nets.wavegan import PriorConfig
    from gansep.training.api import PriorSettings, train_prior

    steps = steps_of(args)
    settings = PriorSettings(
        args.objective,
        steps,
        args.minutes,
        args.checkpoint_every,
        PriorConfig(args.dim, segment=args.segment, sample_rate=args.sample_rate),
        seed=args.seed,
        device=args.device,
        init_from=args.init_from,
        listen=not args.no_listener,
        kept=args.keep_sounds,
        library=args.library,
    )
    with reporter(args, "train-prior") as progress:
        return train_prior(
            args.data,
            args.name,
            settings,
            interference=args.interference,
            out=args.out,
            resume=args.resume,
            provenance=provenance,
            on_event=teller(progress, steps),
        )


def _train_dictionary(args: argparse.Namespace, provenance: Provenance) -> Path:
    from gansep.training.nmf import DictionarySettings, train_dictionary

    settings = DictionarySettings(
        args.atoms, DIVERGENCES[args.divergence], seed=args.seed, sample_rate=args.sample_rate
    )
    with reporter(args, "train-prior") as progress:
        return train_dictionary(
            args.data,
            args.name,
            settings,
            out=args.out,
            library=args.library,
            provenance=provenance,
            on_event=teller(progress, settings.iterations),
        )


def _settle(args: argparse.Namespace) -> None:
    """Give the flags of this kind their defaults.

    Raises:
        GansepError: a flag of the other kind, or a number out of range.
    """
    for kind, flags in DEFAULTS.items():
        for name, default in flags.items():
            if kind == args.kind and getattr(args, name) is None:
                setattr(args, name, default)
            elif kind != args.kind and getattr(args, name) is not None:
                raise GansepError(f"{flag(name)} belongs to --kind {kind}, not to {args.kind}; leave it out")
    check_positive(args, "steps", "minutes", "checkpoint_every", "dim", "sample_rate", "atoms")
    check_seed(args)
