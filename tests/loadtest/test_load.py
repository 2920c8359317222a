"""When requests are due, how durations are counted, what grows, and what is a failure."""

import asyncio
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from loadtest.load import capacity, chaos, overload, plots, sampling, soak
from loadtest.load.arrivals import Phase, drawn, due_times, open_loop
from loadtest.load.deck import FILE_RATE_HZ, Clip, Deck
from loadtest.load.events import EVENTS
from loadtest.load.growth import growth
from loadtest.load.histogram import LEAST_S, MOST_S, Histogram
from loadtest.load.kinds import KINDS, Call
from loadtest.load.outcomes import NO_ANSWER, NOT_SENT, RIGHT, WRONG, Outcomes, by_kind, told
from loadtest.load.sampling import KINDS as PROCESSES
from loadtest.load.sampling import Samples, sampled
from loadtest.load.sender import Plan, carried_out
from loadtest.load.verdicts import highest, holds, p99_by_group, recovered_s, windows
from loadtest.server import Server

INGEST = next(i for i, kind in enumerate(KINDS) if kind.call is Call.INGEST)


def outcomes(
    *,
    kind: Sequence[int],
    seconds: Sequence[float],
    status: Sequence[int],
    due: Sequence[float] | None = None,
    verdict: Sequence[int] | None = None,
    late_s: float = 0.0,
) -> Outcomes:
    """Requests due one a second."""
    n = len(kind)
    when = np.arange(n, dtype=np.float64) if due is None else np.asarray(due, np.float64)
    return Outcomes(
        kind=np.asarray(kind),
        due=when,
        sent=when + late_s,
        done=when + np.asarray(seconds),
        status=np.asarray(status),
        verdict=np.zeros(n, np.int64) if verdict is None else np.asarray(verdict),
        retry_after=np.asarray(status) == 503,
        fault=[""] * n,
        stages={0: {"index": 2.0}},
        events=[],
        tracks=[],
    )


def test_arrivals_are_as_many_as_their_rates_say_and_lie_in_their_phases() -> None:
    phases = [Phase(rate=50, seconds=40), Phase(rate=200, seconds=20), Phase(rate=10, seconds=100)]
    due = due_times(phases, np.random.default_rng(1))
    assert (np.diff(due) >= 0).all()
    counts = np.histogram(due, [0, 40, 60, 160])[0]
    assert counts == pytest.approx([2000, 4000, 1000], rel=0.1)


def test_gaps_between_arrivals_are_exponential() -> None:
    gaps = np.diff(due_times([Phase(rate=100, seconds=200)], np.random.default_rng(2)))
    assert gaps.mean() == pytest.approx(0.01, rel=0.05)
    assert gaps.std() == pytest.approx(gaps.mean(), rel=0.05)
    assert np.mean(gaps > 0.02) == pytest.approx(np.exp(-2), rel=0.1)


def test_the_same_seed_gives_the_same_arrivals() -> None:
    first, second = (due_times([Phase(rate=20, seconds=5)], np.random.default_rng(3)) for _ in range(2))
    assert (first == second).all()


def test_kinds_are_drawn_by_their_shares() -> None:
    counts = np.bincount(drawn([3, 0, 1], 8000, np.random.default_rng(4)), minlength=3)
    assert counts[1] == 0
    assert counts / 8000 == pytest.approx([0.75, 0, 0.25], abs=0.02)


def test_a_server_that_stands_still_does_not_hold_requests_back() -> None:
    sent: list[float] = []
    still = asyncio.Event()

    async def ask(number: int, due: float) -> float:
        sent.append(time.perf_counter() - due)
        if number == 4:
            still.set()
        await still.wait()
        return time.perf_counter() - due

    async def run() -> list[float]:
        begin = time.perf_counter()
        return await open_loop([begin + 0.02 * i for i in range(5)], ask)

    waited = asyncio.run(run())
    assert len(sent) == 5
    assert waited[0] >= 0.08
    assert waited[4] < waited[0]


