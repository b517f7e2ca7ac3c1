"""Whole runs, on clips in memory: what is learnt, what is left behind, how a run is taken up."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Generator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from stt_core.checkpoint import Checkpoint, load_checkpoint
from stt_core.config import (
    AugmentConfig,
    LiteNetConfig,
    ModelConfig,
    PspNetConfig,
    SttConfig,
    TdnetConfig,
    reach,
)
from stt_core.data.sequences import DataSet
from stt_core.errors import TrainingError
from stt_core.evaluation.predictors import ModelPredictor
from stt_core.evaluation.run import EvaluateOptions, evaluate
from stt_core.network import Network
from stt_core.training.config import (
    DistillConfig,
    GroupedConfig,
    MotionConfig,
    PseudoConfig,
    TrainConfig,
)
from stt_core.training.loop import TrainData, TrainStep, train
from stt_core.training.recipes import read_recipe
from tests.core.clip_sets import CLASSES, halves
from tests.core.models import checkpoint, pspnet_config

VIEW = AugmentConfig(crop=(64, 96), short_side=64, scale=(1.0, 1.0))
TINY = TrainConfig(steps=2, batch_size=2, augment=VIEW, save_every=50, key_frames=2)
FRAME = replace(TINY, model="frame", key_frames=None)


def run(
    out: Path,
    config: TrainConfig,
    sources: Sequence[DataSet] | None = None,
    *,
    unlabelled: Sequence[DataSet] = (),
    **options: Any,
) -> list[TrainStep]:
    """Train to the end, from a small model unless told otherwise."""
    data = TrainData([halves()] if sources is None else sources, unlabelled)
    return list(train(data, config, out, **{"init": small(config), **options}))


def small(config: TrainConfig) -> Checkpoint:
    return checkpoint(pspnet_config() if config.model == "frame" else None)


def weights(folder: Path, name: str = "last.safetensors") -> dict[str, Tensor]:
    return load_checkpoint(folder / name).model.state_dict()


def logged(folder: Path, name: str) -> list[Any]:
    lines = (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)[name] for line in lines]


def expect_same(a: dict[str, Tensor], b: dict[str, Tensor]) -> None:
    assert a.keys() == b.keys()
    for name, w in a.items():
        assert torch.equal(w, b[name]), name


def test_a_few_clips_are_learnt(tmp_path: Path) -> None:
    config = replace(
        TINY, steps=60, optimizer="adamw", learning_rate=1e-2, freeze_encoder=True, save_every=50
    )
    steps = run(tmp_path / "run", config, init=checkpoint())
    assert [s.step for s in steps] == list(range(1, 61))
    assert steps[-1].loss < 0.3 * steps[0].loss
    trained = load_checkpoint(tmp_path / "run" / "last.safetensors")
    assert trained.header.step == 60
    assert trained.header.lineage == ("run: 60 steps",)


MODELS: dict[str, ModelConfig] = {
    "frame": pspnet_config(),
    "lite0": LiteNetConfig(num_classes=11, width=32, aux_width=8),
    "stt-lite0": SttConfig(per_frame=LiteNetConfig(num_classes=11, width=32, aux_width=8), heads=2),
    "stt at the backbone": SttConfig(per_frame=pspnet_config(), insert="backbone", heads=4),
    "td2": TdnetConfig(per_frame=pspnet_config(), value_width=32, norm_size=(8, 12), paths=2),
    "td4": TdnetConfig(per_frame=pspnet_config(), value_width=32, norm_size=(8, 12)),
}


def kind_of(config: ModelConfig) -> Any:
    return "frame" if config.kind in ("pspnet", "lite0") else config.kind


@pytest.mark.parametrize("config", MODELS.values(), ids=MODELS)
def test_every_model_learns(config: ModelConfig, tmp_path: Path) -> None:
    init = checkpoint(config)
    recipe = replace(TINY, model=kind_of(config), steps=5, learning_rate=1e-3, key_frames=None)
    sources = [halves(past=reach(config).key_frames)]
    steps = run(tmp_path / "run", recipe, sources, init=init)
    assert all(np.isfinite(step.loss) for step in steps)
    trained = load_checkpoint(tmp_path / "run" / "last.safetensors")
    assert trained.header.config == config
    before, after = init.model.state_dict(), trained.model.state_dict()
    still = {name for name, w in before.items() if torch.equal(w, after[name])}
    # TDNet's paths take turns, so that no few steps reach all of them
    assert isinstance(config, TdnetConfig) or not {n for n in still if "num_batches" not in n}
    assert len(still) < len(before) / 2


def test_the_model_to_start_from_is_left_alone(tmp_path: Path) -> None:
    init = checkpoint()
    before = {name: w.clone() for name, w in init.model.state_dict().items()}
    run(tmp_path / "run", TINY, init=init)
    expect_same(before, init.model.state_dict())


def test_clips_with_a_shorter_past_are_learnt_with_the_others(tmp_path: Path) -> None:
    steps = run(tmp_path / "run", replace(TINY, steps=4, past="real"), [halves(past=0)])
    assert all(np.isfinite(step.loss) for step in steps)


def test_a_model_keeps_its_own_input(tmp_path: Path) -> None:
    init = checkpoint(LiteNetConfig(num_classes=11, width=32, aux_width=8))
    own = replace(init.header.preprocess, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
    init = replace(init, header=replace(init.header, preprocess=own))
    run(tmp_path / "run", TINY, init=init)
    trained = load_checkpoint(tmp_path / "run" / "last.safetensors")
    assert trained.header.preprocess == replace(own, short_side=64)


def test_fresh_models_are_those_of_the_recipe(tmp_path: Path) -> None:
    run(tmp_path / "a", replace(FRAME, per_frame="lite0", steps=1), init=None)
    made = load_checkpoint(tmp_path / "a" / "last.safetensors").header
    assert made.config == LiteNetConfig(num_classes=11)
    assert made.preprocess.mean[0] == pytest.approx(127 / 255)
    block = {"heads": 4, "end_radius": 2}
    run(tmp_path / "b", replace(TINY, per_frame="lite0", steps=1, stt=block), init=None)
    config = load_checkpoint(tmp_path / "b" / "last.safetensors").header.config
    frame = LiteNetConfig(num_classes=11)
    assert config == SttConfig(per_frame=frame, heads=4, end_radius=2, key_frames=2)
    run(tmp_path / "c", replace(FRAME, steps=1), init=None)
    config = load_checkpoint(tmp_path / "c" / "last.safetensors").header.config
    assert config == PspNetConfig(num_classes=11)


@pytest.mark.parametrize(
    ("stt", "message"),
    [({"headz": 4}, "no 'headz'"), ({"heads": 5}, "divide"), ({"kind": "tdnet"}, "no 'kind'")],
)
def test_a_block_that_cannot_be_is_told(stt: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=message):
        run(tmp_path / "run", replace(TINY, stt=stt), init=checkpoint(pspnet_config()))


def test_a_run_leaves_its_recipe_its_data_and_a_line_a_step(tmp_path: Path) -> None:
    steps = run(tmp_path / "run", FRAME)
    assert json.loads((tmp_path / "run" / "config.json").read_text())["steps"] == 2
    assert len(json.loads((tmp_path / "run" / "data.json").read_text())["data"]) == 64
    assert "torch" in json.loads((tmp_path / "run" / "environment.json").read_text())
    assert logged(tmp_path / "run", "loss") == [step.loss for step in steps]
    assert (tmp_path / "run" / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_tensorboard_reads_the_scalars(tmp_path: Path) -> None:
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    steps = run(tmp_path / "run", replace(FRAME, steps=3))
    reader = events.EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    found = reader.Scalars("loss/total")
    assert [event.step for event in found] == [1, 2, 3]
    np.testing.assert_allclose([e.value for e in found], [s.loss for s in steps], rtol=1e-6)


def test_the_same_seed_gives_the_same_weights(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        run(tmp_path / name, replace(TINY, seed=seed))
    expect_same(weights(tmp_path / "a"), weights(tmp_path / "b"))
    other = weights(tmp_path / "c")["frame.cls.4.weight"]
    assert not torch.equal(weights(tmp_path / "a")["frame.cls.4.weight"], other)


def test_loading_processes_change_nothing(tmp_path: Path) -> None:
    run(tmp_path / "a", FRAME)
    run(tmp_path / "b", replace(FRAME, workers=1))
    expect_same(weights(tmp_path / "a"), weights(tmp_path / "b"))


def test_a_frozen_encoder_stays_as_it_was(tmp_path: Path) -> None:
    init = checkpoint()
    run(tmp_path / "run", replace(TINY, freeze_encoder=True), init=init)
    before, after = init.model.state_dict(), weights(tmp_path / "run")
    for name, weight in before.items():
        learns = name.startswith(("stt.", "frame.cls.4."))
        assert learns or torch.equal(weight, after[name]), name
    assert not torch.equal(before["stt.v_proj.weight"], after["stt.v_proj.weight"])


def test_a_frozen_block_stays_as_it_was_and_the_rest_learns(tmp_path: Path) -> None:
    init = checkpoint()
    run(tmp_path / "run", replace(TINY, freeze_block=True), init=init)
    before, after = init.model.state_dict(), weights(tmp_path / "run")
    for name, weight in before.items():
        if name.startswith("stt."):
            assert torch.equal(weight, after[name]), name
    for name in ("frame.trunk.layer1.0.conv1.weight", "frame.cls.4.weight"):
        assert not torch.equal(before[name], after[name]), name


def test_frozen_norms_keep_their_statistics_and_learn(tmp_path: Path) -> None:
    init = checkpoint()
    run(tmp_path / "run", replace(TINY, freeze_norms=True), init=init)
    before, after = init.model.state_dict(), weights(tmp_path / "run")
    for name, weight in before.items():
        assert ("running" in name) == torch.equal(weight, after[name]) or "num_batches" in name


def test_key_frames_pass_on_gradients_when_asked_to(tmp_path: Path) -> None:
    init = checkpoint()
    for name, detach in (("a", True), ("b", False)):
        run(tmp_path / name, replace(TINY, detach_keys=detach, steps=1), init=init)
    a, b = weights(tmp_path / "a"), weights(tmp_path / "b")
    assert not torch.equal(
        a["frame.trunk.layer1.0.conv1.weight"], b["frame.trunk.layer1.0.conv1.weight"]
    )


def test_a_moving_average_is_what_is_saved(tmp_path: Path) -> None:
    steady = replace(FRAME, steps=4, learning_rate=0.05)
    run(tmp_path / "plain", steady)
    run(tmp_path / "mean", replace(steady, average=0.9))
    plain, mean = weights(tmp_path / "plain"), weights(tmp_path / "mean")
    assert not torch.equal(plain["frame.cls.4.weight"], mean["frame.cls.4.weight"])


# The losses of the rivals


def test_each_loss_is_told_by_name(tmp_path: Path) -> None:
    config = replace(TINY, motion=MotionConfig(weight=1.0), ohem=True)
    steps = run(tmp_path / "run", config)
    assert set(steps[-1].parts) == {"labels", "aux", "motion"}
    assert sum(steps[-1].parts.values()) == pytest.approx(steps[-1].loss)


def test_etc_is_distilled_from_a_teacher(tmp_path: Path) -> None:
    config = replace(
        FRAME, key_frames=2, steps=3, motion=MotionConfig(), distill=DistillConfig(kl=1.0)
    )
    with pytest.raises(TrainingError, match="--teacher"):
        run(tmp_path / "none", config, init=checkpoint(pspnet_config()))
    teacher = checkpoint(replace(pspnet_config(), width=16), seed=3)
    steps = run(tmp_path / "run", config, init=checkpoint(pspnet_config()), teacher=teacher)
    assert {"labels", "motion", "distill"} <= set(steps[-1].parts)
    own = checkpoint(pspnet_config())
    alike = run(
        tmp_path / "own", replace(config, freeze_norms=True, steps=1), init=own, teacher=own
    )
    dropped = run(
        tmp_path / "other", replace(config, freeze_norms=True, steps=1), init=own, teacher=teacher
    )
    assert alike[0].parts["distill"] < dropped[0].parts["distill"] / 3


def test_a_teacher_must_fit(tmp_path: Path) -> None:
    config = replace(FRAME, distill=DistillConfig())
    teacher = checkpoint(pspnet_config())
    turned = replace(teacher, header=replace(teacher.header, classes=CLASSES[::-1]))
    with pytest.raises(TrainingError, match="the teacher knows the classes Bicyclist"):
        run(tmp_path / "run", config, teacher=turned)
    with pytest.raises(TrainingError, match="learns from no teacher"):
        run(tmp_path / "run", FRAME, teacher=teacher)


def test_td4_learns_by_paths_from_a_grouped_teacher(tmp_path: Path) -> None:
    config = replace(
        TINY, model="tdnet", key_frames=3, steps=4, grouped=GroupedConfig(), aux_weight=0.1
    )
    frame = checkpoint(pspnet_config())
    sources = [halves(past=3)]
    steps = run(tmp_path / "run", config, sources, init=frame, teacher=frame)
    assert all({"labels", "alone", "aux", "distill"} == set(step.parts) for step in steps)
    made = load_checkpoint(tmp_path / "run" / "last.safetensors").header.config
    assert isinstance(made, TdnetConfig)
    assert made.paths == 4


def test_unlabelled_clips_are_learnt_from_in_the_second_half(tmp_path: Path) -> None:
    sure = PseudoConfig(start=0.5, threshold=0.0)
    config = replace(TINY, steps=4, batch_size=4, pseudo=sure)
    rest = [halves(labelled=False)]
    steps = run(tmp_path / "run", config, unlabelled=rest)
    assert ["pseudo" in step.parts for step in steps] == [False, False, True, True]
    assert steps[2].notes
    never = replace(config, pseudo=replace(sure, threshold=1.0))
    assert "pseudo" not in run(tmp_path / "never", never, unlabelled=rest)[-1].parts
    with pytest.raises(TrainingError, match="--unlabelled"):
        run(tmp_path / "without", config)


# A run that is broken off


ENDINGS = {
    "stt": replace(TINY, steps=6),
    "all at once": replace(
        TINY,
        steps=6,
        batch_size=4,
        optimizer="adamw",
        average=0.9,
        motion=MotionConfig(),
        pseudo=PseudoConfig(start=0.3, threshold=0.0, decay=0.9),
    ),
}


@pytest.mark.parametrize("config", ENDINGS.values(), ids=ENDINGS)
@pytest.mark.parametrize("after", [1, 4])
def test_a_stopped_run_goes_on_to_the_same_weights(
    config: TrainConfig, after: int, tmp_path: Path
) -> None:
    rest = [halves(labelled=False)] if config.pseudo else []
    whole = run(tmp_path / "whole", config, unlabelled=rest)
    data = TrainData([halves()], rest)
    broken = train(data, config, tmp_path / "broken", init=small(config))
    for _ in range(after):
        next(broken)
    broken.close()
    again = run(tmp_path / "broken", config, unlabelled=rest, resume=True)
    assert [s.step for s in again] == list(range(after + 1, 7))
    expect_same(weights(tmp_path / "whole"), weights(tmp_path / "broken"))
    assert logged(tmp_path / "broken", "loss") == [step.loss for step in whole]


KILLED = """
import sys, time
from pathlib import Path
from tests.core.test_training import TINY, TrainData, halves, replace, small, train
config = replace(TINY, steps=8, save_every=3)
for step in train(TrainData([halves()]), config, Path(sys.argv[1]), init=small(config)):
    print(step.step, flush=True)
    time.sleep(0.05)
