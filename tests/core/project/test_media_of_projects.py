"""Media that move, are renamed, or are named badly; image folders that change."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stt_core.errors import LabelError, MediaError, ProjectError
from stt_core.media.source import media_hash, open_media
from stt_core.project.manifest import MediaEntry
from stt_core.project.media import with_prefix
from stt_core.project.store import Project
from tests.core.project.material import (
    CLASSES,
    FRAMES,
    HEIGHT,
    WIDTH,
    all_labels,
    block,
    new_project,
    whole,
    write_image,
    write_images,
    write_video,
)

NAMES = [
    "two words.mp4",
    "emoji \N{PILE OF POO} \N{SNOWMAN}.mp4",
    "ü" * 90 + ".mp4",
    "n" * 196 + ".mp4",
    "CON.mp4",
    "aux.mp4",
    "trailing dot..mp4",
    "-rf.mp4",
    "100% #1?.mp4",
    "'; DROP TABLE media; --.mp4",
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not allow these names at all")
def test_any_name_of_a_medium_works(tmp_path: Path, clip: Path, name: str) -> None:
    media = tmp_path / name
    shutil.copy(clip, media)
    project, media_id = new_project(tmp_path / "p", media)
    with project:
        project.apply(media_id, 2, (0, 0), block(1))
        assert project.media[0].name == name
        project.flush()
        assert project.check() == ()
    with Project.open(tmp_path / "p") as again:
        assert again.media_path(media_id) == media
        assert again.labelled(media_id) == (2,)
    assert all(name not in str(p.relative_to(tmp_path)) for p in (tmp_path / "p").rglob("*"))


@pytest.mark.parametrize("name", [n.removesuffix(".mp4") for n in NAMES])
@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not allow these names at all")
def test_any_name_of_an_image_and_of_the_project_works(tmp_path: Path, name: str) -> None:
    write_image(tmp_path / "i" / f"{name}.png", 1)
    write_image(tmp_path / "i" / f"{name[:-1]}_.png", 2)
    project, media_id = new_project(tmp_path / name, tmp_path / "i")
    with project:
        project.apply(media_id, 1, (0, 0), block(1))
        project.flush()
        assert project.check() == ()
    with Project.open(tmp_path / name) as again:
        assert again.recovered == ()
        assert again.labelled(media_id) == (1,)


@pytest.mark.skipif(sys.platform != "linux", reason="others have no such names")
def test_a_name_that_is_not_unicode_is_told(tmp_path: Path, clip: Path) -> None:
    bad = os.fsdecode(os.fsencode(tmp_path) + b"/\xff.mp4")
    shutil.copy(clip, bad)
    with (
        Project.create(tmp_path / "p", CLASSES) as project,
        pytest.raises(ProjectError, match="not Unicode"),
    ):
        project.add_media(bad)


def test_nothing_is_written_beside_the_media(tmp_path: Path) -> None:
    media = write_images(tmp_path / "media" / "i")
    video = write_video(tmp_path / "media" / "v.avi")
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "media").rglob("*")}
    project, media_id = new_project(tmp_path / "p", media, video)
    project.apply(media_id, 0, (0, 0), block(1))
    project.close()
    Project.open(tmp_path / "p").close()
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "media").rglob("*")} == before


def test_project_and_media_move_together_or_apart(tmp_path: Path, clip: Path) -> None:
    (tmp_path / "a" / "media").mkdir(parents=True)
    shutil.copy(clip, tmp_path / "a" / "media" / "v.mp4")
    project, media_id = new_project(tmp_path / "a" / "p", tmp_path / "a" / "media" / "v.mp4")
    assert project.media[0].relative == "../media/v.mp4"
    project.close()
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    with Project.open(tmp_path / "b" / "p") as together:
        assert together.media_path(media_id) == tmp_path / "b" / "media" / "v.mp4"
    shutil.move(tmp_path / "a" / "p", tmp_path / "elsewhere")
    with Project.open(tmp_path / "elsewhere") as apart:
        assert apart.media_path(media_id) == tmp_path / "a" / "media" / "v.mp4"


def test_a_missing_medium_stops_nothing_and_is_found_by_content(tmp_path: Path, clip: Path) -> None:
    first = Path(shutil.copy(clip, tmp_path / "v.mp4"))
    images = write_images(tmp_path / "i")
    project, media_id = new_project(tmp_path / "p", first, images)
    folder_id = project.media[1].id
    project.apply(media_id, 1, (0, 0), whole(1))
    project.apply(folder_id, 2, (0, 0), whole(2))
    before = all_labels(project)
    project.close()
    deep = tmp_path / "archive" / "deep" / "down"
    deep.mkdir(parents=True)
    write_video(deep / "another.mp4", seed=5)
    write_images(deep / "other images", 5)
    shutil.move(first, deep / "renamed.mp4")
    shutil.move(images, deep / "renamed images")
    with Project.open(tmp_path / "p") as again:
        assert [e.id for e in again.missing_media()] == [media_id, folder_id]
        assert again.media_path(media_id) is None
        assert all_labels(again) == before
        again.apply(media_id, 3, (0, 0), block(1))
        again.undo()
        assert len([f for f in again.check() if "is missing" in f.what]) == 2
        with pytest.raises(ProjectError, match="Relink it first"):
            again.video(media_id)
        found = again.relink_below(tmp_path / "archive")
        assert [r.path for r in found] == [deep / "renamed.mp4", deep / "renamed images"]
        assert again.missing_media() == ()
        assert all_labels(again) == before
    with Project.open(tmp_path / "p") as once_more:
        assert once_more.media_path(media_id) == deep / "renamed.mp4"
        assert once_more.relink_below(tmp_path) == ()


def test_media_are_relinked_by_prefix_if_they_are_the_same(tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.mkdir()
    media = [write_video(old / f"{i}.avi", seed=i) for i in range(3)]
    media.append(write_video(tmp_path / "far.avi", seed=9))
    project, _ = new_project(tmp_path / "p", *media)
    project.close()
    shutil.move(old, tmp_path / "new")
    (tmp_path / "far.avi").unlink()
    write_video(tmp_path / "new" / "1.avi", seed=7)
    (tmp_path / "new" / "2.avi").unlink()
    with Project.open(tmp_path / "p") as again:
        results = again.relink_prefix(str(old), tmp_path / "new")
        assert [r.path for r in results] == [tmp_path / "new" / "0.avi", None, None, None]
        assert "another content" in results[1].message
        assert "does not exist" in results[2].message
        assert "is not below" in results[3].message
        assert len(again.missing_media()) == 3


@pytest.mark.parametrize(
    ("stored", "old", "relative"),
    [
        ("/a/b/c.mp4", "/a", "b/c.mp4"),
        ("/a/b/c.mp4", "/a/", "b/c.mp4"),
        ("/ab/c.mp4", "/a", None),
        ("/a/c.mp4", "", None),
        (r"D:\films\x\c.mp4", r"D:\films", "x/c.mp4"),
        (r"D:\films\x\c.mp4", "D:/films/", "x/c.mp4"),
        (r"\\server\share\c.mp4", r"\\server\share", "c.mp4"),
        (r"/odd\name/c.mp4", r"/odd\name", "c.mp4"),
    ],
)
def test_prefixes_of_all_systems_are_understood(
    stored: str, old: str, relative: str | None
) -> None:
    entry = MediaEntry(
        id="0" * 12, kind="video", relative=None, absolute=stored,
        bytes=0, hash="", frames=1, width=1, height=1,
    )  # fmt: skip
    found = with_prefix(entry, old, Path("/new"))
    assert found == (None if relative is None else Path("/new") / relative)


def test_another_medium_is_not_taken_for_a_missing_one(project: Project, media_id: str) -> None:
    other = write_video(project.folder.parent / "other.avi", seed=3)
    with pytest.raises(ProjectError, match="its content differs"):
        project.relink(media_id, other)
    with pytest.raises(MediaError):
        project.relink(media_id, other.with_name("none.avi"))


def test_the_same_content_is_not_added_twice(project: Project, clip: Path) -> None:
    with pytest.raises(ProjectError, match="is in the project already"):
        project.add_media(shutil.copy(clip, project.folder.parent / "copy.mp4"))
    with pytest.raises(MediaError):
        project.add_media(project.folder / "nothing.mp4")
    assert len(project.media) == 1


def test_a_single_image_is_a_medium(tmp_path: Path) -> None:
    project, media_id = new_project(tmp_path / "p", write_image(tmp_path / "one.png", 1))
    with project:
        project.apply(media_id, 0, (0, 0), block(1))
        project.flush()
        assert project.check() == ()


def _by_content(project: Project, media_id: str) -> dict[str, bytes]:
    """The labels of a folder's images by what is in the image."""
    path = project.media_path(media_id)
    assert path is not None
    files = sorted(path.iterdir(), key=lambda p: (len(p.name), p.name))
    with open_media(path) as media:
        names = [media[i].name for i in range(len(media))]
    assert set(names) == {f.name for f in files}
    return {
        media_hash(path / names[i]): project.labels(media_id, i).tobytes()  # type: ignore[union-attr]
        for i in project.labelled(media_id)
    }


