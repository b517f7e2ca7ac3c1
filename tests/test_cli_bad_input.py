"""Bad input, file by file: a sentence, exit code 2, and nothing left half-written."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from stt_core.formats.model_file import header_json, read_header
from stt_core.labels import UNLABELLED, write_label_png
from tests.core.media_clips import cut, even_times, noisy_picture
from tests.core.media_clips import write_clip as write_container
from tests.core.models import images, write_clip
from tests.test_cli import HEIGHT, RECIPE, WIDTH, Ran, call, names_in, program, write_model

FRAMES = 6
CUT_FRAMES = 24
Captured = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bad")


@pytest.fixture(scope="module")
def clip(place: Path) -> Path:
    return write_clip(place / "clip.mp4", images(FRAMES, (HEIGHT, WIDTH)))


@pytest.fixture(scope="module")
def model(place: Path) -> Path:
    return write_model(place)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def refused(capsys: Captured, *words: object) -> str:
    """Run a command that should find its input at fault; return the sentence."""
    return _sentence(call(capsys, *words, "--json"))


def _sentence(ran: Ran) -> str:
    assert ran.code == 2, ran.err
    sentence = ran.told["error"]
    assert ran.told == {"error": sentence, "exit_code": 2}
    assert ran.err.splitlines()[-1] == f"stt-studio: {sentence}"
    assert "Traceback" not in ran.err
    return sentence


def refused_medium(capsys: Captured, media: Path, model: Path, out: Path) -> str:
    """Segment and inspect `media`; both must say the same and write nothing."""
    said = refused(capsys, "segment", media, "--model", model, "--out", out, "--overlay")
    words = ("--frame", 0, "--xy", "1,1", "--model", model, "--out", out / "look.png")
    assert refused(capsys, "inspect", media, *words) == said
    assert not out.exists()
    return said


def refused_model(capsys: Captured, clip: Path, model: object, out: Path) -> str:
    said = refused(capsys, "segment", clip, "--model", model, "--out", out, "--overlay")
    assert not out.exists()
    return said


# Media


def test_no_such_medium(model: Path, out: Path, capsys: Captured) -> None:
    said = refused_medium(capsys, Path("nowhere.mp4"), model, out)
    assert said.startswith("nowhere.mp4 does not exist. Check the name")


def test_text_called_mp4(model: Path, out: Path, tmp_path: Path, capsys: Captured) -> None:
    path = tmp_path / "text.mp4"
    path.write_text("This is no video.\n" * 50)
    said = refused_medium(capsys, path, model, out)
    assert "text.mp4 cannot be opened as a video" in said


def test_empty_file(model: Path, out: Path, tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "zero.mp4").touch()
    assert "is empty (0 bytes)" in refused_medium(capsys, tmp_path / "zero.mp4", model, out)


def test_mp4_cut_before_its_index(
    clip: Path, model: Path, out: Path, tmp_path: Path, capsys: Captured
) -> None:
    late = write_container(tmp_path / "late.mp4", even_times(8), draw=noisy_picture)
    said = refused_medium(capsys, cut(late, 0.7, tmp_path / "cut.mp4"), model, out)
    assert "cut.mp4 was cut off before the end of its index" in said
    assert "Copy the file again" in said


def test_video_without_a_frame(model: Path, out: Path, tmp_path: Path, capsys: Captured) -> None:
    path = tmp_path / "none.mp4"
    with av.open(str(path), "w", container_options={"movflags": "empty_moov"}) as container:
        stream = container.add_stream("libx264", rate=25)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        container.start_encoding()
    assert "is a video but holds no frame" in refused_medium(capsys, path, model, out)


def test_images_of_different_sizes(
    model: Path, out: Path, tmp_path: Path, capsys: Captured
) -> None:
    folder = tmp_path / "mixed"
    folder.mkdir()
    for name, size in (("1.png", (96, 64)), ("2.png", (96, 64)), ("10.png", (64, 96))):
        Image.new("RGB", size).save(folder / name)
    said = refused_medium(capsys, folder, model, out)
    assert "1.png is 96 x 64 pixels, 10.png is 64 x 96" in said


def test_folder_without_images(model: Path, out: Path, tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "empty").mkdir()
    assert "holds no image" in refused_medium(capsys, tmp_path / "empty", model, out)


@pytest.mark.parametrize(
    ("name", "options"), [("a.mp4", {"movflags": "+faststart"}), ("a.ts", {}), ("a.mkv", {})]
)
def test_readable_part_of_a_cut_file_is_used_with_a_warning(
    name: str,
    options: dict[str, str],
    model: Path,
    out: Path,
    tmp_path: Path,
    capsys: Captured,
) -> None:
    whole = write_container(
        tmp_path / name, even_times(CUT_FRAMES), gop=8, draw=noisy_picture,
        container_options=options,
    )  # fmt: skip
    part = cut(whole, 0.7, tmp_path / f"cut-{name}")
    words = ("--model", model, "--key-frames", 0, "--precision", "fp32", "--json")
    ran = call(capsys, "segment", part, "--out", out, *words)
    assert ran.code == 0, ran.err
    frames = ran.told["frames"]
    assert 0 < frames < CUT_FRAMES
    assert names_in(out / "labels") == [f"{i:06d}.png" for i in range(frames)]
    (warning,) = ran.told["warnings"]
    assert "was cut off" in warning
    assert str(frames) in warning
    assert f"warning: {warning}\n" in ran.err
    assert json.loads((out / "run.json").read_text())["warnings"] == [warning]

    look = ("--xy", "1,1", "--out", tmp_path / "look.json", *words)
    ran = call(capsys, "inspect", part, "--frame", frames - 1, *look)
    assert ran.code == 0, ran.err
    assert ran.told["warnings"] == [warning]
    assert f"warning: {warning}\n" in ran.err
    said = _sentence(call(capsys, "inspect", part, "--frame", frames, *look))
    assert f"which has frames 0 to {frames - 1}" in said


def test_damage_in_the_middle_leaves_whole_maps_only(
    model: Path, out: Path, tmp_path: Path, capsys: Captured
) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    for i in range(5):
        Image.fromarray(noisy_picture(i)).save(folder / f"{i}.png")
    cut(folder / "3.png", 0.5, folder / "3.png")
    said = refused(capsys, "segment", folder, "--model", model, "--out", out, "--overlay")
    assert "3.png cannot be read as an image" in said
    assert names_in(out) in ([], ["labels"])  # no overlay, and no run.json to say that all is done
    for path in out.glob("labels/*"):
        with Image.open(path) as image:
            image.load()


# Models


@pytest.fixture(scope="module")
def rewritten(model: Path, place: Path) -> Callable[..., Path]:
    """A model file with changes to its header, whose weights are not looked at."""

    def write(**changes: Any) -> Path:
        header = json.loads(header_json(read_header(model))["stt_studio"])
        header.update(changes)
        path = place / "rewritten.safetensors"
        save_file({"w": torch.ones(1)}, path, metadata={"stt_studio": json.dumps(header)})
        return path

    return write


def test_no_such_model(clip: Path, out: Path, place: Path, capsys: Captured) -> None:
    said = refused_model(capsys, clip, "nonsense", out)
    assert "there is no model nonsense" in said
    assert "stt-lite0" in said
    assert "there is no model" in refused_model(capsys, clip, place, out)


@pytest.mark.parametrize("content", [b"hello, I am text\n" * 20, b""])
def test_text_called_safetensors(
    content: bytes, clip: Path, out: Path, tmp_path: Path, capsys: Captured
) -> None:
    path = tmp_path / "text.safetensors"
    path.write_bytes(content)
    said = refused_model(capsys, clip, path, out)
    assert "text.safetensors is not a model file: STT Studio reads" in said


def test_weights_of_another_program(
    clip: Path, out: Path, tmp_path: Path, capsys: Captured
) -> None:
    path = tmp_path / "other.safetensors"
    save_file({"w": torch.ones(3)}, path, metadata={"format": "pt"})
    assert "was not written by STT Studio" in refused_model(capsys, clip, path, out)


@pytest.mark.parametrize("keep", [0.9, 100])
def test_truncated_model(
    keep: float, clip: Path, model: Path, out: Path, tmp_path: Path, capsys: Captured
) -> None:
    path = cut(model, keep, tmp_path / "cut.safetensors")
    assert "cut.safetensors is not a model file" in refused_model(capsys, clip, path, out)


def test_model_with_nan(
    clip: Path, model: Path, out: Path, tmp_path: Path, capsys: Captured
) -> None:
    weights = load_file(model)
    weights["frame.cls.4.bias"][3] = float("nan")
    path = tmp_path / "nan.safetensors"
    save_file(weights, path, metadata=header_json(read_header(model)))
    said = refused_model(capsys, clip, path, out)
    assert "holds weights that are not finite (NaN or infinite) in frame.cls.4.bias" in said
    assert "Use an earlier checkpoint" in said


def test_class_table_that_does_not_match_its_network(
    clip: Path, out: Path, rewritten: Callable[..., Path], capsys: Captured
) -> None:
    path = rewritten(classes=[{"name": "road", "color": [9, 9, 9]}])
    said = refused_model(capsys, clip, path, out)
    assert "contradicts itself: the class table names 1 classes, but the network tells 11" in said


@pytest.mark.parametrize("color", [[300, 0, 0], [-1, 0, 0]])
def test_color_that_does_not_exist(
    color: list[int], clip: Path, out: Path, rewritten: Callable[..., Path], capsys: Captured
) -> None:
    path = rewritten(classes=[{"name": "road", "color": color}] * 11)
    assert "colour parts lie in 0..255" in refused_model(capsys, clip, path, out)


def test_weights_that_do_not_fit_the_config(
    clip: Path, out: Path, rewritten: Callable[..., Path], capsys: Captured
) -> None:
    assert "do not fit the model it describes" in refused_model(capsys, clip, rewritten(), out)


@pytest.mark.parametrize("change", [{"dropout": 7}, {"bins": []}, {"bins": [0]}, {"bins": [-1]}])
def test_model_that_cannot_be_built(
    change: dict[str, Any],
    clip: Path,
    model: Path,
    out: Path,
    rewritten: Callable[..., Path],
    capsys: Captured,
) -> None:
    config = json.loads(header_json(read_header(model))["stt_studio"])["config"]
    path = rewritten(config={**config, "per_frame": {**config["per_frame"], **change}})
    said = refused_model(capsys, clip, path, out)
    assert any(w in said for w in ("cannot be built", "do not fit", "bins must be positive"))


def test_model_of_a_newer_version(
    clip: Path, out: Path, rewritten: Callable[..., Path], capsys: Captured
) -> None:
    said = refused_model(capsys, clip, rewritten(format=99), out)
    assert "newer version (format 99, this one reads up to 2): update STT Studio" in said


def test_header_that_is_no_json(clip: Path, out: Path, tmp_path: Path, capsys: Captured) -> None:
    path = tmp_path / "odd.safetensors"
    save_file({"w": torch.ones(1)}, path, metadata={"stt_studio": "{nonsense"})
    assert "odd.safetensors contradicts itself: Invalid JSON" in refused_model(
        capsys, clip, path, out
    )


# Output


def _writers(clip: Path, model: Path, recipe: Path, data: str, out: Path) -> list[list[object]]:
    """Every command that writes a folder or a file of its own, writing to `out`."""
    look = ("--frame", 1, "--xy", "1,1", "--model", model, "--force")
    return [
        ["segment", clip, "--model", model, "--overlay", "--out", out],
        *(["inspect", clip, *look, "--out", out / f"a.{s}"] for s in ("png", "svg", "json", "npz")),
        ["sample", "--size", "32x32", "--frames", 1, "--out", out],
        ["train", recipe, "--data", data, "--init", model, "--steps", 1, "--out", out],
    ]


@pytest.fixture(scope="module")
def recipe(place: Path) -> Path:
    (place / "tiny.toml").write_text(RECIPE)
    return place / "tiny.toml"


@pytest.fixture(scope="module")
def painted(place: Path) -> Path:
    labels = np.full((HEIGHT, WIDTH), 3, np.uint8)
    write_label_png(place / "painted" / "000002.png", labels)
    return place / "painted"


@pytest.fixture(scope="module")
def data(clip: Path, painted: Path) -> str:
    return f"video:{clip},labels={painted}"


def test_output_folder_below_a_file(
    clip: Path, model: Path, recipe: Path, data: str, tmp_path: Path, capsys: Captured
) -> None:
    (tmp_path / "file").write_text("mine")
    for words in _writers(clip, model, recipe, data, tmp_path / "file" / "out"):
        said = refused(capsys, *words)
        assert "a file stands where a folder is needed. Choose another folder." in said
    assert (tmp_path / "file").read_text() == "mine"
    assert names_in(tmp_path) == ["file"]


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="nothing is denied to root"
)
def test_output_folder_that_denies_writing(
    clip: Path, model: Path, recipe: Path, data: str, out: Path, capsys: Captured
) -> None:
    out.mkdir(mode=0o500)
    try:
        for words in _writers(clip, model, recipe, data, out):
            assert "permission denied. Choose a folder you may write to." in refused(capsys, *words)
        assert names_in(out) == []
    finally:
        out.chmod(0o700)


def test_output_folder_that_is_a_file(clip: Path, model: Path, out: Path, capsys: Captured) -> None:
    out.write_text("mine")
    said = refused(capsys, "segment", clip, "--model", model, "--out", out)
    assert f"cannot write {out}: a file stands where a folder is needed" in said
    assert out.read_text() == "mine"


def test_output_file_that_is_a_folder(
    clip: Path, model: Path, tmp_path: Path, capsys: Captured
) -> None:
    (tmp_path / "a.png").mkdir()
    words = ("--frame", 0, "--xy", "1,1", "--model", model, "--out", tmp_path / "a.png")
    assert "cannot write" in refused(capsys, "inspect", clip, *words)
    assert names_in(tmp_path) == ["a.png"]


# A full disk: the system refuses to let a file grow, for real


FULL = """
import resource, sys
import stt_core.segmenting
from app.cli import main
resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
sys.exit(main())
"""

posix = pytest.mark.skipif(os.name != "posix", reason="needs setrlimit")


@contextmanager
def _room_for(size: int) -> Iterator[None]:
    """No file may grow beyond `size` bytes."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def _files_in(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if not p.is_dir())


