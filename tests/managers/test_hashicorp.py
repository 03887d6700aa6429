"""Logging in to a HashiCorp Vault, staying logged in, and what becomes of its refusals."""

from __future__ import annotations

import io
import logging
import socket
import threading

import pytest
import requests
import urllib3

from hashicorp import VaultServer
from valetkey.errors import InsecureUrl, InvalidInput, ManagerRefused, ManagerUnavailable
from valetkey.installing import to_add
from valetkey.managers.hashicorp import HashiCorp, Settings, _no_redirect
from valetkey.values import Secret

pytestmark = pytest.mark.network


def read(path):
    mount, _, key = path.partition("/")
    return lambda client: client.secrets.kv.v2.read_secret_version(
        path=key, mount_point=mount, raise_on_deleted_version=True
    )["data"]["data"]


def write(path, data, cas=None):
    mount, _, key = path.partition("/")
    return lambda client: client.secrets.kv.v2.create_or_update_secret(key, data, cas=cas, mount_point=mount)


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def logins(server: VaultServer) -> int:
    return sum(path.endswith("/login") for _, path in server.seen)


@pytest.fixture
def filled(vault_server):
    vault_server.policy("reader", {"kv/data/google": {"read"}})
    HashiCorp(Settings(vault_server.address, credential=Secret(vault_server.root))).ask(
        write("kv/google", {"client_secret": "s3cr3t"}), "write"
    )
    return vault_server


# ── settings ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_variables_of_vaults_own_tools_are_read():
    told = {"VAULT_ADDR": "https://vault.test", "VAULT_TOKEN": "t", "VAULT_NAMESPACE": "team", "VAULT_CACERT": "/ca"}
    settings = Settings.of(told)
    assert (settings.method, settings.namespace, settings.ca_file) == ("token", "team", "/ca")
    assert settings.read_credential() == Secret("t")


def test_an_address_is_needed():
    with pytest.raises(InvalidInput, match="address"):
        Settings.of({})


@pytest.mark.parametrize("address", ["http://vault.test:8200", "http://10.0.0.1:8200"])
def test_plain_http_is_for_loopback_alone(address):
    with pytest.raises(InsecureUrl):
        Settings.of({"VAULT_ADDR": address})


def test_neither_settings_nor_a_manager_show_what_they_log_in_with(canary):
    told = {"VAULT_ADDR": "https://vault.test", "VAULT_TOKEN": canary.make("token")}
    canary.assert_absent(repr(Settings.of(told)), repr(HashiCorp(Settings.of(told))))


def test_a_token_is_found_where_vaults_command_line_leaves_it(home):
    (home / ".vault-token").write_text("left-by-vault-login\n")
    assert Settings.of({"VAULT_ADDR": "https://vault.test"}).read_credential() == Secret("left-by-vault-login")


def test_a_credential_that_is_not_there_says_how_to_give_it():
    with pytest.raises(ManagerRefused) as caught:
        Settings.of({"VAULT_ADDR": "https://vault.test"}).read_credential()
    assert "VAULT_TOKEN" in caught.value.fix


# ── logging in ───────────────────────────────────────────────────────────────────────────────────────────────────


def approle(server, **role):
    role_id, secret_id = server.logins["approle/"].role("reader", **role)
    return Settings(server.address, method="approle", role=role_id, credential=Secret(secret_id))


def test_a_token_that_was_given_reads_a_secret(reached):
    reached.manager.ask(write(f"{reached.folder}/google", {"client_secret": "s3cr3t"}), "write")
    assert reached.manager.ask(read(f"{reached.folder}/google"), "read") == {"client_secret": "s3cr3t"}


def test_approle_logs_in_once_and_reads(filled):
    manager = HashiCorp(approle(filled))
    for _ in range(3):
        assert manager.ask(read("kv/google"), "read kv/google") == {"client_secret": "s3cr3t"}
    assert logins(filled) == 1


