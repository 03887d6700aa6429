"""Make docs/crashes.md: what the user sees after a crash at every question of every plan of the vault.

The crashes are really made, by tests/simulation/crashes.py. What may not be here: outcomes written by hand.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "tests"))

from simulation.crashes import Case, Crash, table  # the line above says where it is
from simulation.manners import MANNERS  # the same
from simulation.othercrashes import ALL  # the same

INTRO = """
# What a crash leaves behind

Everything the vault does is a plan that asks the world one question at a time
([architecture](architecture.md#plans)), so a crash has only so many places to happen in. Here is each of
them. The plan is dropped at that question, as a crash drops it, once before the question took effect (nothing was
written, nothing was sent) and once after (it was, and nobody heard the answer). Then a new process starts on what the
store holds, and somebody asks for a token.

Where a plan asks a provider nothing, all manners are alike. What is no plan but work of its own (copying a vault,
restoring a backup) is broken off at each of its steps by tests of its own;
[the vault](vault.md) says what is left then.

Nothing is ever deleted by a crash, and nothing keeps others waiting for longer than a lease (45 seconds).

**The one loss that cannot be helped** stands in the first table: a provider that lets a refresh token be used once has
spent it, and the crash swallowed its successor. The vault then says so, `crashed_mid_refresh`, and a person connects
again under the same name. Where the provider forgives, it is asked again and nothing is lost. A grace is over at some
time: who comes later than that finds it strict.
"""

ABOUT = {
    "A refresh": "What the next caller gets.",
    "A refresh with a client secret kept elsewhere": "As above; the secret is looked up after the claim.",
    "Finishing a connect": "Whether the connection is there, and if not, what happens when the page is loaded again.",
    "Finishing a device flow": "Whether the connection is there.",
    "Connecting a machine": "Whether the connection is there, and if not, what happens when it is done again.",
    "Disconnecting": "Whether the connection is there, whether its tokens still work, and what doing it again does.",
    "Bringing home what was spilled": "What the next caller gets, after one more start.",
    "A refresh for another target": "What is got when the target's token and the own are asked for.",
    "A refresh by the schedule": "What the next caller gets, and whether somebody was told.",
    "Beginning a connect": "What a person gets who asks for a link again.",
    "Forgetting a link that has expired": "What is left of it.",
    "Beginning a device flow": "What a person gets who asks for a code again.",
    "Marking as revoked": "Whether the next caller is refused.",
    "Putting news down": "What waits to be told when the schedule has looked once more.",
    "Carrying news": "How often the receiver hears it. It hears it while we wait for its answer.",
    "The daily survey": "When it is done.",
    "Adding an app": "Whether it is there.",
    "Removing an app": "Whether it is gone.",
    "Adding who listens": "Whether it is there.",
    "Removing who listens": "Whether it is gone.",
    "Staging a client secret": "What the next caller gets, and whether the secret stands beside the one in use.",
    "Trying a staged secret": "What the next caller gets, with the secret in use, and whether the trial was written "
    "down. A trial is a refresh, and no safer than one.",
    "Promoting a staged secret": "What the next caller gets, and which of the two is used. Both are held, always.",
    "Rolling back to the previous secret": "The same.",
    "Forgetting a secret": "What the next caller gets, and whether the secret is gone.",
    "Forgetting a secret that has ended": "What the next caller gets, and whether the schedule has forgotten it.",
    "A refresh that turns to the other secret": "What the next caller gets, and which secret is used then. The "
    "provider has ended the old one, and says `invalid_client`.",
    "Beginning to publish": "Whether it is there.",
    "Writing a token where it is published": "How often it was written. It is written while we wait for the answer.",
    "Publishing no more": "Whether it is gone, and with it what stood where programs read.",
    "Publishing no more and leaving what stands": "Whether it is gone.",
    "Sealing a record with a new data key": "Which key the record is under then, and what the next caller gets. The "
    "key itself is made by one write of the keyring.",
}


def render() -> str:
    """Return the page as Markdown."""
    lines = [INTRO.strip(), "", "## The manners", "", "| manner | how it treats refresh tokens |", "|---|---|"]
    lines += [f"| {name} | {manner.about} |" for name, manner in MANNERS.items()]
    for case in ALL:
        lines += ["", f"## {case.name}", "", ABOUT[case.name], "", *_table(case)]
    return "\n".join(lines)


def _table(case: Case) -> Iterator[str]:
    groups = table(case)
    heads = []
    for manners, _ in groups:
        who = "every manner" if len(groups) == 1 else ", ".join(manners)
        heads += [f"before it ({who})", f"after it ({who})"]
    yield "| | crash at the question | " + " | ".join(heads) + " |"
    yield "|---|---|" + "---|" * len(heads)
    columns = [_by_question(seen) for _, seen in groups]
    for k, (question, _, _) in enumerate(columns[0]):
        cells = [cell for column in columns for cell in column[k][1:]]
        yield f"| {k + 1} | {question} | " + " | ".join(cells) + " |"


def _by_question(seen: list[Crash]) -> list[tuple[str, str, str]]:
    return [(one.question, one.seen, other.seen) for one, other in zip(seen[::2], seen[1::2], strict=True)]
