"""Files damaged, missing or changed by others; disks that are full."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stt_core.errors import MediaError, OutputError, ProjectError
from stt_core.labels import UNLABELLED, VOID
from stt_core.project.labelling import LabelEdit
from stt_core.project.store import Project
from tests.core.project.material import (
    CLASSES,
    FRAMES,
    HEIGHT,
    WIDTH,
    all_labels,
    block,
    label_file,
    new_project,
    whole,
    write_images,
    write_video,
)


@pytest.fixture
def folder(project: Project, media_id: str) -> Path:
    """A closed project with labels on frames 0, 1 and 3."""
    for frame in (0, 1, 3):
        project.apply(media_id, frame, (0, 0), whole(frame))
    project.notes.set_review(media_id, 1, "checked")
    project.notes.set_bookmark(media_id, 5, "here")
    project.close()
    return project.folder


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def _sixteen_bits(path: Path) -> None:
    Image.fromarray(np.full((HEIGHT, WIDTH), 300, np.uint16)).save(path)


def _colours(path: Path) -> None:
    Image.new("RGB", (WIDTH, HEIGHT)).save(path)


def _another_size(path: Path) -> None:
    Image.new("L", (WIDTH + 1, HEIGHT)).save(path)


def _unknown_ids(path: Path) -> None:
    Image.new("L", (WIDTH, HEIGHT), 77).save(path)


def _junk(path: Path) -> None:
    path.write_bytes(b"no picture")


DAMAGES = [_truncate, _sixteen_bits, _colours, _another_size, _unknown_ids, _junk]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("found_by", ["look", "check"])
def test_what_is_no_label_map_is_moved_aside_and_the_labels_are_there(
    folder: Path, media_id: str, damage: object, found_by: str
) -> None:
    with Project.open(folder) as project:
        path = label_file(project, media_id, 1)
        damage(path)  # type: ignore[operator]
        foreign = path.read_bytes()
        if found_by == "check":
            assert len(project.check()) == 1
            (finding,) = project.check(repair=True)
            assert "000001.png" in finding.what
            assert finding.done
        np.testing.assert_array_equal(project.labels(media_id, 1), whole(1))
        (said,) = project.recovered
        assert "was moved to" in said
        assert (folder / "aside" / "labels" / media_id / "000001.png").read_bytes() == foreign
        project.flush()
        assert project.check() == ()
    with Image.open(path) as image:
        np.testing.assert_array_equal(np.asarray(image), whole(1))


def test_a_map_saved_by_another_program_becomes_an_edit(folder: Path, media_id: str) -> None:
    painted = whole(9)
    painted[0] = VOID
    Image.fromarray(painted).save(folder / "labels" / media_id / "000001.png")
    with Project.open(folder) as project:
        np.testing.assert_array_equal(project.labels(media_id, 1), painted)
        assert "taken as an edit" in project.recovered[0]
        steps = project.notes.history(media_id, 1)
        assert [s.provenance.action for s in steps] == ["brush", "edited outside"]
        project.undo()
        np.testing.assert_array_equal(project.labels(media_id, 1), whole(1))
        project.flush()
        assert project.check() == ()


def test_a_map_put_where_none_was_becomes_an_edit(folder: Path, media_id: str) -> None:
    for frame in (2, 4):
        Image.fromarray(whole(9)).save(folder / "labels" / media_id / f"00000{frame}.png")
    with Project.open(folder) as project:
        np.testing.assert_array_equal(project.labels(media_id, 2), whole(9))
        assert len(project.check()) == 2  # one is behind in its notes, one was never looked at
        project.check(repair=True)
        assert project.labelled(media_id) == (0, 1, 2, 3, 4)
        assert project.check() == ()


def test_a_change_outside_of_what_is_newer_here_is_kept_aside(
    project: Project, media_id: str
) -> None:
    project.apply(media_id, 1, (0, 0), whole(1))
    project.flush()
    project.apply(media_id, 1, (0, 0), block(2))
    Image.fromarray(whole(9)).save(label_file(project, media_id, 1))
    before = all_labels(project)
    project.check(repair=True)
    assert all_labels(project) == before
    assert any("the project has newer" in s for s in project.recovered)
    assert (project.folder / "aside" / "labels" / media_id / "000001.png").exists()
    assert project.check() == ()


def test_a_locked_frame_takes_no_change_from_outside(project: Project, media_id: str) -> None:
    project.apply(media_id, 1, (0, 0), whole(1))
    project.notes.set_review(media_id, 1, "locked")
    project.close()
    Image.fromarray(whole(9)).save(label_file(project, media_id, 1))
    with Project.open(project.folder) as again:
        np.testing.assert_array_equal(again.labels(media_id, 1), whole(1))
        assert "is locked" in again.recovered[0]


def test_missing_files_are_written_again(folder: Path, media_id: str) -> None:
    shutil.rmtree(folder / "labels")
    with Project.open(folder) as project:
        assert project.labelled(media_id) == (0, 1, 3)
        np.testing.assert_array_equal(project.labels(media_id, 3), whole(3))
        assert "was missing" in project.recovered[0]
        project.check(repair=True)
        assert project.check() == ()
    assert len(list((folder / "labels" / media_id).iterdir())) == 3


def test_a_changed_byte_with_old_size_and_time_is_found_by_check(
    folder: Path, media_id: str
) -> None:
    path = folder / "labels" / media_id / "000003.png"
    stat = path.stat()
    data = bytearray(path.read_bytes())
    data[-20] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    with Project.open(folder) as project:
        assert len(project.check()) == 1
        project.check(repair=True)
        np.testing.assert_array_equal(project.labels(media_id, 3), whole(3))
        assert project.check() == ()


@pytest.mark.parametrize("text", [None, "", "[]", "{", '{"version": 2}', '{"version": "2"}'])
def test_project_json_is_written_again_from_the_journal(folder: Path, text: str | None) -> None:
    before = (folder / "project.json").read_text()
    (folder / "project.json").unlink()
    if text is not None:
        (folder / "project.json").write_text(text)
    with Project.open(folder) as project:
        assert "written again from the journal" in project.recovered[0]
        assert project.classes == CLASSES
    assert (folder / "project.json").read_text() == before
    if text is not None:
        assert (folder / "aside" / "project.json").read_text() == text


def test_project_json_changed_by_hand_is_set_aside(folder: Path) -> None:
    before = (folder / "project.json").read_text()
    (folder / "project.json").write_text(before.replace("wall", "ceiling"))
    with Project.open(folder) as project:
        assert "changed outside" in project.recovered[0]
        assert project.classes == CLASSES
    assert (folder / "project.json").read_text() == before
    assert "ceiling" in (folder / "aside" / "project.json").read_text()


def test_project_json_behind_the_journal_is_brought_up_quietly(
    project: Project, media_id: str
) -> None:
    old = (project.folder / "project.json").read_text()
    project.change_class(0, name="ground")
    project.close()
    (project.folder / "project.json").write_text(old)
    with Project.open(project.folder) as again:
        assert again.recovered == ()
        assert again.classes[0].name == "ground"
    assert "ground" in (project.folder / "project.json").read_text()


def _not_a_database(path: Path) -> None:
    path.write_bytes(b"junk" * 4000)


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _torn(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[100:4096] = bytes(3996)  # the page with the schema
    path.write_bytes(data)


@pytest.mark.parametrize("kind", ["video", "folder"])
@pytest.mark.parametrize("damage", [_not_a_database, _empty, _torn, Path.unlink])
def test_a_damaged_journal_is_made_anew_from_the_label_files(
    tmp_path: Path, kind: str, damage: object
) -> None:
    media = (
        write_video(tmp_path / "v.avi") if kind == "video" else write_images(tmp_path / "i", FRAMES)
    )
    project, media_id = new_project(tmp_path / "p", media)
    project.apply(media_id, 1, (0, 0), whole(1))
    project.apply(media_id, 4, (2, 2), block(VOID))
    before = all_labels(project)
    project.close()
    journal = tmp_path / "p" / "journal.sqlite"
    damage(journal)  # type: ignore[operator]
    broken = journal.read_bytes() if journal.exists() else None
    if kind == "folder":  # shifts every index by one
        shutil.copy(tmp_path / "i" / "0.png", tmp_path / "i" / "00.png")
        with Image.open(tmp_path / "i" / "0.png") as image:
            image.transpose(Image.Transpose.FLIP_TOP_BOTTOM).save(tmp_path / "i" / "0a.png")
    with Project.open(tmp_path / "p") as again:
        assert "made anew from the label files" in again.recovered[0]
        again.media_path(media_id)  # looks into the folder
        shift = again.media[0].frames - FRAMES
        assert all_labels(again) == {(m, f + shift): v for (m, f), v in before.items()}
        assert not again.can_undo()
        again.apply(media_id, 1 + shift, (0, 0), block(2))
        again.undo()
        again.check(repair=True)
        assert again.check() == ()
    if broken:
        kept = tmp_path / "p" / "backups" / "damaged-journal" / "journal.sqlite"
        assert kept.read_bytes() == broken
    with Project.open(tmp_path / "p") as once_more:
        assert once_more.recovered == ()


def test_review_states_and_bookmarks_are_saved_from_a_damaged_journal(
    folder: Path, media_id: str
) -> None:
    journal = folder / "journal.sqlite"
    with closing(sqlite3.connect(journal)) as database:
        (root,) = database.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'edits'"
        ).fetchone()
        (size,) = database.execute("PRAGMA page_size").fetchone()
    data = bytearray(journal.read_bytes())
    data[(root - 1) * size : root * size] = b"\xff" * size
    journal.write_bytes(data)
    with Project.open(folder) as project:
        with pytest.raises(ProjectError, match=r"is damaged .* rebuilt from the label files"):
            project.labels(media_id, 0)
        assert "is damaged" in project.check()[0].what
        first = project.check(repair=True)[0]
        assert "made anew from the label files" in first.done
        np.testing.assert_array_equal(project.labels(media_id, 0), whole(0))
        assert project.notes.review(media_id, 1) == "checked"
        assert project.notes.bookmarks() == ((media_id, 5, "here"),)
        project.flush()
        assert project.check() == ()


def test_edits_that_cannot_be_read_are_replaced_by_the_label_file(
    folder: Path, media_id: str
) -> None:
    with closing(sqlite3.connect(folder / "journal.sqlite")) as database, database:
        database.execute("UPDATE edits SET after = x'00' WHERE step = 2")
    with Project.open(folder) as project:
        with pytest.raises(ProjectError, match="labels in the journal cannot be read"):
            project.labels(media_id, 1)
        np.testing.assert_array_equal(project.labels(media_id, 0), whole(0))
        (finding,) = project.check(repair=True)
        assert "taken from the label file" in finding.done
        np.testing.assert_array_equal(project.labels(media_id, 1), whole(1))
        project.flush()
        assert project.check() == ()


def test_neither_journal_nor_manifest_is_told(folder: Path) -> None:
    (folder / "project.json").write_text("{")
    (folder / "journal.sqlite").write_bytes(b"junk" * 4000)
    with pytest.raises(ProjectError, match="is damaged"):
        Project.open(folder)
    (folder / "journal.sqlite").unlink()
    with pytest.raises(ProjectError, match="cannot be read as a project file"):
        Project.open(folder)
    (folder / "project.json").unlink()
    with pytest.raises(ProjectError, match=r"not a project: it holds no project\.json"):
        Project.open(folder)


def test_a_project_is_not_made_over_another(folder: Path, media_id: str) -> None:
    with pytest.raises(ProjectError, match="is a project already"):
        Project.create(folder, CLASSES)
    with Project.open(folder) as project:
        assert project.labelled(media_id) == (0, 1, 3)


def test_after_a_crash_half_written_files_are_removed(folder: Path, media_id: str) -> None:
    strays = [
        folder / ".project.abc.json",
        folder / ".journal.sqlite.new",
        folder / "labels" / media_id / ".000001.x1.png",
    ]
    for stray in strays:
        stray.write_bytes(b"half")
    holder = {"pid": 1, "host": "there", "user": "anna", "since": "then"}
    (folder / "writer.lock").write_text(json.dumps(holder))
    with Project.open(folder) as project:
        assert "anna on there (process 1, since then)" in project.recovered[0]
        assert "3 half-written files" in project.recovered[0]
    assert not any(stray.exists() for stray in strays)


def _paint_on(project: Project, media_id: str, shown: dict[tuple[str, int], bytes]) -> None:
    """Paint frame after frame; `shown` follows."""
    for frame in range(1, FRAMES):
        project.apply(media_id, frame, (0, 0), whole(frame))
        shown |= all_labels(project)


@contextmanager
def _full_disk(*files: Path) -> Iterator[None]:
    """No file may grow beyond the largest of these."""
    import resource  # POSIX only

    room = max(file.stat().st_size for file in files if file.exists())
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.skipif(sys.platform == "win32", reason="limits of file sizes are POSIX")
def test_a_full_disk_loses_nothing(project: Project, media_id: str) -> None:
    project.apply(media_id, 0, (0, 0), whole(0))
    before = all_labels(project)
    log = project.folder / "journal.sqlite-wal"
    with _full_disk(log), pytest.raises(ProjectError, match="Nothing that was saved is lost"):
        _paint_on(project, media_id, before)
    assert all_labels(project) == before
    project.apply(media_id, 5, (0, 0), block(1))
    project.undo()
    assert all_labels(project) == before
    project.close()
    with Project.open(project.folder) as again:
        assert all_labels(again) == before


def test_a_journal_that_may_not_grow_says_that_the_disk_is_full(
    project: Project, media_id: str
) -> None:
    project.apply(media_id, 0, (0, 0), whole(0))
    before = all_labels(project)
    connection = project._journal.connection  # the limit belongs to a connection
    connection.execute("PRAGMA max_page_count = 1")
    with pytest.raises(ProjectError, match=r"disk is full\. Free some space"):
        _paint_on(project, media_id, before)
    assert all_labels(project) == before
    connection.execute("PRAGMA max_page_count = 1000000")
    project.apply(media_id, 1, (0, 0), whole(7))
    np.testing.assert_array_equal(project.labels(media_id, 1), whole(7))


def test_a_label_file_that_cannot_be_written_is_written_later(
    project: Project, media_id: str
) -> None:
    project.apply(media_id, 0, (0, 0), whole(0))
    (project.folder / "labels").write_text("in the way")
    with pytest.raises(OutputError, match="cannot write"):
        project.flush()
    with pytest.raises(OutputError, match="cannot write"):
        project.close()
    (project.folder / "labels").unlink()
    with Project.open(project.folder) as again:
        np.testing.assert_array_equal(again.labels(media_id, 0), whole(0))
        assert again.pending() == 1
        again.flush()
        assert again.check() == ()


def test_a_map_without_labels_has_no_file(project: Project, media_id: str) -> None:
    project.apply(media_id, 0, (0, 0), whole(0))
    project.flush()
    project.apply(media_id, 0, (0, 0), block(UNLABELLED, HEIGHT, WIDTH))
    project.flush()
    assert not label_file(project, media_id, 0).exists()
    assert project.labelled(media_id) == ()
    assert project.check() == ()


def test_a_map_saved_by_another_program_meanwhile_becomes_a_step(
    project: Project, media_id: str
) -> None:
    project.apply(media_id, 0, (0, 0), block(1))
    project.flush()
    foreign = whole(9)
    Image.fromarray(foreign).save(label_file(project, media_id, 0))
    project.apply(media_id, 0, (2, 2), block(2))
    project.flush()
    expected = foreign.copy()
    expected[2:7, 2:9] = 2
    np.testing.assert_array_equal(project.labels(media_id, 0), expected)
    assert any("taken as an edit" in said for said in project.recovered)
    project.undo()
    np.testing.assert_array_equal(project.labels(media_id, 0), foreign)
    project.undo()
    np.testing.assert_array_equal(project.labels(media_id, 0)[:5, :7], block(1))  # type: ignore[index]
    project.flush()
    assert project.check() == ()


@pytest.mark.parametrize("several", [False, True])
def test_a_map_saved_by_another_program_just_before_ours_is_kept_aside(
    project: Project, media_id: str, several: bool
) -> None:
    project.apply(media_id, 0, (0, 0), block(1))
    project.flush()
    if several:
        Image.fromarray(whole(9)).save(label_file(project, media_id, 0))
        project.apply_many([LabelEdit(media_id, 0, (0, 0), block(2))])
    else:
        project.apply(media_id, 0, (0, 0), block(2))
        Image.fromarray(whole(9)).save(label_file(project, media_id, 0))
    project.flush()
    (said,) = project.recovered
    assert "was moved to" in said
    kept = project.folder / "aside" / "labels" / media_id / "000000.png"
    with Image.open(kept) as image:
        np.testing.assert_array_equal(np.asarray(image), whole(9))
    assert project.check() == ()
    np.testing.assert_array_equal(project.labels(media_id, 0)[:5, :7], block(2))  # type: ignore[index]


@pytest.mark.parametrize("junk", [b"\xff", b"\x00", b"stt-studio "])
def test_any_page_of_the_journal_may_be_overwritten(
    tmp_path: Path, clip: Path, junk: bytes
) -> None:
    project, media_id = new_project(tmp_path / "p", clip)
    with project:
        for frame in range(FRAMES):
            project.apply(media_id, frame, (0, 0), whole(frame))
    before = {(media_id, frame): whole(frame).tobytes() for frame in range(FRAMES)}
    journal = tmp_path / "p" / "journal.sqlite"
    with closing(sqlite3.connect(journal)) as database:
        (size,) = database.execute("PRAGMA page_size").fetchone()
    sound = journal.read_bytes()
    for page in range(len(sound) // size):
        data = bytearray(sound)
        data[page * size : (page + 1) * size] = (junk * size)[:size]
        journal.write_bytes(data)
        with Project.open(tmp_path / "p") as again:
            again.check(repair=True)
            again.flush()
            assert all_labels(again) == before, page
            assert again.check() == (), page
            assert again.media[0].name == clip.name
        with Project.open(tmp_path / "p") as once_more:
            assert once_more.recovered == (), page


@pytest.mark.skipif(sys.platform == "win32", reason="what is open cannot be deleted there")
@pytest.mark.parametrize("how", ["delete", "move", "replace"])
def test_a_project_that_is_gone_takes_no_strokes(
    project: Project, media_id: str, tmp_path: Path, how: str
) -> None:
    project.apply(media_id, 0, (0, 0), block(1))
    project.flush()
    if how == "delete":
        shutil.rmtree(project.folder)
    else:
        project.folder.rename(tmp_path / "elsewhere")
    if how == "replace":
        shutil.copytree(tmp_path / "elsewhere", project.folder)
    with pytest.raises(ProjectError, match="deleted, moved or replaced while it was open"):
        project.apply(media_id, 1, (0, 0), block(1))
    project.close()
    assert project.folder.exists() == (how == "replace")
    if how != "delete":
        with Project.open(tmp_path / "elsewhere") as kept:
            assert kept.labelled(media_id) == (0,)


def test_what_is_strange_among_labels_is_moved_aside_by_repair(
    project: Project, media_id: str
) -> None:
    project.apply(media_id, 0, (0, 0), block(1))
    project.flush()
    labels = project.folder / "labels"
    strange = [labels / media_id / "notes.txt", labels / media_id / "000999.png", labels / "other"]
    strange[0].write_text("mine")
    strange[1].write_bytes(b"mine")
    strange[2].mkdir()
    (strange[2] / "000000.png").write_bytes(b"mine")
    assert len(project.check()) == 3
    assert all(path.exists() for path in strange)
    found = project.check(repair=True)
    assert all("It was moved to" in finding.done for finding in found)
    assert project.check() == ()
    aside = project.folder / "aside" / "labels"
    assert (aside / media_id / "notes.txt").read_text() == "mine"
    assert (aside / media_id / "000999.png").read_bytes() == b"mine"
    assert (aside / "other" / "000000.png").read_bytes() == b"mine"
    assert project.labelled(media_id) == (0,)


def test_a_project_that_came_to_nothing_leaves_nothing(tmp_path: Path, clip: Path) -> None:
    with pytest.raises(ProjectError, match="in the project already"):
        Project.create(tmp_path / "a" / "b", CLASSES, [clip, clip])
    assert not (tmp_path / "a").exists()
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "mine.txt").write_text("kept")
    with pytest.raises(MediaError):
        Project.create(tmp_path / "c", CLASSES, [clip, tmp_path / "none.mp4"])
    assert [p.name for p in (tmp_path / "c").iterdir()] == ["mine.txt"]
    Project.create(tmp_path / "c", CLASSES, [clip]).close()
