from __future__ import annotations

from pathlib import Path

from stt_core.bench import project


def test_the_rows_are_measured_and_nothing_is_left(tmp_path: Path) -> None:
    said: list[str] = []
    rows = project.measure(
        said.append, size=(64, 32), frames=10, reads=5, many=1000, labelled=200, place=tmp_path
    )
    assert len(said) == 5
    assert {row["group"] for row in rows} == {"project"}
    assert [row["unit"] for row in rows] == ["fps", "ms", "ms", "ms", "kB", *["ms"] * 5]
    assert all(row["value"] > 0 for row in rows)
    assert not [*tmp_path.iterdir()]
