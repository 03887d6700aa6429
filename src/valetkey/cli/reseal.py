"""`valetkey vault reseal`: another data key for a vault in use. What may not be here: how (vault/reseal.py)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import click

from valetkey.cli.base import Command, Session
from valetkey.cli.exits import DAMAGED, WAIT
from valetkey.cli.show import out_json, say
from valetkey.cli.vaultplace import Progress, given_of, place_of

if TYPE_CHECKING:
    from valetkey.vault.desk import Desk
    from valetkey.vault.places import Place
    from valetkey.vault.reseal import Resealed
    from valetkey.vault.world import VaultWorld

NAMED: Final = 20


@click.command(cls=Command)
@click.option("--retire", "retiring", is_flag=True, help="Instead, delete the older keys, an hour after a reseal.")
@click.pass_obj
def reseal(session: Session, *, retiring: bool) -> None:
    """Make a new data key and seal every record with it, while programs go on using the vault.

    Killed at any moment, nothing is lost, and the same command goes on. Records in use are waited for. The older keys
    stay, and open what a program still writes with them, until --retire deletes them: from then on a record that is put
    back from an older copy of the vault is refused. Backups hold the keys they need.
    """
    place = place_of(session)
    with _opened(place, session) as (desk, world), Progress() as progress:
        if retiring:
            from valetkey.vault.reseal import retire

            _say_retired(session, place, retire(desk, world, progress=progress))
            return
        from valetkey.vault.reseal import reseal as seal_anew

        done = seal_anew(desk, world, progress=progress)
    _say_done(session, place, done)
    if done.held or done.damaged:
        raise click.exceptions.Exit(DAMAGED if done.damaged else WAIT)


@contextmanager
def _opened(place: Place, session: Session) -> Iterator[tuple[Desk, VaultWorld]]:
    from valetkey.vault.copying import no_transport
    from valetkey.vault.opening import open_world

    desk, world = open_world(
        place.url or place.path,
        transport=no_transport,
        key_file=given_of(session),
        create=False,
        actor="cli",
        audit_log=session.audit_copy(),
    )
    try:
        yield desk, world
    finally:
        world.close()


def _say_retired(session: Session, place: Place, retired: list[str]) -> None:
    if session.json:
        out_json({"vault": place.shown, "retired": retired})
    else:
        say(f"retired: {', '.join(retired)}" if retired else "there are no older data keys")


def _say_done(session: Session, place: Place, done: Resealed) -> None:
    if session.json:
        told = {"vault": place.shown, "data_key": done.key, "records": done.records, "sealed": done.sealed}
        out_json({**told, "resumed": done.resumed, "in_use": done.held, "damaged": done.damaged})
        return
    say(f"{done.sealed} of {done.records} records of {place.shown} were sealed anew; data key {done.key} is used now")
    for damaged in done.damaged[:NAMED]:
        say(f"this record does not open, and was left: {damaged}")
    if done.held:
        say(f"{len(done.held)} records were in use all the time; give the same command again")
    elif not done.damaged:
        say("the older keys can be deleted in an hour: `valetkey vault reseal --retire`")
