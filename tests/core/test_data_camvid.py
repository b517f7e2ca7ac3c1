from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from stt_core.data.class_tables import camvid_places
from stt_core.data.sequences import DataSet
from stt_core.data.sources import CAMVID_LICENCE, camvid_classes, open_data
from stt_core.errors import DataError
from stt_core.labels import IGNORED
from tests.core.data_sets import SIZE, ids, picture, recoloured, write_image, write_segnet

ORIGINAL = {
    "Animal": (64, 128, 64), "Archway": (192, 0, 128), "Bicyclist": (0, 128, 192),
    "Building": (128, 0, 0), "Car": (64, 0, 128), "Column_Pole": (192, 192, 128),
    "LaneMkgsDriv": (128, 0, 192), "Road": (128, 64, 128), "Sidewalk": (0, 0, 192),
    "Truck_Bus": (192, 128, 192), "Void": (0, 0, 0), "Wall": (64, 192, 0),
}  # fmt: skip
BECOMES = ["Pedestrian", "Building", "Bicyclist", "Building", "Car", "Pole", "Road", "Road",
           "Pavement", "Car", None, "Building"]  # fmt: skip


@pytest.fixture
def original(tmp_path: Path) -> Path:
    """Two labelled frames a second apart, and a lone one of another drive."""
    folder = tmp_path / "original"
    colors = dict(enumerate(ORIGINAL.values()))
    for seed, name in enumerate(("0016E5_00060", "0016E5_00090", "Seq05VD_f00030")):
        write_image(folder / "701_StillsRaw_full" / f"{name}.png", picture(seed))
        coloured = recoloured(ids(seed, len(ORIGINAL)), colors)
        write_image(folder / "LabeledApproved_full" / f"{name}_L.png", coloured)
    lines = [f"{r} {g} {b}\t\t{name}" for name, (r, g, b) in ORIGINAL.items()]
    (folder / "label_colors.txt").write_text("\n".join(lines) + "\n\n")
    return folder


def names(data: DataSet) -> list[str]:
    return [sequence.name for sequence in data.sequences]


def test_segnets_form_is_read_with_void_ignored(tmp_path: Path) -> None:
    data = open_data(f"camvid:{write_segnet(tmp_path, ['0001TP_006690', '0001TP_006720'])}")
    assert data.classes == camvid_classes()
    assert data.licence == CAMVID_LICENCE
    (sequence,) = data.sequences
    assert (len(sequence), list(sequence.labelled), sequence.video) == (2, [0, 1], False)
    assert sequence.frame_name(1) == "0001TP_006720"
    np.testing.assert_array_equal(sequence.image(1), picture(1))
    expected = np.where(ids(1, 12) == 11, IGNORED, ids(1, 12))
    np.testing.assert_array_equal(sequence.labels(1), expected)
    assert sequence.flow(1) is None


def test_stills_a_second_apart_can_be_taken_for_video(tmp_path: Path) -> None:
    write_segnet(tmp_path, ["0001TP_006690", "0001TP_006720"])
    (sequence,) = open_data(f"camvid:{tmp_path},video=yes").sequences
    assert sequence.video
    write_segnet(tmp_path, ["0001TP_006690", "0001TP_006692"], "val")
    assert open_data(f"camvid:{tmp_path},split=val").sequences[0].video
    assert not open_data(f"camvid:{tmp_path},split=val,video=no").sequences[0].video


def test_the_layout_of_segnets_own_repository_is_read(tmp_path: Path) -> None:
    write_segnet(tmp_path / "new", ["0001TP_006690", "0001TP_006720"], "val")
    own = tmp_path / "own"
    shutil.copytree(tmp_path / "new" / "images" / "val", own / "val")
    shutil.copytree(tmp_path / "new" / "labels" / "val", own / "valannot")
    assert names(open_data(f"camvid:{own},split=val")) == ["0001TP:6690-6720"]
    # its lists say where its authors had the files
    pair = "/SegNet/CamVid/val/0001TP_006720.png /SegNet/CamVid/valannot/0001TP_006720.png\n"
    (own / "val.txt").write_text(pair)
    assert names(open_data(f"camvid:{own},split=val")) == ["0001TP:6720-6720"]


