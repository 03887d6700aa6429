"""What goes wrong: each mistake has its exit code, its code, a message and a fix, and leaves nothing half-written."""

from __future__ import annotations

import os
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from clikit import SECONDS, WEB_SECRET

FULL = Path("/dev/full")
ADD = ("app", "add", "acme", "--client-id", "me", "--public")
URLS = ("--token-url", "https://acme.example/token", "--authorize-url", "https://acme.example/authorize")


@pytest.mark.parametrize(
    ("words", "exit_code", "code"),
    [
        # no vault, or none that can be read
        (["app", "list"], 7, "vault_missing"),
        (["token", "google/alice"], 7, "vault_missing"),
        (["token", "google/alice", "--vault", "{text}"], 7, "vault_unreadable"),
        (["connection", "list", "--vault", "{folder}"], 7, "vault_unreadable"),
        ([*ADD, *URLS, "--vault", "{text}/inside.db"], 7, "vault_unreadable"),
        (["connection", "list", "--vault", "{vault}", "--key-file", "{other key}"], 7, "wrong_key"),
        (["token", "acme/me", "--vault", "{vault}", "--key-file", "{other key}"], 7, "wrong_key"),
        (["connection", "list", "--vault", "{vault}", "--key-file", "{text}"], 7, "vault_unreadable"),
        (["connection", "list", "--vault", "{vault}", "--key-file", "{folder}/no.key"], 7, "key_missing"),
        # nothing of this name
        (["provider", "show", "gogle"], 3, "not_found"),
        (["app", "add", "x", "gogle", "--client-id", "me"], 3, "not_found"),
        (["app", "show", "nobody", "--vault", "{vault}"], 3, "not_found"),
        (["connect", "nobody/x", "--vault", "{vault}"], 3, "not_found"),
        (["token", "acme/nobody", "--vault", "{vault}"], 3, "not_found"),
        (["connection", "rm", "acme/nobody", "--vault", "{vault}"], 3, "not_found"),
        # names and URLs that are none
        (["token", "no-slash", "--vault", "{vault}"], 2, "invalid_input"),
        (["app", "add", "UPPER", "google", "--client-id", "me", "--public"], 2, "invalid_input"),
        ([*ADD, "--token-url", "http://acme.example/token"], 2, "insecure_url"),
        ([*ADD, "--token-url", "acme.example"], 2, "invalid_input"),
        ([*ADD, *URLS, "--redirect-uri", "http://acme.example/callback"], 2, "insecure_url"),
        ([*ADD, "--issuer", "http://acme.example"], 2, "insecure_url"),
        ([*ADD, "github", "--allow-private"], 2, "invalid_input"),
        # options that do not fit together, or are missing
        (["app", "add", "acme"], 2, "invalid_input"),
        (["app", "add", "acme", "generic", "--client-id", "me", "--public"], 2, "invalid_input"),
        (["app", "add", "acme", *URLS, "--public"], 2, "invalid_input"),
        ([*ADD, *URLS, "--token-auth", "client_secret_post"], 2, "invalid_input"),
        ([*ADD, *URLS, "--secret-stdin"], 2, "invalid_input"),
        ([*ADD, *URLS, "--param", "tenant"], 2, "invalid_input"),
        ([*ADD, *URLS, "--param", "tenant=x"], 2, "invalid_input"),
        ([*ADD, *URLS, "--host", "localhost"], 2, "invalid_input"),
        ([*ADD, *URLS, "--host", "*.com"], 2, "invalid_input"),
        ([*ADD, *URLS, "--host", "https://api.example"], 2, "invalid_input"),
        (["connect", "acme/me", "--host", "127.0.0.1", "--vault", "{vault}"], 2, "invalid_input"),
        (["connect", "acme/me", "--host", "[::1]", "--vault", "{vault}"], 2, "invalid_input"),
        ([*ADD, *URLS, "--private-key", "{text}"], 2, "key_refused"),
        ([*ADD, *URLS, "--private-key", "{folder}/none.pem"], 2, "invalid_input"),
        ([*ADD, *URLS, "--vault", "{vault}"], 2, "already_exists"),
        (["app", "add", "acme", *URLS, "--client-id", "me"], 2, "invalid_input"),  # no secret, and nobody to ask
        (["connect", "acme/me", "--grant", "jwt_bearer", "--vault", "{vault}"], 2, "invalid_input"),
        (["connect", "acme/me", "--device", "--vault", "{vault}"], 2, "invalid_input"),
        (["connect", "acme/me", "--device", "--grant", "jwt_bearer", "--vault", "{vault}"], 2, "invalid_input"),
        (["exec", "acme/me"], 2, "invalid_input"),
        (["exec", "--", "true"], 2, "invalid_input"),
        (["curl", "acme/me"], 2, "invalid_input"),
        # the command line itself
        (["connection", "list", "--colour"], 2, "usage"),
        (["connection", "list", "--state", "happy"], 2, "usage"),
        (["conection", "list"], 2, "usage"),
        (["token"], 2, "usage"),
    ],
)
def test_a_mistake_has_its_exit_code_and_its_code(inside, mistakes, words, exit_code, code):
    words = [re.sub(r"\{(.+?)\}", lambda found: mistakes[found[1]], word) for word in words]
    for_programs = inside(*words, "--json") if "--" not in words else inside("--json", *words)
    assert (for_programs.code, for_programs.error["code"], for_programs.out) == (exit_code, code, "")
    assert for_programs.error.get("fix") or code == "wrong_key" or for_programs.error.get("cause")
    for_people = inside(*words)
    assert for_people.code == exit_code
    assert for_people.err.startswith("valetkey: ")
    assert f"[{code}]" in for_people.err.splitlines()[0]
    assert for_people.out == ""


