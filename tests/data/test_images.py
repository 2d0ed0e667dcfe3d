"""Images of problems: read in the forms in which sets have them, placed in the prompt, and counted in tokens."""

from __future__ import annotations

import base64
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from rlvr.config import BenchmarkConfig, DataConfig
from rlvr.data.benchmarks import BENCHMARKS, benchmark_problems
from rlvr.data.hub import HubSource
from rlvr.data.images import ImageProcessor, content_of, image_url, images_of, place_of, placed
from rlvr.data.loaders import load_problems, problems_hash, save_problems
from rlvr.data.prompts import WordsRenderer, load_renderer, longest_prompt
from rlvr.data.templates import template
from rlvr.errors import ConfigError, DataError, ModelError
from rlvr.records import ImageFile, Problem
from tests.vision import COLOURS, picture, qwen_model, vision_model, visual_set

VERL = {
    "data_source": "mine", "prompt": [{"role": "user", "content": "See <image>: how many?"}], "ability": "math",
    "reward_model": {"style": "rule", "ground_truth": "6"}, "extra_info": {"split": "test", "index": 0},
}  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return vision_model(tmp_path_factory.mktemp("vision"), steps=0)


def vista(folder: Path) -> list[Problem]:
    return benchmark_problems(BenchmarkConfig("mathvista"), DataConfig(folder=str(folder)))


def question(text: str, *images: ImageFile) -> Problem:
    return Problem("x", ({"role": "user", "content": text},), "x", "1", images=images)


def saved(path: Path, answer: str = "1") -> Path:
    picture(answer).save(path)
    return path


def test_a_published_set_has_its_images_beside_it(tmp_path: Path) -> None:
    visual_set(tmp_path)
    found = vista(tmp_path)
    assert [problem.ground_truth for problem in found] == [*COLOURS]
    [image] = found[2].images
    assert (image.media_type, image.width, image.height) == ("image/png", 82, 60)
    assert content_of(image) == (tmp_path / "mathvista" / "images" / "2.png").read_bytes()
    # In the folder of the file itself as well, where no folder has its name.
    shutil.move(tmp_path / "mathvista" / "images", tmp_path / "images")
    (tmp_path / "mathvista").rmdir()
    assert problems_hash(vista(tmp_path)) == problems_hash(found)


def test_the_hubs_tables_hold_the_images_themselves(tmp_path: Path, monkeypatch) -> None:
    """``datasets`` itself, on a repository's folder: files without names, which are kept beside its own cache."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    row = {"question": "<image1> How many?", "options": [], "answer": "6", "image": "images/4.jpg"}
    features = datasets.Features(
        question=datasets.Value("string"), options=datasets.List(datasets.Value("string")),
        answer=datasets.Value("string"), image=datasets.Value("string"), decoded_image=datasets.Image(),
    )  # fmt: skip
    table = datasets.Dataset.from_list([row | {"decoded_image": picture("2")}], features=features)
    path = tmp_path / "repo" / "data" / "testmini-00000-of-00001.parquet"
    path.parent.mkdir(parents=True)
    table.to_parquet(str(path))
    source = HubSource(str(tmp_path / "repo"), split="testmini")
    monkeypatch.setitem(BENCHMARKS, "mathvision", replace(BENCHMARKS["mathvision"], source=source))
    [problem] = benchmark_problems(BenchmarkConfig("mathvision"), DataConfig())
    assert problem.prompt[0]["content"] == "How many?"
    [image] = problem.images
    assert Path(image.path).parent == tmp_path / "cache" / "rlvr-images"
    assert (image.width, image.height, len(content_of(image))) == (80, 60, Path(image.path).stat().st_size)
    assert benchmark_problems(BenchmarkConfig("mathvision", str(path)), DataConfig()) == [problem]


def test_a_cache_that_cannot_be_written_to_is_named(tmp_path: Path, monkeypatch) -> None:
    import datasets

    (tmp_path / "cache").write_text("no folder")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    content = saved(tmp_path / "1.png").read_bytes()
    with pytest.raises(DataError, match="cannot be kept as a file") as caught:
        images_of({"image": {"bytes": content}}, tmp_path, "row 1")
    assert "HF_DATASETS_CACHE" in str(caught.value.fix)


@pytest.mark.parametrize("ending", [".jsonl", ".parquet"])
def test_a_file_of_ones_own_names_its_images(tmp_path: Path, ending: str) -> None:
    saved(tmp_path / "6.png")
    (tmp_path / "own.jsonl").write_text(json.dumps(VERL | {"images": ["6.png"]}) + "\n")
    [problem] = load_problems(str(tmp_path / "own.jsonl"))
    assert content_of(problem.images[0]) == (tmp_path / "6.png").read_bytes()
    save_problems([problem], tmp_path / f"again{ending}")
    assert load_problems(str(tmp_path / f"again{ending}")) == [problem]


def test_an_image_is_part_of_what_a_benchmark_is(tmp_path: Path) -> None:
    visual_set(tmp_path)
    before = problems_hash(vista(tmp_path))
    saved(tmp_path / "mathvista" / "images" / "0.png", "4")
    assert problems_hash(vista(tmp_path)) != before


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "images/1.png cannot be read: No such file"),
        (b"no image", "1.png is no image that can be read"),
        ("half", "1.png is no image that can be read"),
        ("tiff", "1.png is no image that can be read"),
    ],
)
def test_an_image_that_cannot_be_read_is_named_by_its_row(tmp_path: Path, content: Any, words: str) -> None:
    path = visual_set(tmp_path)
    image = tmp_path / "mathvista" / "images" / "1.png"
    if content is None:
        image.unlink()
    elif content == "half":
        Image.effect_noise((80, 60), 90).save(image)
        image.write_bytes(image.read_bytes()[:2000])
    elif content == "tiff":
        picture("1").save(image, format="TIFF")
    else:
        image.write_bytes(content)
    with pytest.raises(DataError, match=words) as caught:
        vista(tmp_path)
    assert caught.value.where == f"{path}:2"
    assert caught.value.fix


@pytest.mark.parametrize("value", [None, 3, {"name": "x"}, ""])
def test_a_visual_row_needs_an_image(tmp_path: Path, value: Any) -> None:
    path = visual_set(tmp_path)
    row = json.loads(path.read_text().splitlines()[0])
    path.write_text(json.dumps(row | {"image": value}) + "\n")
    with pytest.raises(DataError, match=r"no image|an image is") as caught:
        vista(tmp_path)
    assert caught.value.where == f"{path}:1"


def test_an_image_that_has_changed_is_not_used(tmp_path: Path) -> None:
    visual_set(tmp_path)
    [image] = vista(tmp_path)[0].images
    saved(Path(image.path), "4")
    with pytest.raises(DataError, match="has changed"):
        content_of(image)


def test_images_stand_where_the_text_says_or_before_it(tmp_path: Path) -> None:
    visual_set(tmp_path)
    first, second = (problem.images[0] for problem in vista(tmp_path)[:2])

    def kinds(problem: Problem) -> list[str]:
        [message] = placed(problem.prompt, problem, place_of)
        return [part.get("text", "IMAGE") for part in message["content"]]

    assert kinds(question("How many?", first)) == ["IMAGE", "How many?"]
    assert kinds(question("In <image> and <image>?", first, second)) == [
        "In ",
        "IMAGE",
        " and ",
        "IMAGE",
        "?",
    ]
    assert placed(question("a < b").prompt, question("a < b"), place_of) == [
        {"role": "user", "content": "a < b"}
    ]
    with pytest.raises(DataError, match=r"2 places for images .* 1 images"):
        kinds(question("In <image> and <image>?", first))


def test_an_image_counts_as_what_the_model_makes_of_it(tmp_path: Path, model: Path) -> None:
    """Against transformers' own processor, which lays the tokens out."""
    from transformers import AutoProcessor

    visual_set(tmp_path)
    problem = vista(tmp_path)[0]
    renderer = load_renderer(str(model))
    request = renderer.request(0, problem, 4)
    assert request.images == (content_of(problem.images[0]),)
    laid_out = AutoProcessor.from_pretrained(model)(
        text=renderer.rendered_text(problem), images=[Image.open(problem.images[0].path)]
    )
    assert longest_prompt(renderer, [problem]) == len(laid_out["input_ids"][0]) > len(request.prompt_tokens)


