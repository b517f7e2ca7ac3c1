"""What query selection chooses under other settings, and whether it finds the boundaries."""

from __future__ import annotations

from time import perf_counter

import cv2
import numpy as np
from numpy.typing import NDArray

from stt_core.config import SttConfig
from stt_core.engine import Engine, Steps
from stt_core.inspection.answers import Overlap, SelectionFacts
from stt_core.inspection.change import NO_CHANGE
from stt_core.inspection.decoding import decode_changed
from stt_core.inspection.places import cells_of_pixels
from stt_core.model.selection import select_queries

CANNY = (100, 200)
"""Low and high threshold of OpenCV's Canny on the grey image: Sobel of 3 x 3, L1 norm."""


def selection_facts(
    engine: Engine,
    frame: int,
    *,
    ratio: float | None = None,
    radius: int | None = None,
    labels: NDArray[np.uint8] | None = None,
) -> Steps[SelectionFacts]:
    """Select queries anew from cached features, and see what that changes.

    Args:
        engine: what computes.
        frame: the frame.
        ratio: share of positions to select, in (0, 1]; None: the model's own.
        radius: r of the neighbouring similarity, at least 1; None: the model's own.
        labels: ``[H, W]`` whose boundaries count, ids that are no class apart; None: of the
            prediction under the model's own settings.

    Raises:
        IndexError: the frame is not in the medium.
        ValueError: a setting is out of range, or the labels are of another size.
        CheckpointError: the model has no sparse temporal attention.
    """
    network = engine.network
    network.examine(lambda model: None)
    assert isinstance(network.config, SttConfig)
    ratio = network.config.query_ratio if ratio is None else ratio
    own_radius = network.config.neighbour_radius
    radius = own_radius if radius is None else radius
    if not 0 < ratio <= 1 or radius < 1:
        raise ValueError(f"ratio must be in (0, 1] and radius at least 1, got {ratio=} {radius=}")
    reading = yield from engine.reading_steps(frame)
    if labels is not None and labels.shape != reading.size:
        raise ValueError(f"labels must be {reading.size}, got {labels.shape}")
    before = network.finish(reading.decoded, reading.size).labels
    yield
    network.synchronise()
    start = perf_counter()
    current = reading.current.cast(network.dtype)
    need = network.examine(lambda model: model.measure_need(current, radius))
    network.synchronise()
    milliseconds = 1e3 * (perf_counter() - start)
    yield
    queries = select_queries(need, ratio)
    after = before
    if reading.memory and (ratio, radius) != (network.config.query_ratio, own_radius):
        decoded = yield from decode_changed(
            network, reading.current, reading.memory, queries, NO_CHANGE
        )
        after = network.finish(decoded, reading.size).labels
    grid = reading.current.size
    selected = np.zeros(grid, np.bool_)
    selected.flat[queries[0].cpu().numpy()] = True
    marked = boundaries(before if labels is None else labels, len(network.header.classes))
    return SelectionFacts(
        frame=frame,
        ratio=ratio,
        radius=radius,
        need=need[0].float().cpu().numpy().reshape(grid),
        selected=selected,
        boundaries=_overlap(marked, selected),
        edges=_overlap(color_edges(reading.frame.image), selected),
        by_chance=float(selected.mean()),
        milliseconds=milliseconds,
        changed=before != after,
        labels=after,
    )


def boundaries(labels: NDArray[np.uint8], num_classes: int) -> NDArray[np.bool_]:
    """``[H, W]``: pixels with another class to the left, right, above or below.

    Ids from `num_classes` on are unknown, and make no boundary.
    """
    known = labels < num_classes
    found = np.zeros(labels.shape, np.bool_)
    for one, other in (
        ((slice(None), slice(1, None)), (slice(None), slice(None, -1))),
        ((slice(1, None), slice(None)), (slice(None, -1), slice(None))),
    ):
        differ = (labels[one] != labels[other]) & known[one] & known[other]
        found[one] |= differ
        found[other] |= differ
    return found


def color_edges(image: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """``[H, W]``: edge pixels of ``[H, W, 3]`` RGB, by Canny with the thresholds :data:`CANNY`."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return cv2.Canny(grey, *CANNY) > 0


def _overlap(pixels: NDArray[np.bool_], selected: NDArray[np.bool_]) -> Overlap:
    """A cell is marked where any of its pixels is."""
    cells = cells_of_pixels((selected.shape[0], selected.shape[1]), pixels.shape[:2])
    marked = np.bincount(cells[pixels], minlength=selected.size) > 0
    return Overlap(int(marked.sum()), int(selected.ravel()[marked].sum()))