@posix
def test_full_disk_leaves_no_half_of_a_label_map(clip: Path, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ("--model", model, "--save", "both", "--overlay", "--device", "cpu", "--json")
    said = _sentence(program(tmp_path, "segment", clip, "--out", out, *words, code=FULL))
    assert "the disk is full. Free some space, or choose another folder." in said
    assert _files_in(out) == []


@posix
def test_full_disk_leaves_no_half_of_an_overlay(
    clip: Path, model: Path, out: Path, capsys: Captured
) -> None:
    words = ("--model", model, "--overlay", "--json")
    whole = call(capsys, "segment", clip, "--out", out, *words)
    assert whole.code == 0, whole.err
    largest = max(p.stat().st_size for p in out.glob("labels/*"))
    overlay = out / "overlay.mp4"
    assert largest < overlay.stat().st_size // 2
    overlay.write_bytes(b"older")
    (out / "run.json").unlink()
    with _room_for((largest + overlay.stat().st_size + 3000) // 2):
        said = _sentence(call(capsys, "segment", clip, "--out", out, *words))
    assert "overlay.mp4: the disk is full" in said
    assert overlay.read_bytes() == b"older"
    assert names_in(out) == ["labels", "overlay.mp4"]


@posix
def test_full_disk_leaves_the_older_maps_and_report(
    clip: Path, model: Path, out: Path, capsys: Captured
) -> None:
    words = ("segment", clip, "--model", model, "--range", "0:2", "--out", out)
    assert call(capsys, *words).code == 0
    older = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    with _room_for(100):
        assert "the disk is full" in refused(capsys, *words)
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == older


@posix
@pytest.mark.parametrize("suffix", ["png", "svg", "json", "npz"])
def test_full_disk_leaves_no_half_of_a_figure(
    suffix: str, clip: Path, model: Path, tmp_path: Path, capsys: Captured
) -> None:
    words = ("--frame", 3, "--xy", "40,40", "--model", model, "--force")
    with _room_for(100):
        said = refused(capsys, "inspect", clip, *words, "--out", tmp_path / f"a.{suffix}")
    assert f"a.{suffix}: the disk is full" in said
    assert names_in(tmp_path) == []


@posix
def test_full_disk_leaves_no_half_of_a_model(
    model: Path, recipe: Path, data: str, out: Path, capsys: Captured
) -> None:
    words = ("--data", data, "--init", model, "--steps", 1, "--device", "cpu", "--out", out)
    with _room_for(10_000):
        said = refused(capsys, "train", recipe, *words)
    assert "the disk is full" in said
    assert not [name for name in names_in(out) if name.endswith((".safetensors", ".pt"))]


# Options


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--range", "5"), "'5' is not a range of frames: say A:B, A: or :B"),
        (("--range", "-3:"), "'-3:' is not a range"),
        (("--range", "a:b"), "'a:b' is not a range"),
        (("--range", "1:2:3:4"), "'1:2:3:4' is not a range"),
        (("--range", "0.5:2"), "'0.5:2' is not a range"),
        (("--range", "3:3"), "the range 3:3 holds no frame: the medium has frames 0 to 5"),
        (("--range", "4:2"), "the range 4:2 holds no frame"),
        (("--range", "6:"), "the range 6: holds no frame"),
        (("--range", ":0"), "the range :0 holds no frame"),
        (("--key-frames", "10"), "--key-frames"),
        (("--key-frames", "-1"), "--key-frames"),
        (("--key-frames", "nan"), "--key-frames"),
        (("--precision", "fp64"), "'fp64' is not one of"),
        (("--precision", "fp16", "--device", "cpu"), "fp16 needs a GPU; on the CPU use"),
        (("--save", "all"), "'all' is not one of"),
        (("--device", "abacus"), "there is no device 'abacus': say auto, cpu, cuda"),
        (("--device", "cuda:x"), "there is no device 'cuda:x'"),
        (("--device", "cuda:99"), "there is no device 'cuda:99'"),
    ],
)
def test_bad_option_of_segment(
    words: Sequence[str], sentence: str, clip: Path, model: Path, out: Path, capsys: Captured
) -> None:
    assert sentence in refused(capsys, "segment", clip, "--model", model, "--out", out, *words)
    assert not out.exists()


