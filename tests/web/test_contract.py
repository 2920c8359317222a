"""The documents tell what runs: routes, schemas, errors; and what runs is documented."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fpserver import errors
from fpserver.config import Config
from fpserver.errors import FpserverError
from fpserver.feedback import is_user
from fpserver.web import docs_page, openapi
from fpserver.web.app import create_app
from fpserver.web.contract import wire_of
from fpserver.web.errors import HTTP_CODES, STATUS, recorded, status_of
from fpserver.web.routes import ROUTES
from fpserver.web.schemas import FactRanges

API_PAGE = Path(__file__).parents[2] / "docs" / "api.md"


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(json.dumps(openapi.document()))
    return parsed


def all_errors(kind: type[FpserverError] = FpserverError) -> Iterator[type[FpserverError]]:
    if kind.__module__ == errors.__name__:
        yield kind
    for below in kind.__subclasses__():
        yield from all_errors(below)


def test_every_route_is_in_the_document_and_the_other_way_round(document: dict[str, Any]) -> None:
    served = {
        (route.method, route.resource.canonical)
        for route in create_app(Config()).router.routes()
        if route.method != "HEAD" and route.resource is not None
    }
    documented = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert served == documented


def test_every_reference_of_the_document_leads_somewhere(document: dict[str, Any]) -> None:
    names = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(document)))
    assert names == set(document["components"]["schemas"])


def test_every_operation_has_a_name_of_its_own_and_says_what_it_does(document: dict[str, Any]) -> None:
    operations = [operation for methods in document["paths"].values() for operation in methods.values()]
    assert len({operation["operationId"] for operation in operations}) == len(operations)
    for operation in operations:
        assert operation["summary"] and operation["description"] and operation["responses"]


def test_every_path_parameter_is_declared(document: dict[str, Any]) -> None:
    for path, methods in document["paths"].items():
        for operation in methods.values():
            declared = {each["name"] for each in operation["parameters"] if each["in"] == "path"}
            assert declared == set(re.findall(r"{(\w+)}", path))


def test_query_parameters_are_those_that_the_handlers_read(document: dict[str, Any]) -> None:
    for route in ROUTES:
        query = wire_of(route.handler).query
        operation = document["paths"][route.path][route.method.lower()]
        declared = {each["name"] for each in operation["parameters"] if each["in"] == "query"}
        assert declared == set(query.__struct_fields__ if query else ())


def test_every_error_has_its_status_in_the_table() -> None:
    for kind in all_errors():
        assert kind in STATUS or set(kind.__mro__[1:]) & (set(STATUS) - {FpserverError}), kind
        assert 400 <= status_of(kind) < 600


def test_the_error_of_a_failed_track_comes_back_as_itself() -> None:
    for kind in all_errors():
        error = recorded(kind.code, "why", track_id=7)
        assert (error.code, error.message) == (kind.code, "track 7: why")
    assert status_of(recorded("of a later version", None, track_id=7)) == 422


def test_the_page_needs_no_script_and_no_other_host(document: dict[str, Any]) -> None:
    page = docs_page.page(document)
    for sign in ("<script", "<link", "<img", "@import", "src=", "url("):
        assert sign not in page
    hosts = set(re.findall(r"https?://([^/:\s'\"<&]+)", page))
    assert hosts <= {"127.0.0.1"}
    assert set(re.findall(r'href="([^"#]+)', page)) == {"/v1/openapi.json"}


def test_every_link_of_the_page_has_its_target(document: dict[str, Any]) -> None:
    page = docs_page.page(document)
    assert set(re.findall(r'href="#([^"]+)"', page)) <= set(re.findall(r'id="([^"]+)"', page))


def test_every_example_of_the_page_belongs_to_an_operation(document: dict[str, Any]) -> None:
    names = {
        operation["operationId"] for methods in document["paths"].values() for operation in methods.values()
    }
    assert set(docs_page.EXAMPLES) <= names


def test_the_written_page_tells_every_route_parameter_and_error() -> None:
    text = API_PAGE.read_text(encoding="utf-8")
    for route in ROUTES:
        assert f"`{route.method} {route.path}`" in text, route
        query = wire_of(route.handler).query
        for name in query.__struct_fields__ if query else ():
            bounds = name in FactRanges.__struct_fields__  # told together, as <fact>_min and <fact>_max
            told = re.sub("_(min|max)$", "", name) if bounds else name
            assert f"`{told}`" in text, (route, name)
    for code in {kind.code for kind in all_errors()} | set(HTTP_CODES.values()):
        assert f"`{code}`" in text, code


def test_the_written_page_tells_of_no_route_that_is_gone() -> None:
    told = set(re.findall(r"`((?:GET|POST|PATCH|DELETE) /[^`]*)`", API_PAGE.read_text(encoding="utf-8")))
    assert told == {f"{route.method} {route.path}" for route in ROUTES}


def test_a_parameter_that_must_be_given_is_said_to_be(document: dict[str, Any]) -> None:
    operation = document["paths"]["/v1/tracks/{track_id}/similar-segments"]["get"]
    needed = {each["name"] for each in operation["parameters"] if each["required"]}
    assert needed == {"track_id", "start_s"}


def test_limits_that_are_settings_are_those_of_the_server() -> None:
    config = Config().with_values(recommend={"max_recommendations": 17}, similarity={"max_map_tracks": 99})
    schemas = openapi.document(config)["components"]["schemas"]
    assert schemas["RecommendationsRequest"]["properties"]["k"]["maximum"] == 17
    ids = schemas["MapRequest"]["properties"]["track_ids"]["anyOf"]
    assert [kind["maxItems"] for kind in ids if kind["type"] == "array"] == [99]
    limits = re.findall(r'"(?:maximum|maxItems)": ("?)', json.dumps(openapi.document()))
    assert limits and not any(limits)


def test_what_is_documented_of_a_user_is_what_is_taken(document: dict[str, Any]) -> None:
    pattern = document["components"]["schemas"]["FeedbackIn"]["properties"]["user"]["pattern"]
    for name in (
        "ann",
        ".",
        "..",
        "...",
        ".a",
        "a b",
        "a\tb",
        "\x00",
        "a\x7f",
        "\x9f",
        "\xa0",
        "ü/ü",
        "\U0001f600",
    ):
        assert bool(re.search(pattern, name)) == is_user(name), name
