"""Evaluation on a fake engine: what is sampled, stored, resumed and refused."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest

from rlvr.config import SamplingPlan
from rlvr.errors import ConfigError, VerifierError, WorkerError
from rlvr.eval.evaluate import EvaluationProgress, evaluate, missing_chunks
from rlvr.eval.samples import Sample, read_samples
from rlvr.eval.store import EvaluationSpec, SampleStore, load_evaluation
from rlvr.records import Status
from rlvr.run_folder import SAMPLES_FILE
from tests.fakes import FakeEngine, FakeRenderer, FakeVerifier, index_of, problems

NUM_PROBLEMS, NUM_SAMPLES = 5, 10
PLAN = SamplingPlan(num_samples=NUM_SAMPLES, temperature=0.6, top_p=0.95, max_tokens=16, chunk_size=4)
SPEC = EvaluationSpec(
    "base", "m", "aa", "fake", "bb", NUM_PROBLEMS, NUM_SAMPLES, "t", {"temperature": 0.6}, "fake/1", 0, 0.2
)
IDS = [problem.id for problem in problems(NUM_PROBLEMS)]


def run(folder: Path, engine: FakeEngine, **changes) -> list[EvaluationProgress]:
    progress: list[EvaluationProgress] = []
    evaluate(
        engine=engine,
        renderer=FakeRenderer(),
        problems=problems(NUM_PROBLEMS),
        plan=PLAN,
        folder=folder,
        on_progress=progress.append,
        **{"spec": SPEC, "verifier": FakeVerifier(), **changes},
    )
    return progress


def test_every_sample_of_every_problem_is_stored_once(tmp_path: Path) -> None:
    engine = FakeEngine(lambda index, sample: f"# {index}" if sample < 2 * index else "# no")
    run(tmp_path, engine)
    found = load_evaluation(tmp_path, IDS)
    assert found.num_correct.tolist() == [0, 2, 4, 6, 8]
    assert found.num_samples.tolist() == [NUM_SAMPLES] * NUM_PROBLEMS


def test_a_sample_keeps_what_was_said_and_how_it_was_judged(tmp_path: Path) -> None:
    run(tmp_path, FakeEngine(lambda index, sample: "cut…" if sample == 0 else f"# {index}"))
    by_status = {row.status: row for row in read_samples(tmp_path / SAMPLES_FILE)}
    cut, right = by_status[Status.UNPARSED], by_status[Status.CORRECT]
    assert (cut.text, cut.finish_reason, cut.answer, cut.score) == ("cut…", "length", None, 0.0)
    assert right.text == f"# {right.answer}"
    assert right.problem == f"fake/train/{right.answer}"
    assert 1 <= right.num_tokens <= 4


def test_requests_are_chunks_and_sampling_is_the_settings(tmp_path: Path) -> None:
    engine = FakeEngine()
    run(tmp_path, engine)
    assert [request.num_samples for request in engine.requests] == [4, 4, 2] * NUM_PROBLEMS
    prompts = [tuple(request.prompt_tokens) for request in engine.requests]
    assert prompts == sorted(prompts)  # chunks of one problem are neighbours
    [settings] = engine.settings
    assert (settings.temperature, settings.top_p, settings.max_tokens) == (0.6, 0.95, 16)


@pytest.mark.parametrize("die_after", [0, 1, 7, 14])
def test_an_interrupted_evaluation_goes_on_where_it_stopped(tmp_path: Path, die_after: int) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, FakeEngine(die_after=die_after))
    stored = list(read_samples(tmp_path / SAMPLES_FILE))
    engine = FakeEngine()
    progress = run(tmp_path, engine)
    rows = list(read_samples(tmp_path / SAMPLES_FILE))
    assert rows[: len(stored)] == stored
    assert len({(row.problem, row.sample) for row in rows}) == len(rows) == NUM_PROBLEMS * NUM_SAMPLES
    assert sum(request.num_samples for request in engine.requests) == len(rows) - len(stored)
    assert progress[-1].num_done == len(rows)
    # What the earlier session has drawn is in the shares that are shown.
    assert progress[-1].num_correct == sum(row.status is Status.CORRECT for row in rows)


def test_a_half_written_last_line_is_sampled_again(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, FakeEngine(die_after=3))
    path = tmp_path / SAMPLES_FILE
    path.write_bytes(path.read_bytes()[:-20])
    run(tmp_path, FakeEngine())
    assert load_evaluation(tmp_path, IDS).num_samples.tolist() == [NUM_SAMPLES] * NUM_PROBLEMS


def test_a_finished_evaluation_asks_for_nothing(tmp_path: Path) -> None:
    run(tmp_path, FakeEngine())
    before = (tmp_path / SAMPLES_FILE).read_bytes()
    engine = FakeEngine()
    run(tmp_path, engine)
    assert engine.requests == []
    assert (tmp_path / SAMPLES_FILE).read_bytes() == before


def test_another_spec_is_refused_before_anything_is_sampled(tmp_path: Path) -> None:
    run(tmp_path, FakeEngine())
    engine = FakeEngine()
    with pytest.raises(ConfigError, match="model_sha256"):
        run(tmp_path, engine, spec=replace(SPEC, model_sha256="other"))
    assert engine.requests == []


def test_progress_counts_this_sessions_samples(tmp_path: Path) -> None:
    progress = run(tmp_path, FakeEngine(lambda index, sample: f"# {index}" if index else "# no"))
    assert progress[-1].num_done == progress[-1].num_total == 50
    assert progress[-1].num_correct == 40
    assert [now.num_done for now in progress] == sorted(now.num_done for now in progress)
    assert progress[-1].num_tokens > 50


def failing(count: int):
    """Responses of which the first ``count`` of problem 0 cannot be verified."""
    return lambda index, sample: "error" if index == 0 and sample < count else f"# {index}"


def test_a_few_verifier_errors_are_left_out(tmp_path: Path) -> None:
    run(tmp_path, FakeEngine(failing(2)))
    found = load_evaluation(tmp_path, IDS)
    assert found.num_samples.tolist() == [NUM_SAMPLES - 2, *[NUM_SAMPLES] * 4]
    assert found.status_counts["error"] == 2


def test_what_was_sampled_before_the_engine_failed_is_stored_even_if_its_verdict_came_later(
    tmp_path: Path,
) -> None:
    failed = threading.Event()

    class Failing(FakeEngine):
        def generate(self, requests, settings):
            yield from islice(super().generate(requests, settings), 3)
            failed.set()
            raise WorkerError("the server has gone")

    class Late(FakeVerifier):
        """A verdict at a time, and none before the engine has failed."""

        def __init__(self) -> None:
            super().__init__()
            self.threads = ThreadPoolExecutor(1)

        def submit(self, problem, response, finish_reason):
            return self.threads.submit(self._judge, problem, response, finish_reason)

        def _judge(self, *words):
            assert failed.wait(30)
            return self.verify(*words)

        def metrics(self):
            return {}

    with pytest.raises(WorkerError, match="the server has gone"):
        run(tmp_path, Failing(), verifier=Late())
    assert 8 <= len(list(read_samples(tmp_path / SAMPLES_FILE))) <= 12  # three chunks of 2 or 4


def test_many_verifier_errors_stop_the_evaluation(tmp_path: Path) -> None:
    with pytest.raises(VerifierError, match="verifier failed"):
        run(tmp_path, FakeEngine(failing(3)))


def test_resuming_does_not_forget_the_errors_of_before(tmp_path: Path) -> None:
    with pytest.raises(VerifierError):
        run(tmp_path, FakeEngine(failing(3)))
    with pytest.raises(VerifierError):
        run(tmp_path, FakeEngine())


def test_the_next_model_begins_with_the_problems_on_which_the_last_one_wrote_most(tmp_path: Path) -> None:
    order = {0: 4, 1: 1, 2: 3, 3: 0, 4: 2}
    rows = [
        Sample(problem.id, sample, 0.0, Status.INCORRECT, None, "", order[index] + 1, "stop")
        for index, problem in enumerate(problems(NUM_PROBLEMS))
        for sample in range(NUM_SAMPLES)
    ]
    store = SampleStore(tmp_path / "base", SPEC)
    store.append(rows)
    store.close()
    load_evaluation(tmp_path / "base", IDS)
    engine = FakeEngine()
    run(tmp_path / "grpo", engine)
    asked = [index_of(request.prompt_tokens) for request in engine.requests]
    assert list(dict.fromkeys(asked)) == [0, 2, 4, 1, 3]
    assert asked == sorted(asked, key=[0, 2, 4, 1, 3].index)  # chunks of one problem are neighbours still
    assert load_evaluation(tmp_path / "grpo", IDS).problem_ids == tuple(IDS)


def test_only_what_is_missing_is_cut_into_chunks() -> None:
    done = {("fake/train/0", i) for i in (0, 1, 5)} | {("fake/train/1", i) for i in range(NUM_SAMPLES)}
    chunks = missing_chunks(problems(3), PLAN, done)
    assert [(chunk.problem.id[-1], chunk.samples) for chunk in chunks] == [
        ("0", (2, 3, 4, 6)),
        ("0", (7, 8, 9)),
        ("2", (0, 1, 2, 3)),
        ("2", (4, 5, 6, 7)),
        ("2", (8, 9)),
    ]
