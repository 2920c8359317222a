"""docs/deploying.md is true: commands can be given, and files, units, services, settings and events are there."""

import re
import shlex
from pathlib import Path

import msgspec
import pytest

from fpserver.cli.arguments import parser
from fpserver.config import Config

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "deploying.md").read_text(encoding="utf-8")
COMMANDS = [
    line.partition(" > ")[0]
    for block in re.findall(r"```sh\n(.*?)```", PAGE, re.S)
    for line in block.replace("\\\n", " ").splitlines()
]


def arguments_of(command: str) -> list[str] | None:
    """Of the fpserver that a command runs, in a container or not."""
    found = re.search(r"(?:^|bin/| )fpserver (keys|serve|work|doctor)\b(.*)$", command)
    if found:
        return [found[1], *shlex.split(found[2])]
    found = re.search(r"docker compose run .*?\bkeys (.*)$", command)
    return ["keys", "create", *shlex.split(found[1])] if found else None


@pytest.mark.parametrize("command", [each for each in COMMANDS if arguments_of(each)])
def test_a_command_can_be_given(command: str) -> None:
    parser().parse_args(arguments_of(command))


def test_some_commands_were_looked_at() -> None:
    assert sum(arguments_of(command) is not None for command in COMMANDS) >= 3


def test_files_that_commands_name_are_there() -> None:
    named = {
        word
        for command in COMMANDS
        for word in command.split()
        if re.match(r"(deploy|locks)/|config\.toml$", word)
    }
    assert len(named) >= 5
    assert [word for word in sorted(named) if not list(ROOT.glob(word))] == []


def test_units_and_services_that_it_names_are_there() -> None:
    units = set(re.findall(r"systemctl [\w -]*?(fpserver[\w@-]*(?:\.timer)?)", PAGE))
    assert len(units) >= 3
    for unit in units:
        name = re.sub(r"@\d", "@", unit)
        assert (ROOT / "deploy/systemd" / (name if "." in name else f"{name}.service")).exists(), unit
    services = set(re.findall(r"docker compose (?:restart|kill \S+ \S+) (\w+)", PAGE))
    compose = (ROOT / "deploy/compose.yaml").read_text()
    assert services and all(re.search(rf"^  {service}:$", compose, re.M) for service in services)


def test_settings_and_events_that_it_names_are_there() -> None:
    settings = msgspec.to_builtins(Config())
    named = re.findall(r"`(web|worker|redis|index)\.(\w+)", PAGE)
    assert named and [pair for pair in named if pair[1] not in settings[pair[0]]] == []
    source = "".join(path.read_text() for path in (ROOT / "fpserver").glob("*.py"))
    events = re.findall(r"`(serve\.\w+)`", PAGE)
    assert events and [event for event in events if f'"{event}"' not in source] == []
