"""The publisher: runs the plans of publishing.py and lets tokens be written; for the refresher and by hand."""

from __future__ import annotations

from valetkey.errors import ValetkeyError
from valetkey.managers.reference import Reference
from valetkey.run import run
from valetkey.vault import names, publishing
from valetkey.vault.desk import Desk
from valetkey.vault.publishing import Form, Publication, Writing
from valetkey.vault.world import VaultWorld

PAGE = 500


class Publisher:
    """Publish access tokens where programs read them."""

    def __init__(self, desk: Desk, world: VaultWorld) -> None:
        self._desk = desk
        self._world = world

    def add(self, connection: str, target: str, *, form: Form = "json") -> Publication:
        """Publish a connection's token to `target` from now on, and write it now.

        Raises InvalidInput, NotFound, AlreadyExists; and, with nothing kept, what the target says.
        """
        wanted = Publication(connection=connection, target=target, created_at=0.0, form=form)
        made = run(publishing.publish_to(self._desk, wanted), self._world)
        try:
            self.write(made.record, again=True)
        except ValetkeyError:
            run(publishing.stop(self._desk, connection, target), self._world)
            raise
        return made

    def remove(self, connection: str, target: str, *, leave: bool = False) -> None:
        """Publish to `target` no more: a file is removed, a secret blanked, unless it is to be left as it is.

        What cannot be taken away now, or is not because of a crash, is taken away by whoever keeps tokens fresh; raises
        what the target says, and NotFound.
        """
        Reference.target(target)
        if leave:
            run(publishing.stop(self._desk, connection, target), self._world)
            return
        writing = run(publishing.end(self._desk, connection, target), self._world)
        if writing is not None:
            self._carry(writing)

    def publications(self, connection: str = "") -> list[Publication]:
        """Return what is published, of all connections or of one."""
        found = []
        for record in self.records(connection):
            entry = self._world.store.load(record)
            if entry is not None:
                found.append(publishing.opened(self._desk, record, entry))
        return found

    def records(self, connection: str = "") -> list[str]:
        """Return the names of the records of publications."""
        prefix, after, found = f"{names.PUBLISHED}{connection}/" if connection else names.PUBLISHED, "", []
        while page := self._world.store.names(prefix, after, PAGE):
            found += page
            after = page[-1]
        return found

    def write(self, record: str, *, again: bool = False) -> Writing | None:
        """Write what is to be written of one publication; raises what the target says, after it was written down."""
        writing = run(publishing.take(self._desk, record, again=again), self._world)
        if writing is None:
            return None
        self._carry(writing)
        return writing

    def _carry(self, writing: Writing) -> None:
        refusal: ValetkeyError | None = None
        where = writing.publication.target
        try:
            self._world.references.write(Reference.target(where), writing.fields, writing.text)
        except ValetkeyError as said:
            refusal = said
        stands = run(publishing.settle(self._desk, writing, refusal), self._world)
        if refusal is not None:
            raise refusal
        if not stands:  # somebody took it away while we wrote
            self._world.references.write(Reference.target(where), {}, "")
