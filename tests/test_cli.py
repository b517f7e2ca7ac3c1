"""The commands, as a program and through main(): what they write, what they print, how they end."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn
from xml.etree import ElementTree as ET

import av
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from typer.main import get_command

from app.cli import app
from stt_core.checkpoint import load_checkpoint, save_checkpoint
from stt_core.engine import Engine
from stt_core.files import file_hash
from stt_core.formats.flo import read_flo
from stt_core.formats.model_file import read_header
from stt_core.labels import UNLABELLED, palette_rgba, read_label_png, write_label_png
from stt_core.media.source import media_hash, open_media
from stt_core.network import Network
from stt_core.results import Prediction
from tests.conftest import ROOT
from tests.core.models import checkpoint, images, pspnet_config, write_clip
from tests.program import Ran, call, program

WIDTH, HEIGHT, FRAMES = 96, 64, 12
FRAME = 9
EXACT = ("--device", "cpu", "--precision", "fp32")
RECIPE = """
model = "stt"
key_frames = 2
steps = 9
batch_size = 1
optimizer = "adamw"
learning_rate = 1e-3
freeze_encoder = true
[augment]
crop = [64, 64]
scale = [1.0, 1.0]
short_side = 64
"""


def write_model(folder: Path) -> Path:
    path = folder / "small.safetensors"
    save_checkpoint(path, checkpoint(), dtype=torch.bfloat16)
    return path


def read_map(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as image:
        assert (image.mode, image.size) == ("L", (WIDTH, HEIGHT))
        return np.asarray(image, np.uint8)


def names_in(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cli")


@pytest.fixture(scope="module")
def clip(place: Path) -> Path:
    return write_clip(place / "clip.mp4", images(FRAMES, (HEIGHT, WIDTH)))


@pytest.fixture(scope="module")
def model(place: Path) -> Path:
    return write_model(place)


@pytest.fixture(scope="module")
def engine(clip: Path, model: Path) -> Iterator[Engine]:
    """What the commands should agree with."""
    with open_media(clip) as media:
        yield Engine(Network(load_checkpoint(model), device="cpu", precision="fp32"), media)


@pytest.fixture(scope="module")
def prediction(engine: Engine) -> Prediction:
    return engine.segment(FRAME)


def a_pixel(prediction: Prediction, *, selected: bool) -> str:
    """Some pixel of a position that was selected as a query, or was not, as X,Y."""
    row, col = np.argwhere(prediction.selected == selected)[0]
    return f"{col * 8 + 4},{row * 8 + 4}"


# Each command once as a program


@pytest.fixture(scope="module")
def segmented(place: Path, clip: Path, model: Path) -> Ran:
    words = ("--model", model, "--save", "both", "--overlay", *EXACT, "--json")
    return program(place, "segment", clip, "--out", place / "full", *words)


@pytest.fixture(scope="module")
def inspected(place: Path, clip: Path, model: Path, prediction: Prediction) -> Ran:
    pixel = a_pixel(prediction, selected=True)
    words = ("--frame", FRAME, "--xy", pixel, "--model", model, *EXACT, "--json")
    return program(place, "inspect", clip, "--out", place / "look.npz", *words)


@pytest.fixture(scope="module")
def sampled(place: Path) -> Ran:
    words = ("--frames", 2, "--size", "96x64", "--seed", 3, "--json")
    return program(place, "sample", "--out", place / "sample", *words)


@pytest.fixture(scope="module")
def painted(place: Path) -> Path:
    """A label folder with one painted frame."""
    labels = np.full((HEIGHT, WIDTH), UNLABELLED, np.uint8)
    labels[:32], labels[32:] = 0, 3
    write_label_png(place / "painted" / f"{FRAME:06d}.png", labels)
    return place / "painted"


@pytest.fixture(scope="module")
def recipe(place: Path) -> Path:
    (place / "tiny.toml").write_text(RECIPE)
    return place / "tiny.toml"


@pytest.fixture(scope="module")
def trained(place: Path, clip: Path, model: Path, painted: Path, recipe: Path) -> Ran:
    data = f"video:{clip},labels={painted}"
    words = ("--init", model, "--steps", 2, "--device", "cpu", "--json")
    return program(place, "train", recipe, "--data", data, "--out", place / "run", *words)


@pytest.fixture(scope="module")
def pseudo_labelled(place: Path, clip: Path, model: Path) -> Ran:
    words = ("--model", model, "--every", 4, "--threshold", 0.2, *EXACT, "--json")
    return program(place, "pseudo-label", clip, "--out", place / "pseudo", *words)


@pytest.fixture(scope="module")
def doctored(place: Path) -> Ran:
    return program(place, "doctor", "--json")


RUNS = {
    "segment": "segmented",
    "inspect": "inspected",
    "sample": "sampled",
    "train": "trained",
    "pseudo-label": "pseudo_labelled",
    "doctor": "doctored",
}


@pytest.mark.parametrize("command", RUNS)
def test_program_ends_with_0_and_one_json_object(
    command: str, request: pytest.FixtureRequest
) -> None:
    ran: Ran = request.getfixturevalue(RUNS[command])
    assert ran.code == 0, ran.err
    assert "Traceback" not in ran.err
    assert ran.told["command"] == command
    assert all(Path(path).exists() for path in ran.told.get("outputs", {}).values())
    assert "it/s" not in ran.out  # progress goes to stderr


# segment


def test_segment_writes_the_labels_of_the_engine(
    segmented: Ran, place: Path, engine: Engine
) -> None:
    assert names_in(place / "full") == ["color", "labels", "overlay.mp4", "run.json"]
    expected = [f"{i:06d}.png" for i in range(FRAMES)]
    assert names_in(place / "full" / "labels") == names_in(place / "full" / "color") == expected
    for index in (0, 3, FRAMES - 1):  # none, some and all key frames
        written = read_map(place / "full" / "labels" / f"{index:06d}.png")
        np.testing.assert_array_equal(written, engine.segment(index).labels)
    assert len(np.unique(written)) > 1


def test_segment_tells_what_run_json_holds(
    segmented: Ran, place: Path, clip: Path, model: Path
) -> None:
    report = json.loads((place / "full" / "run.json").read_text())
    told = segmented.told
    assert told == {"command": "segment", **report, "outputs": told["outputs"]}
    assert set(told["outputs"]) == {"run", "labels", "color", "overlay"}
    assert report["model"]["sha256"] == file_hash(model)
    assert report["media"]["hash"] == media_hash(clip)
    assert (report["media"]["width"], report["media"]["height"]) == (WIDTH, HEIGHT)
    assert report["frames"] == report["media"]["frames"] == FRAMES
    assert report["settings"]["range"] == [0, FRAMES]
    assert report["settings"]["precision"] == "fp32"
    assert report["settings"]["key_frames"] == 7
    assert {"total", "decode", "network", "write"} == set(report["fps"])
    assert {"python", "torch", "numpy", "av"} <= set(report["versions"])
    assert len(report["classes"]) == 11
    assert report["warnings"] == []


def test_color_maps_are_the_labels_in_their_colors(
    segmented: Ran, place: Path, model: Path
) -> None:
    table = palette_rgba(read_header(model).classes)[:, :3]
    for index in (0, 7):
        with Image.open(place / "full" / "color" / f"{index:06d}.png") as image:
            colored = np.asarray(image)
        labels = read_map(place / "full" / "labels" / f"{index:06d}.png")
        np.testing.assert_array_equal(colored, table[labels])


def test_overlay_shows_every_frame(segmented: Ran, place: Path) -> None:
    with av.open(str(place / "full" / "overlay.mp4")) as video:
        frames = [f.to_ndarray(format="rgb24") for f in video.decode(video=0)]
    assert [f.shape for f in frames] == [(HEIGHT, WIDTH, 3)] * FRAMES


@pytest.mark.parametrize(
    ("words", "expected"),
    [("9:11", [9, 10]), ("10:", [10, 11]), (":2", [0, 1]), ("11:400", [11])],
)
def test_range_gives_the_maps_of_the_full_run(
    words: str,
    expected: list[int],
    segmented: Ran,
    place: Path,
    clip: Path,
    model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    ran = call(
        capsys, "segment", clip, "--model", model, "--out", tmp_path, "--range", words, *EXACT
    )
    assert ran.code == 0, ran.err
    assert names_in(tmp_path / "labels") == [f"{i:06d}.png" for i in expected]
    for name in names_in(tmp_path / "labels"):
        full = (place / "full" / "labels" / name).read_bytes()
        assert (tmp_path / "labels" / name).read_bytes() == full


def test_range_of_fewer_key_frames_gives_the_maps_of_its_full_run(
    clip: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--model", model, "--key-frames", 2, *EXACT, "--json")
    whole = call(capsys, "segment", clip, "--out", tmp_path / "whole", *words)
    part = call(capsys, "segment", clip, "--out", tmp_path / "part", "--range", "5:6", *words)
    assert whole.told["settings"]["key_frames"] == part.told["settings"]["key_frames"] == 2
    name = "labels/000005.png"
    assert (tmp_path / "part" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.parametrize(
    ("save", "written"), [("labels", ["labels", "run.json"]), ("color", ["color", "run.json"])]
)
def test_only_the_maps_asked_for_are_written(
    save: str,
    written: list[str],
    clip: Path,
    model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ("--model", model, "--range", "0:1", "--save", save, "--json")
    ran = call(capsys, "segment", clip, "--out", tmp_path, *words)
    assert ran.code == 0, ran.err
    assert names_in(tmp_path) == written
    assert set(ran.told["outputs"]) == {"run", save}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_precision_is_taken_and_told(
    precision: str, clip: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--model", model, "--range", "3:4", "--precision", precision, "--device", "cpu")
    ran = call(capsys, "segment", clip, "--out", tmp_path, *words, "--json")
    assert ran.code == 0, ran.err
    assert ran.told["settings"]["precision"] == precision
    assert ran.told["settings"]["device"].startswith("cpu")


@pytest.mark.gpu
def test_segment_on_a_gpu(
    clip: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    words = ("--model", model, "--range", "8:9", "--device", "cuda:0", "--precision", "fp16")
    ran = call(capsys, "segment", clip, "--out", tmp_path, *words, "--json")
    assert ran.code == 0, ran.err
    assert ran.told["settings"]["device"].startswith("cuda:0")


@pytest.mark.parametrize("count", [0, 9])
def test_key_frames_may_be_0_to_9(
    count: int, clip: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--model", model, "--range", "11:", "--key-frames", count, "--json")
    ran = call(capsys, "segment", clip, "--out", tmp_path, *words)
    assert ran.code == 0, ran.err
    assert ran.told["settings"]["key_frames"] == count


def test_folder_of_images_is_a_medium(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    for i, image in enumerate(images(2, (HEIGHT, WIDTH))):
        Image.fromarray(image).save(tmp_path / "in" / f"{i}.png")
    ran = call(capsys, "segment", tmp_path / "in", "--model", model, "--out", tmp_path / "out")
    assert ran.code == 0, ran.err
    assert names_in(tmp_path / "out" / "labels") == ["000000.png", "000001.png"]


def test_bundled_model_goes_by_its_name(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--model", "stt-lite0", "--range", "0:1", "--json")
    ran = call(capsys, "segment", clip, "--out", tmp_path, *words)
    assert ran.code == 0, ran.err
    assert len(ran.told["model"]["sha256"]) == 64


def test_without_json_stdout_holds_words_and_a_second_run_replaces_the_first(
    clip: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("segment", clip, "--model", model, "--range", ":1", "--out", tmp_path)
    assert call(capsys, *words).code == 0
    ran = call(capsys, *words)
    assert ran.code == 0
    assert re.fullmatch(r"1 frames written to .* \([\d.]+ fps\)\n", ran.out)
    assert "segment" in ran.err
    assert names_in(tmp_path) == ["labels", "run.json"]


# inspect


def _inspect(
    capsys: pytest.CaptureFixture[str], clip: Path, model: Path, xy: str, out: Path, *words: object
) -> Ran:
    place = ("--frame", FRAME, "--xy", xy, "--model", model)
    return call(capsys, "inspect", clip, *place, "--out", out, *EXACT, "--json", *words)


def test_npz_holds_weights_that_sum_to_1_in_each_head(inspected: Ran, place: Path) -> None:
    told = inspected.told
    assert told["selected"] is True
    assert told["forced"] is False
    assert told["key_frames"] == list(range(FRAME - 1, FRAME - 8, -1))
    with np.load(place / "look.npz") as held:
        weights = held["weights"]
        assert weights.shape == (4, 7, HEIGHT // 8, WIDTH // 8)
        np.testing.assert_allclose(weights.sum((1, 2, 3)), 1, atol=1e-5)
        assert held["frames"].tolist() == told["key_frames"]
        assert held["radii"].tolist() == told["radii"]
        row, col = held["query"]
        for lag, radius in enumerate(held["radii"]):  # nothing outside the key windows
            outside = weights[:, lag].copy()
            top, left = max(0, row - radius), max(0, col - radius)
            outside[:, top : row + radius + 1, left : col + radius + 1] = 0
            assert not outside.any()
        np.testing.assert_allclose(weights.sum((2, 3)), told["frame_weights"], atol=1e-5)
        np.testing.assert_allclose(held["probabilities"].sum(), 1, atol=1e-5)
    assert sum(told["probabilities"].values()) == pytest.approx(1, abs=1e-4)


def test_unselected_pixel_says_so_and_ends_with_0(
    prediction: Prediction,
    clip: Path,
    model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pixel = a_pixel(prediction, selected=False)
    ran = _inspect(capsys, clip, model, pixel, tmp_path / "a.npz")
    assert ran.code == 0, ran.err
    assert ran.told["selected"] is False
    assert ran.told["forced"] is False
    assert ran.told["key_frames"] == []
    with np.load(tmp_path / "a.npz") as held:
        assert held["weights"].shape == (4, 0, HEIGHT // 8, WIDTH // 8)
    for name in ("a.png", "a.svg"):
        assert _inspect(capsys, clip, model, pixel, tmp_path / name).code == 0
    assert "No attention" in (tmp_path / "a.svg").read_text()


def test_force_lets_an_unselected_pixel_attend(
    prediction: Prediction,
    clip: Path,
    model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pixel = a_pixel(prediction, selected=False)
    ran = _inspect(capsys, clip, model, pixel, tmp_path / "a.npz", "--force")
    assert ran.code == 0, ran.err
    assert (ran.told["selected"], ran.told["forced"]) == (False, True)
    with np.load(tmp_path / "a.npz") as held:
        np.testing.assert_allclose(held["weights"].sum((1, 2, 3)), 1, atol=1e-5)


def test_json_file_holds_what_is_told(
    prediction: Prediction,
    clip: Path,
    model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pixel = a_pixel(prediction, selected=True)
    ran = _inspect(capsys, clip, model, pixel, tmp_path / "a.json")
    written = json.loads((tmp_path / "a.json").read_text())
    assert written.items() <= ran.told.items()
    assert set(ran.told) - set(written) == {"command", "head", "warnings", "outputs"}


def test_head_chooses_the_large_tiles(
    prediction: Prediction,
    clip: Path,
    model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pixel, pictures = a_pixel(prediction, selected=True), {}
    for head in ("mean", "all", "1", "4"):
        out = tmp_path / f"{head}.png"
        ran = _inspect(capsys, clip, model, pixel, out, "--head", head)
        assert ran.code == 0, ran.err
        assert ran.told["head"] == head
        with Image.open(out) as image:
            pictures[head] = np.asarray(image.convert("RGB"))
    assert len({p.shape for p in pictures.values()}) == 1
    assert (pictures["1"] != pictures["4"]).any()
    assert (pictures["1"] != pictures["mean"]).any()


def test_svg_holds_all_its_parts_with_nine_key_frames(
    prediction: Prediction,
    clip: Path,
    model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "a.svg"
    pixel = a_pixel(prediction, selected=True)
    ran = _inspect(capsys, clip, model, pixel, out, "--key-frames", 9, "--force")
    assert ran.code == 0, ran.err
    assert ran.told["key_frames"] == list(range(FRAME - 1, -1, -1))
    svg = ET.parse(out).getroot()
    width, height = float(svg.attrib["width"]), float(svg.attrib["height"])
    pictures = svg.findall("{*}image")
    assert len(pictures) == 1 + 9 + 4 * 9  # the frame, the key frames, those of each head
    for item in pictures:
        x, y, w, h = (float(item.attrib[name]) for name in ("x", "y", "width", "height"))
        assert x >= 0 <= y
        assert x + w <= width
        assert y + h <= height


@pytest.mark.parametrize("xy", ["0,0", f"{WIDTH - 1},{HEIGHT - 1}"])
def test_first_frame_and_corners_can_be_inspected(
    xy: str, clip: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--frame", 0, "--xy", xy, "--model", model, "--out", tmp_path / "a.png")
    ran = call(capsys, "inspect", clip, *words, "--force", "--json")
    assert ran.code == 0, ran.err
    assert ran.told["key_frames"] == []
    assert (ran.told["x"], ran.told["y"]) == tuple(map(int, xy.split(",")))


def test_per_frame_model_has_nothing_to_inspect(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "pspnet.safetensors"
    save_checkpoint(model, checkpoint(pspnet_config()), dtype=torch.bfloat16)
    ran = _inspect(capsys, clip, model, "4,4", tmp_path / "a.png")
    assert ran.code == 2
    assert "no sparse temporal attention" in ran.told["error"]
    assert not (tmp_path / "a.png").exists()


# sample


def test_sample_writes_a_clip_with_labels_and_flow(sampled: Ran, place: Path) -> None:
    assert sampled.told["size"] == [96, 64]
    with open_media(place / "sample" / "clip.mp4") as video:
        assert (len(video), video.width, video.height) == (2, 96, 64)
        assert video.fps == pytest.approx(sampled.told["fps"])
    for index in range(2):
        with Image.open(place / "sample" / "labels" / f"{index:06d}.png") as image:
            assert image.size == (96, 64)
            assert np.asarray(image).max() < 11
        flow = read_flo(place / "sample" / "flow" / f"{index:06d}.flo")
        assert flow.shape == (64, 96, 2)
        assert np.isfinite(flow).all()


# train


def test_train_writes_a_model_that_segments(
    trained: Ran,
    place: Path,
    clip: Path,
    model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    written = ["config.json", "curves.png", "data.json", "environment.json", "last.safetensors"]
    assert names_in(place / "run") == [*written, "log.jsonl", "state.pt", "tensorboard"]
    log = [json.loads(line) for line in (place / "run" / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in log] == [1, 2]
    assert trained.told["steps"] == 2
    assert trained.told["loss"] == pytest.approx(log[-1]["loss"], abs=1e-4)
    made = Path(trained.told["outputs"]["model"])
    assert read_header(made).step == 2
    before, after = load_checkpoint(model).model, load_checkpoint(made).model
    changed = {
        ".".join(name.split(".")[:-2])
        for (name, old), new in zip(before.named_parameters(), after.parameters(), strict=True)
        if not torch.equal(old, new)
    }
    # the recipe freezes the encoder
    assert changed - {"stt", "stt.ffn"} == {"frame.cls"}
    ran = call(
        capsys, "segment", clip, "--model", made, "--range", "9:10", "--out", tmp_path, "--json"
    )
    assert ran.code == 0, ran.err
    assert ran.told["model"]["step"] == 2


def test_mean_iou_is_null_while_no_label_was_seen(
    clip: Path,
    model: Path,
    recipe: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    labels = np.full((HEIGHT, WIDTH), UNLABELLED, np.uint8)
    labels[0, 0] = 3  # a dot that lies between the positions of the network's map
    write_label_png(tmp_path / "painted" / "000000.png", labels)
    data = f"video:{clip},labels={tmp_path / 'painted'}"
    words = ("--init", model, "--steps", 1, "--device", "cpu", "--json")
    ran = call(capsys, "train", recipe, "--data", data, "--out", tmp_path / "run", *words)
    assert ran.code == 0, ran.err
    assert ran.told["mean_iou"] is None


def test_a_run_that_is_interrupted_goes_on_where_it_was(
    clip: Path, model: Path, painted: Path, recipe: Path, tmp_path: Path
) -> None:
    if sys.platform == "win32":
        pytest.skip("on Windows Ctrl+C reaches a whole console")
    data = f"video:{clip},labels={painted}"
    words = ["train", recipe, "--data", data, "--init", model, "--device", "cpu"]
    words += ["--out", tmp_path / "run", "--steps", "400"]
    command = [sys.executable, "-m", "app.cli", *map(str, words)]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.PIPE)
    log = tmp_path / "run" / "log.jsonl"
    while process.poll() is None and not (log.exists() and log.read_text().count("\n") > 2):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    found = re.search(rb"stopped after step (\d+) of 400: --resume goes on from there", told)
    assert found is not None, told
    done = int(found[1])
    assert log.read_text().count("\n") == done
    again = subprocess.Popen([*command, "--resume"], cwd=ROOT, stderr=subprocess.PIPE)
    while again.poll() is None and log.read_text().count("\n") < done + 2:
        time.sleep(0.05)
    again.send_signal(signal.SIGINT)
    _, told = again.communicate(timeout=60)
    steps = [json.loads(line)["step"] for line in log.read_text().splitlines()]
    assert steps == list(range(1, len(steps) + 1))
    assert len(steps) >= done + 2
    assert f"{done + 1}/400".encode() in told  # the bar goes on too


def test_pseudo_labels_are_written_for_some_frames(pseudo_labelled: Ran, place: Path) -> None:
    *names, record = names_in(place / "pseudo")
    assert names[:2] == ["000000.png", "000004.png"]
    assert pseudo_labelled.told["provenance"] == json.loads((place / "pseudo" / record).read_text())
    assert pseudo_labelled.told["frames"] == len(names)
    known = [(read_label_png(place / "pseudo" / name, 11) != UNLABELLED).mean() for name in names]
    assert pseudo_labelled.told["labelled"] == pytest.approx(np.mean(known), abs=1e-3)


# doctor, bench, open, demo


def test_doctor_says_what_is_there(doctored: Ran) -> None:
    told = doctored.told
    assert told["packages"]["torch"]
    assert told["device"].startswith(("cpu", "cuda", "mps"))
    assert "torch" in doctored.out.splitlines()[2]
    assert ("All is well." in doctored.out) == (told["problems"] == [])


def test_doctor_says_that_torch_cannot_be_loaded(place: Path) -> None:
    code = "import sys; sys.modules['torch'] = None; from app.cli import main; sys.exit(main())"
    ran = program(place, "doctor", "--json", code=code)
    assert ran.code == 0, ran.err
    assert ran.told["device"] is None
    assert any("torch cannot be loaded" in p for p in ran.told["problems"])
    assert "Problem: torch cannot be loaded" in ran.out


def test_bench_refuses_an_unknown_group(place: Path) -> None:
    ran = program(place, "bench", "--group", "nonsense", "--out", place / "bench", "--json")
    assert ran.code == 2, ran.err
    assert "no group nonsense; there are " in ran.told["error"]
    assert not (place / "bench").exists()


def test_open_takes_one_medium(place: Path, clip: Path, model: Path) -> None:
    ran = program(place, "open", clip, clip, model, "--json")
    assert ran.code == 2
    assert "one video or folder at a time, got 2" in ran.told["error"]
    assert "Traceback" not in ran.err


@pytest.mark.parametrize("words", [("open", "nowhere.mp4"), ("nowhere.mp4",), ("nonsense",)])
def test_open_names_a_missing_file(
    words: Sequence[str], capsys: pytest.CaptureFixture[str]
) -> None:
    ran = call(capsys, *words, "--json")
    assert ran.code == 2
    assert f"there is no file or folder {words[-1]}" in ran.told["error"]


def test_open_says_that_there_is_no_display(
    clip: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if not sys.platform.startswith("linux"):
        pytest.skip("only Linux has displays that may be absent")
    for name in ("QT_QPA_PLATFORM", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    ran = call(capsys, clip, "--json")
    assert ran.code == 2
    assert "there is no display here" in ran.told["error"]


@pytest.mark.slow
def test_demo_without_a_display(place: Path) -> None:
    ran = program(place, "demo", "--headless", "--out", place / "demo", "--json")
    assert ran.code == 0, ran.err
    assert all(Path(path).exists() for path in ran.told["outputs"].values())
    assert set(ran.told) == _keys("demo")


# What goes for all


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("segment", "a.mp4", "--bogus"), "No such option: --bogus"),
        (("segment", "a.mp4"), "Missing option '--out'"),
        (("segment", "--out", "x"), "Missing argument 'MEDIA'"),
        (("segment", "a.mp4", "b.mp4", "--out", "x"), "unexpected extra argument"),
        (("segment", "a.mp4", "--out"), "'--out' requires an argument"),
        (("inspect", "a.mp4", "--out", "a.png"), "Missing option '--frame'"),
        (("sample",), "Missing option '--out'"),
        (("train", "r.toml", "--data", "x"), "Missing option '--out'"),
        (("bench", "extra"), "unexpected extra argument"),
        (("doctor", "--out", "x"), "No such option: --out"),
        (("--nonsense",), "No such option: --nonsense"),
    ],
)
def test_usage_error_ends_with_2_and_json(
    words: Sequence[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = call(capsys, words[0], "--json", *words[1:])
    assert ran.code == 2
    # older versions of typer write MEDIA here
    assert sentence.lower() in ran.told["error"].lower()
    assert ran.told == {"error": ran.told["error"], "exit_code": 2}
    assert ran.err == f"stt-studio: {ran.told['error']}\n"


def test_without_json_an_error_prints_nothing_to_stdout(
    capsys: pytest.CaptureFixture[str],
) -> None:
    ran = call(capsys, "segment", "nowhere.mp4", "--out", "x")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.count("\n") == 1


@pytest.mark.parametrize("command", get_command(app).commands)  # type: ignore[attr-defined]
def test_help_ends_with_0(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(capsys, command, "--help").code == 0


def test_our_own_fault_ends_with_1_and_a_log(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("app.doctor.examine", lambda: 1 // 0)
    ran = call(capsys, "doctor", "--json")
    assert ran.code == ran.told["exit_code"] == 1
    assert "our fault: ZeroDivisionError" in ran.told["error"]
    assert "Traceback" not in ran.err
    found = re.search(r"The details are in (.*\.log);", ran.err)
    assert found is not None
    log = Path(found[1]).read_text()
    assert "Traceback" in log
    assert "1 // 0" in log


def test_our_own_fault_is_told_even_where_no_log_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if not sys.platform.startswith("linux"):
        pytest.skip("the folder of logs is moved by a variable of Linux")
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr("app.doctor.examine", lambda: 1 // 0)
    ran = call(capsys, "doctor", "--json")
    assert ran.code == 1
    assert "ZeroDivisionError" in ran.told["error"]
    assert "no log could be written" in ran.told["error"]


def _interrupt() -> NoReturn:
    raise KeyboardInterrupt


def test_interruption_ends_with_130(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("app.doctor.examine", _interrupt)
    ran = call(capsys, "doctor", "--json")
    assert (ran.code, ran.told) == (130, {"error": "interrupted", "exit_code": 130})


# docs/cli.md


def _section(command: str) -> str:
    text = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    found = re.search(rf"^## {command}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found is not None, f"docs/cli.md has no section {command}"
    return found[1]


def _first_cells(section: str, head: str) -> list[str]:
    """The first column of the table whose first heading is `head`."""
    rows = [line.split("|")[1].strip() for line in section.splitlines() if line.startswith("|")]
    if head not in rows:
        return []
    start = rows.index(head) + 2
    stop = next((i for i in range(start, len(rows)) if rows[i] in ("Option", "JSON key")), None)
    return rows[start:stop]


def _keys(command: str) -> set[str]:
    cells = _first_cells(_section(command), "JSON key")
    return {key for cell in cells for key in re.findall(r"`(\w+)`", cell)}


@pytest.mark.parametrize("command", RUNS)
def test_documented_json_keys_are_those_printed(
    command: str, request: pytest.FixtureRequest
) -> None:
    ran: Ran = request.getfixturevalue(RUNS[command])
    assert set(ran.told) == _keys(command)


def test_documented_json_keys_of_bench_and_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("app.bench.run_bench", lambda *_: [])
    monkeypatch.setattr("app.startup.run_window", lambda *_: 0)
    assert set(call(capsys, "bench", "--out", tmp_path, "--json").told) == _keys("bench")
    assert set(call(capsys, "open", "--json").told) == _keys("open")


def test_documented_commands_and_options_are_those_there_are() -> None:
    commands = get_command(app).commands  # type: ignore[attr-defined]
    text = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^## ([a-z-]+)$", text, re.MULTILINE)) == set(commands)
    for name, command in commands.items():
        cells = _first_cells(_section(name), "Option")
        documented = {option for cell in cells for option in re.findall(r"--[\w-]+", cell)}
        there = {
            o for p in command.params for o in [*p.opts, *p.secondary_opts] if o.startswith("--")
        }
        assert documented == there - {"--help"}, name
