"""Render phrases of guitar and upright piano from recordings of single notes.

    python scripts/render_notes.py --notes NOTES --data DATA

NOTES holds one folder a repository, all on GitHub; ``git archive COMMIT | tar -x -C NOTES/nylon`` makes the first.

    nylon  freepats/spanish-classical-guitar  6f4eb1b092acc88f5448cea1a0001bd07b971af8  CC0 1.0
    strat  nyanshell/nyanshell.strat          915c43561dc15757160acc3c024e1ee935ca81e6  MIT
    lofi   magenta/lofi-player                e8e49d2c40169c57e593d83e1c208e58e6557717  Apache-2.0 (but see below)
    steel  CalebSutherland/MyTuner            978528bdc0712809d14246b671bf93b8edabc651  CC BY 3.0 (guitar_sounds)
    kawai  freepats/upright-piano-KW          570f6c60ed2eff67accad3b85d5b452e57a3ad28  CC0 1.0
    shiny  sfzinstruments/karoryfer.shinyguitar        57243cca85277dbcc120ce17c6178032f93c80f3  CC0 1.0
    emily  sfzinstruments/karoryfer.emilyguitar        b4920dc662fd9cad6dcaccdeecffdd91c8725d8c  CC0 1.0
    hollow kmturley/karoryfer.black-and-green-guitars  f370da48d37869ed4d1b268fdb221547ac28919f  CC0 1.0
    yamaha sfzinstruments/BengtNilsson.HeadroomPiano   2a7df3f7252227a3484202c1d61bc1bfe352a971  CC BY 4.0
    player freepats/old-piano-FB                       9707673c65d8a52d7b374af807384005564a89f2  CC0 1.0
    bank   sfzinstruments/Discord-SFZ-GM-Bank          7a9c478fe331f94f246d33332f0adedb25bbbe27  see below

lofi is under Apache-2.0 and does not say where its notes come from. By their names they are those of
nbrosowsky/tonejs-instruments (CC BY 3.0): a guitar of the University of Iowa and a piano of VSCO 2 CE.

DATA gets phrases of 16 s, ``<instrument>_<number>.flac``, 16 kHz: nylon, strat and iowa in ``guitar/train``, steel in
``guitar/valid``, kawai in ``upright/train``, vsco in ``upright/valid``. Every file has its own seed, so that all are
the same each time. ``dev`` has iowa alone (gansep/research/sources.py).

``guitars/train`` gets martin (steel strings), archtop and pickup (shiny: one archtop guitar by a microphone and by
its pickup), emily (an electric guitar with flatwound strings), gretsch and hofner (hollow: two electric guitars with
hollow bodies). ``pianos/train`` gets yamaha and hall (one C3 grand from near and from afar), player (a player
piano) and salamander (a C5 grand, with gaps between its notes that are too wide to fill).

In bank, the Martin HD28 (Jeff Learman) is under CC0 and the Salamander Grand Piano (Alexander Holm) under CC BY, as
their .sfz files say. The attributes of hollow change line ends even in recordings: use ``git archive
--worktree-attributes`` in a bare repository. ``--only`` renders some instruments and needs no notes of the others.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple, TypeVar

import librosa
import numpy as np
import soundfile
from numpy.random import Generator
from scipy.signal import lfilter

from gansep.types import DataError, GansepError, OutputError

RATE = 16000  # Hz
SECONDS = 16  # of a phrase
STEPS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}  # semitones above C
NAME = re.compile(  # of a note, behind the string it is played on or how
    r"(?:(?:E2|E4|[ADGB]|twang)_)?([A-Ga-g])([#sSb]?)(\d)(S?)"
)
NUMBER = re.compile(r"(?:.* |MartinGM2_0)(\d+)(?:_.*)?")  # of a note, in a name
LOUD = re.compile(r"vH|_m?f_rr|_vl[34]_|LEVEL[45]")  # in names of notes that were struck hard
SCALES = ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10), (0, 3, 5, 7, 10), (0, 2, 4, 7, 9))  # major, minor, of five

TUNING = (40, 45, 50, 55, 59, 64)  # MIDI notes of the open strings
OPEN = (  # fret of each string, x where it is not played
    {"E": "022100", "Em": "022000", "E7": "020100", "Em7": "022030"}
    | {"A": "x02220", "Am": "x02210", "A7": "x02020", "Am7": "x02010", "Asus2": "x02200"}
    | {"D": "xx0232", "Dm": "xx0231", "D7": "xx0212", "Dsus4": "xx0233", "DF": "2x0232"}
    | {"C": "x32010", "Cmaj7": "x32000", "Cadd9": "x32030", "Csm": "x46654"}
    | {"G": "320003", "Gm": "355333", "Gsm": "466444", "G7": "320001", "GB": "x20003"}
    | {"F": "133211", "Fmaj7": "xx3210", "Fsm": "244222", "B": "x24442", "Bm": "x24432", "B7": "x21202"}
)
PROGRESSIONS = (
    *("G D Em C", "C G Am F", "D A Bm G", "A E Fsm D", "E B Csm A", "Am F C G", "Em C G D", "Am Dm E7 Am"),
    *("G Em C D7", "C Am Dm G7", "D G A7 D", "A D E7 A", "Em Am B7 Em", "Cmaj7 Fmaj7 Am7 Em7", "D Dsus4 A Asus2"),
    *("C Cadd9 G Em7", "G GB C D", "D DF G A", "E A B7 E", "Dm Gm A7 Dm", "Am G F E7", "F C Dm C"),
)
MOVABLE = (  # shapes that go to any fret: whole barres, fifths, on few strings
    *("022100", "022000", "020100", "x02220", "x02210", "x02020"),
    *("022xxx", "x022xx", "x0212x", "xx0222", "xxx000", "xx0213", "0x110x"),
)
STRUMS = (  # strokes down and up in the eighths of a bar
    *("D...D.U.", "D.DU.UDU", "D.D.D.D.", "DUDUDUDU", "D..UD.U."),
    *("D.......", "D...D...", "D..D..D.", "DDDDDDDD", "..U...U."),
)
GUITAR_LENGTHS = {0.25: 0.1, 0.5: 0.4, 1: 0.35, 1.5: 0.1, 2: 0.05}  # beats and how often

TRIADS = {"M": (0, 4, 7), "m": (0, 3, 7), "d7": (0, 4, 7, 10), "M7": (0, 4, 7, 11), "m7": (0, 3, 7, 10)}
CADENCES = (  # semitones above the key
    ((0, "M"), (7, "M"), (9, "m"), (5, "M")),
    ((0, "m"), (8, "M"), (3, "M"), (10, "M")),
    ((2, "m7"), (7, "d7"), (0, "M7"), (9, "m7")),
    ((0, "M"), (5, "M"), (7, "d7"), (0, "M")),
    ((9, "m"), (5, "M"), (0, "M"), (7, "M")),
    ((0, "m"), (5, "m"), (7, "d7"), (0, "m")),
)
LEFT_HANDS = ("block", "alberti", "arpeggio", "stride")
PIANO_LENGTHS = {0.25: 0.15, 0.5: 0.4, 1: 0.3, 1.5: 0.1, 2: 0.05}

Chord = dict[int, int]  # MIDI note of each string that sounds, 0 the lowest
Choice = TypeVar("Choice")


class Stroke(NamedTuple):
    """One note of a phrase.

    Attributes:
        start, length, release: in seconds. pitch: MIDI note. velocity: 0 to 1.
        voice: string or key, which sounds one note at a time.
    """

    start: float
    length: float
    pitch: int
    velocity: float
    voice: int
    release: float


class Recording(NamedTuple):
    """A recorded note from its onset, ``[T]`` at its own rate in Hz; ``loud`` if it was struck hard."""

    wave: np.ndarray
    rate: int
    loud: bool


def named_pitch(file: Path) -> int:
    """MIDI note that a file's name says: 57 for ``A3``, 58 for ``A#3``, ``As3``, ``G_Bb3_mp_1``, ``A3S``, ``F 58``."""
    if number := NUMBER.fullmatch(file.stem):
        return int(number[1])
    match = NAME.match(file.stem)
    if not match:
        raise DataError(f"{file}: expected a file that is called as its note, like A3 or As3")
    step, accidental, octave, late = match.groups()
    sharp = -1 if accidental == "b" else bool(accidental)
    return STEPS[step.upper()] + sharp + bool(late) + 12 * (int(octave) + 1)


