"""States of unfinished work on disk that survive a kill: nets, optimisers, averages, and the curve so far."""

import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from pickle import UnpicklingError
from tempfile import TemporaryDirectory
from typing import Any, Protocol, runtime_checkable

import torch

from srfoundry.core.atomic import write_bytes
from srfoundry.core.errors import DAMAGE, FoundryError, is_out_of_memory
from srfoundry.core.process_group import ALONE, Processes

Log = Callable[[int, dict[str, float]], None]  # takes points of a curve: the step, and values by name


@runtime_checkable  # for the shape checks of the tests
class Stateful(Protocol):
    """Anything with PyTorch's pair of state methods: networks, optimisers, averages."""

    def state_dict(self) -> Any: ...

    def load_state_dict(self, state_dict: Any) -> Any: ...


def silent(step: int, values: dict[str, float]) -> None:
    """The log of work whose curve nobody watches."""


@dataclass(frozen=True)
class Resumption:
    """What a killed piece of work goes on from, and who watches it; `unkept` is for who wants to keep nothing.

    Args:
        path: where its state is kept meanwhile; who asks again when it is finished is given that, until it is removed.
        key: what the state belongs to, all settings and data in a word; one with another key is of another experiment
            and is not used.
        log: takes points of the curve as they come. Telemetry only: no result may depend on it.
        processes: that do the work together; the first one alone reads and writes the state.
        seconds: of work that a kill may cost; part of no result.
    """

    path: Path
    key: str
    log: Log = silent
    processes: Processes = ALONE
    seconds: float = 60.0

    def beside(self, suffix: str, log: Log | None = None) -> "Resumption":
        """The same for a further part of the work, kept at path.suffix."""
        path = self.path.with_name(f"{self.path.name}.{suffix}")
        return replace(self, path=path, log=log or self.log)

    def load(self, state: Mapping[str, "Stateful"]) -> tuple[int, list[dict[str, float]]]:
        """As `load_state`, from the first process's file."""
        if self.processes.count == 1:
            return load_state(self.path, self.key, state)
        first = self.processes.first
        blob = self.processes.agreed(self.path.read_bytes() if first and self.path.exists() else b"")
        return _fill(self.path, BytesIO(blob), self.key, state) if blob else (0, [])

    def save(self, state: Mapping[str, "Stateful"], step: int, history: list[dict[str, float]]) -> None:
        """As `save_state`, by the first process."""
        if self.processes.first:
            save_state(self.path, self.key, state, step, history)


@contextmanager
def unkept(log: Log = silent) -> Iterator[Resumption]:
    """Within, work that begins afresh and leaves no state behind.

    Args:
        log: as of `Resumption`.
    """
    with TemporaryDirectory(prefix="srfoundry-") as folder:
        yield Resumption(Path(folder) / "state.pt", "", log)


def kept(path: Path, key: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What `make` returns, kept at `path`: whoever is killed and asks again with the same key does not make it again.

    Args:
        path: of the file.
        key: what it belongs to; one with another key is made anew.
        make: returns tensors, numbers, texts, lists and mappings of such.

    Raises:
        FoundryError: the file is damaged.
    """
    if path.exists() and (found := _read(path, path, key)) is not None:
        return found["state"]
    made = make()
    buffer = BytesIO()
    torch.save({"key": key, "state": made}, buffer)
    write_bytes(path, buffer.getvalue())
    return made


def save_state(path: Path, key: str, state: Mapping[str, Stateful], step: int, history: list[dict[str, float]]) -> None:
    """Write a training state, atomically, so that a kill at any moment leaves the last one whole."""
    whole = {name: part.state_dict() for name, part in state.items()}
    buffer = BytesIO()
    torch.save({"key": key, "step": step, "history": history, "state": whole}, buffer)
    write_bytes(path, buffer.getvalue())


def load_state(path: Path, key: str, state: Mapping[str, Stateful]) -> tuple[int, list[dict[str, float]]]:
    """Fill `state` from a training state and return its step and history; (0, []) if there is none for this key.

    The key stands for params, data and code: a state with another key is of another experiment and is not used.

    Raises:
        FoundryError: the file is damaged.
    """
    return _fill(path, path, key, state) if path.exists() else (0, [])


def _fill(
    path: Path, source: Path | BytesIO, key: str, state: Mapping[str, Stateful]
) -> tuple[int, list[dict[str, float]]]:
    try:
        whole = _read(path, source, key)
        if whole is None:
            return 0, []
        for name, part in state.items():
            part.load_state_dict(whole["state"][name])
        return int(whole["step"]), list(whole["history"])
    except (*DAMAGE, UnpicklingError, struct.error) as error:
        raise _damaged(path, error) from None


def _read(path: Path, source: Path | BytesIO, key: str) -> dict[str, Any] | None:
    """What a file holds, None where it belongs to something else."""
    try:
        whole = torch.load(source, map_location="cpu", weights_only=True)
        return whole if whole["key"] == key else None
    except (*DAMAGE, UnpicklingError, struct.error) as error:
        raise _damaged(path, error) from None


def _damaged(path: Path, error: Exception) -> FoundryError:
    if is_out_of_memory(error):
        return FoundryError(f"checkpoint {path} does not fit into memory; end other programs, or choose smaller values")
    reason = " ".join(str(error).split())[:160]
    return FoundryError(f"checkpoint {path} is damaged ({reason}); delete it to start the stage afresh")
