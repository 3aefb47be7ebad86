"""`capsize.log`: what the tool did during one run. A log that cannot be written ends no run."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Generator
from pathlib import Path

from capsize.store import explained


class _Log(logging.FileHandler):
    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (logging's name)
        """Say nothing: the disk is full, and the run says so itself."""

    def close(self) -> None:
        with contextlib.suppress(OSError):
            super().close()


@contextlib.contextmanager
def logged_to(path: Path) -> Generator[None, None, None]:
    """Send everything that capsize logs to `path` while inside; raises StoreError when it cannot be made."""
    with explained(path, "write the log"):
        handler = _Log(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logger = logging.getLogger("capsize")
    level, logger.level = logger.level, logging.DEBUG
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.level = level
        handler.close()
