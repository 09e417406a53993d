"""Make examples/ and tests/clips from held-out, openly licensed recordings.

python scripts/make_examples.py --data DATA
"""

from __future__ import annotations

import argparse
from pathlib import Path

from gansep.audio import read, write
from gansep.research.protocol import Mixture, mixtures

CLIPS = {  # one second each, for tests on real sound
    "digits": "digits/valid/ar_s02_d3_0*.flac",
    "drums": "drums/valid/tr505_*snare*.flac",
    "piano": "piano/valid/bwv861-prelude*.flac",
}


def find(data: Path, task: str, condition: str, kit: str) -> Mixture:
    """The first held-out mixture whose drums come from one kit."""
    return next(m for m in mixtures(data, task, condition, "valid", 100) if kit in m.group)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--examples", type=Path, default=Path("examples"))
    parser.add_argument("--clips", type=Path, default=Path("tests/clips"))
    args = parser.parse_args()
    long = find(args.data, "drums-piano", "sequence", "tr505")
    short = find(args.data, "digits-drums", "paper", "tr505")
    for name, example in (("mix", long), ("short", short)):
        mixture = 0.9 * example.mixture / example.mixture.abs().max()
        write(args.examples / f"{name}.wav", mixture, example.sample_rate, "PCM_16")
        print(name, example.name, example.group, tuple(example.mixture.shape))
    for name, pattern in CLIPS.items():
        file = sorted(args.data.glob(pattern))[0]
        wave, rate = read(file)
        write(args.clips / f"{name}.flac", wave[:, :16384], rate, "PCM_16")
        print(name, file.name)


if __name__ == "__main__":
    main()
