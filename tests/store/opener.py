"""A process that opens the embedded store of a folder, says so, and closes it when its input ends.

python -m tests.store.opener DATA_DIR → one line of JSON: {"owned", "pid", "server_pid"}
"""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import redis.asyncio
import structlog

from fpserver.store.embedded import embedded_server


async def main(data_dir: Path) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with (
        embedded_server(data_dir) as server,
        redis.asyncio.Redis(unix_socket_path=str(server.socket)) as client,
    ):
        info = await client.info("server")
        said = {"owned": server.owned, "pid": os.getpid(), "server_pid": info["process_id"]}
        print(json.dumps(said), flush=True)
        await stop.wait()


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    asyncio.run(main(Path(sys.argv[1])))
