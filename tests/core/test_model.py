from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from stt_core.checkpoint import start_stt
from stt_core.config import (
    Backbone,
    Dilation,
    LiteNetConfig,
    ModelConfig,
    PspNetConfig,
    Reach,
    SttConfig,
    TdnetConfig,
    per_frame,
    reach,
    with_key_frames,
)
from stt_core.errors import CheckpointError
from stt_core.model.backends import Backend
from stt_core.model.build import build_model
from stt_core.model.fold import fold_batch_norms
from stt_core.model.stt import Stt
from stt_core.model.video import Encoded, PerFrame, VideoModel
from tests.core.models import checkpoint, lite_config, pspnet_config, stt_config, tdnet_config

PSP50 = pspnet_config(backbone="resnet50", stem="deep128", dilation="tdnet")
PSP18_MMSEG = pspnet_config(stem="deep64", dilation="mmseg", align_corners=False)

KINDS: dict[str, ModelConfig] = {
    "psp18": pspnet_config(),
    "psp18 mmseg": PSP18_MMSEG,
    "psp50": PSP50,
    "lite": lite_config(),
    "stt psp18": stt_config(),
    "stt psp18 backbone": stt_config(insert="backbone"),
    "stt psp50": stt_config(PSP50),
    "stt psp50 backbone": stt_config(PSP50, insert="backbone"),
    "stt lite": stt_config(lite_config()),
    "stt lite backbone": stt_config(lite_config(), insert="backbone"),
    "stt lite distance": stt_config(lite_config(), attention="distance"),
    "stt lite gate": stt_config(lite_config(), attention="distance", norm="gate"),
    "td4 psp18": tdnet_config(),
    "td2 psp50": tdnet_config(PSP50, paths=2),
    "td2 lite": tdnet_config(lite_config(), paths=2),
}
STT_ON_BOTTLENECK = ["stt psp18", "stt psp50", "stt lite", "stt lite distance", "stt lite gate"]
STT_ON_BACKBONE = ["stt psp18 backbone", "stt psp50 backbone", "stt lite backbone"]

_made: dict[str, VideoModel] = {}


def _shared(kind: str) -> VideoModel:
    """One model of a kind for all tests that leave it as it is, in float32."""
    if kind not in _made:
        _made[kind] = checkpoint(KINDS[kind]).model
    return _made[kind]


def _stt(kind: str) -> Stt:
    made = _shared(kind)
    assert isinstance(made, Stt)
    return made


def _model(**changes: object) -> Stt:
    made = checkpoint(stt_config(**changes)).model
    assert isinstance(made, Stt)
    return made.double()


def _clip(count: int = 8, size: tuple[int, int] = (80, 96)) -> Tensor:
    """[T, 3, H, W]."""
    return torch.randn(count, 3, *size, generator=torch.Generator().manual_seed(3))


def _frames(model: VideoModel, clip: Tensor) -> tuple[Encoded, list[Encoded]]:
    """The last frame, and those before it, newest first; each encoded by itself."""
    newest_first = [model.encode(image[None]) for image in clip.flip(0)]
    return newest_first[0], newest_first[1:]


def _norm(rows: Tensor, layer: nn.LayerNorm) -> Tensor:
    centred = rows - rows.mean(-1, keepdim=True)
    unit = centred / (centred.square().mean(-1, keepdim=True) + layer.eps).sqrt()
    return unit * layer.weight + layer.bias


