"""Processors that read images and videos, where torchvision, which only their video part needs, cannot be had.

PyPI's torchvision is linked with CUDA's libraries. Beside a CPU build of torch its C++ part does not load, and its Python
part then fails at registering an operator of that part, ``operator torchvision::nms does not exist``; so the CPU set is
installed without it. transformers has every image processor in a version for PIL as well, and refuses the whole processor
(Qwen2.5-VL's, for one) for want of the video part.
"""

from __future__ import annotations

import importlib.util
from typing import Any


def has_torchvision() -> bool:
    """Whether it is installed; if it is, it is taken to work."""
    return importlib.util.find_spec("torchvision") is not None


def read_images_alone() -> None:
    """From here on in this process, processors have a video part that does nothing; a no-op where torchvision is there."""
    if has_torchvision():
        return
    import transformers
    from transformers.models.auto.video_processing_auto import AutoVideoProcessor
    from transformers.video_processing_utils import VideoProcessorMixin

    class NoVideos(VideoProcessorMixin):
        """Stands for a video processor, and is given no video."""

        def __init__(self) -> None:
            """Nothing to set up."""

    def no_videos(*_: Any, **__: Any) -> NoVideos:
        return NoVideos()

    AutoVideoProcessor.from_pretrained = no_videos
    transformers.VideoProcessorMixin = VideoProcessorMixin  # which processors look up to check their parts
