import asyncio
import socket
import time
from pathlib import Path

import pytest

from fpserver.config import RedisConfig
from fpserver.errors import ConfigInvalid, StoreUnavailable
from fpserver.store.connect import N_CONNECTIONS, Client, load_functions, open_store, without_password
from fpserver.store.embedded import embedded_server

LIBRARY = """#!lua name=t_hello
redis.register_function('t_hello', function(keys, args) return args[1] end)
"""


async def test_functions_are_there_after_loading_once_and_twice_and_are_replaced_by_others(
    client: Client,
) -> None:
    for _ in range(2):
        await load_functions(client, LIBRARY)
        assert await client.execute_command("FCALL", "t_hello", 1, "k", "x") == b"x"
    await load_functions(client, LIBRARY.replace("args[1]", "'new'"))
    assert await client.execute_command("FCALL", "t_hello", 1, "k", "x") == b"new"


async def test_a_library_that_cannot_be_loaded_is_named(client: Client) -> None:
    with pytest.raises(StoreUnavailable, match="t_broken"):
        await load_functions(client, "#!lua name=t_broken\nthis is no Lua")
    with pytest.raises(ValueError, match="begins with"):
        await load_functions(client, "return 1")


async def test_more_callers_than_connections_wait_for_their_turn(client: Client) -> None:
    values = await asyncio.gather(*(client.incr("k") for _ in range(10 * N_CONNECTIONS)))
    assert sorted(values) == list(range(1, 10 * N_CONNECTIONS + 1))
    info = await client.info("clients")
    assert info["connected_clients"] <= N_CONNECTIONS + 5


async def test_a_server_can_be_named_by_its_socket(tmp_path: Path) -> None:
    async with (
        embedded_server(tmp_path) as server,
        open_store(RedisConfig(url=f"unix://{server.socket}")) as client,
    ):
        assert await client.ping()


@pytest.mark.parametrize(
    "url", ["http://localhost", "localhost:6379", "redis://host:port", "redis+cluster://"]
)
async def test_a_url_that_names_no_store_is_refused(url: str) -> None:
    with pytest.raises(ConfigInvalid, match=r"redis\.url"):
        async with open_store(RedisConfig(url=url)):
            pass


@pytest.mark.parametrize("scheme", ["redis", "redis+cluster"])
async def test_a_server_that_is_not_there_is_named_without_its_password_and_in_time(scheme: str) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"{scheme}://user:secret@127.0.0.1:{unused.getsockname()[1]}"
        start = time.monotonic()
        with pytest.raises(StoreUnavailable, match=r"//\*\*\*@127\.0\.0\.1") as caught:
            async with open_store(RedisConfig(url=url, timeout_s=1)):
                pass
    assert time.monotonic() - start < 6
    assert "secret" not in str(caught.value)


async def test_a_server_that_never_answers_is_given_up_in_time() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    start = time.monotonic()
    async with server:
        with pytest.raises(StoreUnavailable, match="does not answer"):
            async with open_store(RedisConfig(url=f"redis://127.0.0.1:{port}", timeout_s=1)):
                pass
    assert time.monotonic() - start < 8


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://:pw@h:1/0", "redis://***@h:1/0"),
        ("rediss://u:p:w@h", "rediss://***@h"),
        ("redis://u:p@w/p@h:1", "redis://***@h:1"),
        ("redis://h:1/0?password=pw&db=2", "redis://h:1/0?password=***&db=2"),
        ("redis://h:6379/0", "redis://h:6379/0"),
        ("unix:///run/valkey.sock", "unix:///run/valkey.sock"),
        ("embedded", "embedded"),
    ],
)
def test_a_url_is_shown_without_its_password(url: str, shown: str) -> None:
    assert without_password(url) == shown


@pytest.mark.parametrize(
    "url", ["redis://:pw/pw@h:1", "redis://:pw@h:pw", "nonsense://:pw@h", "redis+cluster://:p:w/pw@h"]
)
async def test_a_url_that_cannot_be_read_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(ConfigInvalid) as refused:
        async with open_store(RedisConfig(url=url)):
            pass
    assert "pw" not in str(refused.value).replace("h:pw", "")


async def test_all_connections_are_there_from_the_beginning(client: Client) -> None:
    before = (await client.info("stats"))["total_connections_received"]
    await asyncio.gather(*(client.incr("k") for _ in range(2 * N_CONNECTIONS)))
    assert (await client.info("stats"))["total_connections_received"] == before
