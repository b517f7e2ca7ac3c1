"""Measuring predictions: what is fed to them, what is compared, what is told."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from stt_core.data.sequences import DataSet
from stt_core.data.sources import open_data
from stt_core.errors import DataError, LabelError
from stt_core.evaluation.predictors import (
    FolderPredictor,
    ModelPredictor,
    folder_classes,
)
from stt_core.evaluation.run import EvaluateOptions
from stt_core.flow import dis_flow
from stt_core.formats.flo import write_flo
from stt_core.labels import VOID, LabelClass, write_label_png
from stt_core.metrics.consistency import ConsistencyMeter, find_warp
from stt_core.metrics.segmentation import mean_iou, open_confusion
from stt_core.network import Network
from stt_core.stream import Stream
from tests.core.drives import (
    CLASSES,
    SIZE,
    Drive,
    Map,
    data_set,
    drive,
    maps_of,
    run,
    some_maps,
    write_maps,
)
from tests.core.models import checkpoint, pspnet_config, stt_config, tdnet_config

NO_TC = EvaluateOptions(protocol=None)
PLAIN = EvaluateOptions(protocol="plain")


# what is compared


def test_figures_are_those_of_the_metrics_over_the_whole_set(tmp_path: Path) -> None:
    one, two = drive("one", 4), drive("two", 3, seed=1)
    data = data_set(one, two)
    predictor = maps_of(data, tmp_path / "maps")
    (result,) = run(data, [predictor], PLAIN)
    total, meter = np.zeros((3, 4), np.int64), ConsistencyMeter("plain", 3)
    for which, each in enumerate((one, two)):
        found = [predictor.read(which, i, SIZE) for i in range(len(each))]
        total += sum(open_confusion(m, each.maps[i], 3) for i, m in enumerate(found))
        for i in range(1, len(each)):
            flow = dis_flow(each.images[i], each.images[i - 1])
            meter.add(found[i - 1], found[i], find_warp("plain", backward=flow))
    np.testing.assert_array_equal(result.confusion, total)
    assert result.miou == mean_iou(total)
    assert result.tc == meter.result("dis")
    assert (result.frames, result.pairs) == (7, 5)
    assert 0 < result.boundary_iou < result.pixel_accuracy < 1


def test_all_at_once_is_each_alone_and_every_image_is_read_once(tmp_path: Path) -> None:
    data = data_set(drive("d", 4))
    several = [maps_of(data, tmp_path / f"{seed}", seed) for seed in (1, 2)]
    together = run(data, several)
    read = [*data.sequences[0].read]  # type: ignore[attr-defined]
    assert read == [0, 1, 2, 3]
    for predictor, result in zip(several, together, strict=True):
        (alone,) = run(data, [predictor])
        assert alone.tc == result.tc
        np.testing.assert_array_equal(alone.confusion, result.confusion)


def test_labels_as_predictions_are_right_and_void_in_them_says_nothing(tmp_path: Path) -> None:
    """SegNet's CamVid has id 11 where there is no class, in labels as in folders of them."""
    maps = [np.where(m == 2, np.uint8(VOID), m) for m in some_maps(4)]
    data = data_set(drive("d", 4, maps=dict(enumerate(maps))), classes=CLASSES[:2])
    names = [f"d_{i:03d}" for i in range(4)]
    own = [np.where(m == VOID, np.uint8(2), m) for m in maps]
    silent = write_maps(tmp_path / "silent", maps, names)
    raw = write_maps(tmp_path / "raw", own, names)
    # one more pixel without a class: not the labels any more, but a prediction that is wrong
    off = [m.copy() for m in own]
    for m, labels in zip(off, maps, strict=True):
        m[tuple(np.argwhere(labels == 0)[0])] = 2
    wrong = write_maps(tmp_path / "wrong", off, names)
    predictors = [FolderPredictor(f.name, f, data.classes) for f in (silent, raw, wrong)]
    first, second, third = run(data, predictors, PLAIN)
    assert first.miou == second.miou == first.boundary_iou == second.boundary_iou == 1
    assert first.tc == second.tc
    assert first.tc is not None
    assert third.tc is not None
    assert third.tc.value < first.tc.value
    assert third.miou < 1
    assert third.confusion[:, -1].tolist() == [4, 0]


