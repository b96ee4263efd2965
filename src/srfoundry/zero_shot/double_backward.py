"""Convolutions of many tasks at once, each task with weights of its own, quick to differentiate twice.

A convolution, its gradient with respect to the input and that with respect to the weights are bilinear, and the
derivatives of each are the other two; so a second derivative is six convolutions for one, all of the plain kinds that
libraries have quick code for. PyTorch's own second derivative turns images into kernels instead, which is slow.
"""

import copy
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from srfoundry.core.compute import is_gpu

Images = Float[Tensor, "t _ _ _ _"]  # t n c h w
Kernels = Float[Tensor, "t _ _ _ _"]  # t o c k l; c of one group


class Layout(NamedTuple):
    """Stride, padding, dilation and groups of a convolution."""

    stride: list[int]
    padding: list[int]
    dilation: list[int]
    groups: int


class QuickConv2d(nn.Module):
    """A Conv2d, with the ReLU after it if `rectify`; it has the other's weights and their names."""

    def __init__(self, conv: nn.Conv2d, dtype: torch.dtype | None, rectify: bool) -> None:
        super().__init__()
        self.weight, self.bias = conv.weight, conv.bias
        self.dtype, self.rectify = dtype, rectify
        stride, padding, dilation = ([*value] for value in (conv.stride, conv.padding, conv.dilation))
        self.layout = Layout(stride, padding, dilation, conv.groups)  # pyright: ignore[reportArgumentType]

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n o h2 w2"]:
        w, b = self.weight, self.bias
        if self.dtype is not None:
            x, w, b = x.to(self.dtype), w.to(self.dtype), None if b is None else b.to(self.dtype)
        bias = None if b is None else b[None]
        return Convolve.apply(x[None], w[None], bias, self.layout, self.rectify).squeeze(0)


def quick(net: nn.Module, dtype: torch.dtype | None = None) -> nn.Module:
    """Return a twin that shares the net's weights and has this module's convolutions where it can.

    A Conv2d takes the ReLU after it in a Sequential along. Padding by name and other than zeros, convolutions of other
    classes and those with hooks (weight normalisation, masks) stay PyTorch's.

    Args:
        dtype: what convolutions work in (torch.bfloat16); None is the dtype of what they are given.
    """
    shared = {id(value): value for value in [*net.parameters(), *net.buffers()]}
    twin = copy.deepcopy(nn.Sequential(net), shared)  # so that the net, too, is a child of something
    for parent in list(twin.modules()):
        children = list(parent._modules.items())  # named_children() would leave out what comes twice
        for (name, child), (following, after) in zip(children, [*children[1:], ("", None)], strict=False):
            if type(child) is nn.Conv2d and _takes(child):
                rectify = type(parent) is nn.Sequential and type(after) is nn.ReLU
                setattr(parent, name, QuickConv2d(child, dtype, rectify))
                if rectify:
                    setattr(parent, following, nn.Identity())
    return twin[0]


class Convolve(torch.autograd.Function):
    """y_t = x_t * w_t + b_t for every task t, and its positive part if `rectify`."""

    @staticmethod
    def forward(x: Tensor, w: Tensor, b: Tensor | None, layout: Layout, rectify: bool) -> Tensor:
        y = _convolve(x, w, b, layout)
        return y.relu_() if rectify else y

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, w, _, ctx.layout, rectify = inputs
        ctx.save_for_backward(x, w, output if rectify else None)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor | None, ...]:
        x, w, y = ctx.saved_tensors
        (g,) = cotangents
        # The mask is a constant: PyTorch's ReLU sends zeros through it in a second derivative.
        y = None if y is None else y.detach()
        return (*Slopes.apply(g, x, w, y, ctx.layout, ctx.needs_input_grad[:3]), None, None)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], *args: Any) -> tuple[Tensor, int]:
        """More tasks: the new dimension joins that of the tasks."""

        def joined(value: Tensor | None, dim: int | None) -> Tensor | None:
            if value is None:
                return None
            moved = value.expand(info.batch_size, *value.shape) if dim is None else value.movedim(dim, 0)
            return moved.flatten(0, 1)

        y = Convolve.apply(*[joined(value, dim) for value, dim in zip(args[:3], in_dims, strict=False)], *args[3:])
        return y.unflatten(0, (info.batch_size, -1)), 0


