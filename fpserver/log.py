"""What is said while running: one line per event, `place.what` with key-value pairs, on standard error."""

import logging
import sys
from typing import Any

import structlog

from fpserver.config import LogConfig
from fpserver.errors import ConfigInvalid

LEVELS = ("debug", "info", "warning", "error")
FORMATS = ("text", "json")


def configure(config: LogConfig) -> None:
    """Set up structlog and the standard library's logging (warnings of libraries) alike.

    Raises:
        ConfigInvalid: no such level or format.
    """
    if config.level not in LEVELS:
        raise ConfigInvalid(f"log.level is {config.level!r}, must be one of {', '.join(LEVELS)}")
    if config.format not in FORMATS:
        raise ConfigInvalid(f"log.format is {config.format!r}, must be one of {', '.join(FORMATS)}")
    level = logging.getLevelNamesMapping()[config.level.upper()]
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if config.format == "json":
        render: list[Any] = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    else:
        render = [
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(),
                pad_event_to=24,
                exception_formatter=structlog.dev.plain_traceback,  # rich's shows what variables hold: passwords, too
            )
        ]
    structlog.configure(
        processors=[*shared, *render],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render],
    )
    handler.setFormatter(formatter)
    logging.basicConfig(level=max(level, logging.WARNING), handlers=[handler], force=True)