def test_a_list_says_what_belongs_to_a_split(tmp_path: Path) -> None:
    write_segnet(tmp_path, ["0001TP_006690", "0001TP_006720"])
    (tmp_path / "splits").mkdir()
    listed = tmp_path / "splits" / "train.txt"
    listed.write_text("images/train/0001TP_006690.png labels/train/0001TP_006690.png\n")
    assert names(open_data(f"camvid:{tmp_path}")) == ["0001TP:6690-6690"]
    listed.write_text("images/train/x_1.png labels/train/x_1.png\n")
    with pytest.raises(DataError, match=r"is named in .*train.txt, but is not there") as caught:
        open_data(f"camvid:{tmp_path}")
    assert len(caught.value.problems) == 2
    listed.write_text("images/train/0001TP_006690.png\n")
    with pytest.raises(DataError, match="an image and its labels on each line"):
        open_data(f"camvid:{tmp_path}")


def test_drives_are_cut_where_the_step_changes(tmp_path: Path) -> None:
    numbers = {
        "A": [30, 60, 90, 180, 210, 240],  # a gap
        "B": [1, 31, 61, 91, 93, 95, 97, 99],  # from a second to video
        "C": [7],  # alone
        "D": [0, 31, 60, 90, 120, 149, 179],  # once too long, once short of the usual
    }
    write_segnet(tmp_path, [f"{seq}_f{n:05d}" for seq, own in numbers.items() for n in own])
    data = open_data(f"camvid:{tmp_path}")
    assert names(data) == [
        "A:30-90", "A:180-240", "B:1-91", "B:93-99", "C:7-7", "D:0-0", "D:31-179",
    ]  # fmt: skip
    assert [s.video for s in data.sequences][2:4] == [False, True]


def test_frames_can_be_chosen_and_left_out(tmp_path: Path) -> None:
    frames = [f"A_{n:05d}" for n in range(30, 330, 30)] + ["B_00030", "B_00060"]
    spec = f"camvid:{write_segnet(tmp_path, frames)}"
    chosen = {
        "only=B": ["B:30-60"],
        "only=A:60-120": ["A:60-120"],
        "only=A:60-120+B": ["A:60-120", "B:30-60"],
        "without=B": ["A:30-300"],
        "without=A:90-150": ["A:30-60", "A:180-300", "B:30-60"],
        "only=A,without=A:30-30+A:300-900": ["A:60-270"],
    }
    for options, expected in chosen.items():
        assert names(open_data(f"{spec},{options}")) == expected, options
    parts = [open_data(f"{spec},{o}") for o in ("only=A:60-120", "without=A:60-120")]
    assert sum(len(s) for part in parts for s in part.sequences) == len(frames)
    assert parts[0].digest != parts[1].digest


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("only=C", "no frame of this split is in C"),
        ("only=A+C:1-2", "no frame of this split is in C:1-2"),
        ("without=A:61-89", "no frame of this split is in A:61-89"),
        ("only=A,without=A", "leave no frame over"),
        ("only=A:60", "only must be SEQ or SEQ:FIRST-LAST"),
        ("only=A:90-60", "only must be SEQ or SEQ:FIRST-LAST"),
        ("without=", "without must be SEQ"),
        ("frames=nowhere", "there is no folder .*nowhere"),
    ],
)
def test_a_choice_that_means_nothing_is_told(tmp_path: Path, options: str, message: str) -> None:
    write_segnet(tmp_path, ["A_00060", "A_00090"])
    with pytest.raises(DataError, match=message):
        open_data(f"camvid:{tmp_path},{options}")


def test_names_that_tell_no_place_are_told(tmp_path: Path) -> None:
    write_segnet(tmp_path, ["A_00060", "street", "A_060"])
    with pytest.raises(DataError, match=r"street.png is not named SEQ_FRAME") as caught:
        open_data(f"camvid:{tmp_path}")
    assert "is the same frame as" in str(caught.value)


def test_the_original_form_becomes_the_11_classes(original: Path) -> None:
    data = open_data(f"camvid:{original}")
    assert names(data) == ["0016E5:60-90", "Seq05VD:30-30"]
    known = [c.name for c in camvid_classes()]
    becomes = np.array([IGNORED if n is None else known.index(n) for n in BECOMES], np.uint8)
    for seed in (0, 1):
        labels = data.sequences[0].labels(seed)
        np.testing.assert_array_equal(labels, becomes[ids(seed, len(ORIGINAL))])


def test_the_32_classes_are_merged_into_ours_once_each() -> None:
    assert set(camvid_places().values()) == set(range(len(camvid_classes())))
    assert len(camvid_places()) == 31  # and Void


