"""``gansep denoise``: recordings without their noise, file by file or as they are played."""

from __future__ import annotations

import argparse
import os
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from gansep.cli.common import Subparsers, add_common, reporter
from gansep.cli.files import expand_pattern, say_failures, use_threads
from gansep.types import GansepError

if TYPE_CHECKING:
    from gansep.audio.streaming import PipeFormat
    from gansep.denoise import Denoised, Denoising

RAW = ("s16le", "f32le")
FIELDS = (
    "keep",
    "strength",
    "sources",
    "backend",
    "model",
    "format",
    "float32",
    "overwrite",
    "raw",
    "same_masks",
    "device",
    "library",
)  # of a Denoising


def add_parser(subparsers: Subparsers) -> None:
    """Add the verb."""
    parser = subparsers.add_parser(
        "denoise",
        help="keep one source of recordings, speech without the noise",
        description="Keep one source of recordings: files of the same names, lengths, rates and channels; "
        "or, with --stream, what comes through a pipe.",
    )
    parser.add_argument("inputs", nargs="*", metavar="FILE", help="recordings, folders or patterns")
    parser.add_argument("--keep", metavar="NAME", help="source to keep (default: the first one, speech)")
    parser.add_argument("--strength", type=float, default=1.0, metavar="S", help="0 keeps all, 1 (default) the source")
    parser.add_argument("--sources", metavar="A,B", help="of the model (default: speech,noise)")
    parser.add_argument("--backend", default="mask", metavar="NAME", help="mask (default), mapping or autoencoder")
    parser.add_argument("--model", metavar="NAME", help="a model or its folder, instead of the one with these sources")
    parser.add_argument("--format", choices=("wav", "flac"), help="of the results (default: the input's, else wav)")
    parser.add_argument("--float32", action="store_true", help="32-bit float samples (wav) instead of 24-bit integers")
    parser.add_argument("--overwrite", action="store_true", help="replace existing results")
    parser.add_argument(
        "--raw",
        action="store_true",
        help="the network's own sound instead of shares of the recording; for files, --stream always writes it",
    )
    parser.add_argument("--same-masks", action="store_true", help="one mask for all channels, whatever stands where")
    parser.add_argument("--jobs", type=int, metavar="N", help="processor threads (default: all)")
    group = parser.add_argument_group("stream", "stdin to stdout, block by block, with a causal model")
    group.add_argument("--stream", action="store_true", help="read WAV from stdin and write WAV to stdout")
    group.add_argument("--raw-input", choices=RAW, help="samples without a header, in and out; with --rate")
    group.add_argument("--rate", type=int, metavar="HZ", help="of raw samples")
    group.add_argument("--channels", type=int, metavar="N", help="of raw samples, interleaved (default: 1)")
    add_common(parser, out="folder of the results (default: denoised)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Denoise files, or a stream."""
    _check(args)
    from gansep.denoise import Denoising

    use_threads(args.jobs)
    how = Denoising(**{name: getattr(args, name) for name in FIELDS})
    return _stream(args, how) if args.stream else _files(args, how)


def _check(args: argparse.Namespace) -> None:
    """Refuse flags that say nothing here."""
    if args.stream:
        given = {"-o": args.out, "--format": args.format, "--float32": args.float32, "--overwrite": args.overwrite}
        given |= {"--same-masks": args.same_masks}
        if args.raw:
            raise GansepError("--raw: a stream is always the network's own sound; leave it out")
        given |= {f"the file {name}": name for name in args.inputs[:1]}
        where, place = "files", "with --stream, which reads stdin and writes stdout"
    else:
        given = {"--raw-input": args.raw_input, "--rate": args.rate, "--channels": args.channels}
        where, place = "streams", "without --stream"
        if not args.inputs:
            raise GansepError("no input files given; name recordings or folders, or use --stream for a pipe")
    if wrong := [flag for flag, value in given.items() if not (value is None or value is False)]:
        raise GansepError(f"{', '.join(wrong)}: for {where}, not {place}")
    if args.raw_input and args.rate is None:
        raise GansepError("--raw-input needs the sample rate, as --rate 48000")
    if args.stream and not args.raw_input and (args.rate, args.channels) != (None, None):
        raise GansepError("--rate and --channels are for --raw-input; a WAV header says them itself")


def _files(args: argparse.Namespace, how: Denoising) -> int:
    from gansep.denoise import denoise_files

    inputs = [path for item in args.inputs for path in expand_pattern(item)]
    with reporter(args, "denoise", "window") as progress:
        outcome = denoise_files(inputs, args.out or Path("denoised"), how, on_window=progress.update)
        if outcome.card:  # a model of one's own may stand before the one that comes along
            progress.say(f"by {outcome.card.kind}/{outcome.card.name}, trained on {outcome.card.data}")
    for denoised in outcome.done:
        print(_describe(denoised))
    return say_failures(len(outcome.done), outcome.failed)


def _describe(denoised: Denoised) -> str:
    loud = f"  (at {denoised.gain:.3f} of the input's level, so that nothing clips)" if denoised.gain != 1 else ""
    return f"{denoised.output}{loud}"


def _stream(args: argparse.Namespace, how: Denoising) -> int:
    """Pass on stdin to stdout; notes about it go to stderr."""
    from gansep.audio.streaming import PipeFormat, padding, read_header, write_header
    from gansep.live import LiveDenoiser, denoise_stream, live_separator

    if sys.stdin is None or sys.stdout is None:  # closed, as by <&-
        raise GansepError("--stream reads sound from stdin and writes it to stdout, got one closed; use < and >")
    if sys.stdin.isatty() or sys.stdout.isatty():
        raise GansepError("--stream reads sound from a pipe and writes it to one, not to a terminal; use < and >")
    separator = live_separator(how)
    read = partial(os.read, sys.stdin.fileno())
    channels = 1 if args.channels is None else args.channels
    form = PipeFormat(args.raw_input, args.rate, channels) if args.raw_input else read_header(read)
    live = LiveDenoiser(separator, form.sample_rate, form.channels, how)
    with reporter(args, "denoise") as notes:
        notes.say(f"latency {1000 * live.latency:.0f} ms{_lost(live.rate, form)}")
        if not args.raw_input:
            _write(write_header(form))
        done = denoise_stream(read, _write, form, live)
        if not args.raw_input:
            _write(padding(form))
        if done.clipped:
            notes.say(f"{done.clipped} samples were past full scale and are clipped; pipe in softer sound, or float")
        length = done.samples / form.sample_rate
        notes.say(f"real-time factor {done.seconds / length:.3f}: {done.seconds:.2f} s for {length:.2f} s of sound")
    return 0


def _lost(rate: int, form: PipeFormat) -> str:
    above = f"; the model works at {rate} Hz, so what lies above {rate / 2000:g} kHz is lost"
    return above if form.sample_rate > rate else ""


def _write(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
