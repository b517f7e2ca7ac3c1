"""Why a box is wrong, what selection does, and lists of keys, counted one by one."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from stt_core.config import SttConfig
from stt_core.engine import Engine, run
from stt_core.errors import CheckpointError
from stt_core.inspection.asking import class_maps
from stt_core.inspection.places import Pixel, cell_of
from stt_core.inspection.selection import boundaries, selection_facts
from stt_core.inspection.top_keys import joint, per_frame, top_keys
from stt_core.inspection.why_wrong import why_wrong
from stt_core.network import Network
from stt_core.results import LookBack
from tests.core.inspection.scene import (
    GRID,
    SIZE,
    ByHand,
    a_selected,
    an_unselected,
    classes_of,
    engine_on,
    made,
    reading,
)
from tests.core.models import checkpoint, pspnet_config

FRAME = 6
BOX = (10, 12, 70, 50)

# why wrong


def _labels(engine: Engine) -> NDArray[np.uint8]:
    """Half of the image as the frame is predicted, some of another class, some unknown."""
    labels = engine.segment(FRAME).labels.copy()
    rng = np.random.default_rng(3)
    other = rng.integers(0, 11, GRID, dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    labels[:, 30:] = other[:, 30:]
    labels[20:26] = 255
    labels[26:30] = 11
    return labels


def test_wrong_cells_are_counted_with_what_lay_in_their_windows(hands: ByHand) -> None:
    engine, labels = hands.engine, _labels(hands.engine)
    found = run(why_wrong(engine, FRAME, BOX, labels=labels))
    prediction, read = engine.segment(FRAME), reading(engine, FRAME)
    grid = read.current.size
    wrong: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for y in range(BOX[1], BOX[3]):
        for x in range(BOX[0], BOX[2]):
            if labels[y, x] < 11 and labels[y, x] != prediction.labels[y, x]:
                cell = cell_of(Pixel(FRAME, x, y), grid, SIZE)
                pair = int(labels[y, x]), int(prediction.labels[y, x])
                wrong.setdefault(cell, []).append(pair)
    assert found.pixels == sum(map(len, wrong.values()))
    assert found.cells == len(wrong)
    assert found.selected == sum(bool(prediction.selected[cell]) for cell in wrong) > 0
    theirs = [classes_of(engine, f) for f in read.frames]
    radii = engine.network.reach.radii
    dense = hands.weights(read, hands.windows(read)).unflatten(3, grid).numpy()
    for which, evidence in enumerate((found.for_right, found.for_wrong)):
        cells, keys, largest, by_head = 0, 0, 0.0, np.zeros(4)
        for (row, col), pairs in wrong.items():
            counts = Counter(pair[which] for pair in pairs)
            wanted = min(counts, key=lambda c: (-counts[c], c))
            inside = [
                (lag, y, x)
                for lag, radius in enumerate(radii)
                for y in range(max(0, row - radius), min(grid[0], row + radius + 1))
                for x in range(max(0, col - radius), min(grid[1], col + radius + 1))
                if theirs[lag][y, x] == wanted
            ]
            cells += bool(inside)
            keys += len(inside)
            if prediction.selected[row, col]:
                for key in inside:
                    weights = dense[row * grid[1] + col][:, *key]
                    by_head += weights / found.selected
                    largest = max(largest, float(weights.mean()))
        assert evidence.cells == cells
        assert evidence.keys == pytest.approx(keys / found.cells)
        assert evidence.largest == pytest.approx(largest, rel=1e-4)
        np.testing.assert_allclose(evidence.by_head, by_head, rtol=1e-4)
        assert evidence.total == pytest.approx(by_head.mean(), rel=1e-4)
        if which:
            assert found.head == by_head.argmax()
    assert f"{found.pixels} pixels in {found.cells} cells got " in found.sentences[0]
    assert f"head {found.head + 1} paid most attention" in found.sentences[1]  # type: ignore[operator]


def _absent(engine: Engine) -> int:
    """A class predicted nowhere."""
    seen = {int(c) for f in range(9) for c in np.unique(engine.segment(f).labels)}
    seen |= {int(c) for f in range(9) for c in np.unique(classes_of(engine, f))}
    return min(set(range(11)) - seen)


def test_it_says_when_the_past_had_no_evidence(engine: Engine) -> None:
    right = _absent(engine)
    found = run(why_wrong(engine, FRAME, BOX, right=right))
    assert found.pixels == (BOX[2] - BOX[0]) * (BOX[3] - BOX[1])
    assert found.right == (right,)
    assert found.for_right.cells == found.for_right.largest == found.for_right.total == 0
    name = engine.network.header.classes[right].name
    assert found.sentences[-1].startswith(f"The key windows held no evidence of {name}")
    said = Counter(engine.segment(FRAME).labels[BOX[1] : BOX[3], BOX[0] : BOX[2]].ravel().tolist())
    assert set(found.wrong) <= set(said)


def test_it_says_when_nothing_was_read(engine: Engine) -> None:
    first = run(why_wrong(engine, 0, BOX, right=_absent(engine)))
    assert "no earlier frame" in first.sentences[1]
    assert first.selected == first.for_right.cells == 0
    passed = an_unselected(engine, FRAME)
    box = (passed.col * 8, passed.row * 8, passed.col * 8 + 8, passed.row * 8 + 8)
    found = run(why_wrong(engine, FRAME, box, right=_absent(engine)))
    assert (found.cells, found.selected, found.head) == (1, 0, None)
    assert math.isnan(found.for_wrong.total)
    assert np.isnan(found.for_wrong.by_head).all()
    assert "None of these cells was selected" in found.sentences[1]


def test_what_is_right_is_not_explained(engine: Engine) -> None:
    labels = engine.segment(FRAME).labels
    found = run(why_wrong(engine, FRAME, (-5, -5, 1000, 1000), labels=labels))
    assert found.box == (0, 0, 96, 64)
    assert found.pixels == found.cells == 0
    assert found.sentences == ("Nothing in this box is wrong.",)


def test_boxes_and_labels_that_make_no_sense_are_refused(engine: Engine) -> None:
    labels = engine.segment(FRAME).labels
    for wrong in ({}, {"labels": labels, "right": 1}, {"right": 11}, {"labels": labels[1:]}):
        with pytest.raises(ValueError, match=r"give the labels|11 classes|labels must be"):
            run(why_wrong(engine, FRAME, BOX, **wrong))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="holds no pixel of the 96x64 image"):
        run(why_wrong(engine, FRAME, (50, 5, 50, 9), right=1))


# selection


def test_the_models_own_settings_change_nothing(hands: ByHand) -> None:
    facts = run(selection_facts(hands.engine, FRAME))
    prediction = hands.engine.segment(FRAME)
    assert (facts.ratio, facts.radius) == (0.5, 5)
    np.testing.assert_array_equal(facts.selected, prediction.selected)
    np.testing.assert_array_equal(facts.need, prediction.need)
    np.testing.assert_array_equal(facts.labels, prediction.labels)
    assert not facts.changed.any()
    assert facts.by_chance == 0.5
    assert facts.milliseconds > 0


@pytest.mark.parametrize(("ratio", "radius"), [(0.2, None), (None, 2), (1.0, 3)])
def test_other_settings_are_a_model_with_those_settings(
    hands: ByHand, ratio: float | None, radius: int | None
) -> None:
    facts = run(selection_facts(hands.engine, FRAME, ratio=ratio, radius=radius))
    config: SttConfig = replace(
        hands.config, query_ratio=ratio or 0.5, neighbour_radius=radius or 5
    )
    network = Network(
        replace(made(hands.config), header=replace(made(hands.config).header, config=config)),
        device="cpu",
        precision="fp32",
        backend="reference",
    )
    other = Engine(network, hands.engine.media, cuts=False).segment(FRAME)
    np.testing.assert_array_equal(facts.selected, other.selected)
    np.testing.assert_allclose(facts.need, other.need, rtol=1e-6)
    assert (facts.labels == other.labels).mean() > 0.999
    own = hands.engine.segment(FRAME).labels
    np.testing.assert_array_equal(facts.changed, own != facts.labels)
    assert facts.changed.any()
    assert facts.by_chance == pytest.approx(facts.selected.mean())


def test_on_the_first_frame_needs_differ_but_nothing_is_read(engine: Engine) -> None:
    facts = run(selection_facts(engine, 0, ratio=0.25))
    assert facts.selected.mean() == 0.25
    assert facts.need.std() > 0
    assert not facts.changed.any()


def test_shares_are_of_cells_that_hold_a_boundary_or_an_edge(engine: Engine) -> None:
    labels = np.zeros(SIZE, np.uint8)
    labels[:, 43:] = 4
    labels[:16] = 255
    facts = run(selection_facts(engine, FRAME, labels=labels))
    assert facts.boundaries.marked == 6  # one cell in each row but the two unknown ones
    assert facts.boundaries.selected == facts.selected[2:, 5].sum()
    assert facts.boundaries.share == facts.boundaries.selected / 6
    everything = run(selection_facts(engine, FRAME, ratio=1.0, labels=labels))
    assert everything.boundaries.share == everything.edges.share == everything.by_chance == 1
    flat = run(selection_facts(engine, FRAME, labels=np.zeros(SIZE, np.uint8)))
    assert math.isnan(flat.boundaries.share)


def test_a_colour_edge_is_found_where_it_is(tmp_path_factory: pytest.TempPathFactory) -> None:
    from tests.core.inspection.scene import CONFIGS, write_frames

    image = np.full((*SIZE, 3), 40, np.uint8)
    image[:, 44:] = 200
    folder = write_frames(tmp_path_factory.mktemp("step"), [image] * 3)
    facts = run(selection_facts(engine_on(folder, CONFIGS["dot"]), 2))
    assert facts.edges.marked == GRID[0]
    assert facts.edges.selected == facts.selected[:, 5].sum()


@given(st.integers(0, 1000))
@settings(max_examples=25, deadline=None)
def test_a_boundary_pixel_has_a_neighbour_of_another_class(seed: int) -> None:
    ids = np.array([0, 1, 2, 254, 255], np.uint8)
    labels = np.random.default_rng(seed).choice(ids, (5, 7))
    found = boundaries(labels, 3)
    for (y, x), own in np.ndenumerate(labels):
        around = [(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)]
        near = [labels[p] for p in around if 0 <= p[0] < 5 and 0 <= p[1] < 7]
        assert found[y, x] == (own < 3 and any(n < 3 and n != own for n in near))


@pytest.mark.parametrize("wrong", [{"ratio": 0.0}, {"ratio": 1.1}, {"radius": 0}])
def test_selection_refuses_settings_out_of_range(engine: Engine, wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="ratio must be in"):
        run(selection_facts(engine, FRAME, **wrong))  # type: ignore[arg-type]


def test_models_without_attention_are_refused(engine: Engine) -> None:
    plain = Engine(Network(checkpoint(pspnet_config()), device="cpu"), engine.media)
    for act in (selection_facts(plain, FRAME), why_wrong(plain, FRAME, BOX, right=1)):
        with pytest.raises(CheckpointError, match="choose an STT model"):
            run(act)  # type: ignore[arg-type]


# top keys


def _look(engine: Engine) -> LookBack:
    cell = a_selected(engine, FRAME)
    return engine.look_back(FRAME, cell.col * 8, cell.row * 8)


@pytest.mark.parametrize("head", [None, 1])
def test_top_keys_are_the_greatest_weights(engine: Engine, head: int | None) -> None:
    look = _look(engine)
    maps = run(class_maps(engine, look.frames))
    classes = [maps[f] for f in look.frames]
    found = top_keys(look, count=12, head=head, classes=classes)
    weights = look.weights.mean(0) if head is None else look.weights[head]
    np.testing.assert_allclose(
        [k.weight for k in found], np.sort(weights.ravel())[::-1][:12], rtol=1e-6
    )
    for key in found:
        assert key.frame == look.frames[key.lag]
        assert weights[key.lag, key.row, key.col] == pytest.approx(key.weight)
        np.testing.assert_array_equal(key.per_head, look.weights[:, key.lag, key.row, key.col])
        assert key.class_id == classes_of(engine, key.frame)[key.row, key.col]
        assert key.box == (8 * key.col, 8 * key.row, 8 * key.col + 8, 8 * key.row + 8)
    assert top_keys(look)[0].class_id is None


def test_keys_without_weight_are_not_listed(engine: Engine) -> None:
    look = _look(engine)
    assert len(top_keys(look, count=10**6)) == (look.weights.mean(0) > 0).sum()
    passed = an_unselected(engine, FRAME)
    nothing = engine.look_back(FRAME, passed.col * 8, passed.row * 8)
    assert top_keys(nothing) == ()
    assert top_keys(look, count=0) == ()
    with pytest.raises(ValueError, match="head below 4"):
        top_keys(look, head=-1)
    with pytest.raises(ValueError, match="classes must be 3 maps"):
        top_keys(look, classes=[])


def test_weights_are_shared_out_jointly_or_by_frame(engine: Engine) -> None:
    weights = _look(engine).weights
    np.testing.assert_allclose(joint(weights), weights, atol=1e-6)
    np.testing.assert_allclose(joint(weights[:, 1:]).sum((1, 2, 3)), 1, atol=1e-6)
    alone = per_frame(weights)
    np.testing.assert_allclose(alone.sum((2, 3)), 1, atol=1e-6)
    for head in range(4):
        shares = weights[head, 1] / weights[head, 1].sum()
        np.testing.assert_allclose(alone[head, 1], shares, rtol=1e-5)
    silent = weights.copy()
    silent[2] = 0
    silent[1, 0] = 0
    assert not joint(silent)[2].any()
    assert not per_frame(silent)[1, 0].any()
    assert per_frame(silent).dtype == np.float32
