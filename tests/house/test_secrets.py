"""Secrets are compared in constant time: `hmac.compare_digest`, or two `Secret`s, but never `==` on their strings.

A name whose last word is secret, token, signature … is taken for one. Where it is none, or timing does not matter,
the line says so: `# compared: <reason>`. Comparing with a literal is not an attack: the literal is public.
"""

from __future__ import annotations

import ast
import re

import pytest

SECRET = re.compile(
    r"(?:^|_)(?:secret|token|signature|mac|hmac|digest|hexdigest|password|passphrase|verifier|reveal)$", re.IGNORECASE
)
REASON = re.compile(r"# compared: \S+ \S+")


SAME = {"encode", "decode", "strip", "lower", "upper"}  # methods that leave a secret a secret


def last_name(node: ast.AST) -> str:
    """Return the name an expression ends in: `form["token"]`, `answer.token` and `token.encode()` all end in token."""
    if isinstance(node, ast.Call):
        inner = node.func
        return last_name(inner.value) if isinstance(inner, ast.Attribute) and inner.attr in SAME else last_name(inner)
    if isinstance(node, ast.Subscript):
        key = node.slice
        return key.value if isinstance(key, ast.Constant) and isinstance(key.value, str) else last_name(node.value)
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def is_secret(node: ast.AST) -> bool:
    return bool(SECRET.search(last_name(node)))


def is_literal(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) or (isinstance(node, ast.Tuple) and all(map(is_literal, node.elts)))


def compared(node: ast.AST) -> list[ast.AST]:
    """Return the two sides that a node compares with == or a prefix test."""
    if isinstance(node, ast.Compare) and all(isinstance(op, ast.Eq | ast.NotEq) for op in node.ops):
        return [node.left, *node.comparators]
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
        return [node.func.value, node.args[0]] if node.func.attr in {"startswith", "endswith"} else []
    return []


def careless(source) -> list[str]:
    found = []
    for node in ast.walk(source.tree):
        sides = compared(node)
        if not any(map(is_secret, sides)) or any(map(is_literal, sides)):
            continue
        if not any(REASON.search(source.comments.get(n, "")) for n in range(node.lineno, node.end_lineno + 1)):
            found.append(f"{source.at(node.lineno)}: {ast.unparse(node)}")
    return found


def test_no_secret_is_compared_carelessly(sources, no_offence):
    no_offence([line for source in sources for line in careless(source)])


@pytest.mark.parametrize(
    ("line", "offences"),
    [
        ("client_secret == given", 1),
        ("given != self.access_token", 1),
        ("token.reveal() == other", 1),
        ("form['refresh_token'] == stored", 1),
        ("hashlib.sha256(x).digest() == y", 1),
        ("stored.startswith(signature)", 1),
        ("given == token.encode()", 1),
        ("given == tokens[0].secret", 1),
        ("mac == given  # compared: both are public test values", 0),
        ("mac == given  # compared:", 1),
        ("token == ''", 0),
        ("access_token.startswith('ey')", 0),
        ("token_type == kind", 0),
        ("token.expires_at == moment", 0),
        ("len(secret) == size", 0),
        ("hmac.compare_digest(mac, given)", 0),
    ],
)
def test_a_careless_comparison_is_noticed(snippet, line, offences):
    assert len(careless(snippet(line))) == offences
