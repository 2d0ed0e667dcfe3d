"""Weights from the learner into vLLM, by vLLM's native weight-transfer interface.

Three backends share one call, :func:`connect`, then ``send_weights()`` at every update:

* ``nccl`` and ``ipc`` are vLLM's own, for GPUs;
* ``host`` is ours, for engines without a GPU: all tensors travel as bytes in the
  ``update_weights`` call itself. The transport is the caller's: Ray's object store shares
  the bytes between processes of one node and copies them once to every other node.

Two properties of vLLM's CPU engine shape the receiving side. Linear layers pack their
weights at load time and drop the originals, so new weights must go through the layerwise
reload; and the reload does not re-pack an ``lm_head`` that is tied to the embedding, so
this is done here. The proof of each update (rollout/proof.py) would catch either.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Self

import numpy as np
import torch
from vllm.distributed.weight_transfer.base import (
    ParamMeta,
    TrainerInitInfo,
    TrainerWeightTransferEngine,
    VLLMWeightSyncClient,
    WeightSource,
    WeightTransferEngine,
    WeightTransferInitInfo,
    WeightTransferUpdateInfo,
)
from vllm.distributed.weight_transfer.factory import WeightTransferEngineFactory, WeightTransferTrainerFactory
from vllm.model_executor.model_loader.reload import finalize_layerwise_reload, initialize_layerwise_reload

from rlvr.errors import WeightUpdateError

HOST_BACKEND = "host"
CHUNK_BYTES = 1 << 30
"""Tensors travel in chunks of about this size, which bounds the extra memory of an update."""


@dataclass
class HostInitInfo(WeightTransferInitInfo):
    """What the trainer announces once: the names that make up a complete update."""

    names: list[str]


@dataclass
class HostTrainerInitInfo(TrainerInitInfo):
    """The ``host`` backend needs no rendezvous."""

    backend: ClassVar[str] = HOST_BACKEND


@dataclass
class HostUpdateInfo(WeightTransferUpdateInfo):
    """One chunk of an update: tensors laid end to end in one byte buffer."""

    names: list[str]
    dtype_names: list[str]
    shapes: list[list[int]]
    buffer: np.ndarray
    """(num_bytes,) uint8; may be read-only memory shared with the sender."""


class HostWeightTransferEngine(WeightTransferEngine[HostInitInfo, HostUpdateInfo]):
    """Receiving side of the ``host`` backend; lives inside vLLM's worker."""

    init_info_cls = HostInitInfo
    update_info_cls = HostUpdateInfo

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.expected_names: frozenset[str] = frozenset()
        self.received_names: set[str] = set()

    def init_transfer_engine(self, init_info: HostInitInfo) -> None:
        """Remember what a complete update consists of."""
        self.expected_names = frozenset(init_info.names)

    def start_weight_update(self) -> None:
        """Put the model into the state in which checkpoint weights can be loaded."""
        self.received_names = set()
        initialize_layerwise_reload(self.model)

    def update_weights(self, update_info: dict[str, Any]) -> None:
        """Load one chunk. Overridden because there is no accelerator to synchronise with."""
        self.receive_weights(self.parse_update_info(update_info))

    def receive_weights(self, update_info: HostUpdateInfo) -> None:
        """Rebuild the tensors on the buffer and hand them to the model's own loader."""
        self.received_names.update(update_info.names)
        self.model.load_weights(unpack(update_info))

    def finish_weight_update(self) -> None:
        """Pack the new weights for the CPU kernels.

        Raises:
            WeightUpdateError: the trainer sent fewer tensors than it had announced.
        """
        finalize_layerwise_reload(self.model, self.model_config)
        for module in self.model.modules():
            # A tied lm_head keeps the packed copy of the old weights (see the module docstring).
            weight = getattr(module, "weight", None)
            if hasattr(module, "cpu_linear") and weight is not None and weight.numel() > 0:
                module.quant_method.process_weights_after_loading(module)
        missing = sorted(self.expected_names - self.received_names)
        if missing:
            raise WeightUpdateError(
                f"{len(missing)} of {len(self.expected_names)} tensors did not arrive, the first is {missing[0]}",
                where="weight update, receiving engine",
            )

    def shutdown(self) -> None:
        """Nothing is held between updates."""


class HostTrainerEngine(TrainerWeightTransferEngine[HostTrainerInitInfo]):
    """Sending side of the ``host`` backend; runs on every learner, rank 0 sends."""

    init_info_cls = HostTrainerInitInfo

    @classmethod
    def trainer_init(
        cls,
        init_info: HostTrainerInitInfo,
        *,
        client: VLLMWeightSyncClient,
        source: WeightSource | None = None,
    ) -> Self:
        """Announce the parameter names to the engines."""
        assert source is not None
        engine = cls(client=client, source=source, is_sender=init_info.is_sender)
        if engine.is_sender:
            client.init_weight_transfer_engine(
                asdict(HostInitInfo([meta.name for meta in source.metadata()]))
            )
        return engine

    def send_weights(self) -> None:
        """One update round; every rank iterates the source, because gathering is collective."""
        assert self.source is not None
        if self.is_sender:
            self.client.start_weight_update()
        for chunk in pack(self.source, CHUNK_BYTES):
            if self.is_sender:
                self.client.update_weights(dict(vars(chunk)))
        if self.is_sender:
            self.client.finish_weight_update()


