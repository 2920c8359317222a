"""The units are what systemd takes, run what exists, and let what runs do little else."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from fpserver.cli.arguments import parser
from fpserver.config import load
from fpserver.offspring import limit_s

FOLDER = Path(__file__).parents[2] / "deploy" / "systemd"
UNITS = sorted(path.name for path in FOLDER.glob("*.service"))
STORE_STOPS_S = 20.0
MAX_EXPOSURE = 2.0  # of 10

analyze = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"
)


def text_of(unit: str) -> str:
    return (FOLDER / unit).read_text(encoding="utf-8")


@analyze
@pytest.mark.parametrize("unit", [*UNITS, "fpserver-backup.timer"])
def test_systemd_takes_it(unit: str, tmp_path: Path) -> None:
    """With a program that is there in the place of fpserver, which is installed elsewhere or nowhere."""
    for path in FOLDER.iterdir():
        text = path.read_text(encoding="utf-8").replace("/opt/fpserver/bin/fpserver", "/bin/true")
        (tmp_path / path.name.replace("@.", "@1.")).write_text(text)
    path = tmp_path / unit.replace("@.", "@1.")
    told = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (told.returncode, told.stderr) == (0, "")


@analyze
@pytest.mark.parametrize("unit", UNITS)
def test_it_may_do_little(unit: str, tmp_path: Path) -> None:
    path = tmp_path / unit.replace("@.", "@1.")
    shutil.copy(FOLDER / unit, path)
    told = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", path],
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    exposure = re.search(r"Overall exposure level for \S+: ([\d.]+)", told)
    assert exposure and float(exposure[1]) <= MAX_EXPOSURE, told


@pytest.mark.parametrize("unit", UNITS)
def test_its_environment_is_settings(unit: str) -> None:
    pairs = re.findall(r"^Environment=(.*)$", text_of(unit), re.M)
    load(env=dict(pair.split("=", 1) for line in pairs for pair in line.split()))


@pytest.mark.parametrize("unit", ["fpserver.service", "fpserver-worker@.service"])
def test_its_command_exists(unit: str) -> None:
    command = re.search(r"^ExecStart=/opt/fpserver/bin/fpserver (.*)$", text_of(unit), re.M)
    assert command
    parser().parse_args(command[1].split())


def test_it_has_time_to_drain() -> None:
    config = load(env={"FPSERVER_WEB__LEAVE_S": "5"})
    stop_s = {
        unit: float(re.findall(r"TimeoutStopSec=(\d+)", text_of(unit))[0])
        for unit in UNITS
        if "Stop" in text_of(unit)
    }
    assert stop_s["fpserver.service"] > limit_s("web", config) + limit_s("worker", config) + STORE_STOPS_S
    assert stop_s["fpserver-worker@.service"] > limit_s("worker", config)
