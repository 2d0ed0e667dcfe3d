"""docs/own.md, taken from its text: its files, and its commands one after another."""

from __future__ import annotations

import io
import json
import re
import shlex
from collections import defaultdict
from pathlib import Path

import pytest

from tests.cli.pools import Pools

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "own.md").read_text()
FILES = {"sums.jsonl": "json", "mine.py": "python", "mine.yaml": "yaml"}
COMMANDS = [
    block.replace("\\\n", " ").strip() for block in re.findall(r"^```bash\n(.*?)^```", PAGE, re.S | re.M)
]


@pytest.fixture
def pools(model_folder: Path, monkeypatch: pytest.MonkeyPatch, cwd: Path) -> Pools:
    """Pools that answer 42, or one more, to whatever they are asked; the page's files lie in the working folder."""
    for name, language in FILES.items():
        [text] = re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.S | re.M)
        (cwd / name).write_text(text)
    made = Pools(model_folder, monkeypatch)
    made.truths = defaultdict(lambda: 42)
    return made


def test_the_commands_run_one_after_another(
    rlvr, pools: Pools, cwd: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    validate, verify, train, evaluate = COMMANDS
    found = rlvr(*shlex.split(validate)[1:])
    assert found.code == 0, found.err
    assert "2 rows, read in columns question and solution" in found.out

    row, _, command = verify.partition(" | ")
    monkeypatch.setattr("sys.stdin", io.StringIO(shlex.split(row)[1]))
    found = rlvr(*shlex.split(command)[1:])
    assert json.loads(found.out) | {"seconds": 0} == {
        "id": 1, "score": 1.0, "status": "correct", "answer": None, "seconds": 0,
    }  # fmt: skip

    small = (
        "rollout.max_prompt_tokens=80",
        "rollout.max_response_tokens=128",
        "train.num_steps=1",
        "train.prompts_per_step=2",
        "algorithm.group_size=2",
    )
    found = rlvr(*shlex.split(train.replace("FOLDER", str(pools.model)))[1:], *small)
    assert found.code == 0, found.err
    [step] = [json.loads(line) for line in (cwd / "runs/mine/metrics.jsonl").read_text().splitlines()]
    # "# 42" and "# 43" have two words each; of the four responses one is right, that of the first problem.
    assert step["reward/mean"] == 0.25
    assert step["reward/shaped_mean"] == pytest.approx(0.25 + 0.1 / 3)

    found = rlvr(*shlex.split(evaluate)[1:], "rollout.max_response_tokens=128", "evaluation.max_tokens=128")
    assert found.code == 0, found.err
    spec = json.loads((cwd / "runs/mine-test/evaluation/sums/mine/spec.json").read_text())
    assert spec["verifier"].startswith("mine.py:judge/")
    assert spec["prompt_template"].startswith("mine.yaml:")


def test_the_keys_of_the_table_are_those_of_the_section() -> None:
    from dataclasses import fields

    from rlvr.config import ColumnsConfig

    table = PAGE.partition("| Key |")[2].partition("## A verifier")[0]
    named = {
        word
        for line in table.splitlines()
        for word in re.findall(r"`(\w+)`", line.split("|")[1] if "|" in line else "")
    }
    assert named == {spec.name for spec in fields(ColumnsConfig)}