@pytest.mark.parametrize("device", ["cuda", "cuda:0", "mps"])
def test_device_that_is_not_there(
    device: str, clip: Path, model: Path, out: Path, capsys: Captured
) -> None:
    there = torch.backends.mps if device == "mps" else torch.cuda
    if there.is_available():
        pytest.skip(f"{device} is there")
    said = refused(capsys, "segment", clip, "--model", model, "--out", out, "--device", device)
    assert "there is no" in said
    assert "use --device cpu" in said
    assert not out.exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--xy", f"{WIDTH},0"), "pixel (96, 0) lies outside the 96x64 image"),
        (("--xy", f"0,{HEIGHT}"), "pixel (0, 64) lies outside the 96x64 image"),
        (("--xy", "-1,0"), "'-1,0' is not a pixel: say X,Y"),
        (("--xy", "1.5,2"), "'1.5,2' is not a pixel"),
        (("--xy", "nan,2"), "'nan,2' is not a pixel"),
        (("--xy", "12"), "'12' is not a pixel"),
        (("--xy", "1,2,3"), "'1,2,3' is not a pixel"),
        (("--frame", "6"), "which has frames 0 to 5"),
        (("--frame", "-1"), "--frame"),
        (("--frame", "x"), "--frame"),
        (("--head", "0"), "--head is mean, all, or 1 to 4, got 0"),
        (("--head", "5"), "--head is mean, all, or 1 to 4, got 5"),
        (("--head", "worst"), "--head is mean, all, or 1 to 4, got worst"),
        (("--out", "a.jpg"), "--out ends in one of .png, .svg, .json, .npz, got a.jpg"),
        (("--out", "a"), "--out ends in one of"),
    ],
)
def test_bad_option_of_inspect(
    words: Sequence[str], sentence: str, clip: Path, model: Path, tmp_path: Path, capsys: Captured
) -> None:
    good = ("--frame", 3, "--xy", "1,1", "--model", model, "--out", tmp_path / "a.png")
    assert sentence in refused(capsys, "inspect", clip, *good, *words)
    assert names_in(tmp_path) == []


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--size", "480"), "'480' is not a size: say WIDTHxHEIGHT"),
        (("--size", "0x0"), "'0x0' is not a size"),
        (("--size", "-64x64"), "'-64x64' is not a size"),
        (("--size", "nanx64"), "'nanx64' is not a size"),
        (("--size", "16x64"), "even numbers from 32"),
        (("--size", "65x64"), "even numbers from 32"),
        (("--size", "100000x100000"), "to 4096"),
        (("--frames", "0"), "--frames"),
        (("--seed", "-1"), "--seed"),
        (("--seed", "1.5"), "--seed"),
    ],
)
def test_bad_option_of_sample(
    words: Sequence[str], sentence: str, out: Path, capsys: Captured
) -> None:
    assert sentence in refused(capsys, "sample", "--out", out, *words)
    assert not out.exists()


