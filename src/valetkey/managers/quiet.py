"""Keep secrets out of the debug logs of boto, which writes whole requests and answers there.

While we ask it is silent below INFO; whatever else it says, also to a program that uses boto3 itself, is masked. hvac
logs nothing; urllib3 logs addresses, and `http.client` is where recipes lead the headers that Python prints: both are
masked. What may not be here: what a secret looks like (redaction/).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

_ASKING: Final[ContextVar[bool]] = ContextVar("valetkey.managers.quiet", default=False)

LIBRARIES: Final = ("boto3", "botocore")

HTTP: Final = ("urllib3", "requests", "http.client")


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
    mask_logs(*LIBRARIES, *HTTP)


def mask_logs(*names: str) -> None:
    """Let loggers of these libraries, which were imported before, mask what they say."""
    from valetkey.redaction import guard  # late: most commands ask no manager, and need no masks

    guard(names)


def _may_be_said(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.INFO or not _ASKING.get()