def test_waiting_of_the_sender_counts_as_waiting() -> None:
    late = outcomes(kind=[0], seconds=[0.5], status=[200], late_s=0.4)
    assert late.seconds.tolist() == [0.5]
    assert not late.sender()["valid"]


@pytest.mark.parametrize("share", [0.5, 0.9, 0.99, 0.999])
def test_a_quantile_of_a_histogram_is_that_of_the_durations(share: float) -> None:
    seconds = np.random.default_rng(5).lognormal(-4, 1.5, 20_000)
    exact = float(np.quantile(seconds, share, method="inverted_cdf"))
    assert Histogram(seconds).quantile(share) == pytest.approx(exact, rel=0.011)


def test_histograms_of_parts_add_up() -> None:
    seconds = np.random.default_rng(6).exponential(0.1, 1000)
    whole, parts = Histogram(seconds), Histogram(seconds[:300])
    parts.merge(Histogram(seconds[300:]))
    assert (whole.counts == parts.counts).all()
    assert whole.n == 1000


def test_durations_beyond_the_ends_are_counted() -> None:
    both = Histogram([1e-9, 1e9])
    assert both.n == 2
    assert (both.quantile(0.5), both.quantile(1.0)) == (LEAST_S, MOST_S)
    assert np.isnan(Histogram().quantile(0.5))


def test_steady_growth_shows_in_spite_of_noise() -> None:
    at = np.arange(1800.0)
    noise = np.random.default_rng(7).normal(0, 2, len(at))
    found = growth(at, 100 + at / 100 + noise, after_s=300)
    assert found.share == pytest.approx(15 / 103, abs=0.02)


def test_what_is_flat_but_for_single_high_samples_does_not_grow() -> None:
    values = np.full(1000, 100.0) + np.random.default_rng(8).normal(0, 1, 1000)
    values[900::10] = 500
    values[:200] = 50  # before what is looked at
    assert growth(np.arange(1000.0), values, after_s=200).share < 0.01


def test_a_step_shows() -> None:
    assert growth(np.arange(100.0), np.r_[np.full(50, 10), np.full(50, 12)]).share >= 0.2


def test_growth_of_a_handful_of_samples_is_not_told() -> None:
    with pytest.raises(ValueError, match="9 samples after 91 s"):
        growth(np.arange(100.0), np.ones(100), after_s=91)


def test_what_is_neither_served_nor_told_to_come_again_failed() -> None:
    seen = outcomes(
        kind=[0, 0, 0, 0, 0, INGEST],
        seconds=[0.1] * 6,
        status=[200, 503, 500, NO_ANSWER, NOT_SENT, 202],
        verdict=[RIGHT, 0, 0, 0, 0, 0],
    )
    row = told(seen, seen.asked)
    assert [row[name] for name in ("n", "served", "refused", "failed", "wrong")] == [5, 2, 1, 2, 0]
    assert sum(seen.faults(seen.asked).values()) == 2
    assert by_kind(seen, seen.asked)[KINDS[0].name]["stages_ms"] == {"index": 2.0}


def test_503_without_retry_after_is_a_failure() -> None:
    seen = outcomes(kind=[0], seconds=[0.1], status=[503])
    seen.retry_after[:] = False
    assert seen.failed.all()


@pytest.mark.parametrize(
    ("slow_s", "status", "borne"), [(0.1, 200, True), (0.7, 200, False), (0.1, 503, False), (0.1, 500, False)]
)
def test_a_rate_is_borne_when_all_is_served_in_time(slow_s: float, status: int, borne: bool) -> None:
    n = 200
    seen = outcomes(kind=[0] * n, seconds=[0.05] * (n - 6) + [slow_s] * 6, status=[200] * (n - 1) + [status])
    assert holds(seen) is borne


