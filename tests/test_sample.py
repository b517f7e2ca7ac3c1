"""The bundled clip and the bundled model: what the first look at the program shows."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from stt_core.checkpoint import load_checkpoint
from stt_core.formats.model_file import bundled_models, find_model
from stt_core.labels import read_label_png
from stt_core.media.source import open_media
from stt_core.metrics.segmentation import confusion, iou, mean_iou
from stt_core.network import Network
from stt_core.resources import SAMPLE_CLIP, SAMPLE_LABELS, SAMPLE_MODEL, resource_path
from stt_core.scenes.scene import Scene
from stt_core.stream import Stream
from tests.conftest import ROOT

SAMPLE_SEED = 7
CARD = resource_path(f"models/{SAMPLE_MODEL}.md")


@pytest.fixture(scope="module")
def matrix() -> np.ndarray:
    """Confusion of the bundled model on every other frame of the bundled clip."""
    network = Network(load_checkpoint(find_model(SAMPLE_MODEL)), device="cpu")
    stream = Stream(network)
    total = np.zeros((11, 11), np.int64)
    with open_media(resource_path(SAMPLE_CLIP)) as media:
        for i in range(len(media)):
            if i % 2:
                stream.remember(media[i].image)
                continue
            found = stream.push(media[i].image).segmentation.labels
            exact = read_label_png(resource_path(SAMPLE_LABELS) / f"{i:06d}.png", 11)
            total += confusion(found, exact, 11)
    return total


def test_the_bundled_model_segments_the_bundled_clip(matrix: np.ndarray) -> None:
    assert mean_iou(matrix) >= 0.72
    assert np.nanmin(iou(matrix)) > 0.1  # no class is given up


def test_the_model_card_tells_the_figure_it_reaches(matrix: np.ndarray) -> None:
    told = re.search(r"mIoU on the bundled clip[^|]*\|\s*([\d.]+)", CARD.read_text())
    assert told is not None
    assert float(told.group(1)) == pytest.approx(mean_iou(matrix), abs=0.02)
    assert "research use" in CARD.read_text().lower()
    assert "research use" in (CARD.parent / "LICENSE").read_text()


def test_the_clip_is_small_and_complete() -> None:
    path = resource_path(SAMPLE_CLIP)
    assert path.stat().st_size < 3_000_000
    with open_media(path) as media:
        assert (media.width, media.height, media.fps) == (480, 360, 15)
        assert len(media) >= 60
        assert len(list(resource_path(SAMPLE_LABELS).glob("*.png"))) == len(media)


@pytest.mark.parametrize("index", [0, 31])
def test_the_clip_is_what_the_generator_renders(index: int) -> None:
    shot = Scene(SAMPLE_SEED).frame(index, with_flow=False)
    exact = read_label_png(resource_path(SAMPLE_LABELS) / f"{index:06d}.png", 11)
    assert (shot.labels == exact).mean() > 0.999  # floating point differs between machines
    with open_media(resource_path(SAMPLE_CLIP)) as media:
        error = np.abs(media[index].image.astype(int) - shot.image)
    assert error.mean() < 8


def test_bundled_files_are_found_in_a_checkout() -> None:
    for path in (*bundled_models().values(), resource_path(SAMPLE_CLIP)):
        assert Path(path).is_relative_to(ROOT)
