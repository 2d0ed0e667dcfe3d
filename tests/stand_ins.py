"""What stands in for NCCL and for CUDA IPC where there is no GPU; all else of vLLM's transfers is real.

The functions run in the workers' processes, which end with the test.
"""

from __future__ import annotations

import contextlib
import time
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch


class Stream:
    """Everything is done when it is asked for."""

    cuda_stream = 0

    def synchronize(self) -> None:
        pass


class GlooGroup:
    """In the place of vLLM's NCCL communicator: ``broadcast`` waits until all receivers take part."""

    def __init__(self, address: str, port: int, rank: int, world_size: int, device: Any) -> None:
        from torch.distributed import ProcessGroupGloo, TCPStore

        limit = timedelta(seconds=600)
        self.store = TCPStore(address, port, world_size, rank == 0, timeout=limit)
        self.group: Any = ProcessGroupGloo(self.store, rank, world_size, limit)

    def broadcast(self, tensor: torch.Tensor, src: int, stream: Any = None) -> None:
        options = torch.distributed.BroadcastOptions()
        options.rootRank = src
        self.group.broadcast([tensor], options).wait()

    def destroy(self) -> None:
        pass


def without_nccl() -> None:
    """Let vLLM's ``nccl`` backend work in this process."""
    from vllm.distributed.weight_transfer import nccl_common, packed_tensor

    _without_cuda()
    nccl_common.stateless_init_process_group = GlooGroup
    packed_tensor._get_streams = lambda device, count: tuple(Stream() for _ in range(count))


def without_ipc(folder: Path, gpu: int) -> None:
    """Let vLLM's ``ipc`` backend work in this process, as if it were on that GPU: memory is shared by files."""
    from torch.multiprocessing import reductions
    from vllm.distributed.weight_transfer import packed_tensor

    _without_cuda()
    cuda: Any = torch.cuda
    cuda.get_device_properties = lambda *_: SimpleNamespace(uuid=f"GPU-{gpu}")
    buffers: dict[int, Path] = {}

    class Torch:
        """The module, but for buffers on the GPU."""

        def __getattr__(self, name: str) -> Any:
            return getattr(torch, name)

        def empty(self, *size: Any, device: Any = None, **options: Any) -> torch.Tensor:
            if device != "cuda":
                return torch.empty(*size, device=device, **options)
            path = folder / f"{gpu}-{time.monotonic_ns()}"
            path.write_bytes(bytes(size[0]))
            buffer = _mapped(path, size[0])
            buffers[buffer.data_ptr()] = path
            return buffer

    def handle(buffer: torch.Tensor) -> tuple[None, tuple[Any, ...]]:
        return None, (str(buffers[buffer.data_ptr()]), buffer.numel(), 0, 0, 0, 0, gpu)

    packed_tensor.torch = Torch()
    packed_tensor.reduce_tensor = handle
    reductions.rebuild_cuda_tensor = lambda path, size, *_: _mapped(Path(path), size)


def _mapped(path: Path, size: int) -> torch.Tensor:
    return torch.from_file(str(path), shared=True, size=size, dtype=torch.uint8)


def _without_cuda() -> None:
    replaced: dict[Any, dict[str, Any]] = {
        torch.cuda: {
            "current_stream": lambda *_: Stream(),
            "stream": lambda _: contextlib.nullcontext(),
            "synchronize": lambda *_: None,
            "ipc_collect": lambda: None,
        },
        torch.accelerator: {"current_device_index": lambda: 0, "synchronize": lambda *_: None},
    }
    for module, functions in replaced.items():
        for name, function in functions.items():
            setattr(module, name, function)
