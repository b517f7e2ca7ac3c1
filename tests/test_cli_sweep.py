"""The commands `sweep` and `speed`: what they write, what they print, what they refuse."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from PIL import Image

from stt_core.checkpoint import save_checkpoint
from stt_core.config import Preprocess
from stt_core.labels import write_label_png
from tests.core.models import checkpoint, images, lite_config, stt_config, write_clip
from tests.program import call

FRAMES = 9
CPU = ("--device", "cpu", "--precision", "fp32")


class Place(NamedTuple):
    model: Path
    control: Path
    data: str
    """KIND:PATH of a video with labels."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    folder = tmp_path_factory.mktemp("sweep")
    frames = images(FRAMES)
    clip = write_clip(folder / "clip.mp4", frames)
    (folder / "labels").mkdir()
    for i in (3, 6, 8):
        labels = (frames[i][..., 0] > 150).astype(np.uint8)
        write_label_png(folder / "labels" / f"{i:06d}.png", labels)
    model, control = folder / "stt.safetensors", folder / "plain.safetensors"
    save_checkpoint(model, checkpoint(stt_config(lite_config())))
    save_checkpoint(control, checkpoint(lite_config()))
    return Place(model, control, f"video:{clip},labels={folder / 'labels'}")


def test_sweep_writes_table_and_charts_and_tells_the_rows(
    place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    ran = call(
        capsys, "sweep", place.model, place.data, "--values", "0,1,7", "--control", place.control,
        "--out", out, *CPU, "--json",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    told = ran.told
    assert (told["command"], told["over"], told["own"]) == ("sweep", "key_frames", 7)
    assert (told["protocol"], told["flow"], told["average"]) == ("masked", "dis", "clean")
    assert (told["frames"], told["pairs"], told["precision"]) == (3, FRAMES - 1, "fp32")
    rows = told["rows"]
    assert [(row["kind"], row["value"]) for row in rows] == [
        ("control", 0), ("setting", 1), ("setting", 7),
    ]  # fmt: skip
    assert [row["keys_per_query"] for row in rows] == [0, 9, 407]
    assert all(0 <= row[name] <= 1 for row in rows for name in ("miou", "tc"))
    assert rows[0]["name"] == "plain, per-frame control"
    table = [*csv.DictReader((out / "sweep.csv").read_text(encoding="utf-8").splitlines())]
    assert [float(line["miou"]) for line in table] == [row["miou"] for row in rows]
    with Image.open(out / "sweep.png") as picture:
        assert picture.format == "PNG"
    assert ET.parse(out / "sweep.svg").getroot().tag.endswith("svg")
    assert told["outputs"] == {
        "table": str(out / "sweep.csv"),
        "png": str(out / "sweep.png"),
        "svg": str(out / "sweep.svg"),
    }
    assert "zero point: plain" in ran.out
    assert f"{100 * rows[1]['miou']:.2f}" in ran.out


def test_sweep_over_a_ratio_of_the_first_frames_without_consistency(
    place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kind, _, data = place.data.partition(":")
    ran = call(
        capsys, "sweep", place.model, data, "--kind", kind, "--over", "query-ratio",
        "--values", "0.2:1:0.4", "--frames", 5, "--tc", "none", "--average", "strict",
        "--out", tmp_path, *CPU, "--json",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    told = ran.told
    assert (told["over"], told["own"], told["average"]) == ("query_ratio", 0.5, "strict")
    assert (told["protocol"], told["frames"]) == (None, 1)
    assert [row["value"] for row in told["rows"]] == [0, 0.2, 0.6, 1.0]
    assert [row["kind"] for row in told["rows"]] == ["bypass", *["setting"] * 3]
    assert {row["tc"] for row in told["rows"]} == {None}
    assert "TC: not measured" in ran.out


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--values", "0:10"), "key_frames must be in 0..9, got 10"),
        (("--values", "few"), "'few' names no values of key_frames"),
        (("--values", "1.5"), "say whole numbers"),
        (("--values", "0"), "no value of key_frames beside the zero point"),
        (("--over", "query-ratio", "--values", "0,0.5"), "query_ratio must be in (0, 1]"),
        (("--over", "start-radius", "--values", "9"), "start_radius must be in 0..end_radius"),
        (("--over", "end-radius", "--values", "0"), "start_radius must be in 0..end_radius"),
        (("--over", "neighbour-radius", "--values", "0"), "must be at least 1"),
        (("--over", "colour",), "colour"),
        (("--tc", "best"), "best"),
        (("--frames", "0"), "'--frames'"),
        (("--flow", "missing-folder"), "--flow is dis, exact or a folder"),
        (("--split", "val"), "split"),
    ],
)  # fmt: skip
def test_what_cannot_be_swept_is_an_error_of_usage(
    place: Place,
    options: tuple[str, ...],
    complaint: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    ran = call(capsys, "sweep", place.model, place.data, "--out", out, *CPU, *options, "--json")
    assert ran.code == 2
    assert complaint in ran.told["error"]
    assert "Traceback" not in ran.err
    assert not out.exists()


def test_models_that_do_not_fit_are_refused(
    place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = call(capsys, "sweep", place.control, place.data, "--out", tmp_path, *CPU)
    assert (ran.code, "no temporal block" in ran.err) == (2, True)
    words = ("--control", place.model, "--out", tmp_path, *CPU)
    ran = call(capsys, "sweep", place.model, place.data, *words)
    assert (ran.code, "reads past frames" in ran.err) == (2, True)
    ran = call(capsys, "sweep", tmp_path / "none", place.data, "--out", tmp_path, *CPU)
    assert (ran.code, "there is no model" in ran.err) == (2, True)


def test_a_folder_that_cannot_be_written_is_found_before_measuring(
    place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    ran = call(capsys, "sweep", place.model, place.data, "--out", tmp_path / "file" / "in", *CPU)
    assert ran.code == 2
    assert "cannot write" in ran.err
    assert "sweep:" not in ran.err  # no progress was made


def test_speed_prints_a_line_a_model(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    models = (place.model, place.control)
    ran = call(capsys, "speed", *models, "--size", "96x64", "--frames", 2, *CPU, "--json")
    assert ran.code == 0, ran.err
    told = ran.told
    assert (told["command"], told["size"], told["frames"]) == ("speed", [96, 64], 2)
    assert [row["model"] for row in told["rows"]] == ["stt", "plain"]
    assert [row["key_frames"] for row in told["rows"]] == [7, 0]
    for row in told["rows"]:
        assert row["size"] == [96, 64]
        for part in ("steady", "first"):
            assert set(row[part]) == {"mean", "median", "p95", "max", "fps"}
            assert row[part]["fps"] == pytest.approx(1000 / row[part]["mean"])
        assert row["peak_of"] == "process"
        assert row["peak_bytes"] > 0
    stt, plain = (row["multiply_adds"] for row in told["rows"])
    assert stt["steady"] > stt["first"] > plain["first"] == plain["steady"]
    head, _, titles, *lines = ran.out.splitlines()[:-1]
    assert head.startswith("96x64, batch 1, cpu")
    assert titles.split()[:4] == ["model", "prec.", "mean", "median"]
    assert [line.split()[:2] for line in lines] == [["stt", "fp32"], ["plain", "fp32"]]
    assert len({len(line) for line in (titles, *lines)}) == 1


def test_speed_measures_at_the_size_that_was_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = checkpoint(lite_config())
    header = replace(made.header, preprocess=Preprocess(short_side=360))
    path = tmp_path / "sized.safetensors"
    save_checkpoint(path, replace(made, header=header))
    ran = call(capsys, "speed", path, "--size", "64x32", "--frames", 1, *CPU, "--json")
    assert ran.told["rows"][0]["size"] == [64, 32]


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--size", "100x64"), "multiples of 8"),
        (("--size", "wide"), "is not a size"),
        (("--frames", "0"), "'--frames'"),
        (("--device", "tpu"), "no device 'tpu'"),
    ],
)
def test_speed_that_cannot_be_measured_is_an_error_of_usage(
    place: Place,
    words: tuple[str, ...],
    complaint: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    ran = call(capsys, "speed", place.control, *words, "--json")
    assert ran.code == 2
    assert complaint in ran.told["error"]
    ran = call(capsys, "speed", "none.safetensors", "--json")
    assert (ran.code, "there is no model" in ran.told["error"]) == (2, True)
