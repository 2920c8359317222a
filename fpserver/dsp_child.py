"""One child process: started, confined, given one job at a time, killed.

    Child.call ── pipe ──> (function, args, whether it tells) | None: stop
               <─ pipe ── (True, result) | (False, error)      the first message of all says: ready
               <─ pipe ── (None, told)                         before, as often as the function tells something

A child is confined before it takes a job: address space, open files and core dumps are limited. It never outlives
its owner: a thread in it waits for the owner's end, and the kernel kills it when the fork server ends. SIGINT and
SIGTERM, which reach whole process groups, pass by fork server and children, so that the owner can drain first;
only SIGKILL ends a child.
"""

import contextlib
import ctypes
import multiprocessing
import os
import pickle
import resource
import signal
import sys
import threading
import traceback
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from time import monotonic
from typing import Any, TypeAlias

from fpserver.errors import AudioCrash, AudioTimeout, FpserverError, Overloaded

Job: TypeAlias = tuple[Callable[..., Any], tuple[Any, ...]]
Reply: TypeAlias = tuple[bool, Any]  # (True, result) | (False, exception)
Tell: TypeAlias = Callable[[Any], object]  # called on the thread that waits for the child


@dataclass(frozen=True, slots=True, kw_only=True)
class Purpose:
    """What a child is for: the word for it in errors, and which errors they are."""

    name: str
    crash: type[FpserverError]  # it died, or needed too much memory
    late: type[FpserverError]  # it took too long


DECODING = Purpose(name="decoding", crash=AudioCrash, late=AudioTimeout)

MAX_OPEN_FILES = 64  # its pipes, one audio file, and what Python opens to import
LOOK_EVERY_S = 0.1  # how often a call that listens looks whether it shall stop
STOP_GRACE_S = 0.8  # for a function that tells something to notice that nobody listens any more
START_TIMEOUT_S = 60.0  # until a child is ready: bounds a cold disk under load, usual is 0.02 s
_PR_SET_PDEATHSIG = 1
_OWNERS_SIGNALS = (signal.SIGINT, signal.SIGTERM)
ONE_THREAD = dict.fromkeys(
    (
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "NUMEXPR_NUM_THREADS",
        "NUMBA_NUM_THREADS",
    ),
    "1",
)
_starting = threading.Lock()  # `_modest_owner` changes what the whole process shows


class Child:
    """The owner's handle: `start`, `call` and `close` by one thread at a time, `kill` by any at any time."""

    def __init__(self, *, memory_limit_bytes: int, niceness: int = 0, purpose: Purpose = DECODING) -> None:
        self._purpose = purpose
        self._memory_limit_bytes = memory_limit_bytes
        self._niceness = niceness
        self._lock = threading.Lock()  # of the next three
        self._killed = False
        self._process: BaseProcess | None = None
        self._pipe: Connection | None = None

    def start(self) -> Connection:
        """Its pipe, after starting the process if it is not there (or no more).

        Raises:
            Purpose.crash: it cannot be started.
        """
        if self._pipe is not None and not self._killed and not self._pipe.poll():
            return self._pipe  # an idle child is silent: what can be read is its end
        self.close()
        try:
            with _starting, _modest_owner():
                self._launch()
            assert self._pipe is not None
            if self._pipe.poll(START_TIMEOUT_S):
                self._pipe.recv()
                return self._pipe
        except (OSError, EOFError) as error:
            raise self._purpose.crash(
                f"process for {self._purpose.name} cannot be started: {error!r}"
            ) from error
        raise self._purpose.crash(
            f"process for {self._purpose.name} was not ready after {START_TIMEOUT_S:g} s"
        )

    def _launch(self) -> None:
        context = multiprocessing.get_context("forkserver")
        pipe, theirs = context.Pipe()
        process = context.Process(
            target=_work,
            args=(theirs, self._memory_limit_bytes, self._niceness, self._purpose),
            daemon=True,
        )
        try:
            process.start()
        finally:
            theirs.close()
            with self._lock:
                self._process, self._pipe = process, pipe

    def call(
        self, job: Job, timeout_s: float, stop: threading.Event, *, on_told: Tell | None = None
    ) -> Reply:
        """Have a job done. To stop it in the middle, set `stop`, then `kill`.

        With `on_told` the function is given a keyword `tell`, and what it tells comes here. Such a job needs no
        kill: once `stop` is set, its next `tell` raises `Stopped`, and the child is kept for the next job; it is
        killed if that takes longer than `STOP_GRACE_S`. The same at the end of its time.

        The job's own errors, its end by time or crash, and a stop are replies.

        Raises:
            Purpose.crash: the child cannot be started.
            Exception: the job cannot be pickled.
        """
        pipe, name = self.start(), self._purpose.name
        try:
            if not stop.is_set():
                pipe.send((*job, on_told is not None))
                reply = _reply(pipe, timeout_s, stop, on_told)
                if reply is None:
                    if on_told is None or not _ended(pipe):
                        self.close()
                else:
                    if isinstance(reply[1], self._purpose.crash):
                        self.close()  # nobody knows what it still holds of its memory
                    return reply
        except (EOFError, ConnectionError):
            if not stop.is_set():
                return False, self._purpose.crash(f"{name} ended its process: {self.close()}")
        if stop.is_set():
            return False, Overloaded(f"{name} was stopped before its end")
        return False, self._purpose.late(f"{name} took longer than {timeout_s:g} s, the limit")

    def kill(self) -> None:
        """End the process, if there is one; does not wait."""
        with self._lock:
            self._killed = True
            if self._process is not None and self._process.is_alive():
                self._process.kill()

    def close(self) -> str:
        """End the process, wait until it is gone, and say how it ended."""
        self.kill()
        with self._lock:
            process, pipe = self._process, self._pipe
            self._process, self._pipe, self._killed = None, None, False
        if pipe is not None:
            pipe.close()
        if process is None or process.pid is None:
            return "it was not running"
        process.join(START_TIMEOUT_S)
        code = process.exitcode
        process.close()
        return f"killed by {signal.Signals(-code).name}" if code and code < 0 else f"exit status {code}"


