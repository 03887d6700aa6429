"""Where references lead: from real managers, remembered for a while, fetched anew when a provider refuses."""

from __future__ import annotations

import logging
import os
import threading

import pytest

from valetkey.errors import ManagerRefused, ManagerUnavailable, ValetkeyError
from valetkey.managers.aws import Aws
from valetkey.managers.hashicorp import HashiCorp, Settings
from valetkey.managers.kv import Kv
from valetkey.managers.resolver import FAILED_SECONDS, REFETCH_SECONDS, REMEMBERED_SECONDS, Resolver
from valetkey.values import Secret

pytestmark = pytest.mark.network


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def resolver(clock):
    made = Resolver(clock=clock)
    yield made
    made.close()


def revealed(resolver, reference, want="remembered"):
    return resolver.resolve(reference, want).secret.reveal()


# ── files and variables ──────────────────────────────────────────────────────────────────────────────────────────


def test_a_file_is_read_without_its_last_line_end(resolver, tmp_path):
    (tmp_path / "secret").write_text("s3cr3t\r\n")
    assert revealed(resolver, f"file:{tmp_path}/secret") == "s3cr3t"


def test_a_key_in_a_file_keeps_its_lines(resolver, tmp_path):
    (tmp_path / "key").write_text("-----BEGIN X-----\nabc\n-----END X-----\n")
    assert revealed(resolver, f"file:{tmp_path}/key") == "-----BEGIN X-----\nabc\n-----END X-----"


def test_a_variable_is_read(resolver, monkeypatch):
    monkeypatch.setenv("A_SECRET", "s3cr3t")
    assert revealed(resolver, "env:A_SECRET") == "s3cr3t"


def unreadable(tmp_path, kind):
    place = tmp_path / "secret"
    if kind == "folder":
        place.mkdir()
    if kind == "pipe":
        os.mkfifo(place)
    if kind == "empty":
        place.write_text(" \n")
    if kind == "binary":
        place.write_bytes(b"\xff\xfe")
    if kind == "large":
        place.write_bytes(b"x" * (64 * 1024 + 1))
    return f"file:{place}"


@pytest.mark.parametrize("kind", ["missing", "folder", "pipe", "empty", "binary", "large"])
def test_what_holds_no_secret_says_why_and_how_to_mend_it(resolver, tmp_path, kind):
    with pytest.raises(ManagerRefused) as caught:
        resolver.resolve(unreadable(tmp_path, kind))
    assert caught.value.cause
    assert caught.value.fix


def test_a_variable_that_is_not_set_is_missing(resolver):
    with pytest.raises(ManagerRefused) as caught:
        resolver.resolve("env:NOBODY_SET_IT")
    assert caught.value.code == "manager_secret_missing"


# ── HashiCorp Vault ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def vault(reached, clock):
    made = Resolver(
        hashicorp=lambda: HashiCorp(Settings(reached.address, credential=Secret(reached.token))), clock=clock
    )
    made.folder = reached.folder
    made.write = Kv(reached.manager).write
    yield made
    made.close()


def test_a_field_of_a_vaults_secret_is_found(vault):
    vault.write(f"{vault.folder}/google", {"client_secret": "s3cr3t", "other": "x"}, "write")
    assert revealed(vault, f"vault:{vault.folder}/google#client_secret") == "s3cr3t"


def test_a_field_that_is_not_there_names_those_that_are(vault, canary):
    vault.write(f"{vault.folder}/google", {"client_id": canary.make(), "client_secret": canary.make()}, "write")
    with pytest.raises(ManagerRefused) as caught:
        vault.resolve(f"vault:{vault.folder}/google#secret")
    assert "client_id, client_secret" in caught.value.cause
    canary.assert_absent(caught.value.explain())


def test_a_path_that_is_not_there_is_missing(vault):
    with pytest.raises(ManagerRefused) as caught:
        vault.resolve(f"vault:{vault.folder}/nowhere#secret")
    assert caught.value.code == "manager_secret_missing"


def test_a_mount_with_a_slash_in_its_name_is_found(vault_server):
    from hashicorp.kv import KvV2

    vault_server.mounts["", "team/kv/"] = KvV2()
    manager = HashiCorp(Settings(vault_server.address, credential=Secret(vault_server.root)))
    assert Kv(manager).split("team/kv/apps/google") == ("team/kv", "apps/google")


def test_where_we_may_not_ask_for_mounts_the_first_part_is_the_mount(vault_server):
    vault_server.policy("narrow", {"secret/data/google": {"read"}})
    token = vault_server.token("narrow")
    manager = HashiCorp(Settings(vault_server.address, credential=Secret(token.value)))
    vault_server.fail_next(200, body={"data": {"ttl": 0}})  # the look at the token
    vault_server.fail_next(403)
    assert Kv(manager).split("secret/google") == ("secret", "google")


def test_an_engine_of_version_1_is_refused_with_what_to_do(vault_server):
    vault_server.mounts["", "kv/"].version = "1"
    manager = HashiCorp(Settings(vault_server.address, credential=Secret(vault_server.root)))
    with pytest.raises(ManagerRefused) as caught:
        Kv(manager).split("kv/google")
    assert "-version=2" in caught.value.fix


# ── AWS ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def aws(aws_endpoint):
    made = Aws()

    def put(name, text):
        def work(client):
            try:
                client.put_secret_value(SecretId=name, SecretString=text)
            except client.exceptions.ResourceNotFoundException:
                client.create_secret(Name=name, SecretString=text)

        made.ask("secretsmanager", work, "write")

    made.put = put
    yield made
    made.close()


