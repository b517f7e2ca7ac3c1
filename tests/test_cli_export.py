"""export and video, as a person runs them; and the whole way of a project through the program."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from stt_core.checkpoint import save_checkpoint
from stt_core.formats.label_formats import LABEL_FORMATS, read_labels
from stt_core.labels import write_label_png
from stt_core.media.source import open_media
from stt_core.project.store import Project
from tests.conftest import ROOT
from tests.core.models import checkpoint, images, pspnet_config, write_clip
from tests.core.workflow.material import HEIGHT, WIDTH, predict, whole
from tests.program import call, program

Captured = pytest.CaptureFixture[str]
FRAMES = 6
ON_CPU = ("--device", "cpu", "--precision", "fp32")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("exports")


@pytest.fixture(scope="module")
def clip(place: Path) -> Path:
    return write_clip(place / "clip.mp4", images(FRAMES, (HEIGHT, WIDTH)))


@pytest.fixture(scope="module")
def project(place: Path, clip: Path) -> Path:
    """With predictions of all frames, of the project's first three classes, and a label."""
    from stt_core.workflow.naming import find_classes

    classes = find_classes("camvid11")
    with Project.create(place / "project", classes, [clip]) as made:
        predict(made, made.media[0], range(FRAMES), classes=classes)
        made.apply(made.media[0].id, 2, (0, 0), np.full((4, 4), 7, np.uint8))
    return place / "project"


def refused(capsys: Captured, *words: object) -> str:
    ran = call(capsys, *words, "--json")
    assert ran.code == 2, ran.err
    return str(ran.told["error"])


def keys(command: str) -> set[str]:
    text = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    section = text.partition(f"\n## {command}\n")[2].partition("\n## ")[0]
    table = section.partition("| JSON key |")[2]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("|")]
    return {key for row in rows for key in re.findall(r"`(\w+)`", row)}


def test_a_project_from_its_making_to_another_project(
    place: Path, clip: Path, tmp_path: Path
) -> None:
    save_checkpoint(tmp_path / "m.safetensors", checkpoint(pspnet_config()))

    def run(*words: object) -> None:
        ran = program(tmp_path, *words)
        assert ran.code == 0, ran.err
        assert "Traceback" not in ran.err

    run("project", "new", "one", clip)
    run("segment", "--project", "one", "--model", "m.safetensors", *ON_CPU)
    run("export", "one", "--format", "voc", "--out", "voc", "--threshold", 0.3, "--images")
    run("export", "one", "--format", "hdf5", "--out", "maps.h5", "--threshold", 0.3)
    run("project", "new", "two", clip)
    run("project", "import-labels", "two", "maps.h5", "--format", "hdf5", "--yes")
    run("export", "two", "--format", "png", "--out", "png", "--source", "labels")
    found = [
        [frame.load() for frame in read_labels(name, tmp_path / path).frames]
        for name, path in (("voc", "voc"), ("hdf5", "maps.h5"), ("png", "png"))
    ]
    assert [len(maps) for maps in found] == [FRAMES] * 3
    assert (np.stack(found[0]) != 255).any()
    for maps in found[1:]:
        np.testing.assert_array_equal(maps, found[0])
    assert not [path for path in tmp_path.rglob(".*") if path.is_file()]


@pytest.mark.parametrize("name", LABEL_FORMATS)
def test_every_format_is_written_and_read_back(
    name: str, project: Path, tmp_path: Path, capsys: Captured
) -> None:
    words = ("--format", name, "--out", tmp_path / "out", "--threshold", 0.5, "--json")
    ran = call(capsys, "export", project, *words)
    assert ran.code == 0, ran.err
    assert ran.told["frames"] == FRAMES
    assert len(read_labels(name, Path(ran.told["outputs"]["export"])).frames) == FRAMES
    assert set(ran.told) == keys("export")


def test_labels_win_and_the_rest_is_told(project: Path, tmp_path: Path, capsys: Captured) -> None:
    words = ("--format", "npz", "--out", tmp_path / "a", "--threshold", 1, "--json")
    ran = call(capsys, "export", project, *words, "--class-threshold", "Building=0")
    labels = read_labels("npz", tmp_path / "a.npz").frames[2].load()
    assert (labels[:4, :4] == 7).all()
    assert (labels[4:][whole(2)[4:] == 1] == 1).all()
    pixels = ran.told["provenance"]["media"][0]["pseudo_labels"]["pixels"]
    assert f"{pixels['unsure']} by probability" in ran.out


