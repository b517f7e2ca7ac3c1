"""Importing: logits like those of the network the weights came from, or a refusal."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from stt_core.checkpoint import load_checkpoint, save_checkpoint
from stt_core.config import Dilation, Preprocess, PspNetConfig, TdnetConfig
from stt_core.errors import CheckpointError
from stt_core.importers import (
    Imported,
    generic_classes,
    import_checkpoint,
    import_weights,
    read_weights,
)
from stt_core.labels import LabelClass
from stt_core.layouts import recognise
from tests.core.layouts import (
    EncodingPspNet,
    MmsegPsp,
    SemsegPspNet,
    TdPsp,
    TorchvisionResNet,
    randomise,
)

SIZE = (64, 160)
MAP = (8, 20)  # wider than the largest dilation, which would else have only zeros to read
SOURCE = Path("somewhere/their.pth")
State = dict[str, Tensor]

PER_FRAME: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "etc18": (lambda: SemsegPspNet(18, aux=True), "ETC PSPNet18"),
    "semseg50": (lambda: SemsegPspNet(50), "semseg PSPNet50"),
    "semseg101": (lambda: SemsegPspNet(101), "semseg PSPNet101"),
    "tdnet18": (lambda: EncodingPspNet(18, aux=True), "TDNet PSPNet18"),
    "tdnet50": (lambda: EncodingPspNet(50, aux=True), "TDNet PSPNet50"),
    "tdnet101": (lambda: EncodingPspNet(101, aux=True), "TDNet PSPNet101"),
    "mmseg18": (lambda: MmsegPsp(18), "mmsegmentation PSPNet18"),
    "mmseg18b": (lambda: MmsegPsp(18, deep=False), "mmsegmentation PSPNet18"),
    "mmseg50": (lambda: MmsegPsp(50), "mmsegmentation PSPNet50"),
    "mmseg101": (lambda: MmsegPsp(101), "mmsegmentation PSPNet101"),
}
SLOW = ("semseg101", "tdnet101", "mmseg50")


def frames(count: int, seed: int = 1, size: tuple[int, int] = SIZE) -> Tensor:
    """Blobs rather than noise, so that frames and places differ in what is deep in a network."""
    random = torch.Generator().manual_seed(seed)
    coarse = 2 * torch.randn(count, 3, 4, 10, generator=random)
    fine = torch.randn(count, 3, *size, generator=random)
    return F.interpolate(coarse, size, mode="bilinear") + 0.5 * fine


def close(ours: Tensor, theirs: Tensor) -> None:
    assert theirs.std() > 0.1  # else agreeing would mean little
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)


def some_classes(count: int) -> list[LabelClass]:
    return [LabelClass(f"c{i}", (i, 0, 0)) for i in range(count)]


# The reference networks themselves


@pytest.mark.parametrize(
    ("make", "entries"),
    [
        (lambda: TorchvisionResNet(18), 122),
        (lambda: TorchvisionResNet(50), 320),
        (lambda: TorchvisionResNet(101), 626),
        (lambda: SemsegPspNet(18), 160),
        (lambda: SemsegPspNet(50), 370),
        (lambda: SemsegPspNet(101), 676),
        (lambda: EncodingPspNet(18), 154),
        (lambda: EncodingPspNet(18, aux=True), 162),
        (lambda: EncodingPspNet(50), 364),
        (lambda: EncodingPspNet(101), 670),
        (lambda: TdPsp(18, 4), 728),
        (lambda: TdPsp(18, 4, aux=True), 760),
        (lambda: TdPsp(50, 2), 776),
        (lambda: TdPsp(50, 2, aux=True), 792),
        (lambda: MmsegPsp(18), 172),
        (lambda: MmsegPsp(18, deep=False), 160),
        (lambda: MmsegPsp(50), 370),
        (lambda: MmsegPsp(101), 676),
    ],
)
def test_layouts_have_as_many_entries_as_documented(
    make: Callable[[], nn.Module], entries: int
) -> None:
    with torch.device("meta"):
        assert len(make().state_dict()) == entries


# Equal logits


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in PER_FRAME]
)
@torch.no_grad()
def test_per_frame_logits_are_those_of_their_network(name: str) -> None:
    make, called = PER_FRAME[name]
    theirs = randomise(make(), seed=3)
    imported = import_weights(theirs.state_dict(), SOURCE)
    model, report = imported.checkpoint.model, imported.report
    image = frames(1)
    close(model.decode(model.encode(image), []).logits, theirs(image))
    aux = model.extract(image, aux=True).aux
    assert aux is not None
    close(aux, theirs.aux_logits(image))  # type: ignore[operator]
    assert report.layout == called
    assert report.fresh == ()
    assert report.mapped + len(report.ignored) == len(theirs.state_dict())


@pytest.mark.parametrize("depth", [18, 50, pytest.param(101, marks=pytest.mark.slow)])
@torch.no_grad()
def test_torchvision_backbones_are_dilated_as_asked(depth: int) -> None:
    image, maps = frames(1), {}
    for scheme in ("etc", "tdnet", "mmseg"):
        theirs = randomise(TorchvisionResNet(depth, scheme), seed=4)
        imported = import_weights(theirs.state_dict(), SOURCE, dilation=scheme)
        stages = imported.checkpoint.model.frame.trunk.stages(image)
        third, fourth = theirs.stages(image)  # type: ignore[operator]
        close(stages.middle, third)
        close(stages.deep, fourth)
        maps[scheme] = fourth
        assert imported.report.dilation == scheme
    for one, other in (("etc", "tdnet"), ("etc", "mmseg"), ("tdnet", "mmseg")):
        assert (maps[one] - maps[other]).abs().max() > 0.05


@pytest.fixture(scope="module", params=[(18, 4), (50, 2)], ids=["td4-psp18", "td2-psp50"])
def td(request: pytest.FixtureRequest) -> tuple[TdPsp, Imported]:
    """A TD network for maps of these very frames, and what was made of its weights."""
    depth, paths = request.param
    theirs = TdPsp(depth, paths, size=MAP)
    randomise(theirs, seed=5)
    for name, weight in theirs.named_parameters():  # else attention would be a faint mean
        if re.search(r"w_[qk]s\.1\.conv\.weight|fc\.0\.conv\.weight", name):
            weight.data.mul_(1.3)
    return theirs, import_weights(theirs.state_dict(), SOURCE)


@torch.no_grad()
def test_td_logits_of_every_path_are_those_of_their_network(td: tuple[TdPsp, Imported]) -> None:
    theirs, imported = td
    model = imported.checkpoint.model
    for path in range(theirs.paths):
        clip = frames(theirs.paths, seed=path)
        expected = theirs(clip, path + 1)
        close(model(clip, path).logits, expected)
        for i in range(theirs.paths - 1):  # each of the past frames has a say
            changed = clip.clone()
            changed[i] = frames(1, seed=99)[0]
            assert (theirs(changed, path + 1) - expected).abs().max() > 0.1


@torch.no_grad()
def test_td_frames_without_enough_past_stand_alone(td: tuple[TdPsp, Imported]) -> None:
    theirs, imported = td
    model = imported.checkpoint.model
    for count in range(1, theirs.paths):
        clip = frames(count)
        close(model(clip, 1).logits, theirs(clip, 2))
        close(model(clip, 1).logits, theirs(clip[-1:], 2))


@torch.no_grad()
def test_td_video_frame_by_frame(td: tuple[TdPsp, Imported]) -> None:
    theirs, imported = td
    model, count = imported.checkpoint.model, theirs.paths + 1
    video, kept = frames(count), []
    for i in range(count):
        path = i % theirs.paths
        kept.insert(0, model.encode(video[i : i + 1], path))
        logits = model.decode(kept[0], kept[1 : theirs.paths]).logits
        close(logits, theirs(video[max(0, i + 1 - theirs.paths) : i + 1], path + 1))


@torch.no_grad()
def test_td_of_the_released_size_is_resized_to_the_frames() -> None:
    theirs = TdPsp(18, 4, aux=True)
    randomise(theirs, seed=6)
    imported = import_weights(theirs.state_dict(), SOURCE)
    model, config = imported.checkpoint.model, imported.checkpoint.header.config
    clip = frames(4)
    close(model(clip, 2).logits, theirs(clip, 3))
    aux = model.extract(clip[:1], 2, aux=True).aux
    assert aux is not None
    close(aux, theirs.aux_logits(clip[:1], 3))
    assert isinstance(config, TdnetConfig)
    assert (config.norm_size, config.memory_stride) == ((97, 193), 4)
    assert imported.report.layout == "TDNet TD4-PSP18"
    assert imported.report.fresh == ()
    assert len(imported.report.ignored) == 8  # four classifiers of ImageNet


def test_td_config_is_read_from_shapes(td: tuple[TdPsp, Imported]) -> None:
    theirs, imported = td
    config = imported.checkpoint.header.config
    assert isinstance(config, TdnetConfig)
    assert isinstance(config.per_frame, PspNetConfig)
    assert (config.paths, config.key_width, config.value_width) == (theirs.paths, 64, 512)
    assert config.norm_size == MAP
    expected = ("resnet18", "conv7", 128) if theirs.paths == 4 else ("resnet50", "deep128", 256)
    frame = config.per_frame
    assert (frame.backbone, frame.stem, frame.width) == expected
    assert frame.dilation == "tdnet"
    assert imported.report.fresh == tuple(f"paths.{p}.aux" for p in range(theirs.paths))


@torch.no_grad()
def test_a_td_model_survives_its_file(td: tuple[TdPsp, Imported], tmp_path: Path) -> None:
    theirs, imported = td
    save_checkpoint(tmp_path / "td.safetensors", imported.checkpoint)
    again = load_checkpoint(tmp_path / "td.safetensors")
    assert again.header == imported.checkpoint.header
    clip = frames(theirs.paths)
    close(again.model(clip, 0).logits, theirs(clip, 1))


@torch.no_grad()
def test_training_checkpoints_of_td_lose_their_teacher(td: tuple[TdPsp, Imported]) -> None:
    theirs, plain = td
    state = {
        **theirs.state_dict(),
        "teacher.pretrained.conv1.0.weight": torch.ones(2),
        "loss_fn.weight": torch.ones(2),
    }
    imported = import_weights({f"module.{k}": w for k, w in state.items()}, SOURCE)
    assert len(imported.report.ignored) == len(plain.report.ignored) + 2
    same(imported, plain)


# What stands around the weights


@pytest.fixture(scope="module")
def etc() -> State:
    return dict(randomise(SemsegPspNet(18, classes=11), seed=7).state_dict())


@pytest.fixture(scope="module")
def plain(etc: State) -> Imported:
    return import_weights(etc, SOURCE)


def same(one: Imported, other: Imported, atol: float = 0) -> None:
    assert one.checkpoint.header.config == other.checkpoint.header.config
    mine, its = (i.checkpoint.model.state_dict() for i in (one, other))
    assert set(mine) == set(its)
    for name, weight in mine.items():
        torch.testing.assert_close(weight, its[name], rtol=0, atol=atol)


def prefixed(prefix: str, state: Mapping[str, Tensor]) -> State:
    return {prefix + key: w for key, w in state.items()}


@pytest.mark.parametrize("prefix", ["", "module.", "student.", "model.", "module.student."])
def test_prefixes_do_not_matter(prefix: str, etc: State, plain: Imported) -> None:
    assert recognise(prefixed(prefix, etc)) == recognise(etc)
    same(import_weights(prefixed(prefix, etc), SOURCE), plain)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda s: s,
        lambda s: {"state_dict": s, "epoch": 3, "optimizer": {"state": {}, "param_groups": [{}]}},
        lambda s: {"model_state": s, "epoch": 5, "best_iou": np.float64(0.7)},
        lambda s: {"model": s},
        lambda s: {"meta": {"config": "x"}, "state_dict": prefixed("module.", s)},
    ],
    ids=["bare", "semseg", "tdnet", "model", "mmseg"],
)
@pytest.mark.parametrize("new", [True, False], ids=["zip", "old"])
def test_containers_do_not_matter(
    wrap: Callable[[State], object], new: bool, etc: State, plain: Imported, tmp_path: Path
) -> None:
    path = tmp_path / "their.pth"
    torch.save(wrap(etc), path, _use_new_zipfile_serialization=new)
    same(import_checkpoint(path), plain)


def test_safetensors_are_read(etc: State, plain: Imported, tmp_path: Path) -> None:
    save_file(etc, tmp_path / "their.safetensors")
    same(import_checkpoint(tmp_path / "their.safetensors"), plain)


def test_etc_training_files_lose_flow_net_teacher_and_criterion(
    etc: State, plain: Imported
) -> None:
    beside = [
        "module.flownet.flownetc.conv1.0.weight",
        "module.teacher.layer0.0.weight",
        "module.criterion.ce.weight",
        "module.student.criterion.weight",
    ]
    state = {**prefixed("module.student.", etc), **{key: torch.ones(2) for key in beside}}
    imported = import_weights(state, SOURCE)
    same(imported, plain)
    assert imported.report.ignored == tuple(beside)


def test_half_precision_becomes_float32(etc: State, plain: Imported) -> None:
    half = {key: w.half() if w.is_floating_point() else w for key, w in etc.items()}
    imported = import_weights(half, SOURCE)
    weights = imported.checkpoint.model.state_dict().values()
    assert {w.dtype for w in weights} == {torch.float32, torch.int64}
    same(imported, plain, atol=0.01)


def test_counters_of_batch_norms_may_be_missing(etc: State, plain: Imported) -> None:
    state = {key: w for key, w in etc.items() if not key.endswith("num_batches_tracked")}
    imported = import_weights(state, SOURCE)
    same(imported, plain)
    assert imported.report.mapped == len(state)


@torch.no_grad()
def test_auxiliary_head_may_be_missing_and_starts_fresh(etc: State, plain: Imported) -> None:
    state = {key: w for key, w in etc.items() if not key.startswith("aux.")}
    before = torch.get_rng_state()
    one, other = import_weights(state, SOURCE), import_weights(state, SOURCE)
    assert torch.equal(torch.get_rng_state(), before)
    same(one, other)  # the same fresh weights every time
    assert one.report.fresh == ("frame.aux",)
    assert any("no auxiliary head" in note for note in one.report.notes)
    image = frames(1)
    expected = plain.checkpoint.model(image).logits
    torch.testing.assert_close(one.checkpoint.model(image).logits, expected, rtol=0, atol=0)


def test_header_tells_where_the_weights_come_from(plain: Imported) -> None:
    header = plain.checkpoint.header
    assert header.licence == "unknown: imported from their.pth"
    assert header.lineage == ("imported from their.pth: ETC PSPNet18, dilation scheme etc",)
    assert header.preprocess == Preprocess()
    assert header.step == 0
    assert not plain.checkpoint.model.training


def test_torchvision_backbone_gets_new_heads() -> None:
    state = randomise(TorchvisionResNet(18), seed=8).state_dict()
    imported = import_weights(state, SOURCE, classes=some_classes(3))
    config, report = imported.checkpoint.header.config, imported.report
    assert isinstance(config, PspNetConfig)
    assert (config.num_classes, config.width, config.dilation) == (3, 256, "etc")
    assert report.layout == "torchvision ResNet-18"
    assert report.ignored == ("fc.weight", "fc.bias")
    assert report.fresh == ("frame.trunk.ppm", "frame.cls", "frame.aux")
    assert any("scheme etc, by default" in note for note in report.notes)
    assert import_weights(state, SOURCE).checkpoint.header.config.num_classes == 11


# Classes


@pytest.mark.parametrize(
    ("count", "first", "last", "note"),
    [
        (11, "Sky", "Bicyclist", "those of CamVid, in SegNet's order"),
        (19, "Road", "Bicycle", "those of Cityscapes"),
        (7, "class 0", "class 6", "have no names"),
    ],
)
def test_classes_go_by_their_number(
    count: int, first: str, last: str, note: str, etc: State
) -> None:
    imported = import_weights(_with_classes(etc, count), SOURCE)
    classes = imported.checkpoint.header.classes
    assert (len(classes), classes[0].name, classes[-1].name) == (count, first, last)
    assert any(note in said for said in imported.report.notes)


def test_given_classes_are_taken(etc: State) -> None:
    imported = import_weights(etc, SOURCE, classes=some_classes(11))
    assert imported.checkpoint.header.classes == tuple(some_classes(11))
    assert imported.report.notes == ()


def test_generic_classes_differ_in_color() -> None:
    classes = generic_classes(254)
    assert len({c.color for c in classes}) == 254
    for one, other in itertools.pairwise(classes):
        assert np.abs(np.subtract(one.color, other.color)).max() > 60


def _with_classes(state: State, count: int) -> State:
    """`state` with another classifier."""
    parts = {key: w for key, w in state.items() if key.startswith(("cls.4", "aux.4"))}
    cut = {key: w.new_zeros(count, *w.shape[1:]) for key, w in parts.items()}
    return {**state, **cut}


# Refusals


def _without(key: str) -> Callable[[State], object]:
    return lambda s: s.pop(key)


def _with(key: str, weight: Tensor) -> Callable[[State], object]:
    return lambda s: s.update({key: weight})


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            _without("layer3.1.bn2.bias"),
            r"ETC PSPNet18, but it lacks 1 tensor \(layer3.1.bn2.bias\)",
        ),
        (_without("layer0.1.running_var"), r"lacks 1 tensor \(layer0.1.running_var\)"),
        (_without("aux.1.weight"), r"lacks 1 tensor \(aux.1.weight\)"),
        (_without("cls.4.weight"), r"lacks cls.4.weight"),
        (_without("layer0.0.weight"), "of no layout that STT Studio knows"),
        (_with("layer4.1.se.weight", torch.ones(2)), r"no place for 1 tensor \(layer4.1.se.weight"),
        (_with("fc.weight", torch.ones(2)), "no place for 1 tensor"),
        (_with("layer5.0.weight", torch.ones(2)), "no place for 1 tensor"),
        (_with("layer1.0.conv1.weight", torch.ones(2, 2)), r"conv1.weight \(2, 2\) in place of"),
        (_with("layer0.0.weight", torch.ones(32, 3, 7, 7)), r"the shape \(32, 3, 7, 7\)"),
        (_with("cls.4.weight", torch.ones(())), "has 0 dimensions where 4 belong"),
        (_with("cls.0.weight", torch.ones(256, 4096, 3, 3)), r"in place of \(256, 1024, 3, 3\)"),
        (_with("layer3.2.conv1.weight", torch.ones(2)), r"has \(2, 2, 3, 2\) basic blocks"),
        (_with("cls.1.bias", torch.full((256,), torch.nan)), r"not finite .* in cls.1.bias"),
        (_with("cls.1.bias", torch.full((256,), torch.inf)), "diverged. Use an earlier checkpoint"),
        (_with("cls.1.bias", torch.ones(256, dtype=torch.int8)), "not of floating-point"),
        (_with("cls.1.bias", torch.ones(256).to_sparse()), "not of floating-point"),
    ],
)
def test_what_does_not_fit_is_refused(
    change: Callable[[State], object], sentence: str, etc: State
) -> None:
    state = dict(etc)
    change(state)
    with pytest.raises(CheckpointError, match=sentence) as caught:
        import_weights(state, SOURCE)
    assert str(caught.value).startswith(f"cannot import {SOURCE}: ")
    assert "\n" not in str(caught.value)


def test_first_keys_are_listed_and_the_rest_counted(etc: State) -> None:
    state = {**etc, **{f"extra.{i}": torch.ones(1) for i in range(7)}}
    with pytest.raises(
        CheckpointError, match=r"7 tensors \(extra.0, extra.1, extra.2 and 4 more\)"
    ):
        import_weights(state, SOURCE)


def test_keys_of_one_path_are_not_those_of_another(td: tuple[TdPsp, Imported]) -> None:
    state = dict(td[0].state_dict())
    state["head3.conv5.9.weight"] = state.pop("head2.conv5.4.weight")
    with pytest.raises(CheckpointError, match=r"lacks 1 .*head2.*no place for 1 .*head3"):
        import_weights(state, SOURCE)


def test_more_classes_than_a_label_map_holds_are_refused(etc: State) -> None:
    with pytest.raises(CheckpointError, match=r"num_classes must be in 1..254, got 300"):
        import_weights(_with_classes(etc, 300), SOURCE)


def test_a_list_of_other_classes_is_refused(etc: State) -> None:
    with pytest.raises(CheckpointError, match=r"tells 11 classes apart, but 3 were given"):
        import_weights(etc, SOURCE, classes=some_classes(3))


@pytest.mark.parametrize("scheme", ["tdnet", "mmseg"])
def test_another_dilation_than_trained_with_is_refused(scheme: Dilation, etc: State) -> None:
    with pytest.raises(CheckpointError, match=r"trained with the dilation scheme etc"):
        import_weights(etc, SOURCE, dilation=scheme)


def test_models_of_ours_are_told_so(plain: Imported, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "ours.safetensors", plain.checkpoint)
    with pytest.raises(CheckpointError, match=r"a model of STT Studio already"):
        import_checkpoint(tmp_path / "ours.safetensors")


# Files that are not read


class _Malice:
    """Leaves a folder behind when unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("new", [True, False], ids=["zip", "old"])
