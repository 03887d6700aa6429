"""Keep tokens out of the debug logs of libraries that would write them there.

httpx, httpcore, urllib3, requests and aiohttp log no request header at any level; but httpcore logs those of answers,
all of them addresses with what stands in their query, and recipes lead what Python prints of headers to the logger
`http.client`. All of that is masked. `hpack`, under httpx's HTTP/2, hides the value of Authorization in one line and
writes the whole header block, which anybody can decode, in the next; that one is dropped.
What may not be here: what a secret looks like (redaction/).
"""

from __future__ import annotations

import logging
from typing import Final

from valetkey.redaction import guard

OF_HTTPX: Final = ("httpx", "httpcore")
OF_REQUESTS: Final = ("requests", "urllib3", "http.client")
OF_AIOHTTP: Final = ("aiohttp",)

HPACK_LOGGER: Final = "hpack.hpack"
HPACK_BLOCK: Final = "Encoded header block to "


def hush_httpx() -> None:
    """Mask what httpx logs, and drop hpack's lines with encoded request headers; calling this again changes nothing."""
    guard(OF_HTTPX)
    logging.getLogger(HPACK_LOGGER).addFilter(_shows_no_block)


def _shows_no_block(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith(HPACK_BLOCK)
