"""How much a server bears, and what becomes of it when it gets more, for long, or while parts of it die.

    python -m loadtest.load capacity CORPUS    the highest rate at which all is served in time
    python -m loadtest.load soak CORPUS        70 % of it for half an hour: memory, descriptors, failures
    python -m loadtest.load overload CORPUS    300 % of it for a minute: who waits, who is refused, how it recovers
    python -m loadtest.load chaos CORPUS       50 % of it while processes are killed: what fails, for how long

A real `fpserver serve` with real tracks among synthetic ones is asked by a process of its own, on the same cores, for
everything that the API has, at random times. Each writes its page, figures and pictures to loadtest/results/load/, and
ends with status 1 when what must be shown was not shown.
"""

import argparse
import sys
from collections.abc import Callable

from loadtest import report
from loadtest.load import capacity, chaos, overload, soak
from loadtest.load.bench import arguments

MEASUREMENTS: dict[str, Callable[[argparse.Namespace], bool]] = {
    "capacity": capacity.measure,
    "soak": soak.measure,
    "overload": overload.measure,
    "chaos": chaos.measure,
}
SECONDS = {"capacity": 25.0, "soak": 1800.0, "overload": 60.0, "chaos": 20.0}
SHARES = {"soak": 70.0, "chaos": 50.0}


def main() -> int:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="measurement", required=True)
    for name, measure in MEASUREMENTS.items():
        command = commands.add_parser(name, help=(sys.modules[measure.__module__].__doc__ or "").strip())
        arguments(command)
        command.add_argument(
            "--seconds", type=float, default=SECONDS[name], help="of a rate, or between two events"
        )
        command.add_argument("--each", type=int, default=200, help="requests of each kind, unloaded")
        command.add_argument("--capacity", type=float, help="a second; left out: as capacity.json has it")
        command.add_argument("--share", type=float, default=SHARES.get(name), help="%% of the capacity")
        command.set_defaults(out=report.RESULTS / "load")
    args = parser.parse_args()
    return 0 if MEASUREMENTS[args.measurement](args) else 1


if __name__ == "__main__":
    sys.exit(main())
