"""The worst frames as pictures that fit into a page: image, labels, prediction, error."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stt_core.data.sequences import DataSet
from stt_core.drawing import RED
from stt_core.evaluation.results import BadFrame
from stt_core.labels import palette_rgba

_WIDTH = 480
"""Pixels a picture is wide at most."""
_QUALITY = 88
_FAINT = 0.35
"""How strong the image is under the error."""


@dataclass(frozen=True, slots=True)
class FramePictures:
    """Pictures of one frame, each as a data: address."""

    image: str
    labels: str
    prediction: str
    error: str


def draw_bad_frame(data: DataSet, bad: BadFrame) -> FramePictures:
    """Read the frame again and draw it.

    Raises:
        SttError: a file cannot be read any more.
    """
    sequence, index = data.sequences[bad.score.sequence], bad.score.index
    image, labels = sequence.image(index), sequence.labels(index)
    if labels is None:
        raise ValueError(f"frame {bad.score.name} of {data.spec} has no labels")
    colors = palette_rgba(data.classes)[:, :3]
    return FramePictures(
        image=_jpeg(_smaller(image, cv2.INTER_AREA)),
        labels=_png(labels, colors),
        prediction=_png(bad.predicted, colors),
        error=_jpeg(_smaller(draw_error(image, bad.predicted, labels, len(data.classes)))),
    )


def draw_error(
    image: NDArray[np.uint8],
    predicted: NDArray[np.uint8],
    labels: NDArray[np.uint8],
    num_classes: int,
) -> NDArray[np.uint8]:
    """Red where the prediction is wrong, black where nothing is labelled, else the pale image.

    Args:
        image: ``[H, W, 3]`` RGB.
        predicted: ``[H, W]`` ids.
        labels: ``[H, W]`` ids; those at or above `num_classes` say nothing.
        num_classes: how many classes there are.

    Returns:
        ``[H, W, 3]`` RGB.
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    pale = 255 - _FAINT * (255 - grey.astype(np.float32))
    drawn = np.repeat(pale.astype(np.uint8)[..., None], 3, axis=2)
    drawn[predicted != labels] = RED
    drawn[labels >= num_classes] = 0
    return drawn


def _png(ids: NDArray[np.uint8], colors: NDArray[np.uint8]) -> str:
    picture = Image.fromarray(_smaller(ids, cv2.INTER_NEAREST))
    picture.putpalette(colors.tobytes())
    return _address(picture, "PNG")


def _jpeg(image: NDArray[np.uint8]) -> str:
    return _address(Image.fromarray(image), "JPEG", quality=_QUALITY)


def _address(picture: Image.Image, kind: str, **options: int) -> str:
    file = io.BytesIO()
    picture.save(file, format=kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"


def _smaller(image: NDArray[np.uint8], interpolation: int = cv2.INTER_AREA) -> NDArray[np.uint8]:
    height, width = image.shape[:2]
    if width <= _WIDTH:
        return image
    size = (_WIDTH, max(1, round(height * _WIDTH / width)))
    return cv2.resize(image, size, interpolation=interpolation).astype(np.uint8)
