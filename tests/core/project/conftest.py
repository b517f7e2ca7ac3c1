from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from stt_core.project.store import Project
from tests.core.project.material import new_project, write_video


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("media") / "clip.mp4")


@pytest.fixture
def project(tmp_path: Path, clip: Path) -> Iterator[Project]:
    """Open for writing, with one video."""
    made, _ = new_project(tmp_path / "project", clip)
    with made:
        yield made


@pytest.fixture
def media_id(project: Project) -> str:
    return project.media[0].id