def read_note(file: Path) -> tuple[np.ndarray, int] | None:
    """Up to 5 s of a recording from just before its onset, and its rate; nothing if it is silent."""
    try:
        channels, rate = soundfile.read(file, always_2d=True)
    except (OSError, soundfile.LibsndfileError) as error:
        raise DataError(f"{file}: cannot be read: {error}") from error
    wave = channels.mean(1)
    if len(wave) < 0.1 * rate or np.abs(wave).max() < 1e-4:
        return None
    onset = int(np.argmax(np.abs(wave) > 0.03 * np.abs(wave).max()))
    return wave[max(0, onset - int(0.002 * rate)) :][: 5 * rate], rate


def detuning(wave: np.ndarray, rate: int, pitch: int) -> float:
    """Semitones from a MIDI note to what is heard, NaN where the recording is too short to tell."""
    steady = librosa.resample(wave[int(0.05 * rate) : int(0.65 * rate)], orig_sr=rate, target_sr=RATE)
    if len(steady) <= 2048:
        return float("nan")
    f0 = librosa.yin(steady, fmin=25, fmax=4500, sr=RATE, frame_length=2048)
    return float(librosa.hz_to_midi(np.median(f0)) - pitch)


def is_off(semitones: float) -> bool:
    """Whether a note is out of tune; pitch trackers err by octaves, which says nothing."""
    if abs(semitones) > 5:
        semitones -= 12 * np.round(semitones / 12)
    return abs(semitones) > 0.6


