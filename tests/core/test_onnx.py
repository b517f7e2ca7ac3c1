"""Exporting to ONNX: logits in onnxruntime like those of the model in torch, or a refusal."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from stt_core.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from stt_core.config import ModelConfig, Preprocess, per_frame
from stt_core.errors import CheckpointError, OutputError
from stt_core.files import file_hash
from stt_core.model.stt import Stt
from stt_core.network import Network
from stt_core.onnx_export import (
    OPSET,
    AveragingPool,
    averaging_matrix,
    export_onnx,
    exported_part,
)
from tests.core.models import (
    checkpoint,
    images,
    lite_config,
    pspnet_config,
    stt_config,
    tdnet_config,
)

LARGEST = 1e-4
"""Difference of logits, in standard deviations of them."""
SAME_CLASS = 0.9999
SIZE = (64, 96)

EVERYDAY_OPERATORS = {
    "Add",
    "Clip",
    "Concat",
    "Conv",
    "LayerNormalization",
    "MatMul",
    "MaxPool",
    "Relu",
    "Reshape",
    "Resize",
    "Transpose",
}
"""Nothing is gathered by index, nor computed from shapes while it runs."""

Run = Callable[[Path, Tensor], NDArray[np.float32]]


class Case(NamedTuple):
    config: ModelConfig
    size: tuple[int, int]


# maps of 8x12, 9x13 and 15x19: the bins divide all, some and none of these sides
CASES = {
    "etc": Case(pspnet_config(), (64, 96)),
    "tdnet scheme": Case(pspnet_config(dilation="tdnet"), (72, 104)),
    "mmseg scheme": Case(pspnet_config(dilation="mmseg"), (120, 152)),
    "pspnet, corners not aligned": Case(pspnet_config(align_corners=False), (72, 104)),
    "pspnet, smallest": Case(pspnet_config(), (8, 8)),
    "resnet50": Case(pspnet_config(backbone="resnet50", stem="deep64", dilation="mmseg"), SIZE),
    "lite": Case(lite_config(), (64, 96)),
    "lite, odd maps": Case(lite_config(), (72, 104)),
    "lite, odd maps, corners aligned": Case(lite_config(align_corners=True), (120, 152)),
    "lite, smallest": Case(lite_config(), (8, 8)),
    "stt": Case(stt_config(), (72, 104)),
    "stt, bare bypass": Case(stt_config(bypass_norm=False), SIZE),
    "stt behind the backbone": Case(stt_config(insert="backbone"), (120, 152)),
    "stt behind lite": Case(stt_config(lite_config(), insert="backbone"), (72, 104)),
    "resnet50, deep stem of semseg": Case(
        pspnet_config(backbone="resnet50", stem="deep128", dilation="etc"), (120, 152)
    ),
    "resnet101": Case(pspnet_config(backbone="resnet101", stem="deep64"), (72, 104)),
}
SLOW = (
    "tdnet scheme",
    "pspnet, corners not aligned",
    "pspnet, smallest",
    "lite",
    "lite, odd maps, corners aligned",
    "lite, smallest",
    "stt, bare bypass",
    "stt behind lite",
    "resnet50, deep stem of semseg",
    "resnet101",
)


@pytest.fixture(scope="session")
def exporter() -> Any:
    """The package onnx, where files can be written."""
    onnx = pytest.importorskip("onnx", reason="pip install onnx")
    pytest.importorskip("onnxscript", reason="pip install onnxscript")
    return onnx


@pytest.fixture(scope="session")
def run(exporter: Any) -> Run:
    """Run a file."""
    runtime = pytest.importorskip("onnxruntime", reason="pip install onnxruntime")

    def go(path: Path, image: Tensor) -> NDArray[np.float32]:
        session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        (logits,) = session.run(None, {"image": image.numpy()})
        return logits

    return go


@pytest.fixture(scope="module")
def small() -> Checkpoint:
    return made(pspnet_config())


@pytest.fixture(scope="module")
def written(exporter: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Checkpoint, Path]:
    """An STT model from a file, and its export."""
    folder = tmp_path_factory.mktemp("onnx")
    source = made(stt_config())
    preprocess = Preprocess(short_side=64, mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3))
    header = replace(source.header, preprocess=preprocess, licence="for tests only")
    save_checkpoint(folder / "m.safetensors", replace(source, header=header))
    source = load_checkpoint(folder / "m.safetensors")
    export_onnx(folder / "m.onnx", source, size=SIZE)
    return source, folder / "m.onnx"


def made(config: ModelConfig) -> Checkpoint:
    """A model of which every part shows in the logits: some start at zero or as the identity."""
    source = checkpoint(config)
    if isinstance(source.model, Stt):
        nn.init.uniform_(source.model.stt.norm2.weight, 0.5, 1.5)
        nn.init.normal_(source.model.stt.norm2.bias, std=0.3)
        if source.model.config.insert == "backbone":
            nn.init.normal_(source.model.expand.weight, std=0.1)
            nn.init.normal_(source.model.expand.bias, std=0.1)  # type: ignore[arg-type]
    return source


def blobs(size: tuple[int, int]) -> Tensor:
    torch.manual_seed(1)
    coarse = torch.randn(1, 3, max(size[0] // 8, 2), max(size[1] // 8, 2))
    return F.interpolate(coarse, size, mode="bilinear") * 2


@torch.no_grad()
def in_torch(source: Checkpoint, image: Tensor) -> Tensor:
    """Logits of a frame without a past, at the size of the image."""
    logits = source.model(image).logits
    align = per_frame(source.header.config).align_corners
    return F.interpolate(logits, image.shape[2:], mode="bilinear", align_corners=align)


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] if n in SLOW else []) for n in CASES]
)
def test_logits_are_those_of_the_model(name: str, exporter: Any, run: Run, tmp_path: Path) -> None:
    config, size = CASES[name]
    source, path = made(config), tmp_path / "m.onnx"
    before = {key: w.clone() for key, w in source.model.state_dict().items()}
    exported = export_onnx(path, source, size=size)
    found, image = run(path, blobs(size)), blobs(size)
    wanted = in_torch(source, image).numpy()
    assert found.shape == (1, 11, *size)
    assert found.dtype == np.float32
    assert len(np.unique(wanted.argmax(1))) > 1 or size == (8, 8)  # a map of one position
    assert np.abs(found - wanted).max() <= LARGEST * wanted.std()
    assert (found.argmax(1) == wanted.argmax(1)).mean() >= SAME_CLASS
    assert exported.difference is not None
    assert 0 < exported.difference.relative <= LARGEST
    assert exported.difference.same_class >= SAME_CLASS
    model = exporter.load(path)
    exporter.checker.check_model(model, full_check=True)
    assert [(o.domain, o.version) for o in model.opset_import] == [("", OPSET)]
    assert {node.op_type for node in model.graph.node} <= EVERYDAY_OPERATORS
    path.unlink()  # tens of megabytes, which pytest would keep
    # the model itself is as it was
    after = source.model.state_dict()
    assert all(torch.equal(after[key], w) for key, w in before.items())
    assert after.keys() == before.keys()
    kinds = {type(part) for part in source.model.modules()}
    assert nn.AdaptiveAvgPool2d in kinds
    assert AveragingPool not in kinds


def test_an_stt_model_is_more_than_its_export(written: tuple[Checkpoint, Path], run: Run) -> None:
    """With a past the model answers otherwise; the bypass alone is not the bare network either."""
    source, path = written
    image = blobs(SIZE)
    found = torch.from_numpy(run(path, image))
    assert isinstance(source.model, Stt)
    with torch.no_grad():
        clip = source.model(torch.cat([image.flip(3), image])).logits
        bare = source.model.frame.classify(source.model.extract(image).features)
    for logits in (clip, bare):
        other = F.interpolate(logits, SIZE, mode="bilinear", align_corners=True)
        assert (other - found).abs().max() > 0.01 * found.std()


def test_the_file_says_all_that_its_user_must_know(
    written: tuple[Checkpoint, Path], exporter: Any, run: Run
) -> None:
    """From an image to the program's label map with nothing but the file."""
    source, path = written
    model = exporter.load(path)
    told = {entry.key: entry.value for entry in model.metadata_props}
    assert told["exported"] == exported_part(source.header.config)
    assert told["licence"] == "for tests only"
    assert told["source_sha256"] == file_hash(path.with_suffix(".safetensors"))
    assert json.loads(told["short_side"]) == 64
    classes = source.header.classes
    assert json.loads(told["classes"]) == [c.name for c in classes]
    assert json.loads(told["colors"]) == [list(c.color) for c in classes]

    assert "RGB in [0, 1]" in told["input"]
    (frame,) = images(1, SIZE)
    mean, std = (np.array(json.loads(told[key]), np.float32) for key in ("mean", "std"))
    image = ((frame.astype(np.float32) / 255 - mean) / std).transpose(2, 0, 1)[None]
    labels = run(path, torch.from_numpy(np.ascontiguousarray(image))).argmax(1)[0]
    network = Network(source, device="cpu", precision="fp32", key_frames=0)
    decoded = network.decode(network.encode(frame), ())
    assert (labels == network.finish(decoded, SIZE).labels).mean() >= SAME_CLASS


