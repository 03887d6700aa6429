"""Publishing tokens: to a file, a Vault and AWS; kept up to date, taken away, never in the way of a renewal."""

from __future__ import annotations

import json
import logging
import os
import stat
import threading
from datetime import datetime, timedelta

import pytest

import valetkey
from valetkey.errors import AlreadyExists, InvalidInput, ManagerUnavailable, NotFound
from valetkey.managers.aws import Aws
from valetkey.managers.hashicorp import HashiCorp, Settings
from valetkey.managers.kv import Kv
from valetkey.testing import Sandbox
from valetkey.values import Secret
from valetkey.vault import names
from vaultkit import connect, expire, sandbox_app

pytestmark = pytest.mark.network


@pytest.fixture
def publisher(sandbox_vault):
    return sandbox_vault[0].publisher()


@pytest.fixture
def place(tmp_path):
    folder = tmp_path / "published"
    folder.mkdir()
    return folder / "token"


def pass_time(vault, seconds):
    """Let a vault's clock be ahead, so that what is due later is due now."""
    world = vault._world
    before = world.clock
    world.clock = lambda: before() + timedelta(seconds=seconds)
    world._answers[next(kind for kind in world._answers if kind.__name__ == "Now")] = lambda _: world.clock()


def events(vault):
    return [(line.kind, line.outcome) for line in vault.events(100)]


def test_a_file_holds_the_token_and_its_end_for_its_owner_alone(sandbox_vault, publisher, place):
    vault, _ = sandbox_vault
    before = os.umask(0)
    try:
        publisher.add("sb/alice", f"file:{place}")
    finally:
        os.umask(before)
    told = json.loads(place.read_text())
    token = vault.token("sb/alice")
    assert told["access_token"] == token.reveal()
    assert datetime.fromisoformat(told["expires_at"]) == token.expires_at.replace(microsecond=0)
    assert told["token_type"] == "Bearer"
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    assert ("token.published", "ok") in events(vault)


def test_a_bare_token_is_a_token_and_nothing_else(sandbox_vault, publisher, place):
    publisher.add("sb/alice", f"file:{place}", form="token")
    assert place.read_text() == sandbox_vault[0].token("sb/alice").reveal()


def test_a_renewed_token_is_published_in_the_same_round(sandbox_vault, publisher, place):
    vault, _ = sandbox_vault
    publisher.add("sb/alice", f"file:{place}", form="token")
    old = place.read_text()
    expire(vault, "sb/alice")
    tally = vault.keep(once=True)
    assert tally.counts["renewed"] == tally.counts["published"] == 1
    assert place.read_text() == vault.token("sb/alice").reveal() != old


def test_what_somebody_else_renewed_is_published_within_a_minute(sandbox_vault, publisher, place):
    vault, _ = sandbox_vault
    publisher.add("sb/alice", f"file:{place}", form="token")
    renewed = vault.refresh("sb/alice")
    pass_time(vault, 59)
    vault.keep(once=True)
    assert place.read_text() != renewed.reveal()
    pass_time(vault, 2)
    vault.keep(once=True)
    assert place.read_text() == renewed.reveal()


def test_a_reader_never_sees_half_a_file(sandbox_vault, publisher, place):
    publisher.add("sb/alice", f"file:{place}")
    stop, bad = threading.Event(), []

    def read():
        while not stop.is_set():
            try:
                json.loads(place.read_text())
            except ValueError as half:
                bad.append(half)

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(30):
        publisher.write(publisher.records("sb/alice")[0], again=True)
    stop.set()
    reader.join()
    assert not bad
    assert [one.name for one in place.parent.iterdir()] == ["token"]


@pytest.mark.parametrize("end", ["disconnect", "rm"])
def test_what_was_published_is_taken_away_when_it_ends(sandbox_vault, publisher, place, end):
    vault, _ = sandbox_vault
    publisher.add("sb/alice", f"file:{place}")
    if end == "rm":
        publisher.remove("sb/alice", f"file:{place}")
        assert events(vault)[-2:] == [("publish.removed", "ok"), ("token.unpublished", "ok")]
    else:
        vault.disconnect("sb/alice")
        pass_time(vault, 61)
        vault.keep(once=True)
        assert ("token.unpublished", "ok") in events(vault)
    assert not place.exists()


