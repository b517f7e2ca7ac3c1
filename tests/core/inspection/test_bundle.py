"""A bundle holds what the engine computed, opens without torch, and says what is wrong with it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stt_core.engine import Engine, run
from stt_core.errors import FormatError, OutputError
from stt_core.inspection.bundle import ARRAYS, read_bundle
from stt_core.inspection.bundle_writing import write_bundle
from stt_core.inspection.places import Cell, Pixel
from tests.core.inspection.scene import (
    ByHand,
    a_selected,
    an_unselected,
    classes_of,
    focus_weights,
    reading,
)

ROOT = Path(__file__).resolve().parents[3]


def _pins(engine: Engine) -> list[Cell | Pixel]:
    passed = an_unselected(engine, 7)
    scale = engine.media.height // reading(engine, 7).current.size[0]
    return [a_selected(engine, 6), Pixel(7, passed.col * scale, passed.row * scale), Cell(0, 1, 1)]


@pytest.fixture(scope="module")
def written(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle") / "taken"
    assert run(write_bundle(engine, folder, _pins(engine))) == folder
    return folder


@pytest.fixture
def copy(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "copy"))


def test_a_bundle_holds_the_frames_what_was_said_of_them_and_the_settings(
    engine: Engine, written: Path
) -> None:
    bundle = read_bundle(written)
    # of the first pin, of the second that did not attend, of the third that has no past
    assert bundle.frames == (0, 3, 4, 5, 6, 7)
    for frame in bundle.frames:
        np.testing.assert_array_equal(bundle.image(frame), engine.media[frame].image)
        np.testing.assert_array_equal(bundle.labels(frame), engine.segment(frame).labels)
    assert bundle.classes == engine.network.header.classes
    assert (bundle.size, bundle.grid) == ((64, 96), (8, 12))
    assert bundle.about["medium"]["frames"] == 9
    assert bundle.about["model"]["config"]["heads"] == 4
    assert bundle.about["settings"]["precision"] == "fp32"
    assert bundle.about["settings"]["cuts"] is False
    with pytest.raises(IndexError, match="frame 1 is not in the bundle"):
        bundle.image(1)


@pytest.mark.parametrize("force", [False, True])
def test_the_numbers_of_a_pin_are_those_of_the_model(
    hands: ByHand, tmp_path: Path, force: bool
) -> None:
    engine = hands.engine
    pins = _pins(engine)
    bundle = read_bundle(run(write_bundle(engine, tmp_path / "b", pins, force=force)))
    assert [pin.query_at.frame for pin in bundle.pins] == [6, 7, 0]
    first = bundle.pins[0]
    assert isinstance(pins[0], Cell)
    assert (first.query_at.row, first.query_at.col) == (pins[0].row, pins[0].col)
    assert [pin.query_at.attends for pin in bundle.pins] == [True, force, False]
    for pin in bundle.pins:
        at = pin.query_at
        read = reading(engine, at.frame)
        position = at.row * bundle.grid[1] + at.col
        np.testing.assert_array_equal(
            pin.feature, read.current.features[0, :, at.row, at.col].numpy()
        )
        assert pin.need == pytest.approx(float(read.decoded.need[0, position]))
        if not at.attends:
            assert pin.keys.shape == (0, 3)
            assert pin.weights.shape == (4, 0)
            continue
        focus = engine.network.focus(read.current, read.memory, position)
        np.testing.assert_allclose(pin.probabilities, focus.logits.softmax(0).numpy(), atol=2e-5)
        maps = focus_weights(engine, Cell(at.frame, at.row, at.col))
        lag, row, col = pin.keys.T
        np.testing.assert_allclose(pin.weights, maps[:, lag, row, col], atol=1e-6)
        for (f, y, x), feature, class_id in zip(
            pin.keys.tolist(), pin.key_features, pin.key_classes, strict=True
        ):
            np.testing.assert_array_equal(feature, read.memory[f].features[0, :, y, x].numpy())
            assert class_id == classes_of(engine, at.frames[f])[y, x]


def test_weights_follow_from_the_query_and_the_keys(hands: ByHand, tmp_path: Path) -> None:
    """As the docstring says; with numpy alone."""
    pin = read_bundle(run(write_bundle(hands.engine, tmp_path / "b", _pins(hands.engine)))).pins[0]
    heads = len(pin.weights)
    asked = pin.query.reshape(heads, -1)
    keys = pin.projected_keys.reshape(len(pin.keys), heads, -1)
    scores = np.einsum("hd,khd->hk", asked, keys) / np.sqrt(asked.shape[1])
    weights = np.exp(scores - scores.max(1, keepdims=True))
    np.testing.assert_allclose(
        weights / weights.sum(1, keepdims=True), pin.weights, rtol=1e-3, atol=1e-6
    )


def test_it_opens_where_there_is_no_torch(written: Path) -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from pathlib import Path\n"
        "from stt_core.inspection.bundle import read_bundle\n"
        "import stt_core.inspection.answers, stt_core.inspection.change\n"
        "import stt_core.inspection.top_keys\n"
        "b = read_bundle(Path(sys.argv[1]))\n"
        "print(len(b.pins), b.labels(6).shape, b.image(6).shape)"
    )
    told = subprocess.run(
        [sys.executable, "-c", code, str(written)],
        capture_output=True, text=True, check=False, cwd=ROOT,
    )  # fmt: skip
    assert told.stdout.split("\n")[0] == "3 (64, 96) (64, 96, 3)", told.stderr
    with np.load(written / "arrays.npz", allow_pickle=False) as arrays:
        assert len(arrays.files) == 3 * len(ARRAYS)
        assert all(arrays[name].dtype.kind in "fiu" for name in arrays.files)


def test_a_bundle_that_is_dropped_midway_leaves_nothing(engine: Engine, tmp_path: Path) -> None:
    steps = write_bundle(engine, tmp_path / "b", _pins(engine))
    for _ in range(4):
        next(steps)
    assert any(tmp_path.iterdir())
    steps.close()
    assert not any(tmp_path.iterdir())


def test_it_does_not_mix_with_what_is_there(engine: Engine, written: Path) -> None:
    with pytest.raises(OutputError, match="is not empty"):
        run(write_bundle(engine, written, [Cell(3, 1, 1)]))
    with pytest.raises(ValueError, match="at least one query"):
        run(write_bundle(engine, written / "new", []))


# what is wrong with a bundle


def _edit(folder: Path, change: Callable[[dict], object]) -> None:  # type: ignore[type-arg]
    path = folder / "bundle.json"
    told = json.loads(path.read_text())
    change(told)
    path.write_text(json.dumps(told))


def _rewrite(folder: Path, name: str, array: np.ndarray | None) -> None:
    with np.load(folder / "arrays.npz") as held:
        arrays = dict(held)
    if array is None:
        del arrays[name]
    else:
        arrays[name] = array
    np.savez(folder / "arrays.npz", **arrays)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda t: t.update(format="other"), "does not say that it is of an inspection bundle"),
        (lambda t: t.update(version=2), "newer version of the program"),
        (lambda t: t.update(version="x"), "is not an inspection bundle"),
        (lambda t: t.pop("pins"), "lacks 'pins'"),
        (lambda t: t.pop("model"), "lacks 'model'"),
        (lambda t: t.update(grid=[0, 4]), "asks for 4 x 0 pixels"),
        (lambda t: t.update(size=[1 << 20, 1 << 20]), "more than the limit"),
        (lambda t: t["frames"].append(8), "lacks frames/000008.png"),
        (lambda t: t["frames"].remove(4), r"the frames \[4\] are not in it"),
        (lambda t: t["pins"][0].update(row=40), "lies outside the 8x12 map"),
        (lambda t: t["pins"][0].update(radii=[1]), "3 key frames, but 1 radii"),
        (lambda t: t["pins"][0].update(frame=None), "is not an inspection bundle"),
        (lambda t: t["pins"].append(t["pins"][0]), "holds no pin3_keys"),
        (lambda t: t["classes"].pop(), "should be float32"),
    ],
)
def test_a_description_that_is_wrong_is_refused_in_a_sentence(
    copy: Path,
    change: Callable[[dict], object],
    told: str,  # type: ignore[type-arg]
) -> None:
    _edit(copy, change)
    with pytest.raises(FormatError, match=told):
        read_bundle(copy)


@pytest.mark.parametrize(
    ("name", "array", "told"),
    [
        ("pin0_weights", None, "holds no pin0_weights"),
        ("pin0_weights", np.zeros((4, 3), np.float32), "should be float32"),
        ("pin1_weights", np.zeros((4, 0)), "should be float32"),
        ("pin0_query", np.full(32, np.nan, np.float32), "not finite"),
        ("pin0_query", np.zeros((32, 1), np.float32), r"should be float32 \[d\]"),
        ("pin2_keys", np.zeros((1, 3), np.int32), "keys in .* lie outside of the maps"),
        ("pin0_feature", np.array([{}] * 3, object), "Python objects"),
    ],
)
def test_arrays_that_are_wrong_are_refused_in_a_sentence(
    copy: Path, name: str, array: np.ndarray | None, told: str
) -> None:
    _rewrite(copy, name, array)
    if name == "pin2_keys":  # with all else to match
        for other, shape in (("weights", (4, 1)), ("key_features", (1, 32)),
                             ("projected_keys", (1, 32))):  # fmt: skip
            _rewrite(copy, f"pin2_{other}", np.zeros(shape, np.float32))
        _rewrite(copy, "pin2_key_classes", np.zeros(1, np.uint8))
    with pytest.raises(FormatError, match=told):
        read_bundle(copy)


def test_classes_and_pictures_that_are_wrong_are_refused(copy: Path, written: Path) -> None:
    count = len(read_bundle(written).pins[0].keys)
    Image.new("RGB", (5, 5)).save(copy / "frames" / "000006.png")
    Image.fromarray(np.full((64, 96), 77, np.uint8)).save(copy / "labels" / "000006.png")
    (copy / "labels" / "000005.png").write_bytes(b"no picture")
    bundle = read_bundle(copy)
    with pytest.raises(FormatError, match=r"is 5 x 5 pixels, but the bundle is of 96 x 64"):
        bundle.image(6)
    with pytest.raises(FormatError, match="holds the ids 77"):
        bundle.labels(6)
    with pytest.raises(FormatError, match="is not a PNG"):
        bundle.labels(5)
    _rewrite(copy, "pin0_key_classes", np.full(count, 200, np.uint8))
    with pytest.raises(FormatError, match="are no classes"):
        read_bundle(copy)


@pytest.mark.parametrize("length", [0, 10, 400, -30])
def test_files_that_are_cut_off_are_refused(copy: Path, length: int) -> None:
    whole = (copy / "arrays.npz").read_bytes()
    (copy / "arrays.npz").write_bytes(whole[:length])
    with pytest.raises(FormatError):
        read_bundle(copy)


def test_an_array_that_asks_for_more_than_there_is_is_refused(copy: Path) -> None:
    with zipfile.ZipFile(copy / "arrays.npz") as held:
        parts = {name: held.read(name) for name in held.namelist()}
    head = parts["pin0_feature.npy"]
    parts["pin0_feature.npy"] = head.replace(b"(32,), ", b"(9999999999,), ")
    with zipfile.ZipFile(copy / "arrays.npz", "w") as made:
        for name, data in parts.items():
            made.writestr(name, data)
    with pytest.raises(FormatError, match="pin0_feature"):
        read_bundle(copy)


def test_what_is_no_bundle_at_all_is_refused(tmp_path: Path, copy: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing", copy / "bundle.json"):
        with pytest.raises(FormatError, match="is no inspection bundle"):
            read_bundle(folder)
    (copy / "bundle.json").write_text("[1]")
    with pytest.raises(FormatError, match="holds no object"):
        read_bundle(copy)
    (copy / "arrays.npz").unlink()
    with pytest.raises(FormatError):
        read_bundle(copy)
