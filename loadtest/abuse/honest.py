"""An honest client beside an abuse: clips at fixed moments, whether or not earlier ones are answered."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import aiohttp
import numpy as np

PATIENCE_S = 20.0


@dataclass(slots=True, kw_only=True)
class Noticed:
    """What the honest client saw."""

    waited_ms: list[float] = field(default_factory=list)  # from the moment a clip was due to its answer
    failures: Counter[str] = field(default_factory=Counter)

    def quantile_ms(self, share: float) -> float:
        """How long that share of clips waited, at most."""
        return round(float(np.quantile(self.waited_ms, share)), 1) if self.waited_ms else float("nan")


async def ask_on(
    address: str, clips: Sequence[tuple[bytes, int]], *, seconds: float, rate_hz: float
) -> Noticed:
    """Identify (clip, its track), every other one on a connection of its own."""
    noticed = Noticed()
    loop = asyncio.get_running_loop()
    timeout = aiohttp.ClientTimeout(total=PATIENCE_S)
    async with (
        aiohttp.ClientSession(timeout=timeout) as kept,
        aiohttp.ClientSession(
            timeout=timeout, connector=aiohttp.TCPConnector(force_close=True, limit=0)
        ) as fresh,
    ):
        start = loop.time()

        async def ask(number: int) -> None:
            due = start + number / rate_hz
            await asyncio.sleep(due - loop.time())
            clip, track_id = clips[number % len(clips)]
            session = (kept, fresh)[number % 2]
            try:
                async with session.post(f"{address}/v1/identify", data=clip) as response:
                    document = await response.json()
                    found = [match["track_id"] for match in document.get("matches", ())]
                    if response.status != 200 or track_id not in found[:1]:
                        noticed.failures[f"{response.status}, found {found[:1]}"] += 1
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                noticed.failures[type(error).__name__] += 1
            noticed.waited_ms.append(1000 * (loop.time() - due))

        await asyncio.gather(*(ask(number) for number in range(round(seconds * rate_hz))))
    return noticed