def test_a_target_that_is_down_hinders_no_renewal_and_is_tried_again(sandbox_vault, publisher, place):
    vault, _ = sandbox_vault
    publisher.add("sb/alice", f"file:{place}", form="token")
    place.unlink()
    place.parent.rmdir()
    expire(vault, "sb/alice")
    tally = vault.keep(once=True)
    assert tally.counts["renewed"] == tally.counts["unpublished"] == 1
    (told,) = publisher.publications()
    assert (told.failures, told.error) == (1, "manager_unavailable")
    assert vault.connection("sb/alice").trouble is None
    place.parent.mkdir()
    pass_time(vault, 6)
    vault.keep(once=True)
    assert place.read_text() == vault.token("sb/alice").reveal()
    assert publisher.publications()[0].failures == 0


def test_a_target_that_cannot_be_written_is_not_kept(publisher, tmp_path):
    with pytest.raises(ManagerUnavailable):
        publisher.add("sb/alice", f"file:{tmp_path}/nowhere/token")
    assert publisher.publications() == []


def test_a_token_that_could_not_be_taken_away_leaves_a_line(sandbox_vault, publisher, place):
    vault, _ = sandbox_vault
    publisher.add("sb/alice", f"file:{place}")
    place.unlink()
    place.mkdir()
    with pytest.raises(ManagerUnavailable):
        publisher.remove("sb/alice", f"file:{place}")
    assert events(vault)[-1] == ("token.unpublished", "failed")
    (told,) = publisher.publications()
    assert (told.ending, told.error) == (True, "manager_unavailable")
    vault.refresh("sb/alice")
    place.rmdir()
    place.write_text("what could not be taken away")
    pass_time(vault, 6)
    vault.keep(once=True)
    assert not place.exists(), "it is taken away, and no new token is published meanwhile"
    assert publisher.publications() == []
    assert [kind for kind, _ in events(vault)].count("publish.removed") == 1


def test_what_is_being_taken_away_goes_with_the_same_command_and_stays_where_it_is_to_be_left(publisher, place):
    target = f"file:{place}"
    for leave in (False, True):
        publisher.add("sb/alice", target)
        written = place.read_text()
        place.unlink()
        place.mkdir()
        with pytest.raises(ManagerUnavailable):
            publisher.remove("sb/alice", target)
        with pytest.raises(AlreadyExists) as caught:
            publisher.add("sb/alice", target)
        assert "publish rm" in caught.value.fix
        place.rmdir()
        place.write_text(written)
        publisher.remove("sb/alice", target, leave=leave)
        assert place.exists() is leave
        assert publisher.publications() == []


def test_a_token_that_is_written_while_somebody_takes_it_away_does_not_stay(sandbox_vault, publisher, place):
    vault, _ = sandbox_vault
    target, references = f"file:{place}", vault._world.references
    publisher.add("sb/alice", target)
    real = references.write

    def late(where, fields, text):
        references.write = real
        publisher.remove("sb/alice", target)
        assert not place.exists()
        real(where, fields, text)  # a slow writer, who had begun before

    references.write = late
    publisher.write(publisher.records("sb/alice")[0], again=True)
    assert not place.exists()


@pytest.mark.parametrize("target", ["env:TOKEN", "vault:kv/x#field", "token", "file:here", "aws-sm:", "vault:kv"])
def test_where_nothing_can_be_written_is_refused(publisher, target):
    with pytest.raises(InvalidInput):
        publisher.add("sb/alice", target)


def test_twice_to_one_place_and_from_nowhere_is_refused(publisher, place):
    publisher.add("sb/alice", f"file:{place}")
    with pytest.raises(AlreadyExists):
        publisher.add("sb/alice", f"file:{place}")
    with pytest.raises(NotFound):
        publisher.add("sb/nobody", f"file:{place}.other")
    with pytest.raises(NotFound):
        publisher.remove("sb/alice", "file:/elsewhere")


