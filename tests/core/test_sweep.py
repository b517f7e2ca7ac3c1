"""A sweep must find for each value what measuring a model of that setting alone finds."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from stt_core.checkpoint import Checkpoint
from stt_core.config import Precision, SttConfig
from stt_core.data.sequences import DataSet
from stt_core.data.sources import camvid_classes
from stt_core.engine import run
from stt_core.errors import CheckpointError, DataError, OutputError
from stt_core.evaluation.beginnings import beginnings
from stt_core.evaluation.predictors import ModelPredictor
from stt_core.evaluation.results import Result
from stt_core.evaluation.run import EvaluateOptions, evaluate
from stt_core.evaluation.shared import SettingNetwork, SharedEncoder, without_encoder
from stt_core.evaluation.sweep import NamedModel, plan_sweep
from stt_core.evaluation.sweep_table import Setting, Sweep, SweepRow, to_csv, to_json
from stt_core.evaluation.sweep_values import default_values, parse_values
from stt_core.network import Network
from stt_core.pictures.charts import draw_sweep
from stt_core.stream import Stream
from tests.core.models import checkpoint, images, lite_config, pspnet_config, stt_config

FRAMES = 11
VALUES: dict[Setting, tuple[float, ...]] = {
    "key_frames": (1, 9),
    "query_ratio": (0.25, 1.0),
    "neighbour_radius": (1, 5),
    "start_radius": (0, 2),
    "end_radius": (1, 6),
}
CPU: dict[str, Any] = {"device": "cpu", "precision": "fp32"}


class Drive:
    """Drifting blobs, each frame or some of them labelled."""

    def __init__(
        self, labelled: Sequence[int] = range(FRAMES), *, seed: int = 0, video: bool = True
    ) -> None:
        self.name = f"drive {seed}"
        self.video = video
        self.labelled = labelled
        self._images = images(FRAMES, seed=seed)

    def __len__(self) -> int:
        return FRAMES

    def image(self, index: int) -> NDArray[np.uint8]:
        return self._images[index]

    def labels(self, index: int) -> NDArray[np.uint8] | None:
        if index not in self.labelled:
            return None
        bright = self._images[index] > 150
        return (bright[..., 0] * 1 + bright[..., 1] * 2 + bright[..., 2] * 4).astype(np.uint8)

    def flow(self, index: int) -> NDArray[np.float32] | None:
        return None

    def frame_name(self, index: int) -> str:
        return f"{index:06d}"


def data_set(*drives: Drive) -> DataSet:
    return DataSet("drives", camvid_classes(), "", "", drives or (Drive(),))


@pytest.fixture(scope="module")
def model() -> NamedModel:
    return NamedModel("small", checkpoint(stt_config(lite_config())))


def alone(
    made: Checkpoint,
    config: SttConfig | None = None,
    data: DataSet | None = None,
    options: EvaluateOptions | None = None,
    precision: Precision = "fp32",
) -> Result:
    """What `evaluate` says of the model with this config in its file."""
    header = made.header if config is None else replace(made.header, config=config)
    network = Network(replace(made, header=header), device="cpu", precision=precision)
    predictor = ModelPredictor("alone", network)
    return run(evaluate(data or data_set(), [predictor], options or EvaluateOptions()))[0]


def swept(model: NamedModel, over: Setting, values: Sequence[float], **options: Any) -> Sweep:
    return run(plan_sweep(model, data_set(), over, values, **{**CPU, **options}).run())


def tc(result: Result) -> float:
    return math.nan if result.tc is None else result.tc.value


def config_of(model: NamedModel) -> SttConfig:
    assert isinstance(model.checkpoint.header.config, SttConfig)
    return model.checkpoint.header.config


@pytest.mark.parametrize("over", VALUES)
def test_each_value_gets_the_figures_of_a_model_with_that_setting(
    model: NamedModel, over: Setting
) -> None:
    found = swept(model, over, VALUES[over])
    assert [row.value for row in found.rows] == [*VALUES[over]]
    for row in found.rows:
        expected = alone(
            model.checkpoint,
            replace(config_of(model), **{over: row.value}),  # type: ignore[arg-type]
        )
        assert (row.kind, row.miou, row.tc) == ("setting", expected.miou, tc(expected))
    assert len({(row.miou, row.tc) for row in found.rows}) == len(found.rows)
    assert (found.frames, found.pairs) == (expected.frames, expected.pairs) == (FRAMES, FRAMES - 1)


@pytest.mark.parametrize(
    "options",
    [
        EvaluateOptions(protocol=None),
        EvaluateOptions(protocol="plain", average="strict"),
        EvaluateOptions(protocol="etc"),
    ],
    ids=lambda options: str(options.protocol),
)
def test_the_models_own_value_gets_the_figures_of_evaluate(
    model: NamedModel, options: EvaluateOptions
) -> None:
    """Also where only some frames are looked at, with gaps between."""
    data = data_set(Drive([1, 10]), Drive([9], seed=1))
    plan = plan_sweep(model, data, "key_frames", [1, 7], options=options, **CPU)
    found, expected = run(plan.run()), alone(model.checkpoint, data=data, options=options)
    assert found.own == found.rows[1].value == 7
    assert found.rows[1].miou == expected.miou
    assert (found.average, found.protocol) == (options.average, options.protocol)
    if options.protocol is None:
        assert math.isnan(found.rows[1].tc)
        assert found.flow == ""
    else:
        assert found.rows[1].tc == tc(expected)
        assert expected.tc is not None
        assert found.flow == expected.tc.flow


@pytest.mark.parametrize("precision", ["auto", "bf16"])
def test_all_values_are_measured_in_the_precision_of_the_model_itself(
    model: NamedModel, precision: Precision
) -> None:
    found = swept(model, "key_frames", [3, 7], precision=precision)
    expected = alone(model.checkpoint, precision=precision)
    assert (found.rows[1].miou, found.rows[1].tc) == (expected.miou, tc(expected))
    assert found.notes == expected.notes


def test_without_a_control_the_zero_point_takes_the_bypass_everywhere(model: NamedModel) -> None:
    bypassed = alone(model.checkpoint, replace(config_of(model), key_frames=0))
    zeros: dict[Setting, float | None] = {"key_frames": 0, "query_ratio": 0, "end_radius": None}
    for over, value in zeros.items():
        zero = swept(model, over, VALUES[over][:1]).zero
        assert (zero.kind, zero.value, zero.keys_per_query) == ("bypass", value, 0)
        assert (zero.miou, zero.tc) == (bypassed.miou, tc(bypassed))
        assert "bypass" in zero.name


def test_a_control_is_the_zero_point_and_goes_by_its_own_name(model: NamedModel) -> None:
    control = checkpoint(lite_config(), seed=5)
    found = swept(model, "key_frames", [0, 2], control=NamedModel("plain", control))
    expected = alone(control)
    assert (found.zero.kind, found.zero.value, found.zero.name) == (
        "control",
        0,
        "plain, per-frame control",
    )
    assert (found.zero.miou, found.zero.tc) == (expected.miou, tc(expected))
    assert [row.value for row in found.rows] == [2]


@pytest.mark.parametrize("insert", ["bottleneck", "backbone"])
@pytest.mark.parametrize("frame", [pspnet_config(), lite_config()], ids=lambda c: c.kind)
def test_shared_encodings_give_the_logits_of_networks_of_their_own(frame: Any, insert: str) -> None:
    made = checkpoint(stt_config(frame, insert=insert, key_frames=3))
    config = made.header.config
    assert isinstance(config, SttConfig)
    encoder = SharedEncoder(Network(made, device="cpu", precision="fp32"))
    decoder = without_encoder(made)
    changed = [replace(config, key_frames=1), replace(config, query_ratio=0.25, end_radius=2)]
    pairs = [
        (
            Stream(SettingNetwork(encoder, decoder, each, **CPU)),
            Stream(Network(replace(made, header=replace(made.header, config=each)), **CPU)),
        )
        for each in changed
    ]
    for image in images(4):
        for sharing, own in pairs:
            one, other = sharing.push(image), own.push(image)
            assert torch.equal(one.decoded.logits, other.decoded.logits)
            assert torch.equal(one.decoded.queries, other.decoded.queries)
            assert np.array_equal(one.segmentation.labels, other.segmentation.labels)


def test_every_frame_is_encoded_once_for_all_values() -> None:
    made, passes = checkpoint(stt_config(lite_config())), []
    first = next(m for m in made.model.modules() if isinstance(m, torch.nn.Conv2d))
    first.register_forward_hook(lambda *_: passes.append(1))
    steps = run_and_count(NamedModel("small", made), [1, 2, 3, 4])
    assert len(passes) == steps == FRAMES


def run_and_count(model: NamedModel, values: Sequence[float]) -> int:
    plan = plan_sweep(model, data_set(), "key_frames", values, **CPU)
    steps = list(plan.run())
    assert [step.done for step in steps] == [*range(1, plan.total + 1)]
    return plan.total


def test_keys_per_query_are_the_sums_of_the_windows() -> None:
    made = NamedModel("small", checkpoint(stt_config(lite_config())))
    plan = plan_sweep(made, data_set(), "key_frames", **CPU)
    keys = {point.value: point.keys for point in plan.points}
    assert keys == dict(enumerate([0, 9, 34, 83, 164, 245, 326, 407, 488, 569]))
    for over, expected in {"end_radius": 7 * 9, "start_radius": 7 * 81}.items():
        value = {"end_radius": 1, "start_radius": 4}[over]
        plan = plan_sweep(made, data_set(), over, [value], **CPU)  # type: ignore[arg-type]
        assert plan.points[1].keys == expected


def test_latency_is_that_of_frames_with_all_their_key_frames(model: NamedModel) -> None:
    control = NamedModel("plain", checkpoint(lite_config()))
    found = swept(model, "key_frames", [1, 9], control=control)
    assert all(row.latency_ms > 0 for row in found.all_rows)
    short = beginnings(data_set(), 9)  # the first six warm up; the tenth would have nine
    rows = run(plan_sweep(model, short, "key_frames", [1, 9], **CPU).run()).all_rows
    assert [row.latency_ms > 0 for row in rows] == [True, True, False]
    assert math.isnan(rows[2].latency_ms)


def test_the_beginnings_of_a_data_set_are_all_there_is() -> None:
    data = data_set(Drive([0, 4, 5, 10]), Drive([9], seed=1))
    short = beginnings(data, 5)
    assert [len(s) for s in short.sequences] == [5, 5]
    assert [[*s.labelled] for s in short.sequences] == [[0, 4], []]
    for one, other in zip(short.sequences, data.sequences, strict=True):
        assert (one.name, one.video) == (other.name, other.video)
        assert one.frame_name(4) == other.frame_name(4)
        assert np.array_equal(one.image(4), other.image(4))
        assert one.flow(4) is None
    assert np.array_equal(short.sequences[0].labels(4), data.sequences[0].labels(4))  # type: ignore[arg-type]
    assert "first 5 frames" in short.spec
    assert [len(s) for s in beginnings(data, 50).sequences] == [FRAMES, FRAMES]
    with pytest.raises(ValueError, match="got 0"):
        beginnings(data, 0)


@pytest.mark.parametrize(
    ("text", "over", "values"),
    [
        ("0:9", "key_frames", (*range(10),)),
        ("0,1,3,7", "key_frames", (0, 1, 3, 7)),
        ("1:7:3", "neighbour_radius", (1, 4, 7)),
        ("2:2", "end_radius", (2,)),
        ("0.1:0.9:0.2", "query_ratio", (0.1, 0.3, 0.5, 0.7, 0.9)),
        ("0.25, 1", "query_ratio", (0.25, 1.0)),
    ],
)
def test_values_are_a_range_with_both_ends_or_a_list(
    text: str, over: Setting, values: tuple[float, ...]
) -> None:
    assert parse_values(text, over) == values


@pytest.mark.parametrize(
    "text",
    ["", ",", "a", "9:0", "1:2:3:4", "0:9:0", "0:9:-1", "1.5", "0:1:0.5", "0,1:3", "nan", "inf",
     "0:inf", "0:1000000000", "-inf:0", "nan:3"],
)  # fmt: skip
def test_what_names_no_values_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="names no values of key_frames"):
        parse_values(text, "key_frames")


@given(st.text(alphabet="0123456789.,:-einfa ", max_size=12))
def test_any_text_is_values_or_a_value_error(text: str) -> None:
    try:
        values = parse_values(text, "start_radius")
    except ValueError:
        return
    assert 1 <= len(values) <= 50
    assert all(isinstance(value, int) for value in values)


@given(first=st.integers(0, 30), count=st.integers(1, 10), step=st.sampled_from([1, 2, 3, 7]))
def test_a_range_is_that_of_python_with_its_end(first: int, count: int, step: int) -> None:
    last = first + (count - 1) * step
    expected = tuple(range(first, last + 1, step))
    assert parse_values(f"{first}:{last}:{step}", "end_radius") == expected


@pytest.mark.parametrize("over", VALUES)
@pytest.mark.parametrize("config", [stt_config(), stt_config(end_radius=9, query_ratio=0.3)])
def test_default_values_can_be_had_and_hold_the_models_own(
    over: Setting, config: SttConfig
) -> None:
    values = default_values(config, over)
    assert getattr(config, over) in values
    for value in values:
        replace(config, **{over: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("over", "values", "complaint"),
    [
        ("key_frames", [3, 10], "key_frames must be in 0..9, got 10"),
        ("key_frames", [], "no value of key_frames"),
        ("key_frames", [0], "no value of key_frames beside the zero point"),
        ("query_ratio", [0.0], r"query_ratio must be in \(0, 1\]"),
        ("neighbour_radius", [0], "at least 1"),
        ("start_radius", [5], r"start_radius must be in 0\.\.end_radius"),
        ("end_radius", [0], r"start_radius must be in 0\.\.end_radius"),
    ],
)
def test_a_value_the_setting_cannot_have_is_refused(
    model: NamedModel, over: Setting, values: list[float], complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        plan_sweep(model, data_set(), over, values, **CPU)


def test_what_cannot_be_swept_is_refused_in_a_sentence(model: NamedModel) -> None:
    plain = NamedModel("plain", checkpoint(pspnet_config()))
    with pytest.raises(CheckpointError, match=r"plain has no temporal block.*choose an STT"):
        plan_sweep(plain, data_set(), "key_frames", **CPU)
    with pytest.raises(CheckpointError, match=r"small reads past frames.*per-frame"):
        plan_sweep(model, data_set(), "key_frames", control=model, **CPU)
    with pytest.raises(DataError, match=r"drives holds no video"):
        plan_sweep(model, data_set(Drive(video=False)), "key_frames", **CPU)


# the table and the charts

ROW = SweepRow(
    kind="setting", value=1, name="m, 1", miou=1 / 3, tc=0.1 + 0.2, latency_ms=123.456789012345,
    keys_per_query=9,
)  # fmt: skip
ZERO = replace(ROW, kind="bypass", value=0, name='m, "bypassed"', miou=0.25, keys_per_query=0)
SWEEP = Sweep(
    model="m", data="camvid:a,b", over="key_frames", own=2, zero=ZERO,
    rows=(ROW, replace(ROW, value=2, miou=0.9, tc=0.4), replace(ROW, value=7, latency_ms=15.0)),
    protocol="masked", flow="dis", average="clean", frames=3, pairs=4, device="cpu",
    precision="fp32",
)  # fmt: skip
UNKNOWN = replace(ROW, miou=math.nan, tc=math.nan, latency_ms=math.nan)


def test_the_csv_table_holds_every_figure_in_full() -> None:
    table = [*csv.DictReader(io.StringIO(to_csv(SWEEP)))]
    assert len(table) == 4
    for told, row in zip(table, SWEEP.all_rows, strict=True):
        assert float(told["value"]) == row.value
        assert (told["kind"], told["name"]) == (row.kind, row.name)
        assert int(told["keys_per_query"]) == row.keys_per_query
        for figure in ("miou", "tc", "latency_ms"):
            assert float(told[figure]) == getattr(row, figure)
        for rule in ("over", "model", "data", "protocol", "flow", "average", "precision"):
            assert told[rule] == getattr(SWEEP, rule)


def test_what_does_not_exist_is_empty_in_csv_and_none_in_json() -> None:
    sweep = replace(SWEEP, zero=replace(ZERO, value=None), rows=(UNKNOWN,), protocol=None, flow="")
    zero, row = csv.DictReader(io.StringIO(to_csv(sweep)))
    assert zero["value"] == ""
    assert [row[name] for name in ("miou", "tc", "latency_ms", "protocol")] == [""] * 4
    told = to_json(sweep)
    assert told["rows"][0]["value"] is None
    assert told["rows"][1]["miou"] is None
    assert (told["protocol"], told["own"], told["frames"]) == (None, 2, 3)
    assert "zero" not in told


@pytest.mark.parametrize(
    "sweep",
    [
        SWEEP,
        replace(SWEEP, over="end_radius", zero=replace(ZERO, value=None)),
        replace(SWEEP, rows=(UNKNOWN,), protocol=None, flow=""),
        replace(SWEEP, zero=replace(UNKNOWN, kind="control", name="a name " * 30)),
    ],
)
def test_a_sweep_is_drawn_for_print_and_as_lines(sweep: Sweep, tmp_path: Path) -> None:
    files = draw_sweep(sweep, tmp_path)
    assert files == [tmp_path / "sweep.png", tmp_path / "sweep.svg"]
    assert sorted(tmp_path.iterdir()) == files
    with Image.open(files[0]) as picture:
        assert picture.width >= 3000
        assert len(set(picture.resize((400, 250)).convert("L").tobytes())) > 10
    assert ET.parse(files[1]).getroot().tag.endswith("svg")


def test_a_chart_that_cannot_be_written_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="file"):
        draw_sweep(SWEEP, tmp_path / "file" / "inside")
