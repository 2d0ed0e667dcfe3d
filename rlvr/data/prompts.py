"""Prompts: a problem and a template (templates.py) made the tokens that a model reads."""

from __future__ import annotations

import hashlib
import logging
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import TemplateError
from transformers import AutoConfig, AutoTokenizer

from rlvr.data.hub import NO_MODEL, check_hub_model
from rlvr.data.images import ImageProcessor, contents_of, image_url, place_of, placed
from rlvr.data.model_folder import check_end_of_text, check_model_folder
from rlvr.data.templates import TEMPLATES, PromptTemplate
from rlvr.errors import ConfigError, DataError, ModelError
from rlvr.protocols import Probe, SampleRequest
from rlvr.records import Problem

logger = logging.getLogger(__name__)
SHOWN_CHARACTERS = 40
"""Of a message, looked for in what was rendered: templates may cut its end, or escape what comes later."""
LOOKED_AT = 100
"""Prompts that are looked at for words that the tokenizer drops."""
SHOWN_PROMPT = 160
SERVERS_OWN = "chat template of the server"


class PromptRenderer:
    """Renders prompts for one model by one template; the same object serves training and evaluation."""

    def __init__(
        self,
        tokenizer: Any,
        template: PromptTemplate = TEMPLATES["chat"],
        image_processor: ImageProcessor | None = None,
    ) -> None:
        """Bring a Hugging Face tokenizer and a template together.

        Args:
            tokenizer: of the model.
            template: words around a question.
            image_processor: of the model, for problems with images.

        Raises:
            ModelError: the tokenizer lacks what the template needs, or the prefix rule does not hold.
        """
        if template.is_chat and not tokenizer.chat_template:
            raise ModelError(
                f"the tokenizer has no chat template, which prompt={template.name} needs",
                where="prompt",
                fix="a template that is plain text, such as prompt=think_answer; or add chat_template.jinja",
            )
        self._tokenizer, self._image_processor = tokenizer, image_processor
        self.template = template
        known = {word: _special_token(tokenizer, word) for word in (*template.special, *template.stop)}
        for word, token in known.items():
            if token is None:
                raise ModelError(
                    f"prompt={template.name} is written for tokenizers that know {word!r}, this one does not",
                    where="prompt",
                    fix="prompt=boxed uses the model's own chat template, prompt=plain none at all",
                )
        self.stop_token_ids: tuple[int, ...] = tuple(known[word] or 0 for word in template.stop)
        check_prefix(self)

    @property
    def identity(self) -> str:
        """Name and hash of all words: models with the same one are prompted alike."""
        return _identity(self.template, self._tokenizer.chat_template)

    def request(self, key: int, problem: Problem, num_samples: int) -> SampleRequest:
        """Ask for ``num_samples`` responses to a problem."""
        return SampleRequest(key, self.render(problem), num_samples, images=contents_of(problem))

    def render(self, problem: Problem) -> list[int]:
        """Prompt tokens, ending where the response begins; each image has a place of one token."""
        if not self.template.is_chat:
            return self.encode(_plain(self.template, problem))
        ids: list[int] = self._through_chat_template(problem, return_dict=False)
        return ids

    def probe(self, problem: Problem) -> Probe:
        """The prompt as a probe; what is scored of one with images is what comes after the last of them."""
        ids = self.render(problem)
        start = 1
        if problem.images:
            start += max(place for place, token in enumerate(ids) if token == self._images.place_token)
        return Probe(ids, start, contents_of(problem))

    def num_tokens(self, problem: Problem) -> int:
        """Length of the prompt as the model reads it, images included.

        Raises:
            ModelError: the model reads no images, or its chat template has no places for them.
        """
        if not problem.images:
            return len(self.render(problem))
        if self.template.is_chat:
            self._images.check()  # before a chat template of text alone fails at the images in its own words
        ids = self.render(problem)
        return len(ids) + self._images.num_tokens(problem.images, ids)

    @property
    def _images(self) -> ImageProcessor:
        assert self._image_processor is not None, (
            "a renderer of problems with images comes from load_renderer"
        )
        return self._image_processor

    def rendered_text(self, problem: Problem) -> str:
        """The prompt as text before it is tokenized."""
        if not self.template.is_chat:
            return _plain(self.template, problem)
        return str(self._through_chat_template(problem, tokenize=False))

    def _through_chat_template(self, problem: Problem, **options: Any) -> Any:
        """The problem's messages through the tokenizer's chat template.

        Raises:
            ModelError: the chat template is broken, or refuses such messages.
        """
        messages = placed(self.template.messages(problem), problem, place_of)
        try:
            return self._tokenizer.apply_chat_template(messages, add_generation_prompt=True, **options)
        except (TemplateError, TypeError) as error:
            raise ModelError(
                f"the chat template fails: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}",
                where=f"chat template, problem {problem.id}",
                fix="chat_template.jinja, or chat_template in tokenizer_config.json, as published with the model; "
                "or prompt=plain, which needs none",
            ) from error

    def encode(self, text: str, *, begin: bool = True) -> list[int]:
        """Tokens of a plain text; ``begin`` adds the token that the model's texts begin with, if any."""
        return list(self._tokenizer(text, add_special_tokens=begin)["input_ids"])

    def text(self, problem: Problem) -> str:
        """The prompt as text, special tokens included."""
        return str(self._tokenizer.decode(self.render(problem)))


