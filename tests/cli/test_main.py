"""Dispatch, help and exit codes."""

from __future__ import annotations

import importlib
import re
import resource
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rlvr import __version__, errors
from rlvr.algorithms.grpo import GRPOConfig
from rlvr.cli.help import plain
from rlvr.cli.main import COMMANDS
from rlvr.cli.schema import keys_of
from rlvr.cli.words import WordsCommand
from rlvr.config import DistillConfig, EvaluateConfig, ExperimentConfig, PretrainConfig
from rlvr.errors import RlvrError


@pytest.mark.parametrize("words", [[], ["-h"], ["--help"], ["help"]])
def test_help_shows_examples_before_anything_else(rlvr, words: list[str]) -> None:
    result = rlvr(*words)
    assert result.code == 0
    assert result.err == ""
    order = [result.out.index(part) for part in ("Examples:", "Commands:", "Settings", "Exit codes:")]
    assert order == sorted(order)
    assert all(f"  {command} " in result.out for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_commands_help_begins_with_examples(rlvr, command: str) -> None:
    result = rlvr(command, "--help")
    assert result.code == 0
    first, _, rest = result.out.partition("Examples:")
    assert first.startswith(f"rlvr {command}: ")
    assert first.count("\n") <= 2
    assert f"rlvr {command}" in rest.splitlines()[1]


def test_examples_measure_the_tiny_model_on_what_it_was_trained_on(rlvr) -> None:
    """It knows no words but those of its own problems; nothing named is ``chains``, on which it has 0.000."""
    root = Path(__file__).resolve().parents[2]
    texts = [rlvr("--help").out, *(rlvr(command, "--help").out for command in COMMANDS)]
    texts += [path.read_text() for path in (root / "README.md", *sorted((root / "docs").glob("*.md")))]
    lines = [line for text in texts for line in text.replace("\\\n", " ").splitlines()]
    shown = [line for line in lines if "rlvr evaluate" in line and "runs/tiny" in line and "model" in line]
    assert len(shown) >= 3
    assert [line for line in shown if "benchmark=skills" not in line] == []


WORDS_COMMANDS: dict[str, WordsCommand] = {
    name: command
    for name in COMMANDS
    if (command := getattr(importlib.import_module(f"rlvr.cli.{name}"), "COMMAND", None))
}
SCHEMAS = {
    "train": ExperimentConfig,
    "study": ExperimentConfig,
    "evaluate": EvaluateConfig,
    "pretrain": PretrainConfig,
    "distill": DistillConfig,
    **{name: command.schema for name, command in WORDS_COMMANDS.items()},
}


@pytest.mark.parametrize("command", SCHEMAS)
def test_a_commands_help_lists_every_key_with_its_value_and_its_meaning(rlvr, command: str) -> None:
    shown = " ".join(rlvr(command, "--help").out.split())
    algorithm = GRPOConfig if command in ("train", "study") else None
    keys = list(keys_of(SCHEMAS[command], algorithm))
    for key in keys:
        words = f"{key.name}: " if key.section else f" {key.name}="
        assert words in shown, key.name
        assert key.meaning, f"{key.name} has no docstring"
        assert plain(key.meaning) in shown, key.name


def test_every_command_has_a_config() -> None:
    assert set(SCHEMAS) == set(COMMANDS) - {"completion"}


def test_help_shows_the_values_of_the_words_beside_it(rlvr) -> None:
    assert "  train.num_steps=100  (int)" in rlvr("train", "--help").out
    shown = rlvr("train", "recipe=tiny", "algorithm=ppo", "train.num_steps=7", "--help").out
    assert "  train.num_steps=7  (int)" in shown
    assert "algorithm.critic.learning_rate=" in shown


def test_help_names_the_groups_with_their_options(rlvr, tmp_path: Path) -> None:
    (tmp_path / "recipe").mkdir()
    (tmp_path / "recipe" / "mine.yaml").write_text("# @package _global_\n# The one that I try. And more.\n")
    shown = rlvr("train", "--help", "--config-dir", tmp_path).out
    for group in ("algorithm", "recipe", "cluster", "scale"):
        assert f"{group}=NAME, one of:" in shown
    assert "nodes_8x8" in shown
    assert re.search(r"^  mine +The one that I try\.$", shown, re.MULTILINE)
    assert "algorithm=NAME" not in rlvr("evaluate", "--help").out


def test_help_with_a_word_shows_the_keys_that_have_it(rlvr) -> None:
    shown = rlvr("train", "--help=clip").out
    assert "algorithm.clip_low=0.2" in shown
    assert "train.num_steps" not in shown
    assert "did you mean 'run'" in rlvr("train", "--help=rnu").out


def test_completion_by_hydra_is_refused_with_ours(rlvr) -> None:
    result = rlvr("train", "--shell-completion", "install=bash")
    assert result.code == 2
    assert "rlvr completion bash" in result.err


def test_an_unknown_command_is_answered_with_the_closest(rlvr) -> None:
    result = rlvr("trian")
    assert result.code == 2
    assert "unknown command 'trian': did you mean 'train'?" in result.err
    assert result.out == ""


def test_the_version(rlvr) -> None:
    assert rlvr("--version").out.strip() == __version__


KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, RlvrError)]


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_ends_with_its_code_and_one_screen(rlvr, monkeypatch, kind: type[RlvrError]) -> None:
    fail_with(monkeypatch, kind("it broke", where="here", fix="mend it"))
    result = rlvr("train")
    assert result.code == kind.exit_code
    assert result.err.strip().splitlines() == ["rlvr train: it broke", "  where: here", "  fix:   mend it"]
    assert result.out == ""


