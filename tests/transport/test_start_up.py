"""Importing the room is cheap: most runs of `valetkey token` send nothing."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("urllib3", "aiohttp", "ssl", "_ssl", "asyncio", "http.client", "concurrent.futures", "yarl")

LOOK = f"import sys, valetkey.transport; print(*[name for name in {HEAVY} if name in sys.modules])"
MAKE = f"import sys; from valetkey.transport import *; Transport(); AsyncTransport(); {LOOK}"


@pytest.mark.parametrize("program", [LOOK, MAKE], ids=["import", "make"])
def test_importing_and_making_a_transport_loads_no_client_library(program):
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert run.stdout.strip() == ""


def test_without_aiohttp_the_async_transport_uses_threads(monkeypatch):
    from valetkey.transport import AsyncTransport, aio

    monkeypatch.setattr(aio, "find_spec", lambda name: None)
    assert AsyncTransport()._threads is not None
    monkeypatch.undo()
    assert AsyncTransport()._threads is None
