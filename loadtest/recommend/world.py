"""Where tracks and tastes lie, in a world that was made up; `simulated.py` says what for.

A track's place is a sum: genre, subgenre, artist, album and its own part. A listener is one to three places, which move
slowly. Every number has its reason beside it.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from loadtest.recommend.data import DAY_S, Places, Reals

START_AT = 1_600_000_000.0  # September 2020
N_DAYS = 730  # two years: long enough for seasons of taste
LEARNED_SHARE = 0.75  # of that time is learned from

N_ROOTS, N_SUBS = 8, 5  # genres, and subgenres of each: a shop's shelves
# Dimensions. Language, words, scene and image matter to listeners and are not in the sound: nearly two fifths here.
N_HEARD, N_UNHEARD = 10, 6
# Shares of variance. Tracks of an artist resemble each other more than those of a genre; an album is a little closer.
ROOT_SHARE, SUB_SHARE, ARTIST_SHARE, ALBUM_SHARE, OWN_SHARE = 0.25, 0.2, 0.25, 0.1, 0.2
ALBUM_TRACKS = 8
BACK_CATALOGUE = 0.4  # of albums are there from the start; the others come evenly: 15 % in the last quarter
FAME_EXPONENT = 0.8  # Zipf's, of artists: a tenth of the tracks makes six tenths of plays
FAME_SPREAD = 0.8  # of a track's fame within its artist, log: hits and fillers

TASTES_CHANCE = (0.35, 0.4, 0.25)  # of having one, two, three: few people like one kind only
TASTE_SPREAD = 0.3  # per dimension, around an artist: nobody's taste is exactly one artist
DRIFT_PER_YEAR = 0.2  # per dimension: in two years less than from one track of an artist to another
ALREADY_HERE = 0.4  # of users from the start; the others come evenly: 15 % in the last quarter
STAY_DAYS = 540.0  # mean, exponential: half are gone after a year
SESSIONS, SESSIONS_SPREAD = (
    25.0,
    1.0,
)  # in two years: median, log; a tenth of the users makes half of all plays

# How likely a listener is to like a track, as log odds. In one mood (counted): any track 11 %, one of the subgenre that
# he is in the mood for, by another artist, 31 %, one of the artist at the heart of his taste 62 %.
LIKING_BASE, TASTE_WIDTH2 = 2.0, 3.0
QUALITY_EFFECT = 0.5  # a good song is liked a little more by everybody
PERSONAL_SPREAD = 0.6  # between a listener and an artist, for reasons of his own


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Tracks as they are, in columns of n_tracks."""

    place: npt.NDArray[np.float64]  # (n_tracks, 16); the first ten dimensions can be heard
    sub: Places  # subgenre
    artist: Places
    album: Places
    quality: Reals  # about 0 ± 1
    fame: Reals  # how often it is met, relative
    released_at: Reals


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """What somebody likes, and when and how much he listens."""

    tastes: npt.NDArray[np.float64]  # (n_tastes, 16), at the start
    drift: npt.NDArray[np.float64]  # (n_tastes, 16) a year
    share: Reals  # (n_tastes,) of his sessions
    personal: Reals  # (n_artists,) log odds
    begins_at: float
    ends_at: float
    n_sessions: int

    def log_odds(self, world: World, at: float) -> npt.NDArray[np.float64]:
        """Of liking each track when in the mood of each taste: (n_tastes, n_tracks)."""
        years = (at - START_AT) / (365 * DAY_S)
        tastes = self.tastes + years * self.drift
        squared = (
            (world.place**2).sum(axis=1) - 2 * tastes @ world.place.T + (tastes**2).sum(axis=1, keepdims=True)
        )
        of_track = QUALITY_EFFECT * world.quality + self.personal[world.artist]
        return np.asarray(LIKING_BASE - squared / (2 * TASTE_WIDTH2) + of_track)

    def liking(self, world: World, at: float) -> npt.NDArray[np.float32]:
        """Probability of liking each track in the mood that suits it best, (n_tracks,)."""
        return np.asarray(1 / (1 + np.exp(-self.log_odds(world, at).max(axis=0))), np.float32)


def learned_until() -> float:
    """The moment T."""
    return START_AT + LEARNED_SHARE * N_DAYS * DAY_S


def make(n_tracks: int, n_artists: int, rng: np.random.Generator) -> World:
    """Tracks of artists of whom each has at least one album; at most as many artists as albums."""
    n_dims, n_albums = N_HEARD + N_UNHEARD, -(-n_tracks // ALBUM_TRACKS)
    zipf = (np.arange(n_artists) + 1.0) ** -FAME_EXPONENT
    others = rng.choice(n_artists, size=n_albums - n_artists, p=zipf / zipf.sum())
    artist_of_album = np.concatenate([np.arange(n_artists), others])  # everybody has one
    sub_of_artist = rng.integers(N_ROOTS * N_SUBS, size=n_artists)
    album = np.arange(n_tracks) // ALBUM_TRACKS
    artist = artist_of_album[album]
    sub = sub_of_artist[artist]

    def part(n: int, share: float) -> npt.NDArray[np.float64]:
        return rng.normal(0, np.sqrt(share), size=(n, n_dims))

    place = (
        part(N_ROOTS, ROOT_SHARE)[sub // N_SUBS]
        + part(N_ROOTS * N_SUBS, SUB_SHARE)[sub]
        + part(n_artists, ARTIST_SHARE)[artist]
        + part(n_albums, ALBUM_SHARE)[album]
        + part(n_tracks, OWN_SHARE)
    )
    quality = 0.6 * rng.normal(size=n_artists)[artist] + 0.8 * rng.normal(size=n_tracks)
    released = np.where(rng.random(n_albums) < BACK_CATALOGUE, 0.0, rng.random(n_albums) * N_DAYS * DAY_S)
    return World(
        place=place,
        sub=sub,
        artist=artist,
        album=album,
        quality=quality,
        fame=zipf[artist] * np.exp(FAME_SPREAD * rng.normal(size=n_tracks) + QUALITY_EFFECT * quality),
        released_at=START_AT + released[album],
    )


def listener(world: World, n_artists: int, rng: np.random.Generator) -> Listener:
    """Somebody, whose tastes lie where music is."""
    n_tastes = 1 + int(rng.choice(len(TASTES_CHANCE), p=TASTES_CHANCE))
    chance = np.sqrt(world.fame)  # fame draws people in, less than in proportion: there is a niche for many
    around = world.place[rng.choice(len(world.fame), size=n_tastes, p=chance / chance.sum())]
    begins_day = 0.0 if rng.random() < ALREADY_HERE else rng.random() * N_DAYS
    ends_day = min(N_DAYS, begins_day + rng.exponential(STAY_DAYS))
    a_day = SESSIONS * np.exp(SESSIONS_SPREAD * rng.normal()) / N_DAYS
    return Listener(
        tastes=around + TASTE_SPREAD * rng.normal(size=around.shape),
        drift=DRIFT_PER_YEAR * rng.normal(size=around.shape),
        share=rng.dirichlet(np.full(n_tastes, 2.0)),
        personal=PERSONAL_SPREAD * rng.normal(size=n_artists),
        begins_at=START_AT + begins_day * DAY_S,
        ends_at=START_AT + ends_day * DAY_S,
        n_sessions=1 + int(rng.poisson(a_day * (ends_day - begins_day))),
    )