class WordsRenderer:
    """Renders prompts for a model whose tokenizer is not here: a server makes the tokens."""

    stop_token_ids: tuple[int, ...] = ()

    def __init__(self, template: PromptTemplate) -> None:
        """Take a template.

        Raises:
            ConfigError: it is written in one tokenizer's special tokens, which a server may read as plain words.
        """
        if template.special or template.stop:
            raise ConfigError(
                f"prompt={template.name} is written in special tokens of a tokenizer, which a server may take for "
                "plain words",
                where="prompt",
                fix="prompt=boxed or prompt=chat, which the server puts into the model's own chat template",
            )
        self.template = template

    @property
    def identity(self) -> str:
        """Name and hash of the words that are sent; chat messages get more of them from the server's template."""
        return _identity(self.template, SERVERS_OWN)

    def request(self, key: int, problem: Problem, num_samples: int) -> SampleRequest:
        """Ask for ``num_samples`` responses to a problem."""
        return SampleRequest(key, (), num_samples, words=self.words(problem))

    def words(self, problem: Problem) -> str | tuple[dict[str, Any], ...]:
        """The prompt as it is sent: plain text, or chat messages with their images.

        Raises:
            ConfigError: plain text has no place for an image.
        """
        template = self.template
        if not template.is_chat:
            return _plain(template, problem)
        return tuple(placed(template.messages(problem), problem, image_url))


def _plain(template: PromptTemplate, problem: Problem) -> str:
    """The prompt of a template that is plain text.

    Raises:
        ConfigError: the problem has images.
    """
    if problem.images:
        raise ConfigError(
            f"prompt={template.name} is plain text, which has no place for the image of {problem.id}",
            where="prompt",
            fix="prompt=boxed or prompt=easyr1, which go through the model's own chat template",
        )
    return template.plain(problem)


def _identity(template: PromptTemplate, chat_template: str) -> str:
    """Name and hash of all words; of a chat template as well, where the prompt goes through one."""
    words = [template.text, template.system, template.user]
    note = ""
    if template.is_chat:
        words.append(chat_template)
        note = f", {SERVERS_OWN}" if chat_template == SERVERS_OWN else ""
    return f"{template.name}:{hashlib.sha256(repr(words).encode()).hexdigest()[:12]}{note}"


def _special_token(tokenizer: Any, word: str) -> int | None:
    """The token that stands for exactly this word, or None."""
    ids = tokenizer(word, add_special_tokens=False)["input_ids"]
    return ids[0] if len(ids) == 1 and ids[0] != tokenizer.unk_token_id else None


def load_renderer(model: str, template: PromptTemplate = TEMPLATES["chat"]) -> PromptRenderer:
    """The renderer of a model folder (or hub name).

    Raises:
        ModelError: the folder does not exist or lacks a config, a tokenizer, or what the template needs.
    """
    check_model_folder(model)
    if not Path(model).exists():
        check_hub_model(model)
    try:
        tokenizer = AutoTokenizer.from_pretrained(model)
    except (OSError, ValueError) as error:
        raise ModelError(
            f"the tokenizer cannot be loaded: {str(error).splitlines()[0]}",
            where=model,
            fix="download or save the model again" if Path(model).exists() else NO_MODEL,
        ) from error
    check_end_of_text(tokenizer, model)
    return PromptRenderer(tokenizer, template, ImageProcessor(model))


def check_prefix(renderer: PromptRenderer) -> None:
    """Check that the ids of a prompt are a prefix of the ids of prompt + response.

    A tokenizer that merges the prompt's last token with the response's first one trains a
    model that never sees its own prompt's end. After a prompt that ends in the middle of a line,
    a response begins with a space.

    Raises:
        ModelError: the rule does not hold.
    """
    problem = Problem("prefix", ({"role": "user", "content": "a = 3 ; a ?"},), "prefix", "3")
    prompt = renderer.rendered_text(problem)
    opening = "a = 3" if renderer.template.is_chat or prompt.endswith("\n") else " a = 3"
    prompt_ids = renderer.encode(prompt, begin=False)
    if renderer.encode(prompt + opening, begin=False)[: len(prompt_ids)] != prompt_ids:
        raise ModelError(
            "the tokenizer merges the end of the prompt with the start of the response",
            fix="let the prompt (for prompt=chat, the chat template's generation prompt) end in a special token "
            "or a line break",
        )