def test_only_labelled_frames_count_for_miou_but_all_for_consistency(tmp_path: Path) -> None:
    every = drive("d", 6)
    sparse = replace(every, maps={3: every.maps[3]})
    predictor = maps_of(data_set(every), tmp_path / "maps")
    (full,) = run(data_set(every), [predictor], PLAIN)
    (thin,) = run(data_set(sparse), [predictor], PLAIN)
    assert thin.tc == full.tc
    assert (thin.frames, thin.pairs) == (1, 5)
    assert thin.scores == (full.scores[3],)
    (unlabelled,) = run(data_set(replace(every, maps={})), [predictor], PLAIN)
    assert unlabelled.tc == full.tc
    assert np.isnan([unlabelled.miou, unlabelled.pixel_accuracy, unlabelled.boundary_iou]).all()


def test_without_consistency_only_labelled_frames_need_maps(tmp_path: Path) -> None:
    sparse = drive("d", 6)
    sparse.maps = {i: sparse.maps[i] for i in (1, 4)}
    folder = write_maps(tmp_path / "m", some_maps(2, seed=3), ["d_001", "d_004"])
    predictor = FolderPredictor("m", folder, CLASSES)
    (result,) = run(data_set(sparse), [predictor], NO_TC)
    assert (result.frames, result.pairs, result.tc) == (2, 0, None)
    assert sparse.read == [1, 4]
    with pytest.raises(DataError, match=r"lacks 4 of 6 label maps, the first of them .*d_000\.png"):
        run(data_set(sparse), [predictor], PLAIN)


def test_what_is_no_video_has_no_consistency(tmp_path: Path) -> None:
    data = data_set(drive("d", 3, video=False))
    (result,) = run(data, [maps_of(data, tmp_path / "m")], PLAIN)
    assert result.tc is not None
    assert np.isnan(result.tc.value)
    assert (result.frames, result.pairs) == (3, 0)


def test_the_worst_frames_are_kept_worst_first(tmp_path: Path) -> None:
    data = data_set(drive("d", 6))
    names = [data.sequences[0].frame_name(i) for i in range(6)]
    maps = [data.sequences[0].labels(i) for i in range(6)]
    spoilt = []
    for i, labels in enumerate(maps):
        assert labels is not None
        spoilt.append(labels.copy())
        spoilt[i][: 10 * (i % 3)] = 7  # frames 0 and 3 are right
    folder = write_maps(tmp_path / "m", spoilt, names)
    predictor = FolderPredictor("m", folder, CLASSES)
    (result,) = run(data, [predictor], EvaluateOptions(None, worst=3))
    scores = sorted(s.miou for s in result.scores)
    assert [bad.score.miou for bad in result.worst] == scores[:3]
    assert {bad.score.index % 3 for bad in result.worst[:2]} == {2}
    assert result.worst[0].predicted.max() == 3  # of no class, whichever id it was
    (few,) = run(data, [predictor], EvaluateOptions(None, worst=9))
    assert len(few.worst) == 4
    (none,) = run(data, [predictor], EvaluateOptions(None, worst=0))
    assert none.worst == ()


def test_boundaries_can_be_left_out_and_absent_classes_counted(tmp_path: Path) -> None:
    classes = (*CLASSES, LabelClass("never", (1, 2, 3)))
    data = data_set(drive("d", 3), classes=classes)
    predictor = maps_of(data, tmp_path / "m")
    (clean,) = run(data, [predictor], NO_TC)
    (strict,) = run(data, [predictor], EvaluateOptions(None, average="strict", boundary=False))
    assert strict.miou == pytest.approx(clean.miou * 3 / 4)
    assert np.isnan(clean.class_iou[3])
    assert np.isnan(strict.boundary_iou)


# models


def own_maps(network: Network, frames: Sequence[NDArray[np.uint8]]) -> list[Map]:
    stream = Stream(network)
    return [stream.push(image).segmentation.labels for image in frames]


def camvid_drive(frames: int = 5, **changes: object) -> Drive:
    return drive("d", frames, **{"maps": dict(enumerate(some_maps(frames, 1, 11))), **changes})


@pytest.mark.parametrize(
    "config",
    [pspnet_config(), stt_config(key_frames=2), stt_config(key_frames=1, key_spacing=2)],
)
def test_a_model_streams_through_a_sequence(config: object) -> None:
    made = checkpoint(config)  # type: ignore[arg-type]
    each = camvid_drive()
    data = data_set(each, each, classes=made.header.classes)
    (result,) = run(data, [ModelPredictor("m", Network(made, device="cpu"))], PLAIN)
    found = own_maps(Network(made, device="cpu"), each.images)
    wanted = sum(open_confusion(m, each.maps[i], 11) for i, m in enumerate(found))
    # twice the same: the second sequence does not read from the first
    np.testing.assert_array_equal(result.confusion, 2 * wanted)


