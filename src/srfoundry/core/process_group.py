"""Processes that train one network together: whose rows of a batch are whose, what they exchange (torch.distributed).

Every process draws a step's choices for the whole batch, from the step's own random numbers, and computes with its own
rows; then gradients and losses are added up, and all of them take the same step. So the samples of a step do not depend
on how many processes there are, and results agree to rounding. Processes are started by `torchrun`, on one host or
several: Gloo exchanges what is on CPUs, NCCL what is on GPUs. One process alone has no group and exchanges nothing.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from srfoundry.core.errors import FoundryError
from srfoundry.core.ranks import together

Value = TypeVar("Value")
PATIENCE = timedelta(hours=1)  # for a process that lags, since one that ends is seen at once
BUCKET = 1 << 24  # numbers that are exchanged at a time: 64 MiB, beside gradients of any size


class Lost(FoundryError):
    """Another process of the group is gone; the training goes on from its last checkpoint when it is started again."""


@dataclass(frozen=True)
class Processes:
    """The processes of one training, as one of them sees them.

    Args:
        rank: its number. The first one, 0, owns lock, telemetry, checkpoints and files.
        count: how many there are.
    """

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def rows(self, count: int, start: int = 0) -> slice:
        """This process's rows of `count`: every `self.count`-th, so that each has some of every kind.

        Args:
            count: of the rows.
            start: rows of the batch that come before these.
        """
        return slice((self.rank - start) % self.count, count, self.count)

    def own(self, count: int) -> int:
        """How many of `count` rows are this process's."""
        return len(range(count)[self.rows(count)])

    def share(self, count: int) -> float:
        """This process's share of a batch of `count` rows: the weight of its means in the batch's.

        Raises:
            FoundryError: there are fewer rows than processes.
        """
        if count < self.count:
            raise FoundryError(
                f"a batch must have a row for each process, got {count} for {self.count} processes; "
                "raise the batch, or lower distributed.processes"
            )
        return self.own(count) / count

    def parts(self, number: int, count: int) -> "list[Processes]":
        """This process's rows in parts that are computed one after the other: each is dealt as to so many processes.

        Args:
            number: of the parts; 1 is the process itself.
            count: of the batch's rows.

        Raises:
            FoundryError: there are fewer rows than processes, or than parts in all of them.
        """
        self.share(count)
        if number == 1:
            return [self]
        first, parts = self.rank * number, self.count * number
        if count < parts:
            raise FoundryError(
                f"a batch must have a row for each part, got {count} for {parts} parts; "
                "raise the batch, or lower distributed.accumulate"
            )
        return [Processes(first + part, parts) for part in range(number)]

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over all processes, in place; the same bytes in all of them."""
        if self.count == 1:
            return
        for part in _buckets(tensors):
            flat = torch.cat([each.reshape(-1) for each in part])
            with _watched():
                dist.all_reduce(flat)
            for each, summed in zip(part, flat.split([each.numel() for each in part]), strict=True):
                each.copy_(summed.view_as(each))

    def summed(self, tensor: Tensor) -> Tensor:
        """The sum of a tensor over all processes, through which gradients flow: that of the sum over all processes."""
        return tensor if self.count == 1 else _Summed.apply(tensor, self)

    def summed_together(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """`summed` of several tensors of one type, in one exchange."""
        if self.count == 1:
            return list(tensors)
        flat = self.summed(torch.cat([each.reshape(-1) for each in tensors]))
        parts = flat.split([each.numel() for each in tensors])
        return [part.view(each.shape) for part, each in zip(parts, tensors, strict=True)]

    def agreed(self, value: Value) -> Value:
        """The first process's value, in all of them: what a clock or a file says to one of them."""
        if self.count == 1:
            return value
        held = [value if self.first else None]
        with _watched():
            dist.broadcast_object_list(held, src=0, device=torch.device("cpu"))
        return held[0]  # pyright: ignore[reportReturnType]

    def decides(self, flag: bool) -> bool:
        """The first process's yes or no, in all of them: `agreed`, but quick enough for every step."""
        if self.count == 1:
            return flag
        held = torch.tensor([flag], dtype=torch.uint8)
        with _watched():
            dist.broadcast(held, src=0)
        return bool(held)

    def same_weights(self, *modules: nn.Module) -> None:
        """Give all processes the first one's weights and buffers, in place."""
        if self.count == 1:
            return
        for module in modules:
            for value in (*module.parameters(), *module.buffers()):
                flat = value.detach().contiguous()
                with _watched():
                    dist.broadcast(flat, src=0)
                with torch.no_grad():
                    value.copy_(flat)

    def gathered(self, rows: Tensor, count: int) -> Tensor:
        """All rows of a batch of which each process has its own, in the batch's order."""
        if self.count == 1:
            return rows
        whole = rows.new_zeros(count, *rows.shape[1:])
        whole[self.rows(count)] = rows
        self.add_up([whole])
        return whole


ALONE = Processes()


@contextmanager
def joined(device: torch.device) -> Iterator[Processes]:
    """Be one of the processes that were started together; alone, if there are no others.

    Args:
        device: where this one computes. Of several GPUs the process takes that of its number on its host.

    Raises:
        FoundryError: a host has fewer GPUs than processes, or the others do not come.
    """
    if together() == 1:
        yield ALONE
        return
    gpu = device.type == "cuda"
    if gpu:
        local = int(os.environ.get("LOCAL_RANK", "0"))
        if local >= torch.cuda.device_count():
            raise FoundryError(
                f"each process needs a GPU of its own, got {torch.cuda.device_count()} on this host for process "
                f"{local + 1}; start fewer (distributed.processes), or set shared.device to cpu"
            )
        torch.cuda.set_device(local)
    with _watched():
        dist.init_process_group("cpu:gloo,cuda:nccl" if gpu else "gloo", timeout=PATIENCE)
    try:
        yield Processes(dist.get_rank(), dist.get_world_size())
    finally:
        with suppress(RuntimeError):  # of a group that has lost one
            dist.destroy_process_group()


class _Summed(torch.autograd.Function):
    """A sum over all processes; its gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx, tensor: Tensor, processes: Processes) -> Tensor:
        ctx.processes = processes
        found = tensor.detach().clone()
        processes.add_up([found])
        return found

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:  # pyright: ignore
        found = gradient.clone()
        ctx.processes.add_up([found])
        return found, None


def _buckets(tensors: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Tensors that are exchanged together: of one type and device, in order, up to BUCKET numbers."""
    waiting: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
    for each in tensors:
        part = waiting.setdefault((each.dtype, each.device), [])
        if part and sum(other.numel() for other in part) + each.numel() > BUCKET:
            yield waiting.pop((each.dtype, each.device))
            part = waiting.setdefault((each.dtype, each.device), [])
        part.append(each)
    yield from waiting.values()


@contextmanager
def _watched() -> Iterator[None]:
    """Say in one sentence what a broken group says in twenty lines."""
    try:
        yield
    except (RuntimeError, ValueError) as error:  # torch's DistError is a RuntimeError
        reason = " ".join(str(error).split())[:160]
        raise Lost(
            f"another process of this training is gone, or cannot be reached ({reason}); start it again, and it goes "
            "on from the last checkpoint"
        ) from None
