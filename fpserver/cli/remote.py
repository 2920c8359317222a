"""A running server that the command line names, and the key to show it."""

import argparse
import os
from pathlib import Path

from fpserver.config import KEY_VARIABLE
from fpserver.errors import ConfigInvalid
from fpserver.web.client import Client


def client_of(arguments: argparse.Namespace) -> Client:
    """A client of `--server`, with the key of `--key-file` or of FPSERVER_KEY, if there is one.

    Raises:
        ConfigInvalid: the key's file cannot be read, or holds none.
    """
    file: Path | None = arguments.key_file
    if file is None:
        return Client(arguments.server, key=os.environ.get(KEY_VARIABLE))
    try:
        key = file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigInvalid(f"key file {file}: {error}") from error
    if not key:
        raise ConfigInvalid(f"key file {file} is empty")
    return Client(arguments.server, key=key)
