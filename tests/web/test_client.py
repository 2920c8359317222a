"""Both halves of the wire against each other."""

import hashlib
import os
import pickle
from pathlib import Path

import pytest

from fpserver.terms import Metadata
from fpserver.web.client import Client, RemoteError
from tests.web.conftest import Web


@pytest.fixture
def base_url(web: Web) -> str:
    return str(web.make_url("/"))


@pytest.mark.parametrize(
    "name",
    [
        "plain.mp3",
        'a "quoted" name.mp3',
        "Ünï cødé 音楽.flac",
        "50%25 off; x=y.mp3",
        "line\nbreak.mp3",
        "a\\b.mp3",
    ],
)
async def test_a_file_keeps_its_name_and_metadata_on_the_way(
    base_url: str, tmp_path: Path, name: str
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"")
    async with Client(base_url) as client:
        batch = await client.ingest([(path, name, Metadata())])
        assert [error["item"] for error in batch["errors"]] == [name]
        path.write_bytes(os.urandom(400_000))
        batch = await client.ingest(
            [(path, name, Metadata(title=name, genre="Jazz"))], batch_id=batch["batch_id"]
        )
        (track,) = (await client.tracks(batch_id=batch["batch_id"], genre="jazz", cursor=None))["tracks"]
        assert (track["title"], batch["n_items"]) == (name, 2)
        assert (await client.batch(batch["batch_id"]))["counts"]["queued"] == 1


async def test_a_track_lives_from_add_to_delete(base_url: str, tmp_path: Path) -> None:
    path = tmp_path / "song.mp3"
    path.write_bytes(os.urandom(100))
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    async with Client(base_url) as client:
        assert await client.ready()
        assert (await client.health())["status"] == "alive"
        assert await client.known([sha256]) == {}
        added = await client.add(path, Metadata(artist="Somebody"))
        track_id = added["track_id"]
        assert await client.known([sha256]) == {sha256: track_id}
        assert (await client.edit(track_id, {"album": "One"}))["album"] == "One"
        assert (await client.track(track_id))["artist"] == "Somebody"
        await client.delete(track_id)
        with pytest.raises(RemoteError, match=f"no track {track_id}") as caught:
            await client.track(track_id)
        assert caught.value.code == "track_not_found"


async def test_a_clip_is_asked_about(base_url: str, tmp_path: Path) -> None:
    path = tmp_path / "clip.bin"
    path.write_bytes(b"no audio" * 100)
    async with Client(base_url) as client:
        with pytest.raises(RemoteError) as caught:
            await client.identify(path, limit=3, explain=True, max_false_accept_rate=None)
        assert caught.value.code == "audio_unsupported"
        with pytest.raises(RemoteError, match="limit"):
            await client.identify(path, limit=0)


async def test_a_server_that_is_not_there_is_not_ready(tmp_path: Path) -> None:
    async with Client("http://127.0.0.1:1") as client:
        assert not await client.ready()
        with pytest.raises(RemoteError, match=r"no answer from http://127\.0\.0\.1:1: ") as caught:
            await client.health()
        assert caught.value.code == "server_unreachable"


def test_a_remote_error_survives_pickling() -> None:
    error = pickle.loads(pickle.dumps(RemoteError("overloaded", "come again")))
    assert (error.code, error.message, str(error)) == ("overloaded", "come again", "come again")


async def test_a_file_that_is_refused_on_its_way_is_refused_with_the_reason(
    base_url: str, tmp_path: Path
) -> None:
    path = tmp_path / "large.wav"
    path.write_bytes(bytes(40 * 2**20))
    async with Client(base_url) as client:
        for call in (client.identify(path), client.add(path, Metadata())):
            with pytest.raises(RemoteError, match="more than") as caught:
                await call
            assert caught.value.code == "audio_too_large"