@pytest.mark.parametrize(
    ("host", "better"), [("127.0.0.1", "127.0.0.1:9000"), ("localhost", "localhost:9000"), ("::1", "[::1]:9000")]
)
def test_a_loopback_host_without_a_port_is_called_so(inside, host, better):
    done = inside(*ADD, *URLS, "--host", host, "--json")
    assert f"--host {better}" in done.error["fix"]
    assert inside(*ADD, *URLS, "--host", "127.0.0.1:9000", "--host", "[::1]:*", "--host", "*.acme.example").code == 0


@pytest.fixture(scope="module")
def vaults(tmp_path_factory):
    """Return the folder for the two vaults that each test is given copies of."""
    return tmp_path_factory.mktemp("vaults")


@pytest.fixture
def mistakes(inside, vaults, tmp_path):
    """Return the files that mistakes are made with."""
    text = tmp_path / "text.txt"
    text.write_text("this is no vault, no key and no PEM file")
    vault, other = tmp_path / "vault.db", tmp_path / "other.db"
    for path in (vault, other):
        if not (vaults / path.name).exists():
            assert inside(*ADD, *URLS, "--vault", str(vaults / path.name)).code == 0
    shutil.copytree(vaults, tmp_path, dirs_exist_ok=True)
    return {
        "text": str(text),
        "folder": str(tmp_path),
        "vault": str(vault),
        "other key": str(other.with_suffix(".key")),
    }


def test_nothing_is_written_with_a_wrong_key(inside, mistakes, tmp_path):
    before = (tmp_path / "vault.db").read_bytes()
    done = inside("app", "rm", "acme", "--vault", mistakes["vault"], "--key-file", mistakes["other key"])
    assert done.code == 7
    assert (tmp_path / "vault.db").read_bytes() == before


def test_no_vault_is_left_behind_by_an_app_that_was_refused(inside, home):
    assert inside(*ADD, "--token-url", "http://acme.example/token").code == 2
    assert not list((home / "data").iterdir())


@pytest.mark.parametrize(
    "words",
    [
        ["app", "add", "a/b", "generic", *URLS, "--client-id", "me", "--public"],
        ["app", "add", "acme", "generic", *URLS, "--client-id", "me", "--secret-ref", "file:/nowhere/at/all"],
        ["connect", "google/alice"],
        ["connection", "list"],
        ["audit", "tail"],
        ["keep", "--once"],
        ["vault", "check"],
    ],
)
def test_a_mistyped_place_gets_no_vault(inside, tmp_path, words):
    assert inside(*words, "--vault", str(tmp_path / "typo.db")).code != 0
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "words", [["app", "list", "--vault", ""], ["token", "a/b", "--key-file="], ["token", "a/b", "--vault="]]
)
def test_an_empty_place_is_not_taken_for_none_given(inside, words):
    """`--vault "$UNSET"` must not lead to another vault."""
    done = inside(*words, "--json")
    assert (done.code, done.error["message"]) == (2, f"{words[-1].rstrip('=') or words[-2]} names nothing")


