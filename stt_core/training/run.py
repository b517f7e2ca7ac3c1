"""The folder of a run: what it was asked, what it was made with, what happened, where it stands.

config.json, environment.json and data.json are written at its beginning, log.jsonl gets a line a
step and validation.jsonl one a look at the validation data. state.pt holds all that is needed to
go on from a step; it and the models are replaced whole.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from stt_core.device import describe_device
from stt_core.errors import TrainingError
from stt_core.files import make_folder, replacing, write_text, writing
from stt_core.training.config import TrainConfig
from stt_core.versions import versions

STATE = "state.pt"


def begin_run(
    folder: Path,
    config: TrainConfig,
    data: Mapping[str, str],
    device: torch.device,
    *,
    resume: bool,
) -> None:
    """Make the folder of a run, or see that the one there is the same run.

    What a run that never saved anything left behind is removed.

    Args:
        folder: is made where it is missing.
        config: the recipe.
        data: digests of what is learnt from, models included, by name.
        device: that computes.
        resume: whether to go on with the run that stands there.

    Raises:
        TrainingError: a run stands there and is not to be resumed, or is another run.
        OutputError: the folder cannot be written.
    """
    make_folder(folder)
    begun = os.path.isfile(folder / "config.json")
    if begun and not resume and os.path.isfile(folder / STATE):
        raise TrainingError(
            f"{folder} holds a run already: go on with it by --resume, or choose another folder"
        )
    if begun and resume:
        _expect_same(folder / "config.json", _plain(config))
        _expect_same(folder / "data.json", dict(data))
    if not os.path.isfile(folder / STATE):
        with writing(folder):
            for name in ("best.safetensors", "log.jsonl", "validation.jsonl"):
                (folder / name).unlink(missing_ok=True)
            shutil.rmtree(folder / "tensorboard", ignore_errors=True)
    write_text(folder / "config.json", _pretty(_plain(config)))
    write_text(folder / "data.json", _pretty(data))
    environment = {**versions(), "torch_build": torch.__version__}
    environment["device"] = describe_device(device)
    environment["threads"] = str(torch.get_num_threads())
    write_text(folder / "environment.json", _pretty(environment))


class RunFolder:
    """The logs and the state of a run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def load_state(self) -> dict[str, Any] | None:
        """What :meth:`save_state` wrote last; None where it never did."""
        path = self.folder / STATE
        if not os.path.isfile(path):
            return None
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except (OSError, RuntimeError, EOFError, ValueError, UnpicklingError) as error:
            raise TrainingError(
                f"{path} cannot be read ({str(error).splitlines()[0]}): delete it to begin the "
                f"run anew, or start another from the run's last.safetensors with --init"
            ) from error

    def save_state(self, state: Mapping[str, Any]) -> None:
        """Replace the state in one step."""
        with replacing(self.folder / STATE) as temporary:
            torch.save(dict(state), temporary)

    def cut_logs(self, step: int) -> None:
        """Forget what was logged after `step`: it is about to happen again."""
        for name in ("log.jsonl", "validation.jsonl"):
            path = self.folder / name
            if os.path.isfile(path):
                kept = [line for line in _lines(path) if line["step"] <= step]
                write_text(path, "".join(json.dumps(line) + "\n" for line in kept))

    def append(self, name: str, facts: Mapping[str, Any]) -> None:
        """One more line of log.jsonl or validation.jsonl; strict JSON, NaN is null."""
        path = self.folder / name
        with writing(path), path.open("a", encoding="utf-8") as log:
            log.write(json.dumps(_finite(facts), allow_nan=False) + "\n")

    def read(self, name: str) -> list[dict[str, Any]]:
        """The lines of a log, oldest first; empty where there is none."""
        path = self.folder / name
        return _lines(path) if os.path.isfile(path) else []


def _lines(path: Path) -> list[dict[str, Any]]:
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            lines.append(json.loads(line))
        except json.JSONDecodeError:
            break  # the process was killed while it wrote this one
    return lines


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and value - value != 0 else value


def _plain(config: TrainConfig) -> dict[str, Any]:
    """As JSON gives it back: lists for tuples."""
    return json.loads(json.dumps(asdict(config)))


def _pretty(facts: Mapping[str, Any]) -> str:
    return json.dumps(facts, indent=2) + "\n"


def _expect_same(path: Path, now: Mapping[str, Any]) -> None:
    try:
        then = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TrainingError(f"cannot resume: {path} cannot be read ({error})") from error
    for name in [*now, *(set(then) - set(now))]:
        if then.get(name) != now.get(name):
            raise TrainingError(
                f"cannot resume {path.parent}: its {name} was {then.get(name)}, and is "
                f"{now.get(name)} now. Resume with what it was begun with, or choose another folder"
            )
