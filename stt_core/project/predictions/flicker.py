"""How much of a frame changed class without having moved."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stt_core.flow import dis_flow
from stt_core.metrics.consistency import SILENT, NearestWarp, find_warp


def flicker(
    before: NDArray[np.uint8], labels: NDArray[np.uint8], backward: NDArray[np.float32]
) -> float | None:
    """Share of pixels whose class is not that of the frame before, warped here by optical flow.

    Args:
        before: ``[H, W]`` class ids of the frame before.
        labels: ``[H, W]`` class ids of the frame.
        backward: ``[H, W, 2]`` u, v pixels from each point of the frame to the one before.

    Returns:
        In 0..1; None where nothing can be compared: flow that leaves the image or is not known,
        ids that say nothing.

    Raises:
        ValueError: the sizes differ.
    """
    if not before.shape == labels.shape == backward.shape[:2]:
        raise ValueError(f"the sizes differ: {before.shape=} {labels.shape=} {backward.shape=}")
    warp = find_warp("plain", backward=backward)
    assert isinstance(warp, NearestWarp)
    first, second = before.ravel()[warp.there], labels.ravel()[warp.here]
    said = (first < SILENT) & (second < SILENT)
    count = int(said.sum())
    return int(((first != second) & said).sum()) / count if count else None


def flicker_between(
    image_before: NDArray[np.uint8],
    before: NDArray[np.uint8],
    image: NDArray[np.uint8],
    labels: NDArray[np.uint8],
) -> float | None:
    """As :func:`flicker`, with DIS flow found between the ``[H, W, 3]`` RGB images."""
    return flicker(before, labels, dis_flow(image, image_before))