def test_a_secret_of_aws_is_found_whole_or_by_its_field(resolver, aws):
    aws.put("plain", "s3cr3t")
    aws.put("prod/google", '{"client_secret": "in a field"}')
    assert revealed(resolver, "aws-sm:plain") == "s3cr3t"
    assert revealed(resolver, "aws-sm:prod/google#client_secret") == "in a field"


def test_a_field_of_a_plain_text_is_refused(resolver, aws):
    aws.put("plain", "s3cr3t")
    with pytest.raises(ManagerRefused) as caught:
        resolver.resolve("aws-sm:plain#field")
    assert "#FIELD" in caught.value.fix
    assert "s3cr3t" not in caught.value.explain()


def test_a_binary_secret_is_refused(resolver, aws):
    aws.ask("secretsmanager", lambda client: client.create_secret(Name="bin", SecretBinary=b"\0\1"), "make")
    with pytest.raises(ManagerRefused, match="no text"):
        resolver.resolve("aws-sm:bin")


def test_during_a_rotation_the_secret_before_is_there_too(resolver, aws):
    aws.put("google", "old")
    aws.put("google", "new")
    assert revealed(resolver, "aws-sm:google") == "new"
    assert revealed(resolver, "aws-sm:google", "previous") == "old"


def test_without_a_rotation_there_is_no_secret_before(resolver, aws):
    aws.put("google", "only")
    with pytest.raises(ManagerRefused) as caught:
        resolver.resolve("aws-sm:google", "previous")
    assert caught.value.code == "manager_secret_missing"


# ── remembering ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def rotating(resolver, tmp_path):
    file = tmp_path / "secret"
    file.write_text("first")
    return f"file:{file}", file


def test_a_rotated_secret_takes_effect_within_the_time_that_is_named(resolver, clock, rotating):
    reference, file = rotating
    assert resolver.resolve(reference).fetched
    file.write_text("second")
    clock.now += REMEMBERED_SECONDS - 0.001
    assert revealed(resolver, reference) == "first"
    assert not resolver.resolve(reference).fetched
    clock.now += 0.001
    assert revealed(resolver, reference) == "second"


def test_a_refused_secret_is_fetched_anew_once_and_then_not_for_a_while(resolver, clock, rotating):
    reference, file = rotating
    resolver.resolve(reference)
    clock.now += REFETCH_SECONDS
    file.write_text("second")
    assert revealed(resolver, reference, "fresh") == "second"
    file.write_text("third")
    clock.now += REFETCH_SECONDS - 0.001
    assert revealed(resolver, reference, "fresh") == "second"
    clock.now += 0.001
    assert revealed(resolver, reference, "fresh") == "third"


def test_what_was_fetched_anew_is_what_is_remembered(resolver, clock, rotating):
    reference, file = rotating
    resolver.resolve(reference)
    clock.now += REFETCH_SECONDS
    file.write_text("second")
    resolver.resolve(reference, "fresh")
    assert revealed(resolver, reference) == "second"


def test_a_manager_that_is_down_is_asked_once_in_a_while_however_many_want_to_know(vault_server, clock):
    manager = lambda: HashiCorp(Settings(vault_server.address, credential=Secret(vault_server.root)))  # noqa: E731  # made again and again
    resolver = Resolver(hashicorp=manager, clock=clock)
    vault_server.sealed = True
    for _ in range(5):
        with pytest.raises(ManagerUnavailable):
            resolver.resolve("vault:kv/google#secret")
    asked = len(vault_server.seen)
    assert asked <= 2
    vault_server.sealed = False
    Kv(manager()).write("kv/google", {"secret": "s3cr3t"}, "write")
    clock.now += FAILED_SECONDS
    assert revealed(resolver, "vault:kv/google#secret") == "s3cr3t"


def test_of_many_threads_one_fetches(vault_server):
    manager = HashiCorp(Settings(vault_server.address, credential=Secret(vault_server.root)))
    Kv(manager).write("kv/google", {"secret": "s3cr3t"}, "write")
    resolver, found, begin = Resolver(hashicorp=lambda: manager), [], threading.Barrier(8)
    vault_server.seen.clear()

    def ask():
        begin.wait()
        found.append(resolver.resolve("vault:kv/google#secret").fetched)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [False] * 7 + [True]
    assert [path for _, path in vault_server.seen].count("kv/data/google") == 1


def test_no_secret_is_in_a_log_or_an_error(vault, resolver, aws, canary, caplog):
    caplog.set_level(logging.DEBUG)
    vault.write(f"{vault.folder}/google", {"client_secret": canary.make("of vault")}, "write")
    aws.put("google", canary.make("of aws"))
    resolver.resolve("aws-sm:google")
    vault.resolve(f"vault:{vault.folder}/google#client_secret")
    told = []
    for bad in ("aws-sm:google#x", "aws-sm:nowhere"):
        with pytest.raises(ValetkeyError) as caught:
            resolver.resolve(bad)
        told.append(caught.value.explain() + repr(caught.value))
    canary.watch("the key to AWS", os.environ["AWS_SECRET_ACCESS_KEY"])
    canary.assert_absent(caplog.text, *told, repr(resolver), repr(vault))


def test_a_program_that_asks_aws_itself_sees_its_own_debug_log(resolver, aws, caplog):
    import boto3

    aws.put("google", "s3cr3t")
    caplog.set_level(logging.DEBUG)
    resolver.resolve("aws-sm:google")
    assert "DEBUG    botocore" not in caplog.text
    boto3.client("secretsmanager").list_secrets()
    assert "DEBUG    botocore" in caplog.text
