"""A cell and a number into a clip: its samples, and the truth about them.

A clip depends on nothing but the seed, its cell, its number and the corpus. Order of what is done to it (each step
only where the cell has it): cut, speed and tempo and pitch, loudspeaker, room with a second of run-in, noise, gain,
clipping, microphone, codec, 16 bits.
"""

import hashlib
import zlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import soxr

from fpserver.audio.decode import decode
from fpserver.terms import Samples
from loadtest.accuracy import degrade, sounds
from loadtest.accuracy.cells import UNKNOWN_TREATMENTS, Cell, Codec, Mix, Noise, Room
from loadtest.corpus import (
    RATE_HZ,
    Pcm,
    Recording,
    as_samples,
    noises,
    place,
    readable,
    responses,
    samples_of,
)

RENDERING = (
    1  # to be raised when the same cell begins to sound different: kept answers are then not used again
)
RUN_IN_S = 1.0
NOISE_KINDS = {
    "crowd": ("crowd", "crowd/PA", "nature/tavern"),
    "street": ("urban", "urban/industry"),
    "engine": ("engine", "machine", "nature/machine"),
    "weather": ("weather", "static"),
    "ambience": ("nature", "nature/village"),
    "babble": ("speech",),
}
# Loudspeaker cabinets and halls; those of the corpus that are filters, heads or amplifiers are none.
MEASURED_RESPONSES = ("/bands/", "/amps/", "greathall", "street2", "/rakarrack/")
MAX_RESPONSE_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A track, and where it is heard in the clip."""

    track: str
    start_s: float  # in the track, of the part's first sample
    clip_start_s: float
    clip_end_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """The truth about a clip. No parts: nothing that is catalogued."""

    key: str
    cell: str
    number: int
    kind: str  # of noise, or of unknown sound
    parts: list[Part]
    sha256: str  # of its samples


@dataclass(frozen=True, slots=True, kw_only=True)
class Studio:
    """What clips are made of."""

    known: Sequence[Recording]
    unknown: Sequence[Recording]
    beds: dict[str, list[Recording]]
    responses: Sequence[Path]
    seed: int


def studio(corpus: Path, known: Sequence[Recording], unknown: Sequence[Recording], seed: int) -> Studio:
    """Gather the sounds of a corpus; silent and unreadable ones are left out."""
    beds: dict[str, list[Recording]] = defaultdict(list)
    for bed in noises(corpus):
        for kind, of_corpus in NOISE_KINDS.items():
            if bed.kind in of_corpus:
                beds[kind].append(bed)
    if not beds:
        raise SystemExit(f"{corpus} has no noise.csv: noise cells need recordings of noise")
    usable = [path for path in responses(corpus) if any(mark in str(path) for mark in MEASURED_RESPONSES)]
    return Studio(
        known=readable(known),
        unknown=readable(unknown),
        beds=dict(beds),
        responses=usable,
        seed=seed,
    )


def key_of(studio: Studio, cell: Cell, number: int) -> str:
    """Name of the clip that this recipe makes, for ever."""
    tracks = "".join(each.name for each in (studio.unknown if cell.unknown else studio.known))
    recipe = repr((RENDERING, studio.seed, number, astuple(cell)[:-1], tracks))
    return hashlib.sha256(recipe.encode()).hexdigest()[:20]


def render(studio: Studio, cell: Cell, number: int) -> tuple[Clip, Pcm]:
    """The truth and the samples (16 bits, 44.1 kHz) of one clip."""
    rng = np.random.default_rng([studio.seed, zlib.crc32(cell.name.encode()), number])
    treatment, kind = cell, ""
    if cell.unknown == "other":
        kind, samples = _no_music(studio, cell, number, rng)
        parts: list[Part] = []
    elif cell.unknown:
        if number % 2:
            treatment = UNKNOWN_TREATMENTS[number // 2 % len(UNKNOWN_TREATMENTS)]
        kind = _told(treatment)
        parts, samples = [], _take(studio.unknown, treatment, cell.seconds, number, rng)[1]
    else:
        parts, samples = _music(studio, cell, number, rng)
    samples, noise_kind = _degraded(studio, treatment, samples, rng)
    pcm = np.round(np.clip(samples, -1, 1) * 32767).astype(np.int16)
    clip = Clip(
        key=key_of(studio, cell, number),
        cell=cell.name,
        number=number,
        kind=kind or noise_kind,
        parts=parts,
        sha256=hashlib.sha256(pcm.tobytes()).hexdigest(),
    )
    return clip, pcm


def _music(studio: Studio, cell: Cell, number: int, rng: np.random.Generator) -> tuple[list[Part], Samples]:
    """Parts and samples, after speed, tempo and pitch, with run-in where there is a room."""
    if cell.mix is Mix.ONE:
        recording, samples, start_s = _take(studio.known, cell, cell.seconds, number, rng)
        return [_part(recording, start_s, 0, cell.seconds)], samples
    half_s = cell.seconds / 2
    lengths = (half_s, half_s) if cell.mix is Mix.CROSSING else (cell.seconds, cell.seconds)
    first, a, a_start_s = _take(studio.known, cell, lengths[0], number, rng)
    others = [each for each in studio.known if not each.shares_material(first)]
    second, b, b_start_s = _take(others, cell, lengths[1], int(rng.integers(len(others))), rng)
    b = b * np.float32(degrade.band_rms(a) / max(degrade.band_rms(b), degrade.TINY))
    if cell.mix is Mix.CROSSING:
        samples = np.concatenate([a, b])
        spans = ((0.0, half_s), (half_s, cell.seconds))
    else:
        samples, spans = a + b, ((0.0, cell.seconds),) * 2
    return [_part(first, a_start_s, *spans[0]), _part(second, b_start_s, *spans[1])], samples


def _take(
    recordings: Sequence[Recording], cell: Cell, seconds: float, number: int, rng: np.random.Generator
) -> tuple[Recording, Samples, float]:
    """(track, samples, start_s): tracks take turns, in an order of the cell's own."""
    order = np.random.default_rng([zlib.crc32(cell.name.encode()), len(recordings)]).permutation(
        len(recordings)
    )
    recording = recordings[order[number % len(recordings)]]
    run_in_s = RUN_IN_S if cell.room is not Room.NONE else 0.0
    n_samples = round((seconds + run_in_s) * RATE_HZ)
    needed_s = (seconds + run_in_s) * cell.tempo_factor + 0.2 * cell.warped
    start_s, pcm = place(recording, needed_s, rng)
    start = round(start_s * RATE_HZ)
    samples = as_samples(pcm[start : start + round(needed_s * RATE_HZ)])
    if cell.speed != 1:
        samples = degrade.at_speed(samples, cell.speed)
    if cell.tempo != 1:
        samples = degrade.at_tempo(samples, cell.tempo)
    if cell.pitch != 1:
        samples = degrade.at_pitch(samples, cell.pitch)
    samples = np.pad(samples, (0, max(0, n_samples - len(samples))))[:n_samples]
    return recording, samples, start_s + run_in_s * cell.tempo_factor


