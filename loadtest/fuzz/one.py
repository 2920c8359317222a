"""One target, driven by what code each input reaches: `python -m loadtest.fuzz.one NAME FOLDER INPUTS [options]`.

Atheris makes Python count its branches and gives libFuzzer the counts; inputs that reach something new are kept in
`FOLDER/corpus`, and what must not be is left in `FOLDER/findings`. How it goes is written to `FOLDER/status.json`.
"""

import json
import logging
import os
import random
import sys
import warnings
from collections import Counter
from pathlib import Path

import atheris

import fpserver
from loadtest.processes import resident_bytes

ROOT = Path(fpserver.__file__).parents[1]
COUNTED = ("fpserver", "mutagen")
COMPILED = [  # by numba, which does not take what Atheris makes of a function
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in (ROOT / "fpserver").rglob("*.py")
    if "fpserver.compiling import" in path.read_text(encoding="utf-8")
]
WARM = 0.2  # of the inputs, after which memory must not grow
TELL_EVERY = 500

with atheris.instrument_imports(include=list(COUNTED), exclude=COMPILED):
    from loadtest.fuzz import targets


class Told:
    """What became of the inputs, on disk often enough to be read after a crash."""

    def __init__(self, path: Path, n_inputs: int) -> None:
        self._path = path
        self._warm_at = round(WARM * n_inputs)
        self._outcomes: Counter[str] = Counter()
        self._n = 0
        self._warm_bytes = 0

    def count(self, outcome: str) -> None:
        """One more input, and what came of it."""
        self._n += 1
        self._outcomes[outcome] += 1
        if self._n == self._warm_at:
            self._warm_bytes = resident_bytes(os.getpid())
        if self._n % TELL_EVERY == 0:
            self.tell()

    def tell(self) -> None:
        """Write it down."""
        found = {
            "n": self._n,
            "outcomes": dict(self._outcomes),
            "warm_bytes": self._warm_bytes,
            "resident_bytes": resident_bytes(os.getpid()),
        }
        self._path.write_text(json.dumps(found))


def main() -> None:
    """Run until the inputs are used up; libFuzzer ends the process."""
    name, folder, n_inputs = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    warnings.simplefilter("ignore")
    logging.disable()
    target = targets.target_of(name)
    told = Told(folder / "status.json", n_inputs)

    def read(data: bytes) -> None:
        try:
            target.read(data)
        except Exception as error:
            if not targets.harmless(error):
                told.tell()
                raise
            told.count(type(error).__name__)
        else:
            told.count("taken")

    def mutated(data: bytes, max_bytes: int, seed: int) -> bytes:
        chance = random.Random(seed)
        if chance.random() < 0.4:
            plain: bytes = atheris.Mutate(data, max_bytes)
            return plain
        return target.mutated(data, chance)[:max_bytes]

    arguments = [
        *(name, str(folder / "corpus"), f"-runs={n_inputs}", f"-max_len={target.max_bytes}", *sys.argv[4:]),
        *(f"-artifact_prefix={folder / 'findings'}/", f"-timeout={target.limit_s}", "-rss_limit_mb=2048"),
        *("-print_final_stats=1", "-len_control=0", "-verbosity=1"),
    ]
    atheris.Setup(arguments, read, custom_mutator=mutated)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
