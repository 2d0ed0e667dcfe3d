"""The folder of an evaluation: append-only, repaired, never mixed and never doubled; counts and comparisons."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rlvr.errors import ConfigError, DataError
from rlvr.eval import store as store_module
from rlvr.eval.samples import Sample, encode_samples, read_samples
from rlvr.eval.store import EvaluationSpec, SampleStore, load_evaluation, read_spec, refuse_unlike
from rlvr.records import Status
from rlvr.run_folder import COUNTS_FILE, SAMPLES_FILE, SPEC_FILE

SPEC = EvaluationSpec(
    model_name="base",
    model_path="models/base",
    model_sha256="aa",
    benchmark="fake",
    problems_sha256="bb",
    num_problems=2,
    num_samples=2,
    prompt_template="t",
    sampling={"temperature": 1.0, "top_p": 1.0, "max_tokens": 8},
    verifier="fake/1",
    seed=0,
    chance_level=0.5,
)


def sample(problem: str, index: int, status: Status = Status.CORRECT, text: str = "# 1") -> Sample:
    return Sample(problem, index, float(status is Status.CORRECT), status, "1", text, 3, "stop")


ALL = [sample("p0", 0), sample("p0", 1, Status.INCORRECT), sample("p1", 0, Status.TIMEOUT), sample("p1", 1)]


def store_of(folder: Path, *samples: Sample) -> Path:
    store = SampleStore(folder, SPEC)
    store.append(samples)
    store.close()
    return folder / SAMPLES_FILE


def test_reopening_knows_what_is_done(tmp_path: Path) -> None:
    store_of(tmp_path, *ALL[:2])
    store = SampleStore(tmp_path, SPEC)
    assert store.done == {("p0", 0), ("p0", 1)}
    store.append(ALL[2:])
    store.close()
    assert list(read_samples(tmp_path / SAMPLES_FILE)) == ALL


def test_a_row_is_on_disk_when_append_returns(tmp_path: Path) -> None:
    store = SampleStore(tmp_path, SPEC)
    store.append(ALL[:1])
    assert list(read_samples(tmp_path / SAMPLES_FILE)) == ALL[:1]
    store.close()


def test_a_sample_is_never_stored_twice(tmp_path: Path) -> None:
    store_of(tmp_path, ALL[0])
    store = SampleStore(tmp_path, SPEC)
    with pytest.raises(ValueError, match="already stored"):
        store.append([ALL[0]])
    store.close()
    assert list(read_samples(tmp_path / SAMPLES_FILE)) == ALL[:1]


def test_a_half_written_member_is_cut_off_wherever_it_ends(tmp_path: Path) -> None:
    store_of(tmp_path, ALL[0])
    path = store_of(tmp_path, *ALL[1:3])
    whole = path.read_bytes()
    first = len(encode_samples(ALL[:1]))
    for end in range(first, len(whole)):
        path.write_bytes(whole[:end])
        store = SampleStore(tmp_path, SPEC)
        assert store.done == {("p0", 0)}
        store.append(ALL[1:3])
        store.close()
        assert path.read_bytes() == whole


def test_rows_of_one_append_are_all_or_none(tmp_path: Path) -> None:
    store = SampleStore(tmp_path, SPEC)
    with pytest.raises(ValueError, match="already stored"):
        store.append([ALL[0], ALL[1], ALL[0]])
    assert store.done == set()
    store.close()
    assert list(read_samples(tmp_path / SAMPLES_FILE)) == []


def test_two_processes_never_write_one_evaluation(tmp_path: Path) -> None:
    store = SampleStore(tmp_path, SPEC)
    with pytest.raises(ConfigError, match="another process") as caught:
        SampleStore(tmp_path, SPEC)
    assert caught.value.where == str(tmp_path / SAMPLES_FILE)
    store.close()
    SampleStore(tmp_path, SPEC).close()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("num_samples", 4),
        ("model_sha256", "zz"),
        ("problems_sha256", "zz"),
        ("seed", 1),
        ("sampling", {"temperature": 0.6, "top_p": 1.0, "max_tokens": 8}),
        ("verifier", "fake/2"),
    ],
)
def test_another_spec_is_refused_by_its_difference(tmp_path: Path, key: str, value: Any) -> None:
    store_of(tmp_path, ALL[0])
    with pytest.raises(ConfigError, match=key) as caught:
        SampleStore(tmp_path, replace(SPEC, **{key: value}))
    assert caught.value.where == str(tmp_path / SPEC_FILE)
    assert list(read_samples(tmp_path / SAMPLES_FILE)) == ALL[:1]


def test_a_model_that_was_moved_is_still_the_one_that_was_measured(tmp_path: Path) -> None:
    store_of(tmp_path, ALL[0])
    store = SampleStore(tmp_path, replace(SPEC, model_path="elsewhere/base"))
    store.close()
    assert store.done == {("p0", 0)}
    assert read_spec(tmp_path) == replace(SPEC, model_path="elsewhere/base")


def test_verdicts_are_counted_per_problem(tmp_path: Path) -> None:
    store_of(tmp_path, ALL[3], ALL[0], ALL[2], ALL[1])  # in the order in which they finished
    found = load_evaluation(tmp_path, ["p0", "p1"])
    assert found.spec == SPEC
    assert found.num_correct.tolist() == [1, 1]
    assert found.num_samples.tolist() == [2, 2]
    assert found.status_counts == {"correct": 2, "incorrect": 1, "unparsed": 0, "timeout": 1, "error": 0}
    assert found.mean_num_tokens == 3
    assert len(list(found.samples())) == 4


def test_counts_are_kept_and_never_outlive_what_they_are_of(tmp_path: Path, monkeypatch) -> None:
    path = store_of(tmp_path, *ALL)
    first = load_evaluation(tmp_path, ["p0", "p1"])
    with monkeypatch.context() as context:
        context.setattr(store_module, "read_samples", lambda *_: pytest.fail("the samples were read again"))
        again = load_evaluation(tmp_path, ["p0", "p1"])
    assert (again.num_correct.tolist(), again.status_counts) == (
        first.num_correct.tolist(),
        first.status_counts,
    )
    assert load_evaluation(tmp_path, ["p1", "p0"]).status_counts == first.status_counts
    earlier = json.loads((tmp_path / COUNTS_FILE).read_text())
    del earlier["cut_off"]  # as an earlier version left it
    (tmp_path / COUNTS_FILE).write_text(json.dumps(earlier))
    assert load_evaluation(tmp_path, ["p0", "p1"]).num_cut_off == 0
    (tmp_path / COUNTS_FILE).write_text("{")
    assert load_evaluation(tmp_path, ["p0", "p1"]).mean_num_tokens == 3
    path.write_bytes(encode_samples([*ALL[:3], sample("p1", 1, Status.INCORRECT)]))
    assert load_evaluation(tmp_path, ["p0", "p1"]).num_correct.tolist() == [1, 0]


def test_a_verifiers_own_error_is_no_sample(tmp_path: Path) -> None:
    store_of(tmp_path, *ALL[:3], sample("p1", 1, Status.ERROR))
    found = load_evaluation(tmp_path, ["p0", "p1"])
    assert found.num_samples.tolist() == [2, 1]
    assert found.num_correct.tolist() == [1, 0]
    assert found.status_counts["error"] == 1


def test_missing_samples_are_refused(tmp_path: Path) -> None:
    store_of(tmp_path, *ALL[:3])
    with pytest.raises(DataError, match="3 of 4") as caught:
        load_evaluation(tmp_path, ["p0", "p1"])
    assert "again" in str(caught.value.fix)


@pytest.mark.parametrize("extra", [ALL[0], sample("p2", 0)])
def test_doubled_and_foreign_samples_are_refused(tmp_path: Path, extra: Sample) -> None:
    path = store_of(tmp_path, *ALL)
    with path.open("ab") as file:
        file.write(encode_samples([extra]))
    with pytest.raises(DataError, match="doubled or of an unknown problem"):
        load_evaluation(tmp_path, ["p0", "p1"])


@pytest.mark.parametrize(
    "key", ["benchmark", "problems_sha256", "prompt_template", "verifier", "num_samples"]
)
def test_what_was_measured_differently_is_not_compared(key: str) -> None:
    change: dict[str, Any] = {key: 99}
    with pytest.raises(ConfigError, match=key):
        refuse_unlike(SPEC, replace(SPEC, **change))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sampling": {**SPEC.sampling, "max_tokens": 16}}, "sampling.max_tokens is 8 against 16"),
        ({"verifier": "math/1(units=required)"}, "verifier is units=optional against units=required"),
        ({"prompt_template": "boxed:1"}, "prompt_template is 't' against 'boxed:1'"),
    ],
)
def test_a_refused_comparison_names_what_differs_and_nothing_else(change: dict[str, Any], words: str) -> None:
    base = replace(SPEC, verifier="math/1(units=optional)") if "verifier" in change else SPEC
    with pytest.raises(ConfigError) as caught:
        refuse_unlike(base, replace(base, **change))
    assert caught.value.what == f"'base' and 'base' cannot be compared: {words}"


def test_all_differences_are_named_at_once() -> None:
    other = replace(SPEC, num_samples=4, sampling={**SPEC.sampling, "temperature": 0.6, "top_p": 0.95})
    with pytest.raises(ConfigError, match=r"temperature.*top_p.*num_samples is 2 against 4"):
        refuse_unlike(SPEC, other)


def test_models_and_seeds_may_differ_in_a_comparison() -> None:
    refuse_unlike(SPEC, replace(SPEC, model_name="grpo", model_path="x", model_sha256="y", seed=7))


WRITER = """
import sys
from pathlib import Path
from rlvr.eval.samples import Sample
from rlvr.eval.store import SampleStore
from rlvr.records import Status
from tests.eval.test_store import SPEC

