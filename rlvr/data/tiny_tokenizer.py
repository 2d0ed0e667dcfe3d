"""The tokenizers of the tiny base models: Qwen2 tokenizers whose vocabulary is a family's words.

Every word is one token that includes the white space before it, so the ids of a prompt are
always a prefix of the ids of prompt + response
(:func:`rlvr.data.prompts.check_prefix` verifies that of any tokenizer). The words are added
tokens: transformers rebuilds a Qwen2 folder's tokenizer as byte-level BPE, whatever its
tokenizer.json says, and only added tokens survive that as they are. Other text is dropped.
"""

from __future__ import annotations

from collections.abc import Sequence

from tokenizers import AddedToken
from transformers import Qwen2Tokenizer

PAD, EOS, USER, ASSISTANT = "<|endoftext|>", "<|im_end|>", "<|user|>", "<|assistant|>"
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}" + ASSISTANT + " {{ message['content'] }}" + EOS + ""
    "{% else %}" + USER + " {{ message['content'] }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}" + ASSISTANT + "{% endif %}"
)


def build_tokenizer(words: Sequence[str]) -> Qwen2Tokenizer:
    """Make the tokenizer of a vocabulary whose words have their white space before them."""
    tokenizer = Qwen2Tokenizer(
        vocab={PAD: 0},
        merges=[],
        unk_token=PAD,
        pad_token=PAD,
        eos_token=EOS,
        extra_special_tokens=[USER, ASSISTANT],
    )
    tokenizer.add_tokens([AddedToken(word, normalized=False) for word in words])
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer
