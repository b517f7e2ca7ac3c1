"""How steady label maps are over time: temporal consistency by three protocols (method, 3.2).

`plain`: the map of the frame before, warped (nearest pixel) onto each frame by the flow from that
frame to the one before; what comes from outside the image is left out. Intersection and union of
each class are summed over all pairs of all clips; the value is the mean over the classes that
occur.

`masked`: as `plain`, less what was hidden in the frame before: where the flow there and the flow
back do not meet, or where an exact flow says so by NaN.

`etc`: as the script of ETC (Liu et al. 2020) does it: the map of the next frame warped back by
the flow to it, class ids interpolated bilinearly and truncated, border pixels repeated, nothing
left out, and a class that never occurs counts 0. The false classes this makes along boundaries
are why its values are low.

H, W: size of a map. Values of one protocol and one source of flow compare with each other only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from stt_core.metrics.segmentation import count_pairs, mean_over, share

Protocol = Literal["etc", "plain", "masked"]

SILENT = 254
"""Ids from here on say nothing, so there is nothing to compare."""
_ETC_EPSILON = 1e-10
_UNKNOWN_FLOW = 1e9
"""Middlebury's mark for a flow that is not known."""


@dataclass(frozen=True, slots=True)
class Consistency:
    """How steady the maps of a data set are, and by which rules."""

    value: float
    """In [0, 1]; NaN where nothing could be compared."""
    protocol: Protocol
    flow: str
    """Where the flow came from."""
    class_values: tuple[float, ...]
    """NaN, under `etc` 0, for a class that never occurs."""


@dataclass(frozen=True, slots=True)
class NearestWarp:
    """Which pixels of a frame are compared with which of the frame before."""

    here: NDArray[np.intp]
    """``[n]`` flat indices into the frame."""
    there: NDArray[np.intp]
    """``[n]`` flat indices into the frame before."""


@dataclass(frozen=True, slots=True)
class BilinearWarp:
    """Where each pixel of the frame before looks in the frame."""

    known: NDArray[np.intp]
    """``[n]`` flat indices into the frame before, where the flow is known."""
    corners: tuple[NDArray[np.intp], ...]
    """``[n]`` flat indices into the frame of the pixel left above, right above, left below and
    right below."""
    weights: tuple[NDArray[np.floating], ...]
    """``[n]`` of each corner."""


Warp = NearestWarp | BilinearWarp


def needs_backward(protocol: Protocol) -> bool:
    """Whether the flow from a frame to the one before is needed."""
    return protocol != "etc"


def needs_forward(protocol: Protocol) -> bool:
    """Whether the flow from the frame before is needed, unless NaN tells what was hidden."""
    return protocol != "plain"


def find_warp(
    protocol: Protocol,
    *,
    backward: NDArray[np.float32] | None = None,
    forward: NDArray[np.float32] | None = None,
) -> Warp:
    """Find what is compared with what between a frame and the one before it.

    Pixels whose flow is not known (NaN, infinite or beyond 1e9) cannot be warped and are left out
    whatever the protocol.

    Args:
        protocol: see the module.
        backward: ``[H, W, 2]`` u, v pixels from each point of the frame to the one before.
        forward: ``[H, W, 2]`` u, v pixels from each point of the frame before to the frame.
            Under `masked` it may be missing where `backward` tells by NaN what was hidden.

    Raises:
        ValueError: a flow that the protocol needs is missing.
    """
    if protocol == "etc":
        if forward is None:
            raise ValueError("etc needs the flow from each frame to the next")
        return _bilinear(forward)
    if backward is None:
        raise ValueError(f"{protocol} needs the flow from each frame to the one before")
    return _nearest(backward, forward if protocol == "masked" else None)


class ConsistencyMeter:
    """Sums up temporal consistency, a pair of neighbouring frames at a time.

    Args:
        protocol: see the module.
        num_classes: how many classes there are. Ids from :data:`SILENT` on are left out; those in
            between are of no class: they count against the class they are compared with.
    """

    def __init__(self, protocol: Protocol, num_classes: int) -> None:
        self.protocol: Protocol = protocol
        self.pairs = 0
        self._both = np.zeros(num_classes, np.int64)
        self._either = np.zeros(num_classes, np.int64)

    def add(self, before: NDArray[np.uint8], now: NDArray[np.uint8], warp: Warp) -> None:
        """Compare the ``[H, W]`` ids of a frame with those of the frame before it."""
        if before.shape != now.shape:
            raise ValueError(f"the maps differ in size: {before.shape=} {now.shape=}")
        if isinstance(warp, NearestWarp):
            first, second = before.ravel()[warp.there], now.ravel()[warp.here]
            first, second = _where(first, second, (first < SILENT) & (second < SILENT))
        else:
            first, second = before.ravel()[warp.known], _interpolate(now, warp)
            first, second = _where(first, second, second != 255)
        classes = len(self._both)
        counts = count_pairs(first, second, classes)
        hit = np.diagonal(counts)[:classes]
        self._both += hit
        self._either += counts[:classes].sum(1) + counts[:, :classes].sum(0) - hit
        self.pairs += 1

    def result(self, flow: str) -> Consistency:
        """Consistency of all pairs so far.

        Args:
            flow: name of where the flow came from.
        """
        if self.protocol == "etc":
            each = self._both / (self._either + _ETC_EPSILON)
            value = float(each.mean()) if self.pairs else float("nan")
        else:
            each = share(self._both, self._either)
            value = mean_over(each, "clean")
        return Consistency(value, self.protocol, flow, tuple(each.tolist()))


def hidden(backward: NDArray[np.float32], forward: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Where going to the frame before and back again does not return: ``[H, W]``.

    |f + b(x + f)|^2 > 0.01 (|f|^2 + |b(x + f)|^2) + 0.5 (Sundaram et al. 2010), and where either
    flow is not known.
    """
    # points outside are left out whatever is found there, but remap must be handed pixels
    x, y = (np.nan_to_num(place).clip(-1, max(backward.shape)) for place in _places(backward))
    back: NDArray[np.float32] = cv2.remap(  # type: ignore[assignment]
        forward, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    with np.errstate(invalid="ignore", over="ignore"):  # where a flow is not known
        gap = _square(backward + back)
        return ~(gap <= 0.01 * (_square(backward) + _square(back)) + 0.5)


def _nearest(backward: NDArray[np.float32], forward: NDArray[np.float32] | None) -> NearestWarp:
    height, width = backward.shape[:2]
    x, y = (np.rint(place) for place in _places(backward))
    # NaN compares as false
    kept = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    if forward is not None:
        kept &= ~hidden(backward, forward)
    return NearestWarp(np.flatnonzero(kept), y[kept].astype(np.intp) * width + x[kept].astype(int))


def _bilinear(forward: NDArray[np.float32]) -> BilinearWarp:
    height, width = forward.shape[:2]
    known = (np.abs(forward) < _UNKNOWN_FLOW).all(-1)  # NaN compares as false
    (x0, x1, alpha), (y0, y1, beta) = (
        _between(place[known], side)
        for place, side in zip(_places(forward), (width, height), strict=True)
    )
    top, bottom = y0 * width, y1 * width
    # as the kernel computes them: all in double precision but the last
    one_alpha, one_beta = 1 - alpha.astype(np.float64), 1 - beta.astype(np.float64)
    weights = (one_alpha * one_beta, alpha * one_beta, one_alpha * beta, alpha * beta)
    corners = (top + x0, top + x1, bottom + x0, bottom + x1)
    return BilinearWarp(np.flatnonzero(known), corners, weights)


def _between(
    place: NDArray[np.float32], side: int
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
    """The pixels on both sides of a place, within the image, and how far along it lies."""
    low = np.floor(place)
    first = low.astype(np.intp)
    return first.clip(0, side - 1), (first + 1).clip(0, side - 1), place - low


def _interpolate(labels: NDArray[np.uint8], warp: BilinearWarp) -> NDArray[np.uint8]:
    """Class ids as Resample2d of FlowNet2 mixes them and ETC truncates them.

    Each corner's part is rounded to float32 before they are added, as that kernel does it: the
    sum often falls a hair short of a whole id, which the truncation makes the next lower class,
    in 1 to 2 % of the pixels even amid one class.
    """
    flat = labels.ravel()
    mixed = np.zeros(len(warp.known), np.float32)
    for corner, weight in zip(warp.corners, warp.weights, strict=True):
        mixed += (weight * flat[corner].astype(np.float32)).astype(np.float32)
    return mixed.astype(np.uint8)


def _where(
    first: NDArray[np.uint8], second: NDArray[np.uint8], kept: NDArray[np.bool_]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    return (first, second) if kept.all() else (first[kept], second[kept])


def _places(flow: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """``[H, W]`` each: x and y of where every pixel leads."""
    height, width = flow.shape[:2]
    x = np.arange(width, dtype=np.float32) + flow[..., 0]
    y = np.arange(height, dtype=np.float32)[:, None] + flow[..., 1]
    return x, y


def _square(flow: NDArray[np.float32]) -> NDArray[np.float32]:
    u, v = flow[..., 0], flow[..., 1]
    return u * u + v * v
