"""Logging set-up of the daemon: a rotating file, stderr when in the foreground, JSON lines on request."""

from __future__ import annotations

import json
import logging
import logging.handlers
import os
import sys
from pathlib import Path
from typing import TextIO

from pachmount.names import printable
from pachmount.paths import make_dirs, open_private

MAX_LOG_BYTES = 5 * 1024 * 1024
LOG_FILES_KEPT = 3

_FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"
_JOURNAL_FORMAT = "%(levelname)-7s %(name)s: %(message)s"


class LineFormatter(logging.Formatter):
    """A record on a line, whatever names it has: none can make up another record. A traceback follows on its own."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        record.message = printable(record.message)
        return super().formatMessage(record)


class JsonFormatter(logging.Formatter):
    """One JSON object a line, for log collectors."""

    def format(self, record: logging.LogRecord) -> str:
        data = {
            "time": self.formatTime(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            data["traceback"] = self.formatException(record.exc_info)
        return json.dumps(data, ensure_ascii=False)


def configure(log_file: Path | None, level: str, *, json_lines: bool = False, to_stderr: bool = False) -> None:
    """Send the log of this process to `log_file` (0600, rotated), to stderr, or both."""
    handlers: list[logging.Handler] = []
    if log_file is not None:
        make_dirs(log_file.parent)
        os.close(open_private(log_file, os.O_CREAT | os.O_APPEND | os.O_WRONLY))
        handlers.append(
            logging.handlers.RotatingFileHandler(
                log_file, maxBytes=MAX_LOG_BYTES, backupCount=LOG_FILES_KEPT, encoding="utf-8"
            )
        )
    if to_stderr:
        handlers.append(logging.StreamHandler(sys.stderr))
    logging.getLogger().handlers[:] = handlers
    adjust(level, json_lines=json_lines)
    logging.getLogger("tornado.access").setLevel(logging.CRITICAL)  # handlers log what failed, and why


def adjust(level: str, *, json_lines: bool) -> None:
    """Log with this level and format from now on, to where the log goes already."""
    root = logging.getLogger()
    root.setLevel(level.upper())
    for handler in root.handlers:
        text = _JOURNAL_FORMAT if type(handler) is logging.StreamHandler and _is_journal(handler.stream) else _FORMAT
        handler.setFormatter(JsonFormatter() if json_lines else LineFormatter(text))


def _is_journal(stream: TextIO) -> bool:
    """Whether it goes to systemd's journal, which notes times itself: JOURNAL_STREAM is `device:inode` of it."""
    told = os.environ.get("JOURNAL_STREAM", "")
    if not told:
        return False
    info = os.fstat(stream.fileno())
    return told == f"{info.st_dev}:{info.st_ino}"