def test_a_kubernetes_service_account_logs_in_with_the_token_as_it_is_then(filled, tmp_path):
    mounted = tmp_path / "token"
    mounted.write_text("the-first-jwt")
    kubernetes = filled.logins["kubernetes/"]
    kubernetes.role("valetkey", "the-first-jwt", "reader", ttl=60)
    clock = Clock()
    told = {"VAULT_ADDR": filled.address, "VAULT_KUBERNETES_ROLE": "valetkey"}
    manager = HashiCorp(Settings.of({**told, "VAULT_KUBERNETES_TOKEN_FILE": str(mounted)}), clock=clock)
    assert manager.ask(read("kv/google"), "read kv/google")
    kubernetes.role("valetkey", "the-second-jwt", "reader", ttl=60)
    mounted.write_text("the-second-jwt\n")
    clock.now += 61
    filled.advance(61)
    assert manager.ask(read("kv/google"), "read kv/google")
    assert logins(filled) == 2


@pytest.mark.parametrize("method", ["approle", "kubernetes"])
def test_a_login_that_is_refused_says_so_and_not_with_what(filled, canary, method):
    secret = canary.make("what we log in with")
    filled.logins["kubernetes/"].role("nobody", "another", "reader")
    settings = Settings(filled.address, method=method, role="nobody", credential=Secret(secret))
    with pytest.raises(ManagerRefused) as caught:
        HashiCorp(settings).ask(read("kv/google"), "read kv/google")
    assert caught.value.code == "manager_refused"
    canary.assert_absent(str(caught.value), caught.value.explain(), repr(caught.value), str(caught.value.to_dict()))


def test_a_login_is_renewed_before_it_ends(filled):
    clock = Clock()
    manager = HashiCorp(approle(filled, ttl=90), clock=clock)
    manager.ask(read("kv/google"), "read")
    for _ in range(5):
        clock.now += 61  # past two thirds, before the end
        filled.advance(61)
        manager.ask(read("kv/google"), "read")
    assert logins(filled) == 1
    assert [path for _, path in filled.seen].count("auth/token/renew-self") == 5


def test_a_login_that_ended_unnoticed_is_made_anew_and_the_question_asked_again(filled):
    clock = Clock()
    manager = HashiCorp(approle(filled), clock=clock)
    manager.ask(read("kv/google"), "read")
    for token in [one for one in filled.tokens if one != filled.root]:
        filled.revoke(token)
    clock.now += 11
    assert manager.ask(read("kv/google"), "read") == {"client_secret": "s3cr3t"}
    assert logins(filled) == 2


def test_what_a_policy_forbids_does_not_lead_to_a_login_for_every_question(filled):
    clock = Clock()
    manager = HashiCorp(approle(filled), clock=clock)
    for _ in range(5):
        with pytest.raises(ManagerRefused, match="does not allow"):
            manager.ask(read("kv/other"), "read kv/other")
    assert logins(filled) == 1
    clock.now += 11
    with pytest.raises(ManagerRefused):
        manager.ask(read("kv/other"), "read kv/other")
    assert logins(filled) == 2


def test_a_token_file_that_was_written_anew_is_read_again(filled, tmp_path):
    file, clock = tmp_path / "sink", Clock()
    file.write_text(filled.token("reader", ttl=60).value)
    manager = HashiCorp(Settings(filled.address, credential_file=file), clock=clock)
    manager.ask(read("kv/google"), "read")
    filled.advance(61)
    clock.now += 61
    file.write_text(filled.token("reader", ttl=60).value)  # as Vault's agent does
    assert manager.ask(read("kv/google"), "read") == {"client_secret": "s3cr3t"}


def test_a_namespace_is_asked_in(filled):
    settings = Settings(filled.address, credential=Secret(filled.root), namespace="team")
    manager = HashiCorp(settings)
    with pytest.raises(ManagerRefused):
        manager.ask(read("kv/google"), "read")
    manager.ask(write("kv/google", {"client_secret": "the team's"}), "write")
    assert manager.ask(read("kv/google"), "read") == {"client_secret": "the team's"}


def test_many_threads_share_one_login(filled):
    manager, failures = HashiCorp(approle(filled)), []

    def ask():
        try:
            for _ in range(5):
                assert manager.ask(read("kv/google"), "read") == {"client_secret": "s3cr3t"}
        except BaseException as failure:  # noqa: BLE001  # told by the main thread
            failures.append(failure)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert logins(filled) == 1


