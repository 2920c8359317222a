"""The commands and their arguments, in one screen each; what a command does is in its own file."""

import argparse
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from fpserver import log
from fpserver.config import Config, load
from fpserver.errors import FpserverError
from fpserver.terms import Scope

OK, FAILED, USAGE, UNREACHABLE = 0, 1, 2, 3
STATUS_OF_CODE = {  # an error's code, whether raised here or told by a server; all others: FAILED
    "config_invalid": USAGE,
    "invalid_request": USAGE,
    "conflict": USAGE,
    "foreign_index": USAGE,
    "embedded_store_missing": UNREACHABLE,
    "store_unavailable": UNREACHABLE,
    "server_unreachable": UNREACHABLE,
    "not_fpserver": UNREACHABLE,
}
INTERRUPTED = 130  # what shells expect after Ctrl-C


Command = Callable[[argparse.Namespace, Config], int]  # does one thing and returns the exit status


def run(argv: Sequence[str] | None = None) -> int:
    """Parse, configure, do; every named error is one line on standard error."""
    arguments = parser().parse_args(argv)
    try:
        config = settings(arguments)
        log.configure(config.log)
        return _command(arguments.run)(arguments, config)
    except FpserverError as error:
        print(f"fpserver: {error.message}", file=sys.stderr)
        return STATUS_OF_CODE.get(error.code, FAILED)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # `fpserver tracks | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK


def settings(arguments: argparse.Namespace) -> Config:
    """Defaults, settings file, environment, then what the command line says."""
    config = load(arguments.config)
    tables: dict[str, dict[str, Any]] = {}
    for name, (table, key) in OVERRIDES.items():
        value = getattr(arguments, name, None)
        if value is not None:
            tables.setdefault(table, {})[key] = value
    if arguments.quiet and config.log.level == "info":
        tables["log"] = {"level": "warning"}  # a terminal shows the answer; what went on is for servers
    return config.with_values(**tables)


OVERRIDES = {
    "data": ("redis", "data_dir"),
    "host": ("web", "host"),
    "port": ("web", "port"),
    "processes": ("web", "processes"),
    "worker_processes": ("worker", "processes"),
    "place": ("worker", "place"),
}


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    main = argparse.ArgumentParser(
        prog="fpserver",
        description="Identify a few noisy seconds of sound against a catalogue of recordings.",
        epilog="config.toml explains every setting; FPSERVER_<TABLE>__<KEY> in the environment overrides it.",
    )
    commands = main.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _serving(commands)
    _asking(commands)
    _cataloguing(commands)
    _keeping(commands)
    _keys(commands)
    doctor = _add(commands, "doctor", "doctor.run", "check decoder, store, index stamp and settings")
    doctor.set_defaults(quiet=True)
    demo = _add(commands, "demo", "demo.run", "ingest a small catalogue, identify a degraded clip of it")
    demo.add_argument("--port", type=int, metavar="N", help="port of the server it starts")
    demo.add_argument("--music", type=Path, metavar="DIR", help="your own files instead of synthesised songs")
    demo.add_argument("--stop", action="store_true", help="stop the server the demo has left running")
    demo.set_defaults(quiet=True)
    cluster = _add(commands, "cluster", "cluster.run", "a Redis Cluster on this machine, to try things on")
    cluster.add_argument("folder", type=Path, metavar="DIR", help="where its nodes keep what they know")
    cluster.add_argument(
        "--port",
        dest="first_port",
        type=int,
        default=7001,
        metavar="N",
        help="of the first node (default 7001)",
    )
    cluster.set_defaults(quiet=True)
    return main


def _serving(commands: Any) -> None:
    serve = _add(commands, "serve", "serving.serve", "answer over HTTP, and index what comes in")
    serve.add_argument("--host", metavar="ADDRESS", help="address to listen at (default 127.0.0.1)")
    serve.add_argument("--port", type=int, metavar="N", help="port (default 8710; 0: any free one)")
    serve.add_argument("--processes", type=int, metavar="N", help="web processes on the port (default 1)")
    serve.add_argument(
        "--workers",
        dest="workers",
        type=int,
        metavar="N",
        help="decoding processes that index (default one per core; 0: none, workers run elsewhere)",
    )
    work = _add(
        commands, "work", "serving.work", "index what waits in the backlog; any number on any machine"
    )
    work.add_argument(
        "--processes", dest="worker_processes", type=int, metavar="N", help="decoding processes"
    )
    work.add_argument("--place", metavar="NAME", help="whose files this worker can read (default this host)")


def _asking(commands: Any) -> None:
    identify = _add(commands, "identify", "asking.identify", "say which track a clip is from")
    identify.add_argument("file", type=Path, metavar="FILE", help="audio, or a fingerprint of it")
    identify.add_argument("--limit", type=int, default=5, metavar="N", help="most matches to show")
    identify.add_argument("--json", action="store_true", help="the answer as the HTTP API gives it")
    _server(identify)
    fingerprint = _add(commands, "fingerprint", "asking.fingerprint", "write fingerprints of files")
    fingerprint.add_argument("paths", type=Path, nargs="+", metavar="DIR|FILE")
    fingerprint.add_argument(
        "-o", "--out", type=Path, metavar="OUT", help="default FILE.fingerprint of the first; - for stdout"
    )
    fingerprint.add_argument(
        "--processes", dest="worker_processes", type=int, metavar="N", help="decoding processes"
    )
    for command in (identify, fingerprint):
        command.set_defaults(quiet=True)


