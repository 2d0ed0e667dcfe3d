"""Questions about images on real engines: what vLLM makes of them, and the whole command."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch

from rlvr.cluster import rollout_pool
from rlvr.config import BenchmarkConfig, ClusterConfig, DataConfig, RolloutConfig
from rlvr.data.benchmarks import benchmark_problems
from rlvr.data.prompts import load_renderer, longest_prompt
from rlvr.eval.samples import read_samples
from rlvr.eval.store import read_problems
from rlvr.protocols import SamplingSettings
from tests.commands import TIMEOUT, assert_nothing_left, start, stderr
from tests.vision import COLOURS, inputs, vision_model, visual_set


def test_an_engine_sees_what_transformers_sees(tmp_path: Path) -> None:
    """An untrained model, so that nothing but the image can make the responses differ; more requests than fit at once."""
    from transformers import AutoModelForImageTextToText, AutoProcessor

    model = vision_model(tmp_path / "model", steps=0)
    visual_set(tmp_path, repeat=3)
    problems = benchmark_problems(BenchmarkConfig("mathvista"), DataConfig(folder=str(tmp_path)))
    renderer = load_renderer(str(model))
    rollout = RolloutConfig(
        num_workers=2, max_prompt_tokens=longest_prompt(renderer, problems), max_response_tokens=8, max_num_seqs=2
    )  # fmt: skip
    requests = [renderer.request(key, problem, 1) for key, problem in enumerate(problems)]
    greedy = SamplingSettings(0.0, 8, logprobs=True)
    with rollout_pool(str(model), rollout, ClusterConfig(), 0, max_images=1) as engine:
        found = dict(engine.generate(requests, greedy))
    assert len(found) == len(problems) == 12
    processor = AutoProcessor.from_pretrained(model)
    reference = AutoModelForImageTextToText.from_pretrained(model)
    for key, problem in enumerate(problems):
        [completion] = found[key]
        batch = inputs(processor, [problem.ground_truth], [""])
        response = torch.tensor([list(completion.response_tokens)])
        length = batch["input_ids"].shape[1]
        with torch.no_grad():
            logits = reference(
                input_ids=torch.cat([batch["input_ids"], response], dim=1),
                pixel_values=batch["pixel_values"],
                pixel_attention_mask=batch["pixel_attention_mask"],
            ).logits[0, length - 1 : -1]
        expected = logits.log_softmax(-1).gather(1, response.T).squeeze(1)
        assert completion.logprobs is not None
        assert torch.tensor(completion.logprobs).allclose(expected, atol=1e-4)
    first = [tuple(found[key][0].logprobs or ()) for key in range(4)]
    assert len(set(first)) == 4


def test_the_visual_row_is_measured_end_to_end(tmp_path: Path) -> None:
    """The recipe with both its benchmarks, a model that reads the answer off the image against one that cannot."""
    blind, reader = vision_model(tmp_path / "blind", steps=0), vision_model(tmp_path / "reader", steps=60)
    data = tmp_path / "data"
    rows = [json.loads(line) for line in visual_set(data, repeat=2).read_text().splitlines()]
    shutil.copytree(data / "mathvista", data / "mathvision")
    (data / "mathvision.jsonl").write_text(
        "".join(json.dumps(row | {"question": "<image1> a ?", "options": []}) + "\n" for row in rows)
    )
    run = tmp_path / "run"
    words = (
        "evaluate", "recipe=easyr1", "cluster=laptop", f"models.base={blind}", f"models.rl={reader}",
        f"data.folder={data}", "num_samples=4", "evaluation.max_tokens=8",
        "prompt=chat", f"run.dir={run}",
    )  # fmt: skip
    command = start(tmp_path, *words)
    output, _ = command.communicate(timeout=TIMEOUT)
    assert command.returncode == 0, stderr(tmp_path)
    summary = json.loads((run / "summary.json").read_text())
    assert set(summary["benchmarks"]) == {"mathvista", "mathvision"}
    for name, found in summary["benchmarks"].items():
        assert found["models"]["rl"]["pass_at_k"][0] > 0.9, (name, output)
        assert found["models"]["base"]["pass_at_k"][0] < 0.5
    folder = run / "evaluation" / "mathvision" / "rl"
    samples = list(read_samples(folder / "samples.jsonl.gz"))
    assert len({(sample.problem, sample.sample) for sample in samples}) == len(samples) == 8 * 4
    problems = read_problems(folder)
    assert [problem.ground_truth for problem in problems] == [*COLOURS] * 2
    assert problems[0].images[0].path.endswith("mathvision/images/0.png")
    assert_nothing_left(tmp_path)

    again = start(tmp_path, *words)
    again.communicate(timeout=TIMEOUT)
    assert again.returncode == 0, stderr(tmp_path)
    assert "samples to draw" not in stderr(tmp_path)
