import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_dependency_of_load_tests_is_locked_and_what_the_server_needs_is_locked_to_the_same() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] + project["optional-dependencies"]["loadtest"]
    runtime, loadtest = (
        set(re.findall(r"^([a-z0-9-]+)==(\S+)", (ROOT / f"locks/{name}.txt").read_text(), re.M))
        for name in ("runtime", "loadtest")
    )
    assert {re.split(r"[>=<;\[ ]", name)[0] for name in wanted} <= {name for name, _ in loadtest}
    assert runtime <= loadtest