_act = st.tuples(
    st.sampled_from(["insert", "delete", "rename", "swap", "renumber"]),
    st.integers(0, 30),
    st.integers(0, 30),
)


@given(st.lists(st.lists(_act, min_size=1, max_size=3), min_size=1, max_size=3))
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_labels_follow_their_image_whatever_happens_to_the_folder(
    tmp_path_factory: pytest.TempPathFactory, rounds: list[list[tuple[str, int, int]]]
) -> None:
    place = tmp_path_factory.mktemp("f")
    images = write_images(place / "i", 5)
    project, media_id = new_project(place / "p", images)
    for frame in (0, 2, 3):
        project.apply(media_id, frame, (0, 0), whole(frame))
    expected = _by_content(project, media_id)
    project.close()
    seed = 100
    for acts in rounds:
        for kind, first, second in acts:
            files = sorted(images.iterdir())
            a, b = files[first % len(files)], files[second % len(files)]
            seed += 1
            if kind == "insert":
                write_image(images / f"{first}_{seed}.png", seed)
            elif kind == "delete" and len(files) > 2:
                expected.pop(media_hash(a), None)
                a.unlink()
            elif kind == "rename":
                a.rename(images / f"{second}_{seed}.png")
            elif kind == "swap" and a != b:
                a.rename(images / "t")
                b.rename(a)
                (images / "t").rename(b)
            elif kind == "renumber":
                for file in files:
                    file.rename(file.with_suffix(".t"))
                for i, file in enumerate(files):
                    file.with_suffix(".t").rename(images / f"{i + first:03d}.png")
        with Project.open(place / "p") as project:
            assert _by_content(project, media_id) == expected
            project.flush()
            project.check(repair=True)
            assert _by_content(project, media_id) == expected
            assert project.check() == ()
            assert project.media[0].hash == media_hash(images)
    shutil.rmtree(place)


