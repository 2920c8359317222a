"""Shelves, people and models that are made up, without a store."""

import numpy as np

from fpserver.recommend.shelf import Described, Shelf, build
from fpserver.recommend.train import Size
from fpserver.terms import KINDS, FeedbackKind, History

SIZE = Size(n_factors=8, n_neighbors=10)


def track(
    track_id: int,
    *,
    artist: str = "",
    genre: str = "",
    tags: tuple[str, ...] = (),
    audio: list[float] | None = None,
) -> Described:
    """What is known of one track; what is not said is not known."""
    return Described(
        track_id=track_id,
        artist=artist,
        genre=genre,
        tags=tags,
        audio=None if audio is None else np.array(audio, np.float32),
    )


def random_shelf(seed: int, n_tracks: int, *, n_dimensions: int = 6) -> Shelf:
    """Tracks 1000, 1001 …, of some of which artist, genre, tags or sound are not known."""
    rng = np.random.default_rng(seed)
    tracks = [
        Described(
            track_id=1000 + i,
            artist=f"artist {rng.integers(n_tracks // 3 + 1)}" if rng.random() < 0.9 else "",
            genre=f"genre {rng.integers(4)}" if rng.random() < 0.9 else "",
            tags=tuple(f"tag {tag}" for tag in rng.permutation(6)[: rng.integers(4)]),
            audio=rng.normal(0, 0.5, n_dimensions).astype(np.float32) if rng.random() < 0.8 else None,
            added_at=float(i),
        )
        for i in rng.permutation(n_tracks)
    ]
    return build(tracks, n_dimensions=n_dimensions, scales="1")


def parted_shelf(n_parts: int = 3, *, n_artists: int = 3, n_each: int = 4) -> Shelf:
    """Tracks in parts that have nothing in common: artists, a genre, a tag and a place in sound of their own."""
    rng = np.random.default_rng(5)
    tracks: list[Described] = []
    for part in range(n_parts):
        for artist in range(n_artists):
            for _ in range(n_each):
                sound = rng.normal(0, 0.1, n_parts)
                sound[part] += 1
                tracks.append(
                    track(
                        100 + len(tracks),
                        artist=f"artist {part}.{artist}",
                        genre=f"genre {part}",
                        tags=(f"tag {part}",),
                        audio=sound.tolist(),
                    )
                )
    return build(tracks, n_dimensions=n_parts, scales="1")


def part_of(shelf: Shelf) -> np.ndarray:
    """The part of each slot."""
    return np.array([int(shelf.genres[genre].split()[-1]) for genre in shelf.genre])


def parted_people(shelf: Shelf, *, n_users: int = 60, n_each: int = 8, seed: int = 0) -> History:
    """People who like and play tracks of one part each, and dislike one of another now and then."""
    rng = np.random.default_rng(seed)
    parts = part_of(shelf)
    columns: list[tuple[int, int, FeedbackKind, float, float]] = []
    for user in range(n_users):
        theirs = rng.permutation(np.flatnonzero(parts == user % (parts.max() + 1)))[:n_each]
        at = np.sort(rng.uniform(0, 1e6, len(theirs)))
        for slot, moment in zip(theirs.tolist(), at.tolist(), strict=True):
            kind = FeedbackKind.LIKE if rng.random() < 0.5 else FeedbackKind.PLAY
            columns.append((user, int(shelf.track_id[slot]), kind, 1.0, moment))
        if rng.random() < 0.3:
            other = rng.choice(np.flatnonzero(parts != user % (parts.max() + 1)))
            columns.append((user, int(shelf.track_id[other]), FeedbackKind.DISLIKE, 1.0, float(at[-1])))
    user_, track_id, kind_, value, at_ = zip(*columns, strict=True)
    return History(
        user=np.array(user_, np.int32),
        track_id=np.array(track_id, np.int64),
        kind=np.array([KINDS.index(kind) for kind in kind_], np.uint8),
        value=np.array(value, np.float32),
        at=np.array(at_, np.float64),
    )
