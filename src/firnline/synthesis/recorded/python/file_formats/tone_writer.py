"""Compose short melodies and write them as WAV audio, without sound hardware.

A melody is written as text: ``"C4 E4 G4:2 R A#3:0.5"``.  Each note has a letter, an
optional sharp or flat, an octave and, after a colon, a length in beats; R is a rest.
The synthesiser adds a few overtones to each tone and fades it in and out, because a
tone that starts at full volume begins with a click.

The result is a WAV file in memory.  The demonstration reads it back and measures
the frequency of each note by counting zero crossings.
"""

from __future__ import annotations

import array
import io
import math
import re
import sys
import wave
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

RATE = 8000
_NOTE = re.compile(
    r"(?:(?P<letter>[A-G])(?P<sign>[#b]?)(?P<octave>\d)|R)(?::(?P<beats>\d*\.?\d+))?"
)
_STEPS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}


@dataclass(frozen=True)
class Note:
    """A tone or, if ``pitch`` is None, a rest.  Pitch 69 is the A above middle C."""

    pitch: int | None
    beats: float = 1.0

    @property
    def frequency(self) -> float:
        """Frequency in hertz, in equal temperament.

        >>> Note(69).frequency, Note(81).frequency
        (440.0, 880.0)
        """
        return 0.0 if self.pitch is None else 440.0 * 2 ** ((self.pitch - 69) / 12)


def parse_melody(text: str) -> list[Note]:
    """Read a melody from its text form.

    >>> parse_melody("A4 R:2")
    [Note(pitch=69, beats=1.0), Note(pitch=None, beats=2.0)]
    """
    notes = []
    for word in text.split():
        match = _NOTE.fullmatch(word)
        if match is None:
            raise ValueError(f"cannot read the note {word!r}")
        beats = float(match["beats"] or 1)
        if beats <= 0:
            raise ValueError(f"{word!r} has no length")
        pitch = None
        if match["letter"]:
            shift = {"#": 1, "b": -1, "": 0}[match["sign"]]
            pitch = 12 * (int(match["octave"]) + 1) + _STEPS[match["letter"]] + shift
        notes.append(Note(pitch, beats))
    return notes


def envelope(position: float, length: float, attack: float = 0.01, release: float = 0.05) -> float:
    """Return the loudness between 0 and 1 at a time within a note."""
    rise = position / attack
    fall = (length - position) / release
    return max(0.0, min(1.0, rise, fall))


def samples(
    notes: Iterable[Note], tempo: float = 120, overtones: tuple[float, ...] = (1.0, 0.3, 0.1)
) -> Iterator[float]:
    """Yield the signal, scaled to lie between -1 and 1."""
    if tempo <= 0:
        raise ValueError("tempo must be positive")
    loudest = sum(overtones)
    beat = 60 / tempo
    for note in notes:
        length = note.beats * beat
        angle = 2 * math.pi * note.frequency / RATE
        for index in range(round(length * RATE)):
            if note.pitch is None:
                yield 0.0
                continue
            tone = sum(
                volume * math.sin(angle * number * index)
                for number, volume in enumerate(overtones, start=1)
                if note.frequency * number < RATE / 2  # higher ones would fold back
            )
            yield tone / loudest * envelope(index / RATE, length)


def to_wav(signal: Iterable[float], volume: float = 0.8) -> bytes:
    """Pack a signal as a mono WAV file with 16 bits per sample."""
    if not 0 <= volume <= 1:
        raise ValueError("volume must lie between 0 and 1")
    frames = array.array("h", (round(value * volume * 32767) for value in signal))
    if sys.byteorder == "big":
        frames.byteswap()  # WAV files are little-endian
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(RATE)
        sound.writeframes(frames.tobytes())
    return buffer.getvalue()


def measure_frequency(frames: array.array[int]) -> float:
    """Estimate the pitch from the rising zero crossings, interpolated."""
    crossings = [
        index + a / (a - b)
        for index, (a, b) in enumerate(zip(frames, frames[1:]))
        if a < 0 <= b
    ]
    if len(crossings) < 2:
        return 0.0
    return RATE * (len(crossings) - 1) / (crossings[-1] - crossings[0])


if __name__ == "__main__":
    tune = parse_melody("C4 E4 G4:2 R A#3 Bb3:0.5")
    data = to_wav(samples(tune))
    with wave.open(io.BytesIO(data)) as sound:
        assert (sound.getnchannels(), sound.getframerate()) == (1, RATE)
        heard = array.array("h", sound.readframes(sound.getnframes()))
    if sys.byteorder == "big":
        heard.byteswap()
    print(f"{len(data)} bytes, {len(heard) / RATE:.2f} seconds")
    assert len(heard) == round(sum(note.beats for note in tune) * 0.5 * RATE)

    start = 0
    for note in tune:
        stop = start + round(note.beats * 0.5 * RATE)
        frequency = measure_frequency(heard[start:stop])
        print(f"expected {note.frequency:7.2f} Hz, measured {frequency:7.2f} Hz")
        assert abs(frequency - note.frequency) < 0.5
        start = stop
    assert tune[4].pitch == tune[5].pitch, "A sharp and B flat are the same key"
    assert max(map(abs, heard)) <= 0.8 * 32767
    for wrong in ("H4", "C", "A4:0", "c4"):
        try:
            parse_melody(wrong)
        except ValueError as error:
            print("refused:", error)
        else:
            raise AssertionError(wrong)
