"""Learning: train a model."""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.commands.common import Device, Json, done, follow, load_model, note, say

if TYPE_CHECKING:
    from stt_core.checkpoint import Checkpoint
    from stt_core.labels import LabelClass
    from stt_core.training.config import TrainConfig
    from stt_core.training.loop import TrainData, TrainStep

_STOPPED = 130
Data = Annotated[
    list[str] | None, typer.Option(help="KIND:PATH, with labels; may be given several times.")
]
Unlabelled = Annotated[
    list[str] | None, typer.Option(help="KIND:PATH whose frames need no labels; the same.")
]
Validation = Annotated[
    list[str] | None, typer.Option(help="KIND:PATH the best model is chosen by; the same.")
]


def train(
    recipe: Annotated[str, typer.Argument(help="A .toml file, or a shipped recipe's name.")],
    *,
    out: Annotated[Path, typer.Option(help="The run folder.")],
    data: Data = None,
    unlabelled: Unlabelled = None,
    validation: Validation = None,
    init: Annotated[
        str | None, typer.Option(help="Model to start from, or imagenet-lite0.")
    ] = None,
    teacher: Annotated[
        str | None, typer.Option(help="Per-frame model that distillation learns from.")
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="In place of the recipe's.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run that stands in the folder.")
    ] = False,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Train a model. Ctrl+C ends after the step it is in; --resume goes on from there.

    Data kinds are told in docs/data.md. What is named here goes before the recipe's own.
    """
    from dataclasses import replace

    from stt_core.training.loop import train as run_training
    from stt_core.training.recipes import read_recipe

    config = read_recipe(recipe)
    config = config if steps is None else replace(config, steps=steps)
    config = replace(
        config,
        data=tuple(data or config.data),
        unlabelled=tuple(unlabelled or config.unlabelled),
        validation=tuple(validation or config.validation),
    )
    start = None if init is None else _start(init)
    learnt = _open(config, start.header.classes if start else None)
    told: dict[str, Any] = {}

    def listen(step: TrainStep) -> None:
        told.update(_facts(step))
        for text in step.notes:
            note(text)

    with _stop_between_steps() as came:
        run = run_training(
            learnt,
            config,
            out,
            init=start,
            teacher=None if teacher is None else load_model(teacher),
            device=device,
            resume=resume,
            stop=lambda: bool(came),
        )
        if not _leads():
            for _ in run:
                pass
            return
        path = follow(run, config.steps, "train", listen, place=lambda step: step.step)
    if not told:
        told.update(step=config.steps, loss=None, mean_iou=None)
    outputs = {"model": str(out / "last.safetensors"), "log": str(out / "log.jsonl")}
    if path is None:
        note(f"stopped after step {told['step']} of {config.steps}: --resume goes on from there")
        raise typer.Exit(_STOPPED)
    loss = "" if told["loss"] is None else f", loss {told['loss']}"
    say(f"{config.steps} steps{loss}, written to {path}")
    done(as_json, {"command": "train", "steps": config.steps, **told, "outputs": outputs})


def _open(config: TrainConfig, known: tuple[LabelClass, ...] | None) -> TrainData:
    """All the data of a run; every problem in it is told now."""
    from stt_core.data.sources import open_data
    from stt_core.training.loop import TrainData

    kinds = (config.data, config.unlabelled, config.validation)
    return TrainData(*([open_data(spec, classes=known) for spec in specs] for specs in kinds))


def _start(init: str) -> Checkpoint:
    if init == "imagenet-lite0":
        from stt_core.importers import start_lite0

        return start_lite0(None).checkpoint
    return load_model(init)


@contextmanager
def _stop_between_steps() -> Iterator[list[int]]:
    """Have Ctrl+C, and a polite end, wait for the step; a second one does not.

    Yields:
        Empty until a signal came.
    """
    came: list[int] = []

    def remember(number: int, _: FrameType | None) -> None:
        if came:
            raise KeyboardInterrupt
        came.append(number)

    before = {n: signal.signal(n, remember) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _leads() -> bool:
    """Whether this is the one process that speaks, of those that torchrun or accelerate started."""
    return os.environ.get("RANK", "0") == "0"


def _facts(step: TrainStep) -> dict[str, Any]:
    told = math.isfinite(step.mean_iou)  # not while the crops hold no label: JSON knows no NaN
    return {
        "step": step.step,
        "loss": round(step.loss, 4),
        "mean_iou": round(step.mean_iou, 4) if told else None,
    }
