from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from stt_core.errors import LabelError, ProjectError
from stt_core.labels import UNLABELLED, write_label_png
from stt_core.media.source import open_media
from stt_core.project.store import Project
from stt_core.workflow.naming import (
    find_classes,
    parse_frames,
    parse_names,
    parse_shares,
    parse_things,
)
from stt_core.workflow.opening import find_medium, only_medium, open_to_read
from stt_core.workflow.panels import Shown, default_panel, make_panel
from tests.core.workflow.material import (
    CLASSES,
    nothing,
    predict,
    whole,
    write_images,
    write_video,
)


@pytest.fixture
def shown(tmp_path: Path) -> Iterator[Shown]:
    clip = write_video(tmp_path / "clip.mp4")
    with Project.create(tmp_path / "p", CLASSES, [clip]) as project, open_media(clip) as media:
        yield Shown(media, CLASSES, project, project.media[0])


def the_map(shown: Shown, text: str, frame: int) -> np.ndarray:  # type: ignore[type-arg]
    labels = make_panel(shown, text, 0.5)[0].labels
    assert labels is not None
    return labels(frame)


def test_panels_of_labels_and_predictions(shown: Shown) -> None:
    assert shown.project is not None
    assert shown.entry is not None
    assert default_panel(shown.project, shown.entry) == "labels"
    predict(shown.project, shown.entry, range(2, 5), model="b" * 64)
    shown.project.apply(shown.entry.id, 3, (0, 0), whole(3, version=1))
    assert default_panel(shown.project, shown.entry) == "predictions"
    np.testing.assert_array_equal(the_map(shown, "A=predictions", 3), whole(3))
    np.testing.assert_array_equal(the_map(shown, "bbbbbb", 4), whole(4))
    np.testing.assert_array_equal(the_map(shown, "labels", 3), whole(3, version=1))
    for word in ("predictions", "labels"):
        np.testing.assert_array_equal(the_map(shown, word, 0), nothing())
    assert make_panel(shown, "RGB=image", 0.5)[0].labels is None
    assert make_panel(shown, "My model=predictions", 0.5)[0].title == "My model"
    with pytest.raises(ProjectError, match="no predictions of cccccc"):
        make_panel(shown, "cccccc", 0.5)


