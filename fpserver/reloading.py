"""From settings in service and settings read anew to those that take their place.

What other processes rely on while the server runs stays: its address, its data folder and its store. To change one of
these is refused as a whole, so that a server never runs by half of a file.
"""

import msgspec

from fpserver.config import Config
from fpserver.errors import ConfigInvalid

FIXED = (("redis", "url"), ("redis", "data_dir"), ("web", "host"), ("web", "port"))


def checked(new: Config, *, instead_of: Config) -> Config:
    """The new settings, both as they were read.

    Raises:
        ConfigInvalid: one differs that cannot while the server runs.
    """
    was, wanted = (msgspec.to_builtins(config) for config in (instead_of, new))
    changed = [f"{table}.{key}" for table, key in FIXED if was[table][key] != wanted[table][key]]
    if changed:
        raise ConfigInvalid(
            f"{' and '.join(changed)} cannot change while the server runs: restart it, or put the old value back"
        )
    return new
