"""Make examples/ and tests/clips from held-out, openly licensed recordings.

python scripts/make_examples.py --data DATA
"""

from __future__ import annotations

import argparse
from pathlib import Path

from gansep.audio import read, write
from gansep.research.protocol import Mixture, mixtures

CLIPS = {  # for tests on real sound, and their samples
    "digits": ("digits/valid/ar_s02_d3_0*.flac", 16384),
    "drums": ("drums/valid/tr505_*snare*.flac", 16384),
    "piano": ("piano/valid/bwv861-prelude*.flac", 16384),
    "speech": ("speech/valid/pv_g20_*.flac", 49152),
    "noise": ("noise/valid/washingmachine_*.flac", 49152),
}
NOISY_DB = 5.0  # of speech over noise in noisy.wav


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
    clips = {}
    for name, (pattern, length) in CLIPS.items():
        file = sorted(args.data.glob(pattern))[0]
        wave, rate = read(file)
        clips[name] = wave[:, :length]
        write(args.clips / f"{name}.flac", clips[name], rate, "PCM_16")
        print(name, file.name)
    ratio = clips["speech"].square().mean().sqrt() / clips["noise"].square().mean().sqrt()
    noisy = clips["speech"] + ratio * 10 ** (-NOISY_DB / 20) * clips["noise"]
    write(args.examples / "noisy.wav", 0.9 * noisy / noisy.abs().max(), 16000, "PCM_16")


if __name__ == "__main__":
    main()
