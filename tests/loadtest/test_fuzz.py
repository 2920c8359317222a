import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from fpserver.errors import FpserverError, InvalidRequest
from fpserver.web.routes import ROUTES
from loadtest.fuzz import over_http, page, seeds, targets
from loadtest.fuzz.mutating import Mutator, bytes_mutated, json_mutated, msgpack_mutated
from loadtest.fuzz.targets import TARGETS, Target
from loadtest.server import Server
from loadtest.standing import Standing

N_STRANGE = 40


@pytest.fixture(scope="module", autouse=True)
def tidy() -> Iterator[None]:
    yield
    targets.tidy()


@pytest.mark.filterwarnings("ignore::RuntimeWarning:aiohttp")
@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_every_reader_takes_seeds_and_what_is_made_of_them_or_names_what_is_wrong(target: Target) -> None:
    chance = random.Random(1)
    given = list(target.seeds())
    n_taken = 0
    for data in (*given[:10], *(target.mutated(chance.choice(given), chance) for _ in range(N_STRANGE))):
        try:
            target.read(data[: target.max_bytes])
            n_taken += 1
        except FpserverError as error:
            assert targets.harmless(error), data
    assert n_taken


def test_what_is_no_named_error_is_a_finding() -> None:
    assert targets.harmless(InvalidRequest("limit is 0"))
    for error in (FpserverError("?"), ValueError("?"), RecursionError(), targets.Finding("lost")):
        assert not targets.harmless(error)


def test_a_file_opened_outside_the_roots_is_seen(tmp_path: Path) -> None:
    inside, outside = tmp_path / "roots" / "a", tmp_path / "b"
    inside.parent.mkdir()
    for path in (inside, outside):
        path.write_bytes(b"x")
    (inside.parent / "link").symlink_to(outside)
    watch = targets.WATCH
    watch.roots, watch.strayed = (inside.parent.resolve(),), []
    try:
        inside.read_bytes()
        assert not watch.strayed
        (inside.parent / "link").read_bytes()
    finally:
        watch.roots = ()
    assert watch.strayed == [str(outside.resolve())]


@pytest.mark.parametrize("mutated", [bytes_mutated, json_mutated, msgpack_mutated])
def test_the_same_chance_makes_the_same_of_an_input(mutated: Mutator) -> None:
    data = b'{"user": "ann", "events": [1, 2.5, null]}'
    made = [[mutated(data, chance) for _ in range(50)] for chance in (random.Random(3), random.Random(3))]
    assert made[0] == made[1] and len(set(made[0])) > 10


def test_the_shares_of_readers_add_up() -> None:
    assert sum(target.share for target in TARGETS) == pytest.approx(1.0, abs=0.03)


def test_every_route_is_asked_over_http(tmp_path: Path) -> None:
    stood = Standing(
        server=Server(address="http://127.0.0.1:1", pid=1),
        track_ids=(1, 2),
        users=("ann",),
        batch_id="b",
        clip=b"clip",
        log=tmp_path,
        music=tmp_path,
    )
    corpora = {
        target.name: list(target.seeds()) for target in TARGETS if target.name not in ("sound", "export")
    }
    asker = over_http.Asker(stood, corpora | {"sound": [seeds.files()["wav"]]}, seed=1)
    asked = {entry for entry, _ in (asker.next() for _ in range(6000))}
    assert asked == {over_http.RAW, *(f"{route.method} {route.path}" for route in ROUTES)}


GOOD = b"HTTP/1.1 200 OK\r\nX-Request-Id: 1\r\n\r\nfine"
REFUSAL = b'{"error": {"code": "c", "message": "m", "request_id": "1"}}'
HEAD = b"HTTP/1.1 422 No\r\nX-Request-Id: 1\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "status", "fault"),
    [
        (GOOD, "200", None),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + GOOD, "200", None),
        (b"", "closed", None),
        (HEAD % len(REFUSAL) + REFUSAL, "422", None),
        (HEAD % 2 + b"{}", "422", "not the one error body"),
        (b"HTTP/1.1 200 OK\r\n\r\n", "200", "no X-Request-Id"),
        (b"HTTP/1.1 500 Oh\r\nX-Request-Id: 1\r\n\r\n", "500", "a server's fault"),
        (b"HTTP/1.1 503 Busy\r\nX-Request-Id: 1\r\n\r\n", "503", "a server's fault"),
        (b"\x00\x01", "no HTTP", "a server's fault"),
    ],
)
def test_an_answer_is_judged(answer: bytes, status: str, fault: str | None) -> None:
    assert over_http._judged(answer) == (status, fault)


def test_growth_and_other_processes_are_faults() -> None:
    def state(*, web: int = 1, mb: int = 100, files: int = 20) -> dict[str, dict[str, list[int]]]:
        kinds = (*page.LASTING, "decoding and maps")
        return {kind: {"pids": [web], "bytes": [mb * 2**20], "files": [files]} for kind in kinds}

    def faults(**after: int) -> list[str]:
        http = {"findings": [], "unexpected": 0, "knows_its_songs": True}
        return page.faults_of({"inside": [], "http": http | {"before": state(), "after": state(**after)}})

    assert not faults() and not faults(mb=110, files=25)
    assert any("100 MB became 130 MB" in fault for fault in faults(mb=130))
    assert any("20 open files became 90" in fault for fault in faults(files=90))
    assert any("processes were [1], are [2]" in fault for fault in faults(web=2))
