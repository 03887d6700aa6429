"""Write docs/providers.md from the catalogue and the schema.

`render()` returns the page, without the line that docs/generate.py puts on top. What may not be here:
facts about a provider, which stand in its file.
"""

from __future__ import annotations

import ast
import inspect
import re
import tokenize
from collections import Counter
from io import StringIO
from typing import Any

from valetkey.providers import Provider, keys, load, schema
from valetkey.providers.facts import leaves, source_of

SURENESS = ("documented", "observed", "reported", "inferred")
ALIAS = re.compile(r"\b(?:TokenAuth|GrantName)\b")
TABLES = ("Provider", "Endpoints", "Asking", "Answer", "Refresh", "Api", "Parameter", "Source")

INTRODUCTION = """\
# Providers

A provider is one TOML file that says how an authorization server behaves: its URLs, how it wants to be asked, how
its answers read, and what becomes of its refresh tokens. It holds no secret and no code. The files are in
`src/valetkey/providers/catalogue/`.

`valetkey provider list` shows them on the command line, `valetkey provider show NAME` one of them with its sources.
"""

READING = """\
*Client* is how the app proves itself at the token endpoint. *Refresh token* says whether a refresh brings a new one,
what becomes of the old one, and when it dies by itself; a vault believes what answers teach it before it believes
this table. *Sure* counts the facts of the file by how they are known.
"""

SURE = """\
## How sure a fact is

Every value that is not a default, and every note, names where it was read and on which day.

| word | meaning |
|---|---|
| documented | the provider's own documentation or discovery document says so; it may have been read as a stored copy |
| observed | seen in answers of the live provider |
| reported | others say so: a product that works this way, an issue, an article |
| inferred | it follows from something else, or is remembered; check it before you rely on it |

Nothing in the catalogue is *observed* so far: the facts were read, not tried. `unknown` is an honest value, and the
default wherever a file says nothing.
"""

ADDING = """\
## How to add a provider

1. For one app, take `generic` and override what differs; nothing needs to be written to a file. Overrides are dotted
   paths: `endpoints.token`, `asking.token_auth`, `api.hosts`.
2. For several, write `NAME.toml` into a folder of yours. The smallest file is:

   ```toml
   key = "acme"
   name = "Acme"

   [endpoints]
   authorize = "https://login.acme.example/authorize"
   token = "https://login.acme.example/token"

   [api]
   hosts = ["api.acme.example"]
   ```

3. For everybody, put it into the catalogue: give every value that is not a default a `[[sources]]` entry, add the
   provider to the tables of `tests/providers/`, run `make docs`, and run the tests. Write in your own words, and take
   no entries from other catalogues; facts may be taken, with their source.

A file is refused, with the path of the wrong member, when it has an unknown member, an endpoint that is not https
(loopback excepted), a host pattern such as `*.com`, a template without its parameter, or a source that speaks of a
member that does not exist.

**Parameters** fill `{braces}`. A value must match its pattern as a whole, and inside a URL or host it may hold only
letters, digits and `. _ ~ -`, whatever its pattern allows: it cannot bring a path, a query, a port or another host.
A parameter without a default must be given. A pattern is one that cannot take long to match: characters and classes,
each with a repeat or none (at most three of an open number), and `|` between alternatives; no groups.

**Hosts** bind a connection's tokens: `api.example.com` is that host alone, `*.example.com` every host below it (not
itself), `host:port` one port. A wildcard must not cover hosts of strangers.

## All members
"""


def render() -> str:
    """Return docs/providers.md."""
    providers = [load(key) for key in keys()]
    parts = [INTRODUCTION, *_overview(providers), READING, *_notes(providers), SURE, ADDING, *_members()]
    return "\n".join(parts).rstrip() + "\n"


