"""The grid: every way in which a clip is made worse, as data.

Targets are shares of clips that are right and accepted at the default rate of false accepts.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

SEMITONE = 2 ** (1 / 12)


class Noise(StrEnum):
    """What is added to a clip."""

    NONE = "none"
    MIXED = "mixed"  # a recording of one of the kinds in clips.NOISE_KINDS, or babble of four or more voices
    BROADBAND = "broadband"  # white within the analysed band, or pink
    WHITE = "white"  # over the full band of 44.1 kHz
    IMPULSIVE = "impulsive"  # clicks, bursts, claps


class Codec(StrEnum):
    """What a clip goes through last."""

    NONE = "none"
    MP3 = "mp3 32 kbit/s"
    OPUS = "opus 16 kbit/s"
    GSM = "GSM 06.10"


class Room(StrEnum):
    """Between loudspeaker and microphone."""

    NONE = "none"
    SIMULATED = "simulated"
    MEASURED = "measured"


class Mix(StrEnum):
    """How many tracks a clip holds."""

    ONE = "one"
    CROSSING = "crossing"  # half of one, then half of another
    BOTH = "both"  # two at once, equally loud


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One row of the grid."""

    name: str
    family: str
    seconds: float
    noise: Noise = Noise.NONE
    snr_db: float = 0.0
    codec: Codec = Codec.NONE
    room: Room = Room.NONE
    speed: float = 1.0  # tempo and pitch together, as a record player does it
    tempo: float = 1.0
    pitch: float = 1.0
    mix: Mix = Mix.ONE
    unknown: str = ""  # "music" or "other": the clip's tracks are in no catalogue
    target: float | None = None

    @property
    def tempo_factor(self) -> float:
        """Seconds of the track in a second of the clip."""
        return self.speed * self.tempo

    @property
    def pitch_factor(self) -> float:
        """Frequencies in the clip over those in the track."""
        return self.speed * self.pitch

    @property
    def warped(self) -> bool:
        """Whether speed, tempo or pitch is changed."""
        return (self.tempo_factor, self.pitch_factor) != (1.0, 1.0)


def grid() -> list[Cell]:
    """All cells, known and unknown clips."""
    return [*_plain(), *_noisy(), *_rooms(), *_warped(), *_several(), *UNKNOWN]


def _plain() -> list[Cell]:
    clean = {1: 0.85, 2: 0.98, 3: 0.995, 5: 0.995, 10: None}
    return [
        *(Cell(name=f"clean_{s}s", family="clean", seconds=s, target=goal) for s, goal in clean.items()),
        Cell(name="mp3_5s", family="codec", seconds=5, codec=Codec.MP3, target=0.99),
        Cell(name="opus_5s", family="codec", seconds=5, codec=Codec.OPUS, target=0.97),
    ]


def _noisy() -> list[Cell]:
    goals = {(5, 0): 0.94, (5, -6): 0.88, (5, -9): 0.80, (10, -9): 0.92, (10, -12): 0.88, (15, -15): 0.75}
    gsm_goals = {(10, 0): 0.97, (10, -9): 0.82}
    mixed = {
        5: (5, 0, -3, -6, -9, -12, -15, -18, -21),
        10: (0, -6, -9, -12, -15, -18, -21, -24),
        15: (-9, -12, -15, -18, -21, -24),
    }
    gsm = dict.fromkeys((5, 10, 15), (0, -4, -8, -12, -16, -20))
    mixed_gsm = {10: (0, -4, -9, -13), 15: (-15,)}
    apart = {10: (-6, -9, -12, -15)}
    return [
        *_rows("noise", Noise.MIXED, Codec.NONE, mixed, goals),
        *_rows("broadband_gsm", Noise.BROADBAND, Codec.GSM, gsm, {}),
        *_rows("noise_gsm", Noise.MIXED, Codec.GSM, mixed_gsm, gsm_goals),
        *_rows("broadband", Noise.BROADBAND, Codec.NONE, apart, {}),
        *_rows("impulsive", Noise.IMPULSIVE, Codec.NONE, apart, {}),
        *_rows("white", Noise.WHITE, Codec.NONE, apart, {}),
    ]