@pytest.mark.parametrize("config", [stt_config(key_frames=2), tdnet_config()])
def test_sparse_labels_are_predicted_with_the_same_past(config: object) -> None:
    each = camvid_drive(9)
    each.maps = {i: each.maps[i] for i in (4, 8)}
    made = checkpoint(config)  # type: ignore[arg-type]
    data = data_set(each, classes=made.header.classes)
    predictor = ModelPredictor("m", Network(made, device="cpu"))
    (every,) = run(data, [predictor], PLAIN)
    each.read.clear()
    (alone,) = run(data, [predictor], NO_TC)
    np.testing.assert_array_equal(alone.confusion, every.confusion)
    assert each.read == [
        i for i in range(9) if 0 <= 4 - i <= predictor.past or i > 7 - predictor.past
    ]


def test_where_there_is_no_video_every_frame_is_a_first_one() -> None:
    made = checkpoint(stt_config(key_frames=2))
    each = camvid_drive(3, video=False)
    data = data_set(each, classes=made.header.classes)
    network = Network(made, device="cpu")
    (result,) = run(data, [ModelPredictor("m", network)], NO_TC)
    firsts = [own_maps(network, [image])[0] for image in each.images]
    wanted = sum(open_confusion(m, each.maps[i], 11) for i, m in enumerate(firsts))
    np.testing.assert_array_equal(result.confusion, wanted)


def test_classes_in_another_order_are_put_in_place() -> None:
    made = checkpoint(pspnet_config())
    each = camvid_drive(2)
    known = made.header.classes
    order = np.random.default_rng(0).permutation(11)
    # the data set's class i is the model's class order[i]
    shuffled = [replace(known[i], name=known[i].name.upper()) for i in order]
    place = np.argsort(order).astype(np.uint8)
    other = replace(each, maps={i: place[m] for i, m in each.maps.items()})
    predictor = ModelPredictor("m", Network(made, device="cpu"))
    (result,) = run(data_set(each, classes=known), [predictor], NO_TC)
    (moved,) = run(data_set(other, classes=shuffled), [predictor], NO_TC)
    assert moved.miou == pytest.approx(result.miou)
    assert moved.class_iou == tuple(result.class_iou[i] for i in order)


def test_a_model_of_other_classes_is_refused() -> None:
    predictor = ModelPredictor("mine", Network(checkpoint(pspnet_config()), device="cpu"))
    with pytest.raises(DataError) as refused:
        run(data_set(drive()), [predictor], NO_TC)
    told = str(refused.value)
    assert "the model mine cannot be measured on test:data" in told
    assert "it has 11 classes and the data set 3" in told
    assert "it lacks A, B, C|<i>" in told
    assert "the data set lacks its Sky, Building, Pole, Road, Pavement and 6 more" in told


def test_models_are_timed_after_a_warm_up() -> None:
    made = checkpoint(pspnet_config())
    data = data_set(camvid_drive(8), classes=made.header.classes)
    predictor = ModelPredictor("m", Network(made, device="cpu", precision="fp32"))
    (result,) = run(data, [predictor], NO_TC)
    times = result.latency
    assert times is not None
    assert times.frames == 2
    assert 0 < times.median <= times.p95
    assert times.fps == pytest.approx(1000 / times.mean)
    assert times.device.startswith("cpu")
    assert times.device.endswith("fp32")
    (short,) = run(data_set(camvid_drive(6), classes=made.header.classes), [predictor], NO_TC)
    assert short.latency is None  # and what an earlier run took is forgotten


# folders


@pytest.mark.parametrize("kind", [".", "labels", "d", "labels/d", "city/deep"])
def test_maps_are_found_by_name_wherever_results_lie(tmp_path: Path, kind: str) -> None:
    data = data_set(drive("d", 2), drive("e", 2, seed=1))
    for each in data.sequences:
        place = tmp_path / kind.replace("d", each.name, 1) if "d" in kind[-2:] else tmp_path / kind
        suffix = "_leftImg8bit" if kind == "city/deep" else ""
        maps = [each.labels(i) for i in range(2)]
        names = [f"{each.frame_name(i)}{suffix}" for i in range(2)]
        write_maps(place, [m for m in maps if m is not None], names)
    (result,) = run(data, [FolderPredictor("p", tmp_path, CLASSES)], NO_TC)
    assert result.miou == 1


