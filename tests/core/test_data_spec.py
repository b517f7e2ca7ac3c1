from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stt_core.data.sources import OPTIONS, open_data
from stt_core.data.spec import parse_spec
from stt_core.errors import DataError
from tests.core.data_sets import write_folder

KNOWN = {"folder": ("split", "video"), "video": ("labels",)}
PATHS = st.text(st.characters(codec="ascii", exclude_characters="="), min_size=1)


@given(PATHS, st.dictionaries(st.sampled_from(KNOWN["folder"]), st.text("ab/. -", min_size=0)))
def test_a_spec_is_taken_apart_as_it_was_put_together(path: str, options: dict[str, str]) -> None:
    text = ",".join([f"folder:{path}", *(f"{key}={value}" for key, value in options.items())])
    spec = parse_spec(text, KNOWN)
    assert (spec.kind, spec.rest, dict(spec.options)) == ("folder", path, options)


def test_a_path_may_hold_commas_and_equals_signs(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "a,b=c", ["1.png"])
    data = open_data(f"folder:{folder},video=yes")
    assert data.sequences[0].video
    assert len(open_data(f"folder:{folder}").sequences) == 1


def test_a_path_may_hold_a_colon() -> None:
    assert parse_spec("video:C:/clips/a.mp4,labels=D:/x", KNOWN).rest == "C:/clips/a.mp4"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("nonsense", "say KIND:PATH with one of the kinds camvid, cityscapes, folder"),
        ("project:x", "say KIND:PATH"),
        ("camvid:", "say KIND:PATH"),
        ("camvid:,split=val", "it names no camvid"),
        ("camvid:/nowhere", "is not CamVid: it should hold"),
        ("camvid:/nowhere,splitt=val", "camvid has no option 'splitt'; it knows split, only"),
        ("camvid:/nowhere,split=val,split=test", "an option is given twice"),
        ("camvid:/nowhere,split=all", "split must be train or val or test, got 'all'"),
        ("cityscapes:/nowhere", "is not Cityscapes: there are no images"),
        ("folder:/nowhere", "there is no folder .*images"),
        ("folder:/nowhere,split=a", "there is no folder .*images.a"),
        ("video:/nowhere.mp4", "/nowhere.mp4"),
        ("video:/nowhere.mp4,labels=/nowhere", "there is no folder .*nowhere"),
        ("scenes:9-3", "it names no seeds: say scenes:FIRST-LAST"),
        ("scenes:a-b", "it names no seeds"),
        ("scenes:1-2,frames=0", "frames must be a whole number from 1, got '0'"),
        ("scenes:1-2,frames=5,every=6", "with every=6, no frame of 5"),
    ],
)
def test_data_that_is_not_there_is_told(spec: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        open_data(spec)


@pytest.mark.parametrize("value", ["-1", "256", "void", ""])
def test_only_8_bit_ids_can_be_ignored(tmp_path: Path, value: str) -> None:
    folder = write_folder(tmp_path, ["1.png"])
    with pytest.raises(DataError, match="ignore must be"):
        open_data(f"folder:{folder},ignore={value}")


def test_every_kind_is_documented_with_its_options() -> None:
    text = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
    for kind, options in OPTIONS.items():
        section = text.partition(f"\n## {kind}\n")[2].partition("\n## ")[0]
        assert section, kind
        for option in options:
            assert f"`{option}=" in section, (kind, option)
