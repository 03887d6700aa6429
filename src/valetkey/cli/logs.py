"""Where logs of the command line go, and that no secret goes with them.

What may not be here: what a secret looks like (redaction/). Imports are late: most commands log nothing.
"""

from __future__ import annotations

import logging


class _Masks(logging.Filter):
    """Load the masks when there is a record to mask."""

    def filter(self, record: logging.LogRecord) -> bool:
        from valetkey.redaction import RedactingFilter

        return RedactingFilter().filter(record)


def mask_last_resort() -> None:
    """Mask what libraries say where nobody set up logging: Python writes it to standard error."""
    handler = logging.lastResort
    if handler is not None and not any(isinstance(one, _Masks) for one in handler.filters):
        handler.addFilter(_Masks())


def log_to_stderr() -> None:
    """Write warnings and worse to standard error, without secrets."""
    from valetkey.redaction import install

    logging.basicConfig(format="%(asctime)s %(name)s %(levelname)s %(message)s", level=logging.WARNING)
    install()
