"""The command `evaluate`: what it prints and writes, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from app.cli import main
from stt_core.checkpoint import save_checkpoint
from stt_core.data.sources import camvid_classes
from stt_core.formats.flo import write_flo
from stt_core.labels import LabelClass, write_label_png
from tests.core.models import checkpoint, images, pspnet_config, stt_config, write_clip
from tests.program import Ran, call

SIZE = (64, 96)
FRAMES = 4
ON_CPU = ("--device", "cpu", "--precision", "fp32")


class Data:
    """A data set of the kind `folder` with CamVid's classes, and maps of it that are half right."""

    def __init__(self, folder: Path, classes: tuple[LabelClass, ...] | None = None) -> None:
        self.folder, self.maps = folder / "set", folder / "maps"
        self.clip = write_clip(folder / "clip.mp4", images(FRAMES, SIZE))
        rng = np.random.default_rng(0)
        for i, image in enumerate(images(FRAMES, SIZE)):
            labels = blocks(rng, 11)
            wrong = np.where(blocks(rng, 2) == 0, blocks(rng, 11), labels).astype(np.uint8)
            write_label_png(self.folder / "images" / f"f{i}.png", image)
            write_label_png(self.folder / "labels" / f"f{i}.png", labels)
            write_label_png(self.maps / f"f{i}.png", wrong)
        rows = [{"name": c.name, "color": list(c.color)} for c in classes or camvid_classes()]
        (self.folder / "classes.json").write_text(json.dumps({"classes": rows}))


def blocks(rng: np.random.Generator, classes: int) -> NDArray[np.uint8]:
    return np.kron(rng.integers(0, classes, (8, 12)), np.ones((8, 8))).astype(np.uint8)


@pytest.fixture
def data(tmp_path: Path) -> Data:
    return Data(tmp_path)


@pytest.fixture
def evaluate(capsys: pytest.CaptureFixture[str]) -> Any:
    def run(*words: object) -> Ran:
        return call(capsys, "evaluate", *words, "--json")

    return run


