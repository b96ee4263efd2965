"""An inner step that runs many times with the same shapes: eagerly, or recorded once and replayed on a GPU."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

EAGER = 3  # steps before recording: the allocator, cuDNN's choices and the optimiser's state must have settled


class Replay:
    """Calls `step`, which reads and writes tensors in place alone and returns its loss.

    With `graph` the first three calls run on a side stream, the fourth is recorded as a CUDA graph, and from then on
    one launch does all of it. Every call is one step, whichever way it runs. Without a GPU there is nothing to record:
    leave `graph` off.
    """

    def __init__(self, step: Callable[[], Float[Tensor, ""]], *, graph: bool) -> None:
        self.step = step
        self.wanted = graph
        self.calls = 0
        self.graph: torch.cuda.CUDAGraph | None = None
        self.loss: Tensor | None = None

    def __call__(self) -> Float[Tensor, ""]:
        """One step; the loss is overwritten by the next."""
        if not self.wanted:
            return self.step()
        self.calls += 1
        if self.calls <= EAGER:
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                loss = self.step()
            torch.cuda.current_stream().wait_stream(side)
            return loss
        if self.graph is None:
            self.graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self.graph):
                self.loss = self.step()
        self.graph.replay()
        assert self.loss is not None
        return self.loss