@pytest.fixture
def qwen(tmp_path: Path) -> ImageProcessor:
    """Qwen2.5-VL's, as published: torchvision, which its video part needs, is not there."""
    return ImageProcessor(str(qwen_model(tmp_path / "qwen")))


@pytest.mark.parametrize("size", [(80, 60), (1000, 700), (28, 28), (3000, 20), (5, 4)])
def test_qwen_counts_what_it_lays_out(qwen: ImageProcessor, size: tuple[int, int]) -> None:
    processor = qwen._processor
    text = "<|vision_start|><|image_pad|><|vision_end|> a ?"
    ids = processor.tokenizer(text)["input_ids"]
    laid_out = processor(text=[text], images=[Image.new("RGB", size)])["input_ids"][0]
    image = ImageFile("x.png", "", "image/png", *size)
    assert len(ids) + qwen.num_tokens([image], ids) == len(laid_out)


def test_an_image_that_the_model_does_not_take_is_named(qwen: ImageProcessor) -> None:
    with pytest.raises(DataError, match="takes no such image: absolute aspect ratio") as caught:
        qwen.num_tokens([ImageFile("x.png", "", "image/png", 6000, 20)], [qwen.place_token])
    assert caught.value.where == "x.png"


def test_a_model_without_eyes_is_refused(tmp_path: Path, model_folder: Path, model: Path) -> None:
    visual_set(tmp_path)
    with pytest.raises(ModelError, match="reads no images"):
        longest_prompt(load_renderer(str(model_folder)), vista(tmp_path))
    blind = shutil.copytree(model, tmp_path / "blind")
    for name in ("chat_template.jinja", "processor_config.json"):
        text = (blind / name).read_text()
        (blind / name).write_text(text.replace("{% if part['type'] == 'image' %}<image>", "{% if false %}"))
    with pytest.raises(ModelError, match="written 0 places for 1 images"):
        longest_prompt(load_renderer(str(blind)), vista(tmp_path))


def test_plain_text_has_no_place_for_an_image(tmp_path: Path, model: Path) -> None:
    visual_set(tmp_path)
    problem = vista(tmp_path)[0]
    with pytest.raises(ConfigError, match="prompt=plain is plain text"):
        load_renderer(str(model), template("plain")).render(problem)
    with pytest.raises(ConfigError, match="prompt=plain is plain text"):
        WordsRenderer(template("plain")).request(0, problem, 1)


def test_a_server_is_sent_the_image_itself(tmp_path: Path) -> None:
    visual_set(tmp_path)
    problem = vista(tmp_path)[1]
    sent = WordsRenderer(template("easyr1")).request(0, problem, 1).words
    assert not isinstance(sent, str)
    [message] = sent
    image, text = message["content"]
    assert image == image_url(problem.images[0])
    head, _, content = image["image_url"]["url"].partition(",")
    assert head == "data:image/png;base64"
    assert base64.b64decode(content) == content_of(problem.images[0])
    assert text["text"].startswith("a ? You FIRST think")
