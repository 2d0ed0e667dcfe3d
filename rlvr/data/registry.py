"""The registered benchmarks: where each comes from, how its rows are read, and how the study measures on it.

The repository carries none of the published sets; benchmarks.py loads them.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from rlvr.config import BenchmarkConfig, DataConfig, SamplingPlan
from rlvr.data import graphs, signs, skills
from rlvr.data.code_training import code_r1, deepcoder
from rlvr.data.columns import (
    Parser,
    after_the_hashes,
    answer_or_box,
    code,
    code_between,
    final_answers,
    gold_answer,
    questions,
    unwrapped,
    visual,
)
from rlvr.data.families import FAMILIES
from rlvr.data.hub import HubSource
from rlvr.data.templates import TEMPLATES
from rlvr.records import Problem

Choose = Callable[[Sequence[Problem], int], list[Problem]]
"""All problems of a source and ``data.split_seed`` → those of the benchmark."""
Generate = Callable[[BenchmarkConfig, DataConfig], list[Problem]]


@dataclass(frozen=True, slots=True)
class BenchmarkEntry:
    """What is known of a benchmark before any of it is loaded."""

    name: str
    about: str
    prompt: str
    """Name of its prompt template, unless the config names one."""
    plan: SamplingPlan
    """The study's sampling on it."""
    num_problems: int | None = None
    """As published; a set of another size is loaded with a warning. None where the config decides."""
    source: HubSource | None = None
    parse: Parser | None = None
    file: str = ""
    """Name of its file or folder in ``data.folder``, without an ending; its own name by default."""
    choose: Choose | None = None
    """The part of the source that it is."""
    generate: Generate | None = None
    """Makes the problems, for a family that is generated."""
    verifier: str = "math"
    """Ability of its problems, which chooses the verifier (docs/rewards.md)."""
    has_images: bool = False
    """Whether its problems are about images, one each at least."""
    own_columns: bool = False
    """Whether its rows are read by ``parse`` even where they have verl's columns as well: their prompts are rendered
    for one model, or hold words that belong to the prompt template."""
    without_doubles: bool = False
    """Whether a question that comes again is left out: DAPO-Math-17k has each row about a hundred times."""


def deduplicated(problems: Iterable[Problem]) -> list[Problem]:
    """The first of each group of problems with the same question, white space aside."""
    first: dict[str, Problem] = {}
    for problem in problems:
        first.setdefault(" ".join(problem.prompt[-1]["content"].split()), problem)
    return list(first.values())


OMNI_TRAIN = 2000
"""Training problems of the study's split (arXiv 2504.13837 §4.3)."""


def _split(part: str) -> Choose:
    """A part of the seeded split of the problems without doubles; each part in the order of the source."""

    def choose(problems: Sequence[Problem], seed: int) -> list[Problem]:
        unique = deduplicated(problems)
        order = list(range(len(unique)))
        random.Random(seed).shuffle(order)
        chosen = order[:OMNI_TRAIN] if part == "train" else order[OMNI_TRAIN:]
        return [_moved(unique[index], part) for index in sorted(chosen)]

    return choose


def _moved(problem: Problem, split: str) -> Problem:
    source, _, index = problem.id.split("/")
    return replace(problem, id=f"{source}/{split}/{index}", extra_info={**problem.extra_info, "split": split})


def _family(name: str) -> Generate:
    return lambda benchmark, data: FAMILIES[name].test_split(
        data, benchmark.num_problems, benchmark.operations
    )


def _longer_chains(benchmark: BenchmarkConfig, data: DataConfig) -> list[Problem]:
    """More operations than the tiny models see in training."""
    operations = benchmark.operations or [9, 10, 11, 12]
    return FAMILIES["chains"].test_split(data, benchmark.num_problems or 40, operations)


def _skills(name: str, operations: Sequence[int] | None = None, mixed: bool = False) -> Generate:
    """Problems with named operations that the tiny models do not see in training."""
    return lambda benchmark, data: skills.generate(
        benchmark.num_problems or 40,
        benchmark.operations or operations or data.skills.operations,
        data.skills.seed,
        data.skills,
        "test",
        modulus=data.skills.modulus,
        mixed=mixed,
        name=name,
    )


def _graphs(name: str, context: str) -> Generate:
    """Graphs told in the words of one context, whatever training has."""
    return lambda benchmark, data: graphs.generate(
        benchmark.num_problems or data.graphs.num_test,
        benchmark.operations or data.graphs.operations,
        [context],
        data.graphs.seed,
        data.graphs,
        graphs.TEST,
        name,
    )


