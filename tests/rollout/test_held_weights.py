"""How vLLM deals a tensor out to the ranks of an engine, from vLLM's own layers as they describe themselves."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import torch
from torch import nn

from rlvr.rollout.checksums import checksum, whole

linear = pytest.importorskip("vllm.model_executor.layers.linear")

from vllm.model_executor.layers.vocab_parallel_embedding import VocabParallelEmbedding  # noqa: E402
from vllm.model_executor.models.utils import WeightsMapper  # noqa: E402

from rlvr.rollout.held_weights import held_weights, read_back  # noqa: E402

HEAD, HIDDEN = 4, 24
RANKS = 4


def layer(kind: type[Any], weight: torch.Tensor, rank: int, **fields: Any) -> Any:
    """A layer of vLLM's on one of the ranks, made without their process group."""
    made: Any = object.__new__(kind)
    nn.Module.__init__(made)
    for name, value in {"tp_rank": rank, "tp_size": RANKS, "bias": None, **fields}.items():
        setattr(made, name, value)
    made.weight = nn.Parameter(weight, requires_grad=False)
    return made


class Model(nn.Module):
    """One layer under the name that vLLM gives it."""

    packed_modules_mapping: ClassVar[dict[str, list[str]]] = {
        "qkv_proj": ["q_proj", "k_proj", "v_proj"],
        "gate_up_proj": ["gate_proj", "up_proj"],
    }
    hf_to_vllm_mapper = WeightsMapper(orig_to_new_prefix={"transformer.": "model."})

    def __init__(self, name: str, held: nn.Module) -> None:
        super().__init__()
        self.model = nn.Module()
        self.model.add_module(name, held)
        self.held: Any = held


def found(models: list[Model], name: str) -> Any:
    """What the ranks hold of a tensor, together."""
    return whole(held_weights(model, [name], torch.float32).get(name, ()) for model in models)


def wanted(*tensors: torch.Tensor) -> Any:
    return [checksum(torch.cat(tensors), torch.float32)]


def test_fused_projections_with_repeated_key_and_value_heads() -> None:
    """Eight heads on four ranks, two key and value heads: each of those is on two ranks."""
    q, k, v = (torch.randn(heads * HEAD, HIDDEN) for heads in (8, 2, 2))

    def rank(index: int) -> torch.Tensor:
        pair = index // 2
        return torch.cat(
            [q[index * 2 * HEAD :][: 2 * HEAD], k[pair * HEAD :][:HEAD], v[pair * HEAD :][:HEAD]]
        )

    fields = {
        "num_heads": 2, "head_size": HEAD, "v_head_size": HEAD, "num_kv_heads": 1, "num_kv_head_replicas": 2,
        "total_num_heads": 8, "total_num_kv_heads": 2,
    }  # fmt: skip
    models = [Model("qkv_proj", layer(linear.QKVParallelLinear, rank(i), i, **fields)) for i in range(RANKS)]
    assert found(models, "model.q_proj.weight") == wanted(q)
    assert found(models, "transformer.k_proj.weight") == wanted(k)
    assert found(models, "model.v_proj.weight") == wanted(v)
    assert found(models, "model.qkv_proj.weight") == wanted(q, k, v)  # fused in the files as well
    assert found(models, "model.o_proj.weight") == []

    models[1].held.weight[-1, 0] += 1  # the copy of a head on one rank alone
    assert found(models, "model.v_proj.weight") == [None]
    assert found(models, "model.k_proj.weight") == wanted(k)


def test_fused_columns() -> None:
    gate, up = torch.randn(16, HIDDEN), torch.randn(16, HIDDEN)
    models = [
        Model(
            "gate_up_proj",
            layer(
                linear.MergedColumnParallelLinear,
                torch.cat([gate[i * 4 :][:4], up[i * 4 :][:4]]),
                i,
                output_sizes=[16, 16],
            ),
        )
        for i in range(RANKS)
    ]
    assert found(models, "model.gate_proj.weight") == wanted(gate)
    assert found(models, "model.up_proj.weight") == wanted(up)
    assert found(models, "model.gate_up_proj.weight") == wanted(gate, up)


