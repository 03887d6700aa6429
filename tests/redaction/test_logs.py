"""Log records without secrets: whatever part of the record they stand in, and whoever formats it."""

from __future__ import annotations

import io
import json
import logging
import sys
import traceback

import pytest
import structlog

from valetkey.redaction import RedactingFilter, guard, install, processor
from valetkey.redaction.logs import MEMBERS
from valetkey.values import Secret


@pytest.fixture
def log():
    """Give a logger that writes all it is told, and what it wrote."""
    logger, written = logging.getLogger(f"test.{id(object())}"), io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(logging.Formatter("test %(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    install(logger)
    return logger, written


def failing(canary):
    raise ValueError(f"cannot send token={canary}")


def test_a_secret_is_masked_in_message_arguments_traceback_and_stack(log, canary):
    logger, written = log
    secret = canary.make("any secret")
    logger.info("it is %s", secret)
    logger.info(f"it is {secret}")  # noqa: G004  # as people write it
    logger.info("%(client_secret)s %(other)d", {"client_secret": "short", "other": 3})
    logger.info("headers %r", {"Authorization": "Bearer short"})
    logger.info(b"body %s", b"refresh_token=short")
    try:
        failing(secret)
    except ValueError:
        logger.exception("failed")
    logger.info("stack", stack_info=True)
    text = written.getvalue()
    canary.assert_absent(text)
    assert "short" not in text
    assert "test it is …" in text
    assert "ValueError: cannot send token=…" in text
    assert "in failing" in text, "the place is still told"


def test_what_does_not_fit_its_arguments_is_masked_too(log, canary, capsys, monkeypatch):
    monkeypatch.setattr(logging, "raiseExceptions", True)
    logger, written = log
    logger.info("only %s", canary.make(), canary.make())  # noqa: PLE1205  # the mistake is meant
    logger.info("%d", canary.make())
    canary.assert_absent(written.getvalue(), capsys.readouterr().err)
    assert written.getvalue().count("…") >= 3


def test_extras_are_masked_by_their_names_and_by_their_looks(canary):
    record = logging.makeLogRecord(
        {"msg": "sent", "password": "short", "header": {"Cookie": "a=b", "n": 1}, "tokens": None, "count": 3,
         "body": canary.make().encode(), "several": [canary.make(), ("x", canary.make())], "held": Secret(canary.make())}
    )  # fmt: skip
    assert RedactingFilter().filter(record)
    canary.assert_absent(repr(vars(record)))
    told = vars(record)
    assert (told["password"], told["tokens"], told["count"], told["header"]) == ("…", None, 3, {"Cookie": "…", "n": 1})
    assert isinstance(told["held"], Secret), "it hides itself"


def test_what_holds_no_secret_keeps_its_arguments_and_its_exception():
    try:
        {}["name"]  # it fails, and says nothing secret
    except KeyError:
        told = sys.exc_info()
    given = {"msg": "%s took %.1f s", "args": ("sb/alice", 0.25), "exc_info": told}
    record = logging.makeLogRecord(given)
    RedactingFilter().filter(record)
    assert (record.msg, record.args, record.exc_info) == (given["msg"], given["args"], told)


def test_a_formatter_that_takes_arguments_apart_finds_as_many(canary):
    # As uvicorn's access log: address, method, path, version, status.
    arguments = ("127.0.0.1:4711", "GET", f"/callback?code={canary.make()}&state=x1y2z3x1", "1.1", 200)
    record = logging.makeLogRecord({"msg": '%s - "%s %s HTTP/%s" %d', "args": arguments})
    RedactingFilter().filter(record)
    assert record.args == ("127.0.0.1:4711", "GET", "/callback?code=…&state=…", "1.1", 200)


def test_one_object_cannot_make_the_work_endless(canary):
    nested: object = canary.make()
    for _ in range(50):
        nested = [nested]
    loop: dict[str, object] = {}
    loop["loop"] = loop
    record = logging.makeLogRecord({"msg": "x", "nested": nested, "loop": loop, "many": list(range(MEMBERS * 10))})
    RedactingFilter().filter(record)
    canary.assert_absent(repr(record.nested))
    assert len(record.many) == MEMBERS


class Odd:
    def __str__(self):
        raise RuntimeError("no")


def test_an_object_that_cannot_be_written_stops_nobody(log):
    logger, written = log
    logger.info("it is %s", Odd(), extra={"odd": Odd()})
    assert "Odd" in written.getvalue()


def test_installing_twice_masks_once_and_reaches_what_is_below(log):
    logger, _ = log
    install(logger)
    assert len(logger.handlers[0].filters) == 1
    child = logging.getLogger("valetkey-test.below")
    guard(["valetkey-test"])
    guard(["valetkey-test"])
    assert [type(one) for one in child.filters] == [RedactingFilter]


def test_structlog_renders_nothing_secret(canary):
    out = io.StringIO()
    logger = structlog.wrap_logger(
        structlog.PrintLogger(out),
        processors=[
            structlog.processors.format_exc_info,
            processor,
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ],
    )
    try:
        failing(canary.make())
    except ValueError:
        logger.exception("failed", client_secret="short", found=canary.make(), attempt=2)
    canary.assert_absent(out.getvalue())
    told = json.loads(out.getvalue())
    assert (told["event"], told["client_secret"], told["found"], told["attempt"]) == ("failed", "…", "…", 2)
    assert "in failing" in told["exception"]


def test_the_exception_itself_is_left_alone(log, canary):
    # Only the record is changed: whoever catches the exception has what was raised.
    raised = []
    try:
        failing(canary.make())
    except ValueError as refusal:
        raised.append(refusal)
        log[0].exception("failed")
    assert canary.found_in("".join(traceback.format_exception(raised[0])))
