from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from stt_core.engine import Engine
from stt_core.errors import CheckpointError, ProjectError
from stt_core.files import temporary_prefix
from stt_core.labels import read_label_png
from stt_core.media.source import open_media
from stt_core.network import Network
from stt_core.preprocess import to_segmentation
from stt_core.project.prediction_folders import PredictionFolders
from stt_core.project.predictions.flicker import flicker_between
from stt_core.project.predictions.reader import PredictionReader
from stt_core.project.store import Project
from stt_core.segmenting import SegmentOptions, segment_media
from stt_core.workflow.prediction_pass import PassOptions, PassReport, PassStep, predict_media
from tests.core.models import checkpoint, pspnet_config
from tests.core.workflow.material import (
    CLASSES,
    FRAMES,
    HEIGHT,
    WIDTH,
    network,
    write_model,
    write_video,
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pass")


@pytest.fixture(scope="module")
def clip(place: Path) -> Path:
    return write_video(place / "clip.mp4")


@pytest.fixture(scope="module")
def net(place: Path) -> Network:
    return network(write_model(place / "small.safetensors"))


def run(
    net: Network, clip: Path, project: Path, frames: range = range(FRAMES), **options: bool
) -> tuple[PassReport, list[PassStep]]:
    steps, told = [], []
    with open_media(clip) as media:
        chosen = PassOptions(frames=frames, **options)
        passing = predict_media(net, media, PredictionFolders(project), chosen)
        while True:
            try:
                steps.append(next(passing))
            except StopIteration as end:
                told.append(end.value)
                return told[0], steps


def stored(folder: Path) -> Iterator[tuple[bytes, bytes, float, float]]:
    """All that is stored of each frame, as it was written."""
    reader = PredictionReader(folder)
    for frame in reader.frames.tolist():
        yield (
            reader.labels(frame).tobytes(),
            reader.confidence(frame).tobytes(),
            float(reader.entropy[frame]),
            float(np.nan_to_num(reader.flicker[frame], nan=-1)),
        )


@pytest.fixture(scope="module")
def uninterrupted(net: Network, clip: Path, place: Path) -> Path:
    return run(net, clip, place / "uninterrupted")[0].folder


def test_a_pass_stores_what_the_engine_says(net: Network, clip: Path, uninterrupted: Path) -> None:
    reader = PredictionReader(uninterrupted)
    assert reader.frames.tolist() == list(range(FRAMES))
    assert reader.manifest.model_hash == net.sha256
    with open_media(clip) as media:
        engine = Engine(net, media)
        for frame in (0, 1, FRAMES - 1):
            said = engine.segment(frame)
            np.testing.assert_array_equal(reader.labels(frame), said.labels)
            np.testing.assert_array_equal(reader.confidence(frame), said.confidence)


def test_flicker_compares_with_the_frame_before(clip: Path, uninterrupted: Path) -> None:
    reader = PredictionReader(uninterrupted)
    assert np.isnan(reader.flicker[0])
    with open_media(clip) as media:
        for frame in (1, 7):
            images = media[frame - 1].image, media[frame].image
            maps = reader.labels(frame - 1), reader.labels(frame)
            expected = flicker_between(images[0], maps[0], images[1], maps[1])
            assert reader.flicker[frame] == pytest.approx(expected, abs=1e-6)


def test_every_third_frame_is_segmented_as_all_are(
    net: Network, clip: Path, uninterrupted: Path, tmp_path: Path
) -> None:
    reader, frames = PredictionReader(uninterrupted), range(1, FRAMES, 3)
    with open_media(clip) as media:
        steps = [*segment_media(net, media, tmp_path, SegmentOptions(frames=frames, overlay=True))]
    assert [step.frame for step in steps] == [*frames]
    with open_media(tmp_path / "overlay.mp4") as overlay, open_media(clip) as media:
        assert len(overlay) == len(frames)
        assert overlay.fps == pytest.approx(media.fps / 3)
    for frame in frames:
        found = read_label_png(tmp_path / "labels" / f"{frame:06d}.png", 256)
        np.testing.assert_array_equal(found, reader.labels(frame))


@pytest.mark.parametrize("align", [False, True])
def test_entropy_is_that_of_the_enlarged_probabilities(align: bool) -> None:
    logits = torch.randn(1, 5, 4, 6, generator=torch.Generator().manual_seed(0)) * 4
    found = to_segmentation(logits, (32, 48), align_corners=align, entropy=True)
    full = torch.nn.functional.interpolate(
        logits.double(), (32, 48), mode="bilinear", align_corners=align
    )
    p = full.softmax(1).numpy()
    assert found.entropy == pytest.approx(-(p * np.log(p)).sum(1).mean(), abs=1e-5)
    plain = to_segmentation(logits, (32, 48), align_corners=align)
    assert plain.entropy is None
    np.testing.assert_array_equal(plain.labels, found.labels)
    np.testing.assert_array_equal(plain.confidence, found.confidence)


def test_the_entropy_of_certainty_is_not_below_0() -> None:
    logits = torch.zeros(1, 3, 2, 2)
    logits[:, 0] = 200
    found = to_segmentation(logits, (8, 8), align_corners=False, entropy=True)
    assert found.entropy == 0


@pytest.mark.parametrize("stop", [1, 5])
def test_a_pass_that_was_stopped_goes_on_to_the_same_result(
    stop: int, net: Network, clip: Path, uninterrupted: Path, tmp_path: Path
) -> None:
    with open_media(clip) as media:
        options = PassOptions(frames=range(FRAMES))
        steps = predict_media(net, media, PredictionFolders(tmp_path), options)
        seen = [next(steps).frame for _ in range(stop)]
        steps.close()
    report, told = run(net, clip, tmp_path)
    assert seen == list(range(stop))
    assert report.computed <= FRAMES - stop
    assert len(told) == report.computed
    assert told[-1].done == told[-1].total == FRAMES
    assert list(stored(report.folder)) == list(stored(uninterrupted))


def test_ranges_in_any_order_come_to_the_same_result(
    net: Network, clip: Path, uninterrupted: Path, tmp_path: Path
) -> None:
    for frames in (range(7, 9), range(2, 3), range(2, FRAMES, 5), range(FRAMES)):
        report, _ = run(net, clip, tmp_path, frames)
    assert report.computed == FRAMES - 3 - len({*range(2, FRAMES, 5)} - {2, 7, 8})
    assert list(stored(report.folder)) == list(stored(uninterrupted))
    assert run(net, clip, tmp_path)[0].computed == 0


def test_a_pass_works_while_another_has_the_project_open(
    net: Network, clip: Path, tmp_path: Path
) -> None:
    with Project.create(tmp_path / "p", CLASSES, [clip]) as window:
        assert window.read_only is None
        report, _ = run(net, clip, tmp_path / "p", range(2))
        assert [each.path for each in window.predictions.all()] == [report.folder]
        assert len(PredictionReader(report.folder)) == 2


def test_two_passes_of_the_same_are_refused(net: Network, clip: Path, tmp_path: Path) -> None:
    with open_media(clip) as media:
        options = PassOptions(frames=range(FRAMES))
        first = predict_media(net, media, PredictionFolders(tmp_path), options)
        next(first)
        with pytest.raises(ProjectError, match="is being written by"):
            run(net, clip, tmp_path)
        first.close()


def test_other_settings_are_other_predictions(net: Network, clip: Path, tmp_path: Path) -> None:
    kinds: list[dict[str, bool]] = [{}, {"cuts": False}, {"probabilities": True}]
    folders = {run(net, clip, tmp_path, range(1), **kind)[0].folder for kind in kinds}
    assert len(folders) == 3


def test_probabilities_and_features_are_kept(net: Network, clip: Path, tmp_path: Path) -> None:
    report, _ = run(net, clip, tmp_path, range(3), probabilities=True, features=True)
    reader = PredictionReader(report.folder)
    assert report.manifest.features is not None
    assert reader.features(2).shape == report.manifest.features
    with open_media(clip) as media:
        first = net.encode(media[0].image)
    assert first.key is not None
    np.testing.assert_allclose(reader.features(0), first.key[0], rtol=1e-2, atol=1e-2)
    expected = net.decode(first, []).logits[0].softmax(0)
    np.testing.assert_allclose(reader.probabilities(0), expected, atol=1e-3)


def test_a_model_without_projections_has_no_features(clip: Path, tmp_path: Path) -> None:
    plain = Network(checkpoint(pspnet_config()), device="cpu", precision="fp32")
    with pytest.raises(CheckpointError, match="leave --features out"):
        run(plain, clip, tmp_path, range(1), features=True)
    assert not (tmp_path / "predictions").exists()


def test_what_a_killed_beginning_left_is_removed(
    net: Network, clip: Path, uninterrupted: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "predictions" / uninterrupted.name
    folder.mkdir(parents=True)
    left = folder / f"{temporary_prefix(folder / 'manifest.json')}abcdefgh.json"
    left.write_text("{")
    report, _ = run(net, clip, tmp_path, range(1))
    assert report.folder == folder
    assert not list(folder.glob(".*"))
    assert report.manifest.height == HEIGHT
    assert report.manifest.width == WIDTH


@pytest.fixture
def threads() -> Iterator[None]:
    """Puts the number of torch's threads back."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="there is but one way to compute")
@pytest.mark.parametrize("begun", [1, 2])
def test_a_pass_goes_on_as_it_began_whatever_the_number_of_threads(
    begun: int, threads: None, clip: Path, tmp_path: Path
) -> None:
    """Sums in other parts are rounded otherwise, as in a program that was started otherwise."""
    plain = Network(checkpoint(pspnet_config()), device="cpu", precision="fp32")
    torch.set_num_threads(begun)
    whole, _ = run(plain, clip, tmp_path / "whole")
    assert whole.notes == ()
    run(plain, clip, tmp_path / "part", range(4))
    torch.set_num_threads(3 - begun)
    report, _ = run(plain, clip, tmp_path / "part")
    assert report.computed == FRAMES - 4
    assert list(stored(report.folder)) == list(stored(whole.folder))
    assert f"it went on with {begun} threads" in report.notes[0]
    assert torch.get_num_threads() == 3 - begun
    assert run(plain, clip, tmp_path / "part")[0].notes == ()  # nothing was left to do


def test_a_pass_on_another_device_says_that_it_is_one(
    net: Network, clip: Path, tmp_path: Path
) -> None:
    report, _ = run(net, clip, tmp_path, range(2))
    manifest = report.folder / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"device": "cpu"', '"device": "cuda"'))
    again, _ = run(net, clip, tmp_path)
    assert "predicted on cuda, these on cpu" in again.notes[0]


def test_a_pass_keeps_the_budget_and_what_it_made(net: Network, clip: Path, tmp_path: Path) -> None:
    with Project.create(tmp_path / "p", CLASSES, [clip]) as project:
        project.set_cache_bytes(0)
        first, _ = run(net, clip, project.folder, range(2), cuts=False)
        assert first.notes == ()
        second, _ = run(net, clip, project.folder, range(2))
        assert "1 folders of predictions" in second.notes[0]
        assert [each.path for each in project.predictions.all()] == [second.folder]
