from __future__ import annotations

import pytest
import torch
from torch import nn

from stt_core.config import PspNetConfig, SttConfig
from stt_core.model.build import build_model
from stt_core.model.pspnet import Encoded, PspNet
from stt_core.model.stt import SttPspNet
from tests.core.models import checkpoint, pspnet_config, stt_config


def _model(**changes: object) -> SttPspNet:
    made = checkpoint(stt_config(**changes)).model
    assert isinstance(made, SttPspNet)
    return made.double()


@pytest.fixture
def clip() -> torch.Tensor:
    """[T, 3, H, W]: eight frames of 10 x 12 feature positions."""
    return torch.randn(8, 3, 80, 96, generator=torch.Generator().manual_seed(3)).double()


def test_pspnet18_has_the_parameters_of_etc() -> None:
    model = build_model(PspNetConfig(num_classes=19))
    state = model.state_dict()
    assert len(state) == 160
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(14.40e6, rel=2e-3)
    assert state["layer0.0.weight"].shape == (64, 3, 7, 7)
    assert state["cls.0.weight"].shape == (256, 1024, 3, 3)
    assert state["ppm.features.3.1.weight"].shape == (128, 512, 1, 1)
    assert state["aux.4.bias"].shape == (19,)


def test_an_stt_adds_only_its_block() -> None:
    per_frame = set(build_model(PspNetConfig(num_classes=11)).state_dict())
    config = SttConfig(pspnet=PspNetConfig(num_classes=11))
    added = set(build_model(config).state_dict()) - per_frame
    parts = {"q_proj", "k_proj", "v_proj", "o_proj", "norm1", "norm2", "ffn.0", "ffn.2"}
    assert added == {f"stt.{p}.{kind}" for p in parts for kind in ("weight", "bias")}


def test_stages_3_and_4_are_dilated_as_etc_does() -> None:
    model = build_model(pspnet_config())

    def dilations(stage: nn.Sequential) -> list[tuple[int, int]]:
        return [(b.conv1.dilation[0], b.conv2.dilation[0]) for b in stage]  # type: ignore[union-attr, index]

    assert dilations(model.layer2) == [(1, 1), (1, 1)]
    assert dilations(model.layer3) == [(1, 2), (1, 2)]
    assert dilations(model.layer4) == [(1, 4), (1, 4)]


@pytest.mark.parametrize(("size", "grid"), [((64, 96), (8, 12)), ((80, 104), (10, 13))])
def test_the_stride_is_8(size: tuple[int, int], grid: tuple[int, int]) -> None:
    model = checkpoint(pspnet_config()).model
    with torch.inference_mode():
        encoded = model.encode(torch.randn(1, 3, *size))
        assert encoded.size == grid
        assert model.decode(encoded, ()).logits.shape == (1, 11, *grid)


