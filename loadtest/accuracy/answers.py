"""What a system said of a clip, and files that keep it: an answer a line, written as it comes.

A file is named by the system and a digest of its settings and of its catalogue. A run that is interrupted continues
where it stopped; a peer that has not changed is not asked again.
"""

import hashlib
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec

CACHE = Path(tempfile.gettempdir()) / "fpserver-loadtest-answers"
Kept = TypeVar("Kept")


@dataclass(frozen=True, slots=True, kw_only=True)
class Guess:
    """A track that a system names."""

    track: str
    score: float  # the higher, the surer; each system has its own scale
    accepted: bool
    offset_s: float | None = None  # where in the track the clip's first sample lies
    speed: float = 1.0
    pitch: float = 1.0
    false_accept_rate: float | None = None  # as promised


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What one system said of one clip: guesses, best first."""

    system: str
    clip: str  # Clip.key
    guesses: list[Guess]
    seconds: float | None  # of one core or, over HTTP, as the client saw it; None: not known
    detail: dict[str, Any] = field(default_factory=dict)


class KeptFile(Generic[Kept]):
    """Lines of JSON, by key; the last line of a key counts, and a torn last line is no line."""

    def __init__(self, path: Path, kind: type[Kept], key: str) -> None:
        self.path, self._kind, self._key = path, kind, key
        path.parent.mkdir(parents=True, exist_ok=True)
        whole = path.read_bytes() if path.is_file() else b""
        if whole and not whole.endswith(b"\n"):
            whole = whole[: whole.rfind(b"\n") + 1]
            path.write_bytes(whole)
        lines = (msgspec.json.decode(line, type=kind) for line in whole.splitlines())
        self.known: dict[str, Kept] = {getattr(each, key): each for each in lines}

    def add(self, item: Kept) -> None:
        """Keep it, here and in the file."""
        self.known[getattr(item, self._key)] = item
        with self.path.open("ab") as file:
            file.write(msgspec.json.encode(item) + b"\n")


def digest(*parts: object) -> str:
    """A short name for settings."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]
