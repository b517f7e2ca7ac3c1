"""What is believed of predictions, against loops over single pixels."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from stt_core.errors import LabelError
from stt_core.labels import UNLABELLED, VOID
from stt_core.pseudo.labelling import PseudoLabelSources, pseudo_labels
from stt_core.pseudo.rule import AttentionTest, FlowTest, PseudoLabelRule, Threshold, TopShare
from tests.core.pseudo.worlds import CLASSES, ORIGIN, Maps, Mass, random_maps, run


def sources(predictions: Maps, **more: object) -> PseudoLabelSources:
    return PseudoLabelSources(predictions=predictions, classes=CLASSES, origin=ORIGIN, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("probability", [0.0, 0.3, 0.5, 0.9, 1.0])
def test_below_the_threshold_nothing_is_said(probability: float) -> None:
    maps = random_maps([0, 4, 7])
    _, labelled, _ = run(pseudo_labels(sources(maps), PseudoLabelRule(Threshold(probability))))
    assert [(s.frame, s.done, s.total) for s in labelled] == [(0, 1, 3), (4, 2, 3), (7, 3, 3)]
    for step in labelled:
        for where, said in np.ndenumerate(maps.said[step.frame]):
            sure = maps.sure[step.frame][where] / 255 >= probability
            assert step.labels[where] == (said if sure else 255)


def test_a_probability_that_can_be_kept_is_its_own_threshold() -> None:
    every = np.arange(256, dtype=np.uint8).reshape(16, 16)
    maps = Maps({0: np.zeros((16, 16), np.uint8)}, {0: every})
    for level in range(256):
        _, [step], _ = run(pseudo_labels(sources(maps), PseudoLabelRule(Threshold(level / 255))))
        np.testing.assert_array_equal(step.labels == 0, every >= level)


def test_a_class_may_have_a_threshold_of_its_own() -> None:
    maps = random_maps([0])
    rule = PseudoLabelRule(Threshold(0.8, {"car": 0.2, "sky": 1.0}))
    _, [step], record = run(pseudo_labels(sources(maps), rule))
    least = {0: 0.8, 1: 0.2, 2: 1.0}
    for where, said in np.ndenumerate(maps.said[0]):
        sure = maps.sure[0][where] / 255 >= least[said]
        assert step.labels[where] == (said if sure else 255)
    kept = [row["probability"] for row in record["least_probability"]]  # type: ignore[attr-defined]
    assert kept == [0.8, 0.2, 1.0]


def test_a_threshold_for_a_class_that_does_not_exist_is_refused() -> None:
    steps = pseudo_labels(sources(random_maps([0])), PseudoLabelRule(Threshold(0.8, {"dog": 0.2})))
    with pytest.raises(LabelError, match=r"no class 'dog'.*road, car, sky"):
        run(steps)


def _top(maps: Maps, share: float) -> dict[int, set[tuple[int, tuple[int, ...]]]]:
    """By sorting: the first of each class until the share is reached, and all as sure."""
    chosen: dict[int, set[tuple[int, tuple[int, ...]]]] = {}
    for class_id in range(3):
        found = [
            (int(maps.sure[frame][where]), (frame, where))
            for frame in maps.frames
            for where, said in np.ndenumerate(maps.said[frame])
            if said == class_id
        ]
        found.sort(reverse=True)
        enough = [n for n in range(len(found) + 1) if found and n / len(found) >= share]
        count = enough[0] if enough else 0
        last = found[count - 1][0] if count else math.inf
        chosen[class_id] = {place for sure, place in found if sure >= last}
    return chosen


@settings(deadline=None, max_examples=60)
@given(
    said=arrays(np.uint8, (2, 4, 5), elements=st.integers(0, 2)),
    # few levels, so that there are ties
    sure=arrays(np.uint8, (2, 4, 5), elements=st.sampled_from([0, 1, 100, 101, 254, 255])),
    share=st.one_of(st.sampled_from([0.0, 0.07, 0.1, 0.25, 0.3, 0.5, 1.0]), st.floats(0, 1)),
)
def test_the_top_share_of_each_class_is_kept_with_all_its_ties(
    said: NDArray[np.uint8], sure: NDArray[np.uint8], share: float
) -> None:
    maps = Maps(dict(enumerate(said)), dict(enumerate(sure)))
    surveyed, labelled, _ = run(pseudo_labels(sources(maps), PseudoLabelRule(TopShare(share))))
    assert [(s.frame, s.done, s.total) for s in surveyed] == [(0, 1, 2), (1, 2, 2)]
    chosen = _top(maps, share)
    for step in labelled:
        for where, class_id in np.ndenumerate(maps.said[step.frame]):
            believed = (step.frame, where) in chosen[int(class_id)]
            assert step.labels[where] == (class_id if believed else 255)


def test_the_record_says_what_the_top_share_became() -> None:
    said = np.zeros((1, 10), np.uint8)
    said[0, 8:] = 1
    sure = np.full((1, 10), 255, np.uint8)
    sure[0, :6] = range(6)
    sure[0, 9] = 3
    maps = Maps({0: said}, {0: sure})
    _, _, record = run(pseudo_labels(sources(maps), PseudoLabelRule(TopShare(0.1))))
    shares = [row["believed_share"] for row in record["least_probability"]]  # type: ignore[attr-defined]
    assert shares == [0.25, 0.5, None]  # 2 of 8 are as sure as the surest; 1 of 2; none
    _, _, record = run(pseudo_labels(sources(maps), PseudoLabelRule(Threshold(0.1))))
    assert "believed_share" not in record["least_probability"][0]  # type: ignore[index]


def test_a_class_that_does_not_occur_has_no_level() -> None:
    maps = random_maps([0], ids=2)
    _, _, record = run(pseudo_labels(sources(maps), PseudoLabelRule(TopShare(0.5))))
    least = [row["probability"] for row in record["least_probability"]]  # type: ignore[attr-defined]
    assert least[2] is None
    assert None not in least[:2]


def _still(frame: int) -> NDArray[np.uint8]:
    """One textured picture for all frames, so that the flow is zero."""
    return np.random.default_rng(3).integers(0, 256, (32, 40, 3), dtype=np.uint8)


def test_where_nothing_moves_the_neighbours_must_agree() -> None:
    maps = random_maps([2, 3, 4, 6], (32, 40))
    rule = PseudoLabelRule(Threshold(0.0), FlowTest())
    _, labelled, _ = run(pseudo_labels(sources(maps, images=_still), rule))
    for step in labelled:
        near = [i for i in (step.frame - 1, step.frame + 1) if i in maps.said]
        for where, said in np.ndenumerate(maps.said[step.frame]):
            agree = all(maps.said[i][where] == said for i in near)
            assert step.labels[where] == (said if agree else 255)
    assert (labelled[-1].labels == maps.said[6]).all(), "frame 6 has no neighbour to ask"


def test_a_neighbour_that_says_nothing_is_no_witness() -> None:
    maps = random_maps([0, 1], (32, 40))
    maps.said[1][:, :20] = VOID
    maps.said[1][:, 20:] = 255
    _, [step, _], _ = run(
        pseudo_labels(sources(maps, images=_still), PseudoLabelRule(Threshold(0.0), FlowTest()))
    )
    np.testing.assert_array_equal(step.labels, maps.said[0])
    rule = PseudoLabelRule(Threshold(0.0), FlowTest(unseen_passes=False))
    _, [step, _], _ = run(pseudo_labels(sources(maps, images=_still), rule))
    assert (step.labels == 255).all()


def test_nobody_is_asked_across_a_cut() -> None:
    maps = random_maps([0, 1], (32, 40))

    def cut(frame: int) -> NDArray[np.uint8]:
        image = np.full((32, 40, 3), 20, np.uint8)
        image[:, :20] = 220
        return image if frame == 0 else image[:, ::-1].copy()

    _, labelled, _ = run(
        pseudo_labels(sources(maps, images=cut), PseudoLabelRule(Threshold(0.0), FlowTest()))
    )
    for step in labelled:
        np.testing.assert_array_equal(step.labels, maps.said[step.frame])


def test_classes_are_followed_along_the_motion() -> None:
    """A disc on texture that moves 4 pixels a frame, and a prediction that moves with it."""
    noise = np.random.default_rng(1).integers(0, 160, (16, 24, 3), dtype=np.uint8)
    wide = np.kron(noise, np.ones((4, 4, 1), np.uint8))  # [64, 96, 3]

    def image(frame: int) -> NDArray[np.uint8]:
        return np.roll(wide, 4 * frame, 1)

    y, x = np.mgrid[:64, :96]
    said = {i: ((x - 40 - 4 * i) ** 2 + (y - 32) ** 2 < 200).astype(np.uint8) for i in range(3)}
    sure = {i: np.full((64, 96), 255, np.uint8) for i in range(3)}
    rule = PseudoLabelRule(Threshold(0.0), FlowTest())
    inside = np.s_[12:-12, 16:-16]
    _, labelled, _ = run(pseudo_labels(sources(Maps(said, sure), images=image), rule))
    for step in labelled:
        assert (step.labels != said[step.frame])[inside].mean() < 0.01

    stuck = dict.fromkeys(range(3), said[0])
    _, labelled, record = run(pseudo_labels(sources(Maps(stuck, sure), images=image), rule))
    moved = (said[0] != said[1])[inside]
    assert (labelled[1].labels == 255)[inside][moved].mean() > 0.9
    assert record["pixels"]["against_flow"] > moved.sum()  # type: ignore[index]


def test_the_cells_of_inattentive_queries_say_nothing() -> None:
    maps = random_maps([5], (10, 13))
    mass = np.array([[0.2, 0.5, np.nan], [0.499, 1.0, 0.0]], np.float32)
    rule = PseudoLabelRule(Threshold(0.0), attention=AttentionTest(0.5))
    _, [step], _ = run(pseudo_labels(sources(maps, attention=Mass({5: mass})), rule))
    for (y, x), said in np.ndenumerate(maps.said[5]):
        cell = mass[y * 2 // 10, x * 3 // 13]
        passes = math.isnan(cell) or cell >= 0.5
        assert step.labels[y, x] == (said if passes else 255)


def test_all_of_the_attention_may_be_asked_for() -> None:
    maps = random_maps([0], (2, 2))
    mass = np.array([[1.0, 0.99999], [0.99, np.nan]], np.float32)
    rule = PseudoLabelRule(Threshold(0.0), attention=AttentionTest(1.0))
    _, [step], _ = run(pseudo_labels(sources(maps, attention=Mass({0: mass})), rule))
    np.testing.assert_array_equal(step.labels != 255, [[True, True], [False, True]])


def test_what_a_person_painted_stands() -> None:
    maps = random_maps([0, 1])
    own = np.full((6, 8), UNLABELLED, np.uint8)
    own[0], own[1] = 2, VOID
    painted: Callable[[int], NDArray[np.uint8] | None] = {0: own}.get
    rule = PseudoLabelRule(Threshold(0.5))
    _, plain, _ = run(pseudo_labels(sources(maps), rule))
    _, both, record = run(pseudo_labels(sources(maps, painted=painted), rule))
    assert (both[0].labels[0] == 2).all()
    assert (both[0].labels[1] == 255).all()
    np.testing.assert_array_equal(both[0].labels[2:], plain[0].labels[2:])
    np.testing.assert_array_equal(both[1].labels, plain[1].labels)
    pixels = record["pixels"]
    assert isinstance(pixels, dict)
    assert (pixels["painted"], pixels["void"], pixels["silent"]) == (8, 8, 0)
    assert pixels["predicted"] == 2 * 48 - 16


_PIXELS = (2, 4, 6)


@settings(deadline=None, max_examples=60)
@given(
    said=arrays(np.uint8, _PIXELS, elements=st.sampled_from([0, 1, 2, 254, 255])),
    sure=arrays(np.uint8, _PIXELS),
    own=arrays(np.uint8, _PIXELS, elements=st.sampled_from([0, 1, 2, 254, 255, 255, 255])),
    mass=arrays(np.float32, (2, 2, 3), elements=st.sampled_from([0.0, 0.4, 0.6, 1.0, math.nan])),
)
def test_each_pixel_counts_once_against_the_first_test_it_fails(
    said: NDArray[np.uint8],
    sure: NDArray[np.uint8],
    own: NDArray[np.uint8],
    mass: NDArray[np.float32],
) -> None:
    given_ = sources(
        Maps(dict(enumerate(said)), dict(enumerate(sure))),
        painted=lambda frame: own[frame],
        attention=Mass(dict(enumerate(mass))),
    )
    rule = PseudoLabelRule(Threshold(0.5), attention=AttentionTest(0.5))
    _, labelled, record = run(pseudo_labels(given_, rule))
    fate: Counter[str] = Counter()
    for (frame, y, x), class_id in np.ndenumerate(said):
        painted = own[frame, y, x]
        if painted != UNLABELLED:
            key, result = ("void", 255) if painted == VOID else ("painted", painted)
        elif class_id >= VOID:
            key, result = "silent", 255
        elif sure[frame, y, x] < 127.5:
            key, result = "unsure", 255
        elif mass[frame, y // 2, x // 2] < 0.5:
            key, result = "against_attention", 255
        else:
            key, result = "kept", class_id
        fate[key] += 1
        assert labelled[frame].labels[y, x] == result
    pixels = record["pixels"]
    assert isinstance(pixels, dict)
    removed = ("unsure", "against_flow", "against_attention")
    assert all(pixels[key] == fate[key] for key in (*removed, "kept", "painted", "void", "silent"))
    assert pixels["predicted"] == pixels["kept"] + sum(pixels[key] for key in removed)
    for name in (*removed, "kept", "painted"):
        assert pixels[name] == sum(row[name] for row in pixels["classes"])
    share = (fate["kept"] + fate["painted"]) / said.size
    assert np.mean([step.counts.labelled for step in labelled]) == pytest.approx(share)


def test_the_record_is_plain_and_says_how_it_was_done() -> None:
    rule = PseudoLabelRule(TopShare(0.3), FlowTest(), AttentionTest(0.7))
    mass = Mass({i: np.ones((2, 2), np.float32) for i in range(3)})
    given_ = sources(random_maps(range(3), (32, 40)), images=_still, attention=mass)
    _, _, record = run(pseudo_labels(given_, rule, frames=[1, 2]))
    assert json.loads(json.dumps(record)) == record
    assert record["model"] == ORIGIN.model
    assert record["media"] == ORIGIN.media
    assert record["settings"] == {"key_frames": 7, "precision": "fp32"}
    assert record["rule"] == {
        "confidence": {"top_share": 0.3},
        "flow": {"unseen_passes": True},
        "attention": {"least": 0.7},
    }
    assert record["frames"] == {"count": 2, "first": 1, "last": 2}
    assert "stt-studio" in record["versions"]  # type: ignore[operator]


def test_neighbours_that_are_not_labelled_are_witnesses_all_the_same() -> None:
    maps = random_maps(range(3), (32, 40))
    rule = PseudoLabelRule(Threshold(0.0), FlowTest())
    _, all_of_them, _ = run(pseudo_labels(sources(maps, images=_still), rule))
    _, [one], _ = run(pseudo_labels(sources(maps, images=_still), rule, frames=[1]))
    np.testing.assert_array_equal(one.labels, all_of_them[1].labels)


def test_no_frame_is_no_error() -> None:
    surveyed, labelled, record = run(
        pseudo_labels(sources(random_maps([])), PseudoLabelRule(TopShare(0.5)))
    )
    assert (surveyed, labelled) == ([], [])
    assert record["frames"] == {"count": 0, "first": None, "last": None}


def test_frames_without_a_prediction_are_told() -> None:
    steps = pseudo_labels(sources(random_maps([0, 1])), PseudoLabelRule(), frames=[1, 5, 6])
    with pytest.raises(LabelError, match=r"frame 5 has no prediction \(2 of 3"):
        run(steps)


_GOOD = random_maps([0, 1])
_NINE = random_maps([0, 1], ids=9)


@pytest.mark.parametrize(
    ("given_", "rule", "told"),
    [
        (sources(_NINE), PseudoLabelRule(), r"frame 0 holds the ids \[3, .*3 classes"),
        (sources(_NINE), PseudoLabelRule(TopShare(0.5)), "prediction of frame 0 holds the ids"),
        (
            sources(replace(_GOOD, sure={0: np.zeros((3, 4), np.uint8)})),
            PseudoLabelRule(),
            "its classes are 8 x 6 pixels, its confidences 4 x 3",
        ),
        (
            sources(_GOOD, images=_still),
            PseudoLabelRule(flow=FlowTest()),
            "frame 0 is 8 x 6 pixels, but its image is 40 x 32",
        ),
        (
            sources(_GOOD, painted={0: np.zeros((3, 4), np.uint8)}.get),
            PseudoLabelRule(),
            "labels of frame 0 are 4 x 3 pixels",
        ),
        (
            sources(_GOOD, painted={0: np.full((6, 8), 77, np.uint8)}.get),
            PseudoLabelRule(),
            r"label map of frame 0 holds the ids \[77\]",
        ),
    ],
)
def test_maps_that_do_not_fit_are_told(
    given_: PseudoLabelSources, rule: PseudoLabelRule, told: str
) -> None:
    with pytest.raises(LabelError, match=told):
        run(pseudo_labels(given_, rule))


def test_a_test_without_its_source_is_refused() -> None:
    given_ = sources(random_maps([0]))
    with pytest.raises(ValueError, match="flow test needs images"):
        run(pseudo_labels(given_, PseudoLabelRule(flow=FlowTest())))
    with pytest.raises(ValueError, match="attention test needs"):
        run(pseudo_labels(given_, PseudoLabelRule(attention=AttentionTest())))


@pytest.mark.parametrize("wrong", [-0.1, 1.01, math.nan, math.inf])
def test_shares_outside_0_to_1_are_refused(wrong: float) -> None:
    for make in (
        lambda: Threshold(wrong),
        lambda: Threshold(0.5, {"car": wrong}),
        lambda: TopShare(wrong),
        lambda: AttentionTest(wrong),
    ):
        with pytest.raises(ValueError, match=r"lies in 0\.\.1"):
            make()  # type: ignore[no-untyped-call]
