"""Print a script that completes goodnet's commands, options and files on the Tab key.

bash, with the package bash-completion:
  mkdir -p ~/.local/share/bash-completion/completions
  goodnet completion bash > ~/.local/share/bash-completion/completions/goodnet

zsh, with fpath+=~/.zfunc before compinit in ~/.zshrc:
  mkdir -p ~/.zfunc
  goodnet completion zsh > ~/.zfunc/_goodnet

fish:
  goodnet completion fish > ~/.config/fish/completions/goodnet.fish

A shell that is started after that completes."""

from pathlib import Path

import shtab

from goodnet.cli import arguments, main

SHELLS = ("bash", "zsh", "fish")

EPILOG = """\
example, for this shell alone:
  source <(goodnet completion bash)

exit codes: 0 done, 2 bad input or arguments
"""


def add_arguments(parser):
    parser.add_argument("shell", choices=SHELLS, help="the shell to complete in")


def run(args):
    parser = main.parser(main.COMMANDS)
    commands = parser._subparsers._group_actions[0].choices.values()
    for action in (action for command in commands for action in command._actions):
        if action.type is arguments.existing_folder:
            action.complete = shtab.DIRECTORY
        elif action.type in (arguments.existing, arguments.existing_file, Path):
            action.complete = shtab.FILE
    print(shtab.complete(parser, args.shell))
