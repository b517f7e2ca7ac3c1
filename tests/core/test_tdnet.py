"""TDNet against its chain of attention written out (method.md, 4.2)."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from stt_core.config import TdnetConfig
from stt_core.model.tdnet import SpatialNorm, Tdnet
from stt_core.model.video import Encoded
from tests.core.models import checkpoint, lite_config, pspnet_config, tdnet_config

PSP50 = pspnet_config(backbone="resnet50", stem="deep128", dilation="tdnet")
KINDS = {
    "td4 psp18": tdnet_config(pspnet_config(dilation="tdnet"), dropout=0.0),
    "td2 psp18": tdnet_config(paths=2, dropout=0.0),
    "td2 psp50": tdnet_config(PSP50, paths=2, dropout=0.0),
    "td2 lite": tdnet_config(lite_config(), paths=2, dropout=0.0),
    "td4 lite": tdnet_config(lite_config(), dropout=0.0),
}
SIZE = (72, 88)  # 9 x 11 positions: neither 3 nor 4 divides both
GRID = (9, 11)


@pytest.fixture(scope="module", params=KINDS)
def model(request: pytest.FixtureRequest) -> Tdnet:
    made = checkpoint(KINDS[request.param]).model
    assert isinstance(made, Tdnet)
    return made


@pytest.fixture
def clip() -> Tensor:
    return torch.randn(7, 3, *SIZE, generator=torch.Generator().manual_seed(5))


def _check(got: Tensor, expected: Tensor) -> None:
    """Like to what single precision can tell."""
    atol = 1e-5 * float(expected.detach().abs().max().clamp_min(1))
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=atol)


def _attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Every position of ``[K, h, w]`` over all of ``[K, h', w']``, one at a time, in float64."""
    query, key, value = query.double(), key.double(), value.double()
    out = value.new_zeros(value.shape[0], *query.shape[1:])
    for y in range(query.shape[1]):
        for x in range(query.shape[2]):
            scores = (query[:, y, x, None, None] * key).sum(0) / query.shape[0] ** 0.5
            weights = (scores - scores.max()).exp()
            weights = weights / weights.sum()
            out[:, y, x] = (weights * value).sum((1, 2))
    return out.float()


class _Frame:
    """q, k, v of one image by path `path`, at full size."""

    def __init__(self, model: Tdnet, image: Tensor, path: int) -> None:
        here: Any = model.paths[path]
        self.path = path
        half = path % 2  # paths 1 and 3 of the paper have the first half, 2 and 4 the second
        stages = here.trunk.stages(image[None])
        deep = stages.deep
        width = deep.shape[1] // 2
        parts = [deep[:, half * width : (half + 1) * width]]
        for pool in here.trunk.ppm.features:
            pooled = nn.functional.interpolate(
                pool(deep),
                deep.shape[2:],
                mode="bilinear",
                align_corners=model.config.per_frame.align_corners,
            )
            narrow = pooled.shape[1] // 2
            parts.append(pooled[:, half * narrow : (half + 1) * narrow])
        z = torch.cat(parts, 1)
        if stages.shallow is not None:  # the light network's trunk ends at stride 16
            z = nn.functional.interpolate(z, stages.shallow.shape[2:], mode="bilinear")
            z = torch.cat([z, stages.shallow], 1)
        self.query, self.key, self.value = (
            layer(z)[0] for layer in (here.to_query, here.to_key, here.to_value)
        )


def _spatial_norm(layer: SpatialNorm, x: Tensor) -> Tensor:
    mean = x.mean((1, 2), keepdim=True)
    unit = (x - mean) / ((x - mean).square().mean((1, 2), keepdim=True) + 1e-5).sqrt()
    weight, bias = (
        nn.functional.interpolate(p[None, None], GRID, mode="bilinear", align_corners=True)[0, 0]
        for p in (layer.weight, layer.bias)
    )
    return unit * weight + bias


