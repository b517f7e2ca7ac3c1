from __future__ import annotations

from pathlib import Path

import pytest

from stt_core.engine import Engine
from tests.core.inspection.scene import CONFIGS, ByHand, engine_on, pictures, write_frames


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_frames(tmp_path_factory.mktemp("frames") / "clip", pictures())


@pytest.fixture(scope="session")
def engine(clip: Path) -> Engine:
    """The plain case: attention by products, at the bottleneck."""
    return engine_on(clip, CONFIGS["dot"])


@pytest.fixture(scope="session", params=CONFIGS)
def hands(clip: Path, request: pytest.FixtureRequest) -> ByHand:
    """Every kind of model, with what it computes written out."""
    config = CONFIGS[request.param]
    return ByHand(engine_on(clip, config), config)


@pytest.fixture(scope="session")
def backbone(clip: Path) -> Engine:
    return engine_on(clip, CONFIGS["backbone"])
