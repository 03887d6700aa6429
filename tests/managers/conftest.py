"""What the tests of secret managers share: every client that a test makes is closed when it ends."""

from __future__ import annotations

import pytest

from valetkey.managers.aws import Aws
from valetkey.managers.hashicorp import HashiCorp


@pytest.fixture(autouse=True)
def _closed(monkeypatch):
    """Close what was made; an open socket that is collected later would fail another test."""
    made = []
    for kind in (HashiCorp, Aws):
        before = kind.__init__

        def remembering(self, *args, _before=before, **kwargs):
            made.append(self)
            _before(self, *args, **kwargs)

        monkeypatch.setattr(kind, "__init__", remembering)
    yield
    for one in made:
        one.close()
