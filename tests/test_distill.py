"""Distillation on the shipped tiny model: the loss is what it says, falls, and the folder loads."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from rlvr.cli.hydra_app import MODELS
from rlvr.config import DistillConfig
from rlvr.data.chains import generate, graph_of, solution_text
from rlvr.data.prompts import load_renderer
from rlvr.distill import DistillProgress, Example, collate, distill, encode, epochs
from rlvr.errors import DataError

TINY = str(MODELS / "tiny")


@pytest.fixture(scope="module")
def examples() -> list[Example]:
    return [Example(problem, f" {solution_text(graph_of(problem))}") for problem in generate(24, [2, 9], 3)]


def config(**changes: object) -> DistillConfig:
    values = {"num_epochs": 4, "learning_rate": 1e-3, "batch_tokens": 1500, "report_every": 1, **changes}
    return DistillConfig(model=TINY, teacher=["t"], **values)  # type: ignore[arg-type]


def mean_loss(model: str, examples: list[Example]) -> float:
    """Nats per response token by the model's own loss, example by example."""
    network, tokenizer = AutoModelForCausalLM.from_pretrained(model), AutoTokenizer.from_pretrained(model)
    renderer = load_renderer(model)
    total, count = 0.0, 0
    for example in examples:
        prompt = renderer.render(example.problem)
        response = tokenizer(example.response + tokenizer.eos_token)["input_ids"]
        labels = torch.tensor([[-100] * len(prompt) + response])
        with torch.no_grad():
            loss = network(input_ids=torch.tensor([prompt + response]), labels=labels).loss
        total += loss.item() * len(response)
        count += len(response)
    return total / count


def test_the_student_learns_and_can_be_loaded(examples: list[Example], tmp_path: Path) -> None:
    before = mean_loss(TINY, examples)
    seen: list[DistillProgress] = []
    assert distill(config(), examples, tmp_path, seen.append) == len(examples)
    assert seen[-1].step == seen[-1].num_steps == len(seen)
    assert mean_loss(str(tmp_path), examples) < 0.7 * before
    assert AutoTokenizer.from_pretrained(tmp_path).chat_template


def test_a_rate_of_almost_nothing_changes_nothing_and_shows_the_loss(
    examples: list[Example], tmp_path: Path
) -> None:
    seen: list[DistillProgress] = []
    distill(config(num_epochs=1, learning_rate=1e-12), examples[1:2], tmp_path, seen.append)
    assert [now.loss for now in seen] == pytest.approx([mean_loss(TINY, examples[1:2])], rel=1e-4)
    start, end = (AutoModelForCausalLM.from_pretrained(folder).state_dict() for folder in (TINY, tmp_path))
    assert all(torch.allclose(start[name], end[name], atol=1e-6) for name in start)


def test_a_response_ends_in_the_end_token_and_long_ones_are_left_out(examples: list[Example]) -> None:
    tokenizer = AutoTokenizer.from_pretrained(TINY)
    rows = encode(examples, load_renderer(TINY), tokenizer, 1000)
    assert len(rows) == len(examples)
    assert all(response[-1] == tokenizer.eos_token_id for _, response in rows)
    assert tokenizer.decode(rows[0][1][:-1]) == examples[0].response
    assert len(encode(examples, load_renderer(TINY), tokenizer, 80)) == len(examples) / 2
    with pytest.raises(DataError, match="none of 24 examples has at most 5 tokens"):
        encode(examples, load_renderer(TINY), tokenizer, 5)


def test_every_example_occurs_once_per_epoch_over_all_processes() -> None:
    rounds = [[[0, 1], [2]], [[3], []], [[4, 5], [6, 7]]]
    own = [list(epochs(rounds, config(num_epochs=2), process)) for process in (0, 1)]
    assert [len(steps) for steps in own] == [6, 6]
    for half in (slice(0, 3), slice(3, 6)):
        assert sorted(row for steps in own for rows in steps[half] for row in rows) == list(range(8))


def test_a_process_without_rows_has_no_response() -> None:
    batch = collate([], 7, torch.device("cpu"))
    assert batch.tokens.tolist() == [[7]]
    assert not batch.response_mask.any()