@pytest.mark.parametrize("kind", [".", "labels", "d"])
def test_maps_are_found_by_number(tmp_path: Path, kind: str) -> None:
    data = data_set(drive("d", 3))
    names = [f"{i:06d}" for i in range(3)]
    write_maps(tmp_path / kind, some_maps(3), names)
    (result,) = run(data, [FolderPredictor("p", tmp_path, CLASSES)], NO_TC)
    assert result.miou == 1


def test_numbers_of_several_sequences_lie_in_folders_of_their_own(tmp_path: Path) -> None:
    data = data_set(drive("d", 2), drive("e", 2, seed=1))
    for each in ("d", "e"):
        write_maps(tmp_path / each, some_maps(2, int(each == "e")), ["000000", "000001"])
    predictor = FolderPredictor("p", tmp_path, CLASSES)
    assert run(data, [predictor], NO_TC)[0].miou == 1
    write_maps(tmp_path / "flat", some_maps(2), ["000000", "000001"])
    with pytest.raises(DataError, match=r"holds no label map of test:data: there should be 4"):
        run(data, [FolderPredictor("p", tmp_path / "flat", CLASSES)], NO_TC)


def test_a_map_of_another_size_or_of_colours_is_refused(tmp_path: Path) -> None:
    data = data_set(drive("d", 1))
    write_maps(tmp_path, [np.zeros((9, 9), np.uint8)], ["d_000"])
    predictor = FolderPredictor("p", tmp_path, CLASSES)
    with pytest.raises(DataError, match=r"d_000\.png is 9 x 9 pixels, but its frame is 96 x 64"):
        run(data, [predictor], NO_TC)
    write_label_png(tmp_path / "d_000.png", np.zeros((*SIZE, 3), np.uint8))
    with pytest.raises(LabelError, match="holds RGB pixels"):
        run(data, [predictor], NO_TC)


def test_a_folder_of_segment_tells_its_classes(tmp_path: Path) -> None:
    assert folder_classes(tmp_path) is None
    rows = [{"name": c.name, "color": list(c.color)} for c in reversed(CLASSES)]
    (tmp_path / "run.json").write_text(json.dumps({"classes": rows}))
    write_maps(tmp_path / "labels", [2 - m for m in some_maps(2)], ["000000", "000001"])
    data = data_set(drive("d", 2))
    for folder in (tmp_path, tmp_path / "labels"):
        classes = folder_classes(folder)
        assert classes is not None
        (result,) = run(data, [FolderPredictor("p", folder, classes)], NO_TC)
        assert result.miou == 1


# flow


def shifting(frames: int = 4) -> Drive:
    """Everything moves 3 pixels to the right and 2 up in each frame."""
    wide = np.random.default_rng(0).integers(0, 3, (90, 120)).astype(np.uint8)
    maps = {t: wide[10 + 2 * t : 74 + 2 * t, 20 - 3 * t : 116 - 3 * t] for t in range(frames)}
    back = np.full((*SIZE, 2), (-3, 2), np.float32)
    return drive("d", frames, maps=maps, flows=dict.fromkeys(range(1, frames), back))


@pytest.mark.parametrize("protocol", ["plain", "masked"])
def test_exact_flow_comes_from_the_data(tmp_path: Path, protocol: str) -> None:
    data = data_set(shifting())
    maps = [m for m in (data.sequences[0].labels(i) for i in range(4)) if m is not None]
    write_maps(tmp_path, maps, [f"{i:06d}" for i in range(4)])
    predictor = FolderPredictor("p", tmp_path, CLASSES)
    options = EvaluateOptions(protocol, "exact")  # type: ignore[arg-type]
    (result,) = run(data, [predictor], options)
    assert result.tc is not None
    assert (result.tc.value, result.tc.flow, result.tc.protocol) == (1, "exact", protocol)
    with pytest.raises(DataError, match="measure plain or masked"):
        run(data, [predictor], EvaluateOptions("etc", "exact"))
    unknown = data_set(drive("d", 4))
    with pytest.raises(DataError, match="the exact flow of frame d_001 is not known"):
        run(unknown, [predictor], EvaluateOptions("plain", "exact"))


