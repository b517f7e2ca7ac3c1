"""How fast a model is, by the paper's protocol (method, 3.3).

Batch 1, in eval mode, after a warm-up: a timer around the forward pass and the enlargement of its
logits, the device waited for at both ends. Decoding, pre-processing and what follows the logits
are left out.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from time import perf_counter
from typing import Literal, TypeVar

import cv2
import numpy as np
import psutil
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from stt_core.config import per_frame
from stt_core.device import describe_device, precision_name
from stt_core.evaluation.multiply_adds import MultiplyAdds, multiply_adds
from stt_core.model.video import Encoded
from stt_core.network import Network
from stt_core.preprocess import to_network

Answer = TypeVar("Answer")

WARM_UP = 6
"""Frames that do not count, as TDNet has it."""
_FIRSTS = 5
"""How often a first frame is timed."""


@dataclass(frozen=True, slots=True)
class FrameTimes:
    """Milliseconds a frame."""

    mean: float
    median: float
    p95: float
    max: float

    @property
    def fps(self) -> float:
        return 1000 / self.mean


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """What a model takes for a frame."""

    device: str
    """In words, with its name or its number of threads."""
    precision: str
    """fp32, bf16 or fp16, as it was computed in the end."""
    size: tuple[int, int]
    """Width and height of the network's input, and of the logits in the end."""
    key_frames: int
    frames: int
    """How many were timed with all their key frames there."""
    steady: FrameTimes
    """Of these."""
    first: FrameTimes
    """Of a frame without a past, timed a few times."""
    peak_bytes: int
    peak_of: Literal["device", "process"]
    """Whether the peak is of the GPU's tensors, weights included, or of the whole process."""
    multiply_adds: MultiplyAdds


def measure_speed(
    network: Network,
    images: Sequence[NDArray[np.uint8]],
    *,
    size: tuple[int, int],
    frames: int = 30,
    warm_up: int = WARM_UP,
) -> Generator[int, None, Speed]:
    """Stream `images`, over and over; yield the frames that are done, return what they took.

    Args:
        network: what computes. Where its preprocessing has a size of its own, that is taken.
        images: ``[H, W, 3]`` RGB; content decides only whether a lower precision stays.
        size: width and height the images are resized to first.
        frames: to be timed in the steady state.
        warm_up: frames before anything is timed; more where that many do not fill the ring.

    Raises:
        ValueError: no images, or nothing to time.
    """
    if not images or frames < 1 or warm_up < 0:
        raise ValueError(
            f"speed needs images, frames >= 1 and warm_up >= 0, "
            f"got {len(images)} images, {frames=} {warm_up=}"
        )
    resized = [cv2.resize(i, size, interpolation=cv2.INTER_AREA).astype(np.uint8) for i in images]
    network.settle(resized[0])
    _forget_peak(network.device)
    walk = _Walk(network)
    fill = count_steps(network, 0, warm_up)
    steady: list[float] = []
    for done, image in enumerate(islice(cycle(resized), fill + frames), 1):
        taken = walk.step(image)
        if done > fill:
            steady.append(taken)
        yield done
    peak, peak_of = _peak(network.device)
    first = [_Walk(network).step(image) for image in islice(cycle(resized), 1 + _FIRSTS)][1:]
    rows, cols = network.header.preprocess.network_size(size[1], size[0])
    return Speed(
        device=describe_device(network.device),
        precision=precision_name(network.dtype),
        size=(cols, rows),
        key_frames=network.key_frames,
        frames=frames,
        steady=frame_times(steady),
        first=frame_times(first),
        peak_bytes=peak,
        peak_of=peak_of,
        multiply_adds=multiply_adds(network.config, (rows, cols)),
    )


def count_steps(network: Network, frames: int, warm_up: int = WARM_UP) -> int:
    """How many frames :func:`measure_speed` streams: those it times and those before them."""
    return max(warm_up, network.key_frames * network.key_spacing) + frames


def frame_times(milliseconds: Sequence[float]) -> FrameTimes:
    """Figures of these; at least one."""
    taken = np.asarray(milliseconds, np.float64)
    return FrameTimes(
        float(taken.mean()),
        float(np.median(taken)),
        float(np.percentile(taken, 95)),
        float(taken.max()),
    )


def timed(network: Network, act: Callable[[], Answer]) -> tuple[Answer, float]:
    """What `act` returns, and the milliseconds until the network's device is done with it."""
    network.synchronise()
    begun = perf_counter()
    answer = act()
    network.synchronise()
    return answer, 1000 * (perf_counter() - begun)


class _Walk:
    """A walk through consecutive frames, the first of which has no past."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._past: deque[Encoded] = deque(maxlen=network.key_frames * network.key_spacing)
        self._index = 0

    def step(self, image: NDArray[np.uint8]) -> float:
        """Take one more frame; milliseconds of its forward pass."""
        network, step = self._network, self._network.key_spacing
        tensor, preparing = timed(
            network, lambda: to_network(image, network.header.preprocess, network.device)
        )
        encoded, encoding = timed(network, lambda: network.encode(image, self._index))
        memory = [*self._past][step - 1 :: step]
        _, decoding = timed(network, lambda: self._logits(encoded, memory, tensor.shape[2:]))
        self._past.appendleft(encoded)
        self._index += 1
        # encoding prepares the image once more; less than nothing can only be the clock's noise
        return max(0.0, encoding - preparing) + decoding

    @torch.inference_mode()
    def _logits(
        self, current: Encoded, memory: Sequence[Encoded], size: torch.Size
    ) -> torch.Tensor:
        """Logits of the input's size."""
        decoded = self._network.decode(current, memory)
        align = per_frame(self._network.config).align_corners
        return F.interpolate(decoded.logits, size, mode="bilinear", align_corners=align)


def _forget_peak(device: torch.device) -> None:
    """Let the peak count from here, where the system can do that."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    elif sys.platform == "linux":
        with suppress(OSError):  # a hardened system keeps it shut: the peak is then since the start
            Path("/proc/self/clear_refs").write_text("5")


def _peak(device: torch.device) -> tuple[int, Literal["device", "process"]]:
    """The most bytes there were."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device), "device"
    return high_water(), "process"


def high_water() -> int:
    """The most bytes of memory this process had."""
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    if sys.platform == "darwin":
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # getrusage would tell that of the process this one was started from, where it was larger
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])
