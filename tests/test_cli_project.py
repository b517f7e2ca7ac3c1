"""project and segment --project, as a person runs them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.main import get_command

from app.cli import app
from stt_core.checkpoint import save_checkpoint
from stt_core.labels import write_label_png
from stt_core.project.predictions.reader import PredictionReader
from stt_core.project.store import Project
from tests.conftest import ROOT
from tests.core.models import checkpoint, images, pspnet_config, write_clip
from tests.program import Ran, call, program

Captured = pytest.CaptureFixture[str]
ON_CPU = ("--device", "cpu", "--precision", "fp32")
FRAMES, SIZE = 30, (32, 48)
PAGES = ("cli", "projects")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("projects")


@pytest.fixture(scope="module")
def clip(place: Path) -> Path:
    return write_clip(place / "clip.mp4", images(FRAMES, SIZE))


@pytest.fixture(scope="module")
def model(place: Path) -> Path:
    """Reads no past, so that nothing must be compiled."""
    save_checkpoint(place / "plain.safetensors", checkpoint(pspnet_config()))
    return place / "plain.safetensors"


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Whatever ran here before: with another number, sums are rounded otherwise."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def project(clip: Path, tmp_path: Path, capsys: Captured) -> Path:
    assert call(capsys, "project", "new", tmp_path / "p", clip).code == 0
    return tmp_path / "p"


def refused(capsys: Captured, *words: object) -> str:
    ran = call(capsys, *words, "--json")
    assert ran.code == 2, ran.err
    assert ran.told == {"error": ran.told["error"], "exit_code": 2}
    assert ran.err.rstrip().endswith(ran.told["error"])
    return str(ran.told["error"])


def segment(capsys: Captured, project: Path, model: Path, *words: object) -> Ran:
    return call(
        capsys, "segment", "--project", project, "--model", model, *ON_CPU, *words, "--json"
    )


def content(folder: str) -> list[tuple[object, ...]]:
    reader = PredictionReader(Path(folder))
    return [
        (i, reader.labels(i).tobytes(), reader.confidence(i).tobytes(), float(reader.entropy[i]))
        for i in reader.frames.tolist()
    ]


# new, add, info


def test_new_add_and_info(clip: Path, tmp_path: Path, capsys: Captured) -> None:
    made = call(capsys, "project", "new", tmp_path / "p", clip, "--json")
    assert made.code == 0
    assert made.told["media"][0]["frames"] == FRAMES
    assert len(made.told["classes"]) == 11
    other = write_clip(tmp_path / "other.mp4", images(4, SIZE, 1))
    added = call(capsys, "project", "add", tmp_path / "p", other, "--json")
    told = call(capsys, "project", "info", tmp_path / "p", "--json").told
    assert [m["name"] for m in told["media"]] == ["clip.mp4", "other.mp4"]
    assert told["media"][1]["id"] == added.told["media"][0]["id"]
    assert told["media"][1]["size"] == [SIZE[1], SIZE[0]]
    assert "already" in refused(capsys, "project", "add", tmp_path / "p", other)
    assert "a project already" in refused(capsys, "project", "new", tmp_path / "p")


def test_classes_of_a_new_project(tmp_path: Path, capsys: Captured) -> None:
    ran = call(capsys, "project", "new", tmp_path / "p", "--classes", "cityscapes19", "--json")
    assert len(ran.told["classes"]) == 19
    said = refused(capsys, "project", "new", tmp_path / "q", "--classes", "nonsense")
    assert "no class list nonsense" in said
    assert not (tmp_path / "q").exists()


def test_media_that_cannot_be_opened_make_no_project(tmp_path: Path, capsys: Captured) -> None:
    said = refused(capsys, "project", "new", tmp_path / "p", tmp_path / "missing.mp4")
    assert "missing.mp4" in said
    assert not (tmp_path / "p").exists()


def test_info_while_the_project_is_open_elsewhere(project: Path, capsys: Captured) -> None:
    with Project.open(project) as window:
        labels = np.zeros(SIZE, np.uint8)
        window.apply(window.media[0].id, 3, (0, 0), labels)
        window.notes.set_review(window.media[0].id, 3, "checked")
        told = call(capsys, "project", "info", project, "--json").told
        assert "open for writing" in refused(capsys, "project", "add", project, project)
        assert "open for writing" in refused(capsys, "project", "check", project)
    assert told["media"][0]["labelled"] == 1
    assert told["media"][0]["review"] == {"draft": 0, "checked": 1, "locked": 0}
    assert sum(each["pixels"] for each in told["classes"]) == labels.size


@pytest.mark.parametrize(
    "words",
    [
        ("project", "info"),
        ("project", "check"),
        ("project", "relink", "--search", "."),
        ("segment", "--project"),
        ("export", "--format", "png", "--out", "never"),
    ],
)
def test_what_is_no_project_is_said_to_be_none(
    words: tuple[str, ...], tmp_path: Path, capsys: Captured
) -> None:
    assert "is not a project" in refused(capsys, *words, tmp_path)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_project_can_be_read(project: Path, capsys: Captured) -> None:
    for path in (project, *project.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    assert call(capsys, "project", "info", project).code == 0
    assert "permission denied" in refused(capsys, "project", "add", project, project)


# check, relink


def test_check_repairs_and_says_so(project: Path, capsys: Captured) -> None:
    with Project.open(project) as opened:
        media_id = opened.media[0].id
        opened.apply(media_id, 3, (0, 0), np.zeros(SIZE, np.uint8))
        opened.flush()
    assert call(capsys, "project", "check", project, "--json").told["findings"] == []
    (project / "labels" / media_id / "000003.png").write_bytes(b"broken")
    looked = call(capsys, "project", "check", project, "--no-repair", "--json")
    assert (looked.code, looked.told["left"]) == (1, 1)
    assert "000003.png" in looked.told["findings"][0]["what"]
    mended = call(capsys, "project", "check", project, "--json")
    assert (mended.code, mended.told["left"]) == (0, 0)
    assert mended.told["findings"][0]["done"]
    again = call(capsys, "project", "check", project, "--json").told
    assert (again["findings"], again["left"]) == ([], 0)


def test_check_looks_at_predictions_too(project: Path, model: Path, capsys: Captured) -> None:
    told = segment(capsys, project, model, "--range", "0:3").told
    (stored,) = Path(told["media"][0]["outputs"]["predictions"]).glob("*.h5")
    data = bytearray(stored.read_bytes())
    inside = data.find(b"\x28\xb5\x2f\xfd") + 20  # behind the first head of Zstandard's
    data[inside] ^= 0xFF
    stored.write_bytes(data)
    assert call(capsys, "project", "check", project, "--no-repair").code == 1
    mended = call(capsys, "project", "check", project, "--json")
    assert mended.code == 0
    assert "segment again" in mended.told["findings"][0]["done"]
    again = segment(capsys, project, model, "--range", "0:3").told["media"][0]
    assert again["computed"] == 3 - again["kept"] > 0
    assert call(capsys, "project", "check", project).code == 0


def test_moved_media_are_found_again(tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "a").mkdir()
    old = write_clip(tmp_path / "a" / "one.mp4", images(4, SIZE))
    call(capsys, "project", "new", tmp_path / "p", old)
    (tmp_path / "b").mkdir()
    old.rename(tmp_path / "b" / "two.mp4")
    assert call(capsys, "project", "check", tmp_path / "p").code == 1
    said = refused(capsys, "segment", "--project", tmp_path / "p", *ON_CPU)
    assert "is missing" in said
    ran = call(capsys, "project", "relink", tmp_path / "p", "--search", tmp_path / "b", "--json")
    assert ran.told["missing"] == []
    (tmp_path / "b").rename(tmp_path / "c")
    words = ("--from", tmp_path / "b", "--to", tmp_path / "c", "--json")
    ran = call(capsys, "project", "relink", tmp_path / "p", *words)
    assert ran.told["media"][0]["path"] == str(tmp_path / "c" / "two.mp4")
    assert call(capsys, "project", "check", tmp_path / "p").code == 0
    for wrong in ((), ("--from", "x"), ("--search", "x", "--to", "y"), ("--search", "nowhere")):
        assert "--search" in refused(capsys, "project", "relink", tmp_path / "p", *wrong)


def test_a_replaced_video_is_told_and_taken_when_told_to(
    tmp_path: Path, model: Path, capsys: Captured
) -> None:
    video, project = write_clip(tmp_path / "v.mp4", images(6, SIZE)), tmp_path / "p"
    assert call(capsys, "project", "new", project, video).code == 0
    with Project.open(project) as opened:
        opened.apply(opened.media[0].id, 3, (0, 0), np.zeros(SIZE, np.uint8))
    segment(capsys, project, model)
    write_clip(video, images(6, SIZE, 7))
    looked = call(capsys, "project", "info", project, "--json")
    assert "its content differs" in looked.err
    assert "its content differs" in looked.told["recovered"][0]
    assert "its content differs" in looked.told["media"][0]["problem"]
    assert looked.told["predictions"][0]["stale"] == ["media"]
    out = ("--format", "png", "--out", tmp_path / "out")
    for source in ("labels", "predictions", "both"):
        said = refused(capsys, "export", project, *out, "--source", source)
        assert "its content differs" in said
    assert "its content differs" in refused(capsys, "segment", "--project", project, *ON_CPU)
    assert call(capsys, "project", "check", project).code == 1
    taken = call(capsys, "project", "refresh", project, "--media", "v", "--json")
    assert (taken.code, taken.told["changed"]) == (0, True)
    again = call(capsys, "project", "info", project, "--json").told
    assert (again["recovered"], again["media"][0]["problem"]) == ([], None)
    assert again["media"][0]["labelled"] == 1
    assert again["predictions"][0]["stale"] == ["media"]
    assert segment(capsys, project, model).told["media"][0]["kept"] == 0
    assert call(capsys, "project", "check", project).code == 0


def test_what_was_repaired_is_told_by_whoever_reads(
    project: Path, model: Path, capsys: Captured
) -> None:
    def damage() -> None:
        for path in project.glob("journal.sqlite*"):
            path.unlink()

    damage()
    ran = call(capsys, "project", "info", project, "--json")
    assert "made anew from the label files" in ran.err
    assert "made anew from the label files" in ran.told["recovered"][0]
    assert call(capsys, "project", "info", project, "--json").told["recovered"] == []
    damage()
    ran = segment(capsys, project, model, "--range", "0:1")
    assert "made anew from the label files" in ran.err
    assert "made anew from the label files" in ran.told["recovered"][0]


def test_the_same_medium_twice_leaves_no_project(
    clip: Path, tmp_path: Path, capsys: Captured
) -> None:
    said = refused(capsys, "project", "new", tmp_path / "p", clip, clip)
    assert "in the project already" in said
    assert not (tmp_path / "p").exists()
    assert call(capsys, "project", "new", tmp_path / "p", clip).code == 0


def test_a_check_moves_strays_aside_and_ends_well(project: Path, capsys: Captured) -> None:
    (project / "labels" / "mine").mkdir(parents=True)
    assert call(capsys, "project", "check", project, "--no-repair").code == 1
    ran = call(capsys, "project", "check", project, "--json")
    assert (ran.code, ran.told["left"]) == (0, 0)
    assert "It was moved to" in ran.told["findings"][0]["done"]


def test_the_room_of_predictions(project: Path, model: Path, capsys: Captured) -> None:
    segment(capsys, project, model, "--range", "0:2")
    plain = call(capsys, "project", "cache", project, "--json").told
    assert plain["bytes"] > plain["freed"] == 0
    assert plain["budget"] == 20e9
    told = call(capsys, "project", "cache", project, "--budget", "1.5 GB", "--json").told
    assert (told["budget"], told["bytes"]) == (1_500_000_000, plain["bytes"])
    assert call(capsys, "project", "info", project, "--json").told["cache_budget"] == 1.5e9
    told = call(capsys, "project", "cache", project, "--budget", "default", "--json").told
    assert told["budget"] == 20e9
    told = call(capsys, "project", "cache", project, "--budget", "100B", "--json").told
    assert (told["bytes"], told["freed"]) == (0, plain["bytes"])
    segment(capsys, project, model, "--range", "0:2")
    told = call(capsys, "project", "cache", project, "--clear", "--json").told
    assert (told["bytes"], told["freed"]) == (0, plain["bytes"])
    assert "is not a size" in refused(capsys, "project", "cache", project, "--budget", "much")


def test_compacting_is_asked_for_twice(project: Path, capsys: Captured) -> None:
    with Project.open(project) as opened:
        for value in range(4):
            opened.apply(opened.media[0].id, 3, (0, 0), np.full(SIZE, value, np.uint8))
    shown = call(capsys, "project", "compact", project, "--json")
    assert (shown.told["freed"], shown.told["applied"]) == (0, False)
    assert "--yes" in shown.err
    with Project.open(project) as opened:
        assert opened.can_undo()
    assert call(capsys, "project", "compact", project, "--yes", "--json").told["applied"]
    with Project.open(project) as opened:
        assert not opened.can_undo()
        assert opened.labelled(opened.media[0].id) == (3,)


# segment --project


def test_segment_fills_a_project_and_goes_on(project: Path, model: Path, capsys: Captured) -> None:
    part = segment(capsys, project, model, "--range", "0:4").told["media"][0]
    assert (part["frames"], part["computed"], part["kept"]) == (4, 4, 0)
    whole = segment(capsys, project, model).told["media"][0]
    assert (whole["frames"], whole["computed"], whole["kept"]) == (FRAMES, FRAMES - 4, 4)
    assert whole["outputs"] == part["outputs"]
    (found,) = call(capsys, "project", "info", project, "--json").told["predictions"]
    assert (found["frames"], found["stale"], found["problem"]) == (FRAMES, [], None)
    assert found["model_hash"] == whole["model"]


def test_segment_works_while_a_window_holds_the_project(
    project: Path, model: Path, place: Path
) -> None:
    with Project.open(project) as window:
        words = ("--model", model, "--range", "0:2", *ON_CPU, "--json")
        ran = program(place, "segment", "--project", project, *words)
        assert ran.code == 0, ran.err
        (found,) = window.predictions.all()
        assert PredictionReader(found.path).frames.tolist() == [0, 1]


def test_segment_of_a_project_asks_for_what_goes_with_one(
    project: Path, model: Path, clip: Path, capsys: Captured
) -> None:
    def said(*words: object) -> str:
        return refused(capsys, "segment", *words, "--model", model, *ON_CPU)

    assert "chosen by --media" in said(clip, "--project", project)
    assert "chosen by --media" in said("--project", project, "--out", "x")
    assert "go with --project" in said(clip, "--out", "x", "--features")
    assert "has no medium nope" in said("--project", project, "--media", "nope")
    assert "holds no frame" in said("--project", project, "--range", "99:")
    assert "leave --features out" in said("--project", project, "--features")


@pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is POSIX")
def test_a_killed_segment_goes_on_to_the_same_result(
    project: Path, model: Path, clip: Path, tmp_path: Path, capsys: Captured, one_thread: None
) -> None:
    words = ["segment", "--project", str(project), "--model", str(model), *ON_CPU]
    child = subprocess.Popen(
        [sys.executable, str(ROOT / "main.py"), *words],
        cwd=tmp_path,
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )
    deadline = time.monotonic() + 120
    while child.poll() is None and time.monotonic() < deadline:
        if [path for path in project.glob("predictions/*/*.spool") if path.stat().st_size]:
            break
        time.sleep(0.005)
    child.send_signal(signal.SIGKILL)
    child.wait()
    (stored,) = (each.parent for each in project.glob("predictions/*/manifest.json"))
    before = content(str(stored))
    assert before
    after = segment(capsys, project, model).told["media"][0]
    assert after["kept"] >= len(before)
    assert call(capsys, "project", "new", tmp_path / "q", clip).code == 0
    whole = segment(capsys, tmp_path / "q", model).told["media"][0]
    assert content(after["outputs"]["predictions"]) == content(whole["outputs"]["predictions"])
    assert set(before) <= set(content(after["outputs"]["predictions"]))
    assert not [path for path in project.rglob(".*") if path.is_file()]


# import-labels


@pytest.fixture
def maps(tmp_path: Path) -> Path:
    for frame in (2, 5):
        labels = np.full(SIZE, 255, np.uint8)
        labels[:16] = 3
        write_label_png(tmp_path / "maps" / f"{frame:06d}.png", labels)
    write_label_png(tmp_path / "maps" / "extra.png", labels)
    return tmp_path / "maps"


def test_import_shows_first_and_does_it_when_told(
    project: Path, maps: Path, capsys: Captured
) -> None:
    words = ("project", "import-labels", project, maps, "--format", "png")
    shown = call(capsys, *words, "--json")
    assert "Road" in shown.out
    assert "--yes" in shown.err
    assert (shown.told["applied"], shown.told["frames"], shown.told["by_number"]) == (False, 2, 2)
    assert shown.told["unmatched"] == ["extra"]
    assert "(000002 -> frame 2, 000005 -> frame 5)" in shown.out
    used = [row for row in shown.told["mapping"] if row["pixels"]]
    assert [(row["id"], row["ours"], row["found_by"]) for row in used] == [(3, "Road", "id")]
    assert labelled(project) == ()
    done = call(capsys, *words, "--map", "3=Sky", "--yes", "--json").told
    assert done["applied"]
    assert labelled(project) == (2, 5)
    with Project.open(project, write=False) as opened:
        labels = opened.labels(opened.media[0].id, 2)
    assert labels is not None
    assert labels[0, 0] == 0  # Sky


def test_import_asks_which_frames_are_meant(
    project: Path, tmp_path: Path, capsys: Captured
) -> None:
    for number in range(1, FRAMES + 1):  # as ffmpeg counts
        write_label_png(tmp_path / "maps" / f"{number:06d}.png", np.zeros(SIZE, np.uint8))
    words = ("project", "import-labels", project, tmp_path / "maps", "--format", "png")
    said = refused(capsys, *words, "--yes")
    assert "000001 -> frame 1, 000002 -> frame 2" in said
    assert "--match from-1 (30 of 30: 000001 -> frame 0" in said
    assert labelled(project) == ()
    assert call(capsys, *words, "--match", "from-1", "--yes").code == 0
    assert labelled(project) == tuple(range(FRAMES))


def test_import_as_predictions_leaves_labels_alone(
    project: Path, maps: Path, capsys: Captured
) -> None:
    words = ("--format", "png", "--as", "predictions", "--yes", "--json")
    with Project.open(project):  # a window
        assert call(capsys, "project", "import-labels", project, maps, *words).code == 0
    (found,) = call(capsys, "project", "info", project, "--json").told["predictions"]
    assert (found["frames"], found["model"]) == (2, "maps (imported)")
    assert labelled(project) == ()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--format", "gif"), "no label format 'gif': use cityscapes, camvid"),
        (("--format", "cvat"), ""),
        (("--format", "png", "--map", "3"), "THEIRS=OURS"),
        (("--format", "png", "--map", "3=moon"), "no class 'moon'"),
        (("--format", "png", "--media", "nope"), "has no medium nope"),
        (("--format", "png", "--as", "dreams"), "--as"),
    ],
)
def test_bad_import(
    words: tuple[str, ...], sentence: str, project: Path, maps: Path, capsys: Captured
) -> None:
    said = refused(capsys, "project", "import-labels", project, maps, *words, "--yes")
    assert sentence in said
    assert labelled(project) == ()


def labelled(project: Path) -> tuple[int, ...]:
    with Project.open(project, write=False) as opened:
        return opened.labelled(opened.media[0].id)


# What goes for all


def test_commands_without_a_model_do_not_load_torch(clip: Path, tmp_path: Path) -> None:
    code = f"""
        import sys
        from app.cli import main
        assert main(["project", "new", "p", {str(clip)!r}]) == 0
        assert main(["project", "info", "p"]) == 0
        assert main(["project", "check", "p"]) == 0
        assert main(["export", "p", "--format", "png", "--out", "o"]) == 2
        assert main(["video", "p", "--out", "v.gif", "--range", ":2"]) == 0
        assert "torch" not in sys.modules
    """
    ran = program(tmp_path, code="\n".join(line.strip() for line in code.splitlines()))
    assert ran.code == 0, ran.err


def _commands() -> Iterator[tuple[str, Any]]:
    group = get_command(app).commands["project"]  # type: ignore[attr-defined]
    yield from group.commands.items()


def section_of(name: str) -> str:
    """What the documents say of a command."""
    texts = [(ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8") for page in PAGES]
    found = [re.search(rf"^### project {name}\n(.*?)(?=^#|\Z)", t, re.M | re.S) for t in texts]
    return "\n\n".join(each[1] for each in found if each is not None)


@pytest.mark.parametrize(("name", "command"), [*_commands()])
def test_documented_options_are_those_there_are(name: str, command: Any) -> None:
    text = section_of(name)
    assert text
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("|")]
    documented = {option for row in rows for option in re.findall(r"--\w[\w-]*", row)}
    there = {o for p in command.params for o in [*p.opts, *p.secondary_opts] if o[:2] == "--"}
    assert documented == there - {"--help"}


@pytest.mark.parametrize("name", [name for name, _ in _commands()])
def test_documented_json_keys_are_those_printed(
    name: str, project: Path, maps: Path, tmp_path: Path, capsys: Captured
) -> None:
    words: dict[str, tuple[object, ...]] = {
        "new": (tmp_path / "fresh",),
        "add": (project, write_clip(tmp_path / "m.mp4", images(2, SIZE, 4))),
        "import-labels": (project, maps, "--format", "png"),
        "relink": (project, "--search", tmp_path),
        "refresh": (project, "--media", "clip"),
    }
    told = call(capsys, "project", name, *words.get(name, (project,)), "--json").told
    keys = re.findall(r"^JSON(?:, too)?: (.*?)\n\n", section_of(name) + "\n\n", re.M | re.S)
    listed = [key for each in keys for key in re.findall(r"`(\w+)`", each.partition(". ")[0])]
    assert set(told) - {"command"} == set(listed)
    assert told["command"] == f"project {name}"
