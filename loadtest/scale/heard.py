"""What is asked about and what is asked: real tracks as the server keeps them, clips as it hears them."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fpserver.config import Config
from fpserver.errors import AudioError
from fpserver.fingerprint.constellation import constellation_of
from fpserver.fingerprint.landmarks import fingerprint_of
from fpserver.hearing import hear_clip
from fpserver.terms import Constellation, Hearing, TrackPeaks
from loadtest.accuracy.cells import ALONE, Cell, Codec, grid
from loadtest.accuracy.clips import Clip, Studio, render
from loadtest.accuracy.degrade import has_gsm
from loadtest.accuracy.peer_fpserver import wav
from loadtest.accuracy.run import say
from loadtest.corpus import Recording, Thirds, as_samples, readable, samples_of

CONFIG = Config()
STUDIO: list[Studio] = []  # forked: read by the processes that make clips


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """A clip, and what the server hears of it; None where it refuses."""

    clip: Clip
    cell: Cell
    hearing: Hearing | None


def readable_thirds(parts: Thirds) -> Thirds:
    """Without the recordings that cannot be decoded."""
    rate_hz = CONFIG.fingerprint.rate_hz
    return Thirds(
        tuning=readable(parts.tuning, rate_hz),
        reporting=readable(parts.reporting, rate_hz),
        unknown=readable(parts.unknown, rate_hz),
    )


def apart(unknown: Sequence[Recording]) -> tuple[list[Recording], list[Recording]]:
    """(what unknown clips are cut from, what synthetic tracks are made of): every second cluster each."""
    clusters = sorted({each.cluster for each in unknown})
    for_clips = set(clusters[::2])
    return (
        [each for each in unknown if each.cluster in for_clips],
        [each for each in unknown if each.cluster not in for_clips],
    )


def cells_to_ask(named: str | None) -> list[Cell]:
    """Those named; without names, those with targets, and unknown music."""
    cells = list({cell.name: cell for cell in (*ALONE, *grid())}.values())
    if named:
        wanted = set(named.split(","))
        if strange := wanted - {cell.name for cell in cells}:
            raise SystemExit(f"no such cells: {', '.join(sorted(strange))}")
    else:
        wanted = {cell.name for cell in cells if cell.target} | {"unknown_music_5s"}
    chosen = [cell for cell in cells if cell.name in wanted]
    if not has_gsm() and any(cell.codec is Codec.GSM for cell in chosen):
        say("no GSM 06.10 tools (Debian: libgsm-tools); cells with GSM are skipped")
        chosen = [cell for cell in chosen if cell.codec is not Codec.GSM]
    return chosen


def track_peaks(recording: Recording) -> TrackPeaks:
    """A real track as the server keeps it."""
    return fingerprint_of(track_constellation(recording), CONFIG.fingerprint).peaks


def track_constellation(recording: Recording) -> Constellation:
    """A real track as the server hears it."""
    config = CONFIG.fingerprint
    samples = samples_of(recording.path, config.rate_hz)
    if samples is None:
        raise ValueError(f"{recording.path} cannot be decoded")
    return constellation_of(as_samples(samples), config)


def hear(job: tuple[Cell, int]) -> Heard:
    """A clip, sent as a WAV file."""
    cell, number = job
    clip, pcm = render(STUDIO[0], cell, number)
    with tempfile.NamedTemporaryFile(suffix=".wav") as file:
        file.write(wav(pcm))
        file.flush()
        try:
            hearing: Hearing | None = hear_clip(Path(file.name), CONFIG.audio, CONFIG.fingerprint)
        except AudioError:
            hearing = None
    return Heard(clip=clip, cell=cell, hearing=hearing)
