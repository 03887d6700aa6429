"""What the command line logs goes without secrets, whoever says it."""

from __future__ import annotations

import logging
import subprocess
import sys

import pytest

from valetkey.cli.logs import mask_last_resort

SAID_BY_A_LIBRARY = """
import logging, sys
from valetkey.cli.logs import {setup}
{setup}()
logging.getLogger("some.library").warning("retrying %s", "https://api.example/x?code=" + sys.argv[1])
"""


@pytest.mark.parametrize("setup", ["log_to_stderr", "mask_last_resort"])
def test_a_library_that_warns_shows_no_secret(setup, canary):
    command = [sys.executable, "-c", SAID_BY_A_LIBRARY.format(setup=setup), canary.make()]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    canary.assert_absent(done.stderr)
    assert "retrying https://api.example/x?…" in done.stderr


def test_every_command_that_opens_a_vault_masks_the_last_resort(inside, monkeypatch):
    handler = logging.StreamHandler()
    monkeypatch.setattr(logging, "lastResort", handler)
    inside("app", "list")
    assert len(handler.filters) == 1
    mask_last_resort()
    assert len(handler.filters) == 1