def test_tests_by_flow_and_share(project: Path, tmp_path: Path, capsys: Captured) -> None:
    words = ("--top-share", 0.5, "--flow-check", "--json")
    ran = call(capsys, "export", project, "--format", "png", "--out", tmp_path / "a", *words)
    pixels = ran.told["provenance"]["media"][0]["pseudo_labels"]["pixels"]
    assert pixels["against_flow"] > 0
    assert pixels["unsure"] + pixels["against_flow"] + pixels["kept"] == pixels["predicted"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--format", "gif"), "there is no label format 'gif': use cityscapes, camvid"),
        (("--threshold", 1.5), "'--threshold'"),
        (("--threshold", "nan"), "threshold"),
        (("--top-share", -1), "'--top-share'"),
        (("--attention-check", 2), "'--attention-check'"),
        (("--class-threshold", "Sky=1.5"), "a threshold lies in 0..1, got 1.5"),
        (("--class-threshold", "Sky"), "say CLASS=P"),
        (("--class-threshold", "Moon=0.5"), "no class 'Moon'"),
        (("--threshold", 0.5, "--top-share", 0.5), "--top-share goes without"),
        (("--source", "labels", "--threshold", 0.5), "not --source labels"),
        (("--source", "dreams"), "dreams"),
        (("--media", "nope"), "has no medium nope: it has clip.mp4"),
        (("--split", "../up"), "--split must be the name of a folder"),
        (("--model", "nope"), "there is no model nope"),
        (("--attention-check", 0.5), "made the predictions of clip.mp4, whose file"),
        (("--map", "Tree"), "say OURS=THEIRS, as in Tree=vegetation"),
        (("--map", "Moon=sky"), "no class 'Moon' to map: the classes are Sky"),
        (("--format", "cityscapes", "--map", "Tree=bush"), "the format has no class 'bush'"),
        (("--things", "Moon"), "no class 'Moon' that could be a thing"),
    ],
)
def test_bad_option_of_export(
    words: tuple[object, ...], sentence: str, project: Path, tmp_path: Path, capsys: Captured
) -> None:
    given = ("--format", "png", *words) if "--format" not in words else words
    assert sentence in refused(capsys, "export", project, "--out", tmp_path / "out", *given)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("inside", ["labels/x", "predictions/x", "backups", "aside/a/b"])
def test_nothing_is_exported_into_what_the_project_keeps(
    inside: str, project: Path, capsys: Captured
) -> None:
    said = refused(capsys, "export", project, "--format", "png", "--out", project / inside)
    assert "keeps for itself" in said
    said = refused(capsys, "video", project, "--out", project / inside / "v.gif")
    assert "keeps for itself" in said
    assert not (project / inside).exists()


def test_classes_of_cityscapes_are_shown_and_come_back(
    project: Path, clip: Path, tmp_path: Path, capsys: Captured
) -> None:
    words = ("--format", "cityscapes", "--threshold", 0, "--map", "Pole=polegroup", "--json")
    ran = call(capsys, "export", project, "--out", tmp_path / "out", *words)
    assert ran.code == 0, ran.err
    rows = {row["ours"]: (row["theirs"], row["found_by"]) for row in ran.told["classes"]}
    assert rows["Pavement"] == ("sidewalk", "table")
    assert rows["Pole"] == ("polegroup", "hand")
    assert re.search(r"Tree +vegetation +table", ran.out)
    assert "became unlabelled" not in ran.err
    call(capsys, "project", "new", tmp_path / "p", clip)
    back = ("--format", "cityscapes", "--map", "polegroup=Pole", "--yes")
    assert (
        call(capsys, "project", "import-labels", tmp_path / "p", tmp_path / "out", *back).code == 0
    )
    with Project.open(tmp_path / "p", write=False) as opened:
        labels = opened.labels(opened.media[0].id, 3)
    np.testing.assert_array_equal(labels, whole(3))


def test_missing_media_are_needed_for_images_only(
    place: Path, tmp_path: Path, capsys: Captured
) -> None:
    clip = write_clip(tmp_path / "gone.mp4", images(2, (HEIGHT, WIDTH), 8))
    with Project.create(tmp_path / "p", (), [clip]) as made:
        from stt_core.labels import LabelClass

        made.add_class(LabelClass("a", (1, 2, 3)))
        made.apply(made.media[0].id, 0, (0, 0), np.zeros((4, 4), np.uint8))
    clip.unlink()
    words = ("--format", "png", "--out", tmp_path / "out")
    assert "gone.mp4 is missing" in refused(capsys, "export", tmp_path / "p", *words, "--images")
    assert call(capsys, "export", tmp_path / "p", *words).code == 0


