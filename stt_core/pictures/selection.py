"""The query selection figure (the supplement's Fig. 3): frame and segmentation under the veil."""

from __future__ import annotations

from stt_core.drawing import need_rgba, veil
from stt_core.labels import LabelClass, palette_rgba
from stt_core.media.frame import Frame
from stt_core.pictures.figure import FAINT, Figure, Picture, Text
from stt_core.results import Prediction

_WIDTH = 560
_MARGIN = 24


def selection_figure(
    frame: Frame, prediction: Prediction, classes: tuple[LabelClass, ...]
) -> Figure:
    """Four pictures: the frame, D_NSM, and the veil over the frame and its segmentation."""
    height, width = frame.image.shape[:2]
    tall = round(_WIDTH * height / width)
    colored = palette_rgba(classes)[prediction.labels][..., :3]
    need = need_rgba(prediction.need, (height, width), opacity=1.0)[..., :3]
    share = prediction.selected.mean()
    tiles = [
        (f"frame {frame.index}", frame.image),
        ("neighbouring similarity D_NSM", need),
        (f"selected queries: {share:.0%}", veil(frame.image, prediction.selected)),
        ("on the segmentation", veil(colored, prediction.selected)),
    ]
    figure = Figure(2 * _WIDTH + 3 * _MARGIN, 2 * (tall + 34) + 2 * _MARGIN)
    for i, (caption, image) in enumerate(tiles):
        x = _MARGIN + (i % 2) * (_WIDTH + _MARGIN)
        y = _MARGIN + (i // 2) * (tall + 34)
        figure.add(Picture(x, y, _WIDTH, tall, image))
        figure.add(Text(x, y + tall + 20, caption, 15, FAINT))
    return figure
