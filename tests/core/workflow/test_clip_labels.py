"""Label maps that a model makes of a video."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from stt_core.data.clip_sources import clips_of
from stt_core.data.sources import open_data
from stt_core.engine import Engine
from stt_core.errors import OutputError
from stt_core.labels import UNLABELLED, read_label_png
from stt_core.media.source import open_media
from stt_core.network import Network
from stt_core.pseudo.rule import Threshold
from stt_core.workflow.clip_labels import (
    ClipLabelOptions,
    SteadiedPredictions,
    write_clip_labels,
)
from tests.core.models import checkpoint, images, write_clip


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", images(6))


def labels(clip: Path, out: Path, options: ClipLabelOptions) -> list[NDArray[np.uint8]]:
    network = Network(checkpoint(), device="cpu", precision="fp32")
    with open_media(clip) as media:
        steps = list(write_clip_labels(network, media, out, options))
    assert [step.frame for step in steps] == list(range(0, 6, options.every))
    return [read_label_png(path, 11) for path in sorted(out.glob("*.png"))]


def test_alone_and_believed_in_any_case_they_are_what_the_model_says(
    clip: Path, tmp_path: Path
) -> None:
    found = labels(clip, tmp_path, ClipLabelOptions(neighbours=0, threshold=Threshold(0.0)))
    with open_media(clip) as media:
        engine = Engine(Network(checkpoint(), device="cpu", precision="fp32"), media)
        for frame, ids in enumerate(found):
            np.testing.assert_array_equal(ids, engine.segment(frame).labels)


def test_what_is_not_sure_is_left_unlabelled(clip: Path, tmp_path: Path) -> None:
    some, few = (
        labels(clip, tmp_path / str(p), ClipLabelOptions(threshold=Threshold(p)))
        for p in (0.3, 0.8)
    )
    for a, b in zip(some, few, strict=True):
        sure = b != UNLABELLED
        np.testing.assert_array_equal(a[sure], b[sure])
        assert (a != UNLABELLED).sum() > sure.sum()


def test_neighbours_are_listened_to(clip: Path, tmp_path: Path) -> None:
    alone, together = (
        labels(clip, tmp_path / str(n), ClipLabelOptions(neighbours=n, threshold=Threshold(0.0)))
        for n in (0, 2)
    )
    assert any((a != b).any() for a, b in zip(alone, together, strict=True))


def test_every_second_frame_is_written_and_can_be_learnt_from(clip: Path, tmp_path: Path) -> None:
    labels(clip, tmp_path, ClipLabelOptions(every=2, threshold=Threshold(0.0)))
    maps = ["000000.png", "000002.png", "000004.png"]
    assert sorted(p.name for p in tmp_path.iterdir()) == [*maps, "provenance.json"]
    data = open_data(f"video:{clip},labels={tmp_path}")
    assert len(clips_of(data, key_frames=2)) == 3


def test_a_persons_maps_are_not_replaced(clip: Path, tmp_path: Path) -> None:
    (tmp_path / "000004.png").write_bytes(b"precious")
    with pytest.raises(OutputError, match="holds label maps already"):
        labels(clip, tmp_path, ClipLabelOptions())
    assert (tmp_path / "000004.png").read_bytes() == b"precious"


def test_the_record_says_by_what_they_were_made(clip: Path, tmp_path: Path) -> None:
    found = labels(clip, tmp_path, ClipLabelOptions(neighbours=1, threshold=Threshold(0.4)))
    record = json.loads((tmp_path / "provenance.json").read_text())
    assert record["model"] == Network(checkpoint(), device="cpu", precision="fp32").sha256
    assert record["settings"]["neighbours"] == 1
    assert record["rule"]["confidence"] == {"threshold": 0.4, "by_class": {}}
    assert record["pixels"]["kept"] == sum(int((ids != UNLABELLED).sum()) for ids in found)
    assert record["versions"]["stt-studio"]


def test_frames_are_asked_for_in_order(clip: Path) -> None:
    network = Network(checkpoint(), device="cpu", precision="fp32")
    with open_media(clip) as media:
        predictions = SteadiedPredictions(network, media, 1)
        predictions.labels(4)
        predictions.confidence(5)
        with pytest.raises(ValueError, match="rising order"):
            predictions.labels(0)


@pytest.mark.parametrize("wrong", [{"neighbours": -1}, {"every": 0}])
def test_options_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be"):
        replace(ClipLabelOptions(), **wrong)
