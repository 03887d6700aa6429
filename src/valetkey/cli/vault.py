"""`valetkey vault`: moving the vault, backing it up, and its recovery kit.

What may not be here: showing the key to somebody who did not ask for it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import click

from valetkey.cli.base import Group, Session
from valetkey.cli.reseal import reseal
from valetkey.cli.show import facts, out, out_json, say
from valetkey.cli.vaultplace import Progress, given_of, key_file_of, place_of
from valetkey.errors import InvalidInput

if TYPE_CHECKING:
    from valetkey.values import Secret

KINDS: Final = "file:PATH, passphrase, keychain, transit:[MOUNT/]NAME, or aws-kms:ARN"

OLD_DAYS: Final = 365
"""From when on a data key is called old: a year, as many policies have it."""


@click.group(cls=Group)
def vault() -> None:
    """Make the vault, move it, back it up, check it, and say how its key is kept."""


@vault.command()
@click.option("--key", "target", metavar="KIND", default="file", help=f"file (the default), {KINDS}.")
@click.option("--new-passphrase-fd", metavar="N", type=click.IntRange(min=0), help="Where the new passphrase is read.")
@click.pass_obj
def init(session: Session, *, target: str, new_passphrase_fd: int | None) -> None:
    """Make a new vault, and say how its key is kept; other commands make one whose key is in a file."""
    from valetkey.vault.keks.rewrap import Target, create

    place = place_of(session)
    vault_id = create(
        place,
        Target.of(_or_key_file(target, session)),
        ask=_asked_twice(new_passphrase_fd),
        audit_log=session.audit_copy(),
    )
    if session.json:
        out_json({"vault": place.shown, "vault_id": vault_id, "key": target})
    else:
        say(f"a new vault is in {place.shown}; without its key it is lost: `valetkey vault kit`")
        _say_where(target)


@vault.command()
@click.option("--to", "target", metavar="KIND", required=True, help=f"file, {KINDS}.")
@click.option("--new-passphrase-fd", metavar="N", type=click.IntRange(min=0), help="Where the new passphrase is read.")
@click.pass_obj
def rewrap(session: Session, *, target: str, new_passphrase_fd: int | None) -> None:
    """Keep the vault's key elsewhere from now on, by one write; programs that run go on.

    The old key is not removed, and still opens backups of before. Killed at any moment, the vault opens with one of the
    two.
    """
    from valetkey.vault.keks.rewrap import Target
    from valetkey.vault.keks.rewrap import rewrap as wrap_anew

    place = place_of(session)
    done = wrap_anew(
        place,
        Target.of(target),
        given=given_of(session),
        ask=_asked_twice(new_passphrase_fd, found=False),
        audit_log=session.audit_copy(),
    )
    if session.json:
        out_json({"vault": place.shown, "vault_id": done.vault_id, "before": done.before, "after": done.after})
        return
    say(f"the key of {place.shown} is kept under {done.after} from now on")
    _say_where(target)
    say(f"it opens no more with {done.before}, which backups of before still need; delete it only with those")


def _say_where(target: str) -> None:
    if target.startswith("file:"):
        say("name that key file with --key-file or VALETKEY_KEY_FILE from now on")


def _or_key_file(target: str, session: Session) -> str:
    return f"file:{session.key_file}" if target == "file" and session.key_file else target


def _asked_twice(descriptor: int | None, *, found: bool = True) -> Callable[[], Secret]:
    """Return what asks for a new passphrase: a descriptor, the surroundings (`found`), or a person, twice.

    At a rewrap the surroundings give the passphrase of now, which would be taken for the new one.
    """

    def ask() -> Secret:
        from valetkey.cli.ask import secret_prompt
        from valetkey.vault.keks import passphrase

        if descriptor is not None:
            return passphrase.from_descriptor(descriptor)
        told = passphrase.found() if found else None
        if told is not None:
            return told
        first = secret_prompt("new passphrase", instead="--new-passphrase-fd N", exact=True)
        if secret_prompt("the same again", instead="--new-passphrase-fd N", exact=True) != first:
            raise InvalidInput("the two passphrases differ", fix="type them again; nothing was changed")
        return first

    return ask


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
    with Progress() as progress:
        done = move(old, new, key_file=given_of(session), audit_log=session.audit_copy(), progress=progress)
    told = {"source": old.shown, "target": new.shown, "records": done.records, "lines": done.lines}
    if session.json:
        out_json({**told, "written": done.written, "key_file": None if done.key_file is None else str(done.key_file)})
        return
    say(f"{done.records} records and {done.lines} lines of the audit log are in {new.shown}, opened and compared")
    say("its key is kept as it was" if done.key_file is None else f"its key is {done.key_file}")
    say(f"do not use {old.shown} any more; it refuses by itself. Set VALETKEY_VAULT, and start your programs anew")


@vault.command()
@click.option("--force", is_flag=True, help="Yes: the place it was moved to was never used.")
@click.pass_obj
def reopen(session: Session, *, force: bool) -> None:
    """Use a vault again that was moved away, where the move was a mistake."""
    from valetkey.vault.copying import reopen as use_again

    place = place_of(session)
    if not force:
        raise InvalidInput(
            f"is the place that {place.shown} was moved to surely not in use?",
            cause="two vaults that renew the same refresh tokens end each other's grants",
            fix="`valetkey vault reopen --force`, once you know",
        )
    use_again(place, key_file=given_of(session), audit_log=session.audit_copy())
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
    from valetkey.vault.private import expanded

    place, path = place_of(session), expanded(file)
    with Progress() as progress:
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
    from valetkey.vault.private import expanded

    place, path = place_of(session), expanded(file)
    with Progress() as progress:
        if only_verify:
            checked, _ = verify(path, place, key_file=given_of(session), progress=progress)
            aside = None
        else:
            copy_to = session.audit_copy()
            done = put_back(path, place, key_file=given_of(session), audit_log=copy_to, progress=progress)
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
    """Open every record of the vault; say how old its data keys are, and what others can read.

    Changes nothing. `valetkey audit verify` looks at the audit log.
    """
    from valetkey.vault.backup import check as open_everything

    place = place_of(session)
    with Progress() as progress:
        found = open_everything(place, key_file=given_of(session), progress=progress)
    told = {"vault": place.shown, "vault_id": found.vault_id, "records": found.records, "audit_lines": found.lines}
    if session.json:
        keys = [key.to_dict() for key in found.keys]
        out_json({**told, "connections": found.states, "data_keys": keys, "readable_by_others": list(found.seen)})
        return
    facts({**told, "connections": ", ".join(f"{number} {state}" for state, number in sorted(found.states.items()))})
    for key in found.keys:
        age = (datetime.now(UTC) - key.made_at).days
        seals = "seals what is written" if key.current else "is an older one"
        say(f"data key {key.key_id}: {age} days old, {seals}, {key.records} records are under it")
    say("the keyring, which is a record too, is under the vault's own key")
    for seen in found.seen:
        say(f"others can read it: {seen}")
    out(f"the vault holds: all {found.records} records open; its audit log is for `valetkey audit verify`")
    if found.reseal == "running":
        say("a reseal ended early; `valetkey vault reseal` goes on with it")
    elif found.keys and (datetime.now(UTC) - found.keys[-1].made_at).days >= OLD_DAYS:
        say("`valetkey vault reseal` makes a new data key, while programs go on")


@vault.command()
@click.option("--out", "path", metavar="FILE", help="Write it to a new file that only you can read.")
@click.pass_obj
def kit(session: Session, *, path: str | None) -> None:
    """Print the recovery kit: the vault's key as text for paper or a password manager. It IS the key."""
    from valetkey.cli.signingkeys import keep
    from valetkey.effects import Event
    from valetkey.vault import names
    from valetkey.vault.auditing import recorder_of
    from valetkey.vault.copying import opened
    from valetkey.vault.keks.giving import kek_of
    from valetkey.vault.keyring import Keyring
    from valetkey.vault.kit import written
    from valetkey.vault.places import USED

    place = place_of(session)
    with opened(place, create=False) as store:
        entry = store.load(names.KEYRING)
        if entry is None:
            raise InvalidInput(f"{place.shown} is empty", fix="name another vault with --vault")
        vault_id = Keyring.vault_id_of(entry.box)
        key = kek_of(place, entry.box, given_of(session))
        keyring = Keyring.unwrapped(entry.box, key)  # a kit of another vault's key would be found out too late
        if entry.state == USED:  # else nothing can be written there any more, its log neither
            recorder = recorder_of(store, keyring, actor="cli", copy_to=session.audit_copy())
            recorder.note(Event("vault.kit_made", "vault"))
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

    path = key_file_of(session)
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


vault.add_command(reseal)
