"""What is restored is what was there; a restore that cannot be whole does not begin, or says that it has not ended."""

import hashlib
import json
import re
import shutil
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fpserver.backup.restoring import restore
from fpserver.backup.taking import take
from fpserver.config import Config, RedisConfig
from fpserver.errors import Conflict, ForeignIndex, InvalidRequest, StoreUnavailable
from fpserver.run_folder import hold
from fpserver.services import Services, open_services
from fpserver.store.connect import Client, open_store
from tests.backup.contents import N_SONGS, contents, fill, fill_keys, nothing
from tests.opened import config_for, opened


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A backup of a full store, and what that held."""

    folder: Path
    held: dict[bytes, Any]
    paused_s: float
    told: list[int]


@pytest.fixture(scope="module")
async def kept(
    session_client: Client, store_config: RedisConfig, tmp_path_factory: pytest.TempPathFactory
) -> Kept:
    await session_client.flushall()
    folder = tmp_path_factory.mktemp("kept")
    told: list[int] = []
    async with opened(store_config) as services:
        await fill(services, folder)
        await services.client.set("another's", "not ours")
        taken = await take(store_config, folder / "backup", tell=told.append)
        held = await contents(services.client)
    return Kept(folder=folder / "backup", held=held, paused_s=taken.paused_s, told=told)


@pytest.fixture
def backup(kept: Kept, tmp_path: Path) -> Path:
    """A copy of it, to be damaged."""
    return Path(shutil.copytree(kept.folder, tmp_path / "backup"))


@pytest.fixture
async def services(client: Client, store_config: RedisConfig) -> AsyncIterator[Services]:
    """A store that holds a stamp, and a key of everything but sound."""
    async with opened(store_config, pool_processes=0) as services:
        await fill_keys(services)
        yield services


def target(tmp_path: Path) -> Config:
    return config_for(RedisConfig(data_dir=str(tmp_path / "target")))


async def held(config: Config) -> set[bytes]:
    async with open_store(config.redis) as client:
        return set(await contents(client))


async def test_every_key_is_there_again_with_what_it_held_and_the_moment_of_its_end(
    kept: Kept, tmp_path: Path
) -> None:
    whole = await restore(target(tmp_path), kept.folder, tell=nothing)
    async with open_store(target(tmp_path).redis) as client:
        after = await contents(client, "*")
    assert after == kept.held and len(after) > 500
    assert whole.counts.tracks == {"indexed": N_SONGS} and whole.counts.n_users == 200
    assert sum(kept.told) == whole.n_bytes == (kept.folder / "node-1.rdb").stat().st_size
    assert 0 < kept.paused_s < 2


async def test_a_backup_says_what_it_is_and_only_its_owner_may_read_it(kept: Kept) -> None:
    backup = kept.folder
    document = json.loads((backup / "manifest.json").read_text())
    assert document["counts"]["tracks"] == {"indexed": N_SONGS}
    assert document["stamp"]["index.layout"] == "4"
    assert re.fullmatch(r"(Valkey|Redis) \d+\.\d+\.\d+", document["files"][0]["server"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", document["at"])
    assert {path.name: path.stat().st_mode & 0o077 for path in (backup, *backup.glob("*.rdb"))} == {
        "backup": 0,
        "node-1.rdb": 0,
    }


async def test_a_folder_that_holds_something_is_left_alone(
    services: Services, backup: Path, tmp_path: Path
) -> None:
    before = {path: path.read_bytes() for path in backup.iterdir()}
    with pytest.raises(InvalidRequest, match=r"holds a backup: name a new one"):
        await take(services.config.redis, backup, tell=nothing)
    (tmp_path / "other").mkdir()
    (tmp_path / "other/letter").write_text("dear")
    with pytest.raises(InvalidRequest, match=r"holds letter"):
        await take(services.config.redis, tmp_path / "other", tell=nothing)
    assert {path: path.read_bytes() for path in backup.iterdir()} == before


async def test_a_backup_that_breaks_off_leaves_nothing(services: Services, tmp_path: Path) -> None:
    def disk_is_full(n: int) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(InvalidRequest, match=r"node-1\.rdb cannot be written: No space left on device"):
        await take(services.config.redis, tmp_path / "backup", tell=disk_is_full)
    assert not (tmp_path / "backup").exists()


async def test_a_store_without_a_catalogue_has_nothing_to_back_up(
    client: Client, store_config: RedisConfig, tmp_path: Path
) -> None:
    with pytest.raises(Conflict, match="holds no catalogue"):
        await take(store_config, tmp_path / "backup", tell=nothing)
    assert not (tmp_path / "backup").exists()


def cut(backup: Path) -> None:
    data = (backup / "node-1.rdb").read_bytes()
    (backup / "node-1.rdb").write_bytes(data[:-1])


def flip(backup: Path) -> None:
    data = bytearray((backup / "node-1.rdb").read_bytes())
    data[len(data) // 2] ^= 1
    (backup / "node-1.rdb").write_bytes(data)


def lose(backup: Path) -> None:
    (backup / "node-1.rdb").unlink()


def half(backup: Path) -> None:
    (backup / "manifest.json").unlink()


def scribble(backup: Path) -> None:
    (backup / "manifest.json").write_text('{"format": 1, "id": 7}')


def from_the_future(backup: Path) -> None:
    (backup / "manifest.json").write_text('{"format": 2}')


def lead_away(backup: Path) -> None:
    manifest = json.loads((backup / "manifest.json").read_text())
    manifest["files"][0]["name"] = "../node-1.rdb"
    (backup / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (cut, r"node-1\.rdb has \d+ bytes, should have \d+: it is damaged"),
        (flip, r"node-1\.rdb has the SHA-256 \w+, should have \w+: it is damaged"),
        (lose, r"node-1\.rdb cannot be read: No such file or directory"),
        (half, r"holds no whole backup: manifest\.json cannot be read"),
        (scribble, r"manifest\.json is damaged: .*`str`"),
        (from_the_future, r"is of format 2, this version of fpserver reads 1"),
        (lead_away, r"names the file '\.\./node-1\.rdb', which lies elsewhere"),
    ],
    ids=lambda each: getattr(each, "__name__", ""),
)
async def test_what_is_damaged_is_not_restored(
    spoil: Callable[[Path], None], said: str, backup: Path, tmp_path: Path
) -> None:
    spoil(backup)
    with pytest.raises(InvalidRequest, match=said):
        await restore(target(tmp_path), backup, tell=nothing)
    assert not (tmp_path / "target").exists()


async def test_a_file_of_a_version_that_no_server_here_reads_is_named_and_nothing_is_written(
    backup: Path, tmp_path: Path
) -> None:
    data = (backup / "node-1.rdb").read_bytes()
    magic = b"REDIS" if data.startswith(b"REDIS") else b"VALKEY"
    data = magic + b"999"[: 9 - len(magic)].rjust(9 - len(magic), b"0") + data[9:]
    (backup / "node-1.rdb").write_bytes(data)
    manifest = json.loads((backup / "manifest.json").read_text())
    manifest["files"][0]["sha256"] = hashlib.sha256(data).hexdigest()
    (backup / "manifest.json").write_text(json.dumps(manifest))
    said = r"was written by \w+ [\d.]+: .*valkey-server does not read it: .*Install a server of that version on PATH"
    with pytest.raises(InvalidRequest, match=said) as error:
        await restore(target(tmp_path), backup, tell=nothing)
    assert not re.search(r"\d\d:\d\d:\d\d", error.value.message)
    assert await held(target(tmp_path)) == set()


async def test_an_index_of_other_settings_is_refused_before_anything_is_written(
    backup: Path, tmp_path: Path
) -> None:
    other = target(tmp_path).with_values(index={"n_shards": 32})
    with pytest.raises(ForeignIndex, match=r"index\.n_shards = 16, this server has 32"):
        await restore(other, backup, tell=nothing)
    assert not (tmp_path / "target").exists()


async def test_a_store_that_holds_something_is_left_alone_and_named(backup: Path, tmp_path: Path) -> None:
    await restore(target(tmp_path), backup, tell=nothing)
    before = await held(target(tmp_path))
    said = r"holds an index \(tracks: 3 indexed; [\d,]+ postings; feedback of 200 users\).*empty data folder"
    with pytest.raises(Conflict, match=said):
        await restore(target(tmp_path), backup, tell=nothing)
    assert await held(target(tmp_path)) == before
    other = config_for(RedisConfig(data_dir=str(tmp_path / "other")))
    async with open_store(other.redis) as client:
        await client.set("fp:{x}:something", "1")
    with pytest.raises(Conflict, match=r"holds keys of fpserver \(fp:\{x\}:something"):
        await restore(other, backup, tell=nothing)


async def test_a_data_folder_whose_server_runs_is_left_alone(backup: Path, tmp_path: Path) -> None:
    with (
        hold(tmp_path / "target", "http://127.0.0.1:1"),
        pytest.raises(Conflict, match=r"runs at http://127\.0\.0\.1:1 .*stop it before"),
    ):
        await restore(target(tmp_path), backup, tell=nothing)


async def test_a_restore_that_was_interrupted_keeps_servers_away_and_is_ended_by_another(
    services: Services, kept: Kept, backup: Path, tmp_path: Path
) -> None:
    def break_off(n: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await restore(target(tmp_path), backup, tell=break_off)
    assert len(await held(target(tmp_path))) < len(kept.held)
    with pytest.raises(
        ForeignIndex, match=r"holds half of a backup: a restore from .*/backup was interrupted"
    ):
        async with open_services(target(tmp_path), pool_processes=0):
            pass
    with pytest.raises(Conflict, match="half of a restore"):
        await take(target(tmp_path).redis, tmp_path / "of half", tell=nothing)
    await take(services.config.redis, tmp_path / "another", tell=nothing)
    with pytest.raises(Conflict, match="an interrupted restore of another backup"):
        await restore(target(tmp_path), tmp_path / "another", tell=nothing)
    await restore(target(tmp_path), backup, tell=nothing)
    async with open_services(target(tmp_path), pool_processes=0) as restored:
        assert await contents(restored.client) == kept.held


async def test_of_two_restores_at_the_same_time_one_is_refused(backup: Path, tmp_path: Path) -> None:
    async with open_store(target(tmp_path).redis) as client:
        await client.set("fp:restoring", "somebody", px=60_000)
        with pytest.raises(Conflict, match="another restore"):
            await restore(target(tmp_path), backup, tell=nothing)


async def test_a_password_is_neither_shown_nor_kept(
    services: Services, store_config: RedisConfig, tmp_path: Path
) -> None:
    info = await services.client.config_get("unixsocket")
    await services.client.execute_command("ACL", "SETUSER", "keeper", "on", ">secret", "~*", "&*", "+@all")
    try:
        url = f"unix://keeper:{{}}@{info['unixsocket']}"
        await services.client.execute_command("ACL", "SETUSER", "keeper", "-sync")
        with pytest.raises(StoreUnavailable, match=r"refuses|no permissions") as error:
            await take(RedisConfig(url=url.format("secret")), tmp_path / "refused", tell=nothing)
        assert "secret" not in error.value.message
        await services.client.execute_command("ACL", "SETUSER", "keeper", "+sync")
        await take(RedisConfig(url=url.format("secret")), tmp_path / "backup", tell=nothing)
        assert "secret" not in (tmp_path / "backup/manifest.json").read_text()
    finally:
        await services.client.execute_command("ACL", "DELUSER", "keeper")
