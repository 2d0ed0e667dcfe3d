"""Images that problems are about: found beside the data, placed among the words, and counted in tokens.

A message has a place for an image where it says ``<image>``, as in verl's data; images without such places come before
the last message. How many tokens an image takes is known to the model's own processor alone.
"""

from __future__ import annotations

import base64
import hashlib
import io
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps

from rlvr.errors import DataError, ModelError
from rlvr.records import ChatMessage, ImageFile, Problem

MARK = "<image>"
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
"""Formats that are decoded; each further decoder would be one more that reads what strangers have written."""
COLUMNS = ("images", "decoded_image", "image")
"""Where rows have their images, the first one that a row has: one, or a list of them."""

Part = Mapping[str, Any]
"""A part of a message's content, such as ``{"type": "text", "text": …}``."""


def images_of(row: Mapping[str, Any], base: Path, where: str) -> tuple[ImageFile, ...]:
    """The images of a row: paths from the data's folder, or the files themselves.

    Args:
        row: an image is a path, ``{"path": …}``, or ``{"bytes": …}`` as ``datasets`` keeps them.
        base: folder that paths start from.
        where: place of the row.

    Raises:
        DataError: an image is missing, or is none.
    """
    value: Any = next((row[name] for name in COLUMNS if row.get(name) is not None), [])
    return tuple(
        _image_file(each, base, where) for each in (value if isinstance(value, (list, tuple)) else [value])
    )


def _image_file(value: Any, base: Path, where: str) -> ImageFile:
    content = value.get("bytes") if isinstance(value, dict) else None
    named = value.get("path") if isinstance(value, dict) else value
    if isinstance(content, bytes):
        return _described(_kept(content), content, where)
    if not isinstance(named, str) or not named:
        raise DataError(
            f"an image is {type(value).__name__} {str(value)[:40]!r}",
            where=where,
            fix='a path from the data\'s folder, or {"bytes": …} in parquet',
        )
    path = (base / named).resolve()
    try:
        return _described(path, path.read_bytes(), where)
    except OSError as error:
        raise DataError(
            f"the image {named} cannot be read: {error.strerror}",
            where=where,
            fix=f"it is looked for at {path}: unpack the set's images there",
        ) from error


def _described(path: Path, content: bytes, where: str) -> ImageFile:
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            image.load()  # to its end: a file that was cut off is found before an engine is given it
            # Upright, as the model is given it: cameras write how they were held.
            media_type, (width, height) = Image.MIME[str(image.format)], ImageOps.exif_transpose(image).size
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(
            f"{path.name} is no image that can be read: {error}",
            where=where,
            fix=f"one of {', '.join(FORMATS)}",
        ) from error
    return ImageFile(str(path), hashlib.sha256(content).hexdigest(), media_type, width, height)


def kept_image(content: bytes) -> ImageFile:
    """An image that is no file yet, kept as one beside what ``datasets`` caches.

    Raises:
        DataError: it cannot be written there.
    """
    return _described(_kept(content), content, "an image in memory")


def _kept(content: bytes) -> Path:
    """A file with this content, beside what ``datasets`` caches.

    Raises:
        DataError: it cannot be written there.
    """
    import datasets

    path = Path(datasets.config.HF_DATASETS_CACHE) / "rlvr-images" / hashlib.sha256(content).hexdigest()
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            # Two processes may be at it: whichever is last puts the same content in place.
            temporary = path.with_suffix(f".{os.getpid()}")
            temporary.write_bytes(content)
            temporary.replace(path)
    except OSError as error:
        raise DataError(
            f"an image of the table cannot be kept as a file: {error.strerror}",
            where=str(path.parent),
            fix="HF_DATASETS_CACHE=FOLDER, a folder that can be written to",
        ) from error
    return path


# Requests for one problem follow one another and share what is read.
@lru_cache(maxsize=64)
def content_of(image: ImageFile) -> bytes:
    """The file's content.

    Raises:
        DataError: the file is gone, or is another one by now.
    """
    try:
        content = Path(image.path).read_bytes()
    except OSError as error:
        raise DataError(f"the image cannot be read: {error.strerror}", where=image.path) from error
    if hashlib.sha256(content).hexdigest() != image.sha256:
        raise DataError("the image has changed since the problems were read", where=image.path)
    return content


def contents_of(problem: Problem) -> tuple[bytes, ...]:
    """The problem's images as encoded files, in their order.

    Raises:
        DataError: a file is gone, or is another one by now.
    """
    return tuple(content_of(image) for image in problem.images)


@lru_cache(maxsize=64)
def image_url(image: ImageFile) -> Part:
    """An image as a part of a message in OpenAI's protocol, content included."""
    content = base64.b64encode(content_of(image)).decode()
    return {"type": "image_url", "image_url": {"url": f"data:{image.media_type};base64,{content}"}}


