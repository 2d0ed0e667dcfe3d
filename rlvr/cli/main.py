"""``rlvr COMMAND …``: dispatch, and errors as one screen of text."""

from __future__ import annotations

import importlib
import os
import select
import signal
import sys
import traceback

from rlvr.errors import EXIT_CODES, RlvrError, did_you_mean
from rlvr.openmp import wait_asleep
from rlvr.signals import SIGNALS

COMMANDS = {
    "study": "train, evaluate base and trained model, write the report",
    "train": "train a model with verifiable rewards",
    "evaluate": "measure pass@k of a model",
    "audit": "is the reasoning behind right answers valid?",
    "perplexity": "how likely each model finds what the others write",
    "entropy": "entropy as sampled, and the temperature that matches the base's",
    "paper": "a paper's claims, each decided by a study",
    "report": "one page from the evaluations of any number of runs",
    "export": "evaluations as inspect_ai or lm-eval log them",
    "checkpoints": "list or verify the checkpoints of a run",
    "pretrain": "make a tiny base model from scratch",
    "distill": "fine-tune a student on a teacher's verified responses",
    "data": "list the benchmarks, show one, check a file of your own",
    "verify": "judge responses from rows of JSON",
    "doctor": "say what works on this machine and what is missing",
    "completion": "have the shell complete commands, keys and recipes",
}
EXAMPLES = """\
Examples:
  rlvr study recipe=tiny                           the whole study on a laptop, about ten minutes
  rlvr train recipe=tiny learner.learning_rate=5e-5 seed=1
  rlvr train -m recipe=tiny seed=0,1,2             three runs, one after another
  rlvr evaluate model=runs/tiny/grpo benchmark=skills num_samples=256
  rlvr report runs/tiny runs/tiny-seed1            several runs in one report
  rlvr doctor
"""
STDOUT = 1
"""The descriptor of the process, whatever stands in for ``sys.stdout``."""
STARTS_ANEW = ("pretrain", "distill")
"""Commands that are over in minutes and keep nothing to go on from."""


def usage() -> str:
    """The help text of the command as a whole, examples first."""
    commands = "\n".join(f"  {name:<13}{text}" for name, text in COMMANDS.items())
    return (
        f"rlvr: reinforcement learning with verifiable rewards, and what it does to pass@k\n\n{EXAMPLES}\n"
        f"Commands:\n{commands}\n\n"
        "Settings are Hydra overrides, key=value; `rlvr COMMAND --help` shows a command's keys.\n\n"
        "Exit codes:\n" + "\n".join(f"  {code:<5}{text}" for code, text in EXIT_CODES.items()) + "\n\n"
        "Set RLVR_DEBUG=1 (or give --debug) for the full trace of an error.\n"
    )


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code."""
    try:
        code = dispatch(sys.argv[1:] if arguments is None else arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        # Who read the output, such as `head`, has seen enough. What is left of it must not fail again at the exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), STDOUT)
        return 128 + signal.SIGPIPE
    return code


def dispatch(arguments: list[str]) -> int:
    """Run one command: its exit code, with every error told in a screen of text.

    Raises:
        BrokenPipeError: nobody reads the output any more.
    """
    debug = "--debug" in arguments or os.environ.get("RLVR_DEBUG", "") not in ("", "0")
    arguments = [argument for argument in arguments if argument != "--debug"]
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(usage())
        return 0
    if arguments[0] == "--version":
        from rlvr import __version__

        print(__version__)
        return 0
    command, rest = arguments[0], arguments[1:]
    if command not in COMMANDS:
        print(f"rlvr: unknown command {command!r}: {did_you_mean(command, COMMANDS)}", file=sys.stderr)
        return 2
    # A terminated run must unwind like an interrupted one, so that Ray ends its processes.
    SIGNALS.install()
    wait_asleep()
    try:
        importlib.import_module(f"rlvr.cli.{command}").run(rest)
    except RlvrError as error:
        print(f"\nrlvr {command}: {error}", file=sys.stderr)
        _trace(debug)
        return error.exit_code
    except KeyboardInterrupt:
        again = "starts anew" if command in STARTS_ANEW else "goes on"
        print(
            f"\nrlvr {command}: interrupted; what was written stays, the same command {again}",
            file=sys.stderr,
        )
        _trace(debug)
        return SIGNALS.exit_code
    except Exception as error:
        if isinstance(error, BrokenPipeError) and nobody_reads():
            raise
        print(f"\nrlvr {command}: {type(error).__name__}: {error}", file=sys.stderr)
        print("  fix:   this looks like a fault of rlvr; --debug shows the full trace", file=sys.stderr)
        _trace(debug)
        return 1
    return 0


def nobody_reads() -> bool:
    """Whether the output is a pipe whose other end is closed."""
    pipe = select.poll()
    pipe.register(STDOUT, 0)
    return any(event & select.POLLERR for _, event in pipe.poll(0))


def _trace(debug: bool) -> None:
    if debug:
        traceback.print_exc()


if __name__ == "__main__":
    sys.exit(main())