"""


def test_a_killed_run_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    config = replace(TINY, steps=8, save_every=3)
    run(tmp_path / "whole", config)
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path / "killed")],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.getcwd()},
    )
    assert process.stdout is not None
    for line in process.stdout:
        if int(line) == 5:
            break
    process.kill()
    process.wait()
    process.stdout.close()
    again = run(tmp_path / "killed", config, resume=True)
    assert again[0].step == 4
    expect_same(weights(tmp_path / "whole"), weights(tmp_path / "killed"))
    assert logged(tmp_path / "killed", "step") == list(range(1, 9))


def test_a_finished_run_is_not_begun_again(tmp_path: Path) -> None:
    run(tmp_path / "run", TINY)
    with pytest.raises(TrainingError, match="--resume"):
        run(tmp_path / "run", TINY)
    assert run(tmp_path / "run", TINY, resume=True) == []


def test_another_run_is_not_resumed(tmp_path: Path) -> None:
    run(tmp_path / "run", TINY)
    with pytest.raises(TrainingError, match="its learning_rate was"):
        run(tmp_path / "run", replace(TINY, learning_rate=1.0), resume=True)
    with pytest.raises(TrainingError, match="its data was"):
        run(tmp_path / "run", TINY, [halves(count=5)], resume=True)
    (tmp_path / "run" / "state.pt").write_bytes(b"nonsense")
    with pytest.raises(TrainingError, match="cannot be read"):
        run(tmp_path / "run", TINY, resume=True)


def test_a_run_is_resumed_with_the_models_it_was_begun_with(tmp_path: Path) -> None:
    frame = checkpoint(pspnet_config())
    config = replace(TINY, model="tdnet", key_frames=None, steps=4, grouped=GroupedConfig())
    data = TrainData([halves(past=3)])
    broken = train(data, config, tmp_path / "run", init=frame, teacher=frame)
    next(broken)
    broken.close()
    with pytest.raises(TrainingError, match="its teacher was"):
        run(tmp_path / "run", config, data.labelled, init=frame, resume=True)
    other = checkpoint(pspnet_config(), seed=5)
    with pytest.raises(TrainingError, match="its init was"):
        run(tmp_path / "run", config, data.labelled, init=other, teacher=frame, resume=True)
    assert run(tmp_path / "run", config, data.labelled, init=frame, teacher=frame, resume=True)


def test_a_run_stops_after_the_step_in_which_it_is_told_to(tmp_path: Path) -> None:
    config = replace(TINY, steps=6)
    asked = iter([False, False, True])
    steps = train(
        TrainData([halves()]),
        config,
        tmp_path / "run",
        init=small(config),
        stop=lambda: next(asked),
    )
    assert last_word(steps) is None
    assert logged(tmp_path / "run", "step") == [1, 2, 3]
    run(tmp_path / "whole", config)
    run(tmp_path / "run", config, resume=True)
    expect_same(weights(tmp_path / "whole"), weights(tmp_path / "run"))


# Memory and precision


class Narrow:
    """Has a model run out of memory with more images than so many."""

    def __init__(self, most: int) -> None:
        self.most = most

    def __call__(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if torch.is_grad_enabled() and len(inputs[0]) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory")


def narrow(most: int, config: ModelConfig | None = None) -> Checkpoint:
    init = checkpoint(config or pspnet_config())
    init.model.frame.trunk.layer0.register_forward_pre_hook(Narrow(most))
    return init


def test_a_batch_too_large_for_the_memory_is_learnt_in_pieces(tmp_path: Path) -> None:
    config = replace(FRAME, batch_size=8, freeze_norms=True, steps=2)
    steps = run(tmp_path / "run", config, init=narrow(2))
    assert "4 at a time" in steps[0].notes[0]
    assert "2 at a time" in steps[0].notes[1]
    assert not steps[1].notes
    whole = run(tmp_path / "whole", config, init=checkpoint(pspnet_config()))
    # dropout draws other numbers, so weights are compared without it in the test of micro-batches
    assert steps[0].loss == pytest.approx(whole[0].loss, rel=0.05)
    with pytest.raises(TrainingError, match="memory is full with 1 clips"):
        run(tmp_path / "never", config, init=narrow(0))


def test_micro_batches_learn_what_the_batch_does(tmp_path: Path) -> None:
    init = checkpoint(replace(pspnet_config(), dropout=0.0))
    config = replace(FRAME, batch_size=4, freeze_norms=True, class_balance=0.3)
    one = run(tmp_path / "one", config, init=init)
    two = run(tmp_path / "two", replace(config, micro_batch=2), init=init)
    np.testing.assert_allclose([s.loss for s in one], [s.loss for s in two], rtol=1e-5)
    a, b = weights(tmp_path / "one"), weights(tmp_path / "two")
    for name in a:
        torch.testing.assert_close(a[name], b[name], rtol=1e-4, atol=1e-6)


def test_the_motion_loss_of_micro_batches_is_that_of_the_batch(tmp_path: Path) -> None:
    init = checkpoint(replace(pspnet_config(), dropout=0.0))
    config = replace(FRAME, batch_size=4, freeze_norms=True, past="real", motion=MotionConfig())
    one, two = (
        run(tmp_path / str(n), replace(config, micro_batch=n), [halves(past=0)], init=init)
        for n in (4, 2)
    )
    for a, b in zip(one, two, strict=True):
        assert a.parts["motion"] == pytest.approx(b.parts["motion"], rel=1e-4)


def test_batch_norms_never_learn_from_one_clip(tmp_path: Path) -> None:
    steps = run(tmp_path / "run", replace(FRAME, batch_size=3, micro_batch=2))
    assert all(np.isfinite(step.loss) for step in steps)
    steps = run(tmp_path / "six", replace(FRAME, batch_size=6), init=narrow(2))
    assert all(np.isfinite(step.loss) for step in steps)


def test_biases_and_norms_can_be_left_out_of_the_decay(tmp_path: Path) -> None:
    """With no learning rate to speak of, only what decays moves."""
    config = TdnetConfig(per_frame=pspnet_config(), value_width=32, norm_size=(8, 12), paths=2)
    init = checkpoint(config)
    still = replace(
        TINY,
        model="tdnet",
        key_frames=None,
        steps=1,
        clip_norm=1e-12,
        weight_decay=0.5,
        decay_norms=False,
    )
    run(tmp_path / "run", still, init=init)
    before, after = init.model.state_dict(), weights(tmp_path / "run")
    for name in ("paths.0.norm.weight", "paths.0.head.1.weight", "paths.0.to_value.bias"):
        torch.testing.assert_close(before[name], after[name], rtol=0, atol=1e-9)
    name = "paths.0.to_value.weight"
    torch.testing.assert_close(after[name], before[name] * (1 - 0.01 * 0.5))


def test_bf16_learns_much_the_same(tmp_path: Path) -> None:
    init = checkpoint()
    fine = run(tmp_path / "fine", TINY, init=init)
    coarse = run(tmp_path / "coarse", replace(TINY, precision="bf16"), init=init)
    assert coarse[0].loss == pytest.approx(fine[0].loss, rel=0.05)


def test_a_loss_that_is_not_finite_stops_with_its_step_and_clips(tmp_path: Path) -> None:
    config = replace(FRAME, steps=30, learning_rate=1e30)
    with pytest.raises(
        TrainingError, match=r"at step \d+, on the clips halves, frame \d+, halves, frame \d+"
    ):
        run(tmp_path / "run", config)


def test_other_classes_are_refused(tmp_path: Path) -> None:
    turned = halves(CLASSES[::-1])
    with pytest.raises(TrainingError, match="knows the classes Sky, Building"):
        run(tmp_path / "run", TINY, [turned], init=checkpoint())
    with pytest.raises(TrainingError, match="different classes"):
        run(tmp_path / "run", TINY, [turned, halves()])


def test_licences_travel_with_the_weights(tmp_path: Path) -> None:
    init = checkpoint()
    init = replace(init, header=replace(init.header, licence="Research use."))
    sources = [halves(licence="Not on Sundays."), halves()]
    run(tmp_path / "run", TINY, sources, init=init)
    header = load_checkpoint(tmp_path / "run" / "last.safetensors").header
    assert header.licence == "Research use. Not on Sundays."


# Several processes


SHARED = """
import sys
from pathlib import Path
from dataclasses import replace
from tests.core.models import checkpoint, pspnet_config
from tests.core.test_training import FRAME, TrainData, halves, train
config = replace(FRAME, batch_size=4, freeze_norms=True, ohem=sys.argv[2] == "ohem", steps=3)
init = checkpoint(replace(pspnet_config(), dropout=0.0))
for step in train(TrainData([halves()]), config, Path(sys.argv[1]), init=init):
    pass
