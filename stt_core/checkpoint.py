"""A model with its weights: in memory, and in a model file."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from stt_core.config import SttConfig, TdnetConfig
from stt_core.errors import CheckpointError
from stt_core.files import file_hash, replacing
from stt_core.formats.model_file import FORMAT, ModelHeader, header_json, read_header
from stt_core.model.build import build_model
from stt_core.model.frame import half_channels
from stt_core.model.stt import Stt
from stt_core.model.video import VideoModel


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A model in float32 on the CPU, in eval mode. Never changed, replaced whole."""

    header: ModelHeader
    model: VideoModel
    sha256: str = ""
    """Of the file it was loaded from; empty for one that was never saved."""


def new_checkpoint(header: ModelHeader) -> Checkpoint:
    """A model with fresh weights, from torch's global generator."""
    return Checkpoint(header, build_model(header.config).eval())


def start_stt(checkpoint: Checkpoint, config: SttConfig | None = None) -> Checkpoint:
    """An STT on the per-frame network of `checkpoint`, all of whose weights are kept.

    Only the temporal block is new; its weights come from torch's global generator. Where it stands
    before the classifier, its last LayerNorm gives rows of the mean and the spread that the
    classifier is used to, as far as a batch norm tells.

    Args:
        checkpoint: of a per-frame network.
        config: of the STT; the paper's on that network if None.

    Raises:
        CheckpointError: it is no per-frame network, or not the one that `config` has.
    """
    frame = checkpoint.header.config
    if isinstance(frame, SttConfig | TdnetConfig):
        raise CheckpointError("an STT starts from a per-frame network, and this model is none")
    config = SttConfig(per_frame=frame) if config is None else config
    if config.per_frame != frame:
        raise CheckpointError(
            f"the STT is made for {config.per_frame}, but the weights for {frame}"
        )
    started = new_checkpoint(replace(checkpoint.header, config=config))
    started.model.load_state_dict(checkpoint.model.state_dict(), strict=False)
    if config.insert == "bottleneck":
        assert isinstance(started.model, Stt)
        started.model.stt.start_on_scale(*started.model.frame.cls.expected_scale())
    return started


def start_tdnet(checkpoint: Checkpoint, config: TdnetConfig) -> Checkpoint:
    """A TDNet each of whose paths starts as the per-frame network of `checkpoint` (method, 4.2).

    A path's head is the bottleneck's slice of the half of the channels that the path reads. What
    hands features on is new; its weights come from torch's global generator.

    Args:
        checkpoint: of a per-frame network.
        config: of the TDNet; `value_width` is that of half the context.

    Raises:
        CheckpointError: it is no per-frame network, or not the one that `config` has.
    """
    frame = checkpoint.header.config
    if frame != config.per_frame:
        raise CheckpointError(
            f"the TDNet is made for {config.per_frame}, but the weights for {frame}"
        )
    started = new_checkpoint(replace(checkpoint.header, config=config))
    known = checkpoint.model.state_dict()
    weights = started.model.state_dict()
    for p in range(config.paths):
        own = {
            f"paths.{p}.{name.removeprefix('frame.').replace('cls.', 'head.', 1)}": w
            for name, w in known.items()
        }
        channels = half_channels(frame, known["frame.cls.0.weight"].shape[1], p % 2)
        if len(channels) != config.value_width:
            raise CheckpointError(
                f"a path reads {len(channels)} channels, so value_width must be that and not "
                f"{config.value_width} for its head to start from these weights"
            )
        own[f"paths.{p}.head.0.weight"] = own[f"paths.{p}.head.0.weight"][:, channels]
        own[f"paths.{p}.to_value.weight"] = torch.eye(len(channels))[..., None, None]
        weights.update(own)
    started.model.load_state_dict(weights)
    return started


def save_checkpoint(
    path: Path, checkpoint: Checkpoint, *, dtype: torch.dtype = torch.float32
) -> None:
    """Write a model file in one step.

    Args:
        path: a .safetensors file.
        checkpoint: what to write.
        dtype: of the floating weights in the file; bfloat16 halves it.

    Raises:
        OutputError: it could not be written; the file before it is untouched.
    """
    weights = {
        name: (w.to(dtype) if w.is_floating_point() else w).detach().contiguous()
        for name, w in checkpoint.model.state_dict().items()
    }
    with replacing(path) as temporary:
        try:
            save_file(weights, temporary, metadata=header_json(checkpoint.header))
        except SafetensorError as error:
            raise _as_os_error(error) from error


def load_checkpoint(path: Path) -> Checkpoint:
    """Rebuild a model from its own config and load its weights.

    Raises:
        CheckpointError: unreadable, contradictory, with weights missing or not finite.
    """
    header = read_header(path)
    try:
        weights = {
            name: w.float() if w.is_floating_point() else w for name, w in load_file(path).items()
        }
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"cannot read the weights of {path}: {error}") from error
    _check_finite(path, weights)
    if header.format == 1:
        weights = {_name_since_2(name): w for name, w in weights.items()}
    try:
        checkpoint = new_checkpoint(replace(header, format=FORMAT))
    except (ValueError, RuntimeError, ZeroDivisionError) as error:
        raise CheckpointError(
            f"{path} describes a model that cannot be built: {_first_line(str(error))}"
        ) from error
    try:
        checkpoint.model.load_state_dict(weights)
    except RuntimeError as error:
        raise CheckpointError(
            f"the weights in {path} do not fit the model it describes: {_first_line(str(error))}"
        ) from error
    return replace(checkpoint, sha256=file_hash(path))


def weights_digest(checkpoint: Checkpoint) -> str:
    """SHA-256 in hex of a model's header and weights, wherever they came from."""
    digest = hashlib.sha256(json.dumps(header_json(checkpoint.header), sort_keys=True).encode())
    for name, weight in sorted(checkpoint.model.state_dict().items()):
        digest.update(name.encode())
        digest.update(weight.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _name_since_2(name: str) -> str:
    part = name.partition(".")[0]
    if part == "stt":
        return name
    return f"frame.{name}" if part in ("cls", "aux") else f"frame.trunk.{name}"


def _check_finite(path: Path, weights: dict[str, Tensor]) -> None:
    broken = [name for name, w in weights.items() if not bool(w.isfinite().all())]
    if broken:
        raise CheckpointError(
            f"{path} holds weights that are not finite (NaN or infinite) in {broken[0]}"
            + (f" and {len(broken) - 1} more tensors" if len(broken) > 1 else "")
            + ": the training that wrote it diverged. Use an earlier checkpoint."
        )


def _as_os_error(error: SafetensorError) -> OSError:
    """A full disk in safetensors' words, "... (os error 28)", with its number."""
    number = re.search(r"os error (\d+)", str(error))
    return OSError(int(number[1]), str(error)) if number else OSError(str(error))


def _first_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines()]
    return next((line for line in lines[1:] if line), lines[0])
