"""Which bodies can be sent a second time."""

from __future__ import annotations

import io
import os

from valetkey.inject.replay import bookmark


def test_files_go_back_to_where_each_of_them_stood():
    one, two = io.BytesIO(b"0123456789"), io.BytesIO(b"abcdef")
    one.seek(3)
    rewind = bookmark([one, two])
    assert (one.read(), two.read()) == (b"3456789", b"abcdef")
    assert rewind()
    assert (one.read(), two.read()) == (b"3456789", b"abcdef")


def test_what_is_no_file_cannot_be_wound_back():
    assert bookmark([iter([b"a"])]) is None
    assert bookmark([io.BytesIO(), None]) is None


def test_a_pipe_cannot_be_wound_back():
    out, into = os.pipe()
    with open(out, "rb") as reading, open(into, "wb"):  # noqa: PTH123  # a pipe has no path
        assert bookmark([reading]) is None


def test_a_closed_file_cannot_be_wound_back():
    file = io.BytesIO()
    file.close()
    assert bookmark([file]) is None


def test_a_file_closed_while_it_was_sent_is_noticed():
    file = io.BytesIO(b"body")
    rewind = bookmark([file])
    file.close()
    assert not rewind()
