"""Folders of sound as sources: which files are heard in which split, and which of them belong together.

Splits: ``valid`` is the folder of that name and serves only for reported figures; ``dev`` is the part of ``train``
that :func:`is_dev` names, by speaker, kit, piece or recording; nothing trains on either.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gansep.audio import find_audio
from gansep.types import DataError

SPLITS = ("train", "dev", "valid")

# Speakers, kits, pieces and recordings held back from training: about a tenth of each folder.
DEV_PREFIXES: dict[str, tuple[str, ...]] = {
    "digits": ("ar_s05", "ar_s15", "ar_s20"),
    "drums": ("sonicpi", "casiorz1", "mrk2"),
    "piano": ("bwv784", "bwv785", "bwv786", "bwv787", "bwv853", "bwv860", "bwv903", "bwv117a", "bwvanh126"),
    "speech": ("pv_g12", "pv_g23"),
    "noise": ("babycry_3", "helicopter_3", "rain_3", "boiler_05"),
    "guitar": ("iowa",),
}


def is_dev(file: Path) -> bool:
    """Whether a file of a ``train`` folder belongs to ``dev``; the class is the folder above ``train``."""
    return file.name.startswith(DEV_PREFIXES.get(file.parent.parent.name, ("\0",)))


def split_files(data: Path, name: str, split: str) -> list[Path]:
    """Files of one source in ``train`` (less dev), ``dev`` or ``valid``.

    Raises:
        DataError: unknown split, or no such recordings in ``data``.
    """
    if split not in SPLITS:
        raise DataError(f"unknown split {split!r}; expected train, dev or valid")
    folder = data / name / ("valid" if split == "valid" else "train")
    if not folder.is_dir():
        raise DataError(f"no recordings in {folder}; expected <class>/train and <class>/valid below the data folder")
    files = find_audio(folder)
    return files if split == "valid" else [file for file in files if is_dev(file) == (split == "dev")]


def group(file: Path) -> str:
    """Speaker, kit or piece of a recording, by its name: what a confidence interval must resample together."""
    parts = file.stem.replace("-", "_").split("_")
    if file.parent.parent.name == "noise":
        return "_".join(parts[:3])  # sound, fold and recording
    return "_".join(parts[:2]) if parts[0] in ("ar", "en", "sc", "pv") else parts[0]


@dataclass(frozen=True)
class Pool:
    """The recordings of one source that mixtures are made of.

    Attributes:
        name: of the source. files: its recordings. groups: speaker, kit or piece of each.
    """

    name: str
    files: tuple[Path, ...]
    groups: Mapping[Path, str]


def pool(name: str, files: Sequence[Path], groups: Sequence[str] | None = None) -> Pool:
    """A pool of files; their names say what belongs together unless ``groups`` does."""
    return Pool(name, tuple(files), dict(zip(files, groups or map(group, files), strict=True)))


def pools_of(folders: Sequence[str | Path], split: str = "valid") -> dict[str, Pool]:
    """Sources from folders that a user names.

    A folder with ``train`` or ``valid`` in it is split as ours are; of any other every recording is used, and its
    subfolders, if it has any, are its groups. The source is called as its folder; ``name=folder`` calls it otherwise.

    Args:
        folders: ``digits/``, ``data/drums/valid`` (called ``drums``) or ``birds=recordings/2024``.
        split: of the folders that have one.
    Raises:
        DataError: no such folder, no sound in it, or two sources of one name.
    """
    pools: dict[str, Pool] = {}
    for item in map(str, folders):
        said, equals, path = item.partition("=")
        folder = Path(path if equals else item)
        if not folder.is_dir():
            raise DataError(f"no such folder: {folder}; expected a folder of recordings of one source")
        whole = folder.resolve()
        name = said if equals else whole.parent.name if whole.name in SPLITS else whole.name
        if any((folder / part).is_dir() for part in ("train", "valid")):
            files, groups = split_files(whole.parent, whole.name, split), None
        else:
            files = find_audio(folder)
            groups = [file.relative_to(folder).parts[0] for file in files if file.parent != folder]
            if len(groups) < len(files):  # no subfolders; names may say something
                groups = list(map(group, files))
            if len(set(groups)) < 2:
                groups = [file.stem for file in files]
        if not files:
            raise DataError(f"{folder}: no sound files in it; expected wav, flac, ogg, mp3 or the like")
        if name in pools:
            raise DataError(f"two folders are called {name}; name one of them otherwise, as other={folder}")
        pools[name] = pool(name, files, groups)
    return pools
