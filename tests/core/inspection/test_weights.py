"""Faithfulness, who looked at me, threads and head cards, against weights taken one by one."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from stt_core.engine import Engine, run
from stt_core.errors import CheckpointError
from stt_core.inspection.faithfulness import faithfulness
from stt_core.inspection.head_cards import head_cards
from stt_core.inspection.looked_at import who_looked_at_me
from stt_core.inspection.places import Cell, Pixel
from stt_core.inspection.thread import attention_thread
from stt_core.model.attention.ops import Ablation
from stt_core.network import Network
from tests.core.inspection.scene import (
    CONFIGS,
    FRAMES,
    GRID,
    SHIFT,
    SIZE,
    ByHand,
    a_selected,
    an_unselected,
    classes_of,
    engine_on,
    focus_weights,
    pictures,
    reading,
    run_all,
    softmax,
    write_frames,
)
from tests.core.models import checkpoint, pspnet_config

FRAME = 6

# faithfulness


def _probability(engine: Engine, cell: Cell, keys: list[tuple[int, int, int]]) -> NDArray:
    read = reading(engine, cell.frame)
    position = cell.row * GRID[1] + cell.col
    ablation = Ablation(keys=frozenset(keys))
    return softmax(engine.network.focus(read.current, read.memory, position, ablation).logits)


def test_a_drop_is_what_muting_the_strongest_keys_does(engine: Engine) -> None:
    cell = a_selected(engine, FRAME)
    found = run(faithfulness(engine, cell, ks=(1, 4, 30), draws=3))
    mean = focus_weights(engine, cell).mean(0)
    order = np.argsort(-mean, axis=None)
    before = _probability(engine, cell, [])
    assert found.class_id == before.argmax()
    assert found.probability == pytest.approx(before.max(), abs=1e-5)
    for drops in found.drops:
        top = [tuple(np.unravel_index(i, mean.shape)) for i in order[: drops.k]]
        keys = [(int(lag), int(y), int(x)) for lag, y, x in top]
        after = _probability(engine, cell, keys)[found.class_id]
        assert drops.top == pytest.approx(before.max() - after, abs=1e-5)
        assert drops.share == pytest.approx(sum(mean[key] for key in keys), abs=1e-5)
        assert drops.muted == drops.k
        assert len(drops.random) == 3
        assert drops.random_mean == pytest.approx(sum(drops.random) / 3)
        assert drops.random_spread == pytest.approx(np.std(drops.random))


def test_without_all_keys_top_and_random_are_the_same(engine: Engine) -> None:
    cell = a_selected(engine, FRAME)
    found = run(faithfulness(engine, cell, ks=(1000,), draws=2))
    (drops,) = found.drops
    assert drops.muted == found.keys == (focus_weights(engine, cell)[0] > 0).sum()
    assert drops.share == pytest.approx(1, abs=1e-5)
    assert drops.random == pytest.approx((drops.top, drops.top), abs=1e-6)
    read = reading(engine, FRAME)
    position = cell.row * GRID[1] + cell.col
    nothing = Ablation(frames=frozenset({0, 1, 2}))
    bare = softmax(engine.network.focus(read.current, read.memory, position, nothing).logits)
    assert drops.top == pytest.approx(found.probability - bare[found.class_id], abs=1e-5)


def test_random_keys_go_by_the_seed_and_k_alone(engine: Engine) -> None:
    cell = a_selected(engine, FRAME)
    one = run(faithfulness(engine, cell, ks=(5, 9), draws=4, seed=3))
    alone = run(faithfulness(engine, cell, ks=(9,), draws=4, seed=3))
    other = run(faithfulness(engine, cell, ks=(9,), draws=4, seed=4))
    assert one.drops[1].random == pytest.approx(alone.drops[0].random, abs=1e-6)
    assert alone.drops[0].random != pytest.approx(other.drops[0].random, abs=1e-6)


def test_faithfulness_asks_about_the_class_it_is_told(hands: ByHand) -> None:
    cell = a_selected(hands.engine, FRAME)
    own = run(faithfulness(hands.engine, cell, ks=(8,), draws=2))
    lost = [
        run(faithfulness(hands.engine, cell, ks=(8,), draws=2, class_id=c)).drops[0].top
        for c in range(11)
    ]
    assert sum(lost) == pytest.approx(0, abs=1e-5)  # probabilities before and after sum to 1
    assert lost[own.class_id] == pytest.approx(own.drops[0].top, abs=1e-6)
    assert max(abs(x) for x in lost) > 1e-6
    cell = an_unselected(hands.engine, FRAME)
    assert run(faithfulness(hands.engine, cell)).drops == ()
    assert len(run(faithfulness(hands.engine, cell, ks=(2,), force=True)).drops) == 1


@pytest.mark.parametrize(
    "wrong", [{"ks": (0,)}, {"draws": 0}, {"seed": -1}, {"class_id": 11}, {"class_id": -1}]
)
def test_faithfulness_refuses_what_makes_no_sense(engine: Engine, wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="got"):
        run(faithfulness(engine, Cell(FRAME, 2, 2), **wrong))  # type: ignore[arg-type]


# who looked at me


@pytest.mark.parametrize("place", [Cell(4, 3, 5), Cell(4, 0, 0), Cell(7, 2, 4)], ids=repr)
def test_who_looked_is_every_later_query_with_weight_here(hands: ByHand, place: Cell) -> None:
    engine = hands.engine
    grid = reading(engine, place.frame).current.size
    if place.row >= grid[0] or place.col >= grid[1]:
        pytest.skip("the map is coarser")
    found = run(who_looked_at_me(engine, place))
    spacing, count = engine.network.key_spacing, engine.network.key_frames
    later = [f for n in range(1, count + 1) if (f := place.frame + n * spacing) < FRAMES]
    assert [each.frame for each in found.later] == later
    every = {}
    for each in found.later:
        read = reading(engine, each.frame)
        lag = read.frames.index(place.frame)
        assert each.lag == lag
        expected = np.zeros((4, *grid), np.float32)
        asking = hands.weights(read, hands.windows(read)).unflatten(3, grid)
        for position in read.decoded.queries[0].tolist():
            row, col = divmod(position, grid[1])
            expected[:, row, col] = asking[position][:, lag, place.row, place.col]
            every[each.frame, row, col] = expected[:, row, col].mean()
        np.testing.assert_allclose(each.weights, expected, atol=1e-5)
        assert (each.weights.sum(0) > 0).sum() <= each.queries
    assert bool(found.strongest) == bool(later)
    best = sorted(every.values(), reverse=True)[: len(found.strongest)]
    np.testing.assert_allclose([s.weight for s in found.strongest], best, atol=1e-5)
    for s in found.strongest:
        assert s.weight == pytest.approx(every[s.frame, s.row, s.col], abs=1e-5)
        assert s.per_head.mean() == pytest.approx(s.weight, abs=1e-6)
        assert s.class_id == classes_of(engine, s.frame)[s.row, s.col]


def test_nobody_looks_at_the_last_frame_nor_across_a_cut(engine: Engine, tmp_path: Path) -> None:
    assert run(who_looked_at_me(engine, Cell(FRAMES - 1, 3, 3))).later == ()
    frames = pictures()
    dark = [np.ascontiguousarray(255 - f[::-1]) // 3 for f in frames]
    cut = write_frames(tmp_path / "cut", [*frames[:4], *dark[:4]])
    minding = engine_on(cut, CONFIGS["dot"], cuts=True)
    assert [each.frame for each in run(who_looked_at_me(minding, Cell(2, 3, 3))).later] == [3]
    careless = engine_on(cut, CONFIGS["dot"])
    assert len(run(who_looked_at_me(careless, Cell(2, 3, 3))).later) == 3
    assert len(run(who_looked_at_me(careless, Cell(2, 3, 3), strongest=2)).strongest) == 2


# threads


@pytest.mark.parametrize("head", [None, 2])
def test_a_thread_goes_from_strongest_key_to_strongest_key(
    engine: Engine, head: int | None
) -> None:
    start = a_selected(engine, 8)
    found = run(attention_thread(engine, start, steps=4, head=head))
    cell = start
    for point, following in zip(found.points, found.points[1:], strict=False):
        assert (point.frame, point.row, point.col) == (cell.frame, cell.row, cell.col)
        weights = focus_weights(engine, cell)
        strength = weights.mean(0) if head is None else weights[head]
        lag, row, col = np.unravel_index(strength.argmax(), strength.shape)
        cell = Cell(reading(engine, cell.frame).frames[lag], int(row), int(col))
        assert (following.frame, following.row, following.col) == (cell.frame, row, col)
        assert following.weight == pytest.approx(strength.max(), abs=1e-6)
    for point in found.points:
        prediction = engine.segment(point.frame)
        assert point.selected == prediction.selected[point.row, point.col]
        assert point.class_id == classes_of(engine, point.frame)[point.row, point.col]
        assert (point.x, point.y) == (8 * point.col + 3.5, 8 * point.row + 3.5)
    assert math.isnan(found.points[0].weight)
    assert len(found.points) == 5 or "no earlier frame" in found.ended


def test_beside_it_runs_the_track_of_the_same_point(engine: Engine) -> None:
    found = run(attention_thread(engine, Pixel(8, 60, 30), steps=2))
    for point in found.points:
        moved = SHIFT * (8 - point.frame)
        assert point.track_x == pytest.approx(60 - moved, abs=0.5)
        assert point.track_y == pytest.approx(30, abs=0.5)
        there = classes_of(engine, point.frame)
        row, col = round(point.track_y) // 8, round(point.track_x) // 8
        assert point.track_class_id == there[row, col]
        away = math.dist((point.x, point.y), (point.track_x, point.track_y))
        assert point.distance == pytest.approx(away)
    assert found.ended == "2 steps were asked for"


def test_a_track_that_leaves_the_image_is_lost(engine: Engine) -> None:
    found = run(attention_thread(engine, Pixel(8, 0, 30), steps=2))
    assert found.points[0].track_x == 0
    last = found.points[-1]
    assert math.isnan(last.track_x)
    assert math.isnan(last.distance)
    assert last.track_class_id is None


def test_a_thread_ends_where_nobody_looks_back(engine: Engine) -> None:
    found = run(attention_thread(engine, a_selected(engine, 4), steps=50))
    assert found.points[-1].frame == 0
    assert found.ended.startswith("there is no earlier frame")
    passed = an_unselected(engine, FRAME)
    short = run(attention_thread(engine, passed, force=False))
    assert len(short.points) == 1
    assert short.ended.startswith("this position was not selected")
    assert len(run(attention_thread(engine, passed, steps=1)).points) == 2
    assert len(run(attention_thread(engine, passed, steps=0)).points) == 1
    with pytest.raises(ValueError, match="head below 4"):
        run(attention_thread(engine, passed, head=4))


# head cards


def test_head_cards_are_means_over_the_queries(hands: ByHand) -> None:
    engine = hands.engine
    frames = (0, 5, 6)
    found = run(head_cards(engine, frames, queries=10_000))
    sums: list[list[tuple[float, ...]]] = [[] for _ in range(4)]
    count = 0
    for frame in frames:
        read = reading(engine, frame)
        if not read.memory:
            continue
        grid = read.current.size
        scale = SIZE[0] / grid[0]
        own, theirs = classes_of(engine, frame), [classes_of(engine, f) for f in read.frames]
        dense = hands.weights(read, hands.windows(read)).unflatten(3, grid).numpy()
        for position in read.decoded.queries[0].tolist():
            count += 1
            row, col = divmod(position, grid[1])
            for head in range(4):
                frame_reach = pixel_reach = entropy = same = 0.0
                keys = 0
                for (lag, y, x), w in np.ndenumerate(dense[position, head]):
                    if w <= 0:
                        continue
                    keys += 1
                    frame_reach += w * (frame - read.frames[lag])
                    pixel_reach += w * scale * math.hypot(y - row, x - col)
                    entropy -= w * math.log(w)
                    same += w * (theirs[lag][y, x] == own[row, col])
                share = entropy / math.log(keys)
                sums[head].append((frame_reach, pixel_reach, entropy, share, same))
    assert found.queries == count
    assert found.frames == frames
    for card in found.cards:
        expected = np.mean(sums[card.head], 0)
        got = (card.reach_frames, card.reach_pixels, card.entropy, card.entropy_share)
        np.testing.assert_allclose((*got, card.same_class), expected, rtol=2e-4)


def test_a_sample_is_drawn_by_its_seed_from_each_frame(engine: Engine) -> None:
    one = run(head_cards(engine, range(4, 8), queries=3, seed=1))
    again = run(head_cards(engine, [7, 6, 5, 4, 4], queries=3, seed=1))
    other = run(head_cards(engine, range(4, 8), queries=3, seed=2))
    assert one == again
    assert one.queries == 12
    assert one.cards != other.cards
    nobody = run(head_cards(engine, [0]))
    assert nobody.queries == 0
    assert all(math.isnan(card.entropy) for card in nobody.cards)
    with pytest.raises(ValueError, match="queries must be at least 1"):
        run(head_cards(engine, [4], queries=0))


def test_the_acts_pause_and_can_be_dropped(clip: Path) -> None:
    fresh = engine_on(clip, CONFIGS["dot"])
    steps = head_cards(fresh, range(9))
    next(steps)
    steps.close()
    assert run_all(head_cards(fresh, range(9))) > 9
    assert run_all(who_looked_at_me(fresh, Cell(3, 3, 3))) >= 3
    assert run_all(attention_thread(fresh, Cell(8, 3, 3), steps=3)) >= 3


def test_models_without_attention_are_refused(engine: Engine) -> None:
    plain = Engine(Network(checkpoint(pspnet_config()), device="cpu"), engine.media)
    for act in (
        faithfulness(plain, Cell(3, 3, 3)),
        who_looked_at_me(plain, Cell(3, 3, 3)),
        attention_thread(plain, Cell(3, 3, 3)),
        head_cards(plain, [3]),
    ):
        with pytest.raises(CheckpointError, match="choose an STT model"):
            run(act)  # type: ignore[arg-type]