def _cataloguing(commands: Any) -> None:
    ingest = _add(commands, "ingest", "ingesting.run", "put files and folders into the catalogue")
    ingest.add_argument("paths", type=Path, nargs="+", metavar="DIR|FILE")
    ingest.add_argument(
        "--processes", dest="worker_processes", type=int, metavar="N", help="decoding processes"
    )
    _server(ingest)
    tracks = _add(commands, "tracks", "catalogue.tracks", "list the catalogue")
    tracks.add_argument("--status", metavar="STATUS")
    _filters(tracks)
    tracks.add_argument("--limit", type=int, default=100, metavar="N", help="most tracks to list (0: all)")
    tracks.add_argument("--json", action="store_true", help="one JSON object per line")
    _server(tracks)
    remove = _add(commands, "remove", "catalogue.remove", "take tracks out of catalogue and index")
    remove.add_argument("track_ids", type=int, nargs="+", metavar="ID")
    _server(remove)
    export = _add(commands, "export", "catalogue.export", "write indexed tracks to one portable file")
    export.add_argument("file", type=Path, metavar="FILE")
    _filters(export)
    import_ = _add(
        commands, "import", "catalogue.import_", "take in the tracks of a file that export has written"
    )
    import_.add_argument("file", type=Path, metavar="FILE")
    _table(
        commands,
        "import-metadata",
        "tabular.import_metadata",
        "change what tracks are called, from a CSV table",
    )
    _table(
        commands,
        "import-feedback",
        "tabular.import_feedback",
        "take in what people did with tracks, from a CSV table",
    )
    describe = _add(
        commands, "describe", "describing.run", "describe tracks whose descriptions lack something"
    )
    describe.add_argument(
        "--again", action="store_true", help="all whose files are here, also those that lack nothing"
    )
    describe.add_argument("--leave", action="store_true", help="leave it to a worker, and return at once")
    describe.add_argument(
        "--processes", dest="worker_processes", type=int, metavar="N", help="decoding processes"
    )
    train = _add(commands, "train", "training.run", "train the model that recommends")
    train.add_argument("--leave", action="store_true", help="leave it to a worker, and return at once")
    for command in (ingest, tracks, remove, export, import_, describe, train):
        command.set_defaults(quiet=True)


def _keys(commands: Any) -> None:
    keys = commands.add_parser("keys", help="who may ask: keys, their scopes and limits")
    actions = keys.add_subparsers(title="actions", metavar="ACTION", required=True)
    create = _add(actions, "create", "keys.create", "make a key and show it, this once")
    create.add_argument("name", metavar="NAME", help="whose it is, or what for")
    create.add_argument(
        "--scope", action="append", required=True, choices=list(Scope), help="may be given more than once"
    )
    create.add_argument("--rate", type=float, metavar="N", help="requests a second (default: as configured)")
    create.add_argument("--burst", type=int, metavar="N", help="requests at once")
    create.add_argument("--per-day", type=int, metavar="N", help="requests a day (0: any number)")
    listed = _add(actions, "list", "keys.list_", "list all keys")
    listed.add_argument("--json", action="store_true", help="one JSON object per line")
    rotate = _add(actions, "rotate", "keys.rotate", "give a key another secret and show it, this once")
    rotate.add_argument("key_id", metavar="ID")
    rotate.add_argument(
        "--grace",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="how long the secret before still does (default 0)",
    )
    revoke = _add(actions, "revoke", "keys.revoke", "let keys do nothing from now on")
    revoke.add_argument("key_ids", nargs="+", metavar="ID")
    for command in (create, listed, rotate, revoke):
        command.set_defaults(quiet=True)


def _keeping(commands: Any) -> None:
    backup = _add(commands, "backup", "backing_up.backup", "write all that the store holds into a folder")
    backup.add_argument("folder", type=Path, metavar="FOLDER", help="a new one, or an empty one")
    restore = _add(commands, "restore", "backing_up.restore", "fill an empty store from a backup")
    restore.add_argument("folder", type=Path, metavar="FOLDER", help="that backup has written")
    for command in (backup, restore):
        command.set_defaults(quiet=True)


def _table(commands: Any, name: str, run: str, summary: str) -> None:
    command = _add(commands, name, run, summary)
    command.add_argument("file", type=Path, metavar="FILE.csv")
    command.add_argument(
        "--bad-rows", type=Path, metavar="FILE", help="where bad rows are listed (default FILE.csv.bad.csv)"
    )
    command.set_defaults(quiet=True)


def _filters(command: argparse.ArgumentParser) -> None:
    command.add_argument("--q", metavar="TEXT", help="in title, artist, album, external id or ISRC")
    for name in ("artist", "genre", "tag", "batch_id", "external_id", "isrc"):
        command.add_argument(f"--{name.replace('_', '-')}", metavar=name.upper())


def _add(commands: Any, name: str, run: str, summary: str) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(
        name, help=summary, description=summary.capitalize() + "."
    )
    command.add_argument("--config", type=Path, metavar="FILE", help="settings file (TOML)")
    command.add_argument("--data", metavar="DIR", help="data folder of the embedded store (default data)")
    command.set_defaults(run=run, quiet=False)
    return command


def _server(command: argparse.ArgumentParser) -> None:
    command.add_argument("--server", metavar="URL", help="ask a running server instead of the store itself")
    command.add_argument(
        "--key-file", type=Path, metavar="FILE", help="the key to show it (default: FPSERVER_KEY)"
    )


def _command(dotted: str) -> Command:
    """Import the file of one command only: numpy and its friends take a second to load."""
    module, _, function = dotted.partition(".")
    command: Command = getattr(importlib.import_module(f"fpserver.cli.{module}"), function)
    return command