def _part(recording: Recording, start_s: float, clip_start_s: float, clip_end_s: float) -> Part:
    return Part(
        track=recording.name, start_s=round(start_s, 5), clip_start_s=clip_start_s, clip_end_s=clip_end_s
    )


def _degraded(studio: Studio, cell: Cell, samples: Samples, rng: np.random.Generator) -> tuple[Samples, str]:
    """(samples, kind of noise)."""
    kind = ""
    if cell.room is not Room.NONE:
        samples = degrade.high_pass(samples, rng.uniform(150, 400))  # a small loudspeaker
        response = (
            degrade.simulated_response(rng)
            if cell.room is Room.SIMULATED
            else _response(studio.responses[int(rng.integers(len(studio.responses)))])
        )
        samples = degrade.in_room(samples, response, run_in=round(RUN_IN_S * RATE_HZ))
    if cell.noise is not Noise.NONE:
        kind, noise = _noise(studio, cell.noise, len(samples), rng)
        samples = degrade.add_noise(samples, noise, snr_db=cell.snr_db)
    if cell.room is not Room.NONE:
        samples = degrade.normalised(samples) * np.float32(10 ** (rng.uniform(-30, 0) / 20))
        samples = degrade.clipped(samples, rng.uniform(0, 0.01))
        samples = degrade.band_pass(samples, 100, rng.uniform(5000, 10000))
    if np.abs(samples).max() > 1:
        samples = degrade.normalised(samples)
    if cell.codec is Codec.GSM:
        samples = degrade.gsm(samples)
    elif cell.codec is not Codec.NONE:
        kind_of_file, bitrate = ("mp3", 32_000) if cell.codec is Codec.MP3 else ("opus", 16_000)
        samples = degrade.coded(samples, kind_of_file, bitrate)
    return samples, kind


