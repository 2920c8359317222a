"""Memory that threads have used one after the other: one store for all keeps less of it."""

import subprocess
import sys

import pytest

PROGRAM = """
import sys, threading
from fpserver.allocator import give_back, use_one_arena

def resident_mb():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 2**20

if sys.argv[1] == "one":
    use_one_arena()
before, kept, left = resident_mb(), [], []
turn = threading.Event()

def use():
    pieces = [bytearray(20_000) for _ in range(1000)]
    kept.append(pieces[::100])  # so that the top cannot be given back
    left.append(1)
    pieces.clear()
    turn.wait()  # a thread that is there keeps its store

threads = []
for n in range(6):
    threads.append(threading.Thread(target=use))
    threads[-1].start()
    while len(left) <= n:
        pass
used = resident_mb() - before
if sys.argv[1] == "one":
    give_back()
turn.set()
print(used, resident_mb() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_one_store_for_all_threads_keeps_less_and_gives_back_what_is_free() -> None:
    many, one = (
        [
            float(each)
            for each in subprocess.run(
                [sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=True
            ).stdout.split()
        ]
        for how in ("many", "one")
    )
    assert one[0] < many[0] / 2
    assert one[1] < one[0] / 2
