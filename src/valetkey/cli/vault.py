"""`valetkey vault`: moving the vault, backing it up, and its recovery kit.

What may not be here: showing the key to somebody who did not ask for it.
"""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import click

from valetkey.cli.base import Group, Session
from valetkey.cli.show import facts, out, out_json, say
from valetkey.errors import InvalidInput

if TYPE_CHECKING:
    from valetkey.vault.places import Place

TICK: Final = 0.2
"""Seconds between two words of progress; a terminal needs no more, and a log gets none."""


@click.group(cls=Group)
def vault() -> None:
    """Move the vault, back it up, check it, and keep its key on paper."""


@vault.command()
@click.argument("source", metavar="SOURCE")
@click.argument("target", metavar="TARGET")
@click.pass_obj
def copy(session: Session, *, source: str, target: str) -> None:
    """Move a vault: SOURCE and TARGET are files, or databases as postgresql://user@host/database.

    Programs may use SOURCE until it is frozen at the end; then everything is opened and compared. SOURCE is kept, but
    refuses to be used: two vaults that renew the same refresh tokens end each other's grants. Interrupted, the same
    command goes on where it ended.
    """
    from valetkey.vault.copying import copy as move
    from valetkey.vault.places import Place, spoken

    old, new = Place.of(spoken(source)), Place.of(spoken(target))
    with _Progress() as progress:
        done = move(old, new, key_file=_key_file(session), progress=progress)
    told = {"source": old.shown, "target": new.shown, "records": done.records, "lines": done.lines}
    if session.json:
        out_json({**told, "written": done.written, "key_file": str(done.key_file)})
        return
    say(f"{done.records} records and {done.lines} lines of the audit log are in {new.shown}, opened and compared")
    say(f"its key is {done.key_file}")
    say(f"do not use {old.shown} any more; it refuses by itself. Set VALETKEY_VAULT, and start your programs anew")


@vault.command()
@click.option("--force", is_flag=True, help="Yes: the place it was moved to was never used.")
@click.pass_obj
def reopen(session: Session, *, force: bool) -> None:
    """Use a vault again that was moved away, where the move was a mistake."""
    from valetkey.vault.copying import reopen as use_again

    place = _place(session)
    if not force:
        raise InvalidInput(
            f"is the place that {place.shown} was moved to surely not in use?",
            cause="two vaults that renew the same refresh tokens end each other's grants",
            fix="`valetkey vault reopen --force`, once you know",
        )
    use_again(place, key_file=_key_file(session))
    if session.json:
        out_json({"vault": place.shown, "state": "in use"})
    else:
        say(f"{place.shown} is in use again")


@vault.command()
@click.argument("file", metavar="FILE")
@click.pass_obj
def backup(session: Session, *, file: str) -> None:
    """Write the whole vault, as it is at this moment, to a new FILE; others may go on using it.

    The file is sealed as the vault is, and holds no key: keep the key elsewhere (`valetkey vault kit`).
    """
    from valetkey.vault.backup import backup as write

    place, path = _place(session), Path(file).expanduser()
    with _Progress() as progress:
        records = write(place, path, progress=progress)
    if session.json:
        out_json({"vault": place.shown, "file": str(path), "records": records})
    else:
        say(
            f"{records} records of {place.shown} are in {path}; `valetkey vault restore --verify {path}` opens them all"
        )


@vault.command()
@click.argument("file", metavar="FILE")
@click.option("--verify", "only_verify", is_flag=True, help="Open every record of FILE, and replace nothing.")
@click.pass_obj
def restore(session: Session, *, file: str, only_verify: bool) -> None:
    """Put a backup in the place of the vault, once every record of it has been opened; the old one is kept aside.

    A connection whose refresh token was rotated since the backup needs a new consent. Stop other programs first.
    """
    from valetkey.vault.backup import restore as put_back
    from valetkey.vault.backup import verify

    place, path = _place(session), Path(file).expanduser()
    with _Progress() as progress:
        if only_verify:
            checked, _ = verify(path, place, key_file=_key_file(session), progress=progress)
            aside = None
        else:
            done = put_back(path, place, key_file=_key_file(session), progress=progress)
            checked, aside = done.checked, done.aside
    told = {"file": str(path), "vault_id": checked.vault_id, "records": checked.records, "states": checked.states}
    if session.json:
        kept = None if aside is None else str(aside)
        out_json({**told, **({} if only_verify else {"vault": place.shown, "aside": kept})})
    elif only_verify:
        say(f"all {checked.records} records of {path} open; nothing was replaced")
    else:
        say(f"{checked.records} records are in {place.shown} again")
        if aside is not None:
            say(f"what was there is kept in {aside}")


