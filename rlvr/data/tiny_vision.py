"""The tiny base models that read pictures: Idefics3's architecture, in small.

It is the one whose processor needs neither torchvision nor the network, that vLLM has, and whose patches become tokens one
by one, so that a picture of nine cells is nine tokens.
"""

from __future__ import annotations

from transformers import Idefics3Config, Idefics3Processor, Qwen2Tokenizer
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil

from rlvr.config import PretrainConfig
from rlvr.data.tiny_tokenizer import ASSISTANT, EOS, USER

IMAGE = "<image>"
AROUND = ("<fake_token_around_image>", "<global-img>", "<end_of_utterance>")
"""Further tokens that Idefics3's processor writes, or asks its tokenizer for."""
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}" + ASSISTANT + " {{ message['content'] }}" + EOS + ""
    "{% else %}" + USER + "{% if message['content'] is string %} {{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}" + IMAGE + "{% else %} {{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}" + ASSISTANT + "{% endif %}"
)


def build_processor(tokenizer: Qwen2Tokenizer, edge: int, patch: int) -> Idefics3Processor:
    """Make the processor of square pictures, and give its tokenizer what it needs.

    Args:
        tokenizer: of the words.
        edge: pixels of a picture's side; larger pictures are made smaller.
        patch: pixels of the side of what becomes one token.
    """
    tokenizer.add_tokens([IMAGE, *AROUND], special_tokens=True)
    tokenizer.chat_template = CHAT_TEMPLATE
    length = {"longest_edge": edge}
    return Idefics3Processor(
        Idefics3ImageProcessorPil(size=length, max_image_size=length, do_image_splitting=False),
        tokenizer,
        image_seq_len=(edge // patch) ** 2,
        chat_template=CHAT_TEMPLATE,
    )


def vision_config(config: PretrainConfig, tokenizer: Qwen2Tokenizer, edge: int, patch: int) -> Idefics3Config:
    """The architecture at the configured size; the tower has half the width of the language model, and two layers."""
    return Idefics3Config(
        vision_config={
            "hidden_size": config.hidden_size // 2,
            "intermediate_size": config.intermediate_size // 2,
            "num_hidden_layers": 2,
            "num_attention_heads": config.num_heads // 2,
            "image_size": edge,
            "patch_size": patch,
        },
        text_config={
            "model_type": "llama",
            "vocab_size": len(tokenizer),
            "hidden_size": config.hidden_size,
            "num_hidden_layers": config.num_layers,
            "num_attention_heads": config.num_heads,
            "num_key_value_heads": config.num_heads,
            "intermediate_size": config.intermediate_size,
            "max_position_embeddings": config.max_position_embeddings,
            "bos_token_id": None,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
        },
        image_token_id=tokenizer.convert_tokens_to_ids(IMAGE),
        scale_factor=1,
        tie_word_embeddings=False,
        pad_token_id=tokenizer.pad_token_id,
    )
