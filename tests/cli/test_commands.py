"""What holds for every command: help, docs, JSON, exit codes, and what start-up loads."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import click
import pytest

from valetkey import errors
from valetkey.cli.base import SHARED
from valetkey.cli.exits import EXIT_CODES
from valetkey.cli.root import COMMANDS, root

LOADED = """
import atexit, json, sys
atexit.register(lambda: sys.__stderr__.write("\\n" + json.dumps(sorted(sys.modules))))
sys.argv = ["valetkey", *sys.argv[1:]]
from valetkey.cli.main import main
sys.exit(main())
"""


def every_command():
    context = click.Context(root, info_name="valetkey")
    for name in root.list_commands(context):
        command = root.get_command(context, name)
        yield name, command
        for verb, below in getattr(command, "commands", {}).items():
            yield f"{name} {verb}", below


ALL = dict(every_command())


@pytest.mark.parametrize("path", ALL)
def test_every_command_has_help_a_place_in_the_docs_and_the_shared_options(inside, path, docs_page):
    done = inside(*path.split(), "--help")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(f"Usage: valetkey {path}")
    assert f"# valetkey {path}\n" in docs_page
    assert len((ALL[path].help or "").split()) >= 2
    assert set(SHARED) <= {parameter.name for parameter in ALL[path].params}


@pytest.mark.parametrize("path", ALL)
def test_every_option_says_what_it_is_for(path, docs_page):
    for option in (parameter for parameter in ALL[path].params if isinstance(parameter, click.Option)):
        assert option.help, f"{path} {option.name}"
        assert option.opts[0] in docs_page


def test_no_option_takes_a_secret_as_its_value():
    """Arguments can be read by every user of the machine, so a secret may only be pointed to or sent on stdin."""
    telling = re.compile(r"secret|password|passphrase|token", re.IGNORECASE)
    found = [
        f"{path} {option.opts[0]}"
        for path, command in ALL.items()
        for option in command.params
        if isinstance(option, click.Option) and not option.is_flag and telling.search(option.opts[0])
    ]
    # a reference names a place, and is refused if it is not; a descriptor is a number
    pointing = ("-file", "-url", "-auth", "-expires", "-ref", "-fd")
    assert [name for name in found if not name.endswith(pointing)] == []
    assert "jwt sign --secret-file" in found


@pytest.fixture(scope="module")
def docs_page(request):
    return (request.config.rootpath / "docs" / "cli.md").read_text()


def test_the_table_of_commands_is_where_they_are():
    assert set(COMMANDS) == {path for path in ALL if " " not in path}


def test_the_root_shows_the_exit_codes_and_the_commands(inside):
    shown = inside("--help").out
    assert [str(code) for code in EXIT_CODES if f"{code}  {EXIT_CODES[code]}" not in shown] == []
    assert [name for name in COMMANDS if f"  {name}" not in shown] == []


@pytest.mark.parametrize("page", ["cli.md", "errors.md"])
def test_each_page_about_errors_has_every_exit_code(pytestconfig, page):
    told = (pytestconfig.rootpath / "docs" / page).read_text()
    assert [code for code, text in EXIT_CODES.items() if f"| {code} | {text} |" not in told] == []


def test_every_error_ends_with_an_exit_code_that_is_explained():
    kinds = [
        kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.ValetkeyError)
    ]
    assert {kind.exit_code for kind in kinds} <= set(EXIT_CODES)


def test_nothing_asked_shows_the_help_and_is_a_mistake(inside):
    done = inside()
    assert (done.code, "Usage: valetkey" in done.err) == (2, True)


def test_a_command_that_is_nearly_one_is_named(inside):
    assert "did you mean connection" in inside("conection").err
    assert "did you mean refresh" in inside("connection", "refesh").err


def test_the_version_is_said_the_short_way_and_the_long_way(valetkey, inside):
    from valetkey import __version__

    assert valetkey("--version").out == inside("--version").out == f"valetkey {__version__}\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_for_both_names(inside, shell):
    script = inside("completion", shell).out
    assert "_VALETKEY_COMPLETE" in script
    assert "_VK_COMPLETE" in script


def test_a_shell_is_given_commands_and_providers(inside, monkeypatch):
    def completed(words: str) -> set[str]:
        monkeypatch.setenv("_VALETKEY_COMPLETE", "bash_complete")
        monkeypatch.setenv("COMP_WORDS", words)
        monkeypatch.setenv("COMP_CWORD", str(words.count(" ")))
        return {line.partition(",")[2] for line in inside().out.splitlines()}

    assert {"app", "connect", "token"} <= completed("valetkey ")
    assert completed("valetkey connection re") == {"refresh"}
    assert "salesforce" in completed("valetkey provider show sal")


def test_providers_are_listed_and_shown_with_their_sources(inside):
    keys = {entry["key"] for entry in inside("provider", "list", "--json").json}
    assert {"google", "slack", "generic"} <= keys
    shown = inside("provider", "show", "google").out
    assert re.search(r"refresh\.idle_days +180 +documented +\d{4}-\d\d-\d\d +https://", shown)
    assert inside("provider", "show", "google", "--json").json["refresh"]["idle_days"] == 180


@pytest.mark.parametrize("words", [("app", "add", "acme", "--secret-stdin=x"), ("jwt", "verify", "--discover=x")])
def test_a_value_for_an_option_that_takes_none_names_the_help_of_its_command(inside, words):
    assert inside(*words, "--json").error["fix"] == f"`valetkey {words[0]} {words[1]} --help` shows what it takes"


@pytest.mark.parametrize(
    ("words", "typed"),
    [
        (("provider", "show", "sandbox"), ("app add mine", "connect mine/alice", "serve --try")),
        (("demo",), ("serve --try` runs a server",)),
    ],
    ids=["provider show", "demo"],
)
def test_commands_to_type_next_are_named_as_they_can_be_called_here(valetkey, tmp_path, words, typed):
    """By its path, where the program is not on the PATH."""
    called = tmp_path / "not on the path" / "valetkey"
    called.parent.mkdir()
    called.write_text("import sys\nfrom valetkey.cli.main import main\nsys.exit(main())\n")
    done = subprocess.run(
        [sys.executable, called, *words], capture_output=True, text=True, env=valetkey.env, cwd=tmp_path, check=True
    )
    assert [command for command in typed if f"`'not on the path/valetkey' {command}" not in done.stdout] == []


def test_the_sandbox_is_shown_and_said_to_describe_itself(inside):
    shown = inside("provider", "show", "sandbox")
    assert (shown.code, "--client-id sandbox-cli --public" in shown.out, "sandbox-web.secret" in shown.out) == (0, 1, 1)
    assert inside("provider", "show", "sandbox", "--json").json["endpoints"]["issuer"] == "http://127.0.0.1:8401"
    columns = next(line for line in shown.out.splitlines() if line.startswith("FACT"))
    assert columns.split() == ["FACT", "VALUE"]  # nobody read of it anywhere
    assert "  SOURCE" in inside("provider", "show", "google").out
    for words in (("mine", "sandbox"), ("sandbox",)):
        refused = inside("app", "add", *words, "--client-id", "sandbox-cli", "--public", "--json")
        assert (refused.code, "--issuer http://127.0.0.1:8401" in refused.error["fix"]) == (3, True)


# ── start-up ──────────────────────────────────────────────────────────────────────────────────────────────────


def loaded_by(*words: str) -> tuple[int, set[str]]:
    """Return the exit code of a call and the top-level modules it loaded."""
    code, names = modules_of(*words)
    return code, {name.partition(".")[0] for name in names}


def modules_of(*words: str) -> tuple[int, set[str]]:
    """Return the exit code of a call and all modules it loaded."""
    command = [sys.executable, "-c", LOADED, *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    names = json.loads(done.stderr.rsplit("\n", 1)[-1])
    return done.returncode, set(names)


def test_the_version_loads_nothing_that_costs():
    code, loaded = loaded_by("--version")
    assert code == 0
    assert loaded & {"click", "msgspec", "sqlite3", "asyncio", "pathlib", "dataclasses", "json"} == {
        "json"
    }  # the probe's


@pytest.mark.network
def test_a_fresh_token_loads_no_command_line(valetkey, robot):
    code, loaded = loaded_by("token", "robot/one")
    assert code == 0
    heavy = {
        "aiohttp",
        "asyncio",
        "click",
        "dataclasses",
        "jinja2",
        "litestar",
        "msgspec",
        "pathlib",
        "rich",
        "urllib3",
    }
    assert loaded & heavy == set()


@pytest.mark.network
@pytest.mark.parametrize("words", [("connection", "list"), ("app", "list"), ("connection", "show", "robot/one")])
def test_looking_into_a_vault_loads_nothing_that_speaks_oauth_or_http(valetkey, robot, words):
    code, loaded = modules_of(*words)
    assert code == 0
    costly = ("valetkey.oauth.", "valetkey.transport.", "valetkey.jose.", "valetkey.testing.", "valetkey.audit.report")
    assert [name for name in sorted(loaded) if f"{name}.".startswith(costly)] == []
    assert loaded & {"asyncio", "ssl", "urllib3", "http.client"} == set()


def test_help_loads_no_vault_and_no_server():
    code, loaded = loaded_by("--help")
    assert code == 0
    assert loaded & {"aiohttp", "asyncio", "cryptography", "litestar", "rich", "sqlite3", "uvicorn"} == set()