def pack(source: WeightSource, chunk_bytes: int) -> Iterator[HostUpdateInfo]:
    """Lay tensors end to end in buffers of at most ``chunk_bytes`` (or one tensor, if larger)."""
    names: list[str] = []
    tensors: list[torch.Tensor] = []
    size = 0
    for name, tensor in source:
        num_bytes = tensor.numel() * tensor.element_size()
        if names and size + num_bytes > chunk_bytes:
            yield _chunk(names, tensors)
            names, tensors, size = [], [], 0
        names.append(name)
        tensors.append(tensor)
        size += num_bytes
    if names:
        yield _chunk(names, tensors)


def _chunk(names: list[str], tensors: list[torch.Tensor]) -> HostUpdateInfo:
    parts = [tensor.detach().cpu().contiguous().view(-1).view(torch.uint8) for tensor in tensors]
    return HostUpdateInfo(
        names=names,
        dtype_names=[str(tensor.dtype).removeprefix("torch.") for tensor in tensors],
        shapes=[list(tensor.shape) for tensor in tensors],
        buffer=torch.cat(parts).numpy(),
    )


def unpack(chunk: HostUpdateInfo) -> Iterator[tuple[str, torch.Tensor]]:
    """Inverse of :func:`pack` for one chunk; the tensors own their memory."""
    start = 0
    for name, dtype_name, shape in zip(chunk.names, chunk.dtype_names, chunk.shapes, strict=True):
        dtype = getattr(torch, dtype_name)
        end = start + math.prod(shape) * dtype.itemsize
        yield name, torch.from_numpy(chunk.buffer[start:end].copy()).view(dtype).view(shape)
        start = end


class LearnerWeights(WeightSource):
    """The learner's parameters as vLLM's trainer engines want to read them."""

    def __init__(
        self,
        metadata: Sequence[tuple[str, torch.dtype, tuple[int, ...]]],
        weights: Callable[[], Iterator[tuple[str, torch.Tensor]]],
    ) -> None:
        self._metadata = [ParamMeta(*entry) for entry in metadata]
        self._weights = weights

    def metadata(self) -> list[ParamMeta]:
        """Names, dtypes and shapes."""
        return self._metadata

    def __iter__(self) -> Iterator[tuple[str, torch.Tensor]]:
        """One pass over the full parameters."""
        return self._weights()


def buffer_bytes(metadata: Sequence[tuple[str, torch.dtype, tuple[int, ...]]], chunk_bytes: int) -> int:
    """Size of a buffer that holds a chunk of tensors: any single one, and no more than all of them."""
    sizes = [math.prod(shape) * dtype.itemsize for _, dtype, shape in metadata]
    return max(max(sizes), min(chunk_bytes, sum(sizes)))


def connect(
    backend: str,
    *,
    rank: int,
    client: VLLMWeightSyncClient,
    metadata: Sequence[tuple[str, torch.dtype, tuple[int, ...]]],
    weights: Callable[[], Iterator[tuple[str, torch.Tensor]]],
    num_engine_ranks: int,
    address: str,
    port: int,
) -> TrainerWeightTransferEngine[Any]:
    """Build the sending side of a backend; called on every learner rank, in lockstep.

    Args:
        backend: ``host``, ``nccl`` or ``ipc``.
        rank: this learner's rank; 0 sends.
        client: drives the engines.
        metadata: name, dtype and full shape of the learner's parameters.
        weights: starts a fresh pass over the parameters, in the same order.
        num_engine_ranks: GPUs of all engines together (``nccl``).
        address: this node's address for the rendezvous (``nccl``).
        port: a free port on it (``nccl``).
    """
    register()
    source = LearnerWeights(metadata, weights)
    info: TrainerInitInfo
    if backend == HOST_BACKEND:
        info = HostTrainerInitInfo(rank=rank)
    elif backend == "ipc":
        from vllm.distributed.weight_transfer.ipc_engine import IPCTrainerInitInfo

        info = IPCTrainerInitInfo(
            rank=rank, packed=True, packed_buffer_size_bytes=buffer_bytes(metadata, CHUNK_BYTES)
        )
    else:
        from vllm.distributed.weight_transfer.nccl_engine import NCCLTrainerInitInfo

        info = NCCLTrainerInitInfo(
            rank=rank, master_address=address, master_port=port, world_size=1 + num_engine_ranks
        )
    return WeightTransferTrainerFactory.trainer_init(info, client=client, source=source)


def disconnect(engine: TrainerWeightTransferEngine[Any]) -> None:
    """Give up what a sending side holds; an engine that it sent to may be gone.

    vLLM's nccl sender has no shutdown of its own, and keeps its communicator's buffers on the GPU.
    """
    engine.shutdown()
    group = getattr(engine, "model_update_group", None)
    if group is not None:
        group.destroy()  # aborts, and so does not wait for the others


def register() -> None:
    """Make the ``host`` backend known to vLLM's factories in this process; idempotent."""
    if HOST_BACKEND not in WeightTransferEngineFactory._registry:
        WeightTransferEngineFactory.register_engine(HOST_BACKEND, HostWeightTransferEngine)
    if HOST_BACKEND not in WeightTransferTrainerFactory._registry:
        WeightTransferTrainerFactory.register_engine(HOST_BACKEND, HostTrainerEngine)