@pytest.mark.parametrize("limit", [7.0, 23.0, 80.0])
def test_the_highest_rate_that_is_borne_is_found(limit: float) -> None:
    tried: list[float] = []

    def borne(rate: float) -> bool:
        tried.append(rate)
        return rate <= limit

    found = highest(borne, first=5.0, factor=1.4, n_halvings=4)
    assert limit / 1.03 <= found <= limit
    assert len(tried) < 15


def test_where_not_even_the_first_rate_is_borne_there_is_none() -> None:
    assert highest(lambda _rate: False, first=5.0, factor=1.4, n_halvings=4) == 0.0


def test_it_has_recovered_when_windows_are_well_again() -> None:
    n = 400
    due = np.arange(n) / 20  # 20 s, 40 a window
    seconds = np.where(due < 4, 0.4, 0.01)
    status = np.where((due >= 6) & (due < 7), 503, 200)
    seen = outcomes(kind=[0] * n, seconds=seconds.tolist(), status=status.tolist(), due=due.tolist())
    well = windows(seen, {KINDS[0].name: 20.0}, 0.0, 20.0)
    assert well == [False, False, True, False, *[True] * 6]
    assert recovered_s(well) == 8.0
    assert recovered_s([True, False] * 3) is None


def test_requests_of_a_kind_say_what_they_are_and_no_two_files_are_the_same() -> None:
    rng = np.random.default_rng(9)
    songs = [rng.integers(-999, 999, 30 * FILE_RATE_HZ, dtype=np.int16).tobytes() for _ in range(2)]
    clips = {kind.name: [Clip(data=b"x", track_id=3)] for kind in KINDS if kind.call is Call.IDENTIFY}
    deck = Deck(clips=clips, songs=songs, n_tracks=10, n_users=5)
    asks = {kind.name: deck.ask(kind, "mark", rng) for kind in KINDS if kind.call is not Call.REMOVE}
    assert asks["clean, WAV"].media_type == "audio/wav"
    assert asks["clean, WAV"].track_id == 3
    assert asks["feedback"].event is not None
    assert b"mark" in (asks["feedback"].data or b"")
    assert deck.file(rng) != deck.file(rng)
    assert len(deck.file(rng)) == 44 + 2 * 60 * FILE_RATE_HZ


def test_a_wrong_answer_is_counted() -> None:
    seen = outcomes(kind=[0, 0], seconds=[0.1, 0.1], status=[200, 200], verdict=[RIGHT, WRONG])
    assert told(seen, seen.asked)["wrong"] == 1


def overloaded(*, slow_s: float, status: int, refused_s: float = 0.05) -> Outcomes:
    """Ten a second, sixty while there are too many, of which every other is refused; ten again."""
    ends = [overload.BEFORE_S, overload.BEFORE_S + 20, overload.BEFORE_S + 20 + overload.AFTER_S]
    due = np.concatenate(
        [
            np.linspace(begin, end, n, endpoint=False)
            for begin, end, n in ((0.0, ends[0], 300), (ends[0], ends[1], 1200), (ends[1], ends[2], 400))
        ]
    )
    over = (due >= ends[0]) & (due < ends[1])
    turned_away = over & (np.arange(len(due)) % 2 == 0)
    seconds = np.where(turned_away, refused_s, np.where(over, slow_s, 0.1))
    return outcomes(
        kind=[0] * len(due),
        seconds=seconds.tolist(),
        status=np.where(turned_away, status, 200).tolist(),
        due=due.tolist(),
    )


@pytest.mark.parametrize(
    ("slow_s", "status", "refused_s", "shown"),
    [(0.15, 503, 0.05, True), (0.5, 503, 0.05, False), (0.15, 500, 0.05, False), (0.15, 503, 0.9, False)],
)
def test_an_overload_is_borne_when_the_rest_is_refused_at_once(
    slow_s: float, status: int, refused_s: float, shown: bool
) -> None:
    alone = outcomes(kind=[0] * 100, seconds=[0.1] * 100, status=[200] * 100)
    found = overload.figures(overloaded(slow_s=slow_s, status=status, refused_s=refused_s), alone, 20.0)
    checks = overload.judged(found)
    assert all(check.ok for check in checks) is shown
    whole = json.loads(json.dumps(found | {"setting": "", "capacity": 20.0, "cores": {"web": 1.0}}))
    assert ("**no**" in overload.page(whole, checks)) is not shown


