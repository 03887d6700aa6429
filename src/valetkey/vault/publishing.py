"""Publishing: keep a connection's access token up to date where programs read it that cannot ask us. Plans only.

Each publication is a record that is due every minute, and right after a renewal. What is published is compared by
fingerprint with what the connection holds, so a crash between two lines costs a repetition and no token. It never
stands in the way of a renewal. What may not be here: writing (managers/writing.py).
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, Literal

import msgspec

from valetkey.effects import Plan, load, note, now, swap
from valetkey.errors import AlreadyExists, InvalidInput, NotFound, StoreUnavailable, ValetkeyError
from valetkey.managers.reference import Reference
from valetkey.values import Entry, Unpicklable
from valetkey.vault import names
from valetkey.vault.desk import Desk
from valetkey.vault.records import Connection, TokenSet, from_bytes, stored_as, to_bytes

Form = Literal["json", "token"]

CHECK_SECONDS: Final = 60.0
"""How long a token that somebody else renewed may stand unpublished."""

CARRY_SECONDS: Final = 60.0
"""How long a writing is left to the replica that began it."""

AWS_SECONDS: Final = 600.0
"""AWS asks not to put a value more often than once in ten minutes for long: versions beyond 100 are removed, but none
before it is a day old (https://docs.aws.amazon.com/secretsmanager/latest/userguide/reference_limits.html)."""

RETRY_FIRST: Final = 5.0
RETRY_MOST: Final = 600.0


@stored_as
class Publication(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Be where a connection's token is published, and what was published last (by fingerprint; empty: nothing).

    One that is `ending` stands only until what was published has been taken away.
    """

    connection: str
    target: str
    created_at: float
    form: Form = "json"
    published: str = ""
    published_at: float = 0.0
    failures: int = 0
    error: str = ""
    ending: bool = False

    @property
    def record(self) -> str:
        """Return the name of the record."""
        return f"{names.PUBLISHED}{self.connection}/{hashlib.sha256(self.target.encode()).hexdigest()[:16]}"


@dataclass(frozen=True, slots=True)
class Writing(Unpicklable):
    """Be a token to write now; no text: what was published is to be taken away."""

    publication: Publication
    version: int
    fingerprint: str
    fields: dict[str, str] = field(default_factory=dict, repr=False)
    text: str = field(default="", repr=False)


def publish_to(desk: Desk, publication: Publication) -> Plan[Publication]:
    """Begin to publish; raises NotFound, AlreadyExists, and InvalidInput for what cannot be done."""
    target = Reference.target(publication.target)
    connection = desk.connection(
        publication.connection, (yield from load(names.connection_record(publication.connection)))
    )
    life = _life(connection.tokens)
    if target.kind == "aws-sm" and life is not None and life < AWS_SECONDS:
        raise InvalidInput(
            f"tokens of {connection.name} live {life:.0f} seconds, too short to be published in AWS Secrets Manager",
            cause="AWS asks not to write a secret more often than every ten minutes; its versions would run out",
            fix="publish it to a file or a HashiCorp Vault, or let the program ask valetkey",
        )
    moment = (yield from now()).timestamp()
    made = msgspec.structs.replace(publication, created_at=moment)
    if not (yield from swap(made.record, 0, _sealed(desk, made, moment))):
        raise AlreadyExists(
            f"{made.connection} is published to {made.target} already",
            fix="`valetkey publish list`; what is being taken away goes with another `valetkey publish rm`",
        )
    yield from note("publish.added", made.connection, target=made.target)
    return made


def stop(desk: Desk, connection: str, target: str) -> Plan[Publication]:
    """Forget a publication; raises NotFound. What stands there stays."""
    found, version = yield from _found(desk, connection, target)
    yield from _swapped(found.record, version, None)
    if not found.ending:
        yield from note("publish.removed", connection, target=target)
    return found


def end(desk: Desk, connection: str, target: str) -> Plan[Writing | None]:
    """Publish no more, and return what is to be taken away; None: nothing was published, and it is forgotten.

    It is forgotten when that has been taken away (`settle`), so that a crash in between leaves no token behind: whoever
    carries publications takes it away then. Raises NotFound.
    """
    found, version = yield from _found(desk, connection, target)
    if not found.published:
        yield from stop(desk, connection, target)
        return None
    ending = msgspec.structs.replace(found, ending=True)
    moment = (yield from now()).timestamp()
    yield from _swapped(found.record, version, _sealed(desk, ending, moment + CARRY_SECONDS))
    if not found.ending:
        yield from note("publish.removed", connection, target=target)
    return Writing(ending, version + 1, "")


def _found(desk: Desk, connection: str, target: str) -> Plan[tuple[Publication, int]]:
    record = Publication(connection=connection, target=target, created_at=0.0).record
    entry = yield from load(record)
    if entry is None:
        raise NotFound(f"{connection} is not published to {target}", fix="`valetkey publish list` shows what is")
    return opened(desk, record, entry), entry.version


def _swapped(record: str, version: int, entry: Entry | None) -> Plan[None]:
    if not (yield from swap(record, version, entry)):
        raise StoreUnavailable("the publication is being written just now", fix="try again")


def take(desk: Desk, record: str, *, again: bool = False) -> Plan[Writing | None]:
    """Claim what is to be written, if anything is; `again` writes also what stands there already."""
    entry = yield from load(record)
    if entry is None:
        return None
    publication = opened(desk, record, entry)
    held = yield from load(names.connection_record(publication.connection))
    connection = desk.connection(publication.connection, held) if held is not None else None
    moment = (yield from now()).timestamp()
    writing = _wanted(publication, connection, moment, entry.version + 1)
    if writing is not None and publication.target.startswith("aws-sm:") and writing.text and not again:
        wait = publication.published_at + AWS_SECONDS - moment
        writing = None if wait > 0 else writing
    if writing is None or (writing.fingerprint == publication.published and not again):
        yield from swap(record, entry.version, _sealed(desk, publication, moment + CHECK_SECONDS))
        return None
    claimed = yield from swap(record, entry.version, _sealed(desk, publication, moment + CARRY_SECONDS))
    return writing if claimed else None


def _wanted(publication: Publication, connection: Connection | None, moment: float, version: int) -> Writing | None:
    """Return what should stand there; None: what stands there is to be left as it is."""
    if publication.ending or connection is None or connection.revoked_at:
        return Writing(publication, version, "")
    tokens = connection.tokens
    if tokens is None or (tokens.expires_at is not None and moment >= tokens.expires_at):
        return None
    fields = {"access_token": tokens.access.reveal()}
    if publication.form == "json":
        ends = tokens.expires_at
        fields["expires_at"] = "" if ends is None else datetime.fromtimestamp(ends, UTC).isoformat(timespec="seconds")
        fields["token_type"] = tokens.kind
    text = msgspec.json.encode(fields).decode() + "\n" if publication.form == "json" else fields["access_token"]
    return Writing(publication, version, tokens.access.fingerprint(), fields, text)


def settle(desk: Desk, writing: Writing, refusal: ValetkeyError | None) -> Plan[bool]:
    """Write down what became of a writing, and when it is to be looked at again; false where the publication has ended.

    Then what was written meanwhile must be taken away by who wrote it.
    """
    moment = (yield from now()).timestamp()
    before = writing.publication
    if refusal is None:
        after = msgspec.structs.replace(
            before, published=writing.fingerprint, published_at=moment, failures=0, error=""
        )
        due = moment + CHECK_SECONDS
        kind = "token.published" if writing.text else "token.unpublished"
        told = {"target": before.target, **({"token": writing.fingerprint} if writing.fingerprint else {})}
    else:
        after = msgspec.structs.replace(before, failures=before.failures + 1, error=refusal.code)
        due = moment + min(RETRY_MOST, RETRY_FIRST * 2.0 ** min(before.failures, 10))
        kind, told = "token.published" if writing.text else "token.unpublished", {"target": before.target}
    gone = before.ending and refusal is None
    kept = yield from swap(before.record, writing.version, None if gone else _sealed(desk, after, due))
    with suppress(StoreUnavailable):  # it stands there now, whether or not the log can be told
        reason = "" if refusal is None else refusal.code
        yield from note(kind, before.connection, "ok" if refusal is None else "failed", reason, **told)
    if kept or not writing.text:
        return True
    entry = yield from load(before.record)
    return entry is not None and not opened(desk, before.record, entry).ending


def opened(desk: Desk, record: str, entry: Entry) -> Publication:
    """Open a publication's record."""
    return from_bytes(Publication, record, desk.sealer.open(record, entry.box))


def _sealed(desk: Desk, publication: Publication, due: float) -> Entry:
    state = "failing" if publication.failures else "published" if publication.published else "waiting"
    record = publication.record
    return Entry(state, desk.sealer.seal(record, to_bytes(publication)), datetime.fromtimestamp(due, UTC))


def _life(tokens: TokenSet | None) -> float | None:
    return None if tokens is None or tokens.expires_at is None else tokens.expires_at - tokens.obtained_at
