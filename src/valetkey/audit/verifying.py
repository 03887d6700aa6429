"""Looking at a whole audit log where it lies, writer by writer, while others go on writing and pruning.

Every head is read before its chain, so a chain is at least as long as its head says. What looks broken is looked at
again, because a prune or another commit may have come in between. What may not be here: SQL, and where keys come from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from hmac import compare_digest
from typing import Final, NamedTuple

from valetkey.audit.chain import ChainKey, Signed, Stand, floor_purpose, head_purpose
from valetkey.audit.ledger import ROSTER, Head, Ledger
from valetkey.audit.line import Line
from valetkey.audit.report import Chain, Finding, Report
from valetkey.audit.roster import Roster
from valetkey.audit.walk import Walk

PAGE: Final = 1000
"""Lines in memory at once."""

LOOKS: Final = 5
"""Times that a writer is looked at while others change it."""


@dataclass(frozen=True, slots=True)
class Known:
    """Be what the vault knows of its log: its key, whether a roster was made, and whether all lines are chained."""

    key: ChainKey | None
    begun: bool = False
    chained_only: bool = False


def examine(ledger: Ledger, known: Known, *, progress: Callable[[Chain], object] = lambda _: None) -> Report:
    """Return what holds and what does not, of the log as it was when this began; raises StoreUnavailable."""
    return _Examination(ledger, known, progress).report()


class _Examination:
    """Look at one log, once."""

    def __init__(self, ledger: Ledger, known: Known, progress: Callable[[Chain], object]) -> None:
        self._ledger = ledger
        self._known = known
        self._progress = progress
        self._chains: dict[str, Chain] = {}
        self._checks: Signed | None = None
        self._lowest_id = 0

    def report(self) -> Report:
        heads = self._ledger.heads()
        if self._known.key is None:
            return self._without_key(heads)
        for head in heads:
            if head.writer != ROSTER:
                self._look(head)
        found = self._of_roster(heads)
        if found:
            # A store that reads its heads one by one may have been between the two writes of who came or went.
            again = {_place(finding) for finding in self._of_roster(self._ledger.heads())}
            found = [finding for finding in found if _place(finding) in again]
        found += self._strays()
        unchained, outside = self._outside()
        found += outside + [chain.finding for chain in self._chains.values() if chain.finding is not None]
        ordered = sorted(found, key=lambda finding: (finding.ordinal, finding.number))
        return Report(tuple(self._chains.values()), tuple(ordered), unchained)

    def _without_key(self, heads: list[Head]) -> Report:
        there = bool(heads or self._ledger.strays([ROSTER]))
        unchained = sum(1 for _ in self._pages_outside())
        return Report((), (Finding("key_missing"),) if there else (), unchained)

    # ── one writer ────────────────────────────────────────────────────────────────────────────────────────────

    def _look(self, head: Head) -> None:
        """Look at one writer until what is found is the same twice."""
        chain = self._walked(head)
        for _ in range(LOOKS):
            before = chain.finding
            if before is None:
                break
            there = self._ledger.head(head.writer)
            if there is None and self._is_gone(head):
                return
            head = there or head
            chain = self._walked(head)
            if chain.finding == before:
                break
        self._chains[head.writer] = chain
        self._progress(chain)

    def _is_gone(self, head: Head) -> bool:
        """Say whether a writer was pruned to the last line meanwhile."""
        roster = self._roster(self._ledger.head(ROSTER))
        return roster is not None and roster.is_gone(head.ordinal)

    def _walked(self, head: Head) -> Chain:
        end, floor = self._opened(head)
        if end is None or floor is None or end.number != head.number or floor.number > end.number:
            forged = Finding("head_forged", head.writer, head.ordinal, head.number)
            return Chain(head.writer, head.ordinal, finding=forged)
        walk = Walk(head.writer, head.ordinal, floor, self._signed())
        beyond: Line | None = None
        more = True
        while more and beyond is None:
            page = self._page(walk)
            more = len(page) == PAGE
            beyond = next((line for line in page if line.number > end.number), None)
            mine = page if beyond is None else [line for line in page if line.number <= end.number]
            if mine:
                self._lowest_id = min(self._lowest_id or mine[0].id, mine[0].id)
            if (finding := walk.along(mine)) is not None:
                return walk.chain(finding)
        return walk.chain(self._ending(walk, end, beyond))

    def _signed(self) -> Signed:
        if self._checks is None:
            assert self._known.key is not None  # report sees to it
            self._checks = self._known.key.signed()
        return self._checks

    def _page(self, walk: Walk) -> list[Line]:
        """Return the next lines, after looking whether the last one stands there once only."""
        last = walk.last_line
        if last is None:
            return self._ledger.chain(walk.writer, 0, PAGE)
        page = self._ledger.chain(walk.writer, last.number - 1, PAGE + 1)
        return page[1:] if page and page[0].number == last.number and page[0] == last else page[:PAGE]

    def _ending(self, walk: Walk, end: Stand, beyond: Line | None) -> Finding | None:
        """Compare where the lines end with where they must."""
        if walk.stand.number < end.number:
            return walk.broken("tail_cut")
        if not compare_digest(walk.stand.link, end.link):
            return walk.broken("edited", walk.last_line, walk.signed_until + 1)
        if beyond is not None:
            later = self._ledger.head(walk.writer)
            if later is None or later.number < beyond.number or self._opened(later)[0] is None:
                return walk.broken("inserted", beyond)
        return None

    def _opened(self, head: Head) -> tuple[Stand | None, Stand | None]:
        """Return the last line of a writer, and the last that was pruned, as far as they are what valetkey wrote."""
        key = self._known.key
        assert key is not None  # report sees to it
        floor = key.unboxed(floor_purpose(head.writer, head.ordinal), head.floor)
        return key.unboxed(head_purpose(head.writer, head.ordinal), head.box), floor

    # ── all writers ───────────────────────────────────────────────────────────────────────────────────────────

    def _roster(self, head: Head | None) -> Roster | None:
        assert self._known.key is not None  # report sees to it
        return None if head is None else Roster.unboxed(self._known.key, head.number, head.box)

    def _of_roster(self, heads: list[Head]) -> list[Finding]:
        """Compare the writers that are there with the roster."""
        there = next((head for head in heads if head.writer == ROSTER), None)
        writers = [head for head in heads if head.writer != ROSTER]
        if there is None:
            return [Finding("roster_missing")] if writers or self._known.begun else []
        roster = self._roster(there)
        if roster is None:
            return [Finding("roster_forged")]
        return census(roster, [Present(head.writer, head.ordinal, self._has_lines(head)) for head in writers])

    def _has_lines(self, head: Head) -> bool:
        chain = self._chains.get(head.writer)
        return head.number > 0 if chain is None else bool(chain.lines or chain.finding)

    def _strays(self) -> list[Finding]:
        """Look for lines of writers that have no head; who began meanwhile has one by now."""
        found: list[Finding] = []
        for writer in self._ledger.strays([ROSTER, *self._chains]):
            head = self._ledger.head(writer)
            if head is not None:
                self._look(head)
            elif lines := self._ledger.chain(writer, 0, 1):
                found.append(Finding("stray", writer, 0, lines[0].number, lines[0].at))
        if lines := self._ledger.chain("", 0, 1):
            found.append(Finding("stray", number=lines[0].number, at=lines[0].at))
        return found

    # ── no writer ─────────────────────────────────────────────────────────────────────────────────────────────

    def _outside(self) -> tuple[int, list[Finding]]:
        """Count the lines from before there were chains; return the first that cannot be one of those."""
        counted = 0
        for line in self._pages_outside():
            early = not self._lowest_id or line.id < self._lowest_id
            if self._known.chained_only or line.writer or line.number or not early:
                return counted, [Finding("unchained", line.writer, number=0, at=line.at)]
            counted += 1
        return counted, []

    def _pages_outside(self) -> Iterator[Line]:
        after: int | None = None
        while page := self._ledger.unchained(after, PAGE):
            yield from page
            after = page[-1].id


class Present(NamedTuple):
    """Be a writer that is there, and whether there is any line of it."""

    writer: str
    ordinal: int
    has_lines: bool


def census(roster: Roster, there: Sequence[Present]) -> list[Finding]:
    """Compare the writers that are there with the roster.

    Without a line a head proves nothing: where a store writes it apart from the roster, a crash can leave it.
    """
    counted: set[int] = set()
    found: list[Finding] = []
    for one in there:
        if not one.has_lines:
            continue
        if one.ordinal > roster.writers or one.ordinal in counted:
            found.append(Finding("roster_rolled_back", one.writer, one.ordinal))
        elif roster.is_gone(one.ordinal):
            found.append(Finding("stray", one.writer, one.ordinal))
        counted.add(one.ordinal)
    missing = set(roster.expected()).difference(one.ordinal for one in there)
    return found + [Finding("writer_missing", ordinal=ordinal) for ordinal in sorted(missing)]


def _place(finding: Finding) -> Finding:
    return replace(finding, at=None, after=None)
