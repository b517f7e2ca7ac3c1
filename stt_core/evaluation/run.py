"""Measuring: one pass over a data set for all predictions together."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stt_core.data.sequences import DataSet, FrameSequence
from stt_core.evaluation.flows import Flows
from stt_core.evaluation.predictors import Predictor
from stt_core.evaluation.results import Result
from stt_core.evaluation.tally import Tally
from stt_core.flow import FlowName
from stt_core.metrics.consistency import Protocol
from stt_core.metrics.segmentation import Average


@dataclass(frozen=True, slots=True)
class EvaluateOptions:
    """What is measured, and by which rules."""

    protocol: Protocol | None = "masked"
    """Of temporal consistency; None leaves it out, and then only labelled frames are predicted."""
    flow: FlowName = "dis"
    average: Average = "clean"
    boundary: bool = True
    flow_folder: Path | None = None
    """Of .flo files, where `flow` is "flo"; see :class:`stt_core.evaluation.flows.Flows`."""
    worst: int = 5
    """How many of the worst frames of each prediction are kept."""


@dataclass(frozen=True, slots=True)
class EvaluateStep:
    """One more frame went by."""

    sequence: str
    frame: str
    done: int
    total: int
    miou: tuple[float, ...]
    """Of this frame, one for each predictor; NaN where it has no labels."""


@dataclass(frozen=True, slots=True)
class _Course:
    """Which frames of one sequence are gone through."""

    shown: tuple[int, ...]
    """Frames that are read, rising."""
    mapped: frozenset[int]
    """Those of them that are predicted."""
    labelled: frozenset[int]
    paired: tuple[int, ...]
    """Those that are compared with the frame before."""


def evaluate(
    data: DataSet, predictors: Sequence[Predictor], options: EvaluateOptions
) -> Generator[EvaluateStep, None, tuple[Result, ...]]:
    """Measure all predictors in one pass; return their results in the same order.

    Each image is read once, and the flow of each pair of frames is found once for all.

    Raises:
        DataError: a predictor cannot predict this data set, or flow is missing.
        SttError: a file cannot be read, or a device has too little memory.
    """
    courses = [_course(sequence, predictors, options) for sequence in data.sequences]
    flows = None
    if options.protocol is not None:
        pairs = [course.paired for course in courses]
        flows = Flows(data, pairs, options.protocol, options.flow, options.flow_folder)
    wanted = [sorted(course.mapped) for course in courses]
    for predictor in predictors:
        predictor.prepare(data, wanted)
    tallies = [_tally(data, predictor, options) for predictor in predictors]
    done, total = 0, sum(len(course.shown) for course in courses)
    for which, course in enumerate(courses):
        for name, miou in _go_through(data, which, course, predictors, tallies, flows):
            done += 1
            yield EvaluateStep(data.sequences[which].name, name, done, total, miou)
    flow = "" if flows is None else flows.name
    return tuple(
        tally.result(options.average, flow, predictor.latency, predictor.notes)
        for tally, predictor in zip(tallies, predictors, strict=True)
    )


def count_frames(data: DataSet, predictors: Sequence[Predictor], options: EvaluateOptions) -> int:
    """How many steps :func:`evaluate` takes."""
    return sum(len(_course(s, predictors, options).shown) for s in data.sequences)


def _course(
    sequence: FrameSequence, predictors: Sequence[Predictor], options: EvaluateOptions
) -> _Course:
    labelled = frozenset(sequence.labelled)
    if sequence.video and options.protocol is not None:
        every = tuple(range(len(sequence)))
        return _Course(every, frozenset(every), labelled, every[1:])
    reach = max((predictor.past for predictor in predictors), default=0) if sequence.video else 0
    shown = {past for i in labelled for past in range(max(0, i - reach), i + 1)}
    return _Course(tuple(sorted(shown)), labelled, labelled, ())


def _go_through(
    data: DataSet,
    which: int,
    course: _Course,
    predictors: Sequence[Predictor],
    tallies: Sequence[Tally],
    flows: Flows | None,
) -> Generator[tuple[str, tuple[float, ...]], None, None]:
    """Measure one sequence; yield each frame's name and scores."""
    sequence = data.sequences[which]
    mappers = [predictor.start(data, which) for predictor in predictors]
    before: NDArray[np.uint8] | None = None
    for tally in tallies:
        tally.start()
    for index in course.shown:
        image, name = sequence.image(index), sequence.frame_name(index)
        if index not in course.mapped:
            for mapper in mappers:
                mapper.see(index, image)
            yield name, (math.nan,) * len(mappers)
            continue
        labels = sequence.labels(index) if index in course.labelled else None
        warp = None
        if flows is not None and before is not None:
            warp = flows.warp(which, index, before, image)
        place = (which, index, name)
        maps = [mapper.predict(index, image) for mapper in mappers]
        scores = [t.add(place, m, labels, warp) for t, m in zip(tallies, maps, strict=True)]
        before = image if course.paired else None
        yield name, tuple(scores)


def _tally(data: DataSet, predictor: Predictor, options: EvaluateOptions) -> Tally:
    return Tally(
        predictor.name,
        tuple(c.name for c in data.classes),
        protocol=options.protocol,
        boundary=options.boundary,
        worst=options.worst,
    )