def place_of(image: ImageFile) -> Part:
    """An image as a part of a message for a tokenizer's chat template, which writes its place there."""
    return {"type": "image"}


def placed(
    messages: Sequence[ChatMessage], problem: Problem, part: Callable[[ImageFile], Part]
) -> list[dict[str, Any]]:
    """Messages with their images as parts among the text; as they are where the problem has none.

    Raises:
        DataError: the places are not as many as the images.
    """
    if not problem.images:
        return [dict(message) for message in messages]
    pieces = [message["content"].split(MARK) for message in messages]
    places = sum(len(each) - 1 for each in pieces)
    if places == 0:
        pieces[-1] = [*[""] * len(problem.images), *pieces[-1]]
    elif places != len(problem.images):
        raise DataError(
            f"the prompt has {places} places for images ({MARK}), the problem has {len(problem.images)} images",
            where=f"problem {problem.id}",
            fix=f"one {MARK} for each image, or none at all",
        )
    images = iter(problem.images)
    return [
        {"role": message["role"], "content": _parts(texts, images, part)}
        for message, texts in zip(messages, pieces, strict=True)
    ]


def _parts(
    texts: Sequence[str], images: Iterator[ImageFile], part: Callable[[ImageFile], Part]
) -> list[Part]:
    """Texts with an image between every two of them."""
    found: list[Part] = []
    for number, text in enumerate(texts):
        if number:
            found.append(part(next(images)))
        if text.strip():
            found.append({"type": "text", "text": text})
    return found


class ImageProcessor:
    """What a model makes of images, as far as the length of a prompt is concerned."""

    def __init__(self, model: str) -> None:
        """Take a model folder or hub name; nothing is loaded before it is needed."""
        self._model = model

    @cached_property
    def _processor(self) -> Any:
        from transformers import AutoProcessor

        from rlvr.still_images import read_images_alone

        read_images_alone()
        try:
            found = AutoProcessor.from_pretrained(self._model)
        except (ImportError, OSError, ValueError) as error:
            raise ModelError(
                "the model's processor of images cannot be loaded: "
                + str(error).strip().splitlines()[0].split(". ")[0],
                where=self._model,
                fix="the package that it names comes with `make setup GPU=1`; torchvision does not work beside a CPU torch",
            ) from error
        if not hasattr(found, "image_processor"):
            raise ModelError(
                "the model reads no images",
                where=self._model,
                fix="a vision-language model, such as Qwen/Qwen2.5-VL-7B-Instruct; or leave out the benchmarks about "
                "images",
            )
        if not hasattr(found, "_get_num_multimodal_tokens"):
            raise ModelError(
                f"transformers cannot say how many tokens an image takes for this model ({type(found).__name__})",
                where=self._model,
                fix="serve it with `vllm serve`, and name the server: api.base_url=…; the server counts for itself",
            )
        return found

    def check(self) -> None:
        """Raise a ModelError unless the model reads images and its processor can be had."""
        _ = self._processor

    @property
    def place_token(self) -> int:
        """What a chat template writes where an image stands."""
        # Not processor.image_token_id: for some models that is what a place is widened to, and never in a prompt.
        token: int = self._processor.tokenizer.convert_tokens_to_ids(self._processor.image_token)
        return token

    def num_tokens(self, images: Sequence[ImageFile], prompt_tokens: Sequence[int]) -> int:
        """Tokens that images add to a prompt, their places in it aside.

        Args:
            images: of the prompt.
            prompt_tokens: as the chat template wrote them, with a place for each image.

        Raises:
            ModelError: the model reads no images, or its chat template has written other places.
            DataError: the model takes no image of such a size.
        """
        processor = self._processor
        places = list(prompt_tokens).count(self.place_token)
        if places != len(images):
            raise ModelError(
                f"the chat template has written {places} places for {len(images)} images",
                where=self._model,
                fix="the chat template that was published with the model, in tokenizer_config.json or "
                "chat_template.jinja",
            )
        sizes = [(image.height, image.width) for image in images]
        try:
            counts = processor._get_num_multimodal_tokens(image_sizes=sizes).num_image_tokens
        except ValueError as error:  # Qwen2.5-VL: more than 200 times as long as wide
            raise DataError(
                f"the model takes no such image: {error}",
                where=", ".join(image.path for image in images),
                fix="leave the problem out, or cut the image",
            ) from error
        return sum(counts) - places


def undecoded(table: Any) -> Any:
    """A table of ``datasets`` that gives images as the files they are, ``{"bytes": …, "path": …}``."""
    import datasets

    as_files = datasets.Image(decode=False)
    for name, feature in table.features.items():
        if isinstance(feature, datasets.Image):
            table = table.cast_column(name, as_files)
        elif isinstance(feature, datasets.List) and isinstance(feature.feature, datasets.Image):
            table = table.cast_column(name, datasets.List(as_files))
    return table