def test_attention_is_tested_with_the_model_itself(
    clip: Path, tmp_path: Path, capsys: Captured
) -> None:
    model = tmp_path / "m.safetensors"
    save_checkpoint(model, checkpoint(pspnet_config()))
    call(capsys, "project", "new", tmp_path / "p", clip)
    words = ("--model", model, *ON_CPU, "--range", ":2")
    assert call(capsys, "segment", "--project", tmp_path / "p", *words).code == 0
    out = ("--format", "png", "--out", tmp_path / "o")
    said = refused(
        capsys, "export", tmp_path / "p", *out, "--model", model, "--attention-check", 0.5
    )
    assert "no sparse temporal attention" in said  # of this one


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
def test_ctrl_c_leaves_nothing_half_written(place: Path, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "long.mp4", images(300, (HEIGHT, WIDTH)))
    with Project.create(tmp_path / "p", (), [clip]) as made:
        from tests.core.workflow.material import CLASSES

        for label_class in CLASSES:
            made.add_class(label_class)
        predict(made, made.media[0], range(300))
    (tmp_path / "out").mkdir()
    words = ["export", str(tmp_path / "p"), "--format", "voc", "--images"]
    child = subprocess.Popen(
        [sys.executable, str(ROOT / "main.py"), *words, "--out", str(tmp_path / "out" / "a")],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while child.poll() is None and not list((tmp_path / "out").glob(".*.part/*/*.png")):
        time.sleep(0.005)
    child.send_signal(signal.SIGINT)
    _, err = child.communicate()
    assert child.returncode == 130
    assert err.endswith("stt-studio: interrupted\n")
    assert list((tmp_path / "out").iterdir()) == []


# video


@pytest.mark.parametrize("suffix", [".mp4", ".gif", ".webp"])
def test_an_overlay_of_predictions(
    suffix: str, project: Path, tmp_path: Path, capsys: Captured
) -> None:
    out = tmp_path / f"v{suffix}"
    ran = call(capsys, "video", project, "--out", out, "--json")
    assert ran.code == 0, ran.err
    assert (ran.told["size"], ran.told["frames"]) == ([WIDTH, HEIGHT], FRAMES)
    assert out.stat().st_size
    assert set(ran.told) == keys("video")
    assert [path.name for path in tmp_path.iterdir()] == [out.name]


def test_a_comparison_of_four(project: Path, tmp_path: Path, capsys: Captured) -> None:
    for frame in range(FRAMES):
        write_label_png(tmp_path / "maps" / f"{frame:06d}.png", whole(frame))
    panels = ("RGB=image", "Ours=predictions", "Mine=labels", f"Maps={tmp_path / 'maps'}")
    words = [word for panel in panels for word in ("--panel", panel)]
    ran = call(
        capsys, "video", project, *words, "--legend", "below", "--number", "--range", "1:5",
        "--out", tmp_path / "v.mp4", "--json",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    assert ran.told["panels"] == ["RGB", "Ours", "Mine", "Maps"]
    assert ran.told["legend"] == ["Sky", "Building", "Pole", "Fence"]
    with open_media(tmp_path / "v.mp4") as media:
        assert len(media) == 4
        width, height = ran.told["size"]  # H.264 has even sides only
        assert (media.width, media.height) == (width + width % 2, height + height % 2)
        assert media.width >= 2 * WIDTH
        assert media.height >= 2 * HEIGHT


def test_a_video_without_a_project(clip: Path, tmp_path: Path, capsys: Captured) -> None:
    write_label_png(tmp_path / "maps" / "000001.png", whole(1))
    words = ("video", clip, "--out", tmp_path / "v.gif")
    assert "say what to show" in refused(capsys, *words)
    assert "say them with --classes" in refused(capsys, *words, "--panel", tmp_path / "maps")
    assert "--media" in refused(capsys, *words, "--media", "x")
    assert "cannot be shown" in refused(capsys, *words, "--panel", "A=predictions")
    assert "holds no frame" in refused(capsys, *words, "--panel", "image", "--range", "9:")
    ran = call(capsys, *words, "--panel", tmp_path / "maps", "--classes", "camvid11")
    assert ran.code == 0, ran.err


def test_the_folder_of_a_video_is_made(project: Path, tmp_path: Path, capsys: Captured) -> None:
    for name in ("v.mp4", "v.gif"):
        out = tmp_path / "new" / name.replace(".", "-") / name
        assert call(capsys, "video", project, "--out", out).code == 0
        assert out.stat().st_size
    (tmp_path / "file").touch()
    said = refused(capsys, "video", project, "--out", tmp_path / "file" / "v.mp4")
    assert "a file stands where a folder is needed" in said


def test_a_panel_of_maps_with_void_in_them(clip: Path, tmp_path: Path, capsys: Captured) -> None:
    labels = whole(1)
    labels[0], labels[1] = 11, 30
    write_label_png(tmp_path / "maps" / "000001.png", labels)
    words = ("video", clip, "--panel", f"A={tmp_path / 'maps'}", "--classes", "camvid11")
    assert "--void-id" in refused(capsys, *words, "--out", tmp_path / "v.gif")
    ran = call(capsys, *words, "--out", tmp_path / "v.gif", "--void-id", 30, "--json")
    assert ran.code == 0, ran.err
    assert any("11" in note and "taken for void" in note for note in ran.told["notes"])
    ran = call(
        capsys, *words, "--out", tmp_path / "w.gif", "--void-id", 30, "--void-id", 11, "--json"
    )
    assert ran.told["notes"] == []


def test_a_video_of_no_known_kind(project: Path, tmp_path: Path, capsys: Captured) -> None:
    said = refused(capsys, "video", project, "--out", tmp_path / "v.txt")
    assert "must end in one of .mp4" in said
    assert not list(tmp_path.iterdir())
