"""What would be, against dense attention that really lacks it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from stt_core.engine import Engine, Reading, run
from stt_core.errors import CheckpointError
from stt_core.inspection.change import Change, KeyBox
from stt_core.inspection.counterfactual import all_single_ablations, counterfactual, whole_frame
from stt_core.inspection.places import Cell, Pixel
from stt_core.model.attention.ops import Ablation
from stt_core.network import Network
from tests.core.inspection.scene import (
    ByHand,
    a_selected,
    an_unselected,
    engine_on,
    focus_weights,
    reading,
    run_all,
    softmax,
)
from tests.core.models import checkpoint, pspnet_config

FRAME = 6
CHANGES = [
    Change(),
    Change(heads=frozenset({1})),
    Change(frames=frozenset({0})),
    Change(keys=frozenset({(0, 2, 2), (1, 3, 3), (1, 3, 4)})),
    Change(boxes=(KeyBox(1, 0, 0, 5, 6),), heads=frozenset({3})),
    Change(pairs=frozenset({(0, 0), (0, 1), (2, 1)}), keys=frozenset({(0, 3, 3)})),
    Change(heads=frozenset({0, 1, 2, 3})),
    Change(frames=frozenset({0, 1, 2})),
    Change(swaps=((1, 8), (0, 0)), frames=frozenset({2})),
]


def _allowed(hands: ByHand, read: Reading, change: Change) -> Tensor:
    """Who may read what, ``[N, H, F, N]``, said key by key."""
    allowed = hands.windows(read)
    rows, cols = read.current.size
    for head in change.heads:
        allowed[:, head] = False
    for lag in change.frames:
        if lag < allowed.shape[2]:
            allowed[:, :, lag] = False
    for head, lag in change.pairs:
        allowed[:, head, lag] = False
    boxes = [(b.lag, y, x) for b in change.boxes for y in range(b.top, b.bottom)
             for x in range(b.left, b.right)]  # fmt: skip
    for lag, y, x in {*change.keys, *boxes}:
        if y < rows and x < cols:
            allowed[:, :, lag, y * cols + x] = False
    return allowed


def _swapped(hands: ByHand, read: Reading, change: Change) -> Reading:
    memory = list(read.memory)
    media, network = hands.engine.media, hands.engine.network
    for lag, frame in change.swaps:
        memory[lag] = network.encode(media[frame].image, frame)
    return Reading(read.frame, read.frames, read.current, tuple(memory), read.decoded)


def _asking(read: Reading) -> np.ndarray:
    return read.decoded.queries[0].numpy()


def _at(logits: Tensor, cell: Cell, grid: tuple[int, int]) -> np.ndarray:
    y, x = cell.row * logits.shape[1] // grid[0], cell.col * logits.shape[2] // grid[1]
    return softmax(logits[:, y, x])


@pytest.mark.parametrize("change", CHANGES, ids=repr)
def test_a_query_reads_as_if_what_is_changed_were_so(hands: ByHand, change: Change) -> None:
    """The others of its frame read as ever."""
    cell = a_selected(hands.engine, FRAME)
    found = run(counterfactual(hands.engine, cell, change))
    read = reading(hands.engine, FRAME)
    grid, asking = read.current.size, _asking(read)
    position = cell.row * grid[1] + cell.col
    usual = hands.attended(read, hands.windows(read))
    before = hands.logits(read, usual, asking)
    np.testing.assert_allclose(found.before, _at(before, cell, grid), atol=2e-5)
    other = _swapped(hands, read, change)
    allowed = _allowed(hands, read, change)
    attended = usual.clone()
    attended[position] = hands.attended(other, allowed)[position]
    after = hands.logits(read, attended, asking)
    np.testing.assert_allclose(found.after, _at(after, cell, grid), atol=2e-5)
    weights = hands.weights(other, allowed)[position].unflatten(2, grid)
    np.testing.assert_allclose(found.weights, weights.numpy(), atol=1e-5)
    assert found.frames == change.swapped(read.frames)
    assert found.query.attends
    assert not found.query.forced


def test_what_is_left_is_renormalised_and_a_muted_head_reads_nothing(engine: Engine) -> None:
    change = Change(heads=frozenset({2}), frames=frozenset({0}))
    found = run(counterfactual(engine, a_selected(engine, FRAME), change))
    np.testing.assert_allclose(found.weights.sum((1, 2, 3)), [1, 1, 0, 1], atol=1e-6)
    assert not found.weights[:, 0].any()


def test_it_agrees_with_what_the_engine_shows_of_the_same_pixel(engine: Engine) -> None:
    cell = a_selected(engine, FRAME)
    pixel = Pixel(FRAME, cell.col * 8 + 3, cell.row * 8 + 7)
    look = engine.look_back(FRAME, pixel.x, pixel.y)
    found = run(counterfactual(engine, pixel, Change()))
    np.testing.assert_allclose(found.before, look.probabilities, atol=1e-6)
    np.testing.assert_allclose(found.weights, look.weights, atol=1e-6)
    query = found.query
    assert (query.row, query.col, query.box, query.frames, query.radii) == (
        look.row, look.col, look.box, look.frames, look.radii,
    )  # fmt: skip


def test_who_was_not_selected_loses_nothing_unless_it_is_made_to_attend(hands: ByHand) -> None:
    cell, engine = an_unselected(hands.engine, FRAME), hands.engine
    change = Change(frames=frozenset({0}))
    read = reading(engine, FRAME)
    passed = run(counterfactual(engine, cell, change))
    assert not passed.query.attends
    np.testing.assert_array_equal(passed.before, passed.after)
    shown = _at(read.decoded.logits[0], cell, read.current.size)
    np.testing.assert_allclose(passed.before, shown, atol=1e-6)
    forced = run(counterfactual(engine, cell, change, force=True))
    assert forced.query.forced
    position = cell.row * read.current.size[1] + cell.col
    with torch.no_grad():
        focus = engine.network.focus(read.current, read.memory, position)
    np.testing.assert_allclose(forced.before, softmax(focus.logits), atol=2e-5)
    assert np.abs(forced.before - forced.after).max() > 1e-6
    assert run(all_single_ablations(engine, cell)).rows == ()


def test_the_first_frame_has_nothing_to_lose(engine: Engine) -> None:
    found = run(counterfactual(engine, Cell(0, 3, 3), Change(frames=frozenset({0})), force=True))
    assert not found.query.attends
    np.testing.assert_array_equal(found.before, found.after)
    frame = run(whole_frame(engine, 0, Change(heads=frozenset({0}))))
    assert not frame.changed.any()


def test_every_single_ablation_is_there_and_is_what_muting_it_does(engine: Engine) -> None:
    cell = a_selected(engine, FRAME)
    found = run(all_single_ablations(engine, cell))
    assert len(found.rows) == 4 + 3 + 4 * 3
    assert len({(row.head, row.lag) for row in found.rows}) == len(found.rows)
    changes = [row.change for row in found.rows]
    assert changes == sorted(changes)
    winner = int(found.before.argmax())
    for row in found.rows:
        if row.head is None:
            assert row.lag is not None
            change = Change(frames=frozenset({row.lag}))
        elif row.lag is None:
            change = Change(heads=frozenset({row.head}))
        else:
            change = Change(pairs=frozenset({(row.head, row.lag)}))
        one = run(counterfactual(engine, cell, change))
        assert row.change == pytest.approx(one.after[winner] - one.before[winner], abs=1e-6)
        assert row.winner == one.after.argmax()


def test_behind_the_backbone_single_ablations_pause_after_each(backbone: Engine) -> None:
    cell = a_selected(backbone, FRAME)
    count = 4 + 2 + 4 * 2
    assert run_all(all_single_ablations(backbone, cell)) >= count
    rows = run(all_single_ablations(backbone, cell)).rows
    assert len(rows) == count
    whole = run(counterfactual(backbone, cell, Change(heads=frozenset({1}))))
    own = next(row for row in rows if (row.head, row.lag) == (1, None))
    winner = whole.before.argmax()
    assert own.change == pytest.approx(whole.after[winner] - whole.before[winner], abs=1e-6)


@pytest.mark.parametrize("change", CHANGES, ids=repr)
def test_a_whole_frame_reads_as_if_what_is_changed_were_so(hands: ByHand, change: Change) -> None:
    found = run(whole_frame(hands.engine, FRAME, change))
    read = reading(hands.engine, FRAME)
    attended = hands.attended(_swapped(hands, read, change), _allowed(hands, read, change))
    logits = hands.logits(read, attended, _asking(read))
    full = torch.nn.functional.interpolate(
        logits[None],
        found.labels.shape,
        mode="bilinear",
        align_corners=hands.config.per_frame.align_corners,
    )[0]
    best = full.topk(2, 0).values
    clear = (best[0] - best[1] > 1e-3).numpy()
    assert clear.mean() > 0.95
    np.testing.assert_array_equal(found.labels[clear], full.argmax(0).numpy()[clear])
    np.testing.assert_array_equal(found.before, hands.engine.segment(FRAME).labels)
    np.testing.assert_array_equal(found.changed, found.before != found.labels)


def test_a_whole_frame_without_a_head_is_the_models_own_ablation(engine: Engine) -> None:
    read = reading(engine, FRAME)
    ablation = Ablation(heads=frozenset({0, 2}), frames=frozenset({1}))
    decoded = engine.network.decode(read.current, read.memory, ablation)
    theirs = engine.network.finish(decoded, read.size).labels
    change = Change(heads=ablation.heads, frames=ablation.frames)
    found = run(whole_frame(engine, FRAME, change))
    assert (found.labels == theirs).mean() > 0.999
    assert found.changed.any()
    assert not run(whole_frame(engine, FRAME, Change())).changed.any()


def test_what_cannot_be_asked_is_refused(engine: Engine, clip: object) -> None:
    cell = a_selected(engine, FRAME)
    with pytest.raises(ValueError, match="there are 4 heads"):
        run(counterfactual(engine, cell, Change(heads=frozenset({4}))))
    with pytest.raises(ValueError, match="there are 4 heads"):
        run(whole_frame(engine, FRAME, Change(pairs=frozenset({(-1, 0)}))))
    with pytest.raises(IndexError, match="there is no frame 99: the medium has 9"):
        run(counterfactual(engine, cell, Change(swaps=((0, 99),))))
    with pytest.raises(IndexError, match="outside the 96x64 image"):
        run(counterfactual(engine, Pixel(FRAME, 96, 0), Change()))
    plain = Engine(Network(checkpoint(pspnet_config()), device="cpu"), engine.media)
    for act in (
        counterfactual(plain, cell, Change()),
        all_single_ablations(plain, cell),
        whole_frame(plain, FRAME, Change()),
    ):
        with pytest.raises(CheckpointError, match="no sparse temporal attention"):
            run(act)  # type: ignore[arg-type]


def test_an_unselected_position_of_a_coarse_map_has_the_probabilities_of_its_place(
    backbone: Engine,
) -> None:
    """Where logits are finer than the map that attends."""
    read = reading(backbone, FRAME)
    logits = read.decoded.logits[0]
    assert logits.shape[1] == 2 * read.current.size[0]
    cell = an_unselected(backbone, FRAME, number=-1)
    scale = read.size[0] // read.current.size[0]
    look = backbone.look_back(FRAME, cell.col * scale, cell.row * scale)
    assert not look.selected
    np.testing.assert_allclose(
        look.probabilities, softmax(logits[:, 2 * cell.row, 2 * cell.col]), atol=1e-6
    )


def test_each_position_by_itself_has_the_weights_of_all_together(engine: Engine) -> None:
    cell = a_selected(engine, FRAME, number=20)
    found = run(counterfactual(engine, cell, Change()))
    np.testing.assert_allclose(found.weights, focus_weights(engine, cell), atol=1e-6)


def test_a_change_of_size_of_the_chunk_changes_nothing(engine: Engine, clip: object) -> None:
    change = CHANGES[5]
    whole = run(whole_frame(engine, FRAME, change)).labels
    short = engine_on(engine.media.path, engine.network.config)  # type: ignore[arg-type]
    short.network.examine(lambda model: setattr(model.stt, "chunk", 7))
    assert (run(whole_frame(short, FRAME, change)).labels == whole).mean() > 0.999