@pytest.mark.parametrize("words", [["completion"], ["completion", "ksh"]])
def test_the_words_to_choose_from_are_named(inside, words):
    said = inside(*words, "--json").error["message"]
    assert all(shell in said for shell in ("bash", "zsh", "fish"))


def test_a_vault_that_is_made_is_told_of_once(inside, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first = inside(*ADD, *URLS, "--vault", "new.db")
    assert f"valetkey: made a new vault at {tmp_path / 'new.db'}\n" in first.err
    assert "made a new" not in inside(*ADD, *URLS, "--vault", "new.db", "--replace").err


def test_a_token_given_for_a_place_is_not_repeated_by_the_vault_that_is_made_of_it(inside, tmp_path, canary):
    token = canary.make("token")
    done = inside(*ADD, *URLS, "--vault", str(tmp_path / f"eyJhbGciOiJIUzI1NiJ9.{token}.{token}"))
    assert (done.code, "made a new vault at " in done.err) == (0, True)
    canary.assert_absent(done.out, done.err)


def test_what_was_perhaps_meant_is_named_where_no_vault_is(inside, home, tmp_path, monkeypatch):
    usual = home / "data" / "valetkey" / "vault.db"
    nothing = inside("app", "list", "--json").error
    assert (nothing["cause"], str(usual) in nothing["message"]) == ("none was made yet, and no other was named", True)
    assert "`valetkey vault init`" in nothing["fix"]
    assert inside(*ADD, *URLS).code == inside(*ADD, *URLS, "--vault", str(tmp_path / "vault.db")).code == 0
    near = inside("app", "list", "--vault", str(tmp_path / "valut.db"), "--json").error
    assert f"`valetkey --vault {tmp_path / 'valut.db'} vault init`" in near["fix"]
    assert f"did you mean {tmp_path / 'vault.db'}?" in near["fix"]  # and not vault.key, whose name is as near
    monkeypatch.setenv("VALETKEY_VAULT", str(tmp_path / "elsewhere.sqlite"))
    far = inside("app", "list", "--json").error
    assert (far["cause"], f"did you mean {usual}?" in far["fix"]) == ("VALETKEY_VAULT names this file", True)


@pytest.mark.parametrize("named", ["here.db", "./here.db", "../{folder}/here.db", "sqlite:///here.db"])
def test_a_vault_is_shown_by_its_whole_path_however_it_was_named(inside, tmp_path, monkeypatch, named):
    monkeypatch.chdir(tmp_path)
    named = named.format(folder=tmp_path.name)
    whole = str(tmp_path / named.removeprefix("sqlite:///"))
    assert f"there is no vault at {whole}" in inside("app", "list", "--vault", named).err
    (tmp_path / "here.db").write_bytes(b"")
    assert f"{whole} is empty" in inside("app", "list", "--vault", named).err
    (tmp_path / "here.db").write_bytes(b"no database, but long enough to be taken for one" * 20)
    assert f"{whole} cannot be used" in inside("app", "list", "--vault", named).err
    (tmp_path / "here.db").unlink()
    assert f"a new vault is in {whole};" in inside("vault", "init", "--vault", named).err
    assert f"there is a vault in {whole}" in inside("vault", "init", "--vault", named).err


@pytest.mark.parametrize(
    ("words", "code", "meant"),
    [
        (["app", "show", "acne"], 3, "did you mean acme?"),
        (["app", "rm", "acne"], 3, "did you mean acme?"),
        (["connect", "acne/me"], 3, "did you mean acme?"),
        (["connection", "list", "acne"], 3, "did you mean acme?"),
        (["connection", "list", "acne", "--count"], 3, "did you mean acme?"),
        (["app", "add", "gogle", "--client-id", "me"], 2, "did you mean google"),
        (["app", "add", "mine", "gogle", "--client-id", "me"], 3, "did you mean google"),
        (["app", "show", "zzzzzz"], 3, "`valetkey app list` shows them"),  # like none
    ],
)
def test_a_name_that_is_nearly_one_is_named(inside, mistakes, words, code, meant):
    done = inside(*words, "--vault", mistakes["vault"], "--json")
    assert (done.code, done.error["fix"].startswith(meant)) == (code, True), done.err


def test_an_app_without_connections_is_none_that_is_not_there(inside, mistakes):
    done = inside("connection", "list", "acme", "--vault", mistakes["vault"], "--json")
    assert (done.code, done.json) == (0, [])


def test_an_error_of_valetkey_itself_shows_its_type_and_nothing_else(inside, monkeypatch):
    secret = "a-secret-in-a-library's-message"

    def broken(*_):
        raise ZeroDivisionError(secret)

    monkeypatch.setattr("valetkey.providers.keys", broken)
    done = inside("provider", "list")
    assert (done.code, done.err.splitlines()[0]) == (1, "valetkey: unexpected ZeroDivisionError [unexpected]")
    assert secret not in done.err
    monkeypatch.setenv("VALETKEY_DEBUG", "1")
    traced = inside("provider", "list", "--json")
    assert 'File "' in traced.err
    assert secret not in traced.err
    assert traced.error["code"] == "unexpected"


def test_a_reader_that_has_gone_is_no_error_to_speak_of(valetkey):
    with valetkey.start("provider", "list") as process:
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(SECONDS) == 141


@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")
def test_output_that_cannot_be_written_is_an_error(valetkey):
    with FULL.open("w") as full, valetkey.start("provider", "list", stdout=full) as process:
        _, err = process.communicate(timeout=SECONDS)
    assert process.returncode == 1
    assert "No space left on device" in err


@pytest.mark.skipif(os.name != "posix", reason="needs limits of POSIX")
def test_a_full_disk_is_temporary_and_leaves_the_vault_whole(inside, valetkey, tmp_path):
    import resource

    vault = str(tmp_path / "vault.db")
    assert inside(*ADD, *URLS, "--vault", vault).code == 0

    def small_disk():
        size = 40_000  # the write-ahead log has no room for what is to be added
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    more = ("app", "add", "more", *URLS, "--client-id", "x" * 40_000, "--public", "--json", "--vault", vault)
    with valetkey.start(*more, preexec_fn=small_disk) as process:
        _, err = process.communicate(timeout=SECONDS)
    assert (process.returncode, '"store_unavailable"' in err) == (6, True), err
    assert [row["name"] for row in inside("app", "list", "--json", "--vault", vault).json] == ["acme"]


def test_processes_that_create_the_vault_at_once_share_one(valetkey, inside):
    names = [f"app-{number}" for number in range(6)]
    with ThreadPoolExecutor(len(names)) as pool:
        added = list(pool.map(lambda name: valetkey("app", "add", name, *URLS, "--client-id", "me", "--public"), names))
    assert [done.err for done in added if done.code] == []
    assert [row["name"] for row in inside("app", "list", "--json").json] == names


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read everything")
def test_a_vault_without_permission_is_unreadable(inside, mistakes, tmp_path):
    (tmp_path / "vault.db").chmod(0)
    assert inside("app", "list", "--json", "--vault", mistakes["vault"]).error["code"] == "vault_unreadable"


# ── with a provider ───────────────────────────────────────────────────────────────────────────────────────────


def pasting(inside, answer_to):
    """Connect box/alice without a browser; `answer_to` turns the address shown into what is pasted."""

    def pasted(shown: str) -> str:
        url = next(line.strip() for line in shown.splitlines() if line.startswith("  http"))
        return answer_to(url) + "\n"

    return inside("connect", "box/alice", "--no-browser", "--json", stdin=pasted)


@pytest.mark.network
@pytest.mark.parametrize(
    ("change", "exit_code", "code"),
    [
        (lambda answer: re.sub(r"state=[^&]+", "state=forged", answer), 4, "state_unknown"),
        (lambda answer: re.sub(r"&?state=[^&]+", "", answer), 4, "state_missing"),
        (lambda answer: re.sub(r"iss=[^&]+", "iss=https%3A%2F%2Fevil.example", answer), 4, "issuer_mismatch"),
        (lambda answer: re.sub(r"&?iss=[^&]+", "", answer), 4, "issuer_missing"),
        (lambda answer: re.sub(r"code=[^&]+", "code=guessed", answer), 4, "invalid_grant"),
        (lambda answer: re.sub(r"&?code=[^&]+", "", answer), 4, "code_missing"),
        (lambda answer: answer + "&code=twice", 4, "invalid_callback"),
        (lambda _: "", 2, "invalid_input"),
    ],
)
def test_an_answer_that_is_not_the_one_is_refused(inside, box, change, exit_code, code):
    done = pasting(inside, lambda url: change(box.login(url)))
    assert (done.code, done.error["code"]) == (exit_code, code), done.err
    assert inside("connection", "list", "--json").json == []


@pytest.mark.network
def test_a_grant_that_the_app_may_not_use_is_refused_by_the_provider(inside, box):
    # Nobody has to connect: the registration is to be changed, which is exit code 5 of the table.
    done = inside("connect", "box/alice", "--grant", "client_credentials", "--json")
    assert (done.code, done.error["code"]) == (5, "unauthorized_client")


@pytest.mark.network
@pytest.mark.parametrize(
    ("words", "asked"),
    [
        (("robot/one", "--grant", "client_credentials"), "read raed"),
        (("box/alice", "--device"), "read raed offline_access"),  # asked for beside them, for a refresh token
        (("box/alice", "--no-browser"), "read raed offline_access"),
    ],
)
def test_scopes_that_are_refused_are_named(inside, box, words, asked):
    def refused(said: str) -> str:
        state = re.search(r"[?&]state=([^&\s]+)", said).group(1)
        return f"http://127.0.0.1/callback?error=invalid_scope&state={state}&iss={box.issuer}"

    done = inside("connect", *words, "--scope", "read", "--scope", "raed", "--json", stdin=refused)
    assert (done.code, done.error["code"], done.error["evidence"]["asked"]) == (5, "invalid_scope", asked)
    assert done.error["cause"].startswith(f"asked for: {asked}; ")


@pytest.mark.parametrize(
    ("registered", "said"),
    [
        ((), "registered: http://127.0.0.1/callback (at https://console.cloud.google.com/apis/credentials); if the "),
        (
            ("--redirect-uri", "http://127.0.0.1:7777/back"),
            "registered: http://127.0.0.1:7777/back (at https://console.",
        ),
    ],
)
def test_a_person_is_told_which_redirect_uri_must_be_registered(inside, registered, said):
    assert inside("app", "add", "google", "--client-id", "me", "--secret-stdin", *registered, stdin="s" * 20).code == 0
    assert said in inside("connect", "google/alice", "--no-browser", stdin="").err


@pytest.mark.network
def test_an_answer_pasted_twice_is_refused_the_second_time(inside, box):
    answers = []

    def once(url: str) -> str:
        answers.append(box.login(url))
        return answers[0]

    assert pasting(inside, once).code == 0
    refused = pasting(inside, once)
    # Who started the first login is not who started the second.
    assert (refused.code, refused.error["code"]) == (4, "state_not_yours"), refused.err


@pytest.mark.network
def test_a_person_who_denies_is_told_so(valetkey, box, browser, page):
    browser("deny")
    done = valetkey("connect", "box/alice", "--json")
    assert (done.code, done.error["code"]) == (4, "access_denied")
    assert "Consent was denied" in page.read_text()


@pytest.mark.network
def test_a_wrong_client_secret_is_our_mistake_and_spends_nothing(inside, box):
    wrong = "not-the-secret-that-was-registered-0123"
    inside(
        "app", "add", "robot", "--issuer", box.url, "--client-id", "sandbox-machine", "--secret-stdin", "--replace",
        stdin=wrong,
    )  # fmt: skip
    done = inside("connect", "robot/one", "--grant", "client_credentials", "--json")
    assert (done.code, done.error["code"]) == (5, "invalid_client")
    assert "--replace" in done.error["fix"]
    assert wrong not in done.err


@pytest.mark.network
@pytest.mark.parametrize(
    ("trouble", "exit_code", "code"),
    [
        (lambda box: box.stop(), 6, "provider_unavailable"),
        (lambda box: box.fail_next(status=503), 6, "provider_unavailable"),
        (lambda box: box.html_next(), 5, "bad_answer"),
        (lambda box: box.revoke(), 5, ""),
    ],
)
def test_a_provider_in_trouble_is_told_from_ours(inside, robot, trouble, exit_code, code):
    trouble(robot)
    done = inside("connection", "refresh", "robot/one", "--json")
    if not code:  # a machine's grant that was revoked is simply asked for anew
        assert done.code == 0
        return
    assert (done.code, done.error["code"]) == (exit_code, code)
    assert inside("token", "robot/one").code == 0  # the token lives on, and nothing was lost


@pytest.mark.network
def test_a_server_that_speaks_no_tls_is_a_tls_error(inside, sandbox):
    url = sandbox.url.replace("http://", "https://")
    words = ("app", "add", "tls", "--token-url", f"{url}/token", "--client-id", "me", "--secret-stdin")
    done = inside(*words, stdin=WEB_SECRET)
    assert done.code == 0, done.err
    done = inside("connect", "tls/x", "--grant", "client_credentials", "--json")
    assert (done.code, done.error["code"]) == (6, "tls_failed")


@pytest.mark.parametrize(
    ("words", "way"),
    [
        (["app", "add", "google", "--client-secret", "hunter2"], "--secret-stdin or --secret-ref REF or the prompt"),
        (["app", "add", "google", "--client-secret=hunter2"], "--secret-stdin or --secret-ref REF or the prompt"),
        (["jwt", "sign", "--secret", "hunter2"], "--secret-ref REF or --secret-file FILE"),
        (["vault", "init", "--password", "hunter2"], "--passphrase-fd N"),
        (["connect", "google/me", "--access-token", "hunter2"], "this command takes none"),
        (["exec", "--token", "hunter2", "--", "env"], "this command takes none"),
        (["--token=hunter2", "app", "list"], "this command takes none"),
    ],
)
def test_a_secret_is_no_argument(inside, words, way):
    done = inside("--json", *words)
    assert (done.code, done.error["code"]) == (2, "usage")
    assert done.error["message"].endswith(": secrets are never arguments")
    assert "history" in done.error["cause"]
    assert way in done.error["fix"]
    assert "hunter2" not in done.err + done.out


@pytest.mark.parametrize("words", [["app", "secret", "stage", "acme"], ["app", "add", "acme", "google"]])
def test_a_secret_behind_the_option_for_standard_input_is_not_repeated(inside, words):
    done = inside(*words, "--secret-stdin", "hunter2", "--json")
    assert (done.code, done.error["code"]) == (2, "usage")
    assert "--secret-stdin takes no value" in done.error["cause"]
    assert "hunter2" not in done.err + done.out


@pytest.mark.parametrize("words", [["--secret-stdin", "hunter2"], ["hunter2", "--secret-stdin"]])
def test_a_secret_that_is_taken_for_the_provider_is_not_repeated(inside, words):
    done = inside("app", "add", "google", "--client-id", "x", *words, "--json")
    assert (done.code, done.error["code"]) == (2, "invalid_input")
    assert "--secret-stdin takes no value" in done.error["cause"]
    assert "hunter2" not in done.err + done.out


def test_a_provider_that_is_mistyped_is_still_called_by_the_right_name(inside):
    done = inside("app", "add", "mine", "gogle", "--client-id", "x", "--secret-stdin", "--json")
    assert (done.code, done.error["code"]) == (3, "not_found")
    assert "google" in done.error["fix"]


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["connection", "sandbox/alice"], "valetkey connection show sandbox/alice"),
        (["list", "connections"], "valetkey connection list"),
        (["show", "app", "google"], "valetkey app show google"),
        (["rm", "apps"], "valetkey app rm"),
    ],
)
def test_a_verb_that_is_left_out_or_stands_first_is_put_in_its_place(inside, words, meant):
    done = inside(*words, "--json")
    assert (done.code, done.error["fix"]) == (2, f"`{meant}`")
    assert inside("nonsense", "connections", "--json").error["fix"] == "`valetkey --help` shows what it takes"
