"""What the speed protocol times and counts; how long anything takes is not asserted."""

from __future__ import annotations

from dataclasses import replace
from statistics import mean, median

import psutil
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stt_core.checkpoint import Checkpoint
from stt_core.config import ModelConfig, Preprocess, PspNetConfig, SttConfig
from stt_core.engine import run
from stt_core.evaluation.multiply_adds import (
    block_multiply_adds,
    keys_per_query,
    multiply_adds,
)
from stt_core.evaluation.speed import (
    Speed,
    count_steps,
    frame_times,
    high_water,
    measure_speed,
)
from stt_core.network import Network
from tests.core.models import (
    checkpoint,
    images,
    lite_config,
    pspnet_config,
    stt_config,
    tdnet_config,
)

SIZE = (96, 64)
FULL = PspNetConfig(num_classes=19)
TDNET_STYLE = PspNetConfig(num_classes=19, dilation="tdnet", width=128, aux_width=64)


def network(config: ModelConfig | None = None) -> Network:
    return Network(checkpoint(config or stt_config(lite_config())), device="cpu", precision="fp32")


def measured(net: Network, frames: int = 3, warm_up: int = 2) -> Speed:
    return run(measure_speed(net, images(3), size=SIZE, frames=frames, warm_up=warm_up))


@given(st.lists(st.floats(0.01, 1e5), min_size=1, max_size=50))
def test_figures_of_times_are_what_their_names_say(times: list[float]) -> None:
    found = frame_times(times)
    assert found.mean == pytest.approx(mean(times))
    assert found.median == pytest.approx(median(times))
    assert found.max == max(times)
    assert found.p95 <= found.max
    assert sum(t <= found.p95 * (1 + 1e-9) for t in times) >= 0.95 * (len(times) - 1)
    assert found.fps == pytest.approx(1000 / mean(times))


@pytest.mark.parametrize(
    ("config", "key_frames"),
    [
        (lite_config(), 0),
        (stt_config(lite_config()), 7),
        (stt_config(lite_config(), key_frames=3, key_spacing=2), 3),
        (tdnet_config(lite_config()), 3),
    ],
    ids=["per frame", "stt", "spaced", "tdnet"],
)
def test_speed_tells_what_it_was_measured_on(config: ModelConfig, key_frames: int) -> None:
    net = network(config)
    found = measured(net)
    assert (found.size, found.precision, found.key_frames) == (SIZE, "fp32", key_frames)
    assert found.device.startswith("cpu (")
    assert found.frames == 3
    for times in (found.steady, found.first):
        assert 0 < times.median <= times.max
        assert 0 < times.mean <= times.max
        assert times.p95 <= times.max
    assert found.peak_of == "process"
    assert found.peak_bytes > 50e6  # torch alone is larger
    assert found.multiply_adds == multiply_adds(config, SIZE[::-1])


@pytest.mark.parametrize(("warm_up", "steps"), [(2, 7 + 3), (20, 20 + 3)])
def test_frames_are_timed_once_the_ring_is_full(warm_up: int, steps: int) -> None:
    made, decoded = checkpoint(stt_config(lite_config())), []
    hook = made.model.stt.o_proj.register_forward_hook  # type: ignore[union-attr, operator]
    hook(lambda *_: decoded.append(1))
    net = Network(made, device="cpu", precision="fp32")
    told = list(measure_speed(net, images(2), size=SIZE, frames=3, warm_up=warm_up))
    assert told == [*range(1, steps + 1)]
    assert count_steps(net, 3, warm_up) == steps
    assert len(decoded) == steps - 1  # the block reads the past in all but first frames


def test_the_size_told_is_that_of_the_networks_input() -> None:
    made = checkpoint(lite_config())
    header = replace(made.header, preprocess=Preprocess(short_side=32))
    net = Network(Checkpoint(header, made.model), device="cpu", precision="fp32")
    assert measured(net).size == (48, 32)


def test_speed_needs_images_and_frames() -> None:
    net = network()
    for wrong in ({"frames": 0}, {"warm_up": -1}):
        with pytest.raises(ValueError, match="speed needs images"):
            measured(net, **wrong)
    with pytest.raises(ValueError, match="got 0 images"):
        next(measure_speed(net, [], size=SIZE))


