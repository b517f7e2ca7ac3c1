"""The per-frame network of a model as an ONNX file, for programs without torch.

One image of a fixed size goes in, normalised, and its logits come out, enlarged to that size. Of
an STT model this is the network without its temporal block: every position takes the bypass.
"""

from __future__ import annotations

import copy
import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stt_core.checkpoint import Checkpoint
from stt_core.config import ModelConfig, SttConfig, per_frame, reach
from stt_core.errors import CheckpointError, OutputError
from stt_core.files import replacing
from stt_core.model.fold import fold_batch_norms
from stt_core.model.video import Encoded, VideoModel

OPSET = 18
"""What the exporter writes without converting; runtimes since 2023 read it."""

DEFAULT_SIZE = (512, 1024)
"""Rows and columns of an image; a model's own short side scales them."""

_PACKAGES = ("onnx", "onnxscript")


@dataclass(frozen=True, slots=True)
class Difference:
    """How far onnxruntime's logits lie from torch's."""

    relative: float
    """The largest difference, in standard deviations of torch's logits."""
    same_class: float
    """Share of pixels with the same winner."""


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written."""

    what: str
    """A sentence."""
    size: tuple[int, int]
    """Rows and columns of the input and the logits."""
    difference: Difference | None
    """None where onnxruntime is not installed."""


def export_onnx(
    path: Path, checkpoint: Checkpoint, *, size: tuple[int, int] | None = None
) -> Exported:
    """Write the per-frame network as an ONNX file in one step.

    Its input is `image`, float32 ``[1, 3, H, W]``, normalised; its output `logits`, float32
    ``[1, classes, H, W]``. Preprocessing, classes, licence and origin stand in the metadata.

    Args:
        path: what to write.
        checkpoint: is not changed.
        size: H, W, multiples of 8; by default those of a 2:1 image of the model's short side.

    Raises:
        CheckpointError: the model segments no frame on its own.
        OutputError: a package is missing, or the file cannot be written.
        ValueError: a side is no multiple of 8.
    """
    what = exported_part(checkpoint.header.config)
    size = size or checkpoint.header.preprocess.network_size(*DEFAULT_SIZE)
    if any(side < 8 or side % 8 for side in size):
        raise ValueError(f"sides must be multiples of 8, got {size[1]}x{size[0]}")
    _check_packages()
    model = _translate(_exportable(checkpoint.model, size), size)
    _describe(model, checkpoint, what)
    content = model.SerializeToString()
    difference = _compare(content, checkpoint.model, size)
    with replacing(path) as temporary:
        temporary.write_bytes(content)
    return Exported(what, size, difference)


def exported_part(config: ModelConfig) -> str:
    """What an export of a model of this config is, in a sentence.

    Raises:
        CheckpointError: nothing of it segments a frame on its own.
    """
    if reach(config).paths > 1:
        raise CheckpointError(
            "a TDNet model cannot be exported: its paths take turns and hand their features on, "
            "so none of them segments a frame on its own. Export a per-frame or an STT model."
        )
    if not isinstance(config, SttConfig):
        return "the whole model, which reads one frame at a time"
    through = ", through the block's last LayerNorm" if config.changes_bypass else ""
    return (
        "the per-frame network without the temporal block: every position takes the block's "
        f"bypass{through}, so the logits are those of the STT model with 0 key frames"
    )


class FrameLogits(nn.Module):
    """A model that reads no other frame, from its input to logits of the same size."""

    def __init__(self, model: VideoModel, size: tuple[int, int]) -> None:
        super().__init__()
        self.model = model
        self.size = size
        self.align_corners = per_frame(model.config).align_corners

    def forward(self, image: Tensor) -> Tensor:
        """Normalised ``[1, 3, H, W]`` to ``[1, classes, H, W]``."""
        extracted = self.model.extract(image)
        # not VideoModel.encode: keys and values for later frames would be computed for nobody
        encoded = Encoded(extracted.features, shallow=extracted.shallow)
        logits = self.model.decode(encoded, ()).logits
        return F.interpolate(logits, self.size, mode="bilinear", align_corners=self.align_corners)


class AveragingPool(nn.Module):
    """Adaptive average pooling as two products, which every runtime has.

    ONNX knows pooling with one window size only; the exporter's own way out for maps whose sides
    the bins do not divide is to gather each region by index.
    """

    def __init__(self, bins: int) -> None:
        super().__init__()
        self.bins = bins

    def forward(self, x: Tensor) -> Tensor:
        """``[B, C, h, w]`` to ``[B, C, bins, bins]``."""
        rows, cols = (averaging_matrix(side, self.bins) for side in x.shape[2:])
        return rows @ x @ cols.T


def averaging_matrix(side: int, bins: int) -> Tensor:
    """``[bins, side]``: each row the mean over one of torch's regions, which may overlap."""
    regions = [(i * side // bins, -(-(i + 1) * side // bins)) for i in range(bins)]
    return torch.tensor(
        [[(start <= j < end) / (end - start) for j in range(side)] for start, end in regions]
    )


def _exportable(model: VideoModel, size: tuple[int, int]) -> FrameLogits:
    """The same network with batch norms folded and poolings as products; `model` stays."""
    model = copy.deepcopy(model).eval()
    fold_batch_norms(model)
    for part in model.modules():
        for name, child in part.named_children():
            if isinstance(child, nn.AdaptiveAvgPool2d):
                assert isinstance(child.output_size, int)
                part._modules[name] = AveragingPool(child.output_size)
    return FrameLogits(model, size).eval()


@torch.no_grad()
def _translate(network: FrameLogits, size: tuple[int, int]) -> Any:
    """An onnx.ModelProto, without the exporter's notes."""
    with _quiet():
        program = torch.onnx.export(
            network,
            (torch.zeros(1, 3, *size),),
            input_names=["image"],
            output_names=["logits"],
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None  # without dynamo there would be none
    model: Any = program.model_proto
    graph = model.graph
    # the exporter notes where in our source each node came from, with this machine's folders
    noted = (graph.node, graph.input, graph.output, graph.value_info, graph.initializer)
    for part in (graph, *(one for parts in noted for one in parts)):
        del part.metadata_props[:]
    return model


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep to itself what the exporter says of torch's own affairs."""
    registration = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = registration.level
    # it warns of each operator of torchvision that it cannot export without torchvision
    registration.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            # torch 2.13 copies its own tree specs in a way that it deprecates
            warnings.filterwarnings(
                "ignore", r"`isinstance\(treespec, LeafSpec\)` is deprecated", FutureWarning
            )
            yield
    finally:
        registration.setLevel(level)


def _describe(model: Any, checkpoint: Checkpoint, what: str) -> None:
    """Say in the file itself what its user must know; lists are JSON."""
    header = checkpoint.header
    preprocess = header.preprocess
    facts = {
        "exported": what,
        "input": "RGB in [0, 1], resized bilinearly with antialiasing, less mean, over std",
        "mean": json.dumps(preprocess.mean),
        "std": json.dumps(preprocess.std),
        "short_side": json.dumps(preprocess.short_side),
        "classes": json.dumps([c.name for c in header.classes]),
        "colors": json.dumps([c.color for c in header.classes]),
        "licence": header.licence,
        "source_sha256": checkpoint.sha256,
    }
    for key, value in facts.items():
        model.metadata_props.add(key=key, value=value)


def _compare(content: bytes, model: VideoModel, size: tuple[int, int]) -> Difference | None:
    """Run the file and the model it came from on the same blobs."""
    try:
        runtime: Any = import_module("onnxruntime")
    except ImportError:
        return None
    coarse = torch.randn(
        1, 3, size[0] // 8, size[1] // 8, generator=torch.Generator().manual_seed(0)
    )
    image = F.interpolate(coarse, size, mode="bilinear")
    session = runtime.InferenceSession(content, providers=["CPUExecutionProvider"])
    found = session.run(["logits"], {"image": image.numpy()})[0]
    with torch.inference_mode():
        wanted = FrameLogits(model, size).eval()(image).numpy()
    spread = float(wanted.std()) or 1.0
    return Difference(
        relative=float(np.abs(found - wanted).max()) / spread,
        same_class=float((found.argmax(1) == wanted.argmax(1)).mean()),
    )


def _check_packages() -> None:
    for name in _PACKAGES:
        try:
            import_module(name)
        except ImportError as error:
            raise OutputError(
                "writing ONNX files needs packages that are not installed "
                f"({error}): pip install {' '.join(_PACKAGES)}"
            ) from error
