"""Taking the spool in: what the short way of `valetkey token` handed out becomes lines of the audit log.

The spool is renamed before it is read, so that no two processes take it, and removed when its lines are committed. Who
dies in between leaves the renamed file, which is taken in a minute later: a line may be there twice, under the same id,
and none is lost. What may not be here: writing the spool (spool.py), and the chain.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from valetkey.audit.line import Line
from valetkey.effects import Event
from valetkey.errors import StoreUnavailable, ValetkeyError
from valetkey.values import Entry
from valetkey.vault.seal import Sealer
from valetkey.vault.spool import RECORD, Handed, box_of, opened, spool_beside

STALE_SECONDS: Final = 60.0
"""After which a renamed spool counts as left by somebody who died: a commit that takes longer has failed by then."""


class Spool:
    """Give the lines of a vault's spool, once. Not for several threads: the recorder gives them turns.

    `known` sees to it that the sealer has a box's key, if it is one of this vault's; raises StoreUnavailable.
    """

    def __init__(
        self,
        vault: Path,
        sealer: Sealer,
        name_of: Callable[[int], str],
        known: Callable[[Entry], object] | None = None,
    ) -> None:
        self._path = Path(spool_beside(str(vault)))
        self._sealer = sealer
        self._name_of = name_of
        self._known = known or (lambda _entry: None)
        self.forget()

    def forget(self) -> None:
        """Leave what was taken to whoever took it, in a new process."""
        self._files: list[Path] = []
        self._lines: list[Line] = []
        self._looked = False

    def take(self, moment: datetime) -> list[Line]:
        """Return the lines that wait, the same again until they are done with; raises nothing."""
        if not self._files:
            self._files = self._claimed()
            try:
                self._lines = [line for file in self._files for line in self._read(file, moment)]
            except StoreUnavailable:  # who has up-to-date keys finds them a minute later
                self._files = []
        return self._lines

    def done(self) -> None:
        """Remove what was taken and is in the log now."""
        for file in self._files:
            with suppress(OSError):
                file.unlink()
        self._files, self._lines = [], []

    def _claimed(self) -> list[Path]:
        found = [self._path] if os.path.exists(self._path) else []  # noqa: PTH110  # Path.exists raises where not ours
        if found or not self._looked:  # what others left is looked for at the start, and with each spool
            self._looked = True
            found += self._left()
        claimed = []
        for file in found:
            mine = self._path.with_name(f"{self._path.name}.{os.urandom(6).hex()}")
            with suppress(OSError):  # another was faster, or it is not ours to read
                if os.access(file, os.R_OK):
                    file.rename(mine)
                    claimed.append(mine)
        return claimed

    def _left(self) -> list[Path]:
        """Return spools that somebody took and never was done with."""
        stale = time.time() - STALE_SECONDS
        left = []
        with suppress(OSError):
            for file in self._path.parent.glob(f"{self._path.name}.*"):
                with suppress(OSError):
                    left += [file] if file.stat().st_ctime < stale else []
        return left

    def _read(self, file: Path, moment: datetime) -> list[Line]:
        handed: dict[str, Handed] = {}
        garbled = 0
        with suppress(OSError):
            for line in filter(None, file.read_bytes().split(b"\n")):
                try:
                    box = box_of(line)
                    self._known(Entry(RECORD, box))
                    one = opened(self._sealer, box)
                except StoreUnavailable:
                    raise
                except (ValetkeyError, ValueError, IndexError):
                    garbled += 1
                else:
                    handed.setdefault(one.id, one)
        lines = [self._line(one, moment) for one in handed.values()]
        if garbled:
            event = Event("audit.garbled", "audit", "failed", "spool_damaged", {"count": str(garbled)})
            lines.append(Line.of(event, moment, "cli:unknown"))
        return lines

    def _line(self, one: Handed, moment: datetime) -> Line:
        at = datetime.fromtimestamp(one.at, UTC).isoformat(timespec="milliseconds")
        detail = {"fingerprint": one.fingerprint, "handed_out_at": at, "pid": str(one.process), "spool_id": one.id}
        return Line.of(
            Event("token.handed_out", one.connection, detail=detail), moment, f"cli:{self._name_of(one.user)}"
        )