# what is built


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_every_kind_segments_at_an_eighth_of_the_size(kind: str) -> None:
    model = _shared(kind)
    heights = reach(model.config).key_frames
    for size in ((64, 96), (72, 104)):
        decoded = model(_clip(min(3, heights) + 1, size))
        count = size[0] // 8 * (size[1] // 8)
        assert decoded.logits.shape == (1, 11, size[0] // 8, size[1] // 8)
        assert decoded.logits.isfinite().all()
        assert decoded.need.shape[0] == 1
        if not isinstance(model, Stt):
            assert decoded.queries.shape == (1, 0)
            assert decoded.need.shape == (1, count)
    extracted = model.extract(_clip(2, (64, 96)), aux=True)
    assert extracted.aux is not None
    assert extracted.aux.shape[:2] == (2, 11)
    assert model.extract(_clip(1, (64, 96))).aux is None


@pytest.mark.parametrize(
    ("config", "shapes"),
    [
        (
            PspNetConfig(num_classes=19),
            {
                "trunk.layer0.0.weight": (64, 3, 7, 7),
                "trunk.ppm.features.3.1.weight": (128, 512, 1, 1),
                "cls.0.weight": (256, 1024, 3, 3),
                "cls.4.weight": (19, 256, 1, 1),
                "aux.0.weight": (256, 256, 3, 3),
                "aux.4.bias": (19,),
            },
        ),
        (
            PspNetConfig(num_classes=19, width=128, aux_width=64, stem="deep64"),
            {
                "trunk.layer0.0.weight": (32, 3, 3, 3),
                "trunk.layer0.6.weight": (64, 32, 3, 3),
                "trunk.layer1.0.conv1.weight": (64, 64, 3, 3),
                "cls.0.weight": (128, 1024, 3, 3),
                "aux.0.weight": (64, 256, 3, 3),
            },
        ),
        (
            PspNetConfig(num_classes=19, backbone="resnet101", stem="deep128", width=512),
            {
                "trunk.layer0.6.weight": (128, 64, 3, 3),
                "trunk.layer1.0.conv1.weight": (64, 128, 1, 1),
                "trunk.layer3.22.conv3.weight": (1024, 256, 1, 1),
                "trunk.ppm.features.0.1.weight": (512, 2048, 1, 1),
                "cls.0.weight": (512, 4096, 3, 3),
                "aux.0.weight": (256, 1024, 3, 3),
            },
        ),
        (
            LiteNetConfig(num_classes=19),
            {
                "trunk.ppm.features.0.1.weight": (80, 320, 1, 1),
                "cls.0.weight": (128, 680, 3, 3),
                "aux.0.weight": (64, 112, 3, 3),
            },
        ),
    ],
    ids=["psp18", "psp18 mmseg", "psp101", "lite"],
)
def test_widths_are_those_of_the_published_layouts(
    config: PspNetConfig | LiteNetConfig, shapes: dict[str, tuple[int, ...]]
) -> None:
    with torch.device("meta"):
        state = build_model(config).state_dict()
    assert {name: tuple(state[f"frame.{name}"].shape) for name in shapes} == shapes


@pytest.mark.parametrize(
    ("changes", "entries"),
    [
        ({}, 160),
        ({"stem": "deep64"}, 172),
        ({"backbone": "resnet50", "stem": "deep128"}, 370),
        ({"backbone": "resnet101", "stem": "deep128"}, 676),
    ],
)
def test_a_pspnet_has_the_entries_of_the_published_files(
    changes: dict[str, Any], entries: int
) -> None:
    with torch.device("meta"):
        model = build_model(PspNetConfig(num_classes=19, **changes))
    assert len(model.state_dict()) == entries
    if not changes:
        assert sum(p.numel() for p in model.parameters()) == pytest.approx(14.40e6, rel=2e-3)


@pytest.mark.parametrize(("backbone", "blocks"), [("resnet18", 2), ("resnet50", 6)])
@pytest.mark.parametrize(
    ("scheme", "basic", "bottleneck"),
    [  # docs/checkpoints.md: of stage 3 and of stage 4
        ("etc", [[(1, 2), (1, 2)], [(1, 4), (1, 4)]], [[2] * 6, [4, 4, 4]]),
        ("tdnet", [[(1, 2), (2, 2)], [(4, 4), (8, 4)]], [[1, 2, 2, 2, 2, 2], [4, 8, 16]]),
        ("mmseg", [[(1, 1), (2, 1)], [(2, 1), (4, 1)]], [[1, 2, 2, 2, 2, 2], [2, 4, 4]]),
    ],
)
def test_stages_3_and_4_are_dilated_as_the_layout_says(
    scheme: Dilation,
    basic: list[list[tuple[int, int]]],
    bottleneck: list[list[int]],
    backbone: Backbone,
    blocks: int,
) -> None:
    with torch.device("meta"):
        trunk = build_model(pspnet_config(backbone=backbone, dilation=scheme)).frame.trunk  # type: ignore[union-attr]

    def dilations(stage: Any) -> list[Any]:
        convolutions = [
            [c for c in block.modules() if isinstance(c, nn.Conv2d) and c.kernel_size == (3, 3)]
            for block in stage
        ]
        for conv in (c for block in convolutions for c in block):
            assert conv.padding == conv.dilation  # or the map would shrink
        found = [tuple(c.dilation[0] for c in block) for block in convolutions]
        return found if backbone == "resnet18" else [d for (d,) in found]

    assert set(dilations(trunk.layer1) + dilations(trunk.layer2)) == (
        {(1, 1)} if backbone == "resnet18" else {1}
    )
    assert len(trunk.layer3) == blocks
    expected = basic if backbone == "resnet18" else bottleneck
    assert [dilations(trunk.layer3), dilations(trunk.layer4)] == expected
    strides = {
        c.stride for s in (trunk.layer3, trunk.layer4) for c in s.modules() if hasattr(c, "stride")
    }
    assert strides == {(1, 1)}


@pytest.mark.parametrize("frame", [PspNetConfig(num_classes=11), LiteNetConfig(num_classes=11)])
@pytest.mark.parametrize("insert", ["bottleneck", "backbone"])
def test_an_stt_adds_only_its_block(frame: PspNetConfig | LiteNetConfig, insert: Any) -> None:
    with torch.device("meta"):
        alone = build_model(frame).state_dict()
        state = build_model(SttConfig(per_frame=frame, insert=insert)).state_dict()
    for name, weight in alone.items():
        assert state[name].shape == weight.shape
    parts = ["q_proj", "k_proj", "v_proj", "o_proj", "norm1", "norm2", "ffn.0", "ffn.2"]
    added = [f"stt.{part}" for part in parts]
    if insert == "backbone":
        added += ["reduce", "expand"]
    kinds = ("weight", "bias")
    assert state.keys() - alone.keys() == {f"{part}.{kind}" for part in added for kind in kinds}


@pytest.mark.parametrize("kind", KINDS)
def test_what_learns_behind_a_frozen_encoder_is_part_of_the_model(kind: str) -> None:
    model = _shared(kind)
    learning = [p for part in model.learning_parts() for p in part.parameters()]
    everything = {id(p) for p in model.parameters()}
    assert learning
    assert len({id(p) for p in learning}) == len(learning)
    assert {id(p) for p in learning} < everything


# queries and bypass (method: acceptance check 4)


@pytest.mark.parametrize("kind", STT_ON_BOTTLENECK)
@pytest.mark.parametrize("backend", ["auto", "reference", "tiled"])
@torch.no_grad()
def test_exactly_the_selected_half_changes_and_the_rest_is_the_bypass_bit_for_bit(
    kind: str, backend: Backend
) -> None:
    model = _stt(kind)
    model.stt.backend = backend
    try:
        current, memory = _frames(model, _clip(4, (72, 88)))
        decoded = model.decode(current, memory)
    finally:
        model.stt.backend = "auto"
    bypass = model.decode(current, ()).logits.flatten(2)
    count = 9 * 11
    assert decoded.queries.shape == (1, count // 2)
    asked = torch.zeros(count, dtype=torch.bool)
    asked[decoded.queries[0]] = True
    same = (decoded.logits.flatten(2) == bypass).all(1)[0]
    assert same[~asked].all()
    assert not same[asked].any()
    least_asked, most_unasked = decoded.need[0, asked].min(), decoded.need[0, ~asked].max()
    assert least_asked >= most_unasked


@pytest.mark.parametrize(("ratio", "count"), [(0.3, 36), (0.01, 1), (1.0, 120), (0.001, 0)])
@torch.no_grad()
def test_the_share_of_queries_is_configurable(ratio: float, count: int) -> None:
    model = _model(query_ratio=ratio)
    current, memory = _frames(model, _clip(2).double())
    decoded = model.decode(current, memory)
    assert decoded.queries.shape == (1, count)
    changed = (decoded.logits != model.decode(current, ()).logits).any(1)
    assert int(changed.sum()) == count


@torch.no_grad()
def test_behind_the_backbone_half_of_its_own_map_asks() -> None:
    for kind, stride in (("stt psp18 backbone", 8), ("stt lite backbone", 16)):
        model = _stt(kind)
        decoded = model(_clip(3, (80, 96)))
        count = math.ceil(80 / stride) * math.ceil(96 / stride)
        assert decoded.queries.shape == (1, count // 2)
        assert decoded.need.shape == (1, count)
        assert decoded.logits.shape == (1, 11, 10, 12)


@pytest.mark.parametrize("kind", [k for k in STT_ON_BOTTLENECK if k != "stt lite gate"])
@torch.no_grad()
def test_without_key_frames_all_positions_take_the_bypass(kind: str) -> None:
    model = _stt(kind)
    current, _ = _frames(model, _clip(1))
    decoded = model.decode(current, ())
    assert decoded.queries.shape == (1, 0)
    assert not decoded.need.any()
    rows = _norm(current.features.flatten(2).mT, model.stt.norm2)
    expected = model.frame.classify(rows.mT.unflatten(2, current.size))
    torch.testing.assert_close(decoded.logits, expected)


@pytest.mark.parametrize("plain", [{"bypass_norm": False}, {"norm": "gate"}], ids=str)
@pytest.mark.parametrize("frame", [pspnet_config(), lite_config()], ids=["psp18", "lite"])
@torch.no_grad()
def test_without_a_norm_on_the_bypass_it_is_the_per_frame_network_bit_for_bit(
    frame: PspNetConfig | LiteNetConfig, plain: dict[str, Any]
) -> None:
    model = checkpoint(stt_config(frame, **plain)).model
    alone = build_model(frame).eval()
    alone.load_state_dict(model.state_dict(), strict=False)
    clip = _clip(3)
    current, memory = _frames(model, clip)
    expected = alone(clip[-1:]).logits
    assert torch.equal(model.decode(current, ()).logits, expected)
    decoded = model.decode(current, memory)
    changed = (decoded.logits != expected).any(1).flatten(1)
    assert changed.nonzero()[:, 1].tolist() == decoded.queries[0].tolist()


@torch.no_grad()
def test_a_model_of_zero_key_frames_reads_none() -> None:
    model = _model(key_frames=0)
    current, memory = _frames(model, _clip(3).double())
    assert torch.equal(model.decode(current, memory).logits, model.decode(current, ()).logits)


@pytest.mark.parametrize(
    ("kind", "bypass_norm"),
    [*((kind, True) for kind in STT_ON_BACKBONE), ("stt lite backbone", False)],
)
@torch.no_grad()
def test_behind_the_backbone_a_fresh_block_changes_nothing(kind: str, bypass_norm: bool) -> None:
    config = KINDS[kind]
    assert isinstance(config, SttConfig)
    model = checkpoint(replace(config, bypass_norm=bypass_norm)).model
    alone = build_model(config.per_frame).eval()
    alone.load_state_dict(
        {name: w for name, w in model.state_dict().items() if name.startswith("frame.")}
    )
    clip = _clip(3, (72, 88))
    expected = alone(clip[-1:]).logits
    current, memory = _frames(model, clip)
    assert torch.equal(model.decode(current, memory).logits, expected)
    assert torch.equal(model.decode(current, ()).logits, expected)


# key frames


@torch.no_grad()
def test_only_as_many_key_frames_as_configured_are_read() -> None:
    model = _model(key_frames=3)
    current, memory = _frames(model, _clip().double())
    three = model.decode(current, memory[:3]).logits
    torch.testing.assert_close(model.decode(current, memory).logits, three, rtol=0, atol=0)


@torch.no_grad()
def test_fewer_frames_than_configured_use_the_newest_radii() -> None:
    seven, two = _model(), _model(key_frames=2)
    two.load_state_dict(seven.state_dict())
    current, memory = _frames(seven, _clip(3).double())
    a, b = (model.decode(current, memory).logits for model in (seven, two))
    torch.testing.assert_close(a, b)


@torch.no_grad()
def test_focus_stays_in_its_windows() -> None:
    model = _model()
    row, col = 1, 6
    current, memory = _frames(model, _clip().double())
    weights = model.focus(current, memory, row * 12 + col).weights
    for lag, radius in enumerate((1, 2, 3, 4, 4, 4, 4)):
        window = weights[:, lag, max(0, row - radius) : row + radius + 1, :]
        window = window[:, :, max(0, col - radius) : col + radius + 1]
        assert (window > 0).all()
        torch.testing.assert_close(window.sum((1, 2)), weights[:, lag].sum((1, 2)))


@torch.no_grad()
def test_a_key_frame_without_projections_is_refused() -> None:
    model = _model()
    current, _ = _frames(model, _clip(1).double())
    with pytest.raises(ValueError, match="without a temporal block"):
        model.decode(current, [Encoded(current.features)])


@torch.no_grad()
def test_a_key_frame_of_another_size_is_refused() -> None:
    model = _model(key_frames=1)
    current, memory = _frames(model, _clip(2).double())
    other = model.encode(_clip(1, (80, 104)).double())
    with pytest.raises(ValueError, match="the size of the frame that reads them"):
        model.decode(current, [other])
    with pytest.raises(ValueError, match="the size of the frame that reads them"):
        model.focus(current, [other], 3)
    model.decode(current, [*memory, other])  # which is older than it looks


@pytest.mark.parametrize("kind", ["psp18", "lite"])
@torch.no_grad()
def test_a_per_frame_network_ignores_its_memory(kind: str) -> None:
    model = _shared(kind)
    current, memory = _frames(model, _clip(3))
    alone = model.decode(current, ()).logits
    assert torch.equal(model.decode(current, memory).logits, alone)
    torch.testing.assert_close(model(_clip(3)).logits, alone, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["stt psp18", "stt psp50 backbone", "stt lite backbone"])
@torch.no_grad()
def test_every_backend_says_the_same(kind: str) -> None:
    model = checkpoint(KINDS[kind]).model.double()
    assert isinstance(model, Stt)
    if model.config.insert == "backbone":
        nn.init.normal_(model.expand.weight, std=0.1)
    current, memory = _frames(model, _clip(4, (72, 88)).double())
    expected = model.decode(current, memory)
    for backend in ("reference", "tiled", "cpu"):
        model.stt.backend = backend
        got = model.decode(current, memory)
        assert torch.equal(got.queries, expected.queries)
        torch.testing.assert_close(got.logits, expected.logits, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_a_batch_is_its_images() -> None:
    model = _model()
    now, then = (model.encode(_clip(6)[i : i + 3].double()) for i in (0, 3))
    together = model.decode(now, [then])
    for i in range(3):
        alone = model.decode(now.one(i), [then.one(i)])
        assert torch.equal(alone.queries[0], together.queries[i])
        torch.testing.assert_close(alone.logits[0], together.logits[i])


@torch.no_grad()
def test_queries_may_go_in_small_pieces() -> None:
    model = _model()
    current, memory = _frames(model, _clip(3).double())
    expected = model.decode(current, memory).logits
    model.stt.chunk = 7
    torch.testing.assert_close(model.decode(current, memory).logits, expected)


@torch.no_grad()
def test_one_of_a_batch_keeps_everything_of_that_image() -> None:
    for kind in ("stt psp18", "stt lite backbone", "td4 psp18"):
        model = _shared(kind)
        encoded = model.encode(_clip(3, (64, 96)))
        one = encoded.one(1)
        assert one.path == encoded.path
        assert 3 * one.nbytes == encoded.nbytes
        for name in ("features", "key", "value", "query", "shallow"):
            part, whole = getattr(one, name), getattr(encoded, name)
            assert (part is None) == (whole is None)
            if part is not None:
                assert torch.equal(part, whole[1:2])
        assert one.size == encoded.size == tuple(encoded.features.shape[2:])


# learning, and running fast


@pytest.mark.parametrize(
    "kind",
    [
        *("stt psp18", "stt psp18 backbone", "stt lite"),
        *("stt lite distance", "stt lite gate", "td4 psp18"),
    ],
)
@pytest.mark.parametrize("half", [False, True])
def test_every_part_that_is_used_learns(kind: str, half: bool) -> None:
    """Also under autocast, where layers hand on different precisions."""
    model = checkpoint(KINDS[kind]).model.train()
    if isinstance(model, Stt) and model.config.insert == "backbone":
        nn.init.normal_(model.expand.weight, std=0.1)  # at zero it would keep the block from it
    if isinstance(model, Stt) and model.config.attention == "distance":
        nn.init.normal_(model.stt.ffn[2].weight, std=0.1)  # the same of its feed-forward part
    paths = reach(model.config).paths
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        frames = [model.encode(_clip(2, (64, 64)), -lag % paths) for lag in range(paths)]
        memory = frames[1:] if paths > 1 else [frames[0]]
        loss = model.decode(frames[0], memory).logits.float().square().mean()
    loss.backward()  # type: ignore[no-untyped-call]
    unused = ("aux.", "k_proj.bias")  # of what all keys have in common a softmax sees nothing
    if paths > 1:  # only what leads to the frame that was decoded
        others = [f"paths.{p}.{part}." for p in (1, 2, 3) for part in ("norm", "head")]
        others += [f"propagate.{p}_" for p in (1, 2, 3)]
        unused += (*others, "paths.0.to_key", "paths.1.to_query")
    silent = {
        name
        for name, p in model.named_parameters()
        if not (p.grad is not None and p.grad.isfinite().all() and p.grad.any())
    }
    assert not {name for name in silent if not any(part in name for part in unused)}


@pytest.mark.parametrize(
    "kind", ["psp18 mmseg", "psp50", "stt psp18", "stt lite backbone", "td2 lite"]
)
@torch.no_grad()
def test_folded_batch_norms_change_no_answer(kind: str) -> None:
    model = checkpoint(KINDS[kind]).model.double()
    clip = _clip(min(2, reach(model.config).key_frames) + 1, (64, 72)).double()
    expected = model(clip)
    fold_batch_norms(model)
    got = model(clip)
    assert not any(isinstance(part, nn.BatchNorm2d) for part in model.modules())
    assert torch.equal(got.queries, expected.queries)
    torch.testing.assert_close(got.logits, expected.logits, rtol=1e-8, atol=1e-8)


def test_a_learning_model_is_not_folded() -> None:
    with pytest.raises(ValueError, match="eval mode"):
        fold_batch_norms(build_model(pspnet_config()).train())


# starting an STT from a per-frame network


@pytest.mark.parametrize(
    ("kind", "insert"),
    [
        ("psp18", None),
        ("psp18", "bottleneck"),
        ("psp18 mmseg", "backbone"),
        ("psp50", "backbone"),
        ("lite", None),
        ("lite", "backbone"),
    ],
)
@torch.no_grad()
def test_an_stt_started_from_a_network_keeps_every_part_of_it(
    kind: str, insert: str | None
) -> None:
    made = checkpoint(KINDS[kind])
    before = {name: w.clone() for name, w in made.model.state_dict().items()}
    frame = KINDS[kind]
    assert isinstance(frame, PspNetConfig | LiteNetConfig)
    started = (
        start_stt(made) if insert is None else start_stt(made, stt_config(frame, insert=insert))
    )
    config = started.header.config
    assert isinstance(config, SttConfig)
    assert config.per_frame == frame
    assert config.insert == (insert or "bottleneck")
    assert isinstance(started.model, Stt)
    assert started.model.config == config
    assert started.header.classes == made.header.classes
    assert started.header.preprocess == made.header.preprocess
    after = started.model.state_dict()
    for name, weight in before.items():
        assert torch.equal(after[name], weight), name
        assert torch.equal(made.model.state_dict()[name], weight), name
    assert not started.model.training
    clip = _clip(3, (64, 72))
    current, memory = _frames(started.model, clip)
    logits = started.model.decode(current, memory).logits
    if insert == "backbone":
        assert torch.equal(logits, made.model(clip[-1:]).logits)
    else:
        assert logits.isfinite().all()


def test_an_stt_starts_from_the_network_it_is_made_for() -> None:
    for config in (stt_config(), tdnet_config()):
        with pytest.raises(CheckpointError, match="starts from a per-frame network"):
            start_stt(checkpoint(config))
    for other in (lite_config(), pspnet_config(dilation="tdnet")):
        with pytest.raises(CheckpointError, match="the STT is made for"):
            start_stt(checkpoint(pspnet_config()), stt_config(other))


@torch.no_grad()
def test_a_started_stt_shares_no_weight_with_its_network() -> None:
    made = checkpoint(KINDS["psp18"])
    started = start_stt(made)
    expected = made.model(_clip(1)).logits
    for p in started.model.parameters():
        p.zero_()
    assert torch.equal(made.model(_clip(1)).logits, expected)


# attention by distance


@torch.no_grad()
def test_distance_attention_weighs_keys_by_how_near_they_are() -> None:
    """Against the distances themselves, taken pair by pair in float64."""
    model = checkpoint(KINDS["stt lite distance"]).model.double()
    assert isinstance(model, Stt)
    config, block = model.config, model.stt
    block.log_sharpness.copy_(torch.tensor([-1.0, 0.0, 0.5, 1.0]))
    current, memory = _frames(model, _clip(3).double())
    found = model.focus(current, memory, 13).weights  # [H, F, rows, cols]

    def compared(layer: nn.Linear, features: Tensor) -> Tensor:
        heads = layer(features[0].flatten(1).T).unflatten(1, (config.heads, -1))
        return heads[..., :-1]  # [N, H, d / H - 1]

    query = compared(block.q_proj, current.features)[13]
    keys = torch.stack([compared(block.k_proj, m.features) for m in memory])  # [F, N, H, c]
    nearness = -0.5 * block.log_sharpness.exp() * (keys - query).square().sum(3)  # [F, N, H]
    in_window = (found > 0).any(0).flatten(1)[..., None]
    expected = nearness.masked_fill(~in_window, -torch.inf).flatten(0, 1).softmax(0)
    torch.testing.assert_close(found.flatten(1), expected.T, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
@torch.no_grad()
def test_a_gate_lets_what_was_read_replace_its_share(share: float) -> None:
    model = checkpoint(KINDS["stt lite gate"]).model.double()
    assert isinstance(model, Stt)
    for weight in model.stt.ffn[2].parameters():
        nn.init.zeros_(weight)  # leave the reading alone
    current, memory = _frames(model, _clip(3).double())
    rows = current.features.flatten(2).mT
    positions = torch.arange(rows.shape[1])[None]
    outcomes = []
    for gate in (share, 1.0):
        model.stt.gate.fill_(torch.tensor(gate, dtype=torch.float64).logit())
        outcomes.append(model.stt.attend(rows, positions, memory))
    torch.testing.assert_close(outcomes[0], (1 - share) * rows + share * outcomes[1])


@pytest.mark.parametrize("attention", ["dot", "distance"])
@torch.no_grad()
def test_a_started_block_knows_the_scale_the_classifier_is_used_to(attention: str) -> None:
    """What the batch norm promises of its channels, against values drawn as it describes them."""
    made = checkpoint(KINDS["lite"])
    assert isinstance(made.model, PerFrame)
    norm = made.model.frame.cls[1]
    norm.weight.uniform_(-1.5, 1.5)
    norm.bias.uniform_(-1.0, 1.0)
    drawn = norm.weight * torch.randn(200_000, len(norm.weight)) + norm.bias
    rows = drawn.relu()
    started = start_stt(made, stt_config(lite_config(), attention=attention)).model
    assert isinstance(started, Stt)
    again = started.stt.bypass(rows)
    assert float(again.mean()) == pytest.approx(float(rows.mean()), rel=0.01)
    assert float(again.var(1).mean()) == pytest.approx(float(rows.var(1).mean()), rel=0.1)


@pytest.mark.parametrize("norm", ["layer", "gate"])
@torch.no_grad()
def test_where_nothing_moves_distance_attention_starts_as_the_network_without_keys(
    norm: str,
) -> None:
    """The past of a still camera says what the frame says, as long as nearest keys win."""
    config = stt_config(lite_config(), attention="distance", norm=norm)
    started = start_stt(checkpoint(KINDS["lite"]), config).model
    assert isinstance(started, Stt)
    started.stt.log_sharpness.fill_(12.0)
    current, _ = _frames(started, _clip(1))
    alone = started.decode(current, []).logits
    with_past = started.decode(current, [current] * 3)
    assert with_past.queries.shape[1] > 0
    torch.testing.assert_close(with_past.logits, alone, rtol=1e-3, atol=1e-3)


# configs


def test_what_a_model_reads_of_the_past() -> None:
    assert reach(pspnet_config()) == reach(lite_config()) == Reach()
    assert reach(stt_config(key_frames=3, key_spacing=2)) == Reach(
        3, 2, heads=4, radii=(1, 2, 3), adjustable=True
    )
    assert reach(tdnet_config()) == Reach(3, paths=4)
    assert reach(tdnet_config(paths=2)) == Reach(1, paths=2)


def test_the_network_of_every_frame() -> None:
    for frame in (pspnet_config(), lite_config()):
        configs = (frame, stt_config(frame), tdnet_config(frame))
        assert [per_frame(c) for c in configs] == [frame] * 3
        assert {c.num_classes for c in configs} == {11}


def test_only_an_stt_takes_another_number_of_key_frames() -> None:
    assert with_key_frames(stt_config(), 2) == stt_config(key_frames=2)
    assert with_key_frames(pspnet_config(), 0) == pspnet_config()
    assert with_key_frames(tdnet_config(), 3) == tdnet_config()
    with pytest.raises(ValueError, match="reads no key frames"):
        with_key_frames(lite_config(), 1)
    with pytest.raises(ValueError, match="always reads 3 past frames"):
        with_key_frames(tdnet_config(), 2)
    with pytest.raises(ValueError, match="key_frames must be in"):
        with_key_frames(stt_config(), 10)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"heads": 5}, "heads must divide width"),
        ({"key_frames": 10}, "key_frames must be in"),
        ({"query_ratio": 0.0}, "query_ratio must be in"),
        ({"start_radius": 5}, "start_radius must be in"),
        ({"key_spacing": 0}, "at least 1"),
        ({"neighbour_radius": 0}, "at least 1"),
    ],
)
def test_an_stt_config_is_checked_when_made(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SttConfig(per_frame=pspnet_config(), **change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"key_width": 0}, "key_width must be at least 1"),
        ({"memory_stride": 0}, "memory_stride must be at least 1"),
        ({"training_stride": 0}, "training_stride must be at least 1"),
        ({"norm_size": (0, 5)}, "norm_size must be positive"),
    ],
)
def test_a_tdnet_config_is_checked_when_made(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TdnetConfig(per_frame=pspnet_config(), **change)


def test_a_network_has_classes_and_channels() -> None:
    for change in ({"num_classes": 0}, {"num_classes": 255}, {"width": 0}, {"aux_width": 0}):
        for make in (pspnet_config, lite_config):
            with pytest.raises(ValueError, match="must be"):
                make(**change)
