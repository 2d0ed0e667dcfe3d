"""What of the engine needs no engine."""

from __future__ import annotations

import io
import os
from collections import deque
from pathlib import Path
from queue import SimpleQueue
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from rlvr.data.images import images_of
from rlvr.errors import WeightUpdateError
from rlvr.protocols import SampleRequest, SamplingSettings
from rlvr.rollout.engine_options import prepare_environment
from rlvr.rollout.vllm_engine import Inbox, InHand, VLLMEngine, pixels
from rlvr.rollout.weight_transfer import HostTrainerEngine, disconnect

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


class Tails:
    """Stands in for vLLM's engine: of every request one response is twenty times as long as the others."""

    def __init__(self, places: int) -> None:
        self.places = places
        self.left: dict[str, list[int]] = {}
        """Steps that the unfinished responses of a request still take, in the order of the requests."""
        self.sampled: list[int] = []
        """Responses that were sampled at once, by step."""

    def get_num_unfinished_requests(self) -> int:
        return sum(len(each) for each in self.left.values())

    def add_request(self, request_id: str, prompt: Any, params: Any) -> None:
        self.left[request_id] = [20] + [1] * (params.n - 1)

    def step(self) -> list[Any]:
        free = self.places
        for each in self.left.values():
            for index in range(min(free, len(each))):
                each[index] -= 1
                free -= 1
        self.sampled.append(self.places - free)
        self.left = {key: [steps for steps in each if steps] for key, each in self.left.items()}
        ended = [key for key, each in self.left.items() if not each]
        for key in ended:
            del self.left[key]
        return [SimpleNamespace(request_id=key, finished=True, outputs=[]) for key in ended]


def test_one_long_response_of_many_leaves_no_place_empty() -> None:
    """Requests are handed over as places become free, and not only as whole requests end."""
    engine = object.__new__(VLLMEngine)
    engine._engine = tails = Tails(places=16)
    engine._tokenizer = SimpleNamespace(batch_decode=lambda texts, skip_special_tokens: [])
    engine._max_num_seqs, engine._counter, engine._cache_at_update = 16, 0, None
    requests = [SampleRequest(key, [1], 8) for key in range(40)]
    found: list[int] = []
    busy = 0
    for ended in engine.generate(requests, SamplingSettings(1.0, 8)):
        found += [key for key, _ in ended]
        busy = len(tails.sampled) if len(found) + len(tails.left) < len(requests) else busy
    assert sorted(found) == list(range(40))
    assert busy > 20
    assert set(tails.sampled[:busy]) == {16}


def test_an_engine_tells_of_every_place_that_becomes_free() -> None:
    """Those who hand requests over piece by piece are told of as many places as they have filled, and in time."""
    engine = object.__new__(VLLMEngine)
    engine._engine = tails = Tails(places=16)
    engine._tokenizer = SimpleNamespace(batch_decode=lambda texts, skip_special_tokens: [])
    engine._max_num_seqs, engine._counter, engine._cache_at_update = 16, 0, None
    inbox: Inbox = SimpleQueue()
    waiting = [SampleRequest(key, [1], 8) for key in range(40)]
    free, found = 20, []

    def hand_over() -> None:
        nonlocal free
        while waiting and free > 0:
            free -= waiting[0].num_samples
            inbox.put(waiting.pop(0))
        if not waiting:
            inbox.put(None)

    hand_over()
    fullest = 0
    for served in engine.serve(inbox, SamplingSettings(1.0, 8)):
        free += served.num_freed
        found += [key for key, _ in served.answers]
        fullest = max(fullest, tails.get_num_unfinished_requests())
        if waiting:
            hand_over()
    assert sorted(found) == list(range(40))
    assert fullest < 20 + 8  # what is in hand is what was asked for, up to a request
    assert sum(tails.sampled) == 40 * (20 + 7)
    assert tails.sampled[: len(tails.sampled) // 2] == [16] * (len(tails.sampled) // 2)


def test_an_engine_goes_on_where_the_last_call_has_left_it() -> None:
    """Of requests piece by piece nothing is lost, and of places that become free every one is told."""
    engine = object.__new__(VLLMEngine)
    engine._engine = tails = Tails(places=16)
    engine._tokenizer = SimpleNamespace(batch_decode=lambda texts, skip_special_tokens: [])
    engine._max_num_seqs, engine._counter, engine._cache_at_update = 16, 0, None
    engine._waiting, engine._in_hand, engine._ended = deque(), InHand(), []
    waiting = deque(SampleRequest(key, [1], 8) for key in range(40))
    found: list[int] = []
    freed = calls = 0
    while len(found) < 40:
        handed = [waiting.popleft() for _ in range(min(3, len(waiting)))]
        served = engine.advance(handed, SamplingSettings(1.0, 8), seconds=0.0005)
        found += [key for key, _ in served.answers]
        freed += served.num_freed
        calls += 1
    assert calls > 3
    assert sorted(found) == list(range(40))
    assert freed == 40 * 8
    assert sum(tails.sampled) == 40 * (20 + 7)
    assert engine.advance([], SamplingSettings(1.0, 8), seconds=9.0).answers == []  # at once


class Calls:
    """Stands in for vLLM's LLM in the calls of the weight transfer: keeps their names, and answers as it is told."""

    def __init__(self, **answers: Any) -> None:
        self.names: list[str] = []
        self.answers = answers

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any) -> Any:
            self.names.append(arguments[0] if name == "collective_rpc" else name)
            return self.answers.get(name)

        return call


def test_prefixes_that_cannot_be_dropped_end_the_update() -> None:
    engine = object.__new__(VLLMEngine)
    engine._cache_at_update = None
    engine._llm = engine._engine = calls = Calls(reset_prefix_cache=True)
    engine.finish_weight_update()
    assert calls.names == ["finish_weight_update", "reset_encoder_cache", "reset_prefix_cache"]
    engine._llm = Calls(reset_prefix_cache=False)
    with pytest.raises(WeightUpdateError, match="old weights are still in use"):
        engine.finish_weight_update()


def test_a_new_connection_gives_up_the_old_one() -> None:
    """Both sides: a communicator that is only forgotten keeps its buffers on the GPU."""
    engine = object.__new__(VLLMEngine)
    engine._llm = calls = Calls()
    engine.init_weight_transfer_engine({})
    assert calls.names == ["shutdown_weight_transfer_engine", "init_weight_transfer_engine"]
    group, plain = Calls(), Calls()
    sender: Any = SimpleNamespace(shutdown=lambda: plain.names.append("shutdown"), model_update_group=group)
    disconnect(sender)
    disconnect(HostTrainerEngine(client=plain, source=None, is_sender=False))
    assert (plain.names, group.names) == (["shutdown"], ["destroy"])


def test_the_sampler_that_needs_no_compiler_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """vLLM would compile FlashInfer's for top-p with nvcc, which an image often lacks."""
    for name in ("VLLM_ENABLE_V1_MULTIPROCESSING", "VLLM_LOGGING_LEVEL", "VLLM_NO_USAGE_STATS"):
        monkeypatch.setenv(name, "")  # set back after the test
    options: Any = SimpleNamespace(device="cuda")
    for wanted, found in ((None, "0"), ("1", "1")):
        if wanted is None:
            monkeypatch.delenv("VLLM_USE_FLASHINFER_SAMPLER", raising=False)
        else:
            monkeypatch.setenv("VLLM_USE_FLASHINFER_SAMPLER", wanted)
        prepare_environment(options)
        assert os.environ["VLLM_USE_FLASHINFER_SAMPLER"] == found
