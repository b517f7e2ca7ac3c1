"""How a model does under several values of one of its settings, without training anew.

Over the number of key frames this is Fig. 1 of the paper's supplement, on any data set.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from stt_core.checkpoint import Checkpoint
from stt_core.config import Precision, SttConfig, reach
from stt_core.data.sequences import DataSet
from stt_core.device import describe_device, precision_name
from stt_core.errors import CheckpointError, DataError
from stt_core.evaluation.multiply_adds import keys_per_query
from stt_core.evaluation.predictors import ModelPredictor
from stt_core.evaluation.results import Result
from stt_core.evaluation.run import EvaluateOptions, EvaluateStep, count_frames, evaluate
from stt_core.evaluation.shared import (
    SettingNetwork,
    SharedEncoder,
    TimedNetwork,
    without_encoder,
)
from stt_core.evaluation.sweep_table import Kind, Setting, Sweep, SweepRow
from stt_core.evaluation.sweep_values import default_values
from stt_core.network import Network


@dataclass(frozen=True, slots=True)
class NamedModel:
    """A model, and what tables call it."""

    name: str
    checkpoint: Checkpoint


@dataclass(frozen=True, slots=True)
class _Point:
    """Where one row of the table comes from."""

    kind: Kind
    value: float | None
    name: str
    network: TimedNetwork
    keys: int


@dataclass(frozen=True, slots=True)
class SweepPlan:
    """A sweep that can begin: all that was asked for is there and in range."""

    model: NamedModel
    data: DataSet
    over: Setting
    own: float
    encoder: SharedEncoder
    points: tuple[_Point, ...]
    options: EvaluateOptions

    @property
    def total(self) -> int:
        """How many steps it takes: one a frame."""
        return count_frames(self.data, self._predictors, self.options)

    def run(self) -> Generator[EvaluateStep, None, Sweep]:
        """Measure everything in one pass over the data.

        Raises:
            SttError: a file cannot be read, or a device has too little memory.
        """
        results = yield from evaluate(self.data, self._predictors, self.options)
        # what happens to the machine meanwhile should happen to all
        together = set.intersection(*(set(point.network.times) for point in self.points))
        rows = [_row(*pair, together) for pair in zip(self.points, results, strict=True)]
        consistency, network = results[0].tc, self.encoder.network
        return Sweep(
            model=self.model.name,
            data=self.data.spec,
            over=self.over,
            own=self.own,
            zero=rows[0],
            rows=tuple(rows[1:]),
            protocol=self.options.protocol,
            flow="" if consistency is None else consistency.flow,
            average=self.options.average,
            frames=results[0].frames,
            pairs=results[0].pairs,
            device=describe_device(network.device),
            precision=precision_name(network.dtype),
            notes=tuple(dict.fromkeys(note for result in results for note in result.notes)),
        )

    @property
    def _predictors(self) -> list[ModelPredictor]:
        return [ModelPredictor(point.name, point.network) for point in self.points]


def plan_sweep(
    model: NamedModel,
    data: DataSet,
    over: Setting,
    values: Sequence[float] | None = None,
    *,
    options: EvaluateOptions | None = None,
    control: NamedModel | None = None,
    device: str = "auto",
    precision: Precision = "auto",
) -> SweepPlan:
    """Get ready to measure `model` under each of `values`, its other settings unchanged.

    The zero point, which every sweep has, is `control`; without one it is the model itself where
    every position takes the bypass. A value of 0 key frames means that point.

    Args:
        model: an STT model.
        data: with at least one video.
        over: the setting.
        values: of it; those of :func:`default_values` if None.
        options: of the measurement; only mean IoU and temporal consistency are measured.
        control: a per-frame network that was trained as the model was.
        device: for both, as of :class:`Network`.
        precision: for both, as of :class:`Network`.

    Raises:
        ValueError: a value the setting cannot have, or none at all.
        CheckpointError: `model` is no STT model, or `control` no per-frame network.
        DataError: nothing in `data` is a video.
        DeviceError: this machine lacks the device or the precision.
    """
    config = model.checkpoint.header.config
    if not isinstance(config, SttConfig):
        raise CheckpointError(
            f"{model.name} has no temporal block whose settings could vary: choose an STT model"
        )
    configs = _configs(config, over, default_values(config, over) if values is None else values)
    if control is not None and reach(control.checkpoint.header.config).key_frames:
        raise CheckpointError(
            f"{control.name} reads past frames, so it cannot be the zero point: choose a per-frame "
            f"network that was trained alike"
        )
    if not any(sequence.video for sequence in data.sequences):
        raise DataError(
            f"{data.spec} holds no video: a sweep needs frames that follow each other, since key "
            f"frames are the frames before"
        )
    encoder = SharedEncoder(Network(model.checkpoint, device=device, precision=precision))
    decoder = without_encoder(model.checkpoint)

    def point(kind: Kind, value: float | None, config: SttConfig, name: str) -> _Point:
        network = SettingNetwork(encoder, decoder, config, device=device, precision=precision)
        return _Point(kind, value, name, network, keys_per_query(config))

    nothing = 0 if over in ("key_frames", "query_ratio") else None
    if control is None:
        bypass = replace(config, key_frames=0)
        zero = point("bypass", nothing, bypass, f"{model.name}, every position bypassed")
    else:
        network = TimedNetwork(control.checkpoint, device=device, precision=precision)
        zero = _Point("control", nothing, f"{control.name}, per-frame control", network, 0)
    title = over.replace("_", " ")
    points = [point("setting", v, c, f"{model.name}, {title} {v:g}") for v, c in configs.items()]
    return SweepPlan(
        model=model,
        data=data,
        over=over,
        own=getattr(config, over),
        encoder=encoder,
        points=(zero, *points),
        options=replace(options or EvaluateOptions(), boundary=False),
    )


def _configs(config: SttConfig, over: Setting, values: Sequence[float]) -> dict[float, SttConfig]:
    """By rising value; the zero point's left out."""
    changed = {v: replace(config, **{over: v}) for v in sorted(set(values))}  # type: ignore[arg-type]
    kept = {v: c for v, c in changed.items() if c.key_frames}
    if not kept:
        raise ValueError(f"there is no value of {over} beside the zero point, got {[*values]}")
    return kept


def _row(point: _Point, result: Result, together: set[int]) -> SweepRow:
    times = point.network.times
    common = [times[frame] for frame in together] or [*times.values()]
    return SweepRow(
        kind=point.kind,
        value=point.value,
        name=point.name,
        miou=result.miou,
        tc=math.nan if result.tc is None else result.tc.value,
        latency_ms=float(np.median(common)) if common else math.nan,
        keys_per_query=point.keys,
    )
