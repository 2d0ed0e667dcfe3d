"""Prompt templates: their words, what they need of a tokenizer, and what a result records of them."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from transformers import PreTrainedTokenizerFast

from rlvr.data.prompts import PromptRenderer
from rlvr.data.templates import TEMPLATES, question_of, template
from rlvr.errors import ConfigError, DataError, ModelError
from rlvr.rewards.config import EXTRACTIONS, RewardsConfig
from rlvr.rewards.extract import final_answer
from tests.fakes import problem

CHAT = "{% for m in messages %}[{{ m.role }}]{{ m.content }}\n{% endfor %}{% if add_generation_prompt %}[me]\n{% endif %}"


def tokenizer(*special: str, chat: str = CHAT) -> PreTrainedTokenizerFast:
    """Bytes as tokens, and these words as one token each."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    inner = Tokenizer(BPE({word: i for i, word in enumerate(alphabet)}, []))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    inner.add_special_tokens([AddedToken(word, special=True) for word in special])
    wrapped = PreTrainedTokenizerFast(tokenizer_object=inner)
    wrapped.chat_template = chat
    return wrapped


QWEN = tokenizer("<|im_start|>", "<|im_end|>")


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_asks_the_question_once(name: str) -> None:
    asked = replace(
        problem(0), prompt=({"role": "user", "content": "Is {format} {question} or \\boxed{4}?"},)
    )
    renderer = PromptRenderer(QWEN, template(name))
    words = renderer.rendered_text(asked)
    assert words.count("Is {format} {question} or \\boxed{4}?") == 1
    assert renderer.text(asked) == words
    assert template(name).extraction in EXTRACTIONS
    assert template(name).source


def test_plain_text_is_the_same_for_every_model_and_chat_is_not() -> None:
    other = tokenizer(chat=CHAT.replace("[me]", "[you]"))
    for name, entry in TEMPLATES.items():
        if not entry.special:
            same = PromptRenderer(QWEN, entry).identity == PromptRenderer(other, entry).identity
            assert same is (not entry.is_chat), name


def test_a_results_template_is_known_by_its_name() -> None:
    assert PromptRenderer(QWEN, template("think_answer")).identity.startswith("think_answer:")
    identities = {PromptRenderer(QWEN, entry).identity for entry in TEMPLATES.values()}
    assert len(identities) == len(TEMPLATES)


def test_special_tokens_must_be_known_and_end_the_response() -> None:
    qwen = PromptRenderer(QWEN, template("qwen_boxed"))
    assert qwen.stop_token_ids == (QWEN.convert_tokens_to_ids("<|im_end|>"),)
    assert qwen.render(problem(0))[0] == QWEN.convert_tokens_to_ids("<|im_start|>")
    with pytest.raises(ModelError, match=re.escape("'<|im_start|>'")) as caught:
        PromptRenderer(tokenizer(), template("qwen_boxed"))
    assert "prompt=plain" in str(caught.value.fix)


def test_a_base_model_without_a_chat_template_takes_plain_text_only() -> None:
    bare = tokenizer(chat="")
    assert "step by step" in PromptRenderer(bare, template("plain")).text(problem(0))
    with pytest.raises(ModelError, match="no chat template, which prompt=boxed needs") as caught:
        PromptRenderer(bare, template("boxed"))
    assert "prompt=think_answer" in str(caught.value.fix)


def test_the_question_is_the_only_message_or_a_field_of_the_row() -> None:
    several = replace(
        problem(0), prompt=({"role": "system", "content": "Be brief."}, {"role": "user", "content": "2 + 2?"})
    )
    with pytest.raises(DataError, match="2 messages of its own") as caught:
        question_of(several)
    assert "prompt=chat" in str(caught.value.fix)
    assert question_of(replace(several, extra_info={"question": "2 + 2?"})) == "2 + 2?"
    assert template("chat").messages(several) == [dict(message) for message in several.prompt]


