"""`valetkey completion`: the script that teaches a shell our commands. What may not be here: what they complete to."""

from __future__ import annotations

import click

from valetkey.cli.base import Command
from valetkey.cli.show import out


@click.command(cls=Command)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(*, shell: str) -> None:
    """Print the completion script for a shell.

    It completes `valetkey` and `vk`: commands, options, providers, and names of apps and connections, which are read
    without the vault's key, where the vault is a file.

    \b
    bash:  eval "$(valetkey completion bash)"       in ~/.bashrc
    zsh:   eval "$(valetkey completion zsh)"        in ~/.zshrc, after compinit
    fish:  valetkey completion fish > ~/.config/fish/completions/valetkey.fish
    """  # noqa: D301  # \b is click's mark for lines that stay as they are
    from click.shell_completion import get_completion_class

    from valetkey.cli.root import root
    from valetkey.cli.running import PROGRAMS

    kind = get_completion_class(shell)
    assert kind is not None  # the choices are click's own
    for variable, program in PROGRAMS.items():
        out(kind(root, {}, program, variable).source())
