"""How much attention lies on the own class, against the weights of every single query."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from stt_core.engine import Engine
from stt_core.errors import CheckpointError
from stt_core.media.source import open_media
from stt_core.network import Network
from stt_core.pseudo.attention import SameClassAttention
from tests.core.models import checkpoint, images, lite_config, pspnet_config, stt_config, write_clip

_CONFIGS = {
    # 11 classes and 8 channels a head: two turns
    "bottleneck": stt_config(key_frames=3),
    "backbone": stt_config(lite_config(), key_frames=2, key_spacing=2, insert="backbone"),
    "one turn": stt_config(key_frames=2, heads=2),
}


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", images(6))


@pytest.mark.parametrize("name", _CONFIGS)
def test_it_is_the_sum_of_the_weights_on_keys_of_the_querys_class(name: str, clip: Path) -> None:
    made = checkpoint(_CONFIGS[name])
    network = Network(made, device="cpu", precision="fp32")
    with open_media(clip) as media:
        found = SameClassAttention(network, made, media, cuts=False).same_class(5)
        engine = Engine(network, media, cuts=False)
        reads = range(5 - network.key_spacing * network.key_frames, 6)
        encoded = {i: network.encode(media[i].image, i) for i in range(6)}

        def past(frame: int) -> list[int]:
            step = network.key_spacing
            return [i for n in range(1, network.key_frames + 1) if (i := frame - n * step) >= 0]

        classes = {}
        for i in reads:
            decoded = network.decode(encoded[i], [encoded[j] for j in past(i)])
            classes[i] = decoded.logits[0].argmax(0).numpy()
        selected = engine.segment(5).selected
        rows, cols = selected.shape
        assert len(np.unique(classes[5])) > 1, "or the test shows nothing"
        scale = classes[5].shape[0] // rows
        memory = [encoded[j] for j in past(5)]
        for (row, col), attends in np.ndenumerate(selected):
            if not attends:
                assert np.isnan(found[row, col])
                continue
            weights = network.focus(encoded[5], memory, row * cols + col).weights.mean(0).numpy()
            own = classes[5][row * scale, col * scale]
            mass = sum(
                weights[lag][classes[j][::scale, ::scale] == own].sum()
                for lag, j in enumerate(past(5))
            )
            assert found[row, col] == pytest.approx(mass, abs=2e-5)
        known = found[~np.isnan(found)]
        assert known.min() >= 0
        assert known.max() <= 1
        assert known.std() > 0.01


def test_the_order_of_frames_does_not_matter(clip: Path) -> None:
    made = checkpoint(stt_config(key_frames=2))
    network = Network(made, device="cpu", precision="fp32")
    with open_media(clip) as media:
        forth = SameClassAttention(network, made, media)
        back = SameClassAttention(network, made, media)
        a = [forth.same_class(i) for i in range(6)]
        b = [back.same_class(i) for i in reversed(range(6))][::-1]
    for x, y in zip(a, b, strict=True):
        np.testing.assert_array_equal(x, y)
    assert np.isnan(a[0]).all(), "the first frame has no past"


def test_it_reads_the_key_frames_of_the_own_shot(tmp_path: Path) -> None:
    first = images(3)
    second = [np.ascontiguousarray(255 - i[::-1]) for i in images(3, seed=1)]
    for image in second:
        image[:, :48] //= 4
    clip = write_clip(tmp_path / "cut.mp4", [*first, *second])
    alone = write_clip(tmp_path / "alone.mp4", second)
    made = checkpoint(stt_config(key_frames=2))
    network = Network(made, device="cpu", precision="fp32")
    with open_media(clip) as media:
        minded = SameClassAttention(network, made, media)
        careless = SameClassAttention(network, made, media, cuts=False)
        assert np.isnan(minded.same_class(3)).all(), "the first frame after the cut"
        assert not np.isnan(careless.same_class(3)).all()
        asked = ~np.isnan(minded.same_class(4))
        with open_media(alone) as media_alone:
            own = SameClassAttention(network, made, media_alone).same_class(1)
        # two encodings of the same pictures: alike, not equal
        assert (asked == ~np.isnan(own)).mean() > 0.9


def test_without_key_frames_nobody_attends(clip: Path) -> None:
    made = checkpoint(stt_config())
    network = Network(made, device="cpu", precision="fp32", key_frames=0)
    with open_media(clip) as media:
        assert np.isnan(SameClassAttention(network, made, media).same_class(3)).all()


def test_in_bf16_it_is_about_the_same(clip: Path) -> None:
    made = checkpoint(stt_config(key_frames=2))
    with open_media(clip) as media:
        exact, rough = (
            SameClassAttention(Network(made, device="cpu", precision=p), made, media).same_class(3)
            for p in ("fp32", "bf16")
        )
    both = ~np.isnan(exact) & ~np.isnan(rough)
    assert both.any()
    assert np.median(np.abs(exact - rough)[both]) < 0.02


def test_a_model_without_attention_is_refused(clip: Path) -> None:
    made = checkpoint(pspnet_config())
    network = Network(made, device="cpu")
    with open_media(clip) as media, pytest.raises(CheckpointError, match="leave that test out"):
        SameClassAttention(network, made, media)


def test_a_network_of_another_model_is_refused(clip: Path) -> None:
    made = checkpoint(stt_config())
    network = Network(made, device="cpu")
    other = replace(made, sha256="another")
    with open_media(clip) as media, pytest.raises(ValueError, match="another model"):
        SameClassAttention(network, other, media)
    assert torch.is_grad_enabled()
