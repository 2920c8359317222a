"""What the measurement of recommendations over HTTP asks, and what it says."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loadtest import recommend_asking, recommend_serving, recommend_serving_page
from loadtest.recommend_asking import BETWEEN, KINDS, MIX, NOBODY, PLAYLIST, RARE, People, Reply

PEOPLE = People(
    named={NOBODY: ["nobody-0"], **{of: [f"user-{i}"] for i, of in enumerate(BETWEEN)}}, playlists=[[3, 1, 2]]
)


def test_people_are_found_by_how_many_events_they_have() -> None:
    counts = {0: 5, 1: 100, 2: 2000, 3: 50, 4: 98}
    user = np.repeat(np.array(list(counts)), list(counts.values()))
    named = recommend_asking.people_of(user).named
    assert [named[of] for of in BETWEEN] == [["user-0"], ["user-1", "user-4"], ["user-2"]]
    assert not set(named[NOBODY]) & {f"user-{i}" for i in counts}


def test_a_small_crowd_is_asked_by_the_nearest_there_is() -> None:
    named = recommend_asking.people_of(np.repeat([0, 1], [40, 300])).named
    assert [named[of] for of in BETWEEN] == [["user-0"], ["user-0"], ["user-1"]]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_question_says_what_its_kind_does(kind: recommend_asking.Kind) -> None:
    method, path, given = recommend_asking.asked(kind, PEOPLE, np.random.default_rng(1))
    if kind.of == PLAYLIST:
        assert (method, path) == ("POST", "/v1/recommendations")
        assert given["json"]["track_ids"] == [3, 1, 2]
        assert ("filter" in given["json"]) == ("1 %" in kind.name)
        told = given["json"]
    else:
        assert (method, path) == ("GET", f"/v1/users/{PEOPLE.named[kind.of][0]}/recommendations")
        assert given["params"].get("tag") == (RARE if "1 %" in kind.name else None)
        told = given["params"]
    assert told.get("strategy", "hybrid") == kind.name.split(",")[0]
    assert ("k 50" in kind.name) == (kind.k == 50)


def test_kinds_have_names_of_their_own_and_the_mix_is_hybrid() -> None:
    assert len({kind.name for kind in KINDS}) == len(KINDS)
    assert [kind.of for kind in MIX] == [NOBODY, *BETWEEN]


def test_one_track_of_a_hundred_has_the_rare_tag_and_all_have_others() -> None:
    tagged = recommend_serving.tagged(range(1, 501))
    assert sum(RARE in tags.split(", ") for _, tags in tagged) == 5
    assert all(len(tags.split(", ")) == 3 + (track_id % 100 == 0) for track_id, tags in tagged)
    assert tagged == recommend_serving.tagged(range(1, 501))


def test_quantiles_are_of_those_who_ask() -> None:
    replies = [Reply(ms=float(i), inside_ms=1.0, model="m", tracks=[]) for i in range(1, 101)]
    told = recommend_asking.quantiles(replies)
    assert told == {
        "n": 100,
        "p50_ms": 50.5,
        "p95_ms": 95.0,
        "p99_ms": 99.0,
        "max_ms": 100.0,
        "inside_p50_ms": 1.0,
    }


def test_a_page_says_what_is_lost() -> None:
    quick = {"n": 300, "p50_ms": 9.0, "p95_ms": 12.0, "p99_ms": 15.0, "max_ms": 20.0, "inside_p50_ms": 8.0}
    quick |= {"web_cpu_ms": 10.0, "store_cpu_ms": 0.5}
    slow = quick | {"p95_ms": 44.0}
    beside: dict[str, Any] = {
        name: slow | {"seconds": 30.0, "models": 2, "tracks": 1500, "files": 12}
        for name in (
            recommend_serving_page.NOTHING,
            recommend_serving_page.MODELS,
            recommend_serving_page.TRACKS,
            recommend_serving_page.FILES,
        )
    }
    found = {
        "setting": "2 cores",
        "tracks": 100_000,
        "users": 50_000,
        "events": 5_000_000,
        "asked": 300,
        "model": {"training_s": 600.0, "n_bytes": 2**26},
        "start": {"running_s": 9.0, "answers_s": 40.0, "web_answers_s": 33.0},
        "questions": {"hybrid, few": quick, "hybrid, many": slow},
        "after": quick | {"feedback_p50_ms": 2.0, "n_more_changed": 280},
        "rates": [{"rate": 10, **quick}],
        "rate_s": 20.0,
        "beside": beside,
        "swaps": 8,
        "web_bytes": {"settled": 2**29, "asked": 2**29, "end": 2**30, "peak": 2**30},
        "people": dict.fromkeys(BETWEEN, 100),
    }
    page = recommend_serving_page.page(found)
    assert "Of 2 kinds, 1 take longer than 30 ms at 95 %: hybrid, many." in page
    assert "| hybrid, few | 9.0 | 12.0 | 15.0 | 20.0 | 8.0 | 10.0 | 0.5 | yes |" in page
    assert "1,024 MiB at most" in page
    found["questions"] = {"hybrid, few": quick}
    assert "All 1 kinds are answered within 30 ms" in recommend_serving_page.page(found)


def test_settings_name_the_folder() -> None:
    assert recommend_serving._config(Path("/some")).redis.data_dir == "/some"
