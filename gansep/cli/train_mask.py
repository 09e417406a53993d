"""``gansep train-mask``: folders of single sources to a network that masks their mixtures."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from gansep.cli.common import Subparsers, add_common, reporter
from gansep.cli.training import add_mixtures, check_positive, checked, settings_of, sources_of, steps_of, teller

if TYPE_CHECKING:
    from gansep.nets.spectral import NetConfig

TARGETS = ("ibm", "irm", "iam", "psm", "orm", "cirm", "crm")
LOSSES = ("mse", "rmse", "mae", "cross-entropy", "signal", "snr", "si-sdr")
NETWORKS = ("tfconv", "dnn", "blstm")
FEATURES = ("log", "magnitude", "power")


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
        "--loss", choices=LOSSES, default="", help="(default: cross-entropy for ibm, snr for crm, else mse)"
    )
    add_network(parser)
    add_common(parser, out="the model's folder (default: mask/NAME in the first writable library)")
    parser.set_defaults(run=run)


def add_network(parser: argparse.ArgumentParser) -> None:
    """Add the flags of a network that hears spectrograms."""
    net = parser.add_argument_group("network")
    net.add_argument("--network", choices=NETWORKS, default="tfconv", help="(default: tfconv)")
    net.add_argument("--width", type=int, default=0, metavar="N", help="of layers (dnn 2048, blstm 256, tfconv 192)")
    net.add_argument("--depth", type=int, default=0, metavar="N", help="layers (dnn 3, blstm 2, tfconv 10)")
    net.add_argument("--causal", action="store_true", help="hear nothing ahead, for --stream")
    net.add_argument(
        "--context", type=int, default=2, metavar="N", help="frames either side that dnn hears (default: 2)"
    )
    net.add_argument("--edges", choices=("zero", "drop"), default="zero", help="dnn's context at the ends")
    net.add_argument("--dropout", type=float, default=0.2, metavar="P", help="of dnn and blstm (default: 0.2)")
    net.add_argument("--feature", choices=FEATURES, default="log", help="what it hears of a spectrum (default: log)")
    net.add_argument("--floor", type=float, default=1e-3, metavar="X", help="magnitude added before the logarithm")
    net.add_argument("--n-fft", type=int, default=512, metavar="N", help="samples of a window (default: 512)")
    net.add_argument("--hop", type=int, metavar="N", help="samples between frames (default: half a window)")


def network_of(args: argparse.Namespace) -> NetConfig:
    """The network that the flags ask for.

    Raises:
        GansepError: sizes that cannot be.
    """
    from gansep.nets.spectral import NetConfig

    check_positive(args, "hop")
    names = ("network", "width", "depth", "n_fft", "sample_rate", "feature", "floor", "context", "edges", "dropout")
    flags = {name: getattr(args, name) for name in names}
    return checked(NetConfig, hop=args.hop or args.n_fft // 2, causal=args.causal, **flags)


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
