"""Pure work off the event loop, on one thread per process.

Several threads of numpy work fight over the interpreter's lock, and starve the event loop between them: with eight
clips in hand (fingerprint bodies, 400 clips, 134 tracks, one web process on 2 cores) the default executor answered 33
a second, one thread 79. More cores are for more processes.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_THREAD = ThreadPoolExecutor(1, thread_name_prefix="thinking")


async def think(function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function that neither waits nor reads nor writes; one at a time in this process."""
    return await asyncio.get_running_loop().run_in_executor(_THREAD, partial(function, *args, **kwargs))