# Training


def refused_training(
    capsys: Captured, recipe: object, data: str, model: Path, out: Path, *words: object
) -> str:
    fixed = ("--init", model, "--device", "cpu", "--out", out)
    return refused(capsys, "train", recipe, "--data", data, *fixed, *words)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("model = [", "cannot read the recipe"),
        ("speed = 3", "is wrong at 'speed'"),
        ("steps = 'many'", "is wrong at 'steps'"),
        ("steps = 0", "steps must be at least 1"),
        ("[augment]\ncrop = [63, 64]", "crop sides must be multiples of 8"),
        ("[augment]\nscale = [nan, 1.0]", "scale must be a rising positive pair"),
        ("model = 'unet'", "is wrong at 'model'"),
        ("batch_size = 1", "must be at least 2 where batch norms learn"),
    ],
)
def test_bad_recipe(
    content: str,
    sentence: str,
    model: Path,
    data: str,
    out: Path,
    tmp_path: Path,
    capsys: Captured,
) -> None:
    recipe = tmp_path / "bad.toml"
    recipe.write_text(content)
    assert sentence in refused_training(capsys, recipe, data, model, out)
    assert not out.exists()


def test_no_such_recipe(model: Path, data: str, out: Path, capsys: Captured) -> None:
    said = refused_training(capsys, "nonsense", data, model, out)
    assert "there is no recipe nonsense" in said
    assert "fine-tune" in said


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ("nonsense", "cannot read the data 'nonsense': say KIND:PATH"),
        ("scenes:9-3", "'scenes:9-3': it names no seeds"),
        ("camvid:nowhere", "nowhere is not CamVid: it should hold"),
        ("video:nowhere.mp4", "nowhere.mp4 does not exist"),
    ],
)
def test_bad_data(
    data: str, sentence: str, model: Path, recipe: Path, out: Path, capsys: Captured
) -> None:
    assert sentence in refused_training(capsys, recipe, data, model, out)
    assert not out.exists()


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        (None, 0, "nothing is painted in"),
        ("000002.png", UNLABELLED, "nothing is painted in"),
        ("000099.png", 3, "000099.png labels frame 99, but the video has 6 frames"),
        ("000002.png", 200, "000002.png holds the ids 200, which the class table does not have"),
    ],
)
def test_labels_that_cannot_be_learnt(
    name: str | None,
    value: int,
    sentence: str,
    clip: Path,
    model: Path,
    recipe: Path,
    out: Path,
    tmp_path: Path,
    capsys: Captured,
) -> None:
    folder = tmp_path / "labels"
    folder.mkdir()
    if name is not None:
        write_label_png(folder / name, np.full((HEIGHT, WIDTH), value, np.uint8))
    said = refused_training(capsys, recipe, f"video:{clip},labels={folder}", model, out)
    assert sentence in said
    assert not out.exists()


