"""Writes inspection bundles (:mod:`stt_core.inspection.bundle`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stt_core.device import describe_device, precision_name
from stt_core.engine import Engine, Steps
from stt_core.formats.class_files import write_json
from stt_core.formats.label_png import palette_of, save_ids, save_rgb
from stt_core.formats.staging import staged
from stt_core.inspection.answers import Query
from stt_core.inspection.asking import Asked, ask, class_maps, key_classes
from stt_core.inspection.bundle import (
    ARRAYS_FILE,
    FORMAT,
    JSON_FILE,
    VERSION,
    array_name,
    picture_name,
)
from stt_core.inspection.change import NO_CHANGE
from stt_core.inspection.places import Place
from stt_core.inspection.probing import at_cells, queries_of
from stt_core.media.source import media_hash
from stt_core.versions import versions


def write_bundle(
    engine: Engine, folder: Path, pins: Sequence[Place], *, force: bool = False
) -> Steps[Path]:
    """Write what pinned queries saw and made of it; return the folder. It appears whole or not.

    Args:
        engine: what computes.
        folder: must not exist, or be empty.
        pins: the queries, of any frames; at least one.
        force: let positions attend even if they were not selected.

    Raises:
        IndexError: a place is not there.
        ValueError: no pins.
        CheckpointError: the model has no sparse temporal attention.
        MediaError: the medium cannot be read any more.
        OutputError: the folder exists or cannot be written.
    """
    if not pins:
        raise ValueError("a bundle is of at least one query")
    with staged(folder, as_file=False) as part:
        queries: list[dict[str, object]] = []
        arrays: dict[str, NDArray[np.generic]] = {}
        frames: set[int] = set()
        grid = (0, 0)
        for number, place in enumerate(pins):
            asked = yield from ask(engine, place, force=force)
            numbers = yield from _numbers(engine, asked)
            arrays |= {array_name(number, name): array for name, array in numbers.items()}
            need = float(asked.reading.decoded.need[0, asked.position])
            queries.append(_plain(asked.query, need))
            frames |= {asked.query.frame, *asked.query.frames}
            grid = asked.grid
        for frame in sorted(frames):
            yield from _write_pictures(engine, part, frame)
        np.savez_compressed(part / ARRAYS_FILE, **arrays)  # type: ignore[arg-type]
        told = {
            **_about(engine),
            "size": [engine.media.height, engine.media.width],
            "grid": list(grid),
            "frames": sorted(frames),
            "pins": queries,
        }
        write_json(part / JSON_FILE, told)
    return folder


def _numbers(engine: Engine, asked: Asked) -> Steps[dict[str, NDArray[np.generic]]]:
    """What :data:`stt_core.inspection.bundle.ARRAYS` lists."""
    network, reading, window = engine.network, asked.reading, asked.window
    there = window.inside
    lag, row, col = (part[there] for part in (window.lag, window.row, window.col))
    here = np.array([asked.query.row]), np.array([asked.query.col])
    maps = yield from class_maps(engine, asked.query.frames)
    classes = key_classes(asked.query.frames, maps, window)[there]
    weights = np.zeros((network.reach.heads, 0), np.float32)
    probabilities = asked.probabilities()
    feature = at_cells(reading.current.features, *here)
    query = queries_of(network, reading.current, np.array([asked.position])).cpu().numpy()
    features, projected = [feature[:0]], [query[:0]]
    if asked.query.attends:
        probe = asked.probe(network)
        heard = NO_CHANGE.heard(window, network.reach.heads)[None]
        weights, probabilities = probe.weights(heard)[0][:, there], probe.probabilities(heard)[0]
        for i, key_frame in enumerate(reading.memory):
            mine = lag == i
            features.append(at_cells(key_frame.features, row[mine], col[mine]))
            assert key_frame.key is not None
            projected.append(at_cells(key_frame.key, row[mine], col[mine]))
        yield
    return {
        "keys": np.stack([lag, row, col], 1).astype(np.int32),
        "weights": weights,
        "probabilities": probabilities,
        "key_classes": classes.astype(np.uint8),
        "feature": feature[0],
        "key_features": np.concatenate(features),
        "query": query[0],
        "projected_keys": np.concatenate(projected),
    }


def _write_pictures(engine: Engine, part: Path, frame: int) -> Steps[None]:
    found = yield from engine.segment_steps(frame)
    save_rgb(part / picture_name("frames", frame), engine.media[frame].image)
    palette = palette_of(engine.network.header.classes)
    save_ids(part / picture_name("labels", frame), found.labels, palette)
    yield


def _plain(query: Query, need: float) -> dict[str, object]:
    return {
        "frame": query.frame,
        "row": query.row,
        "col": query.col,
        "box": list(query.box),
        "selected": query.selected,
        "forced": query.forced,
        "need": need,
        "key_frames": list(query.frames),
        "radii": list(query.radii),
    }


def _about(engine: Engine) -> dict[str, object]:
    network, media = engine.network, engine.media
    return {
        "format": FORMAT,
        "version": VERSION,
        "medium": {
            "name": media.path.name,
            "hash": media_hash(media.path),
            "frames": len(media),
            "fps": round(media.fps, 4),
        },
        "model": {
            "sha256": network.sha256,
            "config": asdict(network.config),
            "step": network.header.step,
            "licence": network.header.licence,
        },
        "settings": {
            "device": describe_device(network.device),
            "precision": precision_name(network.dtype),
            "cuts": engine.cuts,
        },
        "classes": [{"name": c.name, "color": list(c.color)} for c in network.header.classes],
        "versions": versions(),
    }