def test_livecodebench_shows_the_start_of_a_function_that_is_asked_for() -> None:
    asked = replace(problem(0), extra_info={"question": "Add up.", "starter_code": "def add(a, b):"})
    words = str(template("livecodebench").messages(asked)[-1]["content"])
    assert "Add up." in words
    assert "```python\ndef add(a, b):\n```" in words
    assert "stdin" not in words


def test_an_unknown_template_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(ConfigError, match="no prompt template 'qwenboxed'") as caught:
        template("qwenboxed")
    assert "'qwen_boxed'" in str(caught.value.fix)


@pytest.mark.parametrize(
    ("name", "response", "answer"),
    [
        ("think_answer", "<think> \\boxed{3}? </think> <answer> 4 </answer>", "4"),
        ("think_answer", "<answer> So it is \\boxed{4}. </answer>", "4"),
        ("think_answer", "So it is \\boxed{4}.", None),
        ("qwen_boxed", "<answer> 3 </answer> \\boxed{4}", "4"),
        ("qwen_boxed", "<answer> 3 </answer>", None),
        ("dapo", "First 3.\nAnswer: 4\n", "4"),
        ("dapo", "First 3.\n**Answer:** $4$", "$4$"),
        ("dapo", "Answer: 3\nor so", None),
        ("dapo", "The Answer: 3", None),
        ("dapo", "\\boxed{4}", None),
        ("qwen_math", "3 \\boxed{4}", "4"),
        ("abel", "3 apples and \\boxed{4} pears, 5 in all", "4"),
        ("abel", "So the answer is: x + 4. That took 3 steps.", "x + 4"),
        ("abel", "The answer is 3. No, the answer is $4$.", "$4$"),
        ("abel", "It makes 2 + 2 = 1,004.50 in all", "1,004.50"),
        ("abel", "it falls to -4", "-4"),
        ("abel", "nobody knows", None),
        ("chat", "#### 4", "4"),
    ],
)
def test_the_answer_is_read_where_the_template_asks_for_it(
    name: str, response: str, answer: str | None
) -> None:
    rewards = RewardsConfig().asked_for(template(name).extraction)
    assert final_answer(response, rewards.math.extraction) == answer


def test_a_place_that_the_config_names_wins() -> None:
    config = RewardsConfig()
    config.math.extraction = "hashes"
    assert config.asked_for("boxed").math.extraction == "hashes"


def test_a_template_of_ones_own_comes_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("system: Be brief.\nuser: 'Q: {question} A in a tag.'\nextraction: answer_tag\n")
    found = template(str(file))
    assert found.messages(problem(0))[0] == {"role": "system", "content": "Be brief."}
    assert found.extraction == "answer_tag"
    identity = PromptRenderer(QWEN, found).identity
    assert identity.startswith(f"{file}:")
    file.write_text(file.read_text().replace("brief", "long"))
    assert PromptRenderer(QWEN, template(str(file))).identity != identity
    assert template(identity.rpartition(":")[0]).name == str(file)  # how a result's template is found again


@pytest.mark.parametrize(
    ("text", "message", "fix"),
    [
        ("text: no place", "no place for the question", "{question}"),
        ("text: '{question}'\nuser: '{question}'", "either text", "one of the two"),
        ("system: hm", "either text", "one of the two"),
        ("texts: '{question}'", "no field 'texts'", "'text'"),
        ("text: '{question}'\nstop: eos", "stop is 'eos'", "a list"),
        ("text: '{question}'\nextraction: box", "no extraction 'box'", "'boxed'"),
        ("- a", "holds no fields", "extraction"),
        ("text: [", "no template can be read", "YAML"),
    ],
)
def test_a_file_that_is_no_template_says_why(tmp_path: Path, text: str, message: str, fix: str) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=re.escape(message)) as caught:
        template(str(file))
    assert str(file) in str(caught.value.where)
    assert fix in str(caught.value.fix)


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match="no template can be read") as caught:
        template("nowhere/mine.yaml", "prompt")
    assert caught.value.where == "prompt=nowhere/mine.yaml"
