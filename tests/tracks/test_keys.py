"""The functions name keys by themselves; keys.py is their page. This holds the two together."""

import re
from pathlib import Path

from fpserver.errors import AudioSilent
from fpserver.store.connect import Client
from fpserver.tracks import keys
from fpserver.tracks.backlog import Backlog
from fpserver.tracks.catalogue import FUNCTIONS, Tracks
from fpserver.tracks.undescribed import Undescribed
from tests.tracks.offers import CONFIG, PLACE, submit


async def test_every_key_is_on_the_page_of_keys(client: Client, tracks: Tracks, backlog: Backlog) -> None:
    batch_id = await tracks.create_batch(now=1.0)
    await submit(tracks, "a", "b", batch_id=batch_id)
    await tracks.claim_audio(1, "ff")
    await tracks.mark_failed(2, AudioSilent("s"), now=2.0)
    await tracks.mark_indexed(1, n_landmarks=1, duration_s=1.0, now=2.0, to_be_described=True)
    await Undescribed(client, CONFIG).mark_described(1, [], facts={}, key=None, now=3.0)
    await Undescribed(client, CONFIG).want(1, now=4.0)
    await submit(tracks, "c")
    await tracks.identity()
    page = keys.__doc__ or ""
    shapes = [
        re.sub(r"<\w+>", "[^:]+", re.escape(shape).replace(r"\<", "<").replace(r"\>", ">"))
        for shape in re.findall(r"\| `…:([^`]+)`", page)
    ]
    named: list[bytes] = await client.execute_command("KEYS", "*")
    found = [key.decode().removeprefix(f"{keys.ROOT}:") for key in named]
    assert all(any(re.fullmatch(shape, key) for shape in shapes) for key in found), found
    assert all(any(re.fullmatch(shape, key) for key in found) for shape in shapes), shapes


async def test_names_made_here_are_those_the_functions_make(client: Client, tracks: Tracks) -> None:
    batch_id = await tracks.create_batch(now=1.0)
    await submit(tracks, "a", batch_id=batch_id)
    made = [keys.track(1), keys.status("queued"), keys.backlog(PLACE), keys.batch(batch_id)]
    assert await client.exists(*made) == len(made)


def test_every_function_is_called_somewhere_and_every_call_has_its_function() -> None:
    registered = set(re.findall(r"'tracks_(\w+)'", FUNCTIONS))
    folder = Path(keys.__file__).parent
    python = "".join((folder / name).read_text() for name in ("catalogue.py", "backlog.py", "undescribed.py"))
    assert set(re.findall(r'call\(\s*self\._client,\s*"(\w+)"', python)) == registered