def test_the_file_tells_nothing_of_the_machine_it_was_written_on(
    written: tuple[Checkpoint, Path], exporter: Any
) -> None:
    model = exporter.load(written[1])
    del model.graph.initializer[:]
    text = str(model)
    assert "conv" in text
    for trace in ("File ", ".py", "site-packages", "stack_trace"):
        assert trace not in text


@pytest.mark.slow
def test_equal_models_give_equal_files(written: tuple[Checkpoint, Path], tmp_path: Path) -> None:
    source, path = written
    export_onnx(tmp_path / "again.onnx", source, size=SIZE)
    assert file_hash(tmp_path / "again.onnx") == file_hash(path)


@pytest.mark.parametrize(
    ("short_side", "size"), [(None, (512, 1024)), (360, (360, 720)), (100, (96, 200))]
)
def test_size_follows_the_models_short_side(
    short_side: int | None,
    size: tuple[int, int],
    small: Checkpoint,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without translating: the size that it would be translated for."""
    asked: list[tuple[int, int]] = []

    def stop(network: Any, size: tuple[int, int]) -> None:
        asked.append(size)
        raise OutputError("enough")

    monkeypatch.setattr("stt_core.onnx_export._check_packages", lambda: None)
    monkeypatch.setattr("stt_core.onnx_export._translate", stop)
    header = replace(small.header, preprocess=Preprocess(short_side=short_side))
    with pytest.raises(OutputError, match="enough"):
        export_onnx(tmp_path / "m.onnx", replace(small, header=header))
    assert asked == [size]


@pytest.mark.parametrize("bins", [1, 2, 3, 6])
def test_products_with_averages_are_adaptive_pooling(bins: int) -> None:
    torch.manual_seed(2)
    for rows in (*range(1, 20), 64):
        x = torch.randn(2, 3, rows, rows + 3)
        torch.testing.assert_close(AveragingPool(bins)(x), F.adaptive_avg_pool2d(x, bins))
        assert averaging_matrix(rows, bins).shape == (bins, rows)


def test_sentence_says_what_of_the_model_is_exported() -> None:
    assert exported_part(pspnet_config()) == exported_part(lite_config())
    assert "whole model" in exported_part(lite_config())
    for insert in ("bottleneck", "backbone"):
        with_norm = exported_part(stt_config(insert=insert))
        assert "without the temporal block" in with_norm
        assert "bypass, through the block's last LayerNorm" in with_norm
        assert "0 key frames" in with_norm
        assert "LayerNorm" not in exported_part(stt_config(insert=insert, bypass_norm=False))


def test_tdnet_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="TDNet model cannot be exported: its paths"):
        export_onnx(tmp_path / "m.onnx", checkpoint(tdnet_config()), size=SIZE)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("size", [(64, 100), (0, 64), (-8, 64)])
def test_sides_are_multiples_of_8(size: tuple[int, int], small: Checkpoint, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="multiples of 8"):
        export_onnx(tmp_path / "m.onnx", small, size=size)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("missing", ["onnx", "onnxscript"])
def test_missing_package_is_named_and_the_file_before_stays(
    missing: str, small: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    (tmp_path / "m.onnx").write_bytes(b"before")
    with pytest.raises(OutputError, match=r"not installed .*: pip install onnx onnxscript$"):
        export_onnx(tmp_path / "m.onnx", small, size=SIZE)
    assert [p.name for p in tmp_path.iterdir()] == ["m.onnx"]
    assert (tmp_path / "m.onnx").read_bytes() == b"before"


def test_what_cannot_be_written_is_said(exporter: Any, small: Checkpoint, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="a file stands where a folder is needed"):
        export_onnx(tmp_path / "file" / "m.onnx", small, size=SIZE)
