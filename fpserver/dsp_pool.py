"""Run functions in warmed child processes, so that what a stranger's file does to a decoder ends there.

One job per child at a time, and one pipe per child: a child that hangs, dies or eats its memory fails its own
job and no other, and a new child takes its place when the next job comes. A thread per child waits on its pipe;
the event loop never does.

(pebble.ProcessPool does much of this, but the death of an *idle* child breaks its whole pool for good.)
"""

import asyncio
import atexit
import multiprocessing
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self, TypeVar, TypeVarTuple

from fpserver.dsp_child import Child
from fpserver.errors import Overloaded

T = TypeVar("T")
Args = TypeVarTuple("Args")

PRELOAD = (
    "fpserver.dsp_child",
    "fpserver.hearing",
    "fpserver.fingerprint.prepared",
    "fpserver.describing",
    "fpserver.audio.prepared",
    "fpserver.features.prepared",
    "av",
    "numpy",
    "soxr",
    "scipy.fft",
)


class DspPool:
    """`processes` children of at most `memory_limit_bytes` of address space each; `async with` starts them.

    With 0 processes it starts nothing and refuses work: for owners that only read. `preload` names the modules
    that Python's fork server loads once; a process has one fork server, so the list of its first pool counts.
    """

    def __init__(self, *, processes: int, memory_limit_bytes: int, preload: Sequence[str] = PRELOAD) -> None:
        self._preload = list(preload)
        self._children = [Child(memory_limit_bytes=memory_limit_bytes) for _ in range(processes)]
        self._free: asyncio.Queue[Child] = asyncio.Queue()
        self._threads = ThreadPoolExecutor(max(1, processes), thread_name_prefix="dsp-pool")
        self._calls: set[threading.Event] = set()  # of running jobs: set to stop one
        self._n_waiting = 0
        self._open = False

    async def __aenter__(self) -> Self:
        """Start all children; returns when every one is ready."""
        multiprocessing.get_context("forkserver").set_forkserver_preload(self._preload)
        atexit.register(self._kill_children)
        try:
            await asyncio.gather(*(self._on_thread(child.start) for child in self._children))
        except BaseException:
            await self.__aexit__()
            raise
        for child in self._children:
            self._free.put_nowait(child)
        self._open = True
        return self

    async def __aexit__(self, *_: object) -> None:
        """End all children; jobs that run or wait fail as `Overloaded`."""
        self._open = False
        for stop in self._calls:
            stop.set()
        self._kill_children()
        await asyncio.to_thread(self._threads.shutdown)
        for child in self._children:
            await asyncio.to_thread(child.close)
        for _waiting in range(self._n_waiting):  # wakes them up
            self._free.put_nowait(self._children[0])
        atexit.unregister(self._kill_children)

    @property
    def n_processes(self) -> int:
        """Children of this pool."""
        return len(self._children)

    @property
    def n_running(self) -> int:
        """Jobs that are being done."""
        return len(self._calls)

    @property
    def n_waiting(self) -> int:
        """Jobs that wait for a child."""
        return self._n_waiting

    async def run(self, function: Callable[[*Args], T], /, *args: *Args, timeout_s: float) -> T:
        """Call a function that can be imported by its name, in a child. Waiting does not count as running.

        Cancelling the caller kills the child in the middle of the job.

        Raises:
            AudioTimeout: it ran longer than `timeout_s`.
            AudioCrash: its process died, or needed more memory than a child may have.
            Overloaded: the pool was closed.
            RuntimeError: this pool has no processes.
            Exception: what the function raised.
        """
        if not self._children:
            raise RuntimeError(f"a pool of 0 processes cannot run {function!r}: open it with some")
        child = await self._free_child()
        stop = threading.Event()
        self._calls.add(stop)
        call = self._on_thread(child.call, (function, args), timeout_s, stop)
        call.add_done_callback(lambda call: self._done(call, child, stop))
        try:
            ok, result = await asyncio.shield(call)
        except asyncio.CancelledError:
            stop.set()
            child.kill()
            raise
        if not ok:
            raise result
        return result  # type: ignore[no-any-return]  # a pipe has no types: it is what the function returned

    async def _free_child(self) -> Child:
        self._n_waiting += 1
        try:
            child = await self._free.get() if self._open else None
        finally:
            self._n_waiting -= 1
        if child is None or not self._open:
            raise Overloaded("decoding processes are stopped: the server is closing")
        return child

    def _done(self, call: asyncio.Future[Any], child: Child, stop: threading.Event) -> None:
        if not call.cancelled():
            call.exception()  # seen, also when nobody waits for it any more
        self._calls.discard(stop)
        self._free.put_nowait(child)

    def _on_thread(self, function: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        return asyncio.get_running_loop().run_in_executor(self._threads, function, *args)

    def _kill_children(self) -> None:
        for child in self._children:
            child.kill()
