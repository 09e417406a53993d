"""Cut single hits of drums and percussion out of recordings, of about a second each.

    python scripts/cut_hits.py --hits HITS --data DATA

HITS holds one folder a repository, all on GitHub; ``git archive COMMIT | tar -x -C HITS/sampled`` makes the first.

    sampled       oramics/sampled                             84d3405e107ad52986e7ca99af6a4ed3efe205de  see below
    machines      smpldsnds/drum-machines                     a894cb8c72abe15b05e7b4fd4b8ee561c0f9e960  public domain
    synthesizer   freepats/synthesizer-percussion             39bbabce8e0e10aa259d5d94fca329f668733185  CC0 1.0
    cadence       emilykl/cadence                             2bd34101e1b0eeaceea36c3335298003f061ebf9  CC0 1.0
    frankensnare  sfzinstruments/karoryfer.frankensnare       9151c2d79fcbb73c65d63f78918d4ba7abc91a81  CC0 1.0
    gogodze       sfzinstruments/karoryfer.gogodze-phu-vol-i  7452f62060cd3a468c78bc361d96a4dfb30879c9  CC0 1.0
    phu           sfzinstruments/karoryfer.gogodze-phu-vol-ii 69a0274cdc39c99c3098cde1bc3789690de86d62  CC0 1.0
    sonor         sfzinstruments/SamsSonor                    ef3e32058924ed1c3335e86d03094d3f310a9104  CC BY-SA 4.0

In sampled, AVL Drumkits (Glen MacArthur) and the percussion of the Philharmonia Orchestra are under CC BY-SA 3.0; CR-78
and LM-2 are in the public domain, it says. In cadence, CC0 is for its folder sounds; the code is under MIT.

DATA gets ``kits/train/<kit>_<number>.flac``, 16384 samples at 16 kHz each, mono. Nothing is random. Recordings of
several hits, of more than 4 s (of sonor and phu, 30 s) or with a late peak are left out. Sonor is a Sonor Force 3001 by
Sam Greene; front and retro are another kit by two of its microphones. ``--only`` cuts some kits and needs no recordings
of the others.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import librosa
import numpy as np
import soundfile

from gansep.types import DataError, GansepError, OutputError

RATE = 16000  # Hz
SAMPLES = 16384  # of a hit
BEFORE = 48  # samples that are kept before the onset
FADE = 1600  # samples, where a hit is cut off
SEVERAL = re.compile(  # in names of recordings of more than one hit, or of a sound that is none
    r"crescendo|effect|flam|gliss|guiro-long|motor-horn|phrase|ratchet|rhythm|roll|scrap|shaken|squeaker|very-long"
    r"|whistle|wind-chimes"
)


class Kit(NamedTuple):
    """What to cut.

    Attributes:
        pattern: of the recordings below HITS. most: hits to keep, evenly spread over the names.
        longest: seconds of a recording that is not left out.
    """

    name: str
    pattern: str
    most: int = 200
    longest: float = 4


KITS = (
    Kit("avl", "sampled/DRUMS/avl-drumkits-1.1/*.wav"),
    Kit("cr78", "sampled/DM/CR-78/samples/*.wav"),
    Kit("lm2", "sampled/DM/LM-2/samples/*.wav"),
    Kit("cr8000", "machines/Roland-CR-8000/*.ogg"),
    Kit("synthperc", "synthesizer/samples/*.flac"),
    Kit("philharmonia", "sampled/ORCHESTRA/percussion/samples/*/*.mp3"),
    Kit("cadence", "cadence/sounds/*.wav"),
    Kit("frankensnare", "frankensnare/Samples/*/oh/*.flac", 120),
    Kit("cajon", "gogodze/Samples/cajon/dyn/cajon_s*.wav", 60),
    Kit("bobobo", "gogodze/Samples/bobobo/*.wav", 60),
    Kit("sonor", "sonor/Samples/*.flac", 80, longest=30),
    Kit("front", "phu/Samples/front_mic/*.wav", 80, longest=30),
    Kit("retro", "phu/Samples/retro_mic/*.wav", 80, longest=30),
)


def find_recordings(folder: Path, pattern: str) -> list[Path]:
    """Recordings of a kit, in the order of their names."""
    files = sorted(folder.glob(pattern))
    if not files:
        raise DataError(f"no recordings in {folder / pattern}; --help says which repositories to extract there")
    return files


def read(file: Path, longest: float) -> np.ndarray | None:
    """A recording ``[T]`` at 16 kHz; nothing if it is too short, too long or damaged."""
    try:
        channels, rate = soundfile.read(file, dtype="float32", always_2d=True)
    except (OSError, soundfile.LibsndfileError) as error:
        raise DataError(f"{file}: cannot be read: {error}") from error
    if not 64 <= len(channels) <= longest * rate or not np.isfinite(channels).all():
        return None
    wave = channels.mean(1)
    return wave if rate == RATE else librosa.resample(wave, orig_sr=rate, target_sr=RATE, res_type="soxr_hq")


def cut(wave: np.ndarray) -> np.ndarray | None:
    """A hit of :data:`SAMPLES` from just before its onset; nothing if it is silent or swells, as a roll does."""
    loud = np.abs(wave)
    peak = loud.max()
    onset = int(np.argmax(loud > 0.02 * peak))
    if peak < 0.004 or loud.argmax() - onset > 0.4 * RATE:
        return None
    wave = wave[max(0, onset - BEFORE) :]
    if len(wave) > SAMPLES:
        wave = wave[:SAMPLES].copy()
        wave[-FADE:] *= np.linspace(1, 0, FADE, dtype=np.float32)
    wave = np.pad(wave, (0, SAMPLES - len(wave)))
    return wave * min(1, 0.999 / np.abs(wave).max())


def cut_all(files: Iterable[Path], longest: float) -> list[np.ndarray]:
    """The hits ``[T]`` of all recordings that have one."""
    waves = (read(file, longest) for file in files if not SEVERAL.search(file.name))
    hits = (cut(wave) for wave in waves if wave is not None)
    return [hit for hit in hits if hit is not None]


def write(file: Path, hit: np.ndarray) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(file, hit, RATE, subtype="PCM_16")
    except (OSError, soundfile.LibsndfileError) as error:
        raise OutputError(f"{file}: cannot be written: {error}") from error


def cut_kit(kit: Kit, files: list[Path], data: Path) -> None:
    """Write the hits of a kit."""
    hits = cut_all(files, kit.longest)
    if not hits:
        raise DataError(f"no usable hits of {kit.name}: all {len(files)} recordings are left out")
    kept = np.linspace(0, len(hits) - 1, min(kit.most, len(hits))).round().astype(int)
    print(f"{kit.name}: {len(kept)} of {len(hits)} hits in {len(files)} recordings", flush=True)
    for number, index in enumerate(kept):
        write(data / "kits" / "train" / f"{kit.name}_{number:03d}.flac", hits[index])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hits", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    names = [kit.name for kit in KITS]
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="KIT", help="default: all")
    args = parser.parse_args()
    wanted = [kit for kit in KITS if kit.name in args.only]
    try:
        found = [find_recordings(args.hits, kit.pattern) for kit in wanted]
        for kit, files in zip(wanted, found, strict=True):
            cut_kit(kit, files, args.data)
    except GansepError as error:
        print(f"cut_hits.py: error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
