"""What of the engine needs no engine."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image

from rlvr.data.images import images_of
from rlvr.rollout.vllm_engine import pixels

WHITE, BLACK = (255, 255, 255), (0, 0, 0)


def encoded(image: Image.Image, **options: object) -> bytes:
    written = io.BytesIO()
    image.save(written, format="PNG", **options)
    return written.getvalue()


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_drawn_on_nothing_is_seen_on_white(mode: str) -> None:
    """Black lines on a transparent ground, as diagrams are often published, would be black on black."""
    drawing = Image.new("RGBA", (4, 1), (0, 0, 0, 0))
    drawing.putpixel((1, 0), (*BLACK, 255))
    seen = pixels(encoded(drawing.convert(mode))).media
    assert seen.mode == "RGB"
    assert [seen.getpixel((x, 0)) for x in range(3)] == [WHITE, BLACK, WHITE]


def test_a_photo_is_upright_and_counted_so(tmp_path: Path) -> None:
    photo = Image.new("RGB", (40, 20), WHITE)
    exif = photo.getexif()
    exif[0x0112] = 6  # the camera was held on its side
    content = encoded(photo, exif=exif)
    (tmp_path / "photo.png").write_bytes(content)
    [image] = images_of({"image": "photo.png"}, tmp_path, "row 1")
    assert pixels(content).media.size == (image.width, image.height) == (20, 40)
