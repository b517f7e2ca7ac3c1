"""Exports are data sets that can be trained on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from stt_core.data.sources import open_data
from stt_core.formats.label_formats import read_labels
from stt_core.formats.mapping import propose_mapping
from stt_core.labels import LabelClass
from stt_core.resources import resource_path
from tests.core.formats.samples import (
    CLASSES,
    checkers,
    export,
    frames_of,
    kept,
)


def test_our_own_data_set_reads_the_cityscapes_export(tmp_path: Path) -> None:
    labels = np.repeat(np.repeat(checkers(), 8, 0), 8, 1)
    export("cityscapes", tmp_path, frames_of([labels], images=True))
    data = open_data(f"cityscapes:{tmp_path}")
    found = data.sequences[0].labels(0)
    names = [c.name for c in data.classes]
    table = np.array([names.index(c.name) for c in CLASSES] + [255] * 252, np.uint8)
    assert found is not None
    np.testing.assert_array_equal(np.where(found >= 254, 255, found), table[labels])


def test_our_own_data_set_reads_both_camvid_exports(tmp_path: Path) -> None:
    rows = json.loads(resource_path("classes/camvid11.json").read_text())["classes"]
    classes = tuple(LabelClass(c["name"], tuple(c["color"])) for c in rows)
    labels = checkers((24, 32), 11)
    frames = frames_of([labels], images=True, name="0001TP_{:06d}".format)
    for name in ("camvid", "camvid-index"):
        export(name, tmp_path / name, frames, classes)
        found = open_data(f"camvid:{tmp_path / name}").sequences[0].labels(0)
        assert found is not None
        np.testing.assert_array_equal(np.where(found >= 254, 255, found), kept(labels))


def test_our_own_data_set_reads_the_png_export(tmp_path: Path) -> None:
    export("png", tmp_path, frames_of([checkers((24, 32))], images=True))
    data = open_data(f"folder:{tmp_path}")
    assert data.classes == CLASSES
    found = data.sequences[0].labels(0)
    assert found is not None
    np.testing.assert_array_equal(np.where(found >= 254, 255, found), kept(checkers((24, 32))))


def test_camvid_as_it_is_handed_round_is_read(shared_data: Path) -> None:
    folder = shared_data / "camvid"
    found = read_labels("camvid-index", folder)
    data = open_data(f"camvid:{folder},split=val", check=False)
    ours = {
        sequence.frame_name(i): sequence.labels(i)
        for sequence in data.sequences[:1]
        for i in list(sequence.labelled)[:3]
    }
    mapping = propose_mapping(found, data.classes)
    compared = [frame for frame in found.frames if frame.name in ours]
    assert len(compared) == len(ours) > 0
    for frame in compared:
        theirs = ours[frame.name]
        assert theirs is not None
        expected = np.where(theirs >= 254, 255, theirs)
        np.testing.assert_array_equal(mapping.apply(frame.load()), expected)
