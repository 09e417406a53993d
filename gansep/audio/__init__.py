"""Files <-> tensors: sound files of any common kind in, exact WAV or FLAC files out.

open_audio(path) -> AudioSource.windows -> [C, segment] ... StemWriter.append -> .finish -> target
"""

from gansep.audio.reading import (
    AUDIO_EXTENSIONS,
    AudioInfo,
    AudioSource,
    find_audio,
    open_audio,
    probe,
    read,
)
from gansep.audio.resampling import mix_down, resample
from gansep.audio.writing import StemWriter, shared_gain, write

__all__ = [
    "AUDIO_EXTENSIONS",
    "AudioInfo",
    "AudioSource",
    "StemWriter",
    "find_audio",
    "mix_down",
    "open_audio",
    "probe",
    "read",
    "resample",
    "shared_gain",
    "write",
]
