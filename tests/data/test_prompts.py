"""Prompts: what a model folder must hold, and the prefix rule."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tokenizers import Tokenizer, normalizers
from tokenizers.models import BPE
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from rlvr.data.chains import generate, graph_of, solution_text
from rlvr.data.model_folder import check_model_folder, model_hash
from rlvr.data.prompts import PromptRenderer, WordsRenderer, check_prompt_lengths, load_renderer
from rlvr.data.templates import PromptTemplate, template
from rlvr.errors import ConfigError, DataError, ModelError
from rlvr.records import Problem


@pytest.fixture
def copy(model_folder: Path, tmp_path: Path) -> Path:
    return shutil.copytree(model_folder, tmp_path / "copy")


def tokenizer(*, merges: list[tuple[str, str]], template: str) -> PreTrainedTokenizerFast:
    """A character tokenizer with these merges."""
    words = [*"abcdefghijklmnopqrstuvwxyz 0123456789=;?:\n", *("".join(pair) for pair in merges)]
    model = BPE({word: i for i, word in enumerate(words)}, merges)
    wrapped = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(model))
    wrapped.chat_template = template
    return wrapped


TEMPLATE = "{{ messages[0]['content'] }}{% if add_generation_prompt %}:{% endif %}"


def test_a_tokenizer_that_merges_prompt_and_response_is_refused() -> None:
    with pytest.raises(ModelError, match="merges the end of the prompt"):
        PromptRenderer(tokenizer(merges=[(":", "a")], template=TEMPLATE))


def test_a_tokenizer_that_merges_elsewhere_is_not() -> None:
    PromptRenderer(tokenizer(merges=[("a", " ")], template=TEMPLATE))


def test_a_tokenizer_without_a_chat_template_is_refused() -> None:
    with pytest.raises(ModelError, match="no chat template") as caught:
        PromptRenderer(tokenizer(merges=[], template=""))
    assert caught.value.fix


def test_prompts_end_where_responses_begin(model_folder: Path) -> None:
    renderer = load_renderer(str(model_folder))
    loaded = AutoTokenizer.from_pretrained(model_folder)
    for problem in generate(20, [1, 5], 0):
        solution = solution_text(graph_of(problem))
        ids = renderer.render(problem)
        assert loaded(f"{renderer.text(problem)} {solution}")["input_ids"][: len(ids)] == ids
        assert loaded.decode(ids[-1]) == "<|assistant|>"
        assert problem.prompt[0]["content"] in renderer.text(problem)


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="does not exist") as caught:
        load_renderer(str(tmp_path / "nowhere"))
    assert caught.value.where == str(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("lost", "words"), [("config.json", "no config.json"), ("tokenizer.json", "no tokenizer")]
)
def test_an_incomplete_folder_is_refused(copy: Path, lost: str, words: str) -> None:
    (copy / lost).unlink()
    with pytest.raises(ModelError, match=words) as caught:
        load_renderer(str(copy))
    assert caught.value.where == str(copy)
    assert caught.value.fix


def test_a_broken_tokenizer_is_refused(copy: Path) -> None:
    (copy / "tokenizer.json").write_text("{")
    with pytest.raises(ModelError, match="tokenizer cannot be loaded"):
        load_renderer(str(copy))


def test_a_hub_name_passes_and_a_mistyped_path_does_not() -> None:
    check_model_folder("Qwen/Qwen2.5-7B")
    for path in ("./Qwen", "/no/where", "runs/tiny", "~/model", "a/b/c"):
        with pytest.raises(ModelError):
            check_model_folder(path)


def test_the_longest_prompt_is_named(model_folder: Path) -> None:
    renderer = load_renderer(str(model_folder))
    problems = [*generate(3, [1], 0), *generate(1, [7], 0, split="test")]
    longest = len(renderer.render(problems[-1]))
    check_prompt_lengths(renderer, problems, longest)
    with pytest.raises(DataError, match=f"{longest} tokens") as caught:
        check_prompt_lengths(renderer, problems, longest - 1)
    assert caught.value.where == "problem chains/test/0"
    assert f"rollout.max_prompt_tokens={longest}" in str(caught.value.fix)


def test_words_that_the_tokenizer_drops_are_named(
    model_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    renderer = load_renderer(str(model_folder))
    known = generate(2, [3], seed=0)
    check_prompt_lengths(renderer, known, 1000)
    assert caplog.text == ""
    asked = Problem("mine/test/0", ({"role": "user", "content": "What is 3 + 4?"},), "mine", "7")
    check_prompt_lengths(renderer, [*known, asked], 1000)
    assert (
        "drops letters or digits of 1 of 3 prompts; problem mine/test/0 reaches the model as" in caplog.text
    )
    assert "3 + 4" in caplog.text


def test_a_tokenizer_that_changes_case_and_width_drops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    letters = Tokenizer(BPE(vocab={c: i for i, c in enumerate("what is3+?")}, merges=[]))
    letters.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    renderer = PromptRenderer(
        PreTrainedTokenizerFast(tokenizer_object=letters), PromptTemplate("bare", "a test", text="{question}")
    )
    check_prompt_lengths(
        renderer, [Problem("a/b/0", ({"role": "user", "content": "What is ³?"},), "a", "3")], 1000
    )
    assert caplog.text == ""


def test_the_identity_is_the_templates(model_folder: Path, copy: Path) -> None:
    assert load_renderer(str(model_folder)).identity == load_renderer(str(copy)).identity
    template = copy / "chat_template.jinja"
    template.write_text(template.read_text() + " ")
    assert load_renderer(str(model_folder)).identity != load_renderer(str(copy)).identity


def test_words_for_a_server_are_those_that_a_tokenizer_would_be_given(model_folder: Path) -> None:
    [problem] = generate(1, [2], 0)
    chat = WordsRenderer(template("boxed")).request(7, problem, 3)
    assert (chat.key, list(chat.prompt_tokens), chat.num_samples) == (7, [], 3)
    assert chat.words == tuple(template("boxed").messages(problem))
    plain = WordsRenderer(template("plain"))
    own = PromptRenderer(AutoTokenizer.from_pretrained(model_folder), template("plain"))
    assert plain.request(0, problem, 1).words == own.rendered_text(problem)
    # The same text is the same prompt wherever its tokens are made; a chat template that is not seen is not.
    assert plain.identity == own.identity
    own = PromptRenderer(AutoTokenizer.from_pretrained(model_folder), template("boxed"))
    assert WordsRenderer(template("boxed")).identity.endswith(", chat template of the server")
    assert WordsRenderer(template("boxed")).identity.partition(",")[0] != own.identity


def test_a_message_that_the_chat_template_leaves_out_is_refused(copy: Path) -> None:
    (copy / "chat_template.jinja").write_text(
        "{% for m in messages if m.role == 'user' %}{{ m.content }}{% endfor %}<|assistant|>"
    )
    renderer = load_renderer(str(copy))
    asked = [
        Problem(str(n), ({"role": role, "content": "a = 3 ;"},), "d", "3") for n, role in enumerate(ROLES)
    ]
    check_prompt_lengths(renderer, asked[:1], 100)
    with pytest.raises(DataError, match="leaves out the message of role 'human'") as caught:
        check_prompt_lengths(renderer, asked, 100)
    assert caught.value.where == "problem 1"


ROLES = ("user", "human")


@pytest.mark.parametrize(
    "words", ["{% for m in messages %}", "{{ raise_exception('no') }}", "{{ messages + 1 }}"]
)
def test_a_broken_chat_template_is_named_as_what_it_is(copy: Path, words: str) -> None:
    (copy / "chat_template.jinja").write_text(words)
    with pytest.raises(ModelError, match="the chat template fails"):
        load_renderer(str(copy))


def test_special_tokens_are_not_sent_to_a_server_as_words() -> None:
    with pytest.raises(ConfigError, match="special tokens") as caught:
        WordsRenderer(template("qwen_boxed"))
    assert "prompt=boxed" in str(caught.value.fix)


def test_the_models_hash_is_of_its_files(model_folder: Path, copy: Path) -> None:
    assert model_hash(str(copy)) == model_hash(str(model_folder))
    (copy / "notes.txt").write_text("not part of the model")
    assert model_hash(str(copy)) == model_hash(str(model_folder))
    (copy / "model.safetensors").write_bytes(b"weights")
    assert model_hash(str(copy)) != model_hash(str(model_folder))