def test_files_that_would_execute_code_are_refused(new: bool, tmp_path: Path) -> None:
    path, trace = tmp_path / "their.pth", tmp_path / "trace"
    state = {"state_dict": {"w": torch.ones(2)}, "args": _Malice(trace)}
    torch.save(state, path, _use_new_zipfile_serialization=new)
    with pytest.raises(CheckpointError, match=r"\.mkdir\), and reading that would execute code"):
        import_checkpoint(path)
    assert not trace.exists()


def test_numbers_of_numpy_are_skipped_without_being_made(tmp_path: Path) -> None:
    path, trace = tmp_path / "their.pth", tmp_path / "trace"
    torch.save({"model_state": {"w": torch.ones(2)}, "best": np.float32(0.5)}, path)
    assert list(read_weights(path)) == ["w"]
    torch.save({"w": torch.ones(2), "best": np.array([_Malice(trace)], object)}, path)
    with pytest.raises(CheckpointError, match=r"would execute code"):
        read_weights(path)
    assert not trace.exists()


@pytest.mark.parametrize(
    "wrap", [lambda m: m, lambda m: {"model_state": m.state_dict(), "args": m}]
)
def test_the_advice_of_the_refusal_works(
    wrap: Callable[[nn.Module], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = nn.Linear(2, 3)
    torch.save(wrap(network), tmp_path / "whole.pt")
    with pytest.raises(CheckpointError, match=r"torch.nn.modules.linear.Linear") as caught:
        read_weights(tmp_path / "whole.pt")
    advice = re.search(r'python -c "(.*)"$', str(caught.value))
    assert advice is not None
    monkeypatch.chdir(tmp_path)
    exec(advice[1], {})  # what the person would run
    saved = read_weights(tmp_path / "weights.pth")
    torch.testing.assert_close(saved["weight"], network.state_dict()["weight"])


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_torchscript_is_refused_as_code(tmp_path: Path) -> None:
    torch.jit.trace(nn.Linear(2, 2), torch.ones(1, 2)).save(str(tmp_path / "m.pt"))  # type: ignore[no-untyped-call]
    with pytest.raises(CheckpointError, match=r"TorchScript.*execute code"):
        read_weights(tmp_path / "m.pt")


@pytest.mark.parametrize("kind", ["zip", "old", "safetensors"])
def test_truncated_files_are_refused(kind: str, tmp_path: Path) -> None:
    path = tmp_path / ("their.safetensors" if kind == "safetensors" else "their.pth")
    state = {f"layer{i}.weight": torch.randn(50) for i in range(40)}
    if kind == "safetensors":
        save_file(state, path)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=kind == "zip")
    whole = path.read_bytes()
    for kept in (0, 1, 7, 40, len(whole) // 3, len(whole) // 2, len(whole) - 300, len(whole) - 1):
        path.write_bytes(whole[:kept])
        with pytest.raises(CheckpointError, match=r"is not a checkpoint, or was cut short"):
            import_checkpoint(path)


@pytest.mark.parametrize(
    ("content", "suffix"),
    [(b"hello world", ".pth"), (b"<!DOCTYPE html>", ".pkl"), (b"PK\x03\x04", ".pt"), (b"{}", "")],
)
def test_other_files_are_refused(content: bytes, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"x{suffix}"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"is not a checkpoint, or was cut short"):
        import_checkpoint(path)


def test_missing_files_and_folders_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nothing.pth"):
        with pytest.raises(CheckpointError, match=r"there is no checkpoint"):
            import_checkpoint(path)


@pytest.mark.parametrize(
    ("held", "sentence"),
    [
        ({"epoch": 3, "weights": {"w": torch.ones(1)}}, r"epoch, weights are no tensor"),
        ({"state_dict": {"w": torch.ones(1), "n": 3}}, r"n is no tensor"),
        (torch.ones(3), r"holds no weights"),
        ({}, r"holds no weights"),
        ({"state_dict": {}}, r"holds no weights"),
        ({"w": torch.ones(1)}, r"of no layout that STT Studio knows \(1 tensors: w\)"),
        ({"flownet.w": torch.ones(1)}, r"of no layout that STT Studio knows"),
    ],
)
def test_files_without_a_network_are_refused(held: object, sentence: str, tmp_path: Path) -> None:
    torch.save(held, tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match=sentence):
        import_checkpoint(tmp_path / "x.pth")
