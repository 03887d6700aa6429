"""The recovery kit: a key comes back from paper, and a typo is named by its line."""

from __future__ import annotations

import itertools
import random
import re
from datetime import UTC, datetime

import pytest

from valetkey.errors import InvalidInput
from valetkey.vault import kit
from valetkey.vault.keyfile import KeyFile

KEY = KeyFile(bytes(range(32)), "here")
TEXT = kit.written(KEY, b"\1" * 8, datetime(2026, 3, 1, tzinfo=UTC))
LINES = dict(re.findall(r"^  ([1-4])  (\S+)$", TEXT, re.MULTILINE))


def typed(**changes):
    """Return the four lines, some of them changed, as somebody would type them."""
    lines = {**LINES, **{number.removeprefix("l"): line for number, line in changes.items()}}
    return "\n".join(f"{number} {line}" for number, line in lines.items() if line)


def bare(line):
    return line.replace("-", "")


def refused(text):
    with pytest.raises(InvalidInput) as error:
        kit.read(text)
    assert error.value.fix
    return error.value


def test_the_kit_gives_the_key_back():
    assert KeyFile.of_line(kit.read(TEXT).reveal(), "paper").reveal() == KEY.reveal()


def test_the_symbols_are_the_keys_bits_in_order():
    """By hand: 00 01 02 03 04 05 06 07 as 65 bits, five at a time, in Crockford's digits."""
    assert bare(LINES["1"])[:13] == "000820C20A1G7"


def test_the_kit_says_what_it_is_for():
    assert "0101010101010101" in TEXT
    assert KEY.key_id.hex() in TEXT
    assert "2026-03-01" in TEXT
    assert max(map(len, TEXT.splitlines())) <= 120


@pytest.mark.parametrize(
    "sloppy",
    [
        str.lower,
        lambda t: t.replace("-", " "),
        lambda t: t.replace("-", ""),
        lambda t: t.replace("0", "O").replace("1", "I"),
    ],
    ids=["small letters", "blanks", "run together", "letters for digits"],
)
def test_it_may_be_typed_as_people_type(sloppy):
    lines = {f"l{number}": sloppy(line) for number, line in LINES.items()}
    assert KeyFile.of_line(kit.read(typed(**lines)).reveal(), "paper").reveal() == KEY.reveal()


def test_many_keys_come_back():
    luck = random.Random(7)
    for _ in range(200):
        key = KeyFile(luck.randbytes(32), "here")
        text = kit.written(key, luck.randbytes(8), datetime(2026, 3, 1, tzinfo=UTC))
        assert KeyFile.of_line(kit.read(text).reveal(), "paper").reveal() == key.reveal()


def with_symbol(line, index, symbol):
    symbols = list(bare(line))
    symbols[index] = symbol
    return "".join(symbols)


def test_every_single_wrong_symbol_is_located():
    for number, line in LINES.items():
        for index in range(16):
            for symbol in kit.SYMBOLS:
                if symbol == bare(line)[index]:
                    continue
                error = refused(typed(**{f"l{number}": with_symbol(line, index, symbol)}))
                assert error.cause == f"line {number}: symbol {index % 4 + 1} of group {index // 4 + 1} is wrong"


def test_any_two_neighbours_swapped_are_noticed_in_their_line():
    for number, line in LINES.items():
        symbols = bare(line)
        for index in range(15):
            swapped = symbols[:index] + symbols[index + 1] + symbols[index] + symbols[index + 2 :]
            if swapped != symbols:
                assert refused(typed(**{f"l{number}": swapped})).cause.startswith(f"line {number}: ")


def test_three_wrong_symbols_are_noticed():
    luck = random.Random(11)
    for _ in range(500):
        symbols = list(bare(LINES["2"]))
        for index in luck.sample(range(16), 3):
            symbols[index] = luck.choice([s for s in kit.SYMBOLS if s != symbols[index]])
        assert refused(typed(l2="".join(symbols))).cause.startswith("line 2: ")


@pytest.mark.parametrize(("one", "other"), list(itertools.combinations("1234", 2)))
def test_lines_in_each_others_place_are_noticed(one, other):
    error = refused(typed(**{f"l{one}": LINES[other], f"l{other}": LINES[one]}))
    assert f"line {one}: " in error.cause
    assert f"line {other}: " in error.cause


def test_a_missing_line_and_a_short_one_are_named_together():
    error = refused(typed(l2="", l4=LINES["4"][:-1]))
    assert error.cause == "line 2: missing; line 4: 15 symbols instead of 16"


def test_lines_of_two_kits_do_not_make_a_key():
    other = kit.written(KeyFile(b"x" * 32, "there"), b"\1" * 8, datetime(2026, 3, 1, tzinfo=UTC))
    theirs = dict(re.findall(r"^  ([1-4])  (\S+)$", other, re.MULTILINE))
    assert "not of the key" in refused(TEXT.replace(LINES["3"], theirs["3"])).message


def test_no_error_shows_what_was_typed():
    wrong = with_symbol(LINES["1"], 3, "Z" if bare(LINES["1"])[3] != "Z" else "Y")
    error = refused(typed(l1=wrong))
    assert not any(bare(line)[:8] in error.explain() for line in (*LINES.values(), wrong))


def test_nothing_at_all_is_four_missing_lines():
    assert refused("").cause.count("missing") == 4