def fail_with(monkeypatch: pytest.MonkeyPatch, error: BaseException, command: str = "train") -> None:
    def run(arguments: list[str]) -> None:
        raise error

    monkeypatch.setattr(importlib.import_module(f"rlvr.cli.{command}"), "run", run)


@pytest.mark.parametrize(("command", "then"), [("train", "goes on"), ("distill", "starts anew")])
def test_an_interruption_is_130_and_says_what_comes_next(rlvr, monkeypatch, command: str, then: str) -> None:
    fail_with(monkeypatch, KeyboardInterrupt(), command)
    result = rlvr(command)
    assert result.code == 130
    assert "interrupted" in result.err
    assert f"the same command {then}" in result.err


def test_a_fault_of_ours_is_1_and_names_the_way_to_the_trace(rlvr, monkeypatch) -> None:
    fail_with(monkeypatch, ZeroDivisionError("division by zero"))
    result = rlvr("train")
    assert result.code == 1
    assert "ZeroDivisionError: division by zero" in result.err
    assert "--debug" in result.err
    assert "Traceback" not in result.err


@pytest.mark.parametrize("how", ["flag", "environment"])
def test_debug_shows_the_trace(rlvr, monkeypatch, how: str) -> None:
    fail_with(monkeypatch, errors.ConfigError("it broke"))
    if how == "environment":
        monkeypatch.setenv("RLVR_DEBUG", "1")
    result = rlvr("train", *(["--debug"] if how == "flag" else []))
    assert result.code == 2
    assert "Traceback" in result.err


def test_a_terminated_run_unwinds_like_an_interrupted_one(rlvr, monkeypatch) -> None:
    monkeypatch.setattr(
        importlib.import_module("rlvr.cli.train"), "run", lambda _: signal.raise_signal(signal.SIGTERM)
    )
    assert rlvr("train").code == 143


def test_help_that_nobody_reads_to_its_end_says_nothing(tmp_path: Path) -> None:
    # A reader that takes one line and goes at once, where `head` may take all of a pipe before it goes.
    command = f'{shlex.quote(sys.executable)} -m rlvr.cli.main train --help | (read -r line; echo "$line")'
    shown = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=120, check=True)
    assert shown.stdout.startswith("rlvr train:")
    assert shown.stderr == ""


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--help"], 0),
        (["train", "--help"], 0),
        (["data", "--help"], 0),
        (["verify", "--help"], 0),
        (["train", "learner.learning_rat=1"], 2),
        (["data", "show", "famly=gsm8k"], 2),
    ],
)
def test_help_and_a_typo_need_no_engine_and_no_torch(words: list[str], code: int) -> None:
    script = (
        "import sys; from rlvr.cli.main import main\n"
        "try: code = main(sys.argv[1:])\n"
        "except SystemExit as end: code = int(end.code or 0)\n"
        "heavy = {'torch._C', 'transformers', 'ray', 'vllm', 'deepspeed', 'numpy'} & set(sys.modules)\n"
        "print(code, sorted(heavy), file=sys.stderr)"
    )
    seconds = []
    for _ in range(3):  # of processor time, the least: what else the machine does lengthens that too
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        ran = subprocess.run(
            [sys.executable, "-c", script, *words], capture_output=True, text=True, timeout=120
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert ran.stderr.splitlines()[-1] == f"{code} []"
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        if min(seconds) < 1.5:
            return
    pytest.fail(f"{seconds} seconds")