@vault.command()
@click.pass_obj
def check(session: Session) -> None:
    """Open every record of the vault, and say how many there are."""
    from valetkey.vault.backup import check as open_everything

    place = _place(session)
    with _Progress() as progress:
        found = open_everything(place, key_file=_key_file(session), progress=progress)
    told = {"vault": place.shown, "vault_id": found.vault_id, "records": found.records, "audit_lines": found.lines}
    if session.json:
        out_json({**told, "connections": found.states})
    else:
        facts({**told, "connections": ", ".join(f"{number} {state}" for state, number in sorted(found.states.items()))})


@vault.command()
@click.option("--out", "path", metavar="FILE", help="Write it to a new file that only you can read.")
@click.pass_obj
def kit(session: Session, *, path: str | None) -> None:
    """Print the recovery kit: the vault's key as text for paper or a password manager. It IS the key."""
    from valetkey.cli.signingkeys import keep
    from valetkey.vault import names
    from valetkey.vault.copying import opened
    from valetkey.vault.keyfile import KeyFile
    from valetkey.vault.keyring import Keyring
    from valetkey.vault.kit import written

    place = _place(session)
    with opened(place, create=False) as store:
        entry = store.load(names.KEYRING)
    if entry is None:
        raise InvalidInput(f"{place.shown} is empty", fix="name another vault with --vault")
    vault_id = Keyring.vault_id_of(entry.box)
    key = KeyFile.read(str(_key_file(session) or place.key_path(vault_id)))
    Keyring.unwrapped(entry.box, key)  # a kit of another vault's key would be found out too late
    text = written(key, vault_id, datetime.now(UTC))
    if path is None:
        out_json({"kit": text, "vault_id": vault_id.hex()}) if session.json else out(text)
        return
    keep(path, text.encode())
    if session.json:
        out_json({"file": path, "vault_id": vault_id.hex()})
    else:
        say(f"the kit is in {path}; print it, and delete the file")


@vault.command()
@click.argument("file", metavar="[KIT]", default="-")
@click.pass_obj
def recover(session: Session, *, file: str) -> None:
    """Make the key file again from a recovery kit; a typo is named by its line.

    KIT is a file, or - for standard input; --key-file says where the key goes.
    """
    from valetkey.cli.ask import file_text
    from valetkey.errors import AlreadyExists
    from valetkey.vault.keyfile import KeyFile
    from valetkey.vault.kit import read

    path = _key_file(session)
    if path is None:
        raise InvalidInput("where shall the key file be?", fix="valetkey vault recover KIT --key-file PATH")
    if file == "-" and sys.stdin.isatty():
        say("type or paste the kit's four lines, then Ctrl-D")
    key = KeyFile.of_line(read(file_text(file, "recovery kit")).reveal(), "the kit")
    if path.exists() or key.save(str(path)).key_id != key.key_id:
        raise AlreadyExists(f"{path} is there already", fix="name another with --key-file; nothing was changed")
    if session.json:
        out_json({"key_file": str(path), "key_id": key.key_id.hex()})
    else:
        say(f"the key is in {path}; `valetkey vault check` says whether it opens the vault")


def _place(session: Session) -> Place:
    from valetkey.vault.places import Place

    return Place.of(session.vault)


def _key_file(session: Session) -> Path | None:
    return None if session.key_file is None else Path(session.key_file).expanduser()


class _Progress:
    """Say on a terminal how far it is, on one line that is wiped in the end; be silent elsewhere."""

    def __init__(self) -> None:
        self._shown = sys.stderr.isatty()
        self._next = 0.0

    def __call__(self, doing: str, done: int, of: int) -> None:
        if self._shown and time.monotonic() >= self._next:
            self._next = time.monotonic() + TICK
            sys.stderr.write(f"\r\x1b[Kvaletkey: {doing} {done:,} of {of:,}")
            sys.stderr.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._shown and self._next:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
