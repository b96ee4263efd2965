"""MSGC's compressor: masks trained under the budget with the net, and the plain net that they convert to."""

from dataclasses import replace
from typing import Any

import torch
from torch import nn

from srfoundry.compression.msgc.conversion import convert
from srfoundry.compression.msgc.cost import count_of
from srfoundry.compression.msgc.layer_pairs import pairs_of
from srfoundry.compression.msgc.mask_search import MaskSearch
from srfoundry.compression.msgc.masked_conv import wrap
from srfoundry.compression.recipe import SIDE, Conditions, Smaller, said_of
from srfoundry.compression.settings import Compression
from srfoundry.core.errors import FoundryError
from srfoundry.dual_regression.loss import loss_of
from srfoundry.networks.sr.prunable import widths_of
from srfoundry.networks.zoo.gather_conv import grouped_layers


def compress(net: Any, duals: nn.Module, how: Compression, on: Conditions) -> Smaller:
    """Train masks on all training photographs and convert the net: a compressor, as in `compressors`.

    Raises:
        FoundryError: the budget is of latency, the net has attention, or the smallest sizes remove too little.
    """
    target, searching = how.target, how.searching
    if target.measure == "latency":
        raise FoundryError("compress.method msgc needs search.measure parameters or macs, got latency; choose one")
    pairs = pairs_of(net.units())
    low = torch.zeros(1, 3, SIDE, SIDE) if target.measure == "macs" else None
    count = count_of(net, pairs, groups=how.groups, low=low)
    masked = wrap(net, pairs, groups=how.groups)
    loss = loss_of(
        duals,
        scale=net.scale,
        weights=searching.weights,
        compute=replace(on.compute, checkpointing=False),  # masks are drawn within the pass, and would be others
    )
    search = MaskSearch(masked, pairs, loss, count, target, searching.descent, trained=[duals], stream=on.stream)
    draws = replace(searching.draws, batch=2 * searching.draws.batch)  # as many as from both halves in other searches
    both = replace(searching, draws=draws)
    choices, history = search.run(lambda index: on.parts(both, net.scale, "batch", index), on.resumption)
    plain = convert(masked, pairs, multiple=target.multiple)
    widths = [len(choice.used) for choice in choices]
    scores = {
        **said_of(net, widths, target),
        "removed_fraction": count.removed_by(choices),
        "expected_removed_fraction": history[-1]["removed"] if history else 0.0,
        "reads": {u.name: [len(c.inputs), c.groups.shape[1]] for u, c in zip(net.units(), choices, strict=True)},
    }
    arch = {"inner": widths, "grouped": grouped_layers(plain)}
    return Smaller(plain, duals, widths_of(net, net.units()), widths, arch, scores, history)
