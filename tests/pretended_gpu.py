"""A GPU that is none: tensors whose numbers lie in main memory, and which refuse what a real GPU refuses.

They carry the device `pretended:0`, and so does all that comes of them. A tensor of the CPU
beside one (but for a single number, an index, or a copy) raises as on a GPU; so do `.numpy()` and a CPU's random
generator. What adds up in no fixed order on a GPU raises at the end. The arithmetic is the CPU's own.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils._mode_utils import no_dispatch
from torch.utils.backend_registration import _DummyBackendModule, _setup_privateuseone_for_python_backend

NAME = "pretended"
MAKERS = ("tensor", "as_tensor", "arange", "linspace", "logspace", "eye")  # which fill without a dispatch, or resize
CPU = torch.device("cpu")
ATEN = torch.ops.aten
COPIES = {ATEN.copy_.default, ATEN._to_copy.default}  # between devices
INDEXED = {ATEN.index.Tensor, ATEN.index_put.default, ATEN.index_put_.default, ATEN._index_put_impl_.default}


# What raises on CUDA under `torch.use_deterministic_algorithms` (its documentation, and the backward pass of pooling)
DISORDERLY = {
    "cumsum",  # of floats
    "histc",
    "kthvalue",
    "max_pool2d_with_indices_backward",
    "grid_sampler_2d_backward",
    "nll_loss_forward",
    "nll_loss2d_forward",
    "put",
    "put_",
    "_adaptive_avg_pool2d_backward",
    "adaptive_max_pool2d_backward",
    *(f"reflection_pad{rank}d_backward" for rank in (1, 2, 3)),
    *(f"upsample_{kind}_backward" for kind in ("linear1d", "bilinear2d", "bicubic2d", "trilinear3d")),
}
# A mark on a view, which operators below a dispatch do not see.
AT_ONCE: dict[Any, Any] = {ATEN._conj.default: ATEN._conj_physical.default, ATEN._neg_view.default: ATEN.neg.default}
_SEEN: set[str] = set()
MEDIANS = {ATEN.median.dim, ATEN.nanmedian.dim}


def _disorderly(func: Any, given: list[Any]) -> bool:
    if func in MEDIANS:
        return True
    whole = all(not each.is_floating_point() for each in given if isinstance(each, Tensor))
    return func.overloadpacket.__name__ in DISORDERLY and not (func is ATEN.cumsum.default and whole)


class GpuTensor(Tensor):
    """A tensor that says it is on the GPU, around one of main memory."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> "GpuTensor":
        made = Tensor._make_wrapper_subclass(
            cls,
            held.shape,
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=_gpu(),
            requires_grad=False,
        )
        made.held = held
        return made

    def __repr__(self, *, tensor_contents: object = None) -> str:
        return f"GpuTensor({self.held!r})"

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.detach().cpu().__reduce_ex__(protocol)

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is Tensor.tolist:  # which PyTorch grants to no subclass, but to every device
            return args[0].cpu().tolist()
        if func in (Tensor.untyped_storage, Tensor.data_ptr):  # whoever saves tensors asks whether two share one
            return func(args[0].held)
        if func is Tensor.new_tensor:
            kwargs = {"dtype": args[0].dtype, "device": args[0].device} | (kwargs or {})
            return torch.tensor(*args[1:], **kwargs)
        if func in (Tensor.__getitem__, Tensor.__setitem__):  # they too make tensors without a dispatch
            values = [
                each if isinstance(each, Tensor) else torch.tensor(each, dtype=args[0].dtype) for each in args[2:]
            ]
            args = (args[0], _index(args[1]), *values)
        with torch._C.DisableTorchFunctionSubclass():
            return func(*args, **(kwargs or {}))

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return run(func, args, kwargs or {})


class GpuGenerator(torch.Generator):
    """A generator that says it is the GPU's."""


def _moved(rng: torch.Generator, device: torch.device) -> torch.Generator:
    own = rng if device.type == "cpu" else GpuGenerator()
    return own if own is rng else own.manual_seed(rng.initial_seed())


def _index(key: Any) -> Any:
    """The key with lists of numbers as tensors."""
    if isinstance(key, tuple):
        return tuple(map(_index, key))
    return torch.tensor(key, dtype=None if key else torch.long) if isinstance(key, list) else key


