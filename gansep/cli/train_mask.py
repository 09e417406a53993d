"""``gansep train-mask``: folders of single sources to a network that masks their mixtures."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from gansep.cli.common import Subparsers, add_common, reporter
from gansep.cli.training import (
    add_mixtures,
    check_length,
    check_positive,
    checked,
    flag,
    settings_of,
    sources_of,
    steps_of,
    teller,
)
from gansep.types import GansepError

if TYPE_CHECKING:
    from gansep.nets.spectral import NetConfig

TARGETS = ("ibm", "irm", "iam", "psm", "orm", "cirm", "crm")
LOSSES = ("mse", "rmse", "mae", "cross-entropy", "signal", "snr", "si-sdr")
NETWORKS = ("tfconv", "dnn", "blstm")
FEATURES = ("log", "magnitude", "power")
# What a flag of the network is when it is not given; None in the parser tells that it was not.
DEFAULTS = {
    "network": "tfconv",
    "context": 2,
    "edges": "zero",
    "dropout": 0.2,
    "feature": "log",
    "floor": 1e-3,
    "n_fft": 512,
}
# Flags that only some have: by which other flag, and which values of it.
BELONGS = {
    "context": ("network", ("dnn",)),
    "edges": ("network", ("dnn",)),
    "dropout": ("network", ("dnn", "blstm")),
    "floor": ("feature", ("log",)),
}


def add_parser(subparsers: Subparsers) -> None:
    """Add the verb."""
    parser = subparsers.add_parser(
        "train-mask",
        help="train masks for a fixed set of sources",
        description="Train a network that masks mixtures of a fixed set of sources, on mixtures made of recordings of "
        "each alone. Ctrl-C keeps what was reached; --resume goes on.",
    )
    add_mixtures(parser)
    parser.add_argument("--mask", choices=TARGETS, default="irm", help="what is learned (default: irm)")
    parser.add_argument(
        "--loss",
        choices=LOSSES,
        default="",
        help="of the mask, or of the sound that it makes: signal, snr, si-sdr (default: snr; for ibm cross-entropy)",
    )
    add_network(parser)
    add_common(parser, out="the model's folder (default: mask/NAME in the first writable library)")
    parser.set_defaults(run=run)


def add_network(parser: argparse.ArgumentParser) -> None:
    """Add the flags of a network that hears spectrograms."""
    net = parser.add_argument_group("network")
    net.add_argument("--network", choices=NETWORKS, help="(default: tfconv)")
    net.add_argument("--width", type=int, default=0, metavar="N", help="of layers (dnn 2048, blstm 256, tfconv 192)")
    net.add_argument("--depth", type=int, default=0, metavar="N", help="layers (dnn 3, blstm 2, tfconv 10)")
    net.add_argument("--causal", action="store_true", help="hear nothing ahead; with tfconv for denoise --stream")
    net.add_argument("--context", type=int, metavar="N", help="frames either side that dnn hears (default: 2)")
    net.add_argument("--edges", choices=("zero", "drop"), help="dnn's context at the ends (default: zero)")
    net.add_argument("--dropout", type=float, metavar="P", help="of dnn and blstm (default: 0.2)")
    net.add_argument("--feature", choices=FEATURES, help="what it hears of a spectrum (default: log)")
    net.add_argument("--floor", type=float, metavar="X", help="added to magnitudes of --feature log (default: 0.001)")
    net.add_argument("--n-fft", type=int, metavar="N", help="samples of a window (default: 512)")
    net.add_argument("--hop", type=int, metavar="N", help="samples between frames (default: half a window)")


def network_of(args: argparse.Namespace) -> NetConfig:
    """The network that the flags ask for.

    Raises:
        GansepError: sizes that cannot be, a flag that is another network's, or mixtures too short for this one.
    """
    from gansep.nets.spectral import NetConfig

    _settle(args)
    check_positive(args, "hop")
    names = ("network", "width", "depth", "n_fft", "sample_rate", "feature", "floor", "context", "edges", "dropout")
    flags = {name: getattr(args, name) for name in names}
    config = checked(NetConfig, hop=args.hop or args.n_fft // 2, causal=args.causal, **flags)
    check_length(args, max(config.n_fft, (2 * config.dropped + 1) * config.hop))  # two frames are left, to normalise by
    return config


def _settle(args: argparse.Namespace) -> None:
    """Give the flags of the network their defaults.

    Raises:
        GansepError: a flag that what was chosen does not have.
    """
    given = [name for name in DEFAULTS if getattr(args, name) is not None]
    for name, default in DEFAULTS.items():
        if name not in given:
            setattr(args, name, default)
    for name, (choice, owners) in BELONGS.items():
        if name in given and getattr(args, choice) not in owners:
            belongs = f"{flag(name)} belongs to {flag(choice)} {' or '.join(owners)}"
            raise GansepError(f"{belongs}, not to {getattr(args, choice)}; leave it out")


def run(args: argparse.Namespace) -> int:
    """Train; print where the model is."""
    from gansep.training.api import Provenance
    from gansep.training.separators import train_mask

    folders, settings, config = sources_of(args), settings_of(args), network_of(args)
    with reporter(args, "train-mask") as progress:
        folder = train_mask(
            folders,
            args.name,
            args.mask,
            config,
            settings,
            out=args.out,
            resume=bool(args.resume),
            provenance=Provenance(f"recordings in {', '.join(folders)}", args.licence),
            on_event=teller(progress, steps_of(args)),
        )
    print(folder)
    return 0
