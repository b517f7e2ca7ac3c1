from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from stt_core.errors import LabelError
from stt_core.formats.cityscapes import cityscapes_names
from stt_core.formats.renaming import Renaming, known_things, rename_classes
from stt_core.labels import LabelClass, read_classes
from stt_core.resources import resource_path

CAMVID = read_classes(resource_path("classes/camvid11.json"))
OTHERS = tuple(LabelClass(name, (i, i, i)) for i, name in enumerate(("road", "Lane", "Road")))


def renamed(by_hand: Mapping[str, str | None], *, known: bool = True) -> Renaming:
    return rename_classes(CAMVID, by_hand, cityscapes_names() if known else None)


def test_every_class_of_camvid_has_one_in_cityscapes() -> None:
    found = renamed({})
    assert {row.ours: row.theirs for row in found.rows if row.found_by == "table"} == {
        "Pavement": "sidewalk",
        "Tree": "vegetation",
        "SignSymbol": "traffic sign",
        "Pedestrian": "person",
        "Bicyclist": "rider",
    }
    assert all(row.theirs in cityscapes_names() for row in found.rows)
    np.testing.assert_array_equal(found.table[:11], np.arange(11))


def test_the_hand_wins_over_the_table() -> None:
    found = renamed({"bicyclist": "bicycle", "Fence": None, "Pole": "Traffic Sign"})
    rows = {row.ours: (row.theirs, row.found_by) for row in found.rows}
    assert rows["Bicyclist"] == ("bicycle", "hand")
    assert rows["Fence"] == (None, "hand")
    assert [c.name for c in found.classes].count("Fence") == 0
    labels = np.array([[2, 6, 7, 8, 254, 255]], np.uint8)  # Pole, SignSymbol, Fence, Car
    there = found.apply(labels)[0]
    assert there[0] == there[1]  # both are traffic signs
    assert there[2] == there[4] == there[5] == 255
    assert found.classes[there[3]].name == "Car"
    with pytest.raises(LabelError, match="the format has no class 'bush': it has ego vehicle"):
        renamed({"Tree": "bush"})
    with pytest.raises(LabelError, match="no class 'Moon' to map: the classes are Sky"):
        renamed({"Moon": "sky"})
    with pytest.raises(LabelError, match="every class is left out"):
        renamed({c.name: None for c in CAMVID})


def test_names_are_free_where_a_format_has_no_classes_of_its_own() -> None:
    found = renamed({"Tree": "plant", "Pavement": "ROAD"}, known=False)
    assert [c.name for c in found.classes] == [
        "Sky", "Building", "Pole", "Road", "plant", "SignSymbol", "Fence", "Car", "Pedestrian",
        "Bicyclist",
    ]  # fmt: skip
    assert found.table[4] == found.table[3] == 3
    same = rename_classes(OTHERS, {}, None)  # two that are called alike stay two
    assert same.classes == OTHERS
    assert rename_classes(OTHERS, {"Lane": "road"}, None).table[:3].tolist() == [0, 0, 0]


def test_things_are_known_by_name() -> None:
    assert [CAMVID[i].name for i in sorted(known_things(CAMVID))] == [
        "Car", "Pedestrian", "Bicyclist",
    ]  # fmt: skip
    cityscapes = read_classes(resource_path("classes/cityscapes19.json"))
    things = [cityscapes[i].name for i in sorted(known_things(cityscapes))]
    assert things == ["Person", "Rider", "Car", "Truck", "Bus", "Train", "Motorcycle", "Bicycle"]
    assert known_things(OTHERS) == frozenset()