def test_labels_of_an_image_that_is_gone_come_back_with_it(tmp_path: Path) -> None:
    images = write_images(tmp_path / "i")
    project, media_id = new_project(tmp_path / "p", images)
    project.apply(media_id, 1, (0, 0), whole(1))
    project.notes.set_bookmark(media_id, 1, "here")
    project.close()
    (images / "1.png").rename(tmp_path / "away.png")
    with Project.open(tmp_path / "p") as without:
        assert without.labelled(media_id) == ()
        assert "1.png" in without.recovered[0]
        assert without.notes.bookmarks() == ()
        write_image(images / "1.png", 50)  # another picture under the same name
        without.refresh_media(media_id)
        assert without.labels(media_id, 1) is None
    (tmp_path / "away.png").rename(images / "3a.png")
    with Project.open(tmp_path / "p") as back:
        np.testing.assert_array_equal(back.labels(media_id, 4), whole(1))
        assert back.notes.bookmarks() == ((media_id, 4, "here"),)


def test_labels_stay_with_an_image_whose_content_was_replaced(tmp_path: Path) -> None:
    images = write_images(tmp_path / "i")
    project, media_id = new_project(tmp_path / "p", images)
    project.apply(media_id, 1, (0, 0), whole(1))
    project.close()
    write_image(images / "1.png", 77)
    with Project.open(tmp_path / "p") as again:
        # A folder does not tell that a file in it was written anew; a check reads them all.
        again.check(repair=True)
        np.testing.assert_array_equal(again.labels(media_id, 1), whole(1))


def test_a_video_replaced_under_its_name_is_found_by_check(tmp_path: Path) -> None:
    video = write_video(tmp_path / "v.avi")
    project, media_id = new_project(tmp_path / "p", video)
    with project:
        project.apply(media_id, 1, (0, 0), block(1))
        project.flush()
        write_video(video, seed=1, frames=FRAMES - 1)
        said = " ".join(f.what for f in project.check())
        assert "its content differs" in said
        assert f"{FRAMES - 1} frames" in said
        assert project.labelled(media_id) == (1,)


def test_maps_of_a_wrong_size_do_not_fit(project: Project, media_id: str) -> None:
    with pytest.raises(ValueError, match="must lie in the frame"):
        project.apply(media_id, 0, (0, 0), block(0, HEIGHT + 1, WIDTH))
    with pytest.raises(LabelError):
        Project.create(project.folder.parent / "q", [*CLASSES, CLASSES[0]])
