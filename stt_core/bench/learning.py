"""Training steps, and whether loading clips keeps up with them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from time import perf_counter
from typing import Literal

import torch

from stt_core.bench.rows import Note, Row, row
from stt_core.config import AugmentConfig
from stt_core.data.sources import camvid_classes, open_data
from stt_core.resources import SAMPLE_CLIP, resource_path
from stt_core.training.batches import Batch, load_batches
from stt_core.training.config import TrainConfig
from stt_core.training.learner import Learner
from stt_core.training.material import clips_for, seen_config
from stt_core.training.start import start_model
from stt_core.training.team import Alone

GROUP = "learning"
_STEPS = 8
_WARM_UP = 2
_LEAST_SHARE = 0.9

_RECIPE = TrainConfig(
    per_frame="lite0",
    steps=1000,
    batch_size=4,
    optimizer="adamw",
    learning_rate=1e-5,
    freeze_norms=True,
    augment=AugmentConfig(crop=(320, 448)),
)


def measure(note: Note) -> list[Row]:
    """Steps of the light network and of an STT on it, on the bundled clip."""
    kinds: tuple[Literal["frame", "stt"], ...] = ("frame", "stt")
    return [made for kind in kinds for made in _rows(kind, note)]


def _rows(kind: Literal["frame", "stt"], note: Note) -> list[Row]:
    note(f"Training steps of the light network ({kind}) ...")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    config = replace(_RECIPE, model=kind)
    clip, labels = resource_path(SAMPLE_CLIP), resource_path("sample/labels")
    data = open_data(f"video:{clip},labels={labels}", classes=camvid_classes())
    begun = start_model(data.classes, config, None, [])
    learner = Learner(begun, config, Alone(device))
    sources = clips_for([data], config, begun.header)
    batches = load_batches(sources, [], seen_config(config, begun.header))
    held: list[Batch] = []
    try:
        _seconds(learner, islice(batches, _WARM_UP))
        loaded = _seconds(learner, _kept(islice(batches, _STEPS), held))
    finally:
        batches.close()
    in_memory = _seconds(learner, held)
    name = "STT on Lite0" if kind == "stt" else "Lite0"
    share = in_memory / loaded
    return [
        row(GROUP, f"step of 4 clips 320x448, {name}, fp32", in_memory * 1000, "ms"),
        row(
            GROUP,
            f"speed of loaded clips / of clips in memory, {name}",
            share,
            "x",
            target=_LEAST_SHARE,
            least=True,
        ),
    ]


def _kept(batches: Iterable[Batch], held: list[Batch]) -> Iterator[Batch]:
    """The batches, which are in `held` afterwards."""
    for batch in batches:
        held.append(batch)
        yield batch


def _seconds(learner: Learner, batches: Iterable[Batch]) -> float:
    """Of a step with the wait for its batch, on average."""
    begin = perf_counter()
    count = 0
    for count, batch in enumerate(batches, 1):
        learner.learn(batch, count)
    return (perf_counter() - begin) / count