def _noise(studio: Studio, noise: Noise, n_samples: int, rng: np.random.Generator) -> tuple[str, Samples]:
    if noise is Noise.MIXED:
        kind = str(rng.choice(sorted(studio.beds)))
        return kind, recorded(studio.beds[kind], kind, n_samples, rng)
    make = {Noise.BROADBAND: sounds.broadband, Noise.IMPULSIVE: sounds.impulsive, Noise.WHITE: sounds.white}
    return str(noise), make[noise](n_samples, rng)


def recorded(beds: Sequence[Recording], kind: str, n_samples: int, rng: np.random.Generator) -> Samples:
    """Recorded noise so long: one place of one file, or several files; babble is four to eight voices at once."""
    n_voices = int(rng.integers(4, 9)) if kind == "babble" else 1
    voices = [_joined(beds, n_samples, rng) for _ in range(n_voices)]
    levelled = [voice / max(degrade.band_rms(voice), degrade.TINY) for voice in voices]
    return np.asarray(np.sum(levelled, axis=0), np.float32)


def _joined(beds: Sequence[Recording], n_samples: int, rng: np.random.Generator) -> Samples:
    pieces: list[Samples] = []
    while sum(map(len, pieces)) < n_samples:
        pcm = samples_of(beds[int(rng.integers(len(beds)))].path)
        if pcm is None:
            continue
        begin = int(rng.integers(max(1, len(pcm) - n_samples + 1)))
        piece = as_samples(pcm[begin : begin + n_samples])
        if (loud := degrade.band_rms(piece)) > 1e-4:
            pieces.append((piece / np.float32(loud)).astype(np.float32))
    return np.concatenate(pieces)[:n_samples]


def _no_music(studio: Studio, cell: Cell, number: int, rng: np.random.Generator) -> tuple[str, Samples]:
    """A sound of each kind in turn."""
    n_samples = round(cell.seconds * RATE_HZ)
    kinds = ["speech", "noise", *sounds.SYNTHETIC]
    kind = kinds[number % len(kinds)]
    if kind == "speech" and "babble" in studio.beds:
        return kind, degrade.normalised(_joined(studio.beds["babble"], n_samples, rng))
    if kind in {"speech", "noise"}:
        beds = sorted(set(studio.beds) - {"babble"})
        bed = str(rng.choice(beds))
        return "noise", degrade.normalised(recorded(studio.beds[bed], bed, n_samples, rng))
    return kind, sounds.SYNTHETIC[kind](n_samples, rng)


@lru_cache(maxsize=256)
def _response(path: Path) -> Samples:
    """A measured response: its first channel, as loud as it takes in, from its direct sound on."""
    sound = decode(path, rate_hz=RATE_HZ, max_s=MAX_RESPONSE_S, max_bytes=2**28, cut=True).samples
    response = sound[int(np.abs(sound).argmax()) :] if len(sound) else np.ones(1, np.float32)
    return (response / max(float(np.sqrt(np.sum(response**2))), degrade.TINY)).astype(np.float32)


def _told(cell: Cell) -> str:
    """What was done to an unknown clip, in words."""
    if cell.room is not Room.NONE:
        return "phone"
    if cell.codec is not Codec.NONE:
        return str(cell.codec)
    return "clean" if cell.noise is Noise.NONE else f"noise {cell.snr_db:g} dB"


def at_rate(pcm: Pcm, rate_hz: int) -> Samples:
    """The clip at the rate that somebody hears at."""
    return np.asarray(soxr.resample(as_samples(pcm), RATE_HZ, rate_hz, quality="VHQ"), np.float32)
