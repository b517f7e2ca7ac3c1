"""Every real clip of the development data segments, and every frame is the right one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from app.cli import main
from stt_core.labels import read_label_png

_CLIPS = {
    "udacity_solidWhiteRight.mp4": (960, 540, 221),
    "yolop_city_traffic_1.mp4": (320, 240, 72),
    "camvid_0016E5_val_15fps.mp4": (480, 360, 101),
    "opencv_vtest_300.avi": (768, 576, 300),
}


@pytest.mark.parametrize("name", _CLIPS)
def test_a_real_clip_segments(
    shared_data: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    width, height, count = _CLIPS[name]
    last = f"{count - 2}:"
    clip = shared_data / "clips" / name
    words = ["segment", str(clip), "--out", str(tmp_path), "--range", last, "--overlay", "--json"]
    assert main(words) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["media"]["frames"] == count
    assert told["frames"] == 2
    for frame in (count - 2, count - 1):
        labels = read_label_png(tmp_path / "labels" / f"{frame:06d}.png", 11)
        assert labels.shape == (height, width)
    assert (tmp_path / "overlay.mp4").stat().st_size > 1000