# ── what goes wrong ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [
        (400, ManagerRefused, "manager_refused"),
        (403, ManagerRefused, "manager_refused"),
        (404, ManagerRefused, "manager_secret_missing"),
        (405, ManagerRefused, "manager_refused"),
        (412, ManagerUnavailable, "manager_unavailable"),
        (429, ManagerUnavailable, "manager_throttled"),
        (500, ManagerUnavailable, "manager_unavailable"),
        (502, ManagerUnavailable, "manager_unavailable"),
        (503, ManagerUnavailable, "manager_sealed"),
    ],
)
def test_each_status_is_one_of_our_errors(filled, status, kind, code):
    manager = HashiCorp(Settings(filled.address, credential=Secret(filled.root)))
    manager.ask(read("kv/google"), "read")
    filled.fail_next(status, times=2)
    with pytest.raises(kind) as caught:
        manager.ask(read("kv/google"), "read kv/google")
    assert type(caught.value) is kind
    assert caught.value.code == code
    assert caught.value.evidence["sent"] is False
    assert status == 412 or "read kv/google" in str(caught.value)


@pytest.mark.parametrize("status", [307, 412])
def test_an_answer_that_is_refused_unread_leaves_no_socket_open(status):
    answer = requests.Response()
    answer.status_code, answer.raw = status, urllib3.HTTPResponse(io.BytesIO(b"unread"), preload_content=False)
    answer.headers["Location"] = "https://elsewhere.test"
    with pytest.raises((ManagerRefused, ManagerUnavailable)):
        _no_redirect(answer)
    assert answer.raw.closed


def test_a_sealed_vault_is_weather(filled):
    filled.sealed = True
    with pytest.raises(ManagerUnavailable) as caught:
        HashiCorp(approle(filled)).ask(read("kv/google"), "read")
    assert caught.value.code == "manager_sealed"


def test_a_vault_that_is_not_there_is_weather():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(ManagerUnavailable, match="could not be reached"):
        HashiCorp(Settings(address, credential=Secret("t"))).ask(read("kv/google"), "read")


def test_a_redirect_is_not_followed(filled):
    # requests takes an Authorization header off on the way to another host, and no other.
    manager = HashiCorp(Settings(filled.address, credential=Secret(filled.root)))
    manager.ask(read("kv/google"), "read")
    with VaultServer() as other:
        filled.fail_next(307, headers={"Location": f"{other.address}/v1/kv/data/google"})
        with pytest.raises(ManagerRefused, match="not followed"):
            manager.ask(read("kv/google"), "read")
        assert other.seen == []


def test_what_is_no_vault_is_told_from_one(filled):
    manager = HashiCorp(Settings(filled.address, credential=Secret(filled.root)))
    manager.ask(read("kv/google"), "read")
    filled.fail_next(200, body=b"<html>Sign in</html>", headers={"Content-Type": "text/html"})
    with pytest.raises(ManagerRefused, match="cannot be read"):
        manager.ask(read("kv/google"), "read")


def test_without_the_library_the_error_says_how_to_get_it(filled, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "hvac", None)
    with pytest.raises(InvalidInput) as caught:
        HashiCorp(approle(filled)).ask(read("kv/google"), "read")
    assert caught.value.fix == to_add("hashicorp")


def test_no_log_of_any_library_holds_a_secret(filled, canary, caplog):
    caplog.set_level(logging.DEBUG)
    secret = canary.make("client secret")
    root = HashiCorp(Settings(filled.address, credential=Secret(canary.watch("root token", filled.root))))
    root.ask(write("kv/google", {"client_secret": secret}), "write")
    settings = approle(filled)
    canary.watch("secret id", settings.credential.reveal())
    manager = HashiCorp(settings)
    assert manager.ask(read("kv/google"), "read") == {"client_secret": secret}
    for token in filled.tokens:
        canary.watch("a login's token", token)
    filled.fail_next(500, times=2)
    with pytest.raises(ManagerUnavailable):
        manager.ask(read("kv/google"), "read")
    assert "urllib3" in caplog.text  # it does log, and not what we hide
    canary.assert_absent(caplog.text)
