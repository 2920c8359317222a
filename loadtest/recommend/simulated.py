"""A simulated population: 3,000 listeners whose tastes are known, 5,000 tracks that do not exist.

A track lies somewhere in a space of 16 dimensions: genre, subgenre, artist, album and its own part add up. Ten of the
dimensions can be heard in the sound, six cannot (language, words, scene, fame): only the crowd and, in part, tags know
them. Sound, tags and genre are known with noise; a listener is one to three places in the space, which move slowly.

The numbers are chosen for plausibility, with the reason beside each. One thing was changed after the baselines had
been asked (and before fpserver's recommenders existed): at first, listeners chose from pages of tracks of all kinds,
and what everybody hears predicted them better than any model did, which is not so in published measurements on music
(Liang et al., "Variational autoencoders for collaborative filtering", 2018); now they choose from a shelf that suits
them. What comes out (shares of skips, of repeats, …) is stated in the report. It remains a simulation: real people are
not points in a space, and whoever models users as points in a space is favoured by it.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fpserver.terms import Vectors
from loadtest.recommend.data import DAY_S, Dataset, Hidden, Places, Reals, rows_of_length_one

START_AT = 1_600_000_000.0  # September 2020
N_DAYS = 730  # two years: long enough for seasons of taste
LEARNED_SHARE = 0.75  # of that time is learned from

N_ROOTS, N_SUBS = 8, 5  # genres, and subgenres of each: a shop's shelves
N_HEARD, N_UNHEARD = (
    10,
    6,
)  # dimensions; about two fifths of what matters is not in the sound (Schedl et al. 2018)
# Shares of variance. Tracks of an artist resemble each other more than those of a genre; an album is a little closer.
ROOT_SHARE, SUB_SHARE, ARTIST_SHARE, ALBUM_SHARE, OWN_SHARE = 0.25, 0.2, 0.25, 0.1, 0.2
ALBUM_TRACKS = 8
BACK_CATALOGUE = 0.4  # of albums are there from the start; the others come evenly: 15 % in the last quarter
FAME_EXPONENT = 0.8  # Zipf's, of artists; measured ones lie between 0.7 and 1.1
FAME_SPREAD = 0.8  # of a track's fame within its artist, log: hits and fillers

N_AUDIO = 48  # numbers that describe a sound, as many as descriptors of sound usually have
PRODUCTION_NOISE = 0.5  # of an album's mastering, against signal of about 1: nobody's taste, but heard
SOUND_NOISE = 0.7  # of each track: what descriptors get wrong
N_TAG_WORDS = 60
TAG_LEVEL, TAG_CHANCE = 1.2, 0.5  # a word fits a track in nine, and is given to half of those it fits
WRONG_TAG_CHANCE, NO_TAGS_CHANCE = 0.15, 0.15  # people err, and tag little
NO_GENRE_CHANCE, WRONG_GENRE_CHANCE = 0.1, 0.05  # as in files from many hands

TASTES_CHANCE = (0.35, 0.4, 0.25)  # of having one, two, three: few people like one kind only
TASTE_SPREAD = 0.3  # per dimension, around an artist: nobody's taste is exactly one artist
DRIFT_PER_YEAR = 0.2  # per dimension: in two years less than from one track of an artist to another
ALREADY_HERE = 0.4  # of users from the start; the others come evenly: 15 % in the last quarter
STAY_DAYS = 540.0  # mean, exponential: half are gone after a year
SESSIONS, SESSIONS_SPREAD = (
    25.0,
    1.0,
)  # in two years: median, log spread; a tenth of users makes four tenths of plays

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


def simulate(*, n_users: int = 3000, n_tracks: int = 5000, n_artists: int = 400, seed: int = 1) -> Dataset:
    """Let everybody listen. The same seed makes the same data, on machines with the same numpy."""
    from loadtest.recommend.listening import listen  # noqa: PLC0415 – it needs the world above

    rng = np.random.default_rng(seed)
    world = _world(n_tracks, n_artists, rng)
    listeners = [_listener(world, n_artists, rng) for _ in range(n_users)]
    return Dataset(
        name=f"Simulated population {seed}",
        simulated=True,
        history=listen(world, listeners, rng),
        artist=tuple(f"artist {each}" for each in world.artist),
        genre=_genres(world, rng),
        tags=_tags(world, rng),
        audio=_audio(world, rng),
        released_at=world.released_at,
        hidden=Hidden(
            space=rows_of_length_one(world.place),
            liking=np.stack([each.liking(world, START_AT + N_DAYS * DAY_S) for each in listeners]),
        ),
    )


def _world(n_tracks: int, n_artists: int, rng: np.random.Generator) -> World:
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


def _listener(world: World, n_artists: int, rng: np.random.Generator) -> Listener:
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


def _audio(world: World, rng: np.random.Generator) -> Vectors:
    """Of the dimensions that can be heard, bent, mixed, and with noise."""
    heard = world.place[:, :N_HEARD]
    inner = np.tanh(heard @ rng.normal(0, 1 / np.sqrt(N_HEARD), size=(N_HEARD, N_AUDIO)))
    signal = inner @ rng.normal(0, 1, size=(N_AUDIO, N_AUDIO)) / np.sqrt(N_AUDIO)
    signal /= signal.std(axis=0)
    production = PRODUCTION_NOISE * rng.normal(size=(world.album.max() + 1, N_AUDIO))[world.album]
    return np.asarray(signal + production + SOUND_NOISE * rng.normal(size=signal.shape), np.float32)


def _genres(world: World, rng: np.random.Generator) -> tuple[str | None, ...]:
    """The subgenre's name; some wrong, some missing. Files of an album agree."""
    n_albums = int(world.album.max()) + 1
    wrong, none = rng.random(n_albums) < WRONG_GENRE_CHANCE, rng.random(n_albums) < NO_GENRE_CHANCE
    sub = np.where(wrong[world.album], rng.integers(N_ROOTS * N_SUBS, size=n_albums)[world.album], world.sub)
    return tuple(None if none[a] else f"genre {_named(s)}" for a, s in zip(world.album, sub, strict=True))


def _tags(world: World, rng: np.random.Generator) -> tuple[str | None, ...]:
    """Words that fit, the wide genre among them; some wrong, some tracks without any."""
    toward = rows_of_length_one(rng.normal(size=(N_TAG_WORDS, world.place.shape[1])))
    fits = (world.place @ toward.T > TAG_LEVEL) & (rng.random((len(world.sub), N_TAG_WORDS)) < TAG_CHANCE)
    wrong = np.flatnonzero(rng.random(len(fits)) < WRONG_TAG_CHANCE)
    fits[wrong, rng.integers(N_TAG_WORDS, size=len(wrong))] = True
    has_root, has_none = rng.random(len(fits)) < TAG_CHANCE, rng.random(len(fits)) < NO_TAGS_CHANCE

    def of_track(i: int) -> str | None:
        words = [f"word {each}" for each in np.flatnonzero(fits[i])]
        root = [f"genre {world.sub[i] // N_SUBS + 1}"] if has_root[i] else []
        return None if has_none[i] else ",".join(root + words) or None

    return tuple(of_track(i) for i in range(len(fits)))


def _named(sub: int) -> str:
    return f"{sub // N_SUBS + 1}.{sub % N_SUBS + 1}"
