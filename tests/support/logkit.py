"""All that libraries would ever log, for tests that look for secrets in it.

What may not be here: secrets, and expectations.
"""

from __future__ import annotations

import http.client
import logging

import pytest

from valetkey.redaction import RedactingFilter


@pytest.fixture
def loud(caplog, monkeypatch) -> pytest.LogCaptureFixture:
    """Turn every logger to DEBUG, and lead what http.client prints, headers and bodies, to the logger of its name.

    That is the recipe of many an answer on how to debug requests. Masks that another test has put on loggers are taken
    off: what is masked must be masked by what this test does.
    """
    for name in list(logging.root.manager.loggerDict):
        logger = logging.getLogger(name)
        for masks in [one for one in logger.filters if isinstance(one, RedactingFilter)]:
            logger.removeFilter(masks)
    caplog.set_level(logging.DEBUG)
    spoken = logging.getLogger("http.client")
    monkeypatch.setattr(http.client, "print", lambda *said: spoken.debug(" ".join(map(str, said))), raising=False)
    monkeypatch.setattr(http.client.HTTPConnection, "debuglevel", 1)
    return caplog
