"""Judging an app before there is a vault to keep it in, so that a mistake leaves no empty vault behind.

What may not be here: writing anything. References are looked up; of that no audit log tells, because there is none yet.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

from valetkey.effects import Effect, Note, Now, Resolve
from valetkey.errors import InvalidInput
from valetkey.managers.resolver import Resolver
from valetkey.run import run
from valetkey.vault.desk import Desk
from valetkey.vault.keyring import Keyring
from valetkey.vault.records import App
from valetkey.vault.registry import fit


def refuse_unfit(app: App, *, check: bool = True) -> None:
    """Raise what Keeper.add_app would raise for an app that no vault could use."""
    world = _NoVault()
    try:
        run(fit(Desk(Keyring.create(time.time()).sealer()), app, check=check), world)
    finally:
        world.references.close()


class _NoVault:
    """Answer what can be answered without a vault."""

    def __init__(self) -> None:
        self.references = Resolver()

    def answer(self, question: Effect, /) -> Any:
        match question:
            case Resolve():
                return self.references.resolve(question.reference, question.want)
            case Now():
                return datetime.now(UTC)
            case Note():
                return None
            case _:
                raise InvalidInput(f"{type(question).__name__} needs a vault")
