"""Prompt templates by name: the words around a question, and where they ask for the answer.

A base model's pass@1 can nearly double from one template to another, so the template is a setting
(``prompt=NAME``), is recorded with every result, and results of different ones are never compared.

A template is either plain text, sent as it stands, or chat messages, which go through the tokenizer's own chat
template. Plain text is the same for every model; the words of published templates are kept to the letter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from rlvr.errors import ConfigError, DataError, did_you_mean
from rlvr.records import ChatMessage, Problem
from rlvr.rewards.config import EXTRACTIONS

QUESTION, FORMAT = "{question}", "{format}"


@dataclass(frozen=True, slots=True)
class PromptTemplate:
    """The words around a question. ``{question}`` stands for it, and is replaced as it is."""

    name: str
    source: str
    """Where the words come from."""
    text: str | None = None
    """The whole prompt; null sends chat messages."""
    user: str | None = None
    """The user's message; null sends the problem's own messages."""
    system: str | None = None
    """A system message before it."""
    extraction: str = "any"
    """Where the answer is asked for: a word of ``rewards.math.extraction``."""
    special: tuple[str, ...] = ()
    """Words of ``text`` that the tokenizer must know as one token each."""
    stop: tuple[str, ...] = ()
    """Special tokens that end a response, besides the tokenizer's end of text."""

    @property
    def is_chat(self) -> bool:
        """Whether the tokenizer's chat template is applied."""
        return self.text is None

    def messages(self, problem: Problem) -> list[ChatMessage]:
        """The chat messages of a problem.

        Raises:
            DataError: the problem has no single question to put the words around.
        """
        if self.user is None:
            return [dict(message) for message in problem.prompt]
        system = [{"role": "system", "content": self.system}] if self.system else []
        return [*system, {"role": "user", "content": _fill(self.user, problem)}]

    def plain(self, problem: Problem) -> str:
        """The prompt of a template that is plain text.

        Raises:
            DataError: the problem has no single question to put the words around.
        """
        assert self.text is not None, self.name
        return _fill(self.text, problem)


def question_of(problem: Problem) -> str:
    """The bare question: ``extra_info.question``, or else the only message.

    Raises:
        DataError: there are several messages, and no such field says which part is the question.
    """
    stated = problem.extra_info.get("question")
    if isinstance(stated, str) and stated:
        return stated
    if len(problem.prompt) != 1:
        raise DataError(
            f"the problem has {len(problem.prompt)} messages of its own, so no template can be put around its question",
            where=f"problem {problem.id}",
            fix="prompt=chat sends them as they are; or name the question in extra_info.question",
        )
    return problem.prompt[0]["content"]


def _fill(text: str, problem: Problem) -> str:
    if FORMAT in text:  # first, so that a question's own words are never taken for a placeholder
        text = text.replace(FORMAT, _program_format(problem))
    before, _, after = text.partition(QUESTION)
    return before + question_of(problem) + after


def _program_format(problem: Problem) -> str:
    """LiveCodeBench's words for programs that read standard input, or that complete a given start."""
    starter = str(problem.extra_info.get("starter_code") or "")
    if starter.strip():
        return (
            "### Format: You will use the following starter code to write the solution to the problem and enclose "
            f"your code within delimiters.\n```python\n{starter}\n```"
        )
    return (
        "### Format: Read the inputs from stdin solve the problem and write the answer to stdout (do not directly "
        "test on the sample inputs). Enclose your code within delimiters as follows. Ensure that when the python "
        "program runs, it reads the inputs, runs the algorithm and writes output to STDOUT.\n"
        "```python\n# YOUR CODE HERE\n```"
    )


BOXED = "Please reason step by step, and put your final answer within \\boxed{}."
CHATML = ("<|im_start|>", "<|im_end|>")

