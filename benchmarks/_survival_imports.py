"""The imports of a process that is to be forked: all that starts no thread."""

import importlib
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any


def preload(modules: Sequence[str]) -> None:
    """Import what stages import, so that forks need not; what starts a thread they import themselves."""
    waiting = [name for name in modules if name not in sys.modules]
    while waiting:
        count = _first_with_thread(waiting)
        for name in waiting[:count]:
            _load(name)
        package = waiting[count].partition(".")[0] if count < len(waiting) else ""
        own = package == "srfoundry"  # then the module alone
        waiting = [name for name in waiting[count + 1 :] if own or name.partition(".")[0] != package]
    _operators()
    alone()


def _operators() -> None:
    """Parse the exporter's operators once: each export to ONNX reads the same 500 functions' source again."""
    for module in [module for name, module in sys.modules.items() if name.startswith("onnxscript._framework_apis.")]:
        parse: Any = getattr(module, "get_torchlib_ops", None)
        if parse is not None:
            found = parse()
            module.get_torchlib_ops = lambda found=found: found  # pyright: ignore


def _load(name: str) -> None:
    with suppress(Exception):
        importlib.import_module(name)


def _first_with_thread(names: Sequence[str]) -> int:
    """Index of the first module whose import starts a thread, tried in a fork; their number where none does."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        index = 0
        for index, name in enumerate([*names, ""]):  # noqa: B007
            _load(name or "sys")
            if len(os.listdir("/proc/self/task")) > 1:
                break
        os.write(write, str(index).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as answer:
        found = answer.read()
    os.waitpid(pid, 0)
    return int(found)


def alone() -> None:
    """Raise where this process has several threads."""
    if len(os.listdir("/proc/self/task")) > 1:
        raise RuntimeError("there are several threads: another one's locks would stay closed in a fork for ever")
