"""Keep tokens out of the debug logs of libraries that would write them there.

httpx, httpcore, urllib3, requests and aiohttp log no request header at any level. `hpack`, under httpx's HTTP/2, hides
the value of Authorization in one line and writes the whole header block, which anybody can decode, in the next.
What may not be here: other people's loggers that show no token.
"""

from __future__ import annotations

import logging
from typing import Final

HPACK_LOGGER: Final = "hpack.hpack"
HPACK_BLOCK: Final = "Encoded header block to "


def hush_http2() -> None:
    """Drop hpack's lines that hold encoded request headers; calling this again changes nothing."""
    logging.getLogger(HPACK_LOGGER).addFilter(_shows_no_block)


def _shows_no_block(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith(HPACK_BLOCK)
