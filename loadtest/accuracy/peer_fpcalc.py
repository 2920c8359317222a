"""Chromaprint's fpcalc: raw fingerprints of catalogue and clip, laid over each other at every place.

A guess is the place with the fewest differing bits. Chromaprint leaves it to others what is to be accepted: here the
first guess always is, and the report sets thresholds by the false accepts that are measured.

Jang et al., "Pairwise Boosted Audio Fingerprint", 2009; https://acoustid.org/chromaprint.
"""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from loadtest.accuracy.answers import Answer, Guess, digest
from loadtest.accuracy.clips import Clip
from loadtest.accuracy.peer_fpserver import wav
from loadtest.corpus import Pcm, Recording, samples_of

Items: TypeAlias = npt.NDArray[np.uint32]

NAME = "fpcalc"
ITEM_S = 1365 / 11025  # hop of the fingerprint's items
MIN_ITEMS = 2
MAX_GUESSES = 5
REVISION = 2  # to be raised when the same clip begins to get another answer


class FpcalcPeer:
    """All fingerprints of the catalogue in one row."""

    def __init__(self, catalogue: Sequence[Recording], cache: Path, processes: int) -> None:
        if shutil.which("fpcalc") is None:
            raise FileNotFoundError("fpcalc is not installed (Debian: libchromaprint-tools)")
        self.names = [each.name for each in catalogue]
        kept = cache / f"fpcalc-{digest(self.names)}.npz"
        if not kept.is_file():
            with ThreadPoolExecutor(processes) as pool:
                found = list(pool.map(_of_track, catalogue))
            cache.mkdir(parents=True, exist_ok=True)
            np.savez(kept, items=np.concatenate(found), sizes=[len(each) for each in found])
        with np.load(kept) as arrays:
            self.items: Items = arrays["items"]
            sizes = arrays["sizes"]
        self.track = np.repeat(np.arange(len(sizes)), sizes)
        self.first = np.cumsum(sizes) - sizes
        self.mb_per_hour = self.items.nbytes / 1e6 / (sum(each.seconds for each in catalogue) / 3600)

    @property
    def systems(self) -> list[str]:
        """One."""
        return [NAME]

    def settings_digest(self, system: str) -> str:
        """Of the catalogue."""
        return digest(REVISION, self.names)

    def ask(self, clip: Clip, pcm: Pcm) -> list[Answer]:
        """The best place in each of the best tracks."""
        begin = time.perf_counter()
        items = fingerprint(pcm)
        guesses = self._best(items, max(1, len(clip.parts))) if len(items) >= MIN_ITEMS else []
        seconds = time.perf_counter() - begin
        return [Answer(system=NAME, clip=clip.key, guesses=guesses, seconds=seconds)]

    def _best(self, items: Items, n_answers: int) -> list[Guess]:
        errors = bit_errors(items, self.items)
        places = len(errors)
        errors = np.where(self.track[:places] == self.track[len(items) - 1 :], errors, np.iinfo(np.int32).max)
        guesses: list[Guess] = []
        best = np.minimum.reduceat(errors, self.first[self.first < places])
        for track in np.argsort(best, kind="stable")[:MAX_GUESSES].tolist():
            last = self.first[track + 1] if track + 1 < len(self.first) else places
            at = int(errors[self.first[track] : last].argmin())
            share = float(best[track]) / (32 * len(items))
            if share <= 1:
                guesses.append(
                    Guess(
                        track=self.names[track],
                        score=1 - share,
                        accepted=len(guesses) < n_answers,
                        offset_s=at * ITEM_S,
                    )
                )
        return guesses


def bit_errors(clip: Items, catalogue: Items) -> npt.NDArray[np.int32]:
    """Differing bits of the clip at each place of the catalogue; (n_catalogue − n_clip + 1,)."""
    places = len(catalogue) - len(clip) + 1
    errors = np.zeros(max(0, places), np.int32)
    for i, item in enumerate(clip):
        errors += np.bitwise_count(catalogue[i : i + places] ^ item)
    return errors


def fingerprint(pcm: Pcm) -> Items:
    """Raw items of a sound at 44.1 kHz; none when it is too short or silent."""
    folder = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.NamedTemporaryFile(suffix=".wav", dir=folder) as file:
        file.write(wav(pcm))
        file.flush()
        said = subprocess.run(
            ["fpcalc", "-raw", "-plain", "-length", "0", file.name],
            check=False,
            capture_output=True,
            text=True,
        ).stdout.strip()
    return np.array([int(item) for item in said.split(",") if item], np.uint32)


def _of_track(recording: Recording) -> Items:
    pcm = samples_of(recording.path)
    return fingerprint(pcm) if pcm is not None else np.zeros(0, np.uint32)
