"""Flow between neighbouring frames of a data set, by its name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stt_core.data.sequences import DataSet
from stt_core.errors import DataError
from stt_core.evaluation.frame_files import Frames, find_frame_files
from stt_core.flow import FlowName, dis_flow
from stt_core.formats.flo import read_flo
from stt_core.metrics.consistency import (
    Protocol,
    Warp,
    find_warp,
    needs_backward,
    needs_forward,
)

BACKWARD = "backward"
"""Folder, in one of .flo files, of those that lead to the frame before."""
_Flow = NDArray[np.float32]


class Flows:
    """Tells for each pair of neighbours which pixels are compared.

    Args:
        data: what is measured on.
        pairs: the later frame of each pair, for each sequence.
        protocol: of temporal consistency.
        flow: where the flow comes from.
        folder: of .flo files, for that kind. NAME.flo leads from the frame of that name to the
            next, as ETC keeps them; backward/NAME.flo leads to the frame before.

    Raises:
        DataError: flow that the protocol needs is not to be had.
        ValueError: a folder is missing, or given to no use.
    """

    def __init__(
        self,
        data: DataSet,
        pairs: Frames,
        protocol: Protocol,
        flow: FlowName,
        folder: Path | None = None,
    ) -> None:
        if (folder is not None) != (flow == "flo"):
            raise ValueError(f"a flow folder goes with the flow 'flo', got {flow=} {folder=}")
        if flow == "exact" and protocol == "etc":
            raise DataError(
                "exact flow is known from each frame to the one before, and the protocol etc needs "
                "it to the next: measure plain or masked, or take another flow"
            )
        self.name = flow if folder is None else f"flo:{folder.name}"
        self._data, self._protocol, self._flow = data, protocol, flow
        self._files: dict[str, dict[tuple[int, int], Path]] = {}
        if folder is not None:
            self._find_files(pairs, folder)

    def warp(
        self, sequence: int, index: int, before: NDArray[np.uint8], image: NDArray[np.uint8]
    ) -> Warp:
        """Between frame `index` of a sequence, ``[H, W, 3]`` RGB, and the one before it.

        Raises:
            DataError: the flow is not known, or of another size.
            FormatError: a .flo file cannot be read.
        """
        backward = forward = None
        if needs_backward(self._protocol):
            backward = self._lead(BACKWARD, sequence, index, image, before)
        if needs_forward(self._protocol) and self._flow != "exact":
            forward = self._lead("forward", sequence, index, before, image)
        return find_warp(self._protocol, backward=backward, forward=forward)

    def _lead(
        self,
        way: str,
        sequence: int,
        index: int,
        image: NDArray[np.uint8],
        other: NDArray[np.uint8],
    ) -> _Flow:
        frames = self._data.sequences[sequence]
        if self._flow == "dis":
            return dis_flow(image, other)
        if self._flow == "flo":
            path = self._files[way][sequence, index]
            what, flow = str(path), read_flo(path)
        else:
            what, known = f"the exact flow of frame {frames.frame_name(index)}", frames.flow(index)
            if known is None:
                raise DataError(
                    f"{what} is not known: {self._data.spec} is no generated data. Measure with "
                    f"the flow dis, or with a folder of .flo files"
                )
            flow = known
        if flow.shape[:2] != image.shape[:2]:
            sizes = [f"{shape[1]} x {shape[0]}" for shape in (flow.shape, image.shape)]
            raise DataError(f"{what} is {sizes[0]}, but its frame is {sizes[1]}")
        return flow

    def _find_files(self, pairs: Frames, folder: Path) -> None:
        ways: list[tuple[str, int, tuple[Path, ...]]] = []
        if needs_forward(self._protocol):
            ways.append(("forward", 1, (folder, folder / "forward")))
        if needs_backward(self._protocol):
            ways.append((BACKWARD, 0, (folder / BACKWARD,)))
        for way, lag, roots in ways:
            frames = [[index - lag for index in indices] for indices in pairs]
            found = find_frame_files(self._data, frames, roots, ".flo")
            if found.missing:
                to = "the one before" if way == BACKWARD else "the next"
                raise DataError(
                    f"{folder} lacks {len(found.missing)} of {sum(map(len, frames))} flows from a "
                    f"frame to {to}, which the protocol {self._protocol} needs, the first of them "
                    f"{found.missing[0]}"
                )
            self._files[way] = {(s, i + lag): path for (s, i), path in found.files.items()}