def _rows(
    family: str,
    noise: Noise,
    codec: Codec,
    levels: Mapping[int, tuple[int, ...]],
    goals: Mapping[tuple[int, int], float],
) -> list[Cell]:
    return [
        Cell(
            name=f"{family}_{_signed(snr)}dB_{seconds}s",
            family=family,
            seconds=seconds,
            noise=noise,
            snr_db=snr,
            codec=codec,
            target=goals.get((seconds, snr)),
        )
        for seconds, snrs in levels.items()
        for snr in snrs
    ]


def _rooms() -> list[Cell]:
    return [
        Cell(
            name=f"{family}_{_signed(snr)}dB_{seconds}s",
            family=family,
            seconds=seconds,
            noise=Noise.MIXED,
            snr_db=snr,
            room=room,
            target=goal,
        )
        for family, room in (("phone", Room.SIMULATED), ("phone_measured", Room.MEASURED))
        for seconds, snr, goal in ((5, 5, 0.96), (10, 0, 0.98))
    ]


def _warped() -> list[Cell]:
    cells = []
    for percent in (-15, -10, -8, -6, -4, -2, 2, 4, 6, 8, 10, 15):
        goal = None if abs(percent) > 10 else 0.95 if abs(percent) <= 6 else 0.93
        cells.append(_warp("speed", percent, speed=1 + percent / 100, target=goal))
    for percent in (-15, -10, -4, 4, 10, 15):
        goal = {4: 0.95, 10: 0.93}.get(abs(percent))
        cells.append(_warp("tempo", percent, tempo=1 + percent / 100, target=goal))
    cells += [_warp("pitch", each, pitch=1 + each / 100, target=0.95) for each in (-4, -2, 2, 4)]
    for semitones in (-4, 4):
        name = f"pitch_{_signed(semitones)}semitones_10s"
        cells.append(Cell(name=name, family="pitch", seconds=10, pitch=SEMITONE**semitones))
    return cells


def _warp(
    family: str,
    percent: int,
    *,
    target: float | None,
    speed: float = 1.0,
    tempo: float = 1.0,
    pitch: float = 1.0,
) -> Cell:
    name = f"{family}_{_signed(percent)}%_10s"
    return Cell(name=name, family=family, seconds=10, speed=speed, tempo=tempo, pitch=pitch, target=target)


def _several() -> list[Cell]:
    return [
        Cell(name=f"{mix}_10s", family="several", seconds=10, mix=mix) for mix in (Mix.CROSSING, Mix.BOTH)
    ]


UNKNOWN = (
    Cell(name="unknown_music_5s", family="unknown", seconds=5, unknown="music"),
    Cell(name="unknown_other_5s", family="unknown", seconds=5, unknown="other"),
)
# What every second unknown music clip goes through, in turn.
UNKNOWN_TREATMENTS = tuple(
    Cell(name="", family="unknown", seconds=5, noise=noise, snr_db=snr_db, codec=codec, room=room)
    for noise, snr_db, codec, room in (
        (Noise.MIXED, 0.0, Codec.NONE, Room.NONE),
        (Noise.BROADBAND, 0.0, Codec.GSM, Room.NONE),
        (Noise.MIXED, 5.0, Codec.NONE, Room.SIMULATED),
        (Noise.NONE, 0.0, Codec.MP3, Room.NONE),
    )
)
# Asked one at a time, for times: the plain case, the hard one, and the one in which everything is tried.
ALONE = (
    Cell(name="clean_10s", family="clean", seconds=10),
    Cell(name="noise_-15dB_10s", family="noise", seconds=10, noise=Noise.MIXED, snr_db=-15),
    Cell(name="unknown_music_10s", family="unknown", seconds=10, unknown="music"),
)
SMALL = frozenset(
    {
        "clean_1s",
        "clean_5s",
        "mp3_5s",
        "noise_0dB_5s",
        "noise_-9dB_10s",
        "phone_0dB_10s",
        "noise_gsm_-9dB_10s",
        "speed_+4%_10s",
        "tempo_+4%_10s",
        "pitch_+4%_10s",
        "crossing_10s",
        "unknown_music_5s",
        "unknown_other_5s",
    }
)


def _signed(number: int) -> str:
    return f"{number:+d}" if number else "0"
