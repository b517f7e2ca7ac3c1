"""Generated scenes as data: every frame labelled, and the flow to the frame before it exact."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stt_core.cache import ByteCache
from stt_core.data.class_tables import camvid_classes
from stt_core.data.sequences import DataSet
from stt_core.data.spec import Spec
from stt_core.scenes.scene import Scene

SCENES_OPTIONS = ("frames", "every")
SCENE_FRAMES = 120
"""Of each seed: 8 seconds."""
_CACHE_BYTES = 1 << 30
_RANGE = re.compile(r"(\d+)-(\d+)", re.ASCII)


@dataclass(frozen=True, slots=True)
class _Rendered:
    image: NDArray[np.uint8]
    labels: NDArray[np.uint8]


class _Studio:
    """Renders the frames of some seeds and keeps what it can. A copy begins with nothing kept."""

    def __init__(self, budget: int) -> None:
        self._budget = budget
        self._frames: ByteCache[_Rendered] = ByteCache(budget)
        self._flows: ByteCache[NDArray[np.float32]] = ByteCache(budget // 4)
        self._scene: Scene | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._budget,)

    def frame(self, seed: int, index: int) -> _Rendered:
        key = _key(seed, index)
        found = self._frames.get(key)
        if found is None:
            frame = self._scene_of(seed).frame(index, with_flow=False)
            for pixels in (frame.image, frame.labels):
                pixels.flags.writeable = False
            found = _Rendered(frame.image, frame.labels)
            self._frames.put(key, found, frame.image.nbytes + frame.labels.nbytes)
        return found

    def flow_back(self, seed: int, index: int) -> NDArray[np.float32]:
        key = _key(seed, index)
        found = self._flows.get(key)
        if found is None:
            motion = self._scene_of(seed).flow(index, index - 1)
            found = np.where(motion.visible[..., None], motion.flow, np.float32(np.nan))
            found.flags.writeable = False
            self._flows.put(key, found, found.nbytes)
        return found

    def _scene_of(self, seed: int) -> Scene:
        if self._scene is None or self._scene.seed != seed:
            self._scene = Scene(seed)
        return self._scene


class SceneSequence:
    """A :class:`stt_core.data.sequences.FrameSequence` of one seed.

    Args:
        seed: of the scene.
        frames: how many there are.
        every: only each so many-th frame counts as labelled.
        studio: shared by the seeds of a data set.
    """

    video = True

    def __init__(self, seed: int, frames: int, every: int, studio: _Studio) -> None:
        self.name = f"scene {seed}"
        self._seed, self._frames, self._every, self._studio = seed, frames, every, studio

    def __len__(self) -> int:
        return self._frames

    @property
    def labelled(self) -> Sequence[int]:
        # the last of each so many, so that the first one has a past
        return range(self._every - 1, self._frames, self._every)

    def image(self, index: int) -> NDArray[np.uint8]:
        self._require(index)
        return self._studio.frame(self._seed, index).image

    def labels(self, index: int) -> NDArray[np.uint8] | None:
        self._require(index)
        return self._studio.frame(self._seed, index).labels if index in self.labelled else None

    def flow(self, index: int) -> NDArray[np.float32] | None:
        """None for the first frame alone."""
        self._require(index)
        return self._studio.flow_back(self._seed, index) if index else None

    def frame_name(self, index: int) -> str:
        return f"{self._seed}_{index:06d}"

    def _require(self, index: int) -> None:
        if not 0 <= index < self._frames:
            raise IndexError(
                f"frame {index} of {self.name}, which has frames 0 to {self._frames - 1}"
            )


def open_scenes(spec: Spec) -> DataSet:
    """The scenes of a range of seeds, both ends included.

    Raises:
        DataError: there is no such range, or no frame of it counts as labelled.
    """
    match = _RANGE.fullmatch(spec.rest)
    if not match or int(match[1]) > int(match[2]):
        raise spec.error("it names no seeds: say scenes:FIRST-LAST, as in scenes:100-299")
    frames, every = spec.number("frames", SCENE_FRAMES), spec.number("every", 1)
    if every > frames:
        raise spec.error(f"with every={every}, no frame of {frames} counts as labelled")
    seeds, studio = range(int(match[1]), int(match[2]) + 1), _Studio(_CACHE_BYTES)
    sequences = tuple(SceneSequence(seed, frames, every, studio) for seed in seeds)
    identity = f"scenes,{seeds.start}-{seeds.stop - 1},frames={frames},every={every}"
    digest = hashlib.sha256(identity.encode()).hexdigest()
    return DataSet(spec.text, camvid_classes(), "", digest, sequences)


def _key(seed: int, index: int) -> int:
    return seed << 32 | index