def test_the_original_form_takes_lists_of_images(original: Path) -> None:
    (original / "val.txt").write_text("0016E5_00090.png\nSeq05VD_f00030\n")
    assert names(open_data(f"camvid:{original},split=val")) == ["0016E5:90-90", "Seq05VD:30-30"]
    for spec, split in ((f"camvid:{original},split=test", "test"), (f"camvid:{original}", "train")):
        with pytest.raises(DataError, match=f"no list of the split '{split}'"):
            open_data(spec)
    (original / "val.txt").write_text("0016E5_00091.png\n")
    with pytest.raises(DataError, match="names 0016E5_00091, which is not there"):
        open_data(f"camvid:{original},split=val")
    with pytest.raises(DataError, match="labels of the original CamVid are colours"):
        open_data(f"camvid:{original},ignore=3")


def test_video_frames_between_the_labelled_ones_are_their_past(original: Path) -> None:
    for number in range(1, 200):
        write_image(original / "video" / f"0016E5_{number:05d}.png", picture(1000 + number))
    data = open_data(f"camvid:{original}")
    drive, lone = data.sequences
    # a second before the first labelled frame, and nothing behind the last one
    assert (drive.name, drive.video, len(drive)) == ("0016E5:31-90", True, 60)
    assert list(drive.labelled) == [29, 59]
    assert drive.frame_name(29) == "0016E5_00060"
    np.testing.assert_array_equal(drive.image(29), picture(0))  # the labelled still itself
    np.testing.assert_array_equal(drive.image(28), picture(1059))
    assert drive.labels(28) is None
    assert (lone.name, len(lone)) == ("Seq05VD:30-30", 1)
    moved = original.parent / "frames"
    (original / "video").rename(moved)
    assert names(open_data(f"camvid:{original},frames={moved}"))[0] == "0016E5:31-90"
    left_out = open_data(f"camvid:{original},frames={moved},without=0016E5:60-60")
    assert names(left_out)[0] == "0016E5:61-90"
    left_out = open_data(f"camvid:{original},frames={moved},without=0016E5:60-75")
    assert names(left_out)[0] == "0016E5:76-90"


def test_colours_that_the_table_does_not_name_are_told(original: Path) -> None:
    path = original / "LabeledApproved_full" / "0016E5_00090_L.png"
    strange = recoloured(ids(0, 2), {0: (1, 2, 3), 1: (128, 0, 0)})
    write_image(path, strange)
    message = r"00090_L.png holds 1 colours that label_colors.txt does not name: \(1, 2, 3\)"
    with pytest.raises(DataError, match=message):
        open_data(f"camvid:{original}")
    write_image(path, ids(0, 3))
    with pytest.raises(DataError, match="holds L pixels: labels of this kind are colours"):
        open_data(f"camvid:{original}")
    (original / "label_colors.txt").write_text("64 128 64 Animal\n1 2 Archway\n")
    with pytest.raises(DataError, match=r"has no 'R G B name' in line 2: '1 2 Archway'"):
        open_data(f"camvid:{original}")


def test_the_digest_is_that_of_the_files_wherever_they_lie(tmp_path: Path) -> None:
    first = write_segnet(tmp_path / "a", ["A_00060", "A_00090"])
    second = tmp_path / "b" / "deeper"
    shutil.copytree(first, second)
    digest = open_data(f"camvid:{first}").digest
    assert re.fullmatch("[0-9a-f]{64}", digest)
    assert open_data(f"camvid:{second}").digest == digest
    write_image(second / "images" / "train" / "A_00060.png", np.zeros((*SIZE, 3), np.uint8))
    assert open_data(f"camvid:{second}").digest != digest
    shutil.rmtree(second)
    shutil.copytree(first, second)
    for part in ("images", "labels"):
        file = second / part / "train" / "A_00090.png"
        file.rename(file.with_name("A_00120.png"))
    assert open_data(f"camvid:{second}").digest != digest


def test_camvid_is_cut_as_its_notes_say(shared_data: Path) -> None:
    folder = shared_data / "camvid"
    runs = json.loads((folder / "sequences.json").read_text())["runs"]
    for split, video in (("train", False), ("val", True)):
        data = open_data(f"camvid:{folder},split={split}", check=False)
        own = {
            (r["sequence"], r["first"], r["last"], r["frames"]) for r in runs if r["split"] == split
        }
        found = {(*re.split("[:-]", s.name), len(s)) for s in data.sequences}
        assert {(seq, int(a), int(b), n) for seq, a, b, n in found} == own
        assert all(s.video == video for s in data.sequences)


def test_all_of_camvid_is_sound(shared_data: Path) -> None:
    data = open_data(f"camvid:{shared_data / 'camvid'},only=0001TP")
    assert sum(len(s.labelled) for s in data.sequences) == 62
    labels = data.sequences[0].labels(10)
    assert labels is not None
    assert set(np.unique(labels)) <= {*range(11), IGNORED}
