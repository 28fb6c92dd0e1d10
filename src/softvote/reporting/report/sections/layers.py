"""The layers of each network, with parameters and multiply-adds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from softvote.config.recipe import Member
from softvote.inference.network import create_network
from softvote.reporting.report.blocks import Block, Cell, DataTable, Paragraph
from softvote.reporting.report.section import LeftOutError, ReportData, needs_members, section
from softvote.words import counted

_DEPTH = 3  # of modules within modules
_MOST_LAYERS = 150
_MOST_TABLES = 12


@section("layers", "Networks", "What does each network consist of, and what does one image cost?",
         needs_members, rank=130)  # fmt: skip
def build_layers(data: ReportData) -> Sequence[Block]:
    """Build a row per member, and the layers of each network that differs from the others."""
    networks: dict[str, _Network] = {}
    rows: list[list[Cell | str]] = []
    for name in data.members:
        member = data.pipeline.members[name]
        key = f"{member.model} {member.model_args} {member.head}"
        if key not in networks:
            networks[key] = _summarise(data, member)
        network = networks[key]
        rows.append(
            [
                name,
                member.model,
                Cell(f"{network.parameters:,}", network.parameters),
                Cell(f"{network.multiply_adds / 1e6:,.2f}", network.multiply_adds),
                Cell(f"{network.megabytes:,.2f}", network.megabytes),
            ]
        )
    header = ["member", "network", "parameters", "multiply-adds, million", "activations, MB"]
    blocks: list[Block] = [DataTable(header, rows, "One image through each network")]
    blocks += [network.layers for network in list(networks.values())[:_MOST_TABLES]]
    if (left := len(networks) - _MOST_TABLES) > 0:
        blocks.append(Paragraph(f"The layers of {counted(left, 'more network')} are left out.", "note"))
    return blocks


@dataclass(frozen=True)
class _Network:
    """What torchinfo says of a network, for one image."""

    parameters: int
    multiply_adds: int
    megabytes: float
    layers: DataTable


def _summarise(data: ReportData, member: Member) -> _Network:
    import torch

    try:
        from torchinfo import summary
    except ImportError:
        raise LeftOutError("it needs torchinfo: pip install 'softvote[report]'") from None
    image = data.pipeline.competition.image
    shape = (image.channels, image.height, image.width)
    network = create_network(member, data.task, shape, with_weights=False)
    inputs = [torch.zeros(1, *shape), *([torch.zeros(1, dtype=torch.long)] if network.takes_addend else [])]
    found = summary(network.model, input_data=inputs, device="cpu", mode="eval", verbose=0)
    layers = _drop_further_parts([layer for layer in found.summary_list if layer.depth <= _DEPTH])
    rows = [_describe(layer) for layer in layers[:_MOST_LAYERS]]
    more = f", the first {_MOST_LAYERS} of {len(layers)}" if len(layers) > _MOST_LAYERS else ""
    caption = f"Layers of {member.model}{more}"
    table = DataTable(["layer", "output", "parameters", "multiply-adds"], rows, caption, folded=True)
    return _Network(found.total_params, found.total_mult_adds, found.total_output_bytes / 1e6, table)


def _drop_further_parts(layers: Sequence[Any]) -> list[Any]:
    """The layers with each container once: one whose layers are called apart is listed before every part."""
    first = {layer.layer_id: place for place, layer in reversed([*enumerate(layers)])}
    return [layer for place, layer in enumerate(layers) if layer.executed or first[layer.layer_id] == place]


def _describe(layer: Any) -> list[Cell | str]:
    indent = "\u2003" * layer.depth
    name = f"{layer.class_name} {layer.var_name}" if layer.depth else layer.class_name
    leaf = layer.is_leaf_layer
    size = " × ".join(map(str, layer.output_size[1:]))
    return [
        indent + name,
        size,
        Cell(f"{layer.num_params:,}", layer.num_params) if layer.num_params else "",
        Cell(f"{layer.macs:,}", layer.macs) if leaf and layer.macs else "",
    ]
