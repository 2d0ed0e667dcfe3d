"""The tiny tokenizers keep their ids and their text through a Qwen2 folder."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest
from transformers import AutoTokenizer, Qwen2Tokenizer

from rlvr.config import FAMILIES as NAMES
from rlvr.config import MixtureComponent, PretrainConfig
from rlvr.data import chains
from rlvr.data.families import FAMILIES
from rlvr.data.prompts import PromptRenderer, check_prefix
from rlvr.data.templates import template
from rlvr.data.tiny_tokenizer import build_tokenizer


def built(family: str) -> Qwen2Tokenizer:
    return build_tokenizer(FAMILIES[family].words(PretrainConfig(family=family)))


@pytest.fixture
def loaded(family: str, tmp_path: Path) -> Qwen2Tokenizer:
    built(family).save_pretrained(tmp_path)
    return AutoTokenizer.from_pretrained(tmp_path)


def texts(family: str) -> list[str]:
    part = MixtureComponent(operations=[1, 4, 7], noise=0.2)
    documents = islice(FAMILIES[family].corpus(PretrainConfig(family=family), part, "tokenizer"), 30)
    return [f" {text}" for document in documents for text in (document.problem, document.solution)]


@pytest.mark.parametrize("family", NAMES)
def test_a_loaded_tokenizer_gives_the_same_ids(family: str, loaded: Qwen2Tokenizer) -> None:
    made = built(family)
    assert len(loaded) == len(made)
    assert loaded.get_vocab() == made.get_vocab()
    assert loaded(texts(family))["input_ids"] == made(texts(family))["input_ids"]
    assert loaded.chat_template == made.chat_template
    assert (loaded.eos_token_id, loaded.pad_token_id) == (made.eos_token_id, made.pad_token_id)


@pytest.mark.parametrize("family", NAMES)
def test_text_comes_back_and_a_prompt_is_a_prefix(family: str, loaded: Qwen2Tokenizer) -> None:
    check_prefix(PromptRenderer(loaded, template("chat")))
    used = set()
    for text in texts(family):
        ids = loaded(text)["input_ids"]
        used |= {*ids}
        assert loaded.decode(ids) == text
    assert loaded.pad_token_id not in used  # no word is unknown


@pytest.mark.parametrize("family", ["chains"])
def test_every_word_of_a_chain_is_one_token(family: str, loaded: Qwen2Tokenizer) -> None:
    assert all(len(loaded(text)["input_ids"]) == len(text.split()) for text in texts(family))


@pytest.mark.parametrize("family", NAMES)
def test_the_end_of_an_answer_is_one_token_and_is_skipped(family: str, loaded: Qwen2Tokenizer) -> None:
    text = texts(family)[-1]
    ids = loaded(f"{text}{loaded.eos_token}")["input_ids"]
    assert ids[-1] == loaded.eos_token_id
    assert loaded.decode(ids, skip_special_tokens=True) == text


def test_a_larger_modulus_has_more_words() -> None:
    tokenizer = build_tokenizer(chains.words(29))
    assert len(tokenizer) == len(build_tokenizer(chains.words(23))) + 6
    assert len(tokenizer(" 28")["input_ids"]) == 1