def _by_hand(model: Tdnet, frames: list[_Frame], stride: int) -> Tensor:
    """Logits of the last of `frames`, oldest first: all P of them, or it alone."""
    now = frames[-1]
    here: Any = model.paths[now.path]
    own = now.value
    if len(frames) > 1:
        carried = torch.zeros(())
        for source, reader in pairwise(frames):
            query = reader.query if reader is now else reader.query[:, ::stride, ::stride]
            mixed = _attention(
                query,
                source.key[:, ::stride, ::stride],
                source.value[:, ::stride, ::stride] + carried,
            )
            layer: Any = model.propagate[f"{now.path}_{source.path}"]
            carried = layer(mixed[None])[0]
        own = own + carried
    return here.head(_spatial_norm(here.norm, own)[None])


@torch.no_grad()
def test_it_is_the_chain_of_attention_for_each_path(model: Tdnet, clip: Tensor) -> None:
    paths = model.config.paths
    for path in range(paths):
        clip_at_once = model(clip[:paths], path).logits
        frames = [
            _Frame(model, image, (path - paths + 1 + i) % paths)
            for i, image in enumerate(clip[:paths])
        ]
        expected = _by_hand(model, frames, stride=4)
        _check(clip_at_once, expected)


@torch.no_grad()
def test_streaming_is_the_clip_at_once(model: Tdnet, clip: Tensor) -> None:
    """Each frame encoded once, by the path whose turn it is."""
    paths = model.config.paths
    memory: list[Encoded] = []
    for n, image in enumerate(clip):
        current = model.encode(image[None], n % paths)
        streamed = model.decode(current, memory).logits
        begin = max(0, n - paths + 1)
        at_once = model(clip[begin : n + 1], n % paths).logits
        _check(streamed, at_once)
        memory = [current, *memory][: paths - 1]


@torch.no_grad()
def test_a_frame_without_its_whole_past_is_decoded_alone(model: Tdnet, clip: Tensor) -> None:
    paths = model.config.paths
    newest_first = [model.encode(clip[i : i + 1], i % paths) for i in range(paths)][::-1]
    current, memory = newest_first[0], newest_first[1:]
    alone = model.decode(current, ())
    assert alone.queries.shape == (1, 0)
    expected = _by_hand(model, [_Frame(model, clip[paths - 1], current.path)], stride=4)
    _check(alone.logits, expected)
    for some in range(paths - 1):
        assert torch.equal(model.decode(current, memory[:some]).logits, alone.logits)
    assert not torch.equal(model.decode(current, memory).logits, alone.logits)


@torch.no_grad()
def test_only_the_newest_frames_are_read(model: Tdnet, clip: Tensor) -> None:
    paths = model.config.paths
    frames = [model.encode(clip[i : i + 1], i % paths) for i in range(6)][::-1]
    expected = model.decode(frames[0], frames[1:paths]).logits
    assert torch.equal(model.decode(frames[0], frames[1:]).logits, expected)


@torch.no_grad()
def test_frames_of_other_paths_are_refused(model: Tdnet, clip: Tensor) -> None:
    """A frame left out or given twice would be read with weights that were not made for it."""
    paths = model.config.paths
    frames = [model.encode(clip[i : i + 1], i % paths) for i in range(paths)]
    with pytest.raises(ValueError, match="are the frames consecutive"):
        model.decode(frames[0], [frames[0]])
    if paths == 4:
        with pytest.raises(ValueError, match="are the frames consecutive"):
            model.decode(frames[3], [frames[0], frames[1], frames[2]])  # oldest first
        with pytest.raises(ValueError, match="are the frames consecutive"):
            model.decode(frames[3], [frames[1], frames[0]])


@pytest.mark.parametrize("kind", ["td4 psp18", "td2 lite"])
@torch.no_grad()
def test_the_memory_is_denser_in_training(kind: str, clip: Tensor) -> None:
    """Stride 3 there and 4 in use, as released; both from the same weights."""
    model = checkpoint(KINDS[kind]).model
    assert isinstance(model, Tdnet)
    paths = model.config.paths
    for part in model.modules():
        if isinstance(part, nn.Dropout | nn.Dropout2d):
            part.p = 0.0
    encoded = model.encode(clip[:1])
    assert encoded.key is not None
    assert encoded.key.shape[2:] == (3, 3)
    assert encoded.features.shape[2:] == encoded.size == GRID
    model.train()
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.eval()  # a batch of one position has no spread
    encoded = model.encode(clip[:1])
    assert encoded.key is not None
    assert encoded.key.shape[2:] == (3, 4)
    frames = [_Frame(model, image, i) for i, image in enumerate(clip[:paths])]
    expected = _by_hand(model, frames, stride=3)
    got = model(clip[:paths], paths - 1).logits
    _check(got, expected)


