"""Activation checkpointing: blocks that keep only their input, and compute the rest again in the backward pass.

Chen et al., "Training Deep Nets with Sublinear Memory Cost", 2016: of all activations the blocks' inputs and the inside
of one block are in memory, for about a third more time. Gradients are the same to rounding.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint


class CheckpointedBlock(nn.Module):
    """A residual block that can be checkpointed; a block of blocks is none, so that each is computed again but once."""

    checkpointing = False

    def __call__(self, *inputs: Any) -> Any:
        """As of any module; within `checkpointed` nothing between the inputs and the result is kept."""
        if self.checkpointing and torch.is_grad_enabled():
            return checkpoint(super().__call__, *inputs, use_reentrant=False, preserve_rng_state=False)
        return super().__call__(*inputs)


@contextmanager
def checkpointed(net: nn.Module, on: bool) -> Iterator[None]:
    """A context in which the net's blocks keep their inputs alone, if `on`; the backward pass may come after it.

    What hooks a net (masks of channels) must stay until the backward pass is done, which runs the blocks once more.
    """
    blocks = [each for each in net.modules() if isinstance(each, CheckpointedBlock)] if on else []
    for block in blocks:
        block.checkpointing = True
    try:
        yield
    finally:
        for block in blocks:
            block.checkpointing = False
