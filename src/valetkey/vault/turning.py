"""Turning to an app's other secret when the provider refuses the one in use, and telling who listens.

What may not be here: I/O, and when that is so (proving.py).
"""

from __future__ import annotations

from contextlib import suppress

from valetkey.effects import Plan, load, note, now, swap
from valetkey.errors import StoreUnavailable
from valetkey.vault import names
from valetkey.vault.desk import Desk
from valetkey.vault.notices import News, publish
from valetkey.vault.proofs import proof_of, turned
from valetkey.vault.records import App
from valetkey.vault.staged import Tried


def turn_over(desk: Desk, app: App, connection: str) -> Plan[None]:
    """Use the other proof from now on, as the provider has just refused the one in use and taken that.

    The news is put down first: after a crash between the two it is put down again, under the same identifier. Trouble
    with the store is left to the next refresh, which will be refused and taken just so.
    """
    with suppress(StoreUnavailable):
        record = names.app_record(app.name)
        entry = yield from load(record)
        held = desk.app(app.name, entry)
        if entry is None or held.staged is None or app.staged is None or not held.staged.proof.same(app.staged.proof):
            return  # somebody has changed it meanwhile
        moment = (yield from now()).timestamp()
        refused = Tried(at=moment, on=connection, code="invalid_client")
        after = turned(held, refused=refused)
        yield from publish(desk, _news(held, after, connection, moment))
        if (yield from swap(record, entry.version, desk.seal_app(after))):
            used, left = proof_of(after).fingerprint, proof_of(held).fingerprint
            yield from note("secret.turned_over", app.name, reason="invalid_client", used=used, refused=left)


def _news(before: App, after: App, connection: str, moment: float) -> News:
    role = before.staged.role if before.staged is not None else "next"
    told = {
        "app": before.name,
        "used": proof_of(after).fingerprint,
        "refused": proof_of(before).fingerprint,
        "message": f"the provider refuses the client secret in use, and takes the {_WORDS[role]} one: that is used now",
        "seen_at": connection,
        "fix": f"`valetkey app secret show {before.name}`; forget the refused one when it has ended at the provider",
    }
    return News("app.secret_turned", before.name, f"{told['refused']} {told['used']}", moment, told)


_WORDS = {"next": "staged", "previous": "previous"}
