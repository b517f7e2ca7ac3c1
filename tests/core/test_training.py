from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch

from stt_core.checkpoint import load_checkpoint
from stt_core.config import LiteNetConfig, ModelConfig, SttConfig, TdnetConfig, TrainConfig, reach
from stt_core.data.augment import augment
from stt_core.data.clips import LabelledClip
from stt_core.data.sources import CAMVID_LICENCE, camvid_classes, open_data
from stt_core.engine import Engine
from stt_core.errors import LabelError, TrainingError
from stt_core.labels import IGNORED, UNLABELLED, VOID, write_label_png
from stt_core.media.source import open_media
from stt_core.network import Network
from stt_core.training.loop import TrainStep, train
from stt_core.training.losses import segmentation_loss
from stt_core.training.recipes import read_recipe
from tests.core.models import checkpoint, images, pspnet_config, write_clip

TINY = TrainConfig(
    steps=2, batch_size=2, crop=(64, 96), short_side=64, scale=(1.0, 1.0), save_every=1
)


@pytest.fixture(scope="module")
def painted(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A clip with a bright upper and a dark lower half, painted sky and road on two frames."""
    folder = tmp_path_factory.mktemp("painted")
    frames = images(12)
    for image in frames:
        image[:32] = np.minimum(image[:32].astype(int) + 110, 255)
        image[32:] //= 3
    write_clip(folder / "clip.mp4", frames)
    ids = np.full((64, 96), UNLABELLED, np.uint8)
    ids[4:28], ids[36:60] = 0, 3
    for frame in (3, 9):
        write_label_png(folder / "labels" / f"{frame:06d}.png", ids)
    return f"video:{folder / 'clip.mp4'},labels={folder / 'labels'}"


def test_painted_frames_are_learnt(painted: str, tmp_path: Path) -> None:
    config = replace(
        TINY, steps=60, optimizer="adamw", learning_rate=1e-2, freeze_encoder=True, save_every=50
    )
    source = open_data(painted, key_frames=7)
    steps = list(train([source], config, tmp_path / "run", init=checkpoint()))
    assert [s.step for s in steps] == list(range(1, 61))
    assert steps[-1].loss < 0.3 * steps[0].loss
    trained = load_checkpoint(tmp_path / "run" / "last.safetensors")
    assert trained.header.step == 60
    assert trained.header.lineage == ("run: 60 steps",)
    path = Path(painted.removeprefix("video:").partition(",")[0])
    with open_media(path) as media:
        labels = Engine(Network(trained, device="cpu", precision="fp32"), media).segment(9).labels
    assert (labels[8:24] == 0).mean() > 0.8
    assert (labels[40:56] == 3).mean() > 0.8


@pytest.mark.parametrize(
    "config",
    [
        LiteNetConfig(num_classes=11, width=32, aux_width=8),
        SttConfig(per_frame=LiteNetConfig(num_classes=11, width=32, aux_width=8), heads=2),
        SttConfig(per_frame=pspnet_config(), insert="backbone", heads=4),
        TdnetConfig(per_frame=pspnet_config(), value_width=32, norm_size=(8, 12)),
    ],
    ids=["lite0", "stt-lite0", "stt at the backbone", "td4"],
)
def test_every_model_learns(config: ModelConfig, painted: str, tmp_path: Path) -> None:
    init = checkpoint(config)
    source = open_data(painted, key_frames=7)
    kind: Literal["pspnet", "stt"] = "stt" if reach(config).key_frames else "pspnet"
    recipe = replace(TINY, model=kind, steps=5, learning_rate=1e-3, save_every=5)
    steps = list(train([source], recipe, tmp_path / "run", init=init))
    assert all(np.isfinite(step.loss) for step in steps)
    trained = load_checkpoint(tmp_path / "run" / "last.safetensors")
    assert trained.header.config == config
    before, after = init.model.state_dict(), trained.model.state_dict()
    still = {name for name, w in before.items() if torch.equal(w, after[name])}
    # TDNet's paths take turns, so that no few steps reach all of them
    assert isinstance(config, TdnetConfig) or not {n for n in still if "num_batches" not in n}
    assert len(still) < len(before) / 2


def test_a_model_keeps_its_own_input(painted: str, tmp_path: Path) -> None:
    init = checkpoint(LiteNetConfig(num_classes=11, width=32, aux_width=8))
    own = replace(init.header.preprocess, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
    init = replace(init, header=replace(init.header, preprocess=own))
    source = open_data(painted, key_frames=0)
    list(train([source], TINY, tmp_path / "run", init=init))
    trained = load_checkpoint(tmp_path / "run" / "last.safetensors")
    assert trained.header.preprocess == replace(own, short_side=64)


def test_a_run_leaves_its_config_and_a_line_a_step(painted: str, tmp_path: Path) -> None:
    source = open_data(painted, key_frames=0)
    steps = list(train([source], replace(TINY, key_frames=0), tmp_path / "run"))
    assert json.loads((tmp_path / "run" / "config.json").read_text())["steps"] == 2
    lines = (tmp_path / "run" / "log.jsonl").read_text().splitlines()
    assert [TrainStep(**json.loads(line)) for line in lines] == steps


def test_the_same_seed_gives_the_same_weights(painted: str, tmp_path: Path) -> None:
    def weights(name: str, seed: int) -> dict[str, torch.Tensor]:
        source = open_data(painted, key_frames=2)
        for _ in train([source], replace(TINY, key_frames=2, seed=seed), tmp_path / name):
            pass
        return load_checkpoint(tmp_path / name / "last.safetensors").model.state_dict()

    first, again, other = weights("a", 1), weights("b", 1), weights("c", 2)
    assert all(torch.equal(first[k], again[k]) for k in first)
    assert not torch.equal(first["frame.cls.4.weight"], other["frame.cls.4.weight"])


def test_a_frozen_encoder_stays_as_it_was(painted: str, tmp_path: Path) -> None:
    init = checkpoint()
    source = open_data(painted, key_frames=3)
    config = replace(TINY, freeze_encoder=True, key_frames=3)
    for _ in train([source], config, tmp_path / "run", init=init):
        pass
    before = init.model.state_dict()
    after = load_checkpoint(tmp_path / "run" / "last.safetensors").model.state_dict()
    for name, weight in before.items():
        learns = name.startswith(("stt.", "frame.cls.4."))
        assert learns or torch.equal(weight, after[name]), name
    assert not torch.equal(before["stt.v_proj.weight"], after["stt.v_proj.weight"])


def test_a_per_frame_network_can_be_trained(painted: str, tmp_path: Path) -> None:
    source = open_data(painted, key_frames=0)
    for _ in train([source], replace(TINY, model="pspnet"), tmp_path / "run"):
        pass
    assert load_checkpoint(tmp_path / "run" / "last.safetensors").header.config.kind == "pspnet"


def test_a_loss_that_is_not_finite_stops_with_its_step(painted: str, tmp_path: Path) -> None:
    source = open_data(painted, key_frames=0)
    config = replace(TINY, steps=30, learning_rate=1e30, key_frames=0)
    with pytest.raises(TrainingError, match=r"the loss became nan at step \d+"):
        list(train([source], config, tmp_path / "run"))


def test_other_classes_are_refused(painted: str, tmp_path: Path) -> None:
    source = open_data(painted, key_frames=0, classes=camvid_classes()[::-1])
    with pytest.raises(TrainingError, match="knows the classes Sky, Building"):
        list(train([source], TINY, tmp_path / "run", init=checkpoint()))
    mixed = [source, open_data(painted, key_frames=0)]
    with pytest.raises(TrainingError, match="different classes"):
        list(train(mixed, TINY, tmp_path / "run"))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("nonsense", "cannot read the data"),
        ("scenes:", "cannot read the data"),
        ("scenes:9-3", "names no seeds"),
        ("scenes:a-b", "names no seeds"),
        ("camvid:/nowhere", "is not CamVid"),
    ],
)
def test_data_that_is_not_there_is_told(spec: str, message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        open_data(spec, key_frames=0)


def test_labels_that_do_not_fit_are_told(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", images(4))
    (tmp_path / "labels").mkdir()
    spec = f"video:{clip},labels={tmp_path / 'labels'}"
    with pytest.raises(TrainingError, match="nothing is painted"):
        open_data(spec, key_frames=0)
    write_label_png(tmp_path / "labels" / "000009.png", np.zeros((64, 96), np.uint8))
    with pytest.raises(TrainingError, match="does not have: it holds 4 frames"):
        open_data(spec, key_frames=0)
    (tmp_path / "labels" / "000009.png").unlink()
    write_label_png(tmp_path / "labels" / "000002.png", np.full((64, 96), 40, np.uint8))
    with pytest.raises(LabelError, match=r"holds the ids \[40\]"):
        open_data(spec, key_frames=0)
    write_label_png(tmp_path / "labels" / "000002.png", np.zeros((6, 9), np.uint8))
    with pytest.raises(TrainingError, match="is 9x6, but the video is 96x64"):
        open_data(spec, key_frames=0)[0]


def test_camvid_is_read_with_void_ignored_and_its_licence(shared_data: Path) -> None:
    source = open_data(f"camvid:{shared_data / 'camvid'}", key_frames=2)
    assert len(source) == 367
    assert source.licence == CAMVID_LICENCE
    clip = source[10]
    assert clip.image.shape == (360, 480, 3)
    assert set(np.unique(clip.labels)) <= {*range(11), UNLABELLED}
    assert len(clip.past) == 2


def test_generated_scenes_are_clips_with_a_past() -> None:
    source = open_data("scenes:5-6", key_frames=1)
    assert len(source) == 12
    clip = source[7]
    assert clip.labels.max() <= 10
    assert not np.array_equal(clip.image, clip.past[0])
    np.testing.assert_array_equal(source[7].image, clip.image)


def test_the_whole_clip_gets_the_same_view() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (40, 56, 3)).astype(np.uint8)
    labels = np.full((40, 56), 2, np.uint8)
    labels[:5] = VOID
    config = replace(TINY, crop=(32, 48), scale=(0.5, 2.0), short_side=40)
    for _ in range(20):
        seen = augment(LabelledClip(image, labels, (image, image)), config, rng)
        assert seen.image.shape == (32, 48, 3)
        np.testing.assert_array_equal(seen.image, seen.past[0])
        np.testing.assert_array_equal(seen.image, seen.past[1])
        assert set(np.unique(seen.labels)) <= {2, IGNORED}


def test_image_and_labels_stay_together_under_augmentation() -> None:
    labels = np.zeros((60, 80), np.uint8)
    labels[20:40, 30:60] = 1
    image = np.repeat(np.where(labels == 1, 200, 40)[..., None], 3, 2).astype(np.uint8)
    rng = np.random.default_rng(1)
    config = replace(TINY, crop=(48, 64), scale=(0.7, 1.5), short_side=60)
    for _ in range(20):
        seen = augment(LabelledClip(image, labels, ()), config, rng)
        inside, outside = seen.image[seen.labels == 1], seen.image[seen.labels == 0]
        if len(inside) and len(outside):
            middle = (inside.mean() + outside.mean()) / 2
            assert (inside.mean(-1) > middle).mean() > 0.9
            assert (outside.mean(-1) < middle).mean() > 0.9


def test_the_loss_is_that_of_labelled_pixels_only() -> None:
    logits = torch.randn(2, 3, 2, 2)
    target = torch.full((2, 16, 16), IGNORED)
    assert segmentation_loss(logits, target, align_corners=False) == 0
    target[0, 5, 6] = 2
    full = torch.nn.functional.interpolate(logits, (16, 16), mode="bilinear")
    expected = -full.log_softmax(1)[0, 2, 5, 6]
    torch.testing.assert_close(segmentation_loss(logits, target, align_corners=False), expected)


def test_shipped_recipes_are_sound() -> None:
    for name in ("fine-tune", "sample-frames", "sample-clips"):
        assert read_recipe(name).steps > 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("steps = 0", "steps must be at least 1"),
        ("learning_rate = nan", "learning_rate must be 0 or more"),
        ("weight_decay = -1.0", "weight_decay must be 0 or more"),
        ("save_every = 0", "save_every must be at least 1"),
        ("key_frames = 30", "key_frames must be in"),
        ("short_side = -5", "short_side must be at least 1"),
        ("scale = [1.0, inf]", "rising positive pair"),
        ("batch_size = 1", "batch_size must be at least 2 where the encoder learns"),
        ("stepz = 3", "wrong at 'stepz'"),
        ("crop = [9, 8]", "multiples of 8"),
        ("steps =", "cannot read the recipe"),
        ('optimizer = "magic"', "wrong at 'optimizer'"),
    ],
)
def test_a_wrong_recipe_is_told(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "r.toml").write_text(text)
    with pytest.raises(TrainingError, match=message):
        read_recipe(str(tmp_path / "r.toml"))


def test_no_such_recipe_names_the_shipped_ones() -> None:
    with pytest.raises(TrainingError, match="fine-tune"):
        read_recipe("nonsense")
