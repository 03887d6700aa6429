"""Keep secrets out of logs: one set of masks, as a function, a `logging.Filter` and a structlog processor.

    import logging
    from valetkey.redaction import install

    logging.basicConfig(level=logging.DEBUG)
    install()    # every handler of the root logger masks from now on

For structlog, put `processor` before the renderer. docs/redaction.md says what is masked, and what is out of reach.
"""

from valetkey.redaction.logs import RedactingFilter, guard, install, processor
from valetkey.redaction.masks import redacted

__all__ = ["RedactingFilter", "guard", "install", "processor", "redacted"]
