"""What the documents tell people to type can be typed: commands, options, settings, variables, modules, files."""

import re
import shlex
from importlib.util import find_spec
from pathlib import Path

import pytest

from fpserver.cli.arguments import parser
from fpserver.config import Config

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "deploy").rglob("*.md"))]
TABLES = {table: set(getattr(Config(), table).__struct_fields__) for table in Config.__struct_fields__}
EVENTS = set(  # of the log, which are named alike
    re.findall(
        r'"([a-z]+)\.([a-z_]+)"', "".join(path.read_text() for path in (ROOT / "fpserver").rglob("*.py"))
    )
)
ENDINGS = {"py", "lua", "html"}  # `metrics.py` is no setting


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def typed(page: Path) -> list[str]:
    """Lines of shell blocks, continued ones joined, without comments."""
    blocks = re.findall(r"```(?:sh|bash|console)\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.strip().startswith("#")]


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_command_line_can_be_parsed(page: Path) -> None:
    for line in typed(page):
        for part in re.split(r"\s(?:\|\|?|&&|;)\s", line):
            words = shlex.split(re.sub(r"\s\d?>>?\s*\S+", "", part), comments=True)
            commands = [i for i, word in enumerate(words) if word == "fpserver" or word.endswith("/fpserver")]
            if not commands or "systemctl" in words:  # a service, or a folder, of that name
                continue
            after = words[commands[-1] + 1 :]
            if not after or not re.fullmatch("[a-z-]+", after[0]) or after[0].startswith("-"):
                continue
            assert parser().parse_args([word for word in after if word != "&"]), line


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_setting_that_is_named_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    named = set(re.findall(r"`([a-z]+)\.([a-z_]+)(?:`| = )", text))
    assert [
        (table, key)
        for table, key in named - EVENTS
        if table in TABLES and key not in TABLES[table] | ENDINGS
    ] == []
    variables = re.findall(r"\bFPSERVER_([A-Z]+)__([A-Z_]+)\b", text)
    assert [each for each in variables if each[1].lower() not in TABLES.get(each[0].lower(), set())] == []
    for table in re.findall(r"`\[([a-z]+)\]`", text):
        assert table in TABLES, table


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_module_and_file_that_is_to_be_run_or_read_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for module in re.findall(r"python -m ((?:fpserver|loadtest)[\w.]*)", text):
        assert find_spec(module) is not None, module
    for path in re.findall(r"`((?:deploy|loadtest|docs|tests|fpserver)/[\w./-]+\.\w+)`", text):
        assert (ROOT / path).exists(), path