@pytest.mark.parametrize(
    ("grows_by", "status", "shown"), [(0.0, 200, True), (30.0, 200, False), (0.0, 503, False)]
)
def test_a_soak_is_borne_when_nothing_fails_and_nothing_grows(
    grows_by: float, status: int, shown: bool
) -> None:
    samples = Samples()
    for second in range(400):
        height = 100 + grows_by * second / 400
        samples.often.add(
            second, {f"{kind} {what}": height for kind in PROCESSES for what in ("rss", "descriptors")}
        )
        samples.seldom.add(second, {"web pss": height})
    seen = outcomes(kind=[0] * 400, seconds=[0.1] * 400, status=[200] * 399 + [status])
    found = soak.figures(seen, samples, 100.0) | {"setting": "", "rate": 1.0, "share": 70.0, "seconds": 400.0}
    checks = soak.judged(found)
    assert all(check.ok for check in checks) is shown
    assert ("**no**" in soak.page(json.loads(json.dumps(found)), checks)) is not shown


@pytest.mark.parametrize(("n_failed", "lost", "shown"), [(3, 0, True), (30, 0, False), (3, 1, False)])
def test_an_error_budget_is_kept(n_failed: int, lost: int, shown: bool) -> None:
    rate, n = 10, 400
    due = np.arange(n) / rate
    status = np.full(n, 200)
    status[100 : 100 + n_failed] = NO_ANSWER
    seen = outcomes(kind=[0] * n, seconds=[0.02] * n, status=status.tolist(), due=due.tolist())
    each = chaos.of_event(seen, EVENTS[0], 10.0, 10.1, 20.0)
    assert (each["failed"], each["refused"]) == (n_failed, 0)
    assert each["well_after_s"] == pytest.approx((n_failed - 1) / rate)
    row = told(seen, ~seen.failed)
    found = {
        "setting": "",
        "rate": rate,
        "share": 50.0,
        "seconds": 20.0,
        "events": [each],
        "kinds": by_kind(seen, seen.asked),
        "acknowledged": {"events": 10, "tracks": 2},
        "lost": {"events": lost, "tracks": 0},
        "wrong": 0,
        "before": row,
        "after": row,
        "sender": seen.sender(),
    }
    checks = chaos.judged(found, rate)
    assert all(check.ok for check in checks) is shown
    assert ("**no**" in chaos.page(json.loads(json.dumps(found)), checks)) is not shown


@pytest.mark.parametrize(
    ("rate", "wrong", "shown"), [(20.0, RIGHT, True), (0.0, RIGHT, False), (20.0, WRONG, False)]
)
def test_a_capacity_is_told_with_the_rates_that_were_tried(rate: float, wrong: int, shown: bool) -> None:
    seen = outcomes(kind=[0] * 50, seconds=[0.1] * 50, status=[200] * 50, verdict=[RIGHT] * 49 + [wrong])
    step = told(seen, seen.asked) | {
        "rate": 20.0,
        "seconds": 50.0,
        "p99_ms": p99_by_group(seen, seen.asked),
        "cores": dict.fromkeys(PROCESSES, 0.5),
        "sender": seen.sender(),
        "borne": True,
    }
    found = {
        "setting": "",
        "capacity": rate,
        "unloaded": by_kind(seen, seen.asked),
        "unloaded_rate": 1.0,
        "unloaded_faults": {},
        "at_capacity": by_kind(seen, seen.asked),
        "steps": [step],
    }
    checks = capacity.judged(found, seen.sender())
    assert all(check.ok for check in checks) is shown
    page = capacity.page(json.loads(json.dumps(found)), checks)
    assert ("**no**" in page) is not shown
    assert "| 20.0 | 50.0 | 50 | 0 | 0 | 100.0 |" in page


