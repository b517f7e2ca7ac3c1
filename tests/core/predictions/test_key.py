from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stt_core.errors import FormatError
from stt_core.project.predictions.key import PredictionKey, canonical_json
from stt_core.project.predictions.manifest import read_manifest, write_manifest
from tests.core.predictions.stores import FULL, MANIFEST

_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


def _key(values: dict[str, object]) -> PredictionKey:
    return PredictionKey("a", "b", values)


@settings(deadline=None, max_examples=50)
@given(st.dictionaries(st.text(), _values, max_size=4))
def test_the_digest_does_not_depend_on_order_nor_on_a_way_through_a_file(
    values: dict[str, object],
) -> None:
    turned = dict(reversed(json.loads(json.dumps(values)).items()))
    assert _key(values).digest == _key(turned).digest
    assert _key(values) == _key(turned)
    assert len({_key(values), _key(turned)}) == 1


@settings(deadline=None, max_examples=50)
@given(st.dictionaries(st.text(), _values, max_size=4))
def test_the_canonical_text_means_the_same(values: dict[str, object]) -> None:
    assert json.loads(canonical_json(values)) == values


def test_every_part_changes_the_digest() -> None:
    key = PredictionKey("a", "b", {"x": 1})
    others = [
        PredictionKey("c", "b", {"x": 1}),
        PredictionKey("a", "c", {"x": 1}),
        PredictionKey("a", "b", {"x": 2}),
        PredictionKey("a", "b", {"x": "1"}),
        PredictionKey("a", "b", {"x": True}),
        PredictionKey("b", "a", {"x": 1}),
    ]
    assert len({key.digest, *(other.digest for other in others)}) == 7
    assert key != PredictionKey("a", "b", {})
    assert key == PredictionKey("a", "b", {"x": 1.0})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1: 2}, Path("x"), [object()]])
def test_settings_that_are_no_json_are_refused(value: object) -> None:
    with pytest.raises(ValueError, match="settings must be"):
        _key({"x": value})


@pytest.mark.parametrize("manifest", [MANIFEST, FULL])
def test_a_manifest_survives_its_file(tmp_path: Path, manifest: object) -> None:
    write_manifest(tmp_path, manifest)
    found = read_manifest(tmp_path)
    assert found.code_version
    assert replace(found, code_version="") == manifest
    table = json.loads((tmp_path / "manifest.json").read_text(encoding="utf-8"))
    assert table["digest"] == manifest.key.digest
    assert table["classes"][1] == {"name": "Bäume", "color": [255, 0, 0]}
    assert table["stored"][:2] == ["labels", "confidence"]


def _changed(folder: Path, **changes: object) -> None:
    write_manifest(folder, MANIFEST)
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 2}, "newer version.*update"),
        ({"format": 2, "classes": "changed by then"}, "newer version"),
        ({"frames": "many"}, "is damaged at 'frames'"),
        ({"frames": 0}, "is damaged.*above 0"),
        ({"settings": {}}, "digest is not that of its content"),
        ({"digest": "0"}, "digest is not that of its content"),
        ({"probabilities": [1, 2]}, "is damaged at 'probabilities"),
    ],
)
def test_a_manifest_that_cannot_be_used_is_told(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    _changed(tmp_path, **changes)
    with pytest.raises(FormatError, match=message):
        read_manifest(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", "\0"])
def test_what_is_no_json_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(FormatError, match=r"manifest\.json is damaged"):
        read_manifest(tmp_path)


def test_a_folder_without_a_manifest_is_told(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="is not a folder of predictions"):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    "change",
    [{"frames": 0}, {"height": -1}, {"classes": ()}, {"features": (0, 1, 1)}, {"frames": 2**31}],
)
def test_sizes_that_cannot_be_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="must be above 0"):
        replace(MANIFEST, **change)
