"""Files and folders that are nobody else's, and what refuses to be written down."""

from __future__ import annotations

import os
import pickle
import stat
import traceback

import pytest

import valetkey
from valetkey.errors import CallbackRefused, KeyRefused, StoreUnavailable, VaultUnreadable
from valetkey.transport.proxies import Proxy
from valetkey.values import Entry, Request, Response, Secret
from valetkey.vault.connect import Started
from valetkey.vault.keyfile import KeyFile
from valetkey.vault.keyring import Keyring
from valetkey.vault.private import new_file, private_folder, refuse_shared
from valetkey.vault.spill import SpillFolder
from vaultkit import an_app, connect, sandbox_app

posix = pytest.mark.skipif(os.name != "posix", reason="modes and owners are POSIX")


@pytest.fixture
def no_umask():
    before = os.umask(0)
    yield
    os.umask(before)


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@posix
def test_every_folder_that_is_made_is_ours_alone_whatever_the_umask(tmp_path, no_umask):
    private_folder(tmp_path / "a" / "b" / "c")
    assert [mode(tmp_path / part) for part in ("a", "a/b", "a/b/c")] == [0o700] * 3


@posix
def test_a_vault_is_ours_alone_whatever_the_umask(tmp_path, no_umask):
    with valetkey.open(tmp_path / "new" / "vault.db"):
        found = {path.name: mode(path) for path in (tmp_path / "new").iterdir()}
    assert mode(tmp_path / "new") == 0o700
    assert set(found.values()) == {0o600}, found


@posix
@pytest.mark.parametrize("bits", [0o660, 0o606, 0o666])
def test_a_vault_that_others_can_change_is_refused(tmp_path, bits):
    valetkey.open(tmp_path / "vault.db").close()
    (tmp_path / "vault.db").chmod(bits)
    with pytest.raises(VaultUnreadable, match="can be changed by others") as refused:
        valetkey.open(tmp_path / "vault.db")
    assert "chmod 600" in refused.value.fix


@posix
def test_a_file_of_another_user_is_refused(tmp_path, monkeypatch):
    (tmp_path / "vault.db").touch(0o600)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 4321)
    if os.getuid():
        with pytest.raises(VaultUnreadable, match="belongs to another user"):
            refuse_shared(tmp_path / "vault.db")
    else:
        refuse_shared(tmp_path / "vault.db")  # root's own files may be used by all


@posix
def test_nothing_is_made_through_a_link(tmp_path):
    target = tmp_path / "victim"
    (tmp_path / "link").symlink_to(target)
    with pytest.raises(FileExistsError):
        new_file(tmp_path / "link")
    with pytest.raises((StoreUnavailable, VaultUnreadable)):
        valetkey.open(tmp_path / "link")
    assert not target.exists()


@posix
def test_a_spilled_entry_overwrites_nothing_through_a_link(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    folder = SpillFolder(tmp_path / "spill")
    folder.put("connection/a/b", Entry("active", b"box"))
    kept = next((tmp_path / "spill").iterdir())
    kept.unlink()
    kept.symlink_to(victim)
    folder.put("connection/a/b", Entry("active", b"box"))
    assert victim.read_text() == "precious"
    assert folder.get("connection/a/b") == Entry("active", b"box")


UNPICKLABLE = [
    Secret("a secret that is long"),
    KeyFile(bytes(32), "vault.key"),
    Keyring.create(0.0),
    Request("POST", "https://a.test/token", body=b"client_secret=x"),
    Response(200, {}, b"{}"),
    Started("https://a.test/?state=x", "a/b", None),
]


@pytest.mark.parametrize("held", UNPICKLABLE, ids=lambda held: type(held).__name__)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_what_holds_a_secret_is_not_pickled(held, protocol):
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(held, protocol)


def test_a_proxy_is_not_pickled():
    assert Proxy.__reduce__ is Secret.__reduce__


def with_locals(error):
    return "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())


def frames_of_the_vault(error):
    """Return the part of a traceback with locals that is of the vault's room: the caller's frames are the caller's."""
    shown, inside = [], False
    for line in with_locals(error).splitlines():
        if line.startswith("  File "):
            inside = "/valetkey/vault/" in line.replace(os.sep, "/")
        if inside:
            shown.append(line)
    return "\n".join(shown)


def test_a_private_key_that_cannot_be_read_is_in_no_frame(desk, canary):
    for text in (canary.make("pem"), '{"kty":"RSA","d":"' + canary.make("jwk") + '"}', "{" + canary.make("cut")):
        with pytest.raises(KeyRefused) as refused:
            desk.key(an_app(private_key=Secret(text)))
        canary.assert_absent(frames_of_the_vault(refused.value), str(refused.value), repr(refused.value))
        files = [frame.filename for frame in traceback.extract_tb(refused.value.__traceback__)]
        assert not [file for file in files if "/valetkey/jose/" in file.replace(os.sep, "/")], "the frames that read it"


@pytest.mark.network
def test_a_callback_that_is_refused_shows_its_code_in_no_frame(sandbox_vault, canary):
    vault, _sandbox = sandbox_vault
    code = canary.make("code")
    with pytest.raises(CallbackRefused) as refused:
        vault.finish(f"http://127.0.0.1:7777/callback?code={code}&state={'s' * 40}", binding=Secret("b" * 32))
    canary.assert_absent(frames_of_the_vault(refused.value))


@pytest.mark.network
def test_a_callback_cannot_say_where_tokens_may_go(tmp_path):
    import msgspec

    from valetkey.testing import Sandbox
    from valetkey.vault.connect import Wish

    with Sandbox() as sandbox, valetkey.open(tmp_path / "vault.db") as vault:
        app = sandbox_app(sandbox)
        provider = app.described
        wide = msgspec.structs.replace(
            provider,
            answer=msgspec.structs.replace(provider.answer, keep=["api_url"]),
            api=msgspec.structs.replace(provider.api, hosts_from=["api_url"]),
        )
        vault.add_app(msgspec.structs.replace(app, described=wide))
        binding = Secret("b" * 32)
        started = vault.begin("sb/alice", redirect_uri="http://127.0.0.1:7777/callback", binding=binding, wish=Wish())
        vault.finish(sandbox.login(started.url) + "&api_url=https%3A%2F%2Fevil.test", binding=binding)
        assert vault.connection("sb/alice").hosts == tuple(provider.api.hosts)
        connect(vault, sandbox, "sb/bob")
