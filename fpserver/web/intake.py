"""From a listening socket to connections, one a turn of the loop.

The socket may be shared with other processes: whoever has time takes the next connection, and as nobody takes more than
one before he has looked after those he has, they spread by themselves. What nobody has taken waits in the socket, which
lives as long as any process holds it.
"""

import asyncio
import signal
import socket
from collections.abc import Callable

import structlog

log = structlog.get_logger()

BACKLOG = 512  # connections that the kernel holds while all loops are busy
REPLACED = signal.SIGUSR1  # sent to a process whose successor has begun to take connections
HANDOVER_S = 5.0  # it has for its clients to notice: longer than load balancers keep connections without use
PAUSE_S = 0.2  # when a connection cannot be taken: too many files are open


class Intake:
    """Takes connections from a socket, from `start` to `stop`."""

    def __init__(self, listener: socket.socket, protocol: Callable[[], asyncio.Protocol]) -> None:
        self.port: int = listener.getsockname()[1]
        self._listener = listener
        self._protocol = protocol
        self._loop = asyncio.get_running_loop()
        self._handing: set[asyncio.Task[object]] = set()
        self._pause: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Listen, and take what comes."""
        self._listener.setblocking(False)
        self._listener.listen(BACKLOG)
        self._loop.add_reader(self._listener, self._take)

    def stop(self) -> None:
        """Take nothing more; what waits is for others who hold the socket."""
        if self._listener.fileno() < 0:
            return
        if self._pause:
            self._pause.cancel()
        self._loop.remove_reader(self._listener)
        self._listener.close()

    def stop_as_last(self) -> None:
        """Take what waits, and nothing more."""
        while self._listener.fileno() >= 0 and self._take():
            pass
        self.stop()

    def _take(self) -> bool:
        """One connection, if one waits."""
        try:
            connection, _ = self._listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):  # another process was quicker
            return False
        except OSError as error:
            log.error("web.no_connection_taken", error=str(error), again_in_s=PAUSE_S)
            self._loop.remove_reader(self._listener)
            self._pause = self._loop.call_later(PAUSE_S, self._loop.add_reader, self._listener, self._take)
            return False
        connection.setblocking(False)
        handing = self._loop.create_task(self._hand_over(connection))
        self._handing.add(handing)
        handing.add_done_callback(self._handing.discard)
        return True

    async def _hand_over(self, connection: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._protocol, connection)
        except OSError as error:  # the client has gone already
            log.debug("web.connection_error", error=str(error))
            connection.close()


def bind(host: str, port: int) -> socket.socket:
    """A socket bound to an address; port 0 is any free one.

    Raises:
        OSError: the address is taken, or none of this machine's.
    """
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)  # from here on the address is ours: two can bind, only one can listen
    except OSError:
        listener.close()
        raise
    return listener