"""


@pytest.mark.parametrize("loss", ["all", pytest.param("ohem", marks=pytest.mark.slow)])
def test_two_processes_learn_what_one_does(loss: str, tmp_path: Path) -> None:
    pytest.importorskip("accelerate")
    environment = {**os.environ, "PYTHONPATH": os.getcwd(), "OMP_NUM_THREADS": "1"}
    alone = [sys.executable, "-c", SHARED, str(tmp_path / "one"), loss]
    subprocess.run(alone, check=True, env=environment)
    script = tmp_path / "shared.py"
    script.write_text(SHARED)
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2"]
    port = f"--master-port={20000 + os.getpid() % 20000}"
    subprocess.run(
        [*launch, port, str(script), str(tmp_path / "two"), loss],
        check=True,
        env=environment,
        capture_output=True,
    )
    one, two = (logged(tmp_path / name, "loss") for name in ("one", "two"))
    np.testing.assert_allclose(one, two, rtol=1e-5)
    a, b = weights(tmp_path / "one"), weights(tmp_path / "two")
    for name in a:
        torch.testing.assert_close(a[name], b[name], rtol=1e-4, atol=1e-6)


STOPPED = """
import itertools, os, sys
from pathlib import Path
from dataclasses import replace
from tests.core.models import checkpoint, pspnet_config
from tests.core.test_training import FRAME, TrainData, halves, train
config = replace(FRAME, batch_size=4, freeze_norms=True, steps=50)
asked = itertools.count(1)
told = lambda: next(asked) == 3 and os.environ["RANK"] == "1"
init, out = checkpoint(pspnet_config()), Path(sys.argv[1])
steps = train(TrainData([halves()]), config, out, init=init, stop=told)
assert len(list(steps)) == 3
"""


@pytest.mark.slow
def test_all_processes_stop_when_one_is_told_to(tmp_path: Path) -> None:
    pytest.importorskip("accelerate")
    script = tmp_path / "stopped.py"
    script.write_text(STOPPED)
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2"]
    port = f"--master-port={20000 + os.getpid() % 20000}"
    subprocess.run(
        [*launch, port, str(script), str(tmp_path / "run")],
        check=True,
        env={**os.environ, "PYTHONPATH": os.getcwd(), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        timeout=200,
    )
    assert logged(tmp_path / "run", "step") == [1, 2, 3]
    assert (tmp_path / "run" / "state.pt").exists()


# Recipes


def test_shipped_recipes_are_sound() -> None:
    from stt_core.resources import resource_path

    names = [path.stem for path in resource_path("recipes").glob("*.toml")]
    assert "fine-tune" in names
    for name in names:
        assert read_recipe(name).steps > 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("steps = 0", "steps must be at least 1"),
        ("learning_rate = nan", "learning_rate must be 0 or more"),
        ("weight_decay = -1.0", "weight_decay must be 0 or more"),
        ("save_every = 0", "save_every must be at least 1"),
        ("key_frames = 30", "key_frames must be in"),
        ("batch_size = 1", "must be at least 2 where batch norms learn"),
        ("average = 1.0", "average must be at least 0 and below 1"),
        ("stepz = 3", "wrong at 'stepz'"),
        ("steps =", "cannot read the recipe"),
        ('optimizer = "magic"', "wrong at 'optimizer'"),
        ("[augment]\ncrop = [9, 8]", "multiples of 8"),
        ("[augment]\nscale = [1.0, inf]", "rising positive pair"),
        ("[augment]\nshort_side = -5", "short_side must be at least 1"),
        ("[pseudo]\nshare = 1.0", "share must lie between 0 and 1"),
        ("[pseudo]\nclass_thresholds = {Road = 3}", "threshold of Road must be in 0..1"),
        ("[grouped]", "grouped is a loss of the model tdnet"),
        ("[distill]", "distill is a loss of the model frame"),
        ("ohem = true\nclass_balance = 0.3", "ohem cannot go with class_balance"),
        ('freeze_block = true\nmodel = "frame"', "freeze_block is for the model stt"),
        ("freeze_encoder = true\nbatch_size = 1\n[pseudo]", "pseudo cannot go with a batch"),
    ],
)
def test_a_wrong_recipe_is_told(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "r.toml").write_text(text)
    with pytest.raises(TrainingError, match=message):
        read_recipe(str(tmp_path / "r.toml"))


def test_no_such_recipe_names_the_shipped_ones() -> None:
    with pytest.raises(TrainingError, match="fine-tune"):
        read_recipe("nonsense")


# Validation


def last_word(steps: Generator[Any, None, Any]) -> Any:
    """What a generator returns."""
    try:
        while True:
            next(steps)
    except StopIteration as end:
        return end.value


def test_the_best_model_on_the_validation_data_is_kept(tmp_path: Path) -> None:
    judged = halves(count=3, name="judged")
    config = replace(
        TINY,
        steps=30,
        optimizer="adamw",
        learning_rate=1e-2,
        freeze_encoder=True,
        validate_every=10,
    )
    data = TrainData([halves()], validation=[judged])
    for _ in train(data, config, tmp_path / "run", init=checkpoint()):
        pass
    lines = (tmp_path / "run" / "validation.jsonl").read_text().splitlines()
    told = [json.loads(line) for line in lines]
    assert [line["step"] for line in told] == [10, 20, 30]
    best = max(told, key=lambda line: line["miou"])
    found = load_checkpoint(tmp_path / "run" / "best.safetensors")
    assert found.header.step == best["step"]
    network = Network(found, device="cpu", precision="fp32")
    options = EvaluateOptions(protocol="plain")
    measured = last_word(evaluate(judged, [ModelPredictor("x", network)], options))
    assert measured[0].miou == pytest.approx(best["miou"], abs=1e-6)
    assert best["miou"] > 0.4
