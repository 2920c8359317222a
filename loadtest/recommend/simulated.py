"""A simulated population: 3,000 listeners whose tastes are known, 5,000 tracks that do not exist.

A track lies somewhere in a space of 16 dimensions: genre, subgenre, artist, album and its own part add up. Ten of the
dimensions can be heard in the sound, six cannot (language, words, scene, fame): only the crowd and, in part, tags know
them. Sound, tags and genre are known with noise; a listener is one to three places in the space, which move slowly.

The numbers are chosen for plausibility, with the reason beside each. One thing was changed after the baselines had
been asked (and before fpserver's recommenders existed): at first, listeners chose from pages of tracks of all kinds,
and what everybody hears predicted them better than any model did, while on real music it is far below (Steck,
"Embarrassingly shallow autoencoders for sparse data", WWW 2019); now they choose from a shelf that suits them, and skip
a little more. What comes out (shares of skips, of repeats, …) is stated in the report. It remains a simulation: real
people are not points in a space, and whoever models users as points in a space is favoured by it.
"""

import numpy as np

from fpserver.terms import Vectors
from loadtest.recommend import world as worlds
from loadtest.recommend.data import DAY_S, Dataset, Hidden, rows_of_length_one
from loadtest.recommend.listening import listen
from loadtest.recommend.world import N_DAYS, N_HEARD, N_ROOTS, N_SUBS, START_AT, World

N_AUDIO = 48  # numbers that describe a sound, as many as descriptors of sound usually have
PRODUCTION_NOISE = 0.5  # of an album's mastering, against signal of about 1: nobody's taste, but heard
SOUND_NOISE = 0.7  # of each track: what descriptors get wrong
N_TAG_WORDS = 60
TAG_LEVEL, TAG_CHANCE = 1.2, 0.5  # a word fits a track in nine, and is given to half of those it fits
WRONG_TAG_CHANCE, NO_TAGS_CHANCE = 0.15, 0.15  # people err, and tag little
NO_GENRE_CHANCE, WRONG_GENRE_CHANCE = 0.1, 0.05  # as in files from many hands


def simulate(*, n_users: int = 3000, n_tracks: int = 5000, n_artists: int = 400, seed: int = 1) -> Dataset:
    """Let everybody listen. The same seed makes the same data, on machines with the same numpy."""
    rng = np.random.default_rng(seed)
    world = worlds.make(n_tracks, n_artists, rng)
    listeners = [worlds.listener(world, n_artists, rng) for _ in range(n_users)]
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
