"""What a node has to say, as lines of JSON or for people to read, on standard error.

    {"time": "2026-01-02T03:04:05.678Z", "level": "warning", "event": "...", "node": "eu-1", ...}

Values named like secrets are never written, and long ones are cut.  What libraries say through
`logging` comes along as well.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, TextIO

import structlog
from structlog.typing import FilteringBoundLogger

from ringleader.limits import LOG_VALUE_CHARACTERS_MAX

__all__ = ["Logger", "configure"]

Logger = FilteringBoundLogger

LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
#: A key with one of these in it holds a secret.
_SECRETS = ("password", "passwd", "secret", "token", "authorization", "credential", "private_key")
_HIDDEN = "(hidden)"


def configure(
    level: str = "info", style: str = "auto", *, stream: TextIO | None = None, **bound: Any
) -> Logger:
    """Set up the log of this process; its logger, with `bound` on every line.

    Args:
        level: "debug", "info", "warning" or "error".
        style: "json", "console" or "auto": console on a terminal.
        stream: where it goes; standard error by default.
    """
    out = sys.stderr if stream is None else stream
    if style == "auto":
        style = "console" if out.isatty() else "json"
    render: list[Any]
    if style == "console":
        render = [
            structlog.processors.format_exc_info,
            structlog.dev.ConsoleRenderer(
                colors=out.isatty(),
                timestamp_key="time",
                exception_formatter=structlog.dev.plain_traceback,
            ),
        ]
    else:
        render = [
            # Without the locals of frames, among which are clients' values and passwords.
            structlog.processors.ExceptionRenderer(
                structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
            ),
            structlog.processors.JSONRenderer(default=str, ensure_ascii=False),
        ]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            _censored,
            *render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(file=out),
        cache_logger_on_first_use=False,
    )
    logger: Logger = structlog.get_logger().bind(**bound)
    root = logging.getLogger()
    for handler in [each for each in root.handlers if isinstance(each, _Forward)]:
        root.removeHandler(handler)
    root.addHandler(_Forward(logger))
    root.setLevel(max(LEVELS[level], logging.INFO))
    return logger


class _Forward(logging.Handler):
    """What goes to `logging` goes to the log."""

    def __init__(self, logger: Logger) -> None:
        super().__init__()
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        level = min(max(record.levelno, logging.DEBUG), logging.CRITICAL)
        info = {"exc_info": record.exc_info} if record.exc_info else {}
        self._logger.log(level, record.getMessage(), logger=record.name, **info)


def _censored(
    logger: Any, method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """The event without secrets, and with nothing too long in it."""
    for key, value in event.items():
        if key != "exc_info":
            event[key] = _hidden(key, value)
    return event


def _hidden(key: str, value: Any) -> Any:
    if any(secret in key.lower() for secret in _SECRETS) and isinstance(value, str | bytes):
        return _HIDDEN
    if isinstance(value, bytes | bytearray | memoryview):
        value = repr(bytes(value[: LOG_VALUE_CHARACTERS_MAX + 1]))
    if isinstance(value, str) and len(value) > LOG_VALUE_CHARACTERS_MAX:
        return value[:LOG_VALUE_CHARACTERS_MAX] + "..."
    if isinstance(value, Mapping):
        return {str(inner): _hidden(str(inner), each) for inner, each in value.items()}
    return value
