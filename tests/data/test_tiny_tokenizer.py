"""The 56-word tokenizer keeps its ids and its text through a Qwen2 folder."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest
from transformers import AutoTokenizer, Qwen2Tokenizer

from rlvr.data.chains import corpus
from rlvr.data.tiny_tokenizer import build_tokenizer


@pytest.fixture(scope="module")
def built() -> Qwen2Tokenizer:
    return build_tokenizer(23)


@pytest.fixture(scope="module")
def loaded(model_folder: Path) -> Qwen2Tokenizer:
    return AutoTokenizer.from_pretrained(model_folder)


def texts() -> list[str]:
    return [f" {text}" for pair in islice(corpus("tokenizer", [1, 4, 7], 0.2), 30) for text in pair]


def test_a_loaded_tokenizer_gives_the_same_ids(built: Qwen2Tokenizer, loaded: Qwen2Tokenizer) -> None:
    assert len(loaded) == len(built)
    assert loaded.get_vocab() == built.get_vocab()
    assert loaded(texts())["input_ids"] == built(texts())["input_ids"]
    assert loaded.chat_template == built.chat_template
    assert (loaded.eos_token_id, loaded.pad_token_id) == (built.eos_token_id, built.pad_token_id)


def test_every_word_is_one_token_and_text_comes_back(loaded: Qwen2Tokenizer) -> None:
    for text in texts():
        ids = loaded(text)["input_ids"]
        assert len(ids) == len(text.split())
        assert loaded.decode(ids) == text


def test_the_end_of_an_answer_is_one_token_and_is_skipped(loaded: Qwen2Tokenizer) -> None:
    ids = loaded(f" # 12{loaded.eos_token}")["input_ids"]
    assert ids[-1] == loaded.eos_token_id
    assert loaded.decode(ids, skip_special_tokens=True) == " # 12"


def test_a_larger_modulus_has_more_words() -> None:
    tokenizer = build_tokenizer(29)
    assert len(tokenizer) == len(build_tokenizer(23)) + 6
    assert len(tokenizer(" 28")["input_ids"]) == 1
