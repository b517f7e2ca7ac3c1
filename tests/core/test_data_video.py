from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from stt_core.data.clip_sources import clips_of
from stt_core.data.project import data_set_of
from stt_core.data.sources import camvid_classes, open_data
from stt_core.errors import DataError, MediaError
from stt_core.labels import IGNORED, UNLABELLED, VOID, LabelClass, write_label_png
from stt_core.media.source import open_media
from tests.core.data_sets import picture, write_image
from tests.core.models import images, write_clip

SIZE = (64, 96)
TWO = (LabelClass("near", (0, 0, 0)), LabelClass("far", (9, 9, 9)))


@dataclass(frozen=True)
class InMemory:
    """What the app holds: a video and painted maps."""

    media: Path
    maps: dict[int, NDArray[np.uint8]] = field(default_factory=dict)
    classes: tuple[LabelClass, ...] = TWO

    @property
    def painted(self) -> Sequence[int]:
        return sorted(self.maps)

    def labels(self, frame: int) -> NDArray[np.uint8] | None:
        return self.maps.get(frame)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", images(12, SIZE))


def painted_map() -> NDArray[np.uint8]:
    labels = np.full(SIZE, UNLABELLED, np.uint8)
    labels[4:28], labels[36:60], labels[30] = 0, 1, VOID
    return labels


def put(folder: Path, frame: int, labels: NDArray[np.uint8]) -> None:
    write_label_png(folder / f"{frame:06d}.png", labels)


def test_painted_frames_are_labelled_and_erased_ones_are_not(clip: Path, tmp_path: Path) -> None:
    for frame in (9, 3):
        put(tmp_path, frame, painted_map())
    put(tmp_path, 5, np.full(SIZE, UNLABELLED, np.uint8))
    (tmp_path / ".000004.half.png").write_bytes(b"")  # as while one is written
    data = open_data(f"video:{clip},labels={tmp_path}")
    assert data.classes == camvid_classes()
    (sequence,) = data.sequences
    assert (sequence.name, len(sequence), sequence.video) == ("clip.mp4", 12, True)
    assert list(sequence.labelled) == [3, 9]
    np.testing.assert_array_equal(sequence.labels(9), painted_map())
    assert sequence.labels(5) is None
    assert sequence.frame_name(9) == "000009"
    with open_media(clip) as media:
        np.testing.assert_array_equal(sequence.image(9), media[9].image)


def test_a_video_without_labels_has_none(clip: Path) -> None:
    data = open_data(f"video:{clip}")
    assert list(data.sequences[0].labelled) == []
    assert len(data.sequences[0]) == 12


def test_a_folder_of_images_is_a_video_too(tmp_path: Path) -> None:
    for i in range(3):
        write_image(tmp_path / "frames" / f"{i}.png", picture(i, SIZE))
    put(tmp_path / "labels", 1, painted_map())
    data = open_data(f"video:{tmp_path / 'frames'},labels={tmp_path / 'labels'}")
    assert list(data.sequences[0].labelled) == [1]
    np.testing.assert_array_equal(data.sequences[0].image(2), picture(2, SIZE))


def test_a_path_with_commas_is_taken_whole(clip: Path, tmp_path: Path) -> None:
    odd = shutil.copy(clip, tmp_path / "a,labels of b,c.mp4")
    put(tmp_path / "x,y", 1, painted_map())
    data = open_data(f"video:{odd},labels={tmp_path / 'x,y'},ignore=7")
    assert list(data.sequences[0].labelled) == [1]


def test_classes_are_those_beside_the_labels(clip: Path, tmp_path: Path) -> None:
    put(tmp_path, 1, painted_map())
    rows = [{"name": c.name, "color": c.color} for c in TWO]
    (tmp_path / "classes.json").write_text(json.dumps({"classes": rows}))
    spec = f"video:{clip},labels={tmp_path}"
    assert open_data(spec).classes == TWO
    assert open_data(spec, classes=TWO).classes == TWO
    with pytest.raises(DataError, match=r"are of the classes near, far .* but those of Sky"):
        open_data(spec, classes=camvid_classes())
    ignored = open_data(f"{spec},ignore=1").sequences[0].labels(1)
    np.testing.assert_array_equal(ignored, np.where(painted_map() == 1, IGNORED, painted_map()))
    (tmp_path / "classes.json").unlink()
    assert open_data(spec, classes=TWO).classes == TWO