def test_labels_of_another_size(
    clip: Path, model: Path, recipe: Path, out: Path, tmp_path: Path, capsys: Captured
) -> None:
    write_label_png(tmp_path / "labels" / "000001.png", np.zeros((8, 8), np.uint8))
    data = f"video:{clip},labels={tmp_path / 'labels'}"
    said = refused_training(capsys, recipe, data, model, out)
    assert "000001.png is 8 x 8 pixels, but the video is 96 x 64" in said
    assert not list(out.glob("*.safetensors"))


def test_loss_that_is_not_finite(
    model: Path, data: str, out: Path, tmp_path: Path, capsys: Captured
) -> None:
    recipe = tmp_path / "fast.toml"
    recipe.write_text(RECIPE.replace("1e-3", "1e30"))
    said = refused_training(capsys, recipe, data, model, out)
    assert re.search(r"(became (nan|inf)|not finite) at step \d, on the clips .*#?\d", said)
    assert "lower the learning rate" in said
    assert not [name for name in names_in(out) if name.endswith((".safetensors", ".pt"))]


@pytest.mark.parametrize("steps", ["0", "-5", "many"])
def test_bad_number_of_steps(
    steps: str, model: Path, recipe: Path, data: str, out: Path, capsys: Captured
) -> None:
    said = refused_training(capsys, recipe, data, model, out, "--steps", steps)
    assert "--steps" in said
    assert not out.exists()


def test_broken_model_to_start_from(
    recipe: Path, data: str, out: Path, tmp_path: Path, capsys: Captured
) -> None:
    (tmp_path / "text.safetensors").write_text("hello")
    said = refused_training(capsys, recipe, data, tmp_path / "text.safetensors", out)
    assert "is not a model file" in said
    assert not out.exists()
