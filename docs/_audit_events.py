"""Make docs/audit-events.md from the table of kinds. What may not be here: kinds."""

from __future__ import annotations

from valetkey.audit.kinds import KINDS

INTRO = """
# The events of the audit log

Every kind of event there is; a test holds the code to this table, both ways. What a line holds beside its kind, and
what *noted*, *told* and *counted* promise, stands in [the audit log](audit.md#noted-told-counted). The subject is what
the event happened to: a connection is `app/label`, the vault is `vault`.

The outcome is `ok`, `refused` (somebody or some rule said no), `failed` (it could not be done), or `unknown` (it has
just begun, and what came of it stands in a later line).
"""


def render() -> str:
    """Return the page as Markdown."""
    rows = [f"| `{name}` | {kind.subject} | {kind.how} | {kind.meaning} |" for name, kind in KINDS.items()]
    return "\n".join([INTRO.strip(), "", "| kind | subject | how | meaning |", "|---|---|---|---|", *rows])