def test_maps_that_do_not_fit_are_all_told(clip: Path, tmp_path: Path) -> None:
    put(tmp_path, 1, painted_map())
    put(tmp_path, 12, painted_map())
    put(tmp_path, 2, np.full(SIZE, 40, np.uint8))
    put(tmp_path, 3, np.zeros((6, 9), np.uint8))
    write_label_png(tmp_path / "1.png", painted_map())
    write_label_png(tmp_path / "frame1.png", painted_map())
    with pytest.raises(DataError, match="5 problems") as caught:
        open_data(f"video:{clip},labels={tmp_path}")
    said = {p.path.name: p.what for p in caught.value.problems}
    assert said["000012.png"] == "labels frame 12, but the video has 12 frames"
    assert said["000002.png"].startswith("holds the ids 40, which the class table does not have")
    assert said["000003.png"] == "is 9 x 6 pixels, but the video is 96 x 64"
    assert said["1.png"].startswith("labels the same frame as 000001.png")
    assert said["frame1.png"].startswith("is not named by a frame's number")


def test_nothing_painted_is_told(clip: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nothing is painted in"):
        open_data(f"video:{clip},labels={tmp_path}")
    put(tmp_path, 1, np.full(SIZE, VOID, np.uint8))
    with pytest.raises(DataError, match="nothing is painted in"):
        open_data(f"video:{clip},labels={tmp_path}")


def test_what_is_no_video_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_text("hello")
    with pytest.raises(DataError, match=r"a\.mp4.* cannot be used: .*a\.mp4"):
        open_data(f"video:{tmp_path / 'a.mp4'}")


def test_labels_in_memory_are_data(clip: Path) -> None:
    store = InMemory(clip, {4: painted_map()})
    data = data_set_of(store)
    assert data.classes == TWO
    source = clips_of(data, key_frames=2)
    drawn = source.draw(0, np.random.default_rng(0))
    np.testing.assert_array_equal(drawn.labels, painted_map())
    with open_media(clip) as media:
        np.testing.assert_array_equal(drawn.past[1], media[2].image)
    other = InMemory(clip, {4: np.where(painted_map() == 1, 0, painted_map()).astype(np.uint8)})
    assert data_set_of(other).digest != data.digest
    assert data_set_of(InMemory(clip, {4: painted_map()})).digest == data.digest


def test_labels_in_memory_must_fit(clip: Path) -> None:
    store = InMemory(clip, {1: np.zeros((6, 9), np.uint8), 99: painted_map()})
    with pytest.raises(DataError, match="2 problems") as caught:
        data_set_of(store)
    assert "frame 1" in caught.value.problems[0].what
    assert "frame 99" in caught.value.problems[1].what
    with pytest.raises(MediaError):
        data_set_of(InMemory(clip.with_name("none.mp4")))


def test_a_copy_opens_the_video_anew(clip: Path, tmp_path: Path) -> None:
    put(tmp_path, 7, painted_map())
    data = open_data(f"video:{clip},labels={tmp_path}")
    first = data.sequences[0].image(7)  # the reader is open now
    copy = pickle.loads(pickle.dumps(data))
    np.testing.assert_array_equal(copy.sequences[0].image(7), first)
    np.testing.assert_array_equal(copy.sequences[0].labels(7), painted_map())
    assert (copy.digest, copy.classes) == (data.digest, data.classes)


def test_the_digest_is_that_of_the_video_and_its_maps(clip: Path, tmp_path: Path) -> None:
    put(tmp_path / "a", 7, painted_map())
    digest = open_data(f"video:{clip},labels={tmp_path / 'a'}").digest
    moved = shutil.copy(clip, tmp_path / "moved.mp4")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert open_data(f"video:{moved},labels={tmp_path / 'b'}").digest == digest
    put(tmp_path / "b", 8, painted_map())
    assert open_data(f"video:{moved},labels={tmp_path / 'b'}").digest != digest
