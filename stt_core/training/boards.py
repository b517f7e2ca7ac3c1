"""A run as others like to see it: TensorBoard's event files, and its curves as a picture."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from tensorboardX import SummaryWriter

from stt_core.drawing import blend
from stt_core.files import replacing, writing
from stt_core.labels import LabelClass, palette_rgba

_SMOOTH = 0.02
"""Share of the run over which the drawn loss is averaged."""


class Board:
    """TensorBoard's scalars and images, in `folder`/tensorboard."""

    def __init__(self, folder: Path, classes: tuple[LabelClass, ...], *, start: int) -> None:
        """Open it; what an interrupted run wrote beyond step `start` is hidden."""
        place = folder / "tensorboard"
        with writing(place):
            self._writer = SummaryWriter(str(place), purge_step=start + 1 if start else None)
        self._table = palette_rgba(classes)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            if math.isfinite(value):  # a mean over no labelled pixel is no figure
                self._writer.add_scalar(name, value, step)

    def picture(self, step: int, image: NDArray[np.uint8], labels: NDArray[np.uint8]) -> None:
        """What the model says of a frame, ``[H, W, 3]`` RGB, laid over it."""
        seen = blend(image, labels, self._table, 0.5)
        self._writer.add_image("prediction", seen, step, dataformats="HWC")

    def close(self) -> None:
        self._writer.close()


def draw_curves(
    path: Path, log: Sequence[Mapping[str, Any]], validation: Sequence[Mapping[str, Any]]
) -> None:
    """Loss, learning rate and mean IoU over the steps, as a PNG; nothing where there is no step."""
    if not log:
        return
    figure = Figure(figsize=(11, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    steps = [line["step"] for line in log]
    loss = np.array([np.nan if line["loss"] is None else line["loss"] for line in log])
    left.plot(steps, loss, color="0.8", linewidth=0.6, label="each batch")
    left.plot(steps, _smoothed(loss), color="C0", label="smoothed")
    left.set(xlabel="step", ylabel="loss", ylim=(0, float(np.nanpercentile(loss, 98)) * 1.15 or 1))
    rate = left.twinx()
    rate.plot(steps, [line["learning_rate"] for line in log], color="C1", linewidth=0.8)
    rate.set_ylabel("learning rate", color="C1")
    left.legend(loc="upper right", frameon=False)
    seen = _points(log, "mean_iou")
    judged = _points(validation, "miou")
    right.plot(*seen, color="0.7", label="training batches")
    right.plot(*judged, "o-", color="C2", label="validation")
    right.set(xlabel="step", ylabel="mean IoU (clean)", xlim=left.get_xlim(), ylim=(0, 1))
    right.legend(loc="lower right", frameon=False)
    for axes in (left, right):
        axes.grid(color="0.93")
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120)


def _points(lines: Sequence[Mapping[str, Any]], name: str) -> tuple[list[int], list[float]]:
    """Steps and values, where there is a value."""
    known = [(line["step"], line[name]) for line in lines if line[name] is not None]
    return [step for step, _ in known], [value for _, value in known]


def _smoothed(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """A moving average that forgets, without its slow start."""
    rate = max(1 / (1 + _SMOOTH * len(values)), 1e-3)
    mean, weight, out = 0.0, 0.0, []
    for value in values:
        if np.isfinite(value):
            mean, weight = mean + rate * (value - mean), weight + rate * (1 - weight)
        out.append(mean / weight if weight else np.nan)
    return np.array(out)