def test_panels_of_folders_of_maps(shown: Shown, tmp_path: Path) -> None:
    folder = tmp_path / "maps=1"
    write_label_png(folder / "labels" / "000003.png", whole(3))
    np.testing.assert_array_equal(the_map(shown, str(folder), 3), whole(3))
    np.testing.assert_array_equal(the_map(shown, f"T={folder}", 2), nothing())
    told = {"classes": [{"name": "tree", "color": [0, 0, 0]}, {"name": "x", "color": [1, 1, 1]}]}
    (folder / "run.json").write_text(json.dumps(told))
    write_label_png(folder / "labels" / "000003.png", whole(3) % 2)
    expected = np.array([2, UNLABELLED], np.uint8)[whole(3) % 2]
    np.testing.assert_array_equal(the_map(shown, str(folder), 3), expected)
    assert make_panel(shown, str(folder), 0.5)[1] == [f"{folder}: not shown are x"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(LabelError, match="holds no map of a frame"):
        make_panel(shown, str(tmp_path / "empty"), 0.5)


def test_ids_that_say_nothing_are_told_or_guessed(shown: Shown, tmp_path: Path) -> None:
    labels = whole(3)
    labels[0], labels[1] = len(CLASSES), 77
    write_label_png(tmp_path / "m" / "000003.png", labels)
    panel, notes = make_panel(shown, str(tmp_path / "m"), 0.5)
    assert panel.labels is not None
    with pytest.raises(LabelError, match=r"holds the ids \[77\].*--void-id"):
        panel.labels(3)
    panel, notes = make_panel(replace(shown, void_ids=frozenset([77])), str(tmp_path / "m"), 0.5)
    assert panel.labels is not None
    assert list(notes) == []
    for _ in range(2):
        expected = whole(3)
        expected[:2] = UNLABELLED
        np.testing.assert_array_equal(panel.labels(3), expected)
    assert len(notes) == 1
    assert "the id 3, the first after the 3 classes, was taken for void" in notes[0]
    rows = [{"name": c.name, "color": list(c.color)} for c in CLASSES]
    told = {"classes": rows, "ignore_id": 77}
    (tmp_path / "m" / "classes.json").write_text(json.dumps(told))
    np.testing.assert_array_equal(the_map(shown, str(tmp_path / "m"), 3), expected)


def test_maps_whose_names_could_mean_several_images_are_refused(tmp_path: Path) -> None:
    write_images(tmp_path / "s", tuple(f"img_{n}.png" for n in range(1, 4)))
    write_label_png(tmp_path / "m" / "0001.png", whole(1))
    with open_media(tmp_path / "s") as media:
        shown = Shown(media, CLASSES)
        with pytest.raises(LabelError, match=r"0001 -> img_1.*0001 -> img_2"):
            make_panel(shown, str(tmp_path / "m"), 0.5)
        number = replace(shown, rule="number")
        np.testing.assert_array_equal(the_map(number, str(tmp_path / "m"), 0), whole(1))


def test_maps_of_images_are_found_by_name(tmp_path: Path) -> None:
    write_images(tmp_path / "s", ("5.png", "10.png"))
    write_label_png(tmp_path / "m" / "10.png", whole(1))
    with open_media(tmp_path / "s") as media:
        shown = Shown(media, CLASSES)
        np.testing.assert_array_equal(the_map(shown, str(tmp_path / "m"), 1), whole(1))
        np.testing.assert_array_equal(the_map(shown, str(tmp_path / "m"), 0), nothing())
        with pytest.raises(LabelError, match="without a project a panel is"):
            make_panel(shown, "predictions", 0.5)


def test_media_are_chosen_by_id_and_name(shown: Shown, tmp_path: Path) -> None:
    project = shown.project
    assert project is not None
    first = only_medium(project, None)
    second = project.add_media(write_video(tmp_path / "more" / "other.mp4", seed=2))
    third = project.add_media(write_video(tmp_path / "again" / "other.mp4", seed=3))
    assert find_medium(project, "clip") == find_medium(project, first.id) == first
    with pytest.raises(ProjectError, match=f"choose one by its id .*{second.id}, {third.id}"):
        find_medium(project, "other.mp4")
    with pytest.raises(ProjectError, match=r"has no medium nope: it has clip.mp4"):
        find_medium(project, "nope")
    with pytest.raises(ProjectError, match="several media: choose one with --media"):
        only_medium(project, None)


def test_images_that_were_added_are_seen_by_who_only_reads(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "s", ("b.png", "c.png"))
    Project.create(tmp_path / "p", CLASSES, [folder]).close()
    write_images(folder, ("a.png", "b.png"))
    with open_to_read(tmp_path / "p") as project:
        assert project.read_only is not None
        assert project.media[0].frames == 3


def test_ranges_and_shares() -> None:
    assert parse_frames("2:", 5) == range(2, 5)
    assert parse_frames("::2", 5) == range(0, 5, 2)
    for wrong in ("5", "a:b", "1:2:0", "1:2:3:4"):
        with pytest.raises(ValueError, match="is not a range"):
            parse_frames(wrong, 5)
    with pytest.raises(ValueError, match="holds no frame"):
        parse_frames("5:", 5)
    assert parse_shares(["a=b=0.5", "sky = 1"]) == {"a=b": 0.5, "sky": 1.0}
    for wrong in ("sky", "=0.5", "sky=high"):
        with pytest.raises(ValueError, match="is not a threshold"):
            parse_shares([wrong])


def test_names_of_classes_and_things(tmp_path: Path) -> None:
    path = tmp_path / "map.json"
    path.write_text(json.dumps({"Tree": "plant", "Sky": None}))
    assert parse_names([str(path), "Sky=sky, a=b=c", "x=none"]) == {
        "Tree": "plant", "Sky": "sky", "a=b": "c", "x": None,
    }  # fmt: skip
    for wrong in ("tree", "=sky"):
        with pytest.raises(ValueError, match="say OURS=THEIRS"):
            parse_names([wrong])
    path.write_text("[1]")
    with pytest.raises(LabelError, match="is not a mapping of class names"):
        parse_names([str(path)])
    assert parse_things(["Car, Bus", "Tram"]) == {"Car", "Bus", "Tram"}
    assert parse_things(["none"]) == frozenset()


def test_class_lists_by_name_model_and_file(tmp_path: Path) -> None:
    assert len(find_classes("cityscapes19")) == 19
    assert len(find_classes("stt-lite0")) == 11
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({"classes": [{"name": "a", "color": [1, 2, 3]}]}))
    assert [c.name for c in find_classes(str(path))] == ["a"]
    with pytest.raises(LabelError, match="no class list nope: give a JSON file, a model, or one"):
        find_classes("nope")
