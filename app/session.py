"""The model at work on a medium, for the window. Lives on the INFER lane, which imports torch."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from pathlib import Path

import torch

from app.facts import ModelChoice, ModelFacts, PassProgress
from stt_core.checkpoint import load_checkpoint
from stt_core.config import reach
from stt_core.device import best_device, describe_device, precision_name
from stt_core.engine import Engine
from stt_core.errors import SttError
from stt_core.formats.model_file import find_model
from stt_core.media.source import MediaSource, media_hash, open_media
from stt_core.model.compiling import compile_steps
from stt_core.network import Network
from stt_core.project.prediction_folders import PredictionFolders
from stt_core.project.predictions.key import PredictionKey
from stt_core.results import LookBack, Prediction
from stt_core.workflow.prediction_pass import PassOptions, label_settings, predict_media

_NO_MODEL = "there is no model yet: choose one in the bar above the picture"


class EngineSession:
    """Implements :class:`app.facts.Session` with an engine."""

    def __init__(self) -> None:
        self._network: Network | None = None
        self._path = Path()
        self._media: MediaSource | None = None
        self._media_hash = ""
        self._engine: Engine | None = None

    def load(self, choice: ModelChoice) -> Generator[None, None, None]:
        path = find_model(choice.name)
        checkpoint = load_checkpoint(path)
        yield
        if choice.device in ("auto", "cpu") and best_device() == "cpu":
            yield from compile_steps()
        network = Network(
            checkpoint,
            device=choice.device,
            precision=choice.precision,
            key_frames=choice.key_frames if reach(checkpoint.header.config).adjustable else None,
        )
        self._network, self._path = network, path
        self._renew()

    def settle(self) -> Generator[None, None, ModelFacts]:
        network = self._ready_network()
        if self._media is not None:
            network.settle(self._media[0].image)
            yield
        return ModelFacts(
            self._path,
            network.header.classes,
            describe_device(network.device),
            precision_name(network.dtype),
            network.key_frames,
            network.reach.heads,
            network.header.licence,
            network.agreement,
            tuple(network.notes),
        )

    def open(self, path: Path) -> Generator[None, None, None]:
        media, digest = open_media(path), media_hash(path)
        if self._media is not None:
            self._media.close()
        self._media, self._media_hash = media, digest
        self._renew()
        yield

    def pass_key(self) -> PredictionKey | None:
        network, media = self._network, self._media
        if network is None or media is None:
            return None
        return PredictionKey(self._media_hash, network.sha256, label_settings(network, media))

    def devices(self) -> Generator[None, None, tuple[str, ...]]:
        yield
        found = ["auto", "cpu"]
        found += [f"cuda:{i}" for i in range(torch.cuda.device_count())]
        if best_device() == "mps":
            found.append("mps")
        return tuple(found)

    def predict(self, index: int) -> Generator[None, None, Prediction]:
        return (yield from self._ready().segment_steps(index))

    def inspect(self, index: int, x: int, y: int, force: bool) -> Generator[None, None, LookBack]:
        return (yield from self._ready().look_back_steps(index, x, y, force=force))

    def run_pass(
        self, folder: Path, runs: tuple[range, ...]
    ) -> Generator[PassProgress | None, None, None]:
        network, media, store = (
            self._ready_network(),
            self._ready().media,
            PredictionFolders(folder),
        )
        # of its own: a pass reads ahead in another thread
        with open_media(media.path) as source:
            for frames in runs:
                options = PassOptions(frames=frames)
                with closing(predict_media(network, source, store, options)) as steps:
                    for step in steps:
                        yield PassProgress(step.frame)

    def _ready_network(self) -> Network:
        if self._network is None:
            raise SttError(_NO_MODEL)
        return self._network

    def _ready(self) -> Engine:
        if self._engine is None:
            raise SttError(_NO_MODEL)
        return self._engine

    def _renew(self) -> None:
        # features of other weights or another medium must not survive
        ready = self._network is not None and self._media is not None
        self._engine = Engine(self._network, self._media) if ready else None  # type: ignore[arg-type]
