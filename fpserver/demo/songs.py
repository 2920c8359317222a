"""Turn a seed into a song: chords, bass, melody and drums in a tempo, key and timbre of its own.

Nothing here sounds like a record, but it has what a fingerprint meets in one: harmonics, attacks, noise, bars
that resemble each other without being the same. The same seed always gives the same samples.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fpserver.terms import Samples

Floats = npt.NDArray[np.float64]

WAVE_SAMPLES = 2048  # one period of an instrument
BEATS_PER_BAR = 4
SCALES = ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10), (0, 2, 3, 5, 7, 9, 10), (0, 2, 4, 5, 7, 9, 10))
PROGRESSIONS = (
    (0, 4, 5, 3),
    (0, 5, 3, 4),
    (0, 3, 4, 3),
    (5, 3, 0, 4),
    (0, 6, 5, 4),
    (1, 4, 0, 5),
    (0, 2, 3, 4),
)
RHYTHMS = ((1.0, 1.0, 1.0, 1.0), (1.5, 0.5, 1.0, 1.0), (0.5, 0.5, 1.0, 0.5, 0.5, 1.0), (0.75, 0.75, 0.5, 2.0))
FIRST = ("Amber", "Distant", "Paper", "Northern", "Velvet", "Quiet", "Copper", "Winter", "Hollow", "Electric")
SECOND = ("Harbour", "Letters", "Lanterns", "Motorway", "Orchard", "Signals", "Satellite", "Garden", "Tide")
BANDS = ("The Landmarks", "Hann & Hamming", "Fan-Out Five", "Spectral Leakage", "Anchor Point", "Bin Day")


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """What is decided once per song."""

    tempo_bpm: float
    root_midi: int  # of the chords
    scale: tuple[int, ...]  # semitones above the root
    progressions: tuple[tuple[int, ...], ...]  # scale degrees, one per bar
    chord_wave: Floats  # one period of each instrument
    bass_wave: Floats
    melody_wave: Floats
    swing: float  # how late the off-beats come, beats


def title(seed: int) -> tuple[str, str]:
    """Title and artist of a song: the same for the same seed."""
    name = f"{FIRST[seed % len(FIRST)]} {SECOND[seed * 7 // 3 % len(SECOND)]}"
    return name, BANDS[seed * 5 % len(BANDS)]


def song(seed: int, duration_s: float, rate_hz: int = 22050) -> Samples:
    """Play a song: float32 (duration_s × rate_hz,), peak 0.8."""
    rng = np.random.default_rng([seed, 0x50A6])
    style = _style(rng)
    n_samples = round(duration_s * rate_hz)
    tape = np.zeros(n_samples + 4 * rate_hz)  # room for the last notes to ring out
    band = Band(rng=rng, style=style, rate_hz=rate_hz, tape=tape)
    degree = int(rng.integers(7, 14))
    for bar in range(int(np.ceil(n_samples / (band.beat * BEATS_PER_BAR)))):
        start = bar * BEATS_PER_BAR * band.beat
        section = bar // 8
        chord = style.progressions[section % len(style.progressions)][bar % 4]
        band.play_chords(start, chord)
        if bar >= 2:
            band.play_bass(start, chord)
        if section % 3 != 2:
            band.play_drums(start)
        degree = band.play_melody(start, degree)
    tape = tape[:n_samples]
    return np.asarray(0.8 * tape / np.max(np.abs(tape)), dtype=np.float32)


def _style(rng: np.random.Generator) -> Style:
    return Style(
        tempo_bpm=float(rng.uniform(72, 152)),
        root_midi=int(rng.integers(48, 60)),
        scale=SCALES[rng.integers(len(SCALES))],
        progressions=tuple(PROGRESSIONS[i] for i in rng.permutation(len(PROGRESSIONS))[:3]),
        chord_wave=_wave(rng, 8, 1.4),
        bass_wave=_wave(rng, 5, 1.0),
        melody_wave=_wave(rng, 12, 0.9),
        swing=float(rng.uniform(0, 0.12)),
    )


def _wave(rng: np.random.Generator, n_harmonics: int, slope: float) -> Floats:
    """One period of an instrument: harmonic k falls as k^-slope, each a little off."""
    harmonic = np.arange(1, n_harmonics + 1)
    level = rng.uniform(0.3, 1.0, n_harmonics) / harmonic**slope
    phase = rng.uniform(0, 2 * np.pi, n_harmonics)
    turn = 2 * np.pi * np.arange(WAVE_SAMPLES) / WAVE_SAMPLES
    wave = (level[:, None] * np.sin(np.outer(harmonic, turn) + phase[:, None])).sum(axis=0)
    return np.asarray(wave / np.max(np.abs(wave)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """Plays a bar of each part onto the tape. Times are samples from the song's start."""

    rng: np.random.Generator
    style: Style
    rate_hz: int
    tape: Floats

    @property
    def beat(self) -> float:
        """Length of a beat in samples."""
        return 60 / self.style.tempo_bpm * self.rate_hz

    def play_chords(self, start: float, chord: int) -> None:
        """Strum a triad: once, on the halves, or off the beat."""
        for at in ((0.0,), (0.0, 2.0), (0.0, 1.5, 3.0))[self.rng.choice(3)]:
            for i, third in enumerate((0, 2, 4)):
                self._note(
                    self.style.chord_wave,
                    start=start + at * self.beat + self._late(0.003 * i, 0.002),
                    midi=self._midi(chord + third),
                    length_s=2.2 * self.beat / self.rate_hz,
                    level=0.22 * self.rng.uniform(0.8, 1.2),
                    decay_s=1.2,
                )

    def play_bass(self, start: float, chord: int) -> None:
        """A note per beat: the chord's root first, then often something else of it."""
        for at in range(BEATS_PER_BAR):
            step = chord if at == 0 or self.rng.random() < 0.6 else chord + int(self.rng.choice((2, 4, -3)))
            self._note(
                self.style.bass_wave,
                start=start + (at + self.style.swing * (at % 2)) * self.beat + self._late(0, 0.003),
                midi=self._midi(step) - 12,
                length_s=0.9 * self.beat / self.rate_hz,
                level=0.35 * self.rng.uniform(0.8, 1.1),
                decay_s=0.5,
            )

    def play_melody(self, start: float, degree: int) -> int:
        """Walk over the scale for a bar; returns the degree to go on from."""
        at = 0.0
        for length in RHYTHMS[self.rng.integers(len(RHYTHMS))]:
            degree = int(np.clip(degree + self.rng.choice((-3, -2, -1, -1, 0, 1, 1, 2, 4)), 6, 20))
            if self.rng.random() < 0.88:  # a breath now and then
                self._note(
                    self.style.melody_wave,
                    start=start + (at + self.style.swing * (at % 1)) * self.beat + self._late(0, 0.004),
                    midi=self._midi(degree) + self.rng.normal(0, 0.03),
                    length_s=length * self.beat / self.rate_hz,
                    level=0.4 * self.rng.uniform(0.7, 1.15),
                    decay_s=0.6,
                )
            at += length
        return degree

    def play_drums(self, start: float) -> None:
        """Kick, snare and hats on the eighths."""
        for half in range(2 * BEATS_PER_BAR):
            at = start + half * self.beat / 2 + self._late(0, 0.002)
            if half % 4 == 0 or self.rng.random() < 0.06:
                self._add(at, _kick(self.rate_hz), 0.7)
            if half % 4 == 2:
                self._add(at, self._burst(0.12, 0.04), 0.3)
            if self.rng.random() < 0.8:
                self._add(at, np.diff(self._burst(0.05, 0.012)), 0.15)  # diff: bright

    def _note(
        self, wave: Floats, *, start: float, midi: float, length_s: float, level: float, decay_s: float
    ) -> None:
        """One note: 5 ms attack, exponential decay, 20 ms release."""
        time_s = np.arange(round(length_s * self.rate_hz)) / self.rate_hz
        pitch_hz = 440 * 2 ** ((midi - 69) / 12)
        index = (time_s * (pitch_hz * WAVE_SAMPLES)).astype(np.int64) % WAVE_SAMPLES
        envelope = np.exp(-time_s / decay_s) * np.minimum(1, time_s / 0.005)
        envelope *= np.minimum(1, (length_s - time_s) / 0.02)
        self._add(start, envelope * wave[index], level)

    def _add(self, start: float, sound: Floats, level: float) -> None:
        first = max(0, round(start))
        sound = sound[: max(0, len(self.tape) - first)]
        self.tape[first : first + len(sound)] += level * sound

    def _late(self, mean_s: float, spread_s: float) -> float:
        """How many samples off the beat a hand is."""
        return float(self.rng.normal(mean_s, spread_s)) * self.rate_hz

    def _midi(self, degree: int) -> int:
        octave, step = divmod(degree, len(self.style.scale))
        return self.style.root_midi + 12 * octave + self.style.scale[step]

    def _burst(self, length_s: float, decay_s: float) -> Floats:
        time_s = np.arange(round(length_s * self.rate_hz)) / self.rate_hz
        return np.asarray(self.rng.normal(0, 0.5, len(time_s)) * np.exp(-time_s / decay_s))


def _kick(rate_hz: int) -> Floats:
    time_s = np.arange(round(0.18 * rate_hz)) / rate_hz
    sweep = 48 * time_s + 110 * 0.03 * (1 - np.exp(-time_s / 0.03))  # from 158 to 48 Hz, in turns
    return np.asarray(np.sin(2 * np.pi * sweep) * np.exp(-time_s / 0.06))
