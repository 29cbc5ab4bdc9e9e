"""Speaks the embedded corpus: a worker process of its own, the only code that touches espeak-ng.

espeak-ng is GPL-3. It comes from the ``espeakng-loader`` wheel, is loaded here at run time through
ctypes, and nowhere else; this module runs as ``python -m fedsim.tasks.speech.corpus.synth`` and ends
when its work is done, so the library never lives in fedsim's own process.

Its output depends on everything it has said before, unless every speaker starts from libc's
``srand(1)``, a freshly loaded library, ``espeak_ng_SetRandSeed`` and ends with
``espeak_Terminate`` and the unloading of the library. Then a speaker's audio is a pure function
of the job's parameters and of that speaker's number: another speaker changes nothing.

Standard input: a job as JSON (language, speakers, minutes, seed, out, and parent: the process to
end with). Output: in the folder ``out`` a file ``audio.i16`` (16 kHz mono, little-endian int16,
utterances end to end) and ``utterances.json`` (a list of [speaker, text, samples]). One line on
standard output a speaker.
"""

from __future__ import annotations

import ctypes
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedsim import children, rng
from fedsim.tasks.speech.corpus import italian
from fedsim.tasks.speech.corpus.voices import Speaker, speaker
from fedsim.units import SAMPLES_PER_S

_SYNCHRONOUS, _UTF8 = 2, 1
_RATE, _PITCH, _RANGE = 1, 3, 4
_OK = 0


class _Espeak:
    """A freshly loaded espeak-ng that speaks with one voice; unloaded by ``close``."""

    def __init__(self, who: Speaker, language: str, seed: int) -> None:
        import espeakng_loader

        _c_library().srand(1)
        self.library = ctypes.CDLL(espeakng_loader.get_library_path())
        self.library.espeak_Initialize.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_int]
        data = str(espeakng_loader.get_data_path()).encode()
        self.rate_hz = int(self.library.espeak_Initialize(_SYNCHRONOUS, 0, data, 0))
        if self.rate_hz <= 0:
            raise RuntimeError("espeak-ng found no voices")
        if hasattr(self.library, "espeak_ng_SetRandSeed"):
            self.library.espeak_ng_SetRandSeed(ctypes.c_long(seed))
        voice = f"{language}+{who.variant}"
        if self.library.espeak_SetVoiceByName(voice.encode()) != _OK:
            raise RuntimeError(f"espeak-ng has no voice {voice}")
        for parameter, value in ((_RATE, who.rate_wpm), (_PITCH, who.pitch), (_RANGE, who.pitch_range)):
            self.library.espeak_SetParameter(parameter, value, 0)
        self._blocks: list[NDArray[np.int16]] = []
        kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)

        def receive(samples: Any, count: int, _events: Any) -> int:
            if samples and count > 0:
                self._blocks.append(np.ctypeslib.as_array(samples, shape=(count,)).astype(np.int16))
            return 0

        self._callback = kind(receive)
        self.library.espeak_SetSynthCallback(self._callback)
        self.library.espeak_Synth.argtypes = [
            ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint, ctypes.c_int, ctypes.c_uint, ctypes.c_uint,
            ctypes.c_void_p, ctypes.c_void_p,
        ]  # fmt: skip

    def say(self, text: str) -> NDArray[np.int16]:
        """The samples of ``text`` at ``rate_hz``."""
        self._blocks = []
        raw = text.encode()
        if self.library.espeak_Synth(raw, len(raw) + 1, 0, 1, 0, _UTF8, None, None) != _OK:
            raise RuntimeError(f"espeak-ng could not say {text!r}")
        return np.concatenate(self._blocks) if self._blocks else np.zeros(0, np.int16)

    def close(self) -> None:
        """End espeak-ng and unload its library, so that the next speaker starts afresh."""
        self.library.espeak_Terminate()
        handle = self.library._handle
        del self.library
        import _ctypes

        if sys.platform == "win32":
            _ctypes.FreeLibrary(handle)
        else:
            _ctypes.dlclose(handle)


def _c_library() -> Any:
    return ctypes.cdll.msvcrt if sys.platform == "win32" else ctypes.CDLL(None)


def _through_channel(
    samples: NDArray[np.float32], who: Speaker, draw: np.random.Generator
) -> NDArray[np.int16]:
    """What the speaker's microphone makes of it: a tilted spectrum, a level, a little noise."""
    tilted = samples.copy()
    tilted[1:] -= np.float32(who.tilt) * samples[:-1]
    level = float(np.sqrt(np.mean(tilted.astype(np.float64) ** 2))) or 1.0
    tilted *= np.float32(who.level / level)
    noise = draw.standard_normal(len(tilted), dtype=np.float32)
    tilted += noise * np.float32(who.level * 10 ** (-who.snr_db / 20))
    return np.clip(np.rint(tilted * 32767), -32768, 32767).astype("<i2")


def speak(number: int, job: dict[str, Any]) -> list[tuple[str, NDArray[np.int16]]]:
    """All that one speaker says: (text, samples at 16 kHz) until the speaker's share is full."""
    import soxr

    who = speaker(number, job["seed"])
    wanted = round(job["minutes"] * 60 * SAMPLES_PER_S / job["speakers"])
    words = rng.generator(job["seed"], "espeak", "text", number)
    noise = rng.generator(job["seed"], "espeak", "noise", number)
    engine = _Espeak(who, job["language"], 1 + rng.key(job["seed"], "espeak", "voice", number) % 2**30)
    said: list[tuple[str, NDArray[np.int16]]] = []
    try:
        total = 0
        while total < wanted:
            text = italian.sentence(words)
            spoken = engine.say(text).astype(np.float32) / np.float32(32768)
            samples = soxr.resample(spoken, engine.rate_hz, SAMPLES_PER_S, quality="HQ")
            said.append((text, _through_channel(np.asarray(samples, np.float32), who, noise)))
            total += len(samples)
    finally:
        engine.close()
    return said


def main() -> None:
    """Read the job from standard input, speak it, write the audio and the list of utterances."""
    job = json.load(sys.stdin)
    children.end_with(job["parent"])
    out = Path(job["out"])
    utterances: list[list[Any]] = []
    with (out / "audio.i16").open("wb") as file:
        for number in range(job["speakers"]):
            for text, samples in speak(number, job):
                file.write(samples.tobytes())
                utterances.append([number, text, len(samples)])
            print(number, flush=True)
    (out / "utterances.json").write_text(json.dumps(utterances, ensure_ascii=False), encoding="utf-8")


if __name__ == "__main__":
    main()