WIDE, DEEP, ALGORITHMS = SamplingPlan(), SamplingPlan(num_samples=1024), SamplingPlan(num_samples=256)
TINY = SamplingPlan(num_samples=128, temperature=1.0, top_p=1.0, max_tokens=160)
PROBLEM = ("problem", "question")


def _omni(name: str, about: str, num_problems: int, choose: Choose | None = None) -> BenchmarkEntry:
    return BenchmarkEntry(
        name, about, "think_answer", ALGORITHMS, num_problems,
        HubSource(files=("https://raw.githubusercontent.com/KbsdJames/omni-math-rule/main/omni_math_rule.jsonl",)),
        questions(*PROBLEM), "omni_math_rule", choose,
    )  # fmt: skip


OAT_ZERO = "https://raw.githubusercontent.com/sail-sg/understand-r1-zero/main/datasets/train"


def _simplerl(name: str, about: str, folder: str, prompt: str) -> BenchmarkEntry:
    """A part of SimpleRL-Zoo-Data; its own prompts are rendered in a model's chat tokens."""
    return BenchmarkEntry(
        name, about, prompt, ALGORITHMS, None,
        HubSource(files=(f"hf://datasets/hkust-nlp/SimpleRL-Zoo-Data/simplelr_{folder}/train.parquet",)),
        questions(*PROBLEM[::-1], truth=gold_answer, split="train"), own_columns=True,
    )  # fmt: skip


