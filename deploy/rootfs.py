"""Run the Dockerfile's own steps where there is no Docker engine, and use what comes of it.

    python3 deploy/rootfs.py [--work DIR] [--keep] [--mount DIR]

As root on Debian, with mmdebstrap. Each stage begins with a fresh Debian 12 root that stands for the base image: its
python3.11 under the names that the image has for it. The steps are read from the Dockerfile: FROM, WORKDIR, COPY,
RUN, USER, ENV, HEALTHCHECK, ENTRYPOINT and CMD mean here what they mean there, and any other stops this script.
Sources and settings of apt and pip are those of this machine; folders that they need are named with --mount, and are
there while a step runs.

Then the last stage is tried as a container would run it: as its user, read-only but for /tmp and the volume, in process
and network namespaces of its own; a track is taken in and a clip of it identified. Sizes and times are printed; the
status says whether it worked.
"""

import argparse
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = "python3,python3-venv,ca-certificates"
SIZES = ("/opt/fpserver", "/data")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
WHERE_FROM = (
    "index-url",
    "extra-index-url",
    "find-links",
    "trusted-host",
    "cert",
    "proxy",
    "default-timeout",
)  # of pip
PROXIES = ("http_proxy", "https_proxy", "no_proxy", "SSL_CERT_FILE")
MOUNTS: list[str] = []
TRY = Path(__file__).with_name("rootfs_try.py")


@dataclass(slots=True, kw_only=True)
class Stage:
    """A root file system, and what the steps so far have said about it."""

    root: Path
    user: str = "root"
    folder: str = "/"
    environment: dict[str, str] = field(default_factory=lambda: {"PATH": PATH})
    volumes: list[str] = field(default_factory=list)
    healthcheck: list[str] = field(default_factory=list)
    entrypoint: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)


def main() -> int:
    """Build, try, say what it took."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, help="where the roots lie; some 3 GB")
    parser.add_argument("--keep", action="store_true", help="leave them there")
    parser.add_argument("--mount", action="append", default=[], help="a folder that the package index needs")
    args = parser.parse_args()
    MOUNTS.extend(args.mount)
    if os.geteuid() or not shutil.which("mmdebstrap"):
        sys.exit("rootfs.py: needs root and mmdebstrap (Debian: apt install mmdebstrap)")
    work = Path(tempfile.mkdtemp(prefix="fpserver-rootfs-", dir=args.work))
    try:
        base = work / "base"
        timed("base: Debian 12 with its python3.11, in place of the image", lambda: make_base(base))
        stage = build(work, base)
        say(
            f"size: base {megabytes(base)} MB, "
            + ", ".join(f"{path} {megabytes(stage.root / path[1:])} MB" for path in SIZES)
            + f", all {megabytes(stage.root)} MB"
        )
        return timed("tried", lambda: try_out(stage))
    finally:
        if not args.keep:
            shutil.rmtree(work, ignore_errors=True)


def make_base(base: Path) -> None:
    """A fresh Debian 12, from this machine's sources."""
    run(["mmdebstrap", "--quiet", "--variant=minbase", f"--include={PACKAGES}", "bookworm", str(base)])
    for name in ("python", "python3"):
        (base / "usr/local/bin" / name).symlink_to("/usr/bin/python3.11")