def test_exactly_the_selected_half_changes_and_the_rest_is_the_bypass_bit_for_bit(
    clip: torch.Tensor,
) -> None:
    model = _model()
    with torch.inference_mode():
        encoded = model.encode(clip)
        frames = [encoded.one(i) for i in range(8)]
        bypass = model.decode(frames[-1], ()).logits.flatten(2)
        decoded = model.decode(frames[-1], frames[-2::-1])
    count = 10 * 12
    assert decoded.queries.shape == (1, count // 2)
    asked = torch.zeros(count, dtype=torch.bool)
    asked[decoded.queries[0]] = True
    same = (decoded.logits.flatten(2) == bypass).all(1)[0]
    assert same[~asked].all()
    assert not same[asked].any()


def test_without_key_frames_all_positions_take_the_bypass(clip: torch.Tensor) -> None:
    model = _model()
    with torch.inference_mode():
        encoded = model.encode(clip[:1])
        decoded = model.decode(encoded, ())
        rows = encoded.features.flatten(2).transpose(1, 2)
        normed = model.stt.norm2(rows).transpose(1, 2).unflatten(2, encoded.size)
        expected = model.cls[3:](normed)
    assert decoded.queries.shape == (1, 0)
    torch.testing.assert_close(decoded.logits, expected)


def test_bypass_norm_off_hands_the_raw_features_on(clip: torch.Tensor) -> None:
    model = _model(bypass_norm=False)
    with torch.inference_mode():
        encoded = model.encode(clip[:1])
        expected = PspNet.decode(model, encoded, ()).logits
        torch.testing.assert_close(model.decode(encoded, ()).logits, expected)


def test_only_as_many_key_frames_as_configured_are_read(clip: torch.Tensor) -> None:
    model = _model(key_frames=3)
    with torch.inference_mode():
        encoded = model.encode(clip)
        frames = [encoded.one(i) for i in range(8)]
        three = model.decode(frames[-1], frames[-2:-5:-1]).logits
        more = model.decode(frames[-1], frames[-2::-1]).logits
    torch.testing.assert_close(more, three)


def test_fewer_frames_than_configured_use_the_newest_radii(clip: torch.Tensor) -> None:
    seven, two = _model(), _model(key_frames=2)
    two.load_state_dict(seven.state_dict())
    with torch.inference_mode():
        encoded = seven.encode(clip)
        frames = [encoded.one(i) for i in range(3)]
        a = seven.decode(frames[2], [frames[1], frames[0]]).logits
        b = two.decode(frames[2], [frames[1], frames[0]]).logits
    torch.testing.assert_close(a, b)


def test_focus_is_that_row_of_the_whole_frame(clip: torch.Tensor) -> None:
    model = _model()
    with torch.inference_mode():
        encoded = model.encode(clip)
        frames = [encoded.one(i) for i in range(8)]
        decoded = model.decode(frames[-1], frames[-2::-1])
        for position in decoded.queries[0, [0, 17, -1]].tolist():
            focus = model.focus(frames[-1], frames[-2::-1], position)
            torch.testing.assert_close(focus.logits, decoded.logits.flatten(2)[0, :, position])
            assert focus.weights.shape == (4, 7, 10, 12)
            torch.testing.assert_close(focus.weights.sum((1, 2, 3)), torch.ones(4).double())


def test_focus_stays_in_its_windows(clip: torch.Tensor) -> None:
    model = _model()
    row, col = 1, 6
    with torch.inference_mode():
        encoded = model.encode(clip)
        frames = [encoded.one(i) for i in range(8)]
        weights = model.focus(frames[-1], frames[-2::-1], row * 12 + col).weights
    for lag, radius in enumerate((1, 2, 3, 4, 4, 4, 4)):
        window = weights[:, lag, max(0, row - radius) : row + radius + 1, :]
        window = window[:, :, max(0, col - radius) : col + radius + 1]
        assert (window > 0).all()
        torch.testing.assert_close(window.sum((1, 2)), weights[:, lag].sum((1, 2)))


def test_a_key_frame_without_projections_is_refused(clip: torch.Tensor) -> None:
    model = _model()
    with torch.inference_mode():
        encoded = model.encode(clip[:1])
        with pytest.raises(ValueError, match="without a temporal block"):
            model.decode(encoded, [Encoded(encoded.features)])


def test_a_per_frame_network_ignores_its_memory(clip: torch.Tensor) -> None:
    model = checkpoint(pspnet_config()).model.double()
    with torch.inference_mode():
        encoded = model.encode(clip)
        alone = model.decode(encoded.one(7), ()).logits
        torch.testing.assert_close(model(clip).logits, alone)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"heads": 5}, "heads must divide width"),
        ({"key_frames": 10}, "key_frames must be in"),
        ({"query_ratio": 0.0}, "query_ratio must be in"),
        ({"start_radius": 5}, "start_radius must be in"),
        ({"key_spacing": 0}, "at least 1"),
    ],
)
def test_a_config_is_checked_when_made(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SttConfig(pspnet=pspnet_config(), **change)  # type: ignore[arg-type]
