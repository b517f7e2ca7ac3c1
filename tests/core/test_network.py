"""A model at work: its precision, its key frames, and what it does where memory is short."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from stt_core.checkpoint import Checkpoint, load_checkpoint
from stt_core.config import ModelConfig, Preprocess, TdnetConfig
from stt_core.device import has_fast_bf16
from stt_core.engine import Engine
from stt_core.errors import CheckpointError, DeviceError
from stt_core.formats.model_file import find_model
from stt_core.media.source import open_media
from stt_core.model.attention.ops import NOTHING_MUTED, Ablation
from stt_core.model.build import build_model
from stt_core.model.stt import Stt, SttBlock
from stt_core.model.tdnet import SpatialNorm
from stt_core.model.video import Decoded, Encoded, Extracted, PerFrame, VideoModel
from stt_core.network import Network
from stt_core.preprocess import to_network
from stt_core.resources import SAMPLE_MODEL
from stt_core.stream import Stream
from tests.core.models import (
    checkpoint,
    images,
    lite_config,
    pspnet_config,
    stt_config,
    tdnet_config,
    write_clip,
)

SMALL = (40, 56)
STT = stt_config(key_frames=2)
CPU = torch.device("cpu")


@pytest.fixture
def fast_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU that says it has instructions for bf16: every one can compute in it."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})


def _network(made: Checkpoint, **options: object) -> Network:
    return Network(made, **{"device": "cpu", "precision": "fp32", **options})  # type: ignore[arg-type]


def _decoded(network: Network, image: NDArray[np.uint8]) -> Tensor:
    """Logits of a still that stands for its own past."""
    current = network.encode(image)
    return network.decode(current, [current] * network.key_frames).logits


def _classifier(made: Checkpoint) -> nn.Conv2d:
    return made.model.frame.classifier  # type: ignore[return-value,union-attr]


def _decided(config: ModelConfig = STT) -> Checkpoint:
    """Whose classes are far apart: no rounding decides one."""
    made = checkpoint(config)
    nn.init.normal_(_classifier(made).weight, std=0.001)
    _classifier(made).bias.data[5] = 30.0  # type: ignore[union-attr]
    return made


def _undecided(config: ModelConfig = STT) -> Checkpoint:
    """Whose classes are almost alike everywhere: rounding decides all of them."""
    made = checkpoint(config)
    weight = _classifier(made).weight.data
    weight[:] = weight[:1] + 1e-5 * torch.randn_like(weight)
    return made


# precision


@pytest.mark.skipif(not has_fast_bf16(CPU), reason="this CPU has no instructions for bf16")
def test_auto_takes_bf16_where_this_cpu_has_it() -> None:
    network = _network(_decided(), precision="auto")
    assert network.dtype == torch.bfloat16
    assert network.encode(images(1, SMALL)[0]).features.dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("flags", "dtype"),
    [({}, torch.float32), ({"avx512_bf16": True}, torch.bfloat16), ({"bf16": 1}, torch.bfloat16)],
)
def test_auto_goes_by_what_the_cpu_says(
    flags: dict[str, bool], dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: flags)
    assert _network(checkpoint(pspnet_config()), precision="auto").dtype == dtype


def test_a_precision_or_device_that_is_not_there_is_refused() -> None:
    made = checkpoint(pspnet_config())
    with pytest.raises(DeviceError, match="fp16 needs a GPU; on the CPU use --precision"):
        _network(made, precision="fp16")
    with pytest.raises(DeviceError, match="say auto, cpu, cuda"):
        _network(made, device="abacus")


@pytest.mark.parametrize("config", [STT, tdnet_config(lite_config(), paths=2)], ids=["stt", "td2"])
def test_weights_are_bf16_but_norms_stay_fp32(config: ModelConfig) -> None:
    network = _network(checkpoint(config), precision="bf16")
    norms = 0
    for part in network._model.modules():  # it tells this nowhere else
        expected = torch.bfloat16
        if isinstance(part, nn.LayerNorm | SpatialNorm | nn.BatchNorm2d):
            norms += 1
            expected = torch.float32
        for weight in part.parameters(recurse=False):
            assert weight.dtype == expected, part
    assert norms == 2
    assert _decoded_at(network, 1).dtype == torch.bfloat16


def _decoded_at(network: Network, index: int) -> Tensor:
    frames = [network.encode(image, i) for i, image in enumerate(images(index + 1, SMALL))]
    return network.decode(frames[index], frames[:index][::-1]).logits


@pytest.mark.usefixtures("fast_bf16")
def test_a_lower_precision_is_held_against_fp32_once_at_the_first_image() -> None:
    network = _network(_decided(), precision="auto")
    assert network.agreement is None
    first, second = images(2, SMALL)
    network.encode(first)
    assert network.agreement == 1.0
    network.agreement = None
    network.encode(second)
    assert network.agreement is None
    assert network.dtype == torch.bfloat16
    assert network.notes == []


def test_fp32_is_held_against_nothing() -> None:
    network = _network(_undecided())
    network.encode(images(1, SMALL)[0])
    assert network.agreement is None
    assert network.notes == []


@pytest.mark.usefixtures("fast_bf16")
@pytest.mark.parametrize("config", [STT, pspnet_config(), lite_config()], ids=["stt", "psp", "li"])
def test_auto_returns_to_fp32_where_bf16_finds_other_classes(config: ModelConfig) -> None:
    made = _undecided(config)
    image = images(1, SMALL)[0]
    network = _network(made, precision="auto")
    assert network.dtype == torch.bfloat16
    found = _decoded(network, image)
    assert network.dtype == torch.float32
    assert network.agreement is not None
    assert network.agreement < 0.995
    (note,) = network.notes
    assert "in bf16 only" in note
    assert f"{network.agreement:.2%}" in note
    assert note.endswith("computing in fp32")
    torch.testing.assert_close(found, _decoded(_network(made), image), rtol=1e-4, atol=1e-4)


@pytest.mark.usefixtures("fast_bf16")
def test_models_that_take_turns_are_checked_too() -> None:
    made = checkpoint(tdnet_config(lite_config(), paths=2))
    for path in made.model.paths:  # type: ignore[union-attr]
        weight = path.head[4].weight.data
        weight[:] = weight[:1] + 1e-5 * torch.randn_like(weight)
    network = _network(made, precision="auto")
    network.encode(images(1, SMALL)[0], 1)
    assert network.dtype == torch.float32
    assert network.agreement is not None
    assert network.agreement < 0.995


def test_bf16_that_was_asked_for_stays_and_says_what_it_costs() -> None:
    network = _network(_undecided(), precision="bf16")
    logits = _decoded(network, images(1, SMALL)[0])
    assert logits.dtype == network.dtype == torch.bfloat16
    assert network.agreement is not None
    assert network.agreement < 0.995
    (note,) = network.notes
    assert note.endswith("bf16 was asked for and stays")


@pytest.mark.usefixtures("fast_bf16")
def test_the_bundled_model_stays_in_bf16() -> None:
    network = _network(load_checkpoint(find_model(SAMPLE_MODEL)), precision="auto")
    network.encode(images(1, (120, 160))[0])
    assert network.agreement is not None
    assert (network.dtype == torch.bfloat16) == (network.agreement >= 0.995)


@pytest.mark.parametrize("short_side", [None, 640])
def test_the_check_looks_at_a_small_image_whatever_the_frames_size(
    short_side: int | None, seen: list[tuple[int, ...]]
) -> None:
    made = _subclass(checkpoint(pspnet_config()), _Watched)
    made = replace(made, header=replace(made.header, preprocess=Preprocess(short_side=short_side)))
    image = images(1, (640, 800) if short_side is None else (400, 500))[0]
    _network(made, precision="bf16").encode(image)
    *checks, frame = seen
    assert frame == (640, 800)
    assert len(checks) == 2
    for size in checks:
        assert 0.8 * 256 * 512 < size[0] * size[1] < 1.2 * 256 * 512
        assert size[1] / size[0] == pytest.approx(800 / 640, rel=0.05)


class _Watched(PerFrame):
    """Tells the sizes of what it extracts."""

    seen: list[tuple[int, ...]] = []  # noqa: RUF012  (a copy of the model tells it too)

    def extract(self, image: Tensor, path: int = 0, *, aux: bool = False) -> Extracted:
        self.seen.append(tuple(image.shape[2:]))
        return super().extract(image, path, aux=aux)


@pytest.fixture
def seen() -> list[tuple[int, ...]]:
    _Watched.seen.clear()
    return _Watched.seen


# what it is made from


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize(
    "config", [STT, lite_config(), tdnet_config(paths=2)], ids=["stt", "lite", "td2"]
)
def test_the_checkpoint_is_never_changed(config: ModelConfig, precision: str) -> None:
    made = checkpoint(config)
    made.model.train()
    before = copy.deepcopy(made.model.state_dict())
    parts = [type(part) for part in made.model.modules()]
    options = {"key_frames": 1} if config == STT else {}
    network = _network(made, precision=precision, **options)
    _decoded_at(network, 1)
    assert made.model.config == config
    assert made.model.training
    assert [type(part) for part in made.model.modules()] == parts
    for name, weight in made.model.state_dict().items():
        assert weight.dtype == before[name].dtype
        assert torch.equal(weight, before[name]), name


@pytest.mark.parametrize(
    ("config", "number", "sentence"),
    [
        (STT, 10, "key_frames must be in 0..9"),
        (STT, -1, "key_frames must be in 0..9"),
        (pspnet_config(), 1, "reads no key frames: 1 cannot be had"),
        (lite_config(), 7, "reads no key frames: 7 cannot be had"),
        (tdnet_config(), 2, "always reads 3 past frames: 2 cannot be had"),
        (tdnet_config(paths=2), 0, "always reads 1 past frames: 0 cannot be had"),
    ],
)
def test_key_frames_that_cannot_be_had_are_refused(
    config: ModelConfig, number: int, sentence: str
) -> None:
    with pytest.raises(CheckpointError, match=sentence):
        _network(checkpoint(config), key_frames=number)


@pytest.mark.parametrize(
    ("config", "number"),
    [(STT, 9), (STT, 0), (pspnet_config(), 0), (tdnet_config(), 3), (tdnet_config(paths=2), 1)],
)
def test_key_frames_that_can_be_had_are_taken(config: ModelConfig, number: int) -> None:
    assert _network(checkpoint(config), key_frames=number).key_frames == number


# networks that take turns


TURNS = {
    "td4 psp18": tdnet_config(pspnet_config(dilation="tdnet")),
    "td2 lite": tdnet_config(lite_config(), paths=2),
}


@pytest.fixture(scope="module", params=TURNS)
def turns(request: pytest.FixtureRequest) -> Checkpoint:
    return checkpoint(TURNS[request.param])


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", images(11, SMALL))


def test_a_model_of_turns_finds_the_same_sought_and_played(turns: Checkpoint, clip: Path) -> None:
    with open_media(clip) as media:
        stream = Stream(_network(turns))
        played = [stream.push(media[i].image).segmentation for i in range(len(media))]
        engine = Engine(_network(turns), media, cache_bytes=1)
        for i in (7, 2, 10, 0, 3, 9, 4):
            found = engine.segment(i)
            assert (np.abs(found.confidence.astype(int) - played[i].confidence) <= 1).all()
            assert (found.labels == played[i].labels).mean() > 0.99
            assert not found.selected.any()
            assert not found.need.any()


def test_a_stream_that_starts_late_takes_the_turns_of_its_frames(
    turns: Checkpoint, clip: Path
) -> None:
    assert isinstance(turns.model.config, TdnetConfig)
    paths = turns.model.config.paths
    with open_media(clip) as media:
        frames = [media[i].image for i in range(len(media))]
    for start in (1, paths, 5):
        stream = Stream(_network(turns), start=start)
        alone = stream.push(frames[start]).decoded.logits
        x = to_network(frames[start], turns.header.preprocess, CPU)
        with torch.inference_mode():
            wanted = turns.model(x, start % paths).logits
            other = turns.model(x, (start + 1) % paths).logits
        torch.testing.assert_close(alone, wanted, rtol=1e-4, atol=1e-4)
        assert (alone - other).abs().max() > 0.01
        for i in range(start + 1, start + paths - 1):
            stream.remember(frames[i])
        late = stream.push(frames[start + paths - 1]).decoded.logits
        clip_at_once = torch.cat(
            [to_network(f, turns.header.preprocess, CPU) for f in frames[start : start + paths]]
        )
        with torch.inference_mode():
            wanted = turns.model(clip_at_once, (start + paths - 1) % paths).logits
        torch.testing.assert_close(late, wanted, rtol=1e-4, atol=1e-4)


def test_a_stream_begins_again_at_the_index_it_is_told(turns: Checkpoint) -> None:
    frames = images(3, SMALL)
    one, other = Stream(_network(turns)), Stream(_network(turns), start=5)
    for image in frames:
        one.push(image)
    one.reset(5)
    a, b = (s.push(frames[0]).decoded.logits for s in (one, other))
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def test_key_frames_out_of_turn_are_refused(turns: Checkpoint) -> None:
    network = _network(turns)
    image = images(1, SMALL)[0]
    current = network.encode(image, 4)
    with pytest.raises(ValueError, match="are the frames consecutive"):
        network.decode(current, [network.encode(image, 4)] * network.key_frames)


# without some of what it reads


@pytest.fixture(scope="module")
def inspected() -> tuple[Network, list[Encoded]]:
    """With all positions asking, so that none is chosen by rounding; and frames, newest first."""
    network = _network(checkpoint(stt_config(key_frames=3, query_ratio=1.0)))
    return network, [network.encode(image) for image in images(4, SMALL)][::-1]


def test_nothing_muted_is_the_plain_answer(inspected: tuple[Network, list[Encoded]]) -> None:
    network, (current, *past) = inspected
    plain = network.decode(current, past)
    muted = network.decode(current, past, Ablation())
    torch.testing.assert_close(plain.logits, muted.logits, rtol=1e-4, atol=1e-4)


def test_a_muted_oldest_frame_is_as_if_it_were_not_there(
    inspected: tuple[Network, list[Encoded]],
) -> None:
    network, (current, *past) = inspected
    muted = network.decode(current, past, Ablation(frames=frozenset({2}))).logits
    torch.testing.assert_close(muted, network.decode(current, past[:2]).logits)
    assert (muted - network.decode(current, past).logits).abs().max() > 1e-4


def test_all_heads_muted_are_all_frames_muted(inspected: tuple[Network, list[Encoded]]) -> None:
    network, (current, *past) = inspected
    deaf = network.decode(current, past, Ablation(heads=frozenset(range(4)))).logits
    blind = network.decode(current, past, Ablation(frames=frozenset(range(3)))).logits
    torch.testing.assert_close(deaf, blind)
    one = network.decode(current, past, Ablation(heads=frozenset({1}))).logits
    plain = network.decode(current, past).logits
    assert (one - plain).abs().max() > 1e-4
    assert not torch.equal(one, deaf)


def test_a_muted_key_changes_what_is_near_it_alone(
    inspected: tuple[Network, list[Encoded]],
) -> None:
    network, (current, *past) = inspected
    plain = network.decode(current, past).logits
    keyless = network.decode(current, past, Ablation(keys=frozenset({(0, 0, 0)}))).logits
    changed = ((plain - keyless).abs().amax(1)[0] > 1e-4).nonzero()
    assert len(changed)
    assert changed.max() <= 1  # half the window in the newest frame


@pytest.mark.parametrize("config", [pspnet_config(), tdnet_config(paths=2)], ids=["psp18", "td2"])
def test_nothing_can_be_muted_where_nothing_attends_sparsely(config: ModelConfig) -> None:
    network = _network(checkpoint(config))
    frames = [network.encode(image, i) for i, image in enumerate(images(2, SMALL))]
    with pytest.raises(CheckpointError, match="no sparse temporal attention"):
        network.decode(frames[1], frames[:1], Ablation(heads=frozenset({0})))
    with pytest.raises(CheckpointError, match="choose an STT model"):
        network.focus(frames[1], frames[:1], 0)


# where memory is short


def _full() -> torch.OutOfMemoryError:
    return torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


class _WideEncoder(PerFrame):
    """Its encoder has no room in fp32."""

    def extract(self, image: Tensor, path: int = 0, *, aux: bool = False) -> Extracted:
        if image.dtype == torch.float32:
            raise _full()
        return super().extract(image, path, aux=aux)


class _LongMemory(Stt):
    """With its second key frame there is no room any more in fp32."""

    def decode(self, current: Encoded, memory: Sequence[Encoded]) -> Decoded:
        if len(memory) > 1 and current.features.dtype == torch.float32:
            raise _full()
        return super().decode(current, memory)


class _Hopeless(PerFrame):
    """Has no room at all."""

    def extract(self, image: Tensor, path: int = 0, *, aux: bool = False) -> Extracted:
        raise _full()


class _FewQueries(SttBlock):
    """Has room for 256 queries at once."""

    def attend(
        self,
        rows: Tensor,
        positions: Tensor,
        memory: Sequence[Encoded],
        ablation: Ablation = NOTHING_MUTED,
    ) -> Tensor:
        if min(rows.shape[1], self.chunk) > 256:
            raise _full()
        return super().attend(rows, positions, memory, ablation)


def _subclass(made: Checkpoint, kind: type[VideoModel]) -> Checkpoint:
    """The same model, short of memory."""
    model = build_model(made.model.config)
    model.__class__ = kind
    model.load_state_dict(made.model.state_dict())
    return replace(made, model=model.eval())


def _with_block(made: Checkpoint, block: SttBlock) -> Checkpoint:
    model = copy.deepcopy(made.model)
    assert isinstance(model, Stt)
    block.load_state_dict(model.stt.state_dict())
    model.stt = block
    return replace(made, model=model.eval())


def test_without_room_for_fp32_it_goes_on_in_bf16() -> None:
    made = checkpoint(pspnet_config())
    image = images(1, SMALL)[0]
    network = _network(_subclass(made, _WideEncoder))
    found = _decoded(network, image)
    assert network.dtype == torch.bfloat16
    assert network.notes == ["the GPU's memory is full: computing in bf16"]
    _assert_close_in_bf16(found, _decoded(_network(made, precision="bf16"), image))
    _assert_close_in_bf16(found, _decoded(network, image))
    assert len(network.notes) == 1


@pytest.mark.usefixtures("fast_bf16")
@pytest.mark.parametrize("precision", ["auto", "bf16"])
def test_without_room_to_compare_with_fp32_bf16_is_taken_as_it_is(precision: str) -> None:
    made = checkpoint(pspnet_config())
    image = images(1, SMALL)[0]
    network = _network(_subclass(made, _WideEncoder), precision=precision)
    found = _decoded(network, image)
    assert network.dtype == torch.bfloat16
    assert network.agreement is None
    (note,) = network.notes
    assert "bf16" in note
    assert "memory" in note
    _assert_close_in_bf16(found, _decoded(_network(made, precision="bf16"), image))


def test_features_from_before_still_decode_in_bf16() -> None:
    made = checkpoint(stt_config(key_frames=4, query_ratio=1.0))
    frames = images(5, SMALL)
    network, plain = _network(_subclass(made, _LongMemory)), _network(made)
    newest_first = [network.encode(image) for image in frames][::-1]
    wanted = plain.decode(*_apart([plain.encode(image) for image in frames][::-1])).logits
    assert {e.features.dtype for e in newest_first} == {torch.float32}
    found = network.decode(*_apart(newest_first)).logits
    assert found.dtype == torch.bfloat16
    _assert_close_in_bf16(found, wanted)
    assert network.notes[-1] == "the GPU's memory is full: computing in bf16"


def _assert_close_in_bf16(found: Tensor, wanted: Tensor) -> None:
    assert found.dtype == torch.bfloat16
    assert (found.float() - wanted.float()).abs().max() < 0.05 * wanted.abs().max()


def _apart(newest_first: list[Encoded]) -> tuple[Encoded, list[Encoded]]:
    return newest_first[0], newest_first[1:]


def test_a_video_goes_on_where_memory_ran_out_on_the_way(clip: Path) -> None:
    made = checkpoint(stt_config(key_frames=3, query_ratio=1.0))
    with open_media(clip) as media:
        short = Engine(_network(_subclass(made, _LongMemory)), media)
        plain = Engine(_network(made), media)
        for i in (0, 1, 2, 5, 3, 1):
            found, wanted = short.segment(i).labels, plain.segment(i).labels
            if i < 2 and short.network.dtype == torch.float32:
                assert (found == wanted).mean() > 0.99
            else:
                assert (found == wanted).mean() > 0.9
    assert short.network.dtype == torch.bfloat16


@pytest.mark.parametrize("insert", ["bottleneck", "backbone"])
def test_without_room_for_all_queries_they_attend_in_smaller_pieces(insert: str) -> None:
    made = checkpoint(stt_config(lite_config(), key_frames=2, insert=insert, query_ratio=1.0))
    block = _FewQueries(stt_config(lite_config(), key_frames=2, insert=insert))
    image = images(1, (240, 320) if insert == "backbone" else (160, 200))[0]
    network, plain = _network(_with_block(made, block)), _network(made)
    found, wanted = _decoded(network, image), _decoded(plain, image)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)
    assert network.dtype == torch.float32
    assert network.notes == ["the GPU's memory is full: attention goes in smaller pieces"]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_without_any_room_it_says_what_to_do(precision: str) -> None:
    network = _network(_subclass(checkpoint(pspnet_config()), _Hopeless), precision=precision)
    for _ in range(2):
        with pytest.raises(DeviceError, match=r"too little memory.*--device cpu") as raised:
            network.encode(images(1, SMALL)[0])
        assert "even in bf16" in str(raised.value)
        assert isinstance(raised.value.__cause__, torch.OutOfMemoryError)


class _OnFullGpu(Tensor):
    """Logits that can be fetched, but not enlarged where they are."""

    def float(self) -> Tensor:  # type: ignore[override]
        raise _full()

    def cpu(self) -> Tensor:  # type: ignore[override]
        return self.as_subclass(Tensor)


def test_label_maps_that_do_not_fit_are_enlarged_elsewhere() -> None:
    network = _network(checkpoint(pspnet_config()))
    decoded = network.decode(network.encode(images(1, SMALL)[0]), [])
    wanted = network.finish(decoded, SMALL)
    kept = decoded._replace(logits=decoded.logits.as_subclass(_OnFullGpu))
    for _ in range(2):
        found = network.finish(kept, SMALL)
        np.testing.assert_array_equal(found.labels, wanted.labels)
        np.testing.assert_array_equal(found.confidence, wanted.confidence)
    assert network.notes == ["the GPU's memory is full: label maps are enlarged on the CPU"]