_ALL = (
    BenchmarkEntry(
        "gsm8k", "grade-school word problems, test split", "think_answer", WIDE, 1319,
        HubSource("openai/gsm8k", "main"), questions("question", truth=after_the_hashes),
    ),
    BenchmarkEntry(
        "math500", "500 problems of MATH", "think_answer", WIDE, 500,
        HubSource("HuggingFaceH4/MATH-500"), questions(*PROBLEM),
    ),
    BenchmarkEntry(
        "minerva_math", "undergraduate science, Minerva's set", "think_answer", WIDE, 272,
        HubSource("math-ai/minervamath"), questions(*PROBLEM, truth=answer_or_box),
    ),
    BenchmarkEntry(
        "olympiadbench", "olympiad mathematics, open-ended, English, text only", "think_answer", WIDE, 675,
        HubSource("math-ai/olympiadbench"),
        questions("question", truth=final_answers, context="context"),
    ),
    BenchmarkEntry(
        "aime24", "AIME 2024 I and II", "think_answer", DEEP, 30,
        HubSource("HuggingFaceH4/aime_2024", split="train"), questions(*PROBLEM),
    ),
    BenchmarkEntry(
        "aime25", "AIME 2025 I and II", "think_answer", DEEP, 30,
        HubSource("math-ai/aime25"), questions(*PROBLEM),
    ),
    BenchmarkEntry(
        "amc23", "AMC 12 of 2023", "think_answer", DEEP, 40,
        HubSource("math-ai/amc23"), questions(*PROBLEM),
    ),
    _omni("omni_math_rule", "olympiad problems that rules can grade, all rows", 2821),
    _omni("omni_math_train", "2,000 of them without doubles, by data.split_seed", OMNI_TRAIN, _split("train")),
    _omni("omni_math_test", "the others, by the same seed", 816, _split("test")),
    _simplerl("simplerl_zoo_easy", "GSM8K and MATH's level 1: SimpleRL-Zoo's Llama", "abel_gsm8k_level1", "abel"),
    _simplerl("simplerl_zoo_hard", "MATH's levels 3 to 5: SimpleRL-Zoo's Qwen2.5", "qwen_level3to5", "qwen_boxed"),
    BenchmarkEntry(
        "math_levels_3_to_5", "MATH's levels 3 to 5 as Oat-Zero has them", "qwen_math", ALGORITHMS, None,
        HubSource(files=(f"{OAT_ZERO}/math_lvl3to5_8k/train/data-00000-of-00001.arrow",)),
        questions(*PROBLEM, truth=gold_answer, split="train"),
    ),
    BenchmarkEntry(
        "dapo_17k", "DAPO-Math-17k, each problem once", "dapo", ALGORITHMS, None,
        HubSource("BytedTsinghua-SIA/DAPO-Math-17k", split="train"),
        unwrapped(str(TEMPLATES["dapo"].user)), own_columns=True, without_doubles=True,
    ),
    BenchmarkEntry(
        "code_r1_12k", "LeetCode and TACO, verified: Code-R1's", "chat", ALGORITHMS, None,
        HubSource("ganler/code-r1-12k", split="train"), code_r1, verifier="livecodebench", own_columns=True,
    ),
    BenchmarkEntry(
        "deepcoder_preview", "TACO, SYNTHETIC-1 and LiveCodeBench until July 2024: DeepCoder's", "chat", ALGORITHMS, None,
        HubSource("agentica-org/DeepCoder-Preview-Dataset", ("primeintellect", "taco", "lcbv5"), "train"),
        deepcoder, verifier="livecodebench",
    ),
    BenchmarkEntry(
        "geometry3k", "questions about geometric figures, training split", "easyr1", ALGORITHMS, 2101,
        HubSource("hiyouga/geometry3k", split="train"), questions("problem", split="train"), has_images=True,
    ),
    BenchmarkEntry(
        "livecodebench", "release v5, contests of August 2024 to January 2025", "livecodebench", WIDE, 279,
        HubSource(files=tuple(
            f"hf://datasets/livecodebench/code_generation_lite/test{number}.jsonl" for number in ("", 2, 3, 4, 5)
        )),
        code_between("2024-08-01", "2025-02-01"), verifier="livecodebench",
    ),
    BenchmarkEntry(
        "humanevalplus", "HumanEval with EvalPlus's tests", "evalplus", WIDE, 164,
        HubSource("evalplus/humanevalplus"), code, verifier="code",
    ),
    BenchmarkEntry(
        "mbppplus", "MBPP with EvalPlus's tests", "evalplus", WIDE, 378,
        HubSource("evalplus/mbppplus"), code, verifier="code",
    ),
    BenchmarkEntry(
        "mathvista", "questions about images, testmini, without multiple choice", "boxed", WIDE, 460,
        HubSource("AI4Math/MathVista", split="testmini"),
        visual(lambda row: row.get("question_type") == "multi_choice", "query", "question"), has_images=True,
    ),
    BenchmarkEntry(
        "mathvision", "competition problems with images, testmini, without multiple choice", "boxed", WIDE, None,
        HubSource("MathLLMs/MathVision", split="testmini"),
        visual(lambda row: bool(row.get("options")), "question"), has_images=True,
    ),
    BenchmarkEntry(
        "chains", "generated arithmetic, test split of data.chains", "chat", TINY,
        generate=_family("chains"), verifier="arithmetic",
    ),
    BenchmarkEntry(
        "chains_long", "longer chains than the tiny models are trained on", "chat", TINY,
        generate=_longer_chains, verifier="arithmetic",
    ),
    BenchmarkEntry(
        "skills", "arithmetic with named operations, test split of data.skills", "chat", TINY,
        generate=_family("skills"), verifier="arithmetic",
    ),
    BenchmarkEntry(
        "skills_long", "chains of 6 operations, longer than any that RL trains the tiny models on", "chat", TINY,
        generate=_skills("skills_long", [6]), verifier="arithmetic",
    ),
    BenchmarkEntry(
        "skills_mixed", "named operations that never occur together in training", "chat", TINY,
        generate=_skills("skills_mixed", mixed=True), verifier="arithmetic",
    ),
    BenchmarkEntry(
        "graphs", "dependency graphs told in words, test split of data.graphs", "chat", TINY,
        generate=_family("graphs"), verifier="arithmetic",
    ),
    *(
        BenchmarkEntry(
            f"graphs_{context}", f"dependency graphs told in the words of the context {context}", "chat", TINY,
            generate=_graphs(f"graphs_{context}", context), verifier="arithmetic",
        )
        for context in graphs.CONTEXTS
    ),
    BenchmarkEntry(
        "signs", "questions about generated pictures, test split of data.signs", "chat", TINY,
        generate=_family("signs"), verifier="arithmetic", has_images=True,
    ),
    BenchmarkEntry(
        "signs_blank", "the questions of signs on empty boards: what the text alone gives away", "chat", TINY,
        generate=lambda benchmark, data: signs.generate(
            benchmark.num_problems or 40, data.signs.seed, data.signs, "test", blank=True, name="signs_blank"
        ),
        verifier="arithmetic", has_images=True,
    ),
    BenchmarkEntry(
        "programs", "generated functions, test split of data.programs", "chat", TINY,
        generate=_family("programs"), verifier="code",
    ),
)  # fmt: skip
BENCHMARKS: Mapping[str, BenchmarkEntry] = {entry.name: entry for entry in _ALL}