store = SampleStore(Path(sys.argv[1]), SPEC)
for problem in range(400):
    keys = [(f"p{problem}", index) for index in range(25)]
    left = [key for key in keys if key not in store.done]
    assert len(left) in (0, 25), "half a chunk was stored"
    if left:
        text = f"{problem} " * 2000
        store.append([Sample(*key, 1.0, Status.CORRECT, "1", text, 3, "stop") for key in left])
store.close()
"""


def test_a_writer_that_is_killed_ten_times_loses_and_doubles_nothing(tmp_path: Path) -> None:
    rng = random.Random(0)
    path, kills = tmp_path / SAMPLES_FILE, 0
    stored: list[Sample] = []
    while True:
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)])
        size = path.stat().st_size if path.exists() else 0
        # From the moment that it writes, or, now and then, while it still reads what is there.
        while kills < 10 and writer.poll() is None and (not path.exists() or path.stat().st_size <= size):
            time.sleep(0.001)
        try:
            assert writer.wait(rng.uniform(0, 0.05) if kills < 10 else 120) == 0
            break
        except subprocess.TimeoutExpired:
            writer.kill()
            writer.wait()
            kills += 1
        found = list(read_samples(path))
        assert found[: len(stored)] == stored
        stored = found
    rows = list(read_samples(path))
    assert kills == 10
    assert len({(row.problem, row.sample) for row in rows}) == len(rows) == 10_000
