"""Have all loops compiled before anybody waits for them: `python -m fpserver.preparing`, once after installation.

What any process of fpserver compiles when it starts is compiled here, and kept where numba keeps it (NUMBA_CACHE_DIR,
see compiling.py) for processors of this machine's kind. On another kind the first start compiles it anew.
"""

import importlib

from fpserver.dsp_pool import PRELOAD
from fpserver.index import lists, peaks
from fpserver.matching import kernels, voting
from fpserver.similarity import coordinates, sequences
from fpserver.similarity.engines import scan


def prepare() -> None:
    """Compile what decoding, searching, comparing and drawing maps need."""
    for module in PRELOAD:
        importlib.import_module(module)
    for module_with_loops in (lists, peaks, voting, kernels, sequences):
        module_with_loops.warm_up()
    scan.warm()
    coordinates.prepare()


if __name__ == "__main__":
    prepare()
