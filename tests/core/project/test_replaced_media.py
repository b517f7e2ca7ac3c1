"""Media whose content was replaced in its place: told, never taken for what they were."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stt_core.errors import ProjectError
from stt_core.media.source import media_hash
from stt_core.project.store import Project
from stt_core.workflow.inspecting import project_facts
from stt_core.workflow.opening import (
    find_medium,
    image_stems,
    open_to_read,
    present_path,
)
from stt_core.workflow.stored import find_predictions, need_predictions
from tests.core.project.material import (
    CLASSES,
    FRAMES,
    HEIGHT,
    WIDTH,
    all_labels,
    block,
    new_project,
    whole,
    write_video,
)
from tests.core.workflow import material

LONG_AGO = 1_600_000_000_000_000_000


def _settle(path: Path) -> None:
    """As if nobody had written there for long, but for the time of the last change of that."""
    os.utime(path, ns=(LONG_AGO, LONG_AGO))


def _images(folder: Path, count: int = 4, *, size: tuple[int, int] = (HEIGHT, WIDTH)) -> Path:
    """Of a format whose files are all of one size."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        _write(folder / f"{i}.bmp", i, size)
    return folder


def _write(path: Path, seed: int, size: tuple[int, int] = (HEIGHT, WIDTH)) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """With a project p that has labels and predictions of v.mp4, which was replaced since."""
    video = material.write_video(tmp_path / "v.mp4")
    with Project.create(tmp_path / "p", material.CLASSES, [video]) as project:
        (entry,) = project.media
        project.apply(entry.id, 2, (0, 0), material.whole(2))
        project.flush()
        material.predict(project, entry)
    video.rename(tmp_path / "kept.mp4")
    material.write_video(video, seed=5)
    return tmp_path


@pytest.mark.parametrize("write", [True, False])
def test_a_replaced_video_is_told_on_opening(place: Path, write: bool) -> None:
    with Project.open(place / "p", write=write) as project:
        (entry,) = project.media
        (said,) = project.recovered
        assert f"{place / 'v.mp4'} is not what it was" in said
        assert "its content differs" in said
        assert project.media_path(entry.id) is None
        assert project.replaced(entry.id) == place / "v.mp4"
        assert project.missing_media() == (entry,)


def test_predictions_of_a_replaced_video_are_stale(place: Path) -> None:
    with open_to_read(place / "p") as project:
        (entry,) = project.media
        (found,) = project_facts(project)["predictions"]  # type: ignore[misc]
        assert (found["media"], found["stale"]) == (None, ["media"])
        reader, told = find_predictions(project, entry)
        assert reader is None
        assert "its content differs" in told[0]
        for use in (need_predictions, present_path, image_stems):
            with pytest.raises(ProjectError, match="its content differs"):
                use(project, entry)
        with pytest.raises(ProjectError, match="its content differs"):
            project.video(entry.id)


def test_labels_of_a_replaced_video_are_kept_and_cannot_be_changed(place: Path) -> None:
    with Project.open(place / "p") as project:
        (entry,) = project.media
        with pytest.raises(ProjectError, match="its content differs"):
            project.apply(entry.id, 3, (0, 0), block(1))
        np.testing.assert_array_equal(project.labels(entry.id, 2), material.whole(2))
        (found,) = project.relink_below(place)
        assert found.path == place / "kept.mp4"
        assert project.apply(entry.id, 3, (0, 0), block(1)) is not None
        assert find_predictions(project, entry)[0] is not None
    with Project.open(place / "p") as again:
        assert again.recovered == ()
        assert again.check(repair=True) == ()


def test_a_video_replaced_while_the_project_is_open_takes_no_labels(tmp_path: Path) -> None:
    video = write_video(tmp_path / "v.avi")
    project, media_id = new_project(tmp_path / "p", video)
    with project:
        project.apply(media_id, 1, (0, 0), block(1))
        os.replace(write_video(tmp_path / "other.avi", seed=3), video)
        with pytest.raises(ProjectError, match="its content differs"):
            project.apply(media_id, 1, (0, 0), block(2))
        np.testing.assert_array_equal(project.labels(media_id, 1)[:5, :7], block(1))  # type: ignore[index]


def test_the_new_content_is_taken_when_a_person_says_so(place: Path) -> None:
    with Project.open(place / "p") as project:
        (entry,) = project.media
        taken = project.accept_media(entry.id)
        assert taken.hash == media_hash(place / "v.mp4") != entry.hash
        assert project.problem(entry.id) == ""
        assert project.apply(entry.id, 3, (0, 0), block(1)) is not None
        assert find_predictions(project, taken) == (None, ())
        np.testing.assert_array_equal(project.labels(entry.id, 2), material.whole(2))
        assert project.accept_media(entry.id) == taken
    with Project.open(place / "p") as again:
        assert again.recovered == ()
        assert again.media == (taken,)