def test_rows_and_columns() -> None:
    weight = torch.randn(16, 16)
    rows = [Model("fc", layer(linear.ColumnParallelLinear, weight[i * 4 :][:4], i)) for i in range(RANKS)]
    columns = [
        Model(
            "fc", layer(linear.RowParallelLinear, weight[:, i * 4 : i * 4 + 4], i, input_size_per_partition=4)
        )
        for i in range(RANKS)
    ]
    assert found(rows, "model.fc.weight") == found(columns, "model.fc.weight") == wanted(weight)
    assert found(columns[::-1], "model.fc.weight") == wanted(weight)
    columns[2].held.tp_rank = 3  # a rank with another one's part
    assert found(columns, "model.fc.weight") != wanted(weight)


def test_columns_that_are_packed() -> None:
    weight = torch.randn(16, 16)
    models = []
    for rank, part in enumerate(weight.chunk(RANKS, dim=1)):
        packed = layer(
            linear.RowParallelLinear, torch.empty(0), rank, input_size_per_partition=4, input_size=16
        )
        packed.cpu_linear = lambda x, _, bias, part=part: nn.functional.linear(x, part, bias)
        models.append(Model("fc", packed))
    assert found(models, "model.fc.weight") == wanted(weight)


def test_the_vocabularys_padding_counts_nothing() -> None:
    """26 tokens on two ranks of 16 rows each."""
    weight = torch.randn(26, HIDDEN)
    models = []
    for index, (start, end) in enumerate([(0, 16), (16, 26)]):
        rows = torch.full((16, HIDDEN), 7.0)
        rows[: end - start] = weight[start:end]
        indices = SimpleNamespace(num_org_elements=end - start, org_vocab_start_index=start)
        models.append(
            Model(
                "embed",
                layer(VocabParallelEmbedding, rows, index, shard_indices=indices, org_vocab_size=26),
            )
        )
    assert found(models, "model.embed.weight") == wanted(weight)


def test_replicated_tensors_count_once() -> None:
    weight = torch.randn(HIDDEN)
    norms = [nn.LayerNorm(HIDDEN, bias=False) for _ in range(RANKS)]
    for norm in norms:
        norm.weight.data = weight.clone()
    assert found([Model("norm", norm) for norm in norms], "model.norm.weight") == wanted(weight)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_packed_weight_is_read_back_exactly(dtype: torch.dtype) -> None:
    """Also where it is wider than what is read at once, and where the layer has dropped the original."""
    weight = torch.randn(30, 600).to(dtype)
    packed = layer(linear.ColumnParallelLinear, torch.empty(0, dtype=dtype), 0, input_size=600)
    packed.cpu_linear = lambda x, _, bias: nn.functional.linear(x, weight, bias)
    assert torch.equal(torch.cat([block for _, block in read_back(packed)], dim=1), weight)
    pieces = [
        piece.place
        for piece in held_weights(Model("fc", packed), ["model.fc.weight"], dtype)["model.fc.weight"]
    ]
    assert pieces == [(0, 0), (0, 256), (0, 512)]


def test_a_tied_head_with_old_packed_weights_shows() -> None:
    """The output head has the embedding's parameter, and on a CPU a packed copy of its own."""
    weight = torch.randn(26, HIDDEN)
    indices = SimpleNamespace(num_org_elements=26, org_vocab_start_index=0)
    embed, head = (
        layer(VocabParallelEmbedding, weight, 0, shard_indices=indices, org_vocab_size=26) for _ in range(2)
    )
    head.weight = embed.weight
    model = Model("embed", embed)
    model.add_module("lm_head", head)
    head.cpu_linear = lambda x, _, bias: nn.functional.linear(x, weight, bias)
    assert found([model], "model.embed.weight") == wanted(weight) * 2
    old = weight + 1
    head.cpu_linear = lambda x, _, bias: nn.functional.linear(x, old, bias)
    assert found([model], "model.embed.weight") == [*wanted(weight), *wanted(old)]
