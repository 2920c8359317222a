"""config.toml shows every setting with its default and a word about it, and nothing else."""

import tomllib
from pathlib import Path

import msgspec
import pytest

from fpserver.config import Config, load
from fpserver.errors import ConfigInvalid

CONFIG_FILE = Path(__file__).parent.parent / "config.toml"


def test_the_file_holds_every_setting_with_its_default() -> None:
    assert tomllib.loads(CONFIG_FILE.read_text()) == msgspec.to_builtins(Config())


def test_the_file_can_be_loaded_and_changes_nothing() -> None:
    assert load(CONFIG_FILE, env={}) == Config()


def test_every_setting_has_a_comment_on_its_line() -> None:
    for line in CONFIG_FILE.read_text().splitlines():
        assert not line or line.startswith("#") or len(line.partition(" # ")[2]) > 5, line


def test_a_setting_that_is_none_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "fpserver.toml"
    path.write_text("[web]\nprot = 1\n")
    with pytest.raises(ConfigInvalid, match="prot"):
        load(path, env={})


@pytest.mark.parametrize(
    ("key", "value"), [("window", 4098), ("max_delta_frames", 16), ("max_delta_bins", 128)]
)
def test_what_does_not_fit_into_a_hash_is_refused(key: str, value: int) -> None:
    with pytest.raises(ConfigInvalid, match=key):
        load(env={f"FPSERVER_FINGERPRINT__{key.upper()}": str(value)})


def test_what_a_file_leaves_out_of_a_table_stays(tmp_path: Path) -> None:
    path = tmp_path / "fpserver.toml"
    path.write_text("[dense]\nmax_lookups = 77\n")
    assert load(path, env={}) == Config().with_values(dense={"max_lookups": 77})


def test_what_is_no_table_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "fpserver.toml"
    path.write_text("web = 1\n")
    with pytest.raises(ConfigInvalid, match="web"):
        load(path, env={})


def test_the_environment_overrides_the_file(tmp_path: Path) -> None:
    path = tmp_path / "fpserver.toml"
    path.write_text("[web]\nport = 1\n")
    assert load(path, env={"FPSERVER_WEB__PORT": "2"}).web.port == 2


@pytest.mark.parametrize(
    "name", ["FPSERVER_WEB__PROT", "FPSERVER_WEBB__PORT", "FPSERVER_TYPO", "FPSERVER_PORT"]
)
def test_what_is_no_setting_is_refused_from_the_environment_too(name: str) -> None:
    with pytest.raises(ConfigInvalid, match=r"environment.*(prot|webb|FPSERVER_TYPO|FPSERVER_PORT)"):
        load(env={name: "1"})


def test_what_others_call_fpserver_is_no_setting_and_no_mistake() -> None:
    of_a_service = {"SERVICE_HOST": "10.0.0.7", "SERVICE_PORT": "80", "SERVICE_PORT_HTTP": "80"}
    of_a_port = {
        "PORT": "tcp://10.0.0.7:80",
        "PORT_80_TCP": "tcp://10.0.0.7:80",
        "PORT_80_TCP_ADDR": "10.0.0.7",
    }
    env = {f"FPSERVER_{name}": value for name, value in (of_a_service | of_a_port).items()}
    assert load(env=env | {"FPSERVER_KEY": "fps_secret"}) == Config()


def test_what_is_wrong_in_the_file_is_told_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "fpserver.toml"
    path.write_text("[web]\nport = -1\n")
    with pytest.raises(ConfigInvalid, match=r"fpserver\.toml.*port"):
        load(path, env={"FPSERVER_WEB__PORT": "1"})
