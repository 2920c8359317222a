"""From what a request has taken to a word in the log that says where the time went, if it was much."""

from collections.abc import Mapping

import structlog

from fpserver.stages import CLIENTS_OWN

log = structlog.get_logger()


def tell_if_slow(
    route: str, status: int, seconds: float, spent_s: Mapping[str, float], *, limit_s: float
) -> None:
    """Warn of a request that took longer than `limit_s` (0: of none), not counting what its client let us wait.

    `other_s` is what no stage accounts for. Stages that run side by side are told of in full.
    """
    ours_s = seconds - sum(spent_s.get(stage, 0.0) for stage in CLIENTS_OWN)
    if not limit_s or ours_s <= limit_s:
        return
    log.warning(
        "web.slow_request",
        route=route,
        status=status,
        seconds=round(seconds, 3),
        stages_s={stage: round(spent, 3) for stage, spent in spent_s.items()},
        other_s=round(max(0.0, seconds - sum(spent_s.values())), 3),
    )
