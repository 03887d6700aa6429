"""Judging an app before there is a vault for it: what no vault could use is refused, and references are looked up."""

from __future__ import annotations

import msgspec
import pytest

from valetkey.errors import InvalidInput, ValetkeyError
from valetkey.vault.unmade import refuse_unfit
from vaultkit import an_app


def test_an_app_that_could_be_kept_is_fit():
    refuse_unfit(an_app())


@pytest.mark.parametrize("changes", [{"name": "a/b"}, {"secret": None}, {"secret_ref": "file:/etc/hostname"}])
def test_what_no_vault_could_use_is_refused(changes):
    with pytest.raises(InvalidInput):
        refuse_unfit(msgspec.structs.replace(an_app(), **changes))


def test_references_are_looked_up_unless_that_is_not_wanted(tmp_path):
    kept = tmp_path / "secret"
    app = msgspec.structs.replace(an_app(), secret=None, secret_ref=f"file:{kept}")
    with pytest.raises(ValetkeyError, match="secret"):
        refuse_unfit(app)
    refuse_unfit(app, check=False)
    kept.write_text("the secret itself")
    kept.chmod(0o600)
    refuse_unfit(app)