@torch.no_grad()
def test_the_stride_of_the_memory_is_configurable(clip: Tensor) -> None:
    model = checkpoint(tdnet_config(paths=2, memory_stride=1, dropout=0.0)).model
    assert isinstance(model, Tdnet)
    frames = [_Frame(model, image, i) for i, image in enumerate(clip[:2])]
    expected = _by_hand(model, frames, stride=1)
    _check(model(clip[:2], 1).logits, expected)


@torch.no_grad()
def test_a_batch_is_its_clips(model: Tdnet, clip: Tensor) -> None:
    paths = model.config.paths
    frames = [model.encode(clip[i : i + 2], i % paths) for i in range(paths)][::-1]
    together = model.decode(frames[0], frames[1:]).logits
    for b in range(2):
        alone = model.decode(frames[0].one(b), [f.one(b) for f in frames[1:]]).logits
        _check(alone[0], together[b])


def test_the_spatial_norm_is_a_norm_of_each_plane() -> None:
    norm = SpatialNorm((4, 6)).double()
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    x = 3 * torch.randn(2, 5, 4, 6, dtype=torch.float64) + 7
    mean, var = x.mean((2, 3), keepdim=True), x.var((2, 3), correction=0, keepdim=True)
    expected = (x - mean) / (var + 1e-5).sqrt() * norm.weight + norm.bias
    _check(norm(x), expected)


@pytest.mark.parametrize("size", [(13, 25), (4, 4), (7, 13), (2, 30)])
def test_the_spatial_norm_stretches_to_any_size(size: tuple[int, int]) -> None:
    """Ramps stretch to ramps from the same corner to the same corner."""

    def ramp(rows: int, cols: int) -> Tensor:
        y, x = torch.linspace(0, 2, rows), torch.linspace(-1, 3, cols)
        return y[:, None] - 0.5 * x

    norm = SpatialNorm((7, 13))
    with torch.no_grad():
        norm.weight.copy_(1 + ramp(7, 13))
        norm.bias.copy_(2 * ramp(7, 13))
    x = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(0))
    flat = nn.functional.layer_norm(x, size)
    expected = flat * (1 + ramp(*size)) + 2 * ramp(*size)
    torch.testing.assert_close(norm(x), expected, rtol=1e-4, atol=1e-4)


def test_the_spatial_norm_keeps_half_precision_outside() -> None:
    norm = SpatialNorm((4, 6))
    x = torch.randn(1, 3, 4, 6)
    got = norm(x.bfloat16())
    assert got.dtype == torch.bfloat16
    torch.testing.assert_close(got.float(), norm(x), rtol=0.05, atol=0.05)


def test_parts_are_those_of_the_released_networks() -> None:
    """Entries without batch norms' counters and shapes (docs/checkpoints.md)."""
    frame = pspnet_config(num_classes=19, width=128, aux_width=64, dilation="tdnet")
    with torch.device("meta"):
        from stt_core.model.build import build_model

        state = build_model(TdnetConfig(per_frame=frame)).state_dict()
    shapes = {
        "paths.3.to_query.0.weight": (64, 512, 1, 1),
        "paths.3.to_query.3.bias": (64,),
        "paths.0.to_key.3.weight": (64, 64, 1, 1),
        "paths.1.to_value.weight": (512, 512, 1, 1),
        "paths.2.norm.weight": (97, 193),
        "paths.0.head.0.weight": (128, 512, 3, 3),
        "paths.0.aux.0.weight": (64, 256, 3, 3),
        "propagate.3_2.weight": (512, 512, 1, 1),
        "propagate.0_1.bias": (512,),
    }
    assert {name: tuple(state[name].shape) for name in shapes} == shapes
    pairs = {name.split(".")[1] for name in state if name.startswith("propagate.")}
    assert pairs == {f"{p}_{q}" for p in range(4) for q in range(4) if p != q}
    # 760 entries of which 8 are unused classifiers of ImageNet
    assert len(state) == 760 - 8
