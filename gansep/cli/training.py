"""What the training verbs share: when to stop, where to go on, how progress is told."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gansep.cli.common import Reporter
from gansep.types import DataError, GansepError, ModelError

if TYPE_CHECKING:
    from gansep.training.loop import Progress
    from gansep.training.separators import SeparatorSettings

STEPS = 20000  # unless steps or minutes are given
# Of mixtures, unless given; None in the parser tells that it was not.
MIXTURES = {"seconds": 2.0, "gain_db": 9.0, "absent": 0.1, "batch": 16, "rate": 1e-3}
SEEDS = 2**32  # every generator of random numbers takes those below


def add_schedule(group: argparse._ActionsContainer, init_from: str) -> None:
    """Add the flags of a training's length and its checkpoints.

    Args:
        group: a parser, or a group of one. init_from: what ``--init-from`` begins with, for the help text.
    """
    group.add_argument("--steps", type=int, metavar="N", help=f"stop after N steps (default: {STEPS}, or no limit)")
    group.add_argument("--minutes", type=float, metavar="M", help="stop after M minutes")
    group.add_argument("--checkpoint-every", type=int, metavar="N", help="steps (default: 500)")
    group.add_argument(
        "--resume", action="store_true", default=None, help="continue from the last checkpoint, if there is one"
    )
    group.add_argument("--init-from", metavar="MODEL", help=f"begin with {init_from}'s weights")


def steps_of(args: argparse.Namespace) -> int | None:
    """Steps to stop after; none if only minutes are given."""
    return args.steps if args.steps or args.minutes else STEPS


def teller(progress: Reporter, total: int | None) -> Callable[[Progress | str], None]:
    """A callback that shows lines and steps."""

    def note(event: Progress | str) -> None:
        if isinstance(event, str):
            progress.say(event)
        else:
            progress.update(event.step, total, **event.losses, minutes_left=event.left / 60)

    return note


def flag(name: str) -> str:
    """``--checkpoint-every`` of ``checkpoint_every``."""
    return "--" + name.replace("_", "-")


def check_positive(args: argparse.Namespace, *names: str) -> None:
    """See that numbers that were given are above 0.

    Raises:
        GansepError: one is not.
    """
    for name in names:
        value = getattr(args, name)
        if value is not None and not value > 0:
            raise GansepError(f"{flag(name)} must be above 0, got {value}")


def check_seed(args: argparse.Namespace) -> None:
    """See that a training can draw by the seed.

    Raises:
        GansepError: it cannot.
    """
    if not 0 <= args.seed < SEEDS:
        raise GansepError(f"--seed must be in 0 to {SEEDS - 1}, got {args.seed}")


def check_length(args: argparse.Namespace, least: int) -> None:
    """See that mixtures have as many samples as are needed.

    Raises:
        GansepError: they are shorter.
    """
    if round(args.seconds * args.sample_rate) < least:
        needed = f"{least / args.sample_rate:.6g} for this network at {args.sample_rate} Hz"
        raise GansepError(f"--seconds must be at least {needed}, got {args.seconds}")


def add_mixtures(parser: argparse.ArgumentParser) -> None:
    """Add the flags of a training on mixtures: sounds, how they are mixed, when to stop."""
    parser.add_argument("--data", nargs="+", required=True, metavar="DIR", help="a folder a source, or NAME=DIR")
    parser.add_argument("--name", help="of the model (default: its sources' names, joined by hyphens)")
    parser.add_argument("--sample-rate", type=int, default=16000, metavar="HZ", help="(default: 16000)")
    parser.add_argument("--licence", default="not stated", help="of the recordings, for the card")
    mixing = parser.add_argument_group("mixtures, made on the fly")
    mixing.add_argument("--seconds", type=float, metavar="S", help="length of one (default: 2)")
    mixing.add_argument(
        "--snr", nargs=2, type=float, metavar=("LOW", "HIGH"), help="first source over each other, in dB of power"
    )
    mixing.add_argument(
        "--gain-db", type=float, metavar="DB", help="without --snr: of each peak, either way (default: 9)"
    )
    mixing.add_argument("--absent", type=float, metavar="P", help="chance to be silent (default: 0.1)")
    mixing.add_argument("--batch", type=int, metavar="B", help="mixtures a step (default: 16)")
    mixing.add_argument("--rate", type=float, metavar="R", help="largest step size (default: 0.001)")
    schedule = parser.add_argument_group("training")
    add_schedule(schedule, "a finished model")


def sources_of(args: argparse.Namespace) -> dict[str, Path]:
    """The folder of each source that ``--data`` names.

    Raises:
        DataError: two of one name, or a name that no file can have.
    """
    from gansep.library.card import check_sources

    folders: dict[str, Path] = {}
    for item in args.data:
        name, equals, folder = item.partition("=")
        if not equals or Path(item).exists():
            name, folder = Path(item).resolve().name, item
        if name in folders:
            raise DataError(f"two sources are called {name}; name one otherwise, as other={folder}")
        folders[name] = Path(folder)
    try:
        check_sources(list(folders))
    except ModelError as error:
        raise DataError(f"{error}; name it otherwise, as --data NAME=DIR") from error
    return folders


def settings_of(args: argparse.Namespace, **more: Any) -> SeparatorSettings:
    """Settings of a training on mixtures; ``more`` of how they are mixed.

    Raises:
        GansepError: a number out of range, or flags that exclude each other.
    """
    from gansep.training.mixing import Mixing
    from gansep.training.separators import SeparatorSettings

    check_positive(args, "steps", "minutes", "checkpoint_every", "sample_rate", "batch", "rate")
    check_seed(args)
    if args.snr and args.gain_db is not None:
        raise GansepError("--gain-db and --snr both say how loud the sources are; leave one out")
    for name, default in MIXTURES.items():
        if getattr(args, name) is None:
            setattr(args, name, default)
    snr: Any = tuple(args.snr) if args.snr else None
    mixing = checked(Mixing, args.seconds, args.gain_db, snr, args.absent, **more)
    check_length(args, 1)
    return SeparatorSettings(
        args.loss or "",
        steps_of(args),
        args.minutes,
        args.checkpoint_every or 500,
        args.batch,
        args.rate,
        mixing,
        seed=args.seed,
        device=args.device,
        init_from=args.init_from,
        library=args.library,
    )


def checked(make: Callable[..., Any], *values: Any, **named: Any) -> Any:
    """What a settings class makes of flags; its refusal becomes one line."""
    try:
        return make(*values, **named)
    except ValueError as error:
        raise GansepError(str(error)) from error
