"""Writing into the prediction store of a project, which needs no right to write the project."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from stt_core.files import writing
from stt_core.project.prediction_folders import PredictionFolders, PredictionKey, settings_digest
from stt_core.project.predictions.manifest import Manifest
from stt_core.project.predictions.writer import PredictionWriter


@contextmanager
def claimed_writer(folders: PredictionFolders, manifest: Manifest) -> Iterator[PredictionWriter]:
    """The predictions of a manifest, found or begun, for the block alone to write.

    Raises:
        ProjectError, OutputError: somebody writes them right now, or the disk is full.
        FormatError: they are damaged, or a newer version wrote them.
    """
    key = PredictionKey(
        manifest.media_hash, manifest.model_hash, settings_digest(manifest.settings)
    )
    with folders.claim(key) as folder:
        for stray in folder.glob(".key.*"):  # of who was killed while claiming it
            with writing(stray):
                stray.unlink(missing_ok=True)
        with PredictionWriter(folder, manifest) as writer:
            yield writer