# ── secret managers ──────────────────────────────────────────────────────────────────────────────────────────────


def test_a_vaults_secret_holds_the_token_and_is_blanked(sandbox_vault, publisher, reached, monkeypatch):
    vault, _ = sandbox_vault
    monkeypatch.setenv("VAULT_ADDR", reached.address)
    monkeypatch.setenv("VAULT_TOKEN", reached.token)
    path = f"{reached.folder}/alice"
    publisher.add("sb/alice", f"vault:{path}")
    held = Kv(reached.manager).read(path, "read")
    assert (held["access_token"], held["token_type"]) == (vault.token("sb/alice").reveal(), "Bearer")
    publisher.remove("sb/alice", f"vault:{path}")
    assert Kv(reached.manager).read(path, "read") == {"access_token": ""}


def aws_value(name):
    aws = Aws()
    try:
        return aws.ask("secretsmanager", lambda client: client.get_secret_value(SecretId=name)["SecretString"], "read")
    finally:
        aws.close()


def test_aws_holds_the_token_is_written_every_ten_minutes_at_most_and_blanked(sandbox_vault, publisher, aws_endpoint):
    vault, _ = sandbox_vault
    publisher.add("sb/alice", "aws-sm:alice")
    assert json.loads(aws_value("alice"))["access_token"] == vault.token("sb/alice").reveal()
    first = aws_value("alice")
    renewed = vault.refresh("sb/alice")
    pass_time(vault, 300)
    vault.keep(once=True)
    assert aws_value("alice") == first, "AWS asks not to write more often than every ten minutes"
    publisher.write(publisher.records()[0], again=True)
    assert json.loads(aws_value("alice"))["access_token"] == renewed.reveal()
    publisher.remove("sb/alice", "aws-sm:alice")
    assert aws_value("alice") == "{}"


def test_tokens_that_live_too_short_for_aws_are_refused_with_what_to_use_instead(tmp_path, aws_endpoint):
    with Sandbox(access_lifetime=599) as sandbox, valetkey.open(tmp_path / "short.db") as vault:
        vault.add_app(sandbox_app(sandbox))
        connect(vault, sandbox, "sb/alice")
        with pytest.raises(InvalidInput, match="599 seconds") as caught:
            vault.publisher().add("sb/alice", "aws-sm:alice")
        assert "file" in caught.value.fix
        assert vault._world.store.names(names.PUBLISHED, "", 1) == []


def test_a_sealed_vault_delays_nothing_but_the_publication(sandbox_vault, publisher, vault_server, monkeypatch):
    vault, _ = sandbox_vault
    monkeypatch.setenv("VAULT_ADDR", vault_server.address)
    monkeypatch.setenv("VAULT_TOKEN", vault_server.root)
    publisher.add("sb/alice", "vault:kv/alice")
    vault_server.sealed = True
    expire(vault, "sb/alice")
    assert vault.keep(once=True).counts["renewed"] == 1
    assert publisher.publications()[0].error == "manager_sealed"
    vault_server.sealed = False
    pass_time(vault, 6)
    vault.keep(once=True)
    manager = HashiCorp(Settings(vault_server.address, credential=Secret(vault_server.root)))
    assert Kv(manager).read("kv/alice", "read")["access_token"] == vault.token("sb/alice").reveal()
    manager.close()


@pytest.mark.usefixtures("aws_endpoint")
def test_no_token_is_in_a_log_a_name_or_an_error(sandbox_vault, place, canary, caplog, tmp_path):
    vault, _ = sandbox_vault
    publisher = vault.publisher()
    caplog.set_level(logging.DEBUG)
    canary.watch("access token", vault.token("sb/alice").reveal())
    publisher.add("sb/alice", "aws-sm:alice")
    publisher.add("sb/alice", f"file:{place}")
    told = [
        repr(publisher.publications()),
        repr(publisher.write(publisher.records()[0], again=True)),
        str(events(vault)),
    ]
    canary.assert_absent(caplog.text, *told, tmp_path / "vault.db")