def check_words(renderer: PromptRenderer, problems: Sequence[Problem]) -> None:
    """Refuse messages that the chat template leaves out: the model would not be asked.

    One problem for each sequence of roles is rendered, since a template goes by roles; problems with images, whose
    text is cut at the images, are not.

    Raises:
        DataError: naming the problem and the role.
    """
    seen: set[tuple[str, ...]] = set()
    for problem in problems:
        messages = renderer.template.messages(problem) if renderer.template.is_chat else ()
        roles = tuple(str(message["role"]) for message in messages)
        if roles in seen or problem.images:
            continue
        seen.add(roles)
        rendered = renderer.rendered_text(problem)
        for message in messages:
            if message["content"].strip()[:SHOWN_CHARACTERS] not in rendered:
                raise DataError(
                    f"the model's chat template leaves out the message of role {message['role']!r}",
                    where=f"problem {problem.id}",
                    fix="the roles that the template knows, such as system, user and assistant; "
                    "`rlvr data show` prints what is rendered",
                )


def warn_of_lost_words(renderer: PromptRenderer, problems: Sequence[Problem]) -> None:
    """Say so where the tokenizer drops letters or digits of the questions: the model would be asked something else.

    A vocabulary of whole words, as the tiny models have one, leaves out what it does not know. Letters and digits are
    compared, as they are after Unicode's NFKC and without their case, which many tokenizers change on purpose.
    """
    looked_at = [problem for problem in problems if not problem.images][:LOOKED_AT]
    lossy = [
        problem
        for problem in looked_at
        if _letters(renderer.rendered_text(problem)) - _letters(renderer.text(problem))
    ]
    if lossy:
        logger.warning(
            "the tokenizer drops letters or digits of %d of %d prompts; problem %s reaches the model as %r",
            len(lossy), len(looked_at), lossy[0].id, renderer.text(lossy[0])[:SHOWN_PROMPT],
        )  # fmt: skip


def _letters(text: str) -> Counter[str]:
    return Counter(filter(str.isalnum, unicodedata.normalize("NFKC", text).casefold()))


def longest_prompt(renderer: PromptRenderer, problems: Sequence[Problem]) -> int:
    """Tokens of the longest prompt, images included."""
    check_words(renderer, problems)
    warn_of_lost_words(renderer, problems)
    return max(renderer.num_tokens(problem) for problem in problems)


def check_prompt_lengths(
    renderer: PromptRenderer, problems: Sequence[Problem], max_prompt_tokens: int
) -> None:
    """Refuse prompts that are longer than the engine is told to expect.

    Raises:
        DataError: naming the longest problem.
    """
    check_words(renderer, problems)
    warn_of_lost_words(renderer, problems)
    lengths = [renderer.num_tokens(problem) for problem in problems]
    longest, problem = max(zip(lengths, problems, strict=True), key=lambda pair: pair[0])
    if longest > max_prompt_tokens:
        of_images = longest - len(renderer.render(problem)) + len(problem.images)
        seen = f", of which its images take {of_images}" if problem.images else ""
        smaller = ", smaller images" if problem.images else ""
        raise DataError(
            f"the prompt has {longest} tokens{seen}; rollout.max_prompt_tokens is {max_prompt_tokens}",
            where=f"problem {problem.id}",
            fix=f"rollout.max_prompt_tokens={longest}{smaller}, or leave long problems out",
        )


def check_context(model: str, prompt_tokens: int, response_tokens: int) -> None:
    """Refuse sequences that are longer than the model's positions.

    Raises:
        ConfigError: prompt and response together do not fit.
    """
    config = AutoConfig.from_pretrained(model).get_text_config()
    limit = getattr(config, "max_position_embeddings", None)
    needed = prompt_tokens + response_tokens
    if limit is not None and needed > limit:
        room = limit - prompt_tokens
        raise ConfigError(
            f"prompt and response may take {needed} tokens, the model has {limit} positions",
            where="the longest prompt + the longest response",
            fix=f"after a prompt of {prompt_tokens} tokens at most {room}: evaluation.max_tokens={room}, or in "
            f"training rollout.max_response_tokens={room}"
            if room > 0
            else f"prompts of {prompt_tokens} tokens leave no room for a response: leave long problems out; in training "
            f"rollout.max_prompt_tokens and rollout.max_response_tokens of at most {limit} together; or another model",
        )
