"""`valetkey app secret`: the whole way on the command line, and that it shows no secret."""

from __future__ import annotations

import pytest

from clikit import MACHINE_SECRET

pytestmark = pytest.mark.network


def test_a_secret_is_changed_on_the_command_line(inside, robot, canary):
    new = robot.add_secret("sandbox-machine")
    canary.watch("the new secret", new.reveal())
    said = []

    def secret(*words, stdin=""):
        done = inside("app", "secret", *words, stdin=stdin)
        assert done.code == 0, done.err
        said.append(done.out + done.err)
        return done

    secret("stage", "robot", "--secret-stdin", "--expires", "2099-12-31", stdin=new.reveal())
    refused = inside("app", "secret", "promote", "robot", "--json")
    assert refused.error["code"] == "invalid_input"
    secret("trial", "robot", "robot/one")
    secret("promote", "robot", "--old-ends", "2099-01-01")
    shown = secret("show", "robot", "--json").json
    assert shown["in_use"]["fingerprint"] == new.fingerprint()
    assert (shown["other"]["state"], shown["other"]["expires_at"][:10]) == ("previous", "2099-01-01")
    secret("roll-back", "robot")
    assert "staged: client secret" in secret("show", "robot").out
    secret("forget", "robot")
    canary.watch("the old secret", MACHINE_SECRET)
    canary.assert_absent(*said, refused.err)