def run(func: Any, args: Any, kwargs: Any) -> Any:
    """An operator on pretended tensors: the CPU's, once the devices agree."""
    given, shape = pytree.tree_flatten((args, kwargs))
    wanted = kwargs.get("device")
    device = torch.device(wanted) if wanted is not None else None
    if device is None and any(isinstance(each, GpuTensor) for each in given):
        device = _gpu()
    _refuse_mixed(func, args, given, device)
    if device is not None and device.type == NAME and _disorderly(func, given):
        _SEEN.add(str(func))  # raised at the end: a gradient's thread would take the process with it
    plain = [each.held if isinstance(each, GpuTensor) else each for each in given]
    known = {id(each.held): each for each in given if isinstance(each, GpuTensor)}
    raw_args, raw_kwargs = pytree.tree_unflatten(plain, shape)
    there = device if device is not None and device.type == "meta" else CPU
    raw_kwargs |= {"device": there} if device is not None and wanted is not None else {}
    raw_kwargs |= {"pin_memory": False} if kwargs.get("pin_memory") else {}
    result = AT_ONCE.get(func, func)(*raw_args, **raw_kwargs)
    if torch.Tag.inplace_view in func.tags:  # the tensor that pretends takes its new shape too
        with no_dispatch():
            func(*args, **kwargs)
    return _wrapped(func, args, result, known, device)


def _wrapped(func: Any, args: Any, result: Any, known: dict[int, GpuTensor], device: torch.device | None) -> Any:
    if func is ATEN.copy_.default:
        return args[0]
    on_gpu = device is not None and device.type == NAME

    def wrapped(each: Any) -> Any:
        if not isinstance(each, Tensor) or isinstance(each, GpuTensor):
            return each
        if id(each) in known:  # in place: the tensor itself
            return known[id(each)]
        return GpuTensor(each) if on_gpu else each

    return pytree.tree_map(wrapped, result)


def _refuse_mixed(func: Any, args: Any, given: list[Any], device: torch.device | None) -> None:
    if device is None or device.type != NAME:
        return
    for each in given:
        if isinstance(each, torch.Generator) and not isinstance(each, GpuGenerator):
            raise RuntimeError(f"{func}: Expected a '{NAME}' device type for generator but found 'cpu'")
    if func in COPIES:
        return
    looked_at = [args[0], *args[2:]] if func in INDEXED else given
    for each in pytree.tree_leaves(looked_at):
        if isinstance(each, Tensor) and not isinstance(each, GpuTensor) and (each.dim() or each.device != CPU):
            raise RuntimeError(
                f"{func}: Expected all tensors to be on the same device, but found two, {NAME}:0 and cpu"
            )


def _gpu() -> torch.device:
    return torch.device(NAME, 0)


class _Module(_DummyBackendModule):
    """What PyTorch asks of `torch.pretended`."""

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16]


@cache
def register() -> torch.device:
    """The device, known to PyTorch from here to the process's end; before the first gradient, which counts devices."""
    _setup_privateuseone_for_python_backend(NAME, backend_module=_Module())
    _LIBRARY.fallback(lambda func, *args, **kwargs: run(func, args, kwargs), "PrivateUse1")
    return torch.device(NAME)


_LIBRARY = torch.library.Library("_", "IMPL")  # noqa: TOR901  (its kernels must live as long as the device)


@contextmanager
def pretended_gpu() -> Iterator[torch.device]:
    """The device; within, `inference_mode` is `no_grad`, since wrappers of tensors have no kind for inference."""

    from srfoundry.blind.dkp import kernel_network

    def enter(self: torch.inference_mode) -> None:
        self._inference_mode_context = torch.set_grad_enabled(not self.mode)  # pyright: ignore

    def leave(self: torch.inference_mode, *_: object) -> None:
        torch.set_grad_enabled(self._inference_mode_context.prev)  # pyright: ignore

    makers: dict[str, Any] = {name: _by_copy(getattr(torch, name)) for name in MAKERS}
    inference = mock.patch.multiple(torch.inference_mode, __enter__=enter, __exit__=leave)
    before = torch.are_deterministic_algorithms_enabled()
    with inference, mock.patch.multiple(torch, **makers), mock.patch.object(kernel_network, "moved", _moved):
        torch.use_deterministic_algorithms(True)  # as `core.compute.settle_gpu` does for a real one
        _SEEN.clear()
        try:
            yield register()
        finally:
            torch.use_deterministic_algorithms(before)
    if _SEEN:
        raise RuntimeError(f"no deterministic implementation on a GPU: {', '.join(sorted(_SEEN))}")


def _by_copy(maker: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The maker of a tensor that makes it on the CPU first."""

    def make(*args: Any, device: Any = None, **kwargs: Any) -> Tensor:
        if device is None or torch.device(device).type != NAME:
            return maker(*args, device=device, **kwargs)
        wants_gradient = kwargs.pop("requires_grad", False)
        made = args[0].to(**kwargs) if args and isinstance(args[0], Tensor) else maker(*args, **kwargs)
        return made.to(device).requires_grad_(wants_gradient)

    return make
