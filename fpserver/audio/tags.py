"""Read what a file says about itself: title, artist, album, genre, ISRC.

Tags are free text by strangers: bounded in length, freed of control characters, and never a reason to refuse
a file. What is not known is None; the title falls back to the file's name without its suffix.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mutagen

from fpserver.terms import MAX_METADATA_CHARS, Metadata

MAX_VALUES = 8  # artists or genres of one track that are joined

# What each field is called in: Vorbis comments, APEv2 and MP4's plain words (casefolded) · ID3 · MP4.
_NAMES = {
    "title": ("title", "TIT2", "\xa9nam"),
    "artist": ("artist", "TPE1", "\xa9ART"),
    "album": ("album", "TALB", "\xa9alb"),
    "genre": ("genre", "TCON", "\xa9gen"),
    "isrc": ("isrc", "TSRC", "----:com.apple.iTunes:ISRC"),
}
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff]+")


def read_tags(path: Path, name: str | None = None) -> Metadata:
    """The tags of a file. Without a title there, it is called `name`, or as the file is without its suffix."""
    try:
        tags = _tags(path)
        found = {field: _value(tags, names) for field, names in _NAMES.items()}
    except Exception:  # a parser of strangers' bytes fails in more ways than it lists; all mean "no tags"
        found = {}
    return Metadata(
        **{**found, "title": found.get("title") or _text(name if name is not None else path.stem)}
    )


def _tags(path: Path) -> Mapping[str, Any]:
    """Tag name → value of any of mutagen's kinds; names are kept, and added casefolded."""
    file = mutagen.File(path)
    if file is None or not file.tags:
        return {}
    tags = {str(name): file.tags[name] for name in file.tags.keys()}  # noqa: SIM118 (Vorbis comments iterate in pairs)
    return {name.casefold(): value for name, value in tags.items()} | tags


def _value(tags: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
    return next((text for name in names if name in tags and (text := _text(tags[name]))), None)


def _text(value: object) -> str | None:
    """One clean line of a string, bytes, list or ID3 frame; None when nothing is left."""
    genres = getattr(value, "genres", None)  # ID3 genres may be numbers: mutagen knows their names
    values = genres if genres is not None else getattr(value, "text", value)
    parts = values if isinstance(values, list) else [values]
    lines = [_line(part) for part in parts[:MAX_VALUES]]
    return ", ".join(line for line in lines if line)[:MAX_METADATA_CHARS].strip() or None


def _line(part: object) -> str:
    text = bytes(part).decode("utf-8", "replace") if isinstance(part, bytes | bytearray) else str(part)
    return " ".join(_UNPRINTABLE.sub(" ", text[: 4 * MAX_METADATA_CHARS]).split())
