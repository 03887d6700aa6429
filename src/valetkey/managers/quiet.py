"""Keep secrets out of the debug logs of boto, which writes whole requests and answers there.

Only while we ask: a program's own use of boto3 logs as before. hvac logs nothing, and urllib3 no headers and no bodies.
What may not be here: loggers that show no secret.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

_ASKING: Final[ContextVar[bool]] = ContextVar("valetkey.managers.quiet", default=False)

LIBRARIES: Final = ("boto3", "botocore")


@contextmanager
def asking() -> Iterator[None]:
    """Drop what these libraries log below INFO inside the block, in this thread."""
    before = _ASKING.set(True)
    try:
        yield
    finally:
        _ASKING.reset(before)


def hush() -> None:
    """Teach the loggers there are to be quiet while we ask; a filter does not reach a logger's children.

    Calling this again adds only what is new.
    """
    for name in list(logging.root.manager.loggerDict):
        if name.partition(".")[0] in LIBRARIES:
            logging.getLogger(name).addFilter(_may_be_said)


def _may_be_said(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.INFO or not _ASKING.get()
