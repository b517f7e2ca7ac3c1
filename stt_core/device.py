"""Which device computes, and in which precision: what was asked for, or a sentence why not."""

from __future__ import annotations

import re

import torch

from stt_core.config import Precision
from stt_core.errors import DeviceError

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def find_device(name: str) -> torch.device:
    """The device called `name`: auto, cpu, cuda, cuda:N or mps.

    Raises:
        DeviceError: the name is none of these, or this machine does not have it.
    """
    if name == "auto":
        return torch.device(best_device())
    if name == "cpu":
        return torch.device("cpu")
    if name == "mps":
        if not torch.backends.mps.is_available():
            raise DeviceError("there is no Apple GPU (mps) here; use --device cpu")
        return torch.device("mps")
    if re.fullmatch(r"cuda(:\d+)?", name):
        return _find_cuda(name)
    raise DeviceError(f"there is no device '{name}': say auto, cpu, cuda, cuda:N or mps")


def best_device() -> str:
    """The fastest kind of device this machine has."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def find_dtype(precision: Precision, device: torch.device) -> torch.dtype:
    """The dtype to compute in; auto takes bf16 where the device has instructions for it.

    Raises:
        DeviceError: the device cannot compute in it.
    """
    if precision == "auto":
        return torch.bfloat16 if has_fast_bf16(device) else torch.float32
    if precision == "fp16" and device.type == "cpu":
        raise DeviceError("fp16 needs a GPU; on the CPU use --precision bf16, fp32 or auto")
    return _DTYPES[precision]


def has_fast_bf16(device: torch.device) -> bool:
    """Whether bf16 is quicker than fp32 there."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        flags = torch.cpu.get_capabilities()
        return bool(flags.get("avx512_bf16") or flags.get("amx_bf16") or flags.get("bf16"))
    return False


def precision_name(dtype: torch.dtype) -> str:
    """fp32, bf16 or fp16."""
    return next(name for name, known in _DTYPES.items() if known == dtype)


def describe_device(device: torch.device) -> str:
    """The device in words, for the status bar and a bug report."""
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    return f"{device} ({torch.get_num_threads()} threads)" if device.type == "cpu" else str(device)


def why_no_cuda() -> str:
    """What is missing for CUDA, in a sentence; empty where nothing is."""
    if torch.cuda.is_available():
        return ""
    if torch.version.cuda is None:
        return (
            "this torch was built without CUDA; install one with it: "
            "pip install --force-reinstall torch --index-url https://download.pytorch.org/whl/cu128"
        )
    return "torch has CUDA but finds no usable NVIDIA GPU or driver (see what nvidia-smi prints)"


def _find_cuda(name: str) -> torch.device:
    reason = why_no_cuda()
    if reason:
        raise DeviceError(f"there is no device '{name}' here: {reason}. Or use --device cpu.")
    index = int(name.partition(":")[2] or 0)
    count = torch.cuda.device_count()
    if index >= count:
        raise DeviceError(f"there is no device '{name}': this machine has {count} CUDA device(s)")
    return torch.device("cuda", index)