_ALL = (
    PromptTemplate("chat", "the problem's own messages, by the tokenizer's chat template"),
    PromptTemplate(
        "think_answer",
        "DeepSeek-R1-Zero (arXiv 2501.12948, Table 1); the study's own training (arXiv 2504.13837)",
        text=(
            "A conversation between User and Assistant. The user asks a question, and the Assistant solves it. The "
            "assistant first thinks about the reasoning process in the mind and then provides the user with the "
            "answer. The reasoning process and answer are enclosed within <think> </think> and <answer> </answer> "
            "tags, respectively, i.e., <think> reasoning process here </think> <answer> answer here </answer>. "
            "User: {question} Assistant:"
        ),
        extraction="answer_tag",
    ),
    PromptTemplate(
        "qwen_boxed",
        "qwen-boxed of Qwen2.5-Math's and SimpleRL-Zoo's evaluation",
        text=(
            "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
            f"<|im_start|>user\n{{question}}\n{BOXED}<|im_end|>\n<|im_start|>assistant\n"
        ),
        extraction="boxed",
        special=CHATML,
        stop=CHATML[1:],
    ),
    PromptTemplate(
        "boxed",
        "qwen_boxed's instruction, by the tokenizer's own chat template",
        user=f"{{question}}\n{BOXED}",
        extraction="boxed",
    ),
    PromptTemplate(
        "easyr1",
        "EasyR1's training on mathematics with and without images",
        user=(
            "{question} You FIRST think about the reasoning process as an internal monologue and then provide the "
            "final answer. The reasoning process MUST BE enclosed within <think> </think> tags. The final answer MUST "
            "BE put in \\boxed{}."
        ),
        extraction="boxed",
    ),
    PromptTemplate(
        "qwen_math",
        "qwen_math of Oat-Zero's training: the instruction is the system's message",
        text=(
            f"<|im_start|>system\n{BOXED}<|im_end|>\n"
            "<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"
        ),
        extraction="boxed",
        special=CHATML,
        stop=CHATML[1:],
    ),
    PromptTemplate(
        "abel",
        "SimpleRL-Zoo's simple prompt, which its Llama-3.1-8B was trained with: no place for the answer",
        text="Question:\n{question}\nAnswer:\nLet's think step by step.\n",
        extraction="last_number",
    ),
    PromptTemplate(
        "plain",
        "abel of Qwen2.5-Math's evaluation for base models, with a place for the answer",
        text=f"Question:\n{{question}}\n{BOXED}\nAnswer:\nLet's think step by step.\n",
        extraction="boxed",
    ),
    PromptTemplate(
        "direct",
        "our own: the answer without a chain of thought, for the guess filter",
        text="Question:\n{question}\nGive the final answer only, within \\boxed{}, without any reasoning.\nAnswer:\n",
        extraction="boxed",
    ),
    PromptTemplate(
        "dapo",
        "DAPO-Math-17k (arXiv 2503.14476)",
        user=(
            "Solve the following math problem step by step. The last line of your response should be of the form "
            "Answer: $Answer (without quotes) where $Answer is the answer to the problem.\n\n{question}\n\n"
            'Remember to put your answer on its own line after "Answer:".'
        ),
        extraction="answer_line",
    ),
    PromptTemplate(
        "livecodebench",
        "LiveCodeBench, lcb_runner/prompts/code_generation.py",
        system=(
            "You are an expert Python programmer. You will be given a question (problem specification) and will "
            "generate a correct Python program that matches the specification and passes all tests."
        ),
        user=(
            "### Question:\n{question}\n\n{format}\n\n### Answer: (use the provided format with backticks)\n\n"
        ),
    ),
    PromptTemplate(
        "code_r1",
        "Code-R1's training",
        system=(
            "You are a helpful programming assistant. The user will ask you a question and you as the assistant solve "
            "it. The assistant first thinks how to solve the task through reasoning and then provides the user with "
            "the final answer. The reasoning process and answer are enclosed within <think>...</think> and "
            "<answer>...</answer> tags, respectively."
        ),
        user="Solve the programming task below in a Python markdown code block.\n{question}",
    ),
    PromptTemplate(
        "evalplus",
        "EvalPlus for chat models: HumanEval+ and MBPP+",
        user=(
            "Please provide a self-contained Python script that solves the following problem in a markdown code "
            "block:\n```python\n{question}\n```"
        ),
    ),
)
TEMPLATES: Mapping[str, PromptTemplate] = {template.name: template for template in _ALL}


FILE_SUFFIXES = (".yaml", ".yml")
"""Of files that hold a template; such a template is called by its path."""


def template(name: str, where: str = "prompt") -> PromptTemplate:
    """A template by its name, or from a YAML file with its fields.

    Raises:
        ConfigError: there is none of that name, or the file holds none.
    """
    if Path(name).suffix in FILE_SUFFIXES:
        return _from_file(Path(name), where)
    if name not in TEMPLATES:
        raise ConfigError(
            f"there is no prompt template {name!r}",
            where=where,
            fix=f"{did_you_mean(name, TEMPLATES)}; or a YAML file of your own",
        )
    return TEMPLATES[name]


def _from_file(path: Path, where: str) -> PromptTemplate:
    place = f"{where}={path}"
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"no template can be read: {error}", where=place, fix="a YAML file") from error
    known = [spec.name for spec in fields(PromptTemplate) if spec.name not in ("name", "source")]
    if not isinstance(found, dict):
        raise ConfigError("the file holds no fields", where=place, fix=f"some of {', '.join(known)}")
    for key, value in found.items():
        if key not in known:
            raise ConfigError(
                f"a template has no field {key!r}", where=place, fix=did_you_mean(str(key), known)
            )
        many = key in ("special", "stop")
        if not isinstance(value, list if many else str):
            raise ConfigError(f"{key} is {value!r}", where=place, fix="a list of words" if many else "text")
    if (found.get("text") is None) == (found.get("user") is None):
        raise ConfigError(
            "a template has either text, for a prompt that is sent as it stands, or user, for chat messages",
            where=place,
            fix="one of the two",
        )
    if QUESTION not in (found.get("text") or found["user"]):
        raise ConfigError(f"there is no place for the question, {QUESTION}", where=place, fix=QUESTION)
    if found.get("extraction", "any") not in EXTRACTIONS:
        raise ConfigError(
            f"there is no extraction {found['extraction']!r}",
            where=place,
            fix=did_you_mean(str(found["extraction"]), EXTRACTIONS),
        )
    words: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in found.items()
    }
    return PromptTemplate(str(path), "a file of the user's", **words)