def test_the_high_water_mark_is_at_least_what_is_held_now() -> None:
    assert high_water() >= 0.9 * psutil.Process().memory_info().rss


# multiply-adds, against the figures of the method's sections 1.7 and 6


@pytest.mark.parametrize(
    ("config", "giga"), [(FULL, 462.5), (TDNET_STYLE, 423.8)], ids=["etc", "tdnet"]
)
def test_pspnet18_costs_what_the_method_says(config: PspNetConfig, giga: float) -> None:
    counted = multiply_adds(config, (1024, 2048))
    assert counted.first / 1e9 == pytest.approx(giga, abs=0.1)
    assert counted.steady == counted.first


def test_the_block_costs_what_the_method_says() -> None:
    """19.5 G at width 256 with the projections of every frame, 6.0 G at width 128."""
    for config, giga in ((FULL, 19.5), (TDNET_STYLE, 6.0)):
        block = multiply_adds(SttConfig(per_frame=config), (1024, 2048))
        alone = multiply_adds(config, (1024, 2048))
        assert (block.steady - alone.steady) / 1e9 == pytest.approx(giga, abs=0.1)
        kept = block.first - alone.first
        assert kept == 2 * 128 * 256 * config.width**2  # keys and values of every position


@pytest.mark.parametrize(
    ("positions", "attention", "selection"),
    [(32768, 3.41, 1.02), (10800, 1.13, 0.33), (9216, 0.96, 0.29), (6400, 0.67, 0.20)],
)
def test_attention_and_selection_cost_what_the_method_says(
    positions: int, attention: float, selection: float
) -> None:
    stt, half, d = SttConfig(per_frame=FULL), positions // 2, 256
    block = block_multiply_adds(stt, positions)
    wide = block_multiply_adds(replace(stt, neighbour_radius=1), positions)
    assert (block - wide) / 1e9 == pytest.approx(selection * (121 - 9) / 121, abs=0.01)
    rest = wide - 9 * positions * d - 2 * half * d * d - 8 * half * d * d
    assert rest / 1e9 == pytest.approx(attention, abs=0.01)


def test_without_key_frames_or_past_the_block_costs_its_projections_alone() -> None:
    stt = SttConfig(per_frame=FULL, key_frames=0)
    counted = multiply_adds(stt, (64, 96))
    assert counted.first == counted.steady
    assert block_multiply_adds(stt, 96) == 0
    assert multiply_adds(SttConfig(per_frame=FULL), (64, 96)).first == counted.first


def test_the_block_costs_the_same_wherever_it_is_put() -> None:
    for insert in ("bottleneck", "backbone"):
        counted = multiply_adds(SttConfig(per_frame=FULL, insert=insert), (64, 96))
        assert counted.steady - counted.first == block_multiply_adds(stt_config(FULL, heads=8), 96)


def test_tdnet_with_its_memory_costs_more_than_a_first_frame() -> None:
    config = tdnet_config(TDNET_STYLE, key_width=64, value_width=512)
    counted = multiply_adds(config, (769, 1537))
    # 242.5 G without the products of attention, which the method leaves out
    low, full = (25 * 49, 97 * 193)
    products = (2 * low * low + full * low) * (64 + 512)
    assert (counted.steady - products) / 1e9 == pytest.approx(242.5, abs=0.5)
    assert counted.first < counted.steady


def test_counting_needs_neither_weights_nor_memory() -> None:
    before = torch.get_rng_state()
    multiply_adds(stt_config(pspnet_config(backbone="resnet101", width=512)), (1024, 2048))
    assert torch.equal(before, torch.get_rng_state())


def test_keys_per_query_are_the_sums_of_the_windows() -> None:
    keys = [keys_per_query(stt_config(key_frames=t)) for t in range(10)]
    assert keys == [0, 9, 34, 83, 164, 245, 326, 407, 488, 569]
    assert keys_per_query(stt_config(start_radius=0, end_radius=0)) == 7
    assert keys_per_query(stt_config(key_frames=2, start_radius=2, end_radius=9)) == 25 + 49