def test_a_folder_of_maps_is_measured(evaluate: Any, data: Data, tmp_path: Path) -> None:
    out = tmp_path / "out"
    ran = evaluate(
        f"{data.folder},video=yes", "--kind", "folder", "--pred", data.maps,
        "--pred", f"hand={data.folder / 'labels'}", "--out", out, "--reported", "camvid",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    told = ran.told
    first, second = told["results"]
    assert {key: told[key] for key in first} == first
    assert (first["name"], second["name"]) == ("maps", "hand")
    assert (second["miou"], second["pixel_accuracy"], second["boundary_iou"]) == (1, 1, 1)
    assert 0 < told["miou"] < told["pixel_accuracy"] < 1
    assert told["classes"] == [c.name for c in camvid_classes()]
    assert told["miou"] == pytest.approx(np.mean(told["class_iou"]), abs=1e-5)
    assert 0 < told["tc"] < 1
    assert (told["tc_protocol"], told["flow"], told["average"]) == ("masked", "dis", "clean")
    assert (told["frames"], told["pairs"]) == (FRAMES, FRAMES - 1)
    for words in ("mIoU % (clean)", "TC % (masked, dis)", "reported", "STT-PSP18"):
        assert words in ran.out
    written = {Path(path).name for path in told["outputs"].values()}
    assert written == {p.name for p in out.iterdir()}
    assert written == {
        "table.csv", "table.md", "report.html", "confusion_maps.csv", "confusion_hand.csv",
    }  # fmt: skip


def test_models_are_measured_beside_folders(evaluate: Any, data: Data, tmp_path: Path) -> None:
    for name, config in (("net", pspnet_config()), ("stt", stt_config(key_frames=2))):
        save_checkpoint(tmp_path / f"{name}.safetensors", checkpoint(config))
    where = f"folder:{data.folder},video=yes"
    net, stt = (tmp_path / f"{name}.safetensors" for name in ("net", "stt"))
    ran = evaluate(where, "--pred", net, "--pred", stt, "--pred", data.maps, *ON_CPU)
    assert ran.code == 0, ran.err
    assert [result["name"] for result in ran.told["results"]] == ["net", "stt", "maps"]
    alone = evaluate(where, "--pred", stt, *ON_CPU, "--tc", "plain").told
    assert alone["miou"] == ran.told["results"][1]["miou"]
    assert alone["tc_protocol"] == "plain"
    without = evaluate(where, "--pred", stt, *ON_CPU, "--key-frames", 0, "--tc", "none").told
    assert without["class_iou"] != alone["class_iou"]
    assert without["tc"] is without["tc_protocol"] is None


def test_what_segment_writes_can_be_measured(evaluate: Any, data: Data, tmp_path: Path) -> None:
    model, run = tmp_path / "m.safetensors", tmp_path / "run"
    save_checkpoint(model, checkpoint(stt_config(key_frames=1)))
    assert main(["segment", str(data.clip), "--out", str(run), "--model", str(model), *ON_CPU]) == 0
    for i in range(0, FRAMES, 2):
        labels = blocks(np.random.default_rng(i), 11)
        write_label_png(tmp_path / "painted" / f"{i:06d}.png", labels)
    where = f"{data.clip},labels={tmp_path / 'painted'}"
    ran = evaluate(where, "--kind", "video", "--pred", run, "--pred", model, *ON_CPU)
    assert ran.code == 0, ran.err
    written, streamed = ran.told["results"]
    assert written["name"] == "run"
    assert (written["frames"], written["pairs"]) == (2, FRAMES - 1)
    for key in ("miou", "class_iou", "tc"):
        assert written[key] == streamed[key]
    # the folder labels/ itself is called after the run
    assert evaluate(where, "--kind", "video", "--pred", run / "labels").told["name"] == "run"


def test_without_labels_there_is_consistency_and_null(
    evaluate: Any, data: Data, tmp_path: Path
) -> None:
    for i in range(FRAMES):
        write_label_png(tmp_path / "p" / f"{i:06d}.png", np.zeros(SIZE, np.uint8))
    told = evaluate(data.clip, "--kind", "video", "--pred", tmp_path / "p").told
    assert told["miou"] is told["pixel_accuracy"] is told["boundary_iou"] is None
    assert set(told["class_iou"]) == {None}
    assert told["tc"] == 1


def test_strict_counts_absent_classes(evaluate: Any, data: Data) -> None:
    for path in data.folder.glob("labels/*.png"):
        write_label_png(path, np.zeros(SIZE, np.uint8))
    words = (f"folder:{data.folder}", "--pred", data.folder / "labels")
    assert evaluate(*words).told["miou"] == 1
    strict = evaluate(*words, "--average", "strict").told
    assert strict["miou"] == pytest.approx(1 / 11, abs=1e-6)


def test_a_folder_is_video_where_consistency_is_asked_for(evaluate: Any, data: Data) -> None:
    words = ("--kind", "folder", "--pred", data.maps)
    stills = evaluate(data.folder, *words)
    assert stills.told["tc"] is None
    assert "no two frames of this data are neighbours in a video" in stills.out
    asked = evaluate(data.folder, *words, "--tc", "plain").told
    said = evaluate(f"{data.folder},video=yes", *words, "--tc", "plain").told
    assert asked["tc"] == said["tc"] > 0
    assert evaluate(f"{data.folder},video=no", *words, "--tc", "plain").told["tc"] is None


def test_flow_from_a_folder_is_named_after_it(evaluate: Any, data: Data, tmp_path: Path) -> None:
    for i in range(FRAMES - 1):
        write_flo(tmp_path / "raft" / f"f{i}.flo", np.zeros((*SIZE, 2), np.float32))
    words = (f"folder:{data.folder},video=yes", "--pred", data.maps, "--flow", tmp_path / "raft")
    told = evaluate(*words, "--tc", "etc").told
    assert (told["flow"], told["tc_protocol"]) == ("flo:raft", "etc")
    assert "lacks 3 of 3 flows" in evaluate(*words).told["error"]


def test_equal_names_are_told_apart(evaluate: Any, data: Data) -> None:
    words = [w for _ in range(3) for w in ("--pred", data.maps)]
    told = evaluate(f"folder:{data.folder}", *words).told
    assert [result["name"] for result in told["results"]] == ["maps", "maps 2", "maps 3"]


def test_an_id_can_be_ignored(evaluate: Any, data: Data) -> None:
    words = ("--kind", "folder", "--pred", data.maps, "--tc", "none")
    every = evaluate(data.folder, *words, "--pred", data.maps).told
    fewer = evaluate(data.folder, *words, "--ignore-id", 255).told
    assert fewer["miou"] == every["miou"]  # no pixel has it


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("x", "--kind", "nonsense", "--pred", "{maps}"), "cannot read the data 'nonsense:x'"),
        (("{set}", "--pred", "{maps}"), "say KIND:PATH"),
        (("{set}/none", "--kind", "folder", "--pred", "{maps}"), "none"),
        (("{set}", "--kind", "folder", "--split", "moon", "--pred", "{maps}"), "moon"),
        (("{set}", "--kind", "folder", "--pred", "{set}/images"), "holds RGB pixels"),
        (("{set}", "--kind", "folder", "--pred", "{empty}"), "holds no label map of folder:"),
        (("{set}", "--kind", "folder", "--pred", "{set}/gone"), "there is no model"),
        (("{set}", "--kind", "folder", "--pred", "{maps}", "--flow", "gone"), "--flow is dis"),
        (("{set}", "--kind", "folder", "--pred", "{model}"), "it lacks Tree house"),
        (
            ("{set},video=yes", "--kind", "folder", "--pred", "{maps}", "--flow", "exact"),
            "the exact flow of frame f1 is not known",
        ),
    ],
)
def test_what_cannot_be_measured_is_said_in_a_sentence(
    evaluate: Any, tmp_path: Path, words: tuple[str, ...], told: str
) -> None:
    classes = camvid_classes()
    changed = (*classes[:-1], LabelClass("Tree house", (1, 2, 3)))
    data = Data(tmp_path, changed if "{model}" in words else None)
    save_checkpoint(tmp_path / "m.safetensors", checkpoint(pspnet_config()))
    (tmp_path / "empty").mkdir()
    places = {
        "set": data.folder, "maps": data.maps, "empty": tmp_path / "empty",
        "model": tmp_path / "m.safetensors",
    }  # fmt: skip
    ran = evaluate(*(word.format(**places) for word in words), *ON_CPU)
    assert ran.code == 2
    assert told in ran.told["error"]
    assert "Traceback" not in ran.err
