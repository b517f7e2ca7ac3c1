"""The attention thread: from key to key back through time, beside the track of the same point."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from stt_core.engine import Engine, Steps
from stt_core.flow import dis_flow
from stt_core.inspection.answers import AttentionThread, ThreadPoint
from stt_core.inspection.asking import Asked, ask, cell_classes, weights_of
from stt_core.inspection.places import Cell, Pixel, Place, cell_centre, cell_of

Point = tuple[float, float]
"""x, y, where whole numbers are the middles of pixels."""

LOST = (math.nan, math.nan)


def attention_thread(
    engine: Engine,
    place: Place,
    *,
    steps: int = 10,
    head: int | None = None,
    force: bool = True,
) -> Steps[AttentionThread]:
    """Follow a query's strongest key, that key's strongest key, and so on.

    Beside it the asked point is followed frame by frame by optical flow (DIS, from each frame to
    the one before). It begins at the pixel, or at the middle of the cell.

    Args:
        engine: what computes.
        place: where to begin.
        steps: keys to follow, at most.
        head: whose strongest key; None: of the mean over heads. Of equals the newest counts, of
            one frame the upper left.
        force: let keys that were not selected in their frame look back all the same; each point
            tells whether it was.

    Raises:
        IndexError: the place is not there.
        ValueError: the head is not there, or `steps` is negative.
        CheckpointError: the model has no sparse temporal attention.
    """
    heads = engine.network.reach.heads
    asked = yield from ask(engine, place, force=force)
    if steps < 0 or (head is not None and not 0 <= head < heads):
        raise ValueError(f"steps must be at least 0 and head below {heads}, got {steps=} {head=}")
    track = _start(place, asked)
    points = [_point(asked, track, math.nan)]
    for _ in range(steps):
        query = asked.query
        if not query.attends:
            past = bool(asked.reading.memory)
            ended = "this position was not selected" if past else "there is no earlier frame"
            return AttentionThread(head, tuple(points), ended + ", so it looked back at nothing")
        weights = yield from weights_of(engine, asked.reading, np.array([asked.position]))
        strength = weights[0].mean(0) if head is None else weights[0, head]
        best, window = int(strength.argmax()), asked.window
        frame = query.frames[window.lag[best]]
        for now in range(query.frame, frame, -1):
            track = _follow(engine, now, track)
            yield
        key = Cell(frame, int(window.row[best]), int(window.col[best]))
        asked = yield from ask(engine, key, force=force)
        points.append(_point(asked, track, float(strength[best])))
    return AttentionThread(head, tuple(points), f"{steps} steps were asked for")


def _start(place: Place, asked: Asked) -> Point:
    if isinstance(place, Pixel):
        return float(place.x), float(place.y)
    return cell_centre(place.row, place.col, asked.grid, asked.reading.size)


def _point(asked: Asked, track: Point, weight: float) -> ThreadPoint:
    query, grid, size = asked.query, asked.grid, asked.reading.size
    classes = cell_classes(asked.reading)
    x, y = cell_centre(query.row, query.col, grid, size)
    there = None
    if not math.isnan(track[0]):
        pixel = Pixel(query.frame, round(track[0]), round(track[1]))
        there = int(classes[cell_of(pixel, grid, size)])
    return ThreadPoint(
        frame=query.frame,
        row=query.row,
        col=query.col,
        box=query.box,
        x=x,
        y=y,
        selected=query.selected,
        class_id=int(classes[query.row, query.col]),
        weight=weight,
        track_x=track[0],
        track_y=track[1],
        track_class_id=there,
    )


def _follow(engine: Engine, frame: int, point: Point) -> Point:
    """Where a point of a frame is in the one before; lost outside of the image."""
    if math.isnan(point[0]):
        return LOST
    image = engine.media[frame].image
    flow = dis_flow(image, engine.media[frame - 1].image)
    moved = np.array(point) + _sample(flow, point)
    x, y = moved.tolist()
    height, width = image.shape[:2]
    inside = -0.5 <= x < width - 0.5 and -0.5 <= y < height - 0.5
    return (min(max(x, 0.0), width - 1.0), min(max(y, 0.0), height - 1.0)) if inside else LOST


def _sample(flow: NDArray[np.float32], point: Point) -> NDArray[np.float32]:
    """``[2]`` of ``[H, W, 2]``, bilinear."""
    x, y = (np.array([[v]], np.float32) for v in point)
    return cv2.remap(flow, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[0, 0]