def test_processes_are_sampled_from_the_first_second_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "EVERY_S", 0.05)
    server = Server(address="http://127.0.0.1:9", pid=os.getppid())  # where nobody answers
    with sampled(server, time.perf_counter() + 0.1) as samples:
        time.sleep(0.5)
    assert len(samples.often.time_s) >= 3
    assert set(samples.often.values) >= {f"{kind} rss" for kind in PROCESSES}


async def test_what_a_server_says_is_told_apart() -> None:
    async def identify(request: web.Request) -> web.StreamResponse:
        said = (await request.read()).decode()
        if said == "break":
            assert request.transport is not None
            request.transport.abort()
        if said == "full":
            error = {"error": {"code": "overloaded"}}
            return web.json_response(error, status=503, headers={"Retry-After": "1"})
        matches = [{"track_id": int(said)}] if said.isdigit() else []
        return web.json_response({"matches": matches, "timings_ms": {"index": 1.0}})

    app = web.Application()
    app.router.add_post("/v1/identify", identify)
    kinds = [i for i, kind in enumerate(KINDS) if kind.call is Call.IDENTIFY][:5]
    said = [b"7", b"8", b"none", b"full", b"break"]
    clips = {KINDS[kind].name: [Clip(data=data, track_id=7)] for kind, data in zip(kinds, said, strict=True)}
    deck = Deck(clips=clips, songs=[], n_tracks=1, n_users=1)
    async with TestServer(app) as server:
        plan = Plan(
            address=str(server.make_url("")).rstrip("/"),
            phases=[Phase(rate=200, seconds=0.5)],
            shares=[float(i in kinds) for i in range(len(KINDS))],
        )
        seen = await carried_out(plan, deck)
    rows = by_kind(seen, seen.asked)
    right, wrong, missed, refused, failed = (rows[KINDS[kind].name] for kind in kinds)
    assert all(row["n"] > 5 for row in (right, wrong, missed, refused, failed))
    assert (right["served"], right["wrong"] + right["missed"]) == (right["n"], 0)
    assert wrong["wrong"] == wrong["n"]
    assert missed["missed"] == missed["n"]
    assert refused["refused"] == refused["n"]
    assert failed["failed"] == failed["n"]
    assert any("ServerDisconnectedError" in name for name in seen.faults(seen.asked))
    assert right["stages_ms"] == {"index": 1.0}


def test_kinds_that_were_asked_often_enough_are_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    phases = {
        "alone": {"often": Histogram([0.01] * 9), "seldom": Histogram([0.1]), "never": Histogram()},
        "together": {"often": Histogram([0.01, 0.02, 0.3]), "seldom": Histogram(), "never": Histogram()},
    }
    plots.histograms(tmp_path / "times.png", phases)
    lines = {f"line {i}": ([0, 1], [1, 2]) for i in range(12)}
    plots.over_time(tmp_path / "time.png", {"ms": lines}, marks=[0.5], log=["ms"])
    for name in ("times.png", "time.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(("n_more", "flat"), [(3, True), (4, False)])
def test_a_few_descriptors_more_are_no_growth(n_more: int, flat: bool) -> None:
    samples = Samples()
    for second in range(100):
        rows = {f"{kind} {what}": 30.0 for kind in PROCESSES for what in ("rss", "descriptors")}
        samples.often.add(second, rows | {"store descriptors": 30.0 + n_more * (second > 50)})
    seen = outcomes(kind=[0], seconds=[0.1], status=[200])
    checks = soak.judged(soak.figures(seen, samples, 0.0))
    assert all(check.ok for check in checks) is flat
