"""``rlvr completion``: the shell completes commands, keys, and the options of groups."""

from __future__ import annotations

import importlib
import shlex
from collections.abc import Iterable, Mapping

from rlvr.errors import ConfigError, did_you_mean

COMPLETE = "--complete"
"""A command answers ``--complete=START`` with what the word that begins so may become."""
LINE = "--line="
SHELLS = ("bash",)
EXAMPLES = """\
rlvr completion: words that the shell completes: commands, keys, recipes and other options of groups.

Examples:
  eval "$(rlvr completion bash)"                          in this shell
  rlvr completion bash >> ~/.bash_completion              in every new one

Then: rlvr train lea<TAB>, rlvr study recipe=<TAB>. What is no key is completed as a file. Only bash is supported.
"""
SCRIPT = r"""
_rlvr() {
    local line="${COMP_LINE:0:COMP_POINT}"
    local word="${line##* }"
    # bash replaces what follows the last = or : of a word, so candidates come without what stands before.
    local before="${word%"${word##*[=:]}"}"
    mapfile -t COMPREPLY < <("$1" completion "--line=$line" 2>/dev/null)
    COMPREPLY=("${COMPREPLY[@]#"$before"}")
    [[ "${COMPREPLY[*]}" == *[=./] ]] && compopt -o nospace
}
complete -o default -o bashdefault -F _rlvr rlvr
"""


def completing(arguments: Iterable[str]) -> str | None:
    """The beginning of the word that a shell asks about; None where none does."""
    for argument in arguments:
        flag, equals, start = argument.partition("=")
        if flag == COMPLETE and equals:
            return start
    return None


def candidates(start: str, keys: Iterable[str], options: Mapping[str, Iterable[str]]) -> list[str]:
    """What a word that begins so may become: sections up to their dot, keys with their ``=``, options of a group.

    Args:
        start: what is there of the word.
        keys: dotted.
        options: of each group, after its ``=``.
    """
    name, equals, _ = start.partition("=")
    if equals:
        words = [f"{name}={option}" for option in options.get(name, ())]
    else:
        depth, names = start.count("."), set(keys)
        sections = {key.rpartition(".")[0] for key in names}
        words = [f"{key}." if key in sections else f"{key}=" for key in names if key.count(".") == depth]
        words += [f"{group}=" for group in options]
    return sorted({word for word in words if word.startswith(start)})


def run(arguments: list[str]) -> None:
    """Run the command; ``--line=…`` is the shell's question."""
    word = " ".join(arguments)
    if (start := completing(arguments)) is not None:
        show(shell for shell in SHELLS if shell.startswith(start))
    elif word in ("", "--help", "-h"):
        print(EXAMPLES)
    elif word.startswith(LINE):
        complete(word.removeprefix(LINE))
    elif word in SHELLS:
        print(SCRIPT.strip())
    else:
        raise ConfigError(
            f"there is no completion for {word!r}", where="command line", fix=did_you_mean(word, SHELLS)
        )


def complete(line: str) -> None:
    """Print what the last word of a line may become; the command itself does where there is one."""
    from rlvr.cli.main import COMMANDS  # late: the commands of that table import this module

    words = split(line)
    start = "" if line.endswith(" ") or not words else words.pop()
    if len(words) < 2:
        show(sorted(name for name in COMMANDS if name.startswith(start)))
    elif words[1] in COMMANDS:
        importlib.import_module(f"rlvr.cli.{words[1]}").run([*words[2:], f"{COMPLETE}={start}"])


def show(words: Iterable[str]) -> None:
    """A line for each."""
    for word in words:
        print(word)


def split(line: str) -> list[str]:
    """Words of a line that may end within quotes."""
    try:
        return shlex.split(line)
    except ValueError:
        return line.split()
