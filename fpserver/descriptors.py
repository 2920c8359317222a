"""What each number of a descriptor vector is: its name and unit, in the order in which they are stored.

Changing an order or a meaning makes stored descriptors worthless: `VERSION` is kept with them, and those of another
version count as missing.
"""

from dataclasses import dataclass

from fpserver.terms import Group

VERSION = 1


@dataclass(frozen=True, slots=True)
class Dimension:
    """One number of a vector."""

    name: str
    unit: str


FACTS: dict[str, str] = {  # numbers of a description that people filter by → unit
    "loudness_db": "LUFS",
    "rms_db": "dB",
    "zero_crossing_rate": "1",
    "onset_rate_hz": "1/s",
    "centroid_hz": "Hz",
    "bandwidth_hz": "Hz",
    "rolloff_hz": "Hz",
    "contrast_db": "dB",
    "flatness": "1",
    "tempo_bpm": "1/min",
    "beat_strength": "1",
    "key_strength": "1",
}

RATE_HZ = 22_050  # of the samples that are described
N_MFCC = 20
MOMENT_TIMBRE_DIM = 40
PITCH_CLASSES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
N_PITCH_CLASSES = len(PITCH_CLASSES)
N_CONTRAST_BANDS = 7
N_TEMPO_BINS = 40
MIN_TEMPO_BPM, MAX_TEMPO_BPM = 30.0, 300.0


def tempo_bins_bpm() -> tuple[float, ...]:
    """Tempos at which the tempogram is kept: steps of 6 %, so that a change of tempo is a shift."""
    step = (MAX_TEMPO_BPM / MIN_TEMPO_BPM) ** (1 / (N_TEMPO_BINS - 1))
    return tuple(MIN_TEMPO_BPM * step**i for i in range(N_TEMPO_BINS))


def _mean_and_std(name: str, unit: str) -> tuple[Dimension, Dimension]:
    return Dimension(f"{name}_mean", unit), Dimension(f"{name}_std", unit)


def _per_pitch_class(name: str) -> tuple[Dimension, ...]:
    return tuple(Dimension(f"{name}_{pitch_class}", "1") for pitch_class in PITCH_CLASSES)


_MFCC = (*(f"mfcc_{i}" for i in range(N_MFCC)), *(f"delta_{i}" for i in range(N_MFCC)))

LAYOUT: dict[Group, tuple[Dimension, ...]] = {
    Group.TEMPORAL: (
        *_mean_and_std("zero_crossing_rate", "1"),
        *_mean_and_std("rms_db", "dB"),
        Dimension("loudness_db", "LUFS"),
        Dimension("onset_rate_hz", "1/s"),
    ),
    Group.SPECTRAL: (
        *_mean_and_std("centroid_hz", "Hz"),
        *_mean_and_std("bandwidth_hz", "Hz"),
        *_mean_and_std("rolloff_hz", "Hz"),
        *_mean_and_std("flatness_db", "dB"),
        *(Dimension(f"contrast_{i}_db_mean", "dB") for i in range(N_CONTRAST_BANDS)),
        *(Dimension(f"contrast_{i}_db_std", "dB") for i in range(N_CONTRAST_BANDS)),
    ),
    Group.RHYTHM: (
        Dimension(
            "tempo_bpm", "1/min"
        ),  # the likeliest, even where so little beats that no fact is made of it
        Dimension("beat_strength", "1"),
        *(Dimension(f"tempogram_{bpm:.0f}_bpm", "1") for bpm in tempo_bins_bpm()),
    ),
    # Blocks of 12, C to B: turning every block by n is transposing by n semitones. In the block of an interval,
    # the number of a pitch class is its covariance with the pitch class so many semitones above.
    Group.TONAL: (
        *_per_pitch_class("chroma_mean"),
        *_per_pitch_class("chroma_std"),
        *(
            dimension
            for interval in range(1, N_PITCH_CLASSES // 2 + 1)
            for dimension in _per_pitch_class(f"chroma_covariance_{interval}")
        ),
    ),
    # Means, then the upper triangle of the covariance, row by row, with its diagonal. In dB of the mel bands.
    Group.TIMBRE: (
        *(Dimension(f"{name}_mean", "dB") for name in _MFCC),
        *(
            Dimension(f"covariance_{left}_{right}", "dB²")
            for i, left in enumerate(_MFCC)
            for right in _MFCC[i:]
        ),
    ),
}
