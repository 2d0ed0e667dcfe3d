"""``rlvr entropy``: refusals, and the table of what is there; engines have tests of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from rlvr.eval.discovery import stores_in
from rlvr.eval.entropy import Entropies, write_entropies
from rlvr.run_folder import write_equal_entropy
from rlvr.workflows.entropy import lines, matches
from tests.cli.refusing import refused
from tests.fabricate import COUNTS, evaluation, sha, study_folder


def test_the_table_names_the_temperature_that_matches(cwd: Path) -> None:
    study_folder(cwd / "runs", ("base", "grpo"))
    stores = {store.name: store for store in stores_in(cwd / "runs")}
    for name, value in (("base", 0.5), ("grpo", 0.2)):
        write_entropies(stores[name].folder, Entropies(sha(name), 0.6, 4, {"a": value, "b": value}))
    heated = [(stores["grpo"], Entropies(sha("grpo"), 1.2, 4, {"a": 0.8, "b": 0.8}))]
    found = lines(list(stores.values()), heated)
    assert "grpo has the entropy of the base at temperature 0.9" in found
    assert any(line.startswith("base") and "0.6" in line and "0.500" in line for line in found)
    [(temperature, nats)] = matches(list(stores.values()), heated).values()
    assert temperature == pytest.approx(0.9)
    assert nats == 0.5
    cold = [(stores["grpo"], Entropies(sha("grpo"), 0.4, 4, {"a": 0.1, "b": 0.1}))]
    assert matches(list(stores.values()), cold) == {stores["grpo"].folder: (None, 0.5)}
    assert any("widen match=" in line for line in lines(list(stores.values()), cold))


def test_a_setting_may_be_the_temperature_that_matches(composed, rlvr, cwd: Path) -> None:
    words = ["model=gpt2", "benchmark=skills", "temperature=${rlvr_equal_entropy:runs/a}"]
    refused(
        rlvr("evaluate", *words),
        "no temperature is known at which this model has the base's entropy",
        "match=",
    )
    (cwd / "runs/a").mkdir(parents=True)
    write_equal_entropy(cwd / "runs/a", 1.23456, 0.5)
    [(config, _)] = composed("evaluate", *words)
    assert config.evaluation.temperature == 1.235


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ([], ["no folder is named"]),
        (["runs", "match=hot"], ["match is 'hot'", "list[float]", "rlvr entropy --help=match"]),
        (["runs", "match=0"], ["match is '0'"]),
        (["runs", "responses=0"], ["responses is 0"]),
        (["runs"], ["where: runs/base"]),
    ],
)
def test_a_mistake(rlvr, cwd: Path, words: list[str], found: list[str]) -> None:
    evaluation(cwd / "runs/base", "base", COUNTS["base"])
    refused(rlvr("entropy", *words), "rlvr entropy: ", *found)
