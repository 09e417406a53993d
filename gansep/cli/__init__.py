"""The ``gansep`` command: parse, check, call, write; one file a verb, one line an error.

Exit codes: 0 done, 1 some files failed (the others are written), 2 bad usage or input, 130 interrupted.

A verb's file imports what it needs when it runs, so that ``gansep --help`` does not wait for torch.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from typing import NoReturn

from gansep import __version__
from gansep.cli import (
    compare,
    denoise,
    doctor,
    evaluate,
    priors,
    separate,
    synthesize,
    train_autoencoder,
    train_mapping,
    train_mask,
    train_prior,
)
from gansep.types import GansepError

# In the order of the help text.
TRAINING = (train_prior, train_mask, train_mapping, train_autoencoder)
VERBS = (*TRAINING, separate, denoise, synthesize, evaluate, compare, priors, doctor)

INTERRUPTED = 130


class _Parser(argparse.ArgumentParser):
    """Says wrong usage as every other error is said."""

    def error(self, message: str) -> NoReturn:
        raise GansepError(f"{message}; see {self.prog} --help")


def _end_politely() -> None:
    """Let SIGTERM end the command as Ctrl-C does, so that nothing half done is left behind."""

    def interrupt(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    with suppress(ValueError):  # only the main thread may
        signal.signal(signal.SIGTERM, interrupt)


def build_parser() -> argparse.ArgumentParser:
    """The parser of all verbs; the parsed ``run`` is the verb's function."""
    parser = _Parser(prog="gansep", description="Take recordings apart with generative priors.", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"gansep {__version__}")
    parser.set_defaults(run=None, verbose=False)
    subparsers = parser.add_subparsers(title="verbs", metavar="VERB")
    for verb in VERBS:
        verb.add_parser(subparsers)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code.

    Args:
        argv: arguments; the process's own unless given.
    """
    verbose = False
    _end_politely()
    try:
        parser = build_parser()
        args = parser.parse_args(argv)
        verbose = args.verbose
        if args.run is None:
            parser.print_help(sys.stderr)
            return 2
        code = args.run(args)
        sys.stdout.flush()  # here, where a reader that has gone away is still handled
        return code
    except GansepError as error:
        if verbose:
            traceback.print_exc()
        print(f"gansep: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("gansep: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else the exit flushes and fails once more
        return 1