def _overview(providers: list[Provider]) -> list[str]:
    rows = ["## What is in the catalogue", "", "| key | name | grants | client | refresh token | parameters | sure |"]
    rows.append("|---|---|---|---|---|---|---|")
    for provider in providers:
        grants = ", ".join(grant.replace("_", " ") for grant in provider.grants)
        parameters = ", ".join(_parameter(name, given.default) for name, given in provider.parameters.items())
        cells = (f"[`{provider.key}`](#{provider.key})", provider.name, grants, _client(provider), _refresh(provider))
        rows.append("| " + " | ".join((*cells, parameters or "none", _sure(provider))) + " |")
    return [*rows, ""]


def _parameter(name: str, default: str) -> str:
    return f"`{name}` ({default})" if default else f"`{name}`"


def _client(provider: Provider) -> str:
    pkce = "" if provider.asking.pkce == "S256" or "authorization_code" not in provider.grants else ", no PKCE"
    return f"`{provider.asking.token_auth}`{pkce}"


def _refresh(provider: Provider) -> str:
    refresh = provider.refresh
    if not refresh.available:
        return "none is given"
    said = {"always": "rotates", "never": "stays the same", "sometimes": "rotates if the app says so"}
    words = [said.get(refresh.rotates, "not known to rotate")]
    if refresh.rotates in {"always", "sometimes"}:
        old = {"dies": "old one dies", "stays": "old one stays good", "grace": f"old one has {refresh.grace_seconds} s"}
        words += [old[refresh.old_token]] if refresh.old_token in old else []
    words += ["reuse revokes all"] if refresh.reuse == "revokes_family" else []
    words += [f"dies after {refresh.idle_days} days unused"] if refresh.idle_days else []
    words += [f"ends {refresh.absolute_days} days after consent"] if refresh.absolute_days else []
    return "; ".join(words)


def _sure(provider: Provider) -> str:
    sources = (source_of(provider, path) for path in leaves(provider))
    counts: Counter[str] = Counter(source.sure for source in sources if source)
    return ", ".join(f"{counts[word]} {word}" for word in SURENESS if counts[word])


def _notes(providers: list[Provider]) -> list[str]:
    lines = ["## What to know about each", ""]
    for provider in providers:
        lines += [f"### {provider.key}", ""]
        pages = [f"[documentation]({provider.docs})"] + [f"[console]({provider.console})"] * bool(provider.console)
        lines += [f"{provider.name}: {', '.join(pages)}.", ""]
        for place, note in enumerate(provider.notes):
            source = source_of(provider, f"notes.{place}")
            lines.append(f"- {note} *({source.sure if source else 'no source'})*")
        lines.append("")
    return lines


def _members() -> list[str]:
    lines: list[str] = []
    for name in TABLES:
        kind: Any = getattr(schema, name)
        title = "(top level)" if name == "Provider" else f"`[{name.lower()}]`"
        title = {"Parameter": "`[parameters.NAME]`", "Source": "`[[sources]]`"}.get(name, title)
        lines += [f"### {title}", "", f"{(inspect.getdoc(kind) or '').splitlines()[0]}", ""]
        lines += ["| member | values | default | meaning |", "|---|---|---|---|"]
        lines += _rows(inspect.getsource(kind))
        lines.append("")
    return lines


def _rows(source: str) -> list[str]:
    comments = {
        token.start[0]: token.string.removeprefix("#").strip()
        for token in tokenize.generate_tokens(StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    body = ast.parse(source).body[0]
    fields = [node for node in getattr(body, "body", []) if isinstance(node, ast.AnnAssign)]
    return [_row(node, comments.get(node.end_lineno or 0, "")) for node in fields]


def _row(node: ast.AnnAssign, comment: str) -> str:
    values = ALIAS.sub(lambda name: repr(getattr(schema, name[0])), ast.unparse(node.annotation))
    values = values.replace("typing.", "")
    values = values.replace("'", '"')
    default = ast.unparse(node.value).replace("'", '"') if node.value else "must be given"
    if "default_factory" in default:
        default = default.partition("lambda: ")[2].rstrip(")")
    cells = (f"`{ast.unparse(node.target)}`", f"`{values}`", f"`{default}`" if node.value else default, comment)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
