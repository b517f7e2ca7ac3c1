from __future__ import annotations

import cv2
import numpy as np
import pytest

from stt_core.labelling.change import Guard, LabellingError
from stt_core.labelling.grabcut import MAX_PIXELS, grabcut, object_in
from stt_core.labels import UNLABELLED
from tests.core.labelling.maps import check_change, expected
from tests.core.labelling.pictures import overlap, star

BOX = (30, 40, 130, 140)


def test_the_object_in_the_box_is_found_and_painted_through_the_guard() -> None:
    image, blob = star((160, 180), (90, 80), 36)
    image.flags.writeable = False
    found = object_in(image, BOX)
    assert found.shape == (100, 100)
    assert overlap(found, blob[30:130, 40:140]) > 0.94
    np.testing.assert_array_equal(found, object_in(image, BOX))

    labels = np.full((160, 180), UNLABELLED, np.uint8)
    labels[:, 90:] = 4
    guard = Guard(locked=frozenset([4]))
    mask = np.zeros(labels.shape, np.bool_)
    mask[30:130, 40:140] = found
    after = expected(labels, mask, 2, guard)
    check_change(labels, grabcut(labels, image, BOX, 2, guard), after)
    with pytest.raises(LabellingError, match="Class 4 is locked"):
        grabcut(labels, image, BOX, 4, guard)


def test_a_large_object_is_found_at_a_small_size_and_drawn_along_its_edge() -> None:
    image, blob = star((700, 800), (400, 350), 200)
    box = (80, 120, 620, 680)
    assert (box[2] - box[0]) * (box[3] - box[1]) > 4 * MAX_PIXELS
    truth = blob[80:620, 120:680]
    found = object_in(image, box)
    # what enlarging a perfect mask of that size without looking at the image would give
    scale = (MAX_PIXELS / 700 / 800) ** 0.5
    small = cv2.resize(blob.astype(np.uint8), None, fx=scale, fy=scale, interpolation=0)
    enlarged = np.asarray(cv2.resize(small, (800, 700), interpolation=0)).astype(np.bool_)
    assert overlap(found, truth) > max(0.99, overlap(enlarged[80:620, 120:680], truth))


@pytest.mark.parametrize("scale", [1, 4])
def test_hints_are_kept_to_the_pixel_and_teach_the_colours(scale: int) -> None:
    rng = np.random.default_rng(1)
    image = rng.normal((80, 110, 90), 9, (120 * scale, 160 * scale, 3))
    red, blue = np.zeros((2, *image.shape[:2]), np.bool_)
    red[40 * scale : 80 * scale, 40 * scale : 70 * scale] = True
    blue[40 * scale : 80 * scale, 90 * scale : 120 * scale] = True
    image[red] += (100, 0, 0)
    image[blue] += (0, 0, 120)
    image = image.clip(0, 255).astype(np.uint8)
    y0, x0, y1, x1 = 20 * scale, 20 * scale, 100 * scale, 140 * scale
    box, here = (y0, x0, y1, x1), (slice(y0, y1), slice(x0, x1))
    assert overlap(object_in(image, box), (red | blue)[here]) > 0.95

    front, back = np.zeros((2, *red.shape), np.bool_)
    back[44 * scale : 76 * scale, 95 * scale : 115 * scale] = True  # most of what is not wanted
    front[y0 + 2, x0 + 3] = True  # a single pixel that is
    front[0, 0] = True  # outside the box
    found = object_in(image, box, foreground=front, background=back)
    assert found[2, 3]
    assert not (found & back[here]).any()
    assert overlap(found, red[here]) > 0.95
    both = object_in(image, box, foreground=back, background=back)
    assert both[back[here]].all()


def test_a_box_around_everything_needs_to_be_told_what_background_is() -> None:
    image, blob = star((120, 120), (60, 60), 30)
    with pytest.raises(LabellingError, match=r"Nothing outside the box.*smaller box"):
        object_in(image, (0, 0, 120, 120))
    back = np.ones((120, 120), np.bool_)
    back[15:105, 15:105] = False
    found = object_in(image, (0, 0, 120, 120), background=back)
    assert overlap(found, blob) > 0.9


def test_a_box_without_room_for_an_object_is_refused() -> None:
    image, _ = star((60, 60), (30, 30), 10)
    with pytest.raises(LabellingError, match="too small"):
        object_in(image, (20, 20, 22, 22))
    with pytest.raises(LabellingError, match="all background"):
        object_in(image, (10, 10, 40, 40), background=np.ones((60, 60), np.bool_))


@pytest.mark.parametrize("box", [(1, 1, 4, 4), (0, 20, 60, 23), (5, 0, 8, 60), (58, 57, 60, 60)])
def test_odd_boxes_and_plain_images_give_some_answer(box: tuple[int, int, int, int]) -> None:
    for image in (np.full((60, 60, 3), 90, np.uint8), star((60, 60), (30, 30), 10)[0]):
        assert object_in(image, box).shape == (box[2] - box[0], box[3] - box[1])


def test_a_long_thin_box_is_worked_on_at_a_small_size() -> None:
    image = np.zeros((40, 6000, 3), np.uint8)
    image[10:20, 100:5900] = 200
    found = object_in(image, (5, 50, 25, 5950))
    assert overlap(found, image[5:25, 50:5950, 0] > 100) > 0.95


@pytest.mark.parametrize(
    "box", [(0, 0, 0, 4), (4, 0, 3, 4), (-1, 0, 4, 4), (0, 0, 161, 4), (0, 0, 4, 181)]
)
def test_a_box_that_does_not_lie_in_the_image_is_refused(box: tuple[int, int, int, int]) -> None:
    image = np.zeros((160, 180, 3), np.uint8)
    with pytest.raises(ValueError, match="the box must lie in the image"):
        object_in(image, box)


def test_hints_of_another_size_are_refused() -> None:
    image = np.zeros((160, 180, 3), np.uint8)
    with pytest.raises(ValueError, match="a mask must be bool"):
        object_in(image, BOX, foreground=np.zeros((3, 3), np.bool_))
    with pytest.raises(ValueError, match="sizes differ"):
        grabcut(np.zeros((3, 3), np.uint8), image, BOX, 1)
