"""The model a run begins with: fresh, or with what another can give it."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError

from stt_core.checkpoint import Checkpoint, new_checkpoint, start_stt, start_tdnet
from stt_core.config import (
    FrameConfig,
    LiteNetConfig,
    ModelConfig,
    Preprocess,
    PspNetConfig,
    SttConfig,
    TdnetConfig,
    per_frame,
)
from stt_core.errors import TrainingError, first_complaint
from stt_core.formats.model_file import ModelHeader
from stt_core.labels import LabelClass
from stt_core.model.build import build_model
from stt_core.model.lite0 import LITE0_MEAN, LITE0_STD
from stt_core.model.video import PerFrame
from stt_core.training.config import TrainConfig

_STT: TypeAdapter[SttConfig] = TypeAdapter(SttConfig)
_SHORT_SIDE = 360
_BACKBONES = {"pspnet18": "resnet18", "pspnet50": "resnet50", "pspnet101": "resnet101"}


def start_model(
    classes: tuple[LabelClass, ...],
    config: TrainConfig,
    init: Checkpoint | None,
    licences: Sequence[str],
) -> Checkpoint:
    """The model to train; fresh weights come from torch's global generator.

    Args:
        classes: of the data.
        config: the recipe.
        init: a model to start from, which is not changed. Where it is of the kind that the recipe
            asks for, all of it is kept; of another kind, its per-frame network.
        licences: of the data.

    Raises:
        TrainingError: it knows other classes, or the recipe asks for a block that cannot be.
    """
    if init is not None:
        check_same_classes(init, classes)
    begun = _fresh(classes, config) if init is None else _from(_copy(init), config)
    had = begun.header.licence if init else ""
    licences = [had, *(text for text in licences if text not in had)]
    asked = config.augment.short_side
    side = asked or (_SHORT_SIDE if init is None else begun.header.preprocess.short_side)
    header = replace(
        begun.header,
        preprocess=replace(begun.header.preprocess, short_side=side),
        licence=" ".join(dict.fromkeys(text for text in licences if text)),
    )
    return replace(begun, header=header)


def start_attached(frame: Checkpoint, config: TrainConfig) -> Checkpoint:
    """A per-frame network with a block that has learnt nothing yet, of the recipe's settings.

    `frame` is not changed.

    Raises:
        TrainingError: it is no per-frame network, or the recipe asks for a block that cannot be.
    """
    had = frame.header.config
    if isinstance(had, SttConfig | TdnetConfig):
        raise TrainingError(
            "the model has a temporal part already: give a per-frame network, as train writes it "
            'for a recipe with model = "frame"'
        )
    made = start_stt(_copy(frame), _stt_config(had, config))
    lineage = (*made.header.lineage, "a temporal block that has not learnt yet")
    return replace(made, header=replace(made.header, lineage=lineage))


def _fresh(classes: tuple[LabelClass, ...], config: TrainConfig) -> Checkpoint:
    preprocess = Preprocess()
    if config.per_frame == "lite0":
        frame: FrameConfig = LiteNetConfig(num_classes=len(classes))
        preprocess = replace(preprocess, mean=LITE0_MEAN, std=LITE0_STD)
    else:
        backbone: Any = _BACKBONES[config.per_frame]
        frame = PspNetConfig(num_classes=len(classes), backbone=backbone)
    model: ModelConfig = frame
    if config.model == "stt":
        model = _stt_config(frame, config)
    elif config.model == "tdnet":
        model = _tdnet_config(frame, config)
    return new_checkpoint(ModelHeader(config=model, preprocess=preprocess, classes=classes))


def _copy(init: Checkpoint) -> Checkpoint:
    return replace(init, model=copy.deepcopy(init.model), sha256="")


def _from(init: Checkpoint, config: TrainConfig) -> Checkpoint:
    had = init.header.config
    if config.model == "stt":
        if not isinstance(had, SttConfig):
            frame = _frame_of(init)
            return start_stt(frame, _stt_config(per_frame(had), config))
        return _with_config(init, _stt_config(had.per_frame, config, had))
    if config.model == "tdnet":
        if isinstance(had, TdnetConfig):
            if config.paths not in (None, had.paths):
                raise TrainingError(
                    f"the model to start from has {had.paths} paths, the recipe asks for "
                    f"{config.paths}: leave paths out, or start from a per-frame network"
                )
            return init
        return start_tdnet(_frame_of(init), _tdnet_config(per_frame(had), config))
    return _frame_of(init)


def _frame_of(init: Checkpoint) -> Checkpoint:
    """The per-frame network of a model, by itself."""
    frame = per_frame(init.header.config)
    if init.header.config == frame:
        return init
    alone = new_checkpoint(replace(init.header, config=frame))
    known = alone.model.state_dict().keys()
    weights = {name: w for name, w in init.model.state_dict().items() if name in known}
    if weights.keys() != known:
        raise TrainingError(
            "the model to start from is a TDNet, whose paths are no per-frame network: start from "
            "a per-frame network or an STT"
        )
    alone.model.load_state_dict(weights)
    return alone


def _with_config(init: Checkpoint, config: SttConfig) -> Checkpoint:
    """The same weights in a block with other settings."""
    if config == init.header.config:
        return init
    started = new_checkpoint(replace(init.header, config=config))
    try:
        started.model.load_state_dict(init.model.state_dict())
    except RuntimeError as error:
        raise TrainingError(
            "the recipe's stt asks for a block of another shape than that of the model to start "
            "from: leave insert and ffn_factor as they are there, or start from a per-frame network"
        ) from error
    return started


def _stt_config(
    frame: FrameConfig, config: TrainConfig, base: SttConfig | None = None
) -> SttConfig:
    plain = asdict(SttConfig(per_frame=frame) if base is None else base)
    unknown = sorted(set(config.stt) - set(plain) | {"per_frame", "kind"} & set(config.stt))
    if unknown:
        raise TrainingError(f"the recipe's stt has no '{unknown[0]}': see the names of SttConfig")
    asked = dict(config.stt)
    if config.key_frames is not None:
        asked.setdefault("key_frames", config.key_frames)
    try:
        return _STT.validate_python({**plain, **asked})
    except ValidationError as error:
        raise TrainingError(f"the recipe's stt is wrong{first_complaint(error)}") from error


def _tdnet_config(frame: FrameConfig, config: TrainConfig) -> TdnetConfig:
    """TD2 or TD4; as many value channels as a path sees, so that its head can be given weights."""
    with torch.device("meta"):
        alone = build_model(frame)
    assert isinstance(alone, PerFrame)
    width = alone.frame.trunk.context_width(halved=True)
    return TdnetConfig(per_frame=frame, paths=config.paths or 4, value_width=width)


def check_same_classes(
    known: Checkpoint, classes: tuple[LabelClass, ...], what: str = "model to start from"
) -> None:
    """See that a model tells the classes of the data apart, in their order.

    Raises:
        TrainingError: it does not.
    """
    had, wants = [c.name for c in known.header.classes], [c.name for c in classes]
    if had != wants:
        raise TrainingError(
            f"the {what} knows the classes {', '.join(had)}, but the labels have "
            f"{', '.join(wants)}: they must be the same, in the same order"
        )