class Slopes(torch.autograd.Function):
    """Gradients of `Convolve` with respect to images, weights and biases, as far as `wanted` says."""

    @staticmethod
    def forward(
        ctx: Any,
        g: Tensor,
        x: Tensor,
        w: Tensor,
        y: Tensor | None,
        layout: Layout,
        wanted: tuple[bool, bool, bool],
    ) -> tuple[Tensor | None, ...]:
        g = g if y is None else torch.ops.aten.threshold_backward(g, y, 0)
        ctx.save_for_backward(g, x, w, y)
        ctx.layout = layout
        ctx.set_materialize_grads(False)
        return _slopes(g, x, w, layout, wanted)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *cotangents: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        """Cotangents u of the images' gradient, v of the weights' and c of the biases'."""
        u, v, c = cotangents
        g, x, w, y = ctx.saved_tensors
        dg = dx = dw = None
        if ctx.needs_input_grad[0]:
            dg = torch.zeros_like(g) if u is None and v is None else None
            if u is not None:
                dg = _convolve(u, w, None, ctx.layout)
            if v is not None:
                also = _convolve(x, v, c, ctx.layout)
                dg = also if dg is None else dg.add_(also)
            elif c is not None and dg is not None:
                dg += c[:, None, :, None, None]
            if y is not None and dg is not None:
                torch.ops.aten.threshold_backward.grad_input(dg, y, 0, grad_input=dg)
        if ctx.needs_input_grad[1] and v is not None:
            dx = _slopes(g, x, v, ctx.layout, (True, False, False))[0]
        if ctx.needs_input_grad[2] and u is not None:
            dw = _slopes(g, u, w, ctx.layout, (False, True, False))[1]
        return dg, dx, dw, None, None, None


def _takes(conv: nn.Conv2d) -> bool:
    hooked = conv._forward_hooks or conv._forward_pre_hooks
    return conv.padding_mode == "zeros" and not isinstance(conv.padding, str) and not hooked


def _convolve(x: Images, w: Kernels, b: Float[Tensor, "t o"] | None, layout: Layout) -> Images:
    """One grouped convolution on a GPU; on a CPU, where those are slow, one plain convolution a task."""
    tasks, rest = len(x), (layout.stride, layout.padding, layout.dilation, False, [0, 0])
    if _grouped(x):
        bias = None if b is None else b.flatten()
        y = torch.ops.aten.convolution(_side_by_side(x), w.flatten(0, 1), bias, *rest, layout.groups * tasks)
        return _apart(y, tasks)
    return _stack(
        [
            torch.ops.aten.convolution(_last(x[t]), w[t], None if b is None else b[t], *rest, layout.groups)
            for t in range(tasks)
        ]
    )


def _slopes(
    g: Images, x: Images, w: Kernels, layout: Layout, wanted: tuple[bool, bool, bool]
) -> tuple[Tensor | None, ...]:
    """Gradients with respect to x, w and b; x is only its shape if w's is not wanted, and w if x's is not."""
    tasks, rest = len(x), (layout.stride, layout.padding, layout.dilation, False, [0, 0])
    backward = torch.ops.aten.convolution_backward
    if _grouped(x):
        gx, gw, gb = backward(
            _side_by_side(g), _side_by_side(x), w.flatten(0, 1), [g.shape[2] * tasks], *rest,
            layout.groups * tasks, wanted,
        )  # fmt: skip
        return (
            None if gx is None else _apart(gx, tasks),
            None if gw is None else gw.unflatten(0, (tasks, -1)),
            None if gb is None else gb.unflatten(0, (tasks, -1)),
        )
    each = [backward(_last(g[t]), _last(x[t]), w[t], [g.shape[2]], *rest, layout.groups, wanted) for t in range(tasks)]
    return tuple(
        _stack(list(parts)) if want else None for parts, want in zip(zip(*each, strict=True), wanted, strict=True)
    )


def _grouped(x: Images) -> bool:
    return is_gpu(x.device) and len(x) > 1


def _last(image: Tensor) -> Tensor:
    """Channels last: the layout that is quick."""
    return image.contiguous(memory_format=torch.channels_last)


def _stack(parts: list[Tensor]) -> Tensor:
    return parts[0][None] if len(parts) == 1 else torch.stack(parts)


def _side_by_side(x: Images) -> Float[Tensor, "n tc h w"]:
    return _last(x.transpose(0, 1).flatten(1, 2))


def _apart(y: Float[Tensor, "n tc h w"], tasks: int) -> Images:
    return y.unflatten(1, (tasks, -1)).transpose(0, 1)
