"""What is made ready at the start is all that a clip needs: none waits for a compiler.

In a process of its own, since others have compiled for other tests what these need.
"""

import subprocess
import sys
from pathlib import Path

SEARCH = """
import pickle
from numba.core.registry import CPUDispatcher
from fpserver.config import Config
from fpserver.fingerprint import wire
from fpserver.index import lists, peaks
from fpserver.matching import kernels, voting
from fpserver.matching.candidates import candidates_of, hits_of
from fpserver.matching.verdict import matches_of
from fpserver.search import clip_map_of
from tests.matching.making import CONFIG, MemoryIndex, heard
from tests.synth import song

modules = kernels, voting, lists, peaks
for module in modules:
    module.warm_up()
loops = [each for module in modules for each in vars(module).values() if isinstance(each, CPUDispatcher)]
ready = [len(each.signatures) for each in loops]

samples = song(1, 20.0, CONFIG.rate_hz)
clip = samples[40_000:120_000]
body = wire.pack(heard(clip), CONFIG)
sent = pickle.loads(pickle.dumps(wire.unpack(body, CONFIG, min_s=1, max_s=60, cut=True)))
index = MemoryIndex({1: samples})
candidates = candidates_of(index.hits(sent.constellation), max_candidates=10)
stored = peaks.unpack(peaks.pack(index.fingerprints[1].peaks))
clip_map = clip_map_of(sent, Config())
assert matches_of(clip_map, candidates, [stored] * len(candidates), max_verified=10, share=0.5)
assert [len(each.signatures) for each in loops] == ready
"""


def test_no_clip_waits_for_a_compiler() -> None:
    root = Path(__file__).parent.parent
    ran = subprocess.run(
        [sys.executable, "-c", SEARCH], cwd=root, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