@contextlib.contextmanager
def _modest_owner() -> Iterator[None]:
    """Show this process to its fork server and children as they shall inherit it.

    Without its main module (a child would import it: a command line, a test runner), with one numeric thread
    per process, and deaf to the signals meant for the owner.
    """
    main, environment = sys.modules["__main__"], dict(os.environ)
    resource_tracker.ensure_running()  # or the fork server starts it, which opens our ears again
    heard = signal.pthread_sigmask(signal.SIG_BLOCK, _OWNERS_SIGNALS)
    os.environ.update(ONE_THREAD)
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
        for name in ONE_THREAD:
            os.environ.pop(name)
        os.environ.update({name: environment[name] for name in ONE_THREAD if name in environment})
        signal.pthread_sigmask(signal.SIG_SETMASK, heard)


def _reply(pipe: Connection, timeout_s: float, stop: threading.Event, on_told: Tell | None) -> Reply | None:
    """The reply to a job; None when its time is over, or it shall stop."""
    give_up = monotonic() + timeout_s
    while (left_s := give_up - monotonic()) > 0 and not (on_told and stop.is_set()):
        if pipe.poll(min(left_s, LOOK_EVERY_S) if on_told else left_s):
            kind, value = pipe.recv()
            if kind is not None:
                return kind, value
            if on_told:
                on_told(value)
    return None


def _ended(pipe: Connection) -> bool:
    """Ask a job that tells to stop, and wait a little: whether it has."""
    pipe.send(None)
    give_up = monotonic() + STOP_GRACE_S
    while pipe.poll(max(0.0, give_up - monotonic())):
        if pipe.recv()[0] is not None:
            return True
    return False


class Stopped(Exception):
    """Raised in a child by `tell`, when nobody waits for the job any more."""


def _work(pipe: Connection, memory_limit_bytes: int, niceness: int, purpose: Purpose) -> None:
    """The child's life: confine itself, say that it is ready, do jobs until the owner hangs up."""
    _confine(memory_limit_bytes)
    os.nice(niceness)

    def tell(value: Any) -> None:
        if pipe.poll():  # the only thing that comes in the middle of a job is a stop, or the owner's end
            pipe.recv()
            raise Stopped
        pipe.send((None, value))

    pipe.send(None)
    while True:
        try:
            job = pipe.recv()
        except EOFError:
            return
        if job is not None:  # else a stop that came too late
            function, args, tells = job
            keywords: dict[str, Tell] = {"tell": tell} if tells else {}
            pipe.send_bytes(_answer(function, args, keywords, memory_limit_bytes, purpose))


def _answer(
    function: Callable[..., Any],
    args: tuple[Any, ...],
    keywords: dict[str, Tell],
    memory_limit_bytes: int,
    purpose: Purpose,
) -> bytes:
    """The pickled reply; every error becomes one that survives pickling."""
    try:
        return pickle.dumps((True, function(*args, **keywords)))
    except MemoryError:
        limit = f"{memory_limit_bytes / 2**30:.2g} GiB of memory"
        return pickle.dumps(
            (False, purpose.crash(f"{purpose.name} needed more than {limit}, the limit of its process"))
        )
    except Exception as error:  # the owner's to judge: it is raised there
        error.add_note(f"in a process for {purpose.name}: " + "".join(traceback.format_exception(error)))
        try:
            reply = pickle.dumps((False, error))
            pickle.loads(reply)
        except Exception:  # an error whose class takes other arguments than it keeps
            reply = pickle.dumps((False, RuntimeError(f"{type(error).__name__}: {error}")))
        return reply


def _confine(memory_limit_bytes: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    threading.Thread(target=_end_with_owner, daemon=True).start()
    _limit(resource.RLIMIT_AS, memory_limit_bytes)
    _limit(resource.RLIMIT_NOFILE, MAX_OPEN_FILES)
    _limit(resource.RLIMIT_CORE, 0)


def _limit(kind: int, most: int) -> None:
    hard = resource.getrlimit(kind)[1]
    if hard != resource.RLIM_INFINITY:
        most = min(most, hard)
    with contextlib.suppress(ValueError, OSError):  # macOS does not limit address space
        resource.setrlimit(kind, (most, most))


def _end_with_owner() -> None:
    owner = multiprocessing.parent_process()
    assert owner is not None
    owner.join()
    os.kill(os.getpid(), signal.SIGKILL)
