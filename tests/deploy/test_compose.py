"""compose.yaml is what docs/deploying.md says: its shape is looked at, and what it names; no engine is needed."""

import re
import tomllib
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest

from fpserver.cli.arguments import parser, settings
from fpserver.config import load
from fpserver.terms import Scope

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
TEXT = (DEPLOY / "compose.yaml").read_text(encoding="utf-8")
OF_OTHERS = {"prometheus", "grafana"}  # folders that are mounted


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    yaml = pytest.importorskip("yaml", reason="PyYAML reads compose.yaml")
    document: dict[str, Any] = yaml.safe_load(TEXT)
    return document


@pytest.fixture(scope="module")
def services(compose: dict[str, Any]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = compose["services"]
    return found


def ours(services: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {name: each for name, each in services.items() if each["image"].startswith("fpserver:")}


def test_there_are_two_servers_two_workers_and_six_nodes(services: dict[str, dict[str, Any]]) -> None:
    counts = [
        sum(bool(re.fullmatch(rf"{kind}\d", name)) for name in services)
        for kind in ("server", "worker", "valkey")
    ]
    assert counts == [2, 2, 6]
    assert {"haproxy", "prometheus", "grafana", "redis-exporter", "keys", "valkey-join"} <= set(services)


def test_images_of_others_are_pinned_to_a_version(services: dict[str, dict[str, Any]]) -> None:
    images = {each["image"] for each in services.values()} - {
        each["image"] for each in ours(services).values()
    }
    assert [image for image in images if not re.search(r":v?\d+\.\d+\.\d+(-\w+)?$", image)] == []


def test_volumes_are_declared_and_what_is_mounted_exists(compose: dict[str, Any]) -> None:
    mounts = [mount.split(":") for each in compose["services"].values() for mount in each.get("volumes", [])]
    assert {source for source, *_ in mounts if not source.startswith(".")} == set(compose["volumes"])
    files = {source for source, *_ in mounts if source.startswith(".")}
    merged = {
        path
        for path in files
        if not set(Path(path).parts) & OF_OTHERS or (DEPLOY / Path(path).parts[0]).exists()
    }
    assert [path for path in sorted(merged) if not (DEPLOY / path).exists()] == []


def test_only_the_load_balancer_is_reached_from_elsewhere(services: dict[str, dict[str, Any]]) -> None:
    published = {name: port for name, each in services.items() for port in each.get("ports", [])}
    assert {name for name, port in published.items() if not port.startswith("127.0.0.1:")} == {"haproxy"}


def test_what_fpserver_is_told_are_settings_and_commands(services: dict[str, dict[str, Any]]) -> None:
    for name, each in ours(services).items():
        load(env=dict(each["environment"]))
        entry = each.get("entrypoint", ["fpserver"])[1:]
        said = ["operator", "--scope", str(Scope.ADMIN)] if name == "keys" else each["command"]
        parser().parse_args([*entry, *said])


def test_servers_and_workers_share_the_spool_and_are_of_one_place(
    services: dict[str, dict[str, Any]],
) -> None:
    running = [each for name, each in ours(services).items() if name != "keys"]
    assert all("spool:/data/spool" in each["volumes"] for each in running)
    assert {each["environment"]["FPSERVER_WORKER__PLACE"] for each in running} == {"compose"}
    own = [mount for each in running for mount in each["volumes"] if mount.endswith(":/data")]
    assert len(set(own)) == 4, "a data folder has one server"


def test_everything_has_time_to_drain(services: dict[str, dict[str, Any]]) -> None:
    for name, each in ours(services).items():
        if name == "keys":
            continue
        config = load(env=dict(each["environment"]))
        takes_s = (
            config.worker.drain_s if "work" in each["command"] else config.web.leave_s + config.web.drain_s
        )
        assert float(each["stop_grace_period"].removesuffix("s")) > takes_s + 10


def test_nodes_have_the_addresses_that_others_know_them_by(compose: dict[str, Any]) -> None:
    services = compose["services"]
    network = ip_network(compose["networks"]["fpserver"]["ipam"]["config"][0]["subnet"])
    nodes = [services[f"valkey{n}"]["networks"]["fpserver"]["ipv4_address"] for n in range(1, 7)]
    assert all(ip_address(node) in network for node in nodes)
    assert services["valkey-join"]["command"] == ["6379", *nodes]
    assert services["server1"]["environment"]["FPSERVER_REDIS__URL"] == f"redis+cluster://{nodes[0]}:6379"
    assert re.findall(r"redis://([\d.]+):6379", (DEPLOY / "compose/targets/store.json").read_text()) == nodes


def test_the_load_balancer_and_prometheus_know_the_servers(services: dict[str, dict[str, Any]]) -> None:
    servers = {f"{name}:8710" for name in services if name.startswith("server")}
    assert set(re.findall(r"^ +server \S+ (\S+)$", (DEPLOY / "haproxy.cfg").read_text(), re.M)) == servers
    assert set(re.findall(r"server\d:\d+", (DEPLOY / "compose/targets/fpserver.json").read_text())) == servers


def test_the_image_serves_the_settings_file_that_stands_in_the_repository() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert "COPY config.toml /etc/fpserver/config.toml" in dockerfile
    tomllib.loads((ROOT / "config.toml").read_text())
    arguments = parser().parse_args(["serve", "--config", str(ROOT / "config.toml")])
    assert settings(arguments) == load(env={})