def test_flow_comes_from_files_named_by_the_frame_it_starts_from(tmp_path: Path) -> None:
    data = data_set(shifting())
    maps = [m for m in (data.sequences[0].labels(i) for i in range(4)) if m is not None]
    predictor = FolderPredictor("p", write_maps(tmp_path / "p", maps, data_names(data)), CLASSES)
    folder = tmp_path / "raft"
    ahead = np.full((*SIZE, 2), (3, -2), np.float32)
    for i in range(3):
        write_flo(folder / f"{i:06d}.flo", ahead)
    (etc,) = run(data, [predictor], EvaluateOptions("etc", "flo", flow_folder=folder))
    assert etc.tc is not None
    assert etc.tc.flow == "flo:raft"
    assert 0.9 < etc.tc.value < 1  # the border, which ETC repeats
    with pytest.raises(DataError, match="lacks 3 of 3 flows from a frame to the one before"):
        run(data, [predictor], EvaluateOptions("plain", "flo", flow_folder=folder))
    for i in range(1, 4):
        write_flo(folder / "backward" / f"d_{i:03d}.flo", -ahead)
    for protocol in ("plain", "masked"):
        options = EvaluateOptions(protocol, "flo", flow_folder=folder)  # type: ignore[arg-type]
        (result,) = run(data, [predictor], options)
        assert result.tc is not None
        assert result.tc.value == 1
    write_flo(folder / "000001.flo", ahead[:9])
    with pytest.raises(DataError, match=r"000001\.flo is 96 x 9, but its frame is 96 x 64"):
        run(data, [predictor], EvaluateOptions("etc", "flo", flow_folder=folder))
    with pytest.raises(ValueError, match="a flow folder goes with the flow 'flo'"):
        run(data, [predictor], EvaluateOptions("plain", "dis", flow_folder=folder))


def data_names(data: DataSet) -> list[str]:
    return [s.frame_name(i) for s in data.sequences for i in range(len(s))]


def test_generated_scenes_are_steady_by_their_own_flow(tmp_path: Path) -> None:
    data = open_data("scenes:3-3,frames=2")
    maps = [data.sequences[0].labels(i) for i in range(2)]
    write_maps(tmp_path, [m for m in maps if m is not None], data_names(data))
    predictor = FolderPredictor("p", tmp_path, data.classes)
    (result,) = run(data, [predictor], EvaluateOptions("masked", "exact"))
    assert result.tc is not None
    assert result.tc.value > 0.9
    assert result.miou == 1


# all of it, on files


def write_folder(folder: Path, frames: int = 4) -> list[Map]:
    """A data set of the kind `folder` whose ids are the classes' places, 3 being void."""
    each = drive("d", frames)
    for i, image in enumerate(each.images):
        write_label_png(folder / "images" / f"{i:03d}.png", image)
        each.maps[i][:8, :8] = 3
        write_label_png(folder / "labels" / f"{i:03d}.png", each.maps[i])
    rows = [{"id": i, "name": c.name, "color": list(c.color)} for i, c in enumerate(CLASSES)]
    told = {"ignore_id": 3, "classes": rows}
    (folder / "classes.json").write_text(json.dumps(told))
    return list(each.maps.values())


def test_a_folder_is_measured_from_its_files(tmp_path: Path) -> None:
    maps = write_folder(tmp_path / "set")
    data = open_data(f"folder:{tmp_path / 'set'},video=yes")
    predicted = [np.roll(m, 8, axis=1) for m in maps]
    names = [f"{i:03d}" for i in range(4)]
    write_maps(tmp_path / "p", predicted, names)
    results = run(
        data,
        [
            FolderPredictor("p", tmp_path / "p", data.classes),
            FolderPredictor("own", tmp_path / "set" / "labels", data.classes),
        ],
        PLAIN,
    )
    assert results[1].miou == 1
    total = sum(open_confusion(p, m, 3) for p, m in zip(predicted, maps, strict=True))
    np.testing.assert_array_equal(results[0].confusion, total)
    assert results[0].pairs == 3


def test_known_figures_on_camvid_are_found(shared_data: Path) -> None:
    """Of the README beside the maps, which others measured: DIS, the plain protocol."""
    data = open_data(f"camvid:{shared_data / 'camvid'},split=val", check=False)
    espnet = shared_data / "peer_predictions" / "espnet_camvid" / "val"
    labels = shared_data / "camvid" / "labels" / "val"
    predictors = [FolderPredictor(p.parent.name, p, data.classes) for p in (espnet, labels)]
    network, hand = run(data, predictors, PLAIN)
    assert network.miou == pytest.approx(0.701, abs=0.001)
    assert network.pixel_accuracy == pytest.approx(0.927, abs=0.001)
    assert network.tc is not None
    assert network.tc.value == pytest.approx(0.819, abs=0.002)
    assert hand.miou == 1
    assert hand.tc is not None
    assert hand.tc.value == pytest.approx(0.890, abs=0.002)
    assert (hand.frames, hand.pairs) == (101, 100)