class Notes:
    """The recorded notes of an instrument, by MIDI note.

    Names may be octaves off, which the median pitch tells. Notes out of tune are left out; all get one level.
    """

    def __init__(self, files: Iterable[Path]) -> None:
        self.recordings: dict[int, list[Recording]] = {}
        self.left_out: list[str] = []
        self._made: dict[tuple[int, int, int], np.ndarray] = {}
        heard = []
        for file in files:
            if (note := read_note(file)) is None:
                self.left_out.append(file.name)
            else:
                heard.append((file, *note, detuning(*note, named_pitch(file))))
        known = [off for *_, off in heard if np.isfinite(off)]
        octaves = 12 * round(float(np.median(known)) / 12) if known else 0
        for file, wave, rate, off in heard:
            if is_off(off - octaves):
                self.left_out.append(file.name)
                continue
            level = np.sqrt(np.mean(wave[: int(0.4 * rate)] ** 2)) + 1e-9
            note = Recording(wave * (0.1 / level), rate, bool(LOUD.search(file.name)))
            self.recordings.setdefault(named_pitch(file) + octaves, []).append(note)

    def __len__(self) -> int:
        return sum(map(len, self.recordings.values()))

    def choose(self, pitch: int, velocity: float, rng: Generator) -> np.ndarray | None:
        """A note ``[T]`` at 16 kHz from a recording at most two semitones away, nothing if there is none."""
        for distance in range(3):
            distance = distance if rng.random() < 0.5 else -distance
            for near in (pitch - distance, pitch + distance):
                if near in self.recordings:
                    return self._tuned(near, self._take(near, velocity, rng), pitch)
        return None

    def _take(self, pitch: int, velocity: float, rng: Generator) -> int:
        """Which of the recordings of a note: where some were struck hard, that depends on the velocity."""
        notes = self.recordings[pitch]
        takes = range(len(notes))
        if len({note.loud for note in notes}) > 1:
            loud = rng.random() < 2 * (velocity - 0.25)
            takes = [take for take in takes if notes[take].loud == loud]
        return int(rng.choice(takes))

    def _tuned(self, near: int, take: int, pitch: int) -> np.ndarray:
        """A recording played faster or slower, to another pitch, with faded ends."""
        key = (near, take, pitch)
        if key not in self._made:
            note = self.recordings[near][take]
            rate = note.rate * 2 ** ((pitch - near) / 12)
            wave = librosa.resample(note.wave, orig_sr=rate, target_sr=RATE).astype(np.float32)
            wave[:16] *= np.linspace(0, 1, 16)
            fade = min(len(wave), RATE // 10)
            wave[-fade:] *= np.linspace(1, 0, fade)
            self._made[key] = wave
        return self._made[key]


def mix(notes: Notes, strokes: Iterable[Stroke], rng: Generator) -> np.ndarray:
    """A phrase ``[T]``; a note of a voice is damped where the voice's next one begins."""
    out = np.zeros((SECONDS + 1) * RATE, np.float32)
    following: dict[int, float] = {}  # start of the voice's next note
    strokes = [stroke._replace(start=max(0, stroke.start)) for stroke in strokes]
    for stroke in sorted(strokes, reverse=True):
        if stroke.start >= SECONDS - 0.05:
            continue
        wave = notes.choose(stroke.pitch, stroke.velocity, rng)
        if wave is None:
            continue
        end = following.get(stroke.voice, float("inf"))
        following[stroke.voice] = stroke.start
        if end < stroke.start + stroke.length:
            stroke = stroke._replace(length=max(end - stroke.start, 0.01), release=0.02)
        first = int(stroke.start * RATE)
        wave = played(wave, stroke)[: len(out) - first]
        out[first : first + len(wave)] += wave
    out = out[: SECONDS * RATE]
    fade = int(0.03 * RATE)
    out[-fade:] *= np.linspace(1, 0, fade)
    return out


def played(wave: np.ndarray, stroke: Stroke) -> np.ndarray:
    """A note ``[T]`` as long and as loud as a stroke; soft ones are darker."""
    wave = wave[: int((stroke.length + stroke.release) * RATE)].copy()
    if stroke.velocity < 0.75:
        pole = 0.55 * (0.75 - stroke.velocity)
        wave = np.asarray(lfilter([1 - pole], [1, -pole], wave), np.float32)
    fade = min(len(wave), int(stroke.release * RATE))
    if fade > 1:
        wave[-fade:] *= np.cos(np.linspace(0, np.pi / 2, fade)) ** 2
    return wave * 10 ** ((stroke.velocity - 1) * 18 / 20)


def weighted(weights: dict[Choice, float], rng: Generator) -> Choice:
    """One of the keys, as often as their values say."""
    return list(weights)[rng.choice(len(weights), p=list(weights.values()))]


@dataclass(frozen=True)
class Touch:
    """A player who is neither exact nor even.

    Attributes:
        loudness: mean velocity. late, uneven: deviations of starts in seconds and of velocities.
    """

    rng: Generator
    loudness: float
    late: float
    uneven: float

    def lag(self, late: float | None = None) -> float:
        """Seconds by which a note comes late."""
        return self.rng.normal(0, self.late if late is None else late)

    def velocity(self, accent: float = 0.0) -> float:
        """How hard a note is struck, 0.2 to 1."""
        return float(np.clip(self.loudness + accent + self.rng.normal(0, self.uneven), 0.2, 1))


@dataclass(frozen=True)
class Passage:
    """Some bars of a guitar, four beats each.

    Attributes:
        chords: one a bar, again and again. start, beat: in seconds. lowest, highest: MIDI notes of the instrument.
    """

    touch: Touch
    chords: Sequence[Chord]
    start: float
    beat: float
    bars: int
    lowest: int
    highest: int

    @property
    def end(self) -> float:
        return self.start + self.bars * 4 * self.beat

    def time(self, bar: int, beats: float) -> float:
        """Seconds at which a beat of a bar begins."""
        return self.start + (bar * 4 + beats) * self.beat

    def chord(self, bar: int) -> Chord:
        return self.chords[bar % len(self.chords)]


def fretted(shape: str, fret: int) -> Chord:
    """A chord moved up the neck."""
    return {string: TUNING[string] + int(at) + fret for string, at in enumerate(shape) if at != "x"}


def draw_chords(rng: Generator) -> list[Chord]:
    """A progression of open chords with a capo, or movable ones at four places of the neck."""
    capo = int(rng.integers(0, 5))
    if rng.random() < 0.7:
        return [fretted(OPEN[name], capo) for name in str(rng.choice(PROGRESSIONS)).split()]
    usual, fret = MOVABLE[rng.integers(len(MOVABLE))], int(rng.integers(1, 8))
    chords = []
    for step in rng.choice([0, 2, 3, 5, 7, -2], 4):
        shape = usual if rng.random() < 0.7 else MOVABLE[rng.integers(len(MOVABLE))]
        chords.append(fretted(shape, int(np.clip(fret + step, 0, 10))))
    return chords


def strum(passage: Passage, pattern: str | None = None) -> Iterator[Stroke]:
    """Chords stroked down and up, some of them muted."""
    touch, rng = passage.touch, passage.touch.rng
    pattern = pattern or str(rng.choice(STRUMS))
    pause = rng.uniform(0.005, 0.022) if rng.random() < 0.8 else rng.uniform(0.02, 0.04)  # between strings
    muted = pattern.count(".") < 5 and rng.random() < 0.2
    for bar in range(passage.bars):
        chord = passage.chord(bar)
        for eighth, way in enumerate(pattern):
            if way == "." or rng.random() < 0.06:
                continue
            strings = stroked(list(chord), way, rng)
            start = passage.time(bar, eighth / 2) + touch.lag()
            velocity = touch.velocity(0.1 if eighth in (0, 4) else -0.05)
            length = strum_length(pattern, muted, passage.beat, rng)
            for place, string in enumerate(strings):
                yield Stroke(
                    start + place * pause * rng.uniform(0.8, 1.2),
                    length * rng.uniform(0.9, 1.1),
                    chord[string],
                    float(np.clip(velocity + rng.normal(0, 0.05), 0.15, 1)),
                    string,
                    rng.uniform(0.03, 0.15),
                )


def stroked(strings: list[int], way: str, rng: Generator) -> list[int]:
    """The strings that a stroke reaches, in their order: up only the highest, down sometimes not all."""
    if way == "U":
        return strings[::-1][: int(rng.integers(3, 5))]
    if len(strings) > 4 and rng.random() < 0.3:
        return strings[: int(rng.integers(3, len(strings)))]
    return strings


def strum_length(pattern: str, muted: bool, beat: float, rng: Generator) -> float:
    """Seconds that a stroke sounds; where strokes are few, mostly until the next one."""
    length = rng.uniform(0.1, 0.3) if muted else rng.uniform(0.6, 2.0)
    rests = pattern.count(".")
    if rests > 5 and rng.random() < 0.75:
        length = min(3.5, beat * (4 if rests > 6 else 2)) * rng.uniform(0.8, 1.05)
    return length


def block(passage: Passage) -> Iterator[Stroke]:
    """One chord a bar."""
    return strum(passage, "D.......")


def arpeggio(passage: Passage) -> Iterator[Stroke]:
    """Chords one string after the other, a high string now and then with the first."""
    touch, rng = passage.touch, passage.touch.rng
    parts, order = int(rng.choice([2, 2, 3, 4])), str(rng.choice(["up", "down", "pima", "any"]))
    if passage.beat / parts < 0.09:
        parts = 2
    for bar in range(passage.bars):
        chord = passage.chord(bar)
        strings = picked(list(chord), rng)
        for number in range(4 * parts):
            string = strings[order][number % len(strings[order])]
            start = passage.time(bar, number / parts) + touch.lag()
            length, velocity = rng.uniform(0.5, 2.0), touch.velocity(0.1 if number == 0 else 0.0)
            yield Stroke(start, length, chord[string], velocity, string, rng.uniform(0.05, 0.2))
            if number == 0 and rng.random() < 0.4:
                start, top = passage.time(bar, 0) + touch.lag(), max(chord)
                yield Stroke(start, rng.uniform(0.6, 2.0), chord[top], touch.velocity(), top, 0.1)


def picked(strings: list[int], rng: Generator) -> dict[str, list[int]]:
    """Orders in which strings are picked: the bass, then some of the highest."""
    bass, top = strings[:1], strings[-min(len(strings), int(rng.integers(3, 5))) :]
    return {
        "up": bass + top,
        "down": bass + top + top[-2:0:-1],
        "pima": [*bass, top[-3], top[-2], top[-1], top[-2], top[-3]],
        "any": bass + [int(string) for string in rng.choice(strings, 7)],
    }


def melody(passage: Passage, lowest: int = 43) -> Iterator[Stroke]:
    """A tune in the key of the first chord, in leaps or as a run of eighths."""
    touch, rng = passage.touch, passage.touch.rng
    key, scale = next(iter(passage.chords[0].values())), SCALES[rng.integers(len(SCALES))]
    within = range(max(passage.lowest, lowest), min(passage.highest, 79) + 1)
    pool = [pitch for pitch in within if (pitch - key) % 12 in scale]
    if len(pool) < 3:
        raise DataError(f"notes from {passage.lowest} to {passage.highest} (MIDI) are too few for a tune")
    at = int(rng.integers(len(pool)))
    run, way, time = rng.random() < 0.3, 1, passage.start
    while time < passage.end - 0.01:
        length = max(0.11, passage.beat * (0.5 if run else weighted(GUITAR_LENGTHS, rng)))
        string = string_of(pool[at], rng)
        if rng.random() > 0.07:
            yield from plucked(pool, at, string, time, length, touch)
        at += way if run else int(rng.choice([-3, -2, -1, -1, 0, 1, 1, 2, 3]))
        if not 0 <= at < len(pool):
            way, at = -way, int(np.clip(at, 1, len(pool) - 2))
        if run and rng.random() < 0.08:
            way = -way
        time += length


def string_of(pitch: int, rng: Generator) -> int:
    """The highest string that has a note, or at times the one below."""
    string = max((string for string in range(6) if TUNING[string] <= pitch), default=0)
    lower = string and rng.random() < 0.4 and pitch - TUNING[string - 1] <= 14
    return string - 1 if lower else string


def plucked(pool: list[int], at: int, string: int, time: float, length: float, touch: Touch) -> Iterator[Stroke]:
    """A note of a tune, and at times a lower one of its scale on the next string."""
    rng = touch.rng
    length = length * rng.uniform(0.6, 1.05) if rng.random() < 0.7 else rng.uniform(0.5, 2.0)
    yield Stroke(time + touch.lag(), length, pool[at], touch.velocity(), string, rng.uniform(0.03, 0.1))
    if string and rng.random() < 0.15:
        second = pool[max(0, at - int(rng.choice([2, 2, 5, 3])))]
        if TUNING[string - 1] <= second != pool[at]:
            yield Stroke(time + touch.lag(0.004), length, second, touch.velocity(-0.05), string - 1, 0.08)


def fingerstyle(passage: Passage) -> Iterator[Stroke]:
    """A tune on the higher strings, below it two bass notes a bar."""
    touch, rng = passage.touch, passage.touch.rng
    yield from melody(passage, lowest=57)
    for half in range(2 * passage.bars):
        chord = passage.chord(half // 2)
        low = [string for string in chord if string < 4]
        if low:
            string = low[half % 2] if len(low) > 1 else low[0]
            start = passage.start + half * 2 * passage.beat + touch.lag()
            yield Stroke(start, rng.uniform(0.8, 2.0), chord[string], touch.velocity(0.05), string, 0.12)


STYLES = {strum: 0.32, arpeggio: 0.24, melody: 0.24, fingerstyle: 0.12, block: 0.08}  # and how often


def guitar_phrase(notes: Notes, rng: Generator) -> np.ndarray:
    """Passages in several styles, ``[T]``."""
    strokes: list[Stroke] = []
    time, beat = rng.uniform(0, 0.3), 60 / rng.uniform(60, 150)
    chords = draw_chords(rng)
    while time < SECONDS - 0.3:
        style, bars = weighted(STYLES, rng), int(rng.integers(1, 5))
        touch = Touch(rng, rng.uniform(0.45, 0.9), late=0.008, uneven=0.07)
        passage = Passage(touch, chords, time, beat, bars, min(notes.recordings), max(notes.recordings))
        strokes += style(passage)
        time = passage.end
        if rng.random() < 0.3:
            time += rng.uniform(0.2, 0.9)
        if rng.random() < 0.3:
            chords = draw_chords(rng)
    return mix(notes, strokes, rng)


@dataclass(frozen=True)
class Bar:
    """Four beats of a piano.

    Attributes:
        start, beat: in seconds. key, root: semitones above C. triad: semitones above the root. pedal: if it is down.
    """

    touch: Touch
    start: float
    beat: float
    key: int
    root: int
    triad: Sequence[int]
    pedal: bool

    @property
    def end(self) -> float:
        return self.start + 4 * self.beat

    def note(self, start: float, length: float, pitch: int, accent: float) -> Stroke:
        """A note, held until the end of the bar where the pedal is down."""
        rng, velocity = self.touch.rng, self.touch.velocity(accent)
        held = self.end - start + rng.uniform(0, 0.1) if self.pedal else length * rng.uniform(0.75, 1.0)
        return Stroke(start, max(0.1, held), pitch, velocity, pitch, rng.uniform(0.08, 0.2))


def left_hand(bar: Bar, style: str) -> Iterator[Stroke]:
    """The accompaniment of a bar."""
    low = 36 + bar.root
    triad = [low + 12 + step for step in bar.triad]
    first, third, fifth = triad[:3]
    bass = [low, first]
    arpeggios = {"alberti": [first, fifth, third, fifth], "arpeggio": [low, *triad, first + 12, *triad[::-1]]}
    if style == "block":
        chords, length, accent = {0: [low, *triad], 2: triad}, 2.0, -0.05
    elif style == "stride":
        chords, length, accent = {0: bass, 1: triad, 2: bass, 3: triad}, 0.8, -0.05
    else:
        order = arpeggios[style]
        chords, length, accent = {eighth / 2: [order[eighth % len(order)]] for eighth in range(8)}, 0.5, -0.1
    for beats, chord in chords.items():
        for pitch in chord:
            yield bar.note(bar.start + beats * bar.beat + bar.touch.lag(), bar.beat * length, pitch, accent)


def right_chords(bar: Bar) -> Iterator[Stroke]:
    """Chords of the right hand, some with an octave on top."""
    touch, rng = bar.touch, bar.touch.rng
    chord = sorted(60 + (bar.root + step) % 12 for step in bar.triad)
    for beats in (0, 1, 2, 3) if rng.random() < 0.5 else (0, 1.5, 3):
        start = bar.start + beats * bar.beat + touch.lag()
        for pitch in [*chord, chord[0] + 12] if rng.random() < 0.4 else chord:
            yield bar.note(start + touch.lag(0.004), bar.beat, pitch, 0.03)


def right_tune(bar: Bar, scale: Sequence[int], at: int) -> tuple[list[Stroke], int]:
    """A tune of the right hand from a place in the scale, and the place where it stops."""
    touch, rng = bar.touch, bar.touch.rng
    pool = [pitch for pitch in range(62, 88) if (pitch - bar.key) % 12 in scale]
    strokes, time = [], bar.start
    while time < bar.end - 0.01:
        length = max(0.1, bar.beat * weighted(PIANO_LENGTHS, rng))
        at = int(np.clip(at + rng.choice([-3, -2, -1, 1, 2, 3]), 0, len(pool) - 1))
        if rng.random() > 0.08:
            strokes.append(bar.note(time + touch.lag(), length, pool[at], 0.1))
            if rng.random() < 0.2 and at > 2:
                strokes.append(bar.note(time + touch.lag(0.004), length, pool[at - 2], 0.0))
        time += length
    return strokes, at


def piano_phrase(notes: Notes, rng: Generator) -> np.ndarray:
    """Both hands over cadences in one key, ``[T]``."""
    strokes: list[Stroke] = []
    time, beat, key = rng.uniform(0, 0.3), 60 / rng.uniform(60, 140), int(rng.integers(12))
    cadence, style = CADENCES[rng.integers(len(CADENCES))], str(rng.choice(LEFT_HANDS))
    pedal = rng.random() < 0.6
    touch = Touch(rng, rng.uniform(0.45, 0.85), late=0.007, uneven=0.06)
    number, at = 0, 5
    while time < SECONDS - 0.3:
        step, kind = cadence[number % len(cadence)]
        bar = Bar(touch, time, beat, key, (key + step) % 12, TRIADS[kind], pedal)
        strokes += left_hand(bar, style)
        if rng.random() < 0.25:
            strokes += right_chords(bar)
        else:
            tune, at = right_tune(bar, SCALES[cadence[0][1] == "m"], at)
            strokes += tune
        time, number = bar.end, number + 1
        if number % len(cadence) == 0 and rng.random() < 0.4:
            cadence, style = CADENCES[rng.integers(len(CADENCES))], str(rng.choice(LEFT_HANDS))
            time += rng.uniform(0, 0.6)
    return mix(notes, strokes, rng)


class Instrument(NamedTuple):
    """What to render.

    Attributes:
        pattern: of the notes below NOTES. folder: below DATA. files: how many. seed: of their random numbers.
    """

    name: str
    pattern: str
    folder: str
    files: int
    phrase: Callable[[Notes, Generator], np.ndarray]
    seed: tuple[str, ...]


IOWA, STEEL = "lofi/samples/guitar-acoustic/*.wav", "steel/client/src/data/guitar_sounds/*.mp3"
SHINY = "shiny/Samples/*/*_vl?_rr[12]"
MARTIN, SALAMANDER = (f"bank/*/Melodic/{name}/*.wav" for name in ("026-*(steel)", "001-*Grand Piano"))
GRETSCH, HOFNER = (f"hollow/Samples/{colour}/ord/twang_*_rr[12].wav" for colour in ("green", "black"))
INSTRUMENTS = (
    Instrument("nylon", "nylon/samples/*.flac", "guitar/train", 60, guitar_phrase, ("guitar", "nylon", "train")),
    Instrument("strat", "strat/samples/*/*.wav", "guitar/train", 60, guitar_phrase, ("guitar", "strat", "train")),
    Instrument("iowa", IOWA, "guitar/train", 12, guitar_phrase, ("guitar", "iowa", "train")),
    Instrument("steel", STEEL, "guitar/valid", 12, guitar_phrase, ("guitar", "steel", "valid")),
    Instrument("kawai", "kawai/samples/*.flac", "upright/train", 60, piano_phrase, ("piano", "kawai")),
    Instrument("vsco", "lofi/samples/piano/*.mp3", "upright/valid", 10, piano_phrase, ("piano", "vsco")),
    Instrument("martin", MARTIN, "guitars/train", 36, guitar_phrase, ("guitar", "martin", "train")),
    Instrument("archtop", f"{SHINY}_1.wav", "guitars/train", 36, guitar_phrase, ("guitar", "archtop", "train")),
    Instrument("pickup", f"{SHINY}_2.wav", "guitars/train", 36, guitar_phrase, ("guitar", "pickup", "train")),
    Instrument("emily", "emily/notes/*.wav", "guitars/train", 36, guitar_phrase, ("guitar", "emily", "train")),
    Instrument("gretsch", GRETSCH, "guitars/train", 36, guitar_phrase, ("guitar", "gretsch", "train")),
    Instrument("hofner", HOFNER, "guitars/train", 36, guitar_phrase, ("guitar", "hofner", "train")),
    Instrument("yamaha", "yamaha/Samples/* CLOSE *.flac", "pianos/train", 36, piano_phrase, ("piano", "yamaha")),
    Instrument("hall", "yamaha/Samples/* DECCA *.flac", "pianos/train", 36, piano_phrase, ("piano", "hall")),
    Instrument("player", "player/samples/*.flac", "pianos/train", 36, piano_phrase, ("piano", "player")),
    Instrument("salamander", SALAMANDER, "pianos/train", 36, piano_phrase, ("piano", "salamander")),
)


def seeded(*words: str | int) -> Generator:
    """Random numbers that the words name."""
    return np.random.default_rng(int(sha256(repr(words).encode()).hexdigest()[:12], 16))


def find_notes(folder: Path, pattern: str) -> list[Path]:
    """Recordings of an instrument, in the order of their names."""
    files = sorted(folder.glob(pattern))
    if not files:
        raise DataError(f"no notes in {folder / pattern}; --help says which repositories to extract there")
    return files


def write(file: Path, phrase: np.ndarray, rng: Generator) -> None:
    """Write a phrase up to 9 dB down, with its peak at most at 0.93."""
    phrase = phrase * 0.9 * 10 ** (-rng.uniform(0, 9) / 20)
    peak = np.abs(phrase).max()
    if not 0.01 < peak < np.inf:
        raise DataError(f"{file.name}: the phrase has its peak at {peak}; its notes are silent or damaged")
    if peak > 0.93:
        phrase = phrase * (0.93 / peak)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(file, phrase, RATE, subtype="PCM_16")
    except (OSError, soundfile.LibsndfileError) as error:
        raise OutputError(f"{file}: cannot be written: {error}") from error


def render(instrument: Instrument, files: Sequence[Path], data: Path) -> None:
    """Write all phrases of an instrument."""
    notes = Notes(files)
    if not len(notes):
        raise DataError(f"no usable notes of {instrument.name}: all {len(files)} are silent or out of tune")
    print(f"{instrument.name}: {len(notes)} notes, left out: {' '.join(notes.left_out) or 'none'}", flush=True)
    for number in range(instrument.files):
        rng = seeded(*instrument.seed, number)
        file = data / instrument.folder / f"{instrument.name}_{number:03d}.flac"
        write(file, instrument.phrase(notes, rng), rng)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--notes", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    names = [instrument.name for instrument in INSTRUMENTS]
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="INSTRUMENT", help="default: all")
    args = parser.parse_args()
    wanted = [instrument for instrument in INSTRUMENTS if instrument.name in args.only]
    try:
        found = [find_notes(args.notes, instrument.pattern) for instrument in wanted]
        for instrument, files in zip(wanted, found, strict=True):
            render(instrument, files, args.data)
    except GansepError as error:
        print(f"render_notes.py: error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