def steps(text: str) -> Iterator[tuple[str, str]]:
    """Instructions of a Dockerfile with what they say, continued lines joined."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        name, _, rest = line.strip().partition(" ")
        yield name.upper(), rest.strip()


def build(work: Path, base: Path) -> Stage:
    """All stages; the last."""
    stages: dict[str, Stage] = {}
    stage: Stage | None = None
    for name, rest in steps((ROOT / "Dockerfile").read_text(encoding="utf-8")):
        if name == "FROM":
            named = re.search(r"\s+AS\s+(\S+)$", rest, re.IGNORECASE)
            label = named[1] if named else str(len(stages))
            stage = stages[label] = Stage(root=work / f"stage-{label}")
            run(["cp", "-a", str(base), str(stage.root)])
            say(f"FROM {rest}")
            continue
        if stage is None or name not in STEPS:
            sys.exit(f"rootfs.py: does not know what {name} means here")
        timed(f"{name} {rest[:100]}", lambda: STEPS[name](stage, rest, stages))  # noqa: B023 - called at once
    if stage is None:
        sys.exit("rootfs.py: the Dockerfile has no stage")
    return stage


def step_run(stage: Stage, rest: str, _stages: dict[str, Stage]) -> None:
    """RUN: in the root, with this machine's settings of pip, and its network."""
    pip = pip_environment()
    files = [word.removeprefix("file://") for value in pip.values() for word in value.split()]
    with as_mounted(stage, ["/etc/apt", *MOUNTS, *(path for path in files if path.startswith("/"))]):
        run(inside(stage, ["/bin/sh", "-c", rest], network=True), env=stage.environment | pip)


def step_copy(stage: Stage, rest: str, stages: dict[str, Stage]) -> None:
    """COPY: from the folder of the Dockerfile, or from another stage."""
    words = shlex.split(rest)
    source = ROOT
    if words[0].startswith("--from="):
        source = stages[words.pop(0).removeprefix("--from=")].root
    *paths, target = words
    place = stage.root / str(Path(stage.folder) / target).lstrip("/")
    into = target.endswith("/") or len(paths) > 1
    for path in paths:
        taken = source / path.lstrip("/")
        goal = place / taken.name if into else place
        goal.parent.mkdir(parents=True, exist_ok=True)
        if taken.is_dir():
            shutil.copytree(
                taken, goal, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True
            )
        else:
            shutil.copy2(taken, goal)


def step_env(stage: Stage, rest: str, _stages: dict[str, Stage]) -> None:
    """ENV: with what was set before in place of $NAME."""
    for pair in shlex.split(rest):
        key, _, value = pair.partition("=")
        stage.environment[key] = re.sub(r"\$(\w+)", lambda found: stage.environment.get(found[1], ""), value)


def step_workdir(stage: Stage, rest: str, _stages: dict[str, Stage]) -> None:
    """WORKDIR: made if it is not there."""
    stage.folder = rest
    (stage.root / rest.lstrip("/")).mkdir(parents=True, exist_ok=True)


def step_healthcheck(stage: Stage, rest: str, _stages: dict[str, Stage]) -> None:
    """HEALTHCHECK: the command after CMD."""
    stage.healthcheck = json.loads(rest.partition("CMD")[2])


STEPS = {
    "RUN": step_run,
    "COPY": step_copy,
    "ENV": step_env,
    "WORKDIR": step_workdir,
    "HEALTHCHECK": step_healthcheck,
    "USER": lambda stage, rest, _: setattr(stage, "user", rest),
    "VOLUME": lambda stage, rest, _: stage.volumes.append(rest),
    "EXPOSE": lambda *_: None,
    "ENTRYPOINT": lambda stage, rest, _: setattr(stage, "entrypoint", json.loads(rest)),
    "CMD": lambda stage, rest, _: setattr(stage, "command", json.loads(rest)),
}


def try_out(stage: Stage) -> int:
    """Start it as a container would be, and ask it something; rootfs_try.py does that, inside."""
    run(["mount", "--bind", str(stage.root), str(stage.root)])
    mounted = [stage.root]
    try:
        for volume in [*stage.volumes, "/tmp"]:
            place = stage.root / volume.lstrip("/")
            run(
                [
                    "mount",
                    *(["--bind", str(place)] if volume != "/tmp" else ["-t", "tmpfs", "tmpfs"]),
                    str(place),
                ]
            )
            mounted.append(place)
        shutil.copy(TRY, stage.root / "tmp" / TRY.name)
        run(["mount", "-o", "remount,ro,bind", str(stage.root)])
        said = {
            "first_key": [*stage.entrypoint, "keys", "create", "operator", "--scope", "admin"],
            "server": stage.entrypoint + stage.command,
            "healthcheck": stage.healthcheck,
            "volumes": stage.volumes,
        }
        command = ["python", f"/tmp/{TRY.name}", json.dumps(said)]
        return to_its_end(inside(stage, command, network=False), stage.environment)
    finally:
        for place in reversed(mounted):
            run(["umount", "-l", str(place)])