@pytest.mark.parametrize(("frames", "size"), [(2, (HEIGHT, WIDTH)), (FRAMES, (HEIGHT + 8, WIDTH))])
def test_content_that_labels_do_not_fit_is_not_taken(
    tmp_path: Path, frames: int, size: tuple[int, int]
) -> None:
    video = write_video(tmp_path / "v.avi")
    project, media_id = new_project(tmp_path / "p", video)
    with project:
        project.apply(media_id, 4, (0, 0), whole(4))
        before = all_labels(project)
        material.write_clip(video, material.images(frames, size, 8))
        with pytest.raises(ProjectError, match=r"up to frame 4, .* Add it as another medium"):
            project.accept_media(media_id)
        assert all_labels(project) == before
        video.unlink()
        with pytest.raises(ProjectError, match="is missing"):
            project.accept_media(media_id)


def test_a_video_that_was_only_touched_or_moved_back_is_itself(tmp_path: Path) -> None:
    video = write_video(tmp_path / "v.avi")
    project, media_id = new_project(tmp_path / "p", video)
    project.close()
    shutil.copy(video, tmp_path / "copy.avi")
    os.replace(tmp_path / "copy.avi", video)
    _settle(video)
    for _ in range(2):
        with Project.open(tmp_path / "p") as again:
            assert again.recovered == ()
            assert again.media_path(media_id) == video


def test_opening_reads_no_medium_that_looks_as_it_did(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    video = write_video(tmp_path / "v.avi")
    stat = video.stat()
    later = max(stat.st_mtime_ns, stat.st_ctime_ns) + 60 * 10**9
    monkeypatch.setattr("time.time_ns", lambda: later)  # a minute later nothing is in flux
    project, _ = new_project(tmp_path / "p", video)
    project.close()
    read: list[Path] = []
    plain = Path.open

    def watched(path: Path, *words: object, **more: object) -> object:
        read.append(path)
        return plain(path, *words, **more)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", watched)
    Project.open(tmp_path / "p").close()
    assert video not in read
    os.utime(video, ns=(LONG_AGO, LONG_AGO))
    Project.open(tmp_path / "p").close()
    assert video in read


def test_an_image_rewritten_at_its_size_is_noticed(tmp_path: Path) -> None:
    images = _images(tmp_path / "i", material.FRAMES, size=(material.HEIGHT, material.WIDTH))
    with Project.create(tmp_path / "p", CLASSES, [images]) as project:
        (entry,) = project.media
        project.apply(entry.id, 1, (0, 0), material.whole(1))
        project.flush()
        material.predict(project, entry)
    for _ in range(2):
        with open_to_read(tmp_path / "p") as before:
            assert find_predictions(before, before.media[0])[0] is not None
    folder_time = images.stat().st_mtime_ns
    size = (images / "1.bmp").stat().st_size
    _write(images / "1.bmp", 99, (material.HEIGHT, material.WIDTH))
    assert (images / "1.bmp").stat().st_size == size
    assert images.stat().st_mtime_ns == folder_time
    with open_to_read(tmp_path / "p") as project:
        (entry,) = project.media
        assert any("1 images have another content" in said for said in project.recovered)
        assert find_predictions(project, entry) == (None, ())
        (found,) = project_facts(project)["predictions"]  # type: ignore[misc]
        assert found["stale"] == ["media"]
        assert present_path(project, entry) == images
        np.testing.assert_array_equal(project.labels(entry.id, 1), material.whole(1))
        assert entry.hash == media_hash(images)


def test_images_rewritten_long_after_they_were_added_are_followed(tmp_path: Path) -> None:
    """Nothing of the folder itself changes, and sizes do."""
    images = material.write_images(tmp_path / "i", ("0.png", "1.png"))
    for path in (*images.iterdir(), images):
        _settle(path)
    with Project.create(tmp_path / "p", CLASSES, [images]) as project:
        (entry,) = project.media
    before = images.stat().st_mtime_ns
    with (images / "0.png").open("ab") as file:
        file.write(b"behind the end")
    assert images.stat().st_mtime_ns == before
    with open_to_read(tmp_path / "p") as project:
        (now,) = project.media
        assert present_path(project, now) == images
        assert now.hash == media_hash(images) != entry.hash
    with open_to_read(tmp_path / "p") as again:
        assert again.recovered == ()


def test_changed_images_of_a_project_that_is_open_elsewhere_are_not_used(tmp_path: Path) -> None:
    images = _images(tmp_path / "i", material.FRAMES, size=(material.HEIGHT, material.WIDTH))
    with Project.create(tmp_path / "p", CLASSES, [images]) as window:
        (entry,) = window.media
        material.predict(window, entry)
        _write(images / "2.bmp", 99, (material.HEIGHT, material.WIDTH))
        with open_to_read(tmp_path / "p") as project:
            with pytest.raises(ProjectError, match="does not know it yet"):
                present_path(project, entry)
            assert find_predictions(project, entry)[0] is None


def test_a_check_reads_every_image(tmp_path: Path) -> None:
    """Also the middle of a large one, and behind times that were set back."""
    images = _images(tmp_path / "i", 2, size=(1000, 1200))  # 3.6 MB each
    path = images / "1.bmp"
    project, media_id = new_project(tmp_path / "p", images)
    with project:
        assert project.check() == ()
        stat = path.stat()
        with path.open("r+b") as file:
            file.seek(stat.st_size // 2)
            file.write(b"other")
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        (finding,) = project.check()
        assert "1 images have another content" in finding.what
        (finding,) = project.check(repair=True)
        assert finding.done
        assert project.check() == ()
        assert find_medium(project, media_id).hash == media_hash(images)
