"""The recovery kit: a vault's key as text that survives on paper, and back, with typos found where they are.

    1  7K3M-9XQ2-W0RD-ABCD     thirteen symbols of the key, three to check them

The 32 bytes of the key are four lines of eight. A symbol has five bits: digits and letters without I, L, O and U, which
are read as 1, 1, 0 and V. The check symbols are a Reed-Solomon code over GF(32) of the line's number and its symbols:
any three wrong symbols of a line are noticed, and one wrong symbol is located. What may not be here: files.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from valetkey.errors import InvalidInput
from valetkey.values import Secret, chunks
from valetkey.vault.keyfile import KeyFile
from valetkey.vault.seal import KEY_BYTES

SYMBOLS: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_READ: Final = {**{symbol: value for value, symbol in enumerate(SYMBOLS)}, "I": 1, "L": 1, "O": 0, "U": 27}

LINES: Final = 4
LINE_BYTES: Final = KEY_BYTES // LINES
DATA: Final = 13  # symbols that hold 64 bits
CHECKS: Final = 3
GROUP: Final = 4

_POWERS: Final = [1]
for _ in range(30):  # x⁵ + x² + 1 is primitive, so the powers of x are all 31 elements but zero
    _doubled = _POWERS[-1] << 1
    _POWERS.append(_doubled ^ 0b100101 if _doubled & 32 else _doubled)
_LOGS: Final = {power: exponent for exponent, power in enumerate(_POWERS)}


def _times(one: int, other: int) -> int:
    return _POWERS[(_LOGS[one] + _LOGS[other]) % 31] if one and other else 0


def _generator() -> list[int]:
    """Return (z - 1)(z - x)(z - x²), the highest coefficient first; in GF(32), minus is plus."""
    polynomial = [1]
    for root in _POWERS[:CHECKS]:
        raised = [*polynomial, 0]
        for index, coefficient in enumerate(polynomial):
            raised[index + 1] ^= _times(coefficient, root)
        polynomial = raised
    return polynomial


_GENERATOR: Final = _generator()


def _checks(message: Sequence[int]) -> list[int]:
    """Return the remainder of the message, shifted, by the generator."""
    left = [*message, *[0] * CHECKS]
    for index in range(len(message)):
        factor = left[index]
        for offset, coefficient in enumerate(_GENERATOR):
            left[index + offset] ^= _times(factor, coefficient)
    return left[-CHECKS:]


def _wrong(word: Sequence[int]) -> int | None:
    """Return -1 for a word without an error, the index of its one wrong symbol, or None where there are more."""
    syndromes = []
    for root in _POWERS[:CHECKS]:
        value = 0
        for symbol in word:
            value = _times(value, root) ^ symbol
        syndromes.append(value)
    if not any(syndromes):
        return -1
    if not all(syndromes):
        return None
    step = (_LOGS[syndromes[1]] - _LOGS[syndromes[0]]) % 31
    if (_LOGS[syndromes[2]] - _LOGS[syndromes[1]]) % 31 != step or step >= len(word):
        return None
    return len(word) - 1 - step


def written(key: KeyFile, vault_id: bytes, made: datetime) -> str:
    """Return the kit as text; it holds the key, so whoever reads it can open the vault."""
    raw = key.reveal()
    lines = [_line(number, raw[(number - 1) * LINE_BYTES : number * LINE_BYTES]) for number in range(1, LINES + 1)]
    return "\n".join(
        (
            "valetkey recovery kit",
            "",
            f"  vault   {vault_id.hex()}",
            f"  key     {key.key_id.hex()}",
            f"  made    {made:%Y-%m-%d}",
            "",
            *(f"  {number}  {line}" for number, line in enumerate(lines, 1)),
            "",
            "Whoever has this and a copy of the vault can use every connection in it. Keep it on paper or in a",
            "password manager, away from the backups.",
            "",
            "When the key file is lost, type or paste the four lines into",
            "  valetkey vault recover --key-file PATH",
            "and put the file where the vault looks for its key. A digit 0 is never a letter O, a 1 never an I or L.",
            "",
        )
    )


def _line(number: int, part: bytes) -> str:
    value = int.from_bytes(part, "big")
    message = [(value >> (5 * (DATA - 1 - index))) & 31 for index in range(DATA)]
    return "-".join(chunks("".join(SYMBOLS[symbol] for symbol in (*message, *_checks([number, *message]))), GROUP))


_TYPED: Final = re.compile(r"^\s*([1-4])\s*[.:)]?\s+([0-9A-Za-z](?:[ -]*[0-9A-Za-z]){3,40})\s*$")
_KEY_ID: Final = re.compile(r"^\s*key\s+([0-9a-f]{16})\s*$")


def read(text: str) -> Secret:
    """Return the key of a kit, as the line of a key file; raises InvalidInput that names the lines to look at."""
    typed: dict[int, str] = {}
    key_id = ""
    for line in text.splitlines():
        found = _TYPED.match(line)
        if found:
            typed[int(found[1])] = re.sub(r"[ -]", "", found[2]).upper()
        elif (named := _KEY_ID.match(line)) is not None:
            key_id = named[1]
    faults, parts = [], []
    for number in range(1, LINES + 1):
        part, fault = _part(number, typed.get(number, ""))
        parts.append(part)
        faults += [f"line {number}: {fault}"] if fault else []
    if faults:
        raise InvalidInput("this is not what the kit says", cause="; ".join(faults), fix="compare with the paper")
    key = KeyFile(b"".join(parts), "the kit")
    if key_id and key.key_id.hex() != key_id:
        raise InvalidInput("the lines are sound, but not of the key that the kit names", fix="use one kit's four lines")
    return Secret(key.line())


def _part(number: int, typed: str) -> tuple[bytes, str]:
    """Return the bytes of a line, and what is wrong with it."""
    if not typed:
        return b"", "missing"
    if len(typed) != DATA + CHECKS:
        return b"", f"{len(typed)} symbols instead of {DATA + CHECKS}"
    word = [_READ[symbol] for symbol in typed]
    wrong = _wrong([number, *word])
    if wrong == -1:
        value = 0
        for symbol in word[:DATA]:
            value = value << 5 | symbol
        return value.to_bytes(LINE_BYTES + 1, "big")[1:], ""
    if wrong is None:
        return b"", "more than one symbol is wrong"
    if wrong == 0:
        return b"", "this looks like another line"
    group, place = divmod(wrong - 1, GROUP)
    return b"", f"symbol {place + 1} of group {group + 1} is wrong"