def to_its_end(command: list[str], environment: dict[str, str]) -> int:
    """Its status; whatever ends this ends it, too: the first process of its namespace, and all others with that."""
    process = subprocess.Popen(command, env=environment)
    try:
        return process.wait()
    except BaseException:
        for first in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
            os.kill(int(first), signal.SIGKILL)
        process.wait()
        raise


def inside(stage: Stage, command: list[str], *, network: bool) -> list[str]:
    """The command in the stage's root, as its user, in a process namespace of its own."""
    spaces = ["--pid", "--fork", "--kill-child", "--ipc", "--uts", *([] if network else ["--net"])]
    setting_up = f"mount -t proc proc {shlex.quote(str(stage.root / 'proc'))}"
    if not network:
        setting_up += " && ip link set lo up"
    user = ["--userspec", f"{stage.user}:{stage.user}"] if stage.user != "root" else []
    change = shlex.join(
        [
            "chroot",
            *user,
            str(stage.root),
            "/bin/sh",
            "-c",
            f'cd {shlex.quote(stage.folder)} && exec "$@"',
            "sh",
            *command,
        ]
    )
    return ["unshare", "--mount", *spaces, "/bin/sh", "-c", f"{setting_up} && exec {change}"]


@contextmanager
def as_mounted(stage: Stage, paths: list[str]) -> Iterator[None]:
    """Devices, name resolution and some of this machine's files, for as long as a step runs."""
    there = [
        path
        for path in (*paths, "/etc/resolv.conf", "/etc/hosts", "/dev/null", "/dev/urandom")
        if Path(path).exists()
    ]
    mounted, made = [], []
    try:
        for path in there:
            place = stage.root / path.lstrip("/")
            if not place.exists():
                place.parent.mkdir(parents=True, exist_ok=True)
                place.mkdir() if Path(path).is_dir() else place.touch()
                made.append(place)
            run(["mount", "--bind", path, str(place)])
            mounted.append(place)
        yield
    finally:
        for place in reversed(mounted):
            run(["umount", "-l", str(place)])
        for place in made:
            place.rmdir() if place.is_dir() else place.unlink()


def pip_environment() -> dict[str, str]:
    """Where this machine's pip takes packages from, as its environment says it."""
    told = subprocess.run(["pip3", "config", "list"], capture_output=True, text=True, check=False).stdout
    pairs = re.findall(r"^[\w:]+\.([a-z-]+)='(.*)'$", told, re.MULTILINE)
    settings = {f"PIP_{name.upper().replace('-', '_')}": value for name, value in pairs if name in WHERE_FROM}
    proxies = {key: value for key, value in os.environ.items() if key in PROXIES or key.lower() in PROXIES}
    return settings | proxies


def run(command: list[str], *, env: dict[str, str] | None = None) -> None:
    """A command that must work."""
    done = subprocess.run(
        command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"rootfs.py: {shlex.join(command)[:300]}\n{done.stderr[-3000:]}")


def timed(name: str, do):  # type: ignore[no-untyped-def]  # whatever it returns
    """Do something, and say how long it took."""
    begin = time.monotonic()
    result = do()
    say(f"{time.monotonic() - begin:7.1f} s  {name}")
    return result


def say(line: str) -> None:
    """Tell whoever waits."""
    print(line, flush=True)


def megabytes(path: Path) -> int:
    """What a folder takes on disk, without what is mounted in it."""
    told = subprocess.run(["du", "-sxm", str(path)], capture_output=True, text=True, check=False).stdout
    return int(told.split()[0]) if told else 0


if __name__ == "__main__":
    sys.exit(main())
