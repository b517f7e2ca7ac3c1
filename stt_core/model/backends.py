"""Which kernels compute attention and similarity: chosen by device, unless they are named."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Literal

import torch
from torch import Tensor

Backend = Literal["auto", "reference", "tiled", "cpu", "triton"]
"""`reference` is the clear form; `tiled` plain torch for any device, with gradients; `cpu` numba's
compiled loops, without gradients; `triton` fused GPU kernels, with gradients."""


def choose(backend: Backend, *inputs: Tensor) -> Backend:
    """The backend to use for these tensors; never `auto`.

    Raises:
        ValueError: a named backend cannot work on them.
    """
    device = inputs[0].device.type
    learning = torch.is_grad_enabled() and any(x.requires_grad for x in inputs)
    if backend == "auto":
        if device == "cuda" and _has_triton(inputs[0]):
            return "triton"
        return "cpu" if device == "cpu" and not learning and _is_single(inputs) else "tiled"
    if backend == "cpu" and (device != "cpu" or learning):
        raise ValueError(f"the cpu kernels need tensors on the CPU without gradients, got {device}")
    if backend == "triton" and find_spec("triton") is None:
        raise ValueError("the triton kernels need the package triton, which is not installed")
    return backend


def _has_triton(x: Tensor) -> bool:
    # older cards compile the kernels, but keep too little of them in registers
    return find_spec("triton") is not None and torch.cuda.get_device_capability(x.device) >= (8, 0)


def _is_single(inputs: tuple[Tensor, ...]) -> bool:
    # float64 is for checking gradients and wants its own precision
    return all(x.dtype != torch.float64 for x in inputs)
