"""A small moving world, engines on it, and what they compute written out by hand."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from stt_core.checkpoint import Checkpoint
from stt_core.config import SttConfig
from stt_core.engine import Engine, Reading, run
from stt_core.inspection.places import Cell
from stt_core.media.source import open_media
from stt_core.model.stt import Stt
from stt_core.network import Network
from tests.core.models import checkpoint, lite_config, stt_config

FRAMES = 9
SIZE = (64, 96)
GRID = (8, 12)
SHIFT = 2
"""Pixels that everything moves to the right, each frame."""

CONFIGS = {
    "dot": stt_config(key_frames=3),
    "distance": stt_config(key_frames=2, attention="distance", norm="gate", key_spacing=2),
    "backbone": stt_config(lite_config(), key_frames=2, insert="backbone"),
}


def pictures(count: int = FRAMES, size: tuple[int, int] = SIZE) -> list[NDArray[np.uint8]]:
    """A texture that moves to the right, [H, W, 3]."""
    rng = np.random.default_rng(5)
    coarse = rng.integers(0, 255, (size[0] // 4, size[1] // 2, 3), dtype=np.uint8)
    wide = Image.fromarray(coarse).resize((2 * size[1], size[0]), Image.Resampling.BICUBIC)
    texture = np.asarray(wide)
    start = size[1] // 2 + SHIFT * count // 2
    return [
        texture[:, start - SHIFT * t : start - SHIFT * t + size[1]].copy() for t in range(count)
    ]


def write_frames(folder: Path, frames: list[NDArray[np.uint8]]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for i, frame in enumerate(frames):
        Image.fromarray(frame).save(folder / f"{i:03d}.png")
    return folder


def made(config: SttConfig) -> Checkpoint:
    found = checkpoint(config)
    assert isinstance(found.model, Stt)
    if config.insert == "backbone":  # it starts without effect
        nn.init.normal_(found.model.expand.weight, std=0.3)
    if config.attention == "distance":
        nn.init.constant_(found.model.stt.log_sharpness, -4.0)  # or one key takes all
    loud = {"bottleneck": 20.0 if config.norm == "gate" else 1.0, "backbone": 40.0}[config.insert]
    with torch.no_grad():  # or every probability is 0 or 1
        classifier = found.model.frame.classifier
        classifier.weight /= loud  # type: ignore[operator]
    return found


def engine_on(folder: Path, config: SttConfig, **options: object) -> Engine:
    network = Network(made(config), device="cpu", precision="fp32", backend="reference")
    return Engine(network, open_media(folder), **{"cuts": False, **options})  # type: ignore[arg-type]


def run_all(steps: Generator[None, None, object]) -> int:
    """How often an act paused."""
    return sum(1 for _ in steps)


def a_selected(engine: Engine, frame: int, number: int = 5) -> Cell:
    """The cell of one of a frame's queries."""
    selected = np.argwhere(engine.segment(frame).selected)
    row, col = selected[number % len(selected)]
    return Cell(frame, int(row), int(col))


def an_unselected(engine: Engine, frame: int, number: int = 2) -> Cell:
    row, col = np.argwhere(~engine.segment(frame).selected)[number]
    return Cell(frame, int(row), int(col))


def reading(engine: Engine, frame: int) -> Reading:
    return run(engine.reading_steps(frame))


def focus_weights(engine: Engine, cell: Cell) -> NDArray[np.float32]:
    """``[heads, F, h, w]`` as the model gives them for one position of its frame."""
    read = reading(engine, cell.frame)
    position = cell.row * read.current.size[1] + cell.col
    return engine.network.focus(read.current, read.memory, position).weights.numpy()


def softmax(logits: Tensor) -> NDArray[np.float32]:
    return logits.float().softmax(0).numpy()


def classes_of(engine: Engine, frame: int) -> NDArray[np.intp]:
    """``[h, w]`` class of every cell, looked up one by one."""
    read = reading(engine, frame)
    (rows, cols), logits = read.current.size, read.decoded.logits[0].numpy()
    found = np.zeros((rows, cols), np.intp)
    for row in range(rows):
        for col in range(cols):
            y, x = row * logits.shape[1] // rows, col * logits.shape[2] // cols
            found[row, col] = logits[:, y, x].argmax()
    return found


@dataclass
class ByHand:
    """The block of a model on a frame, all its products dense and masked, in float64."""

    engine: Engine
    config: SttConfig

    @torch.no_grad()
    def weights(self, read: Reading, allowed: Tensor) -> Tensor:
        """``[N, H, F, N]`` where of each query only `allowed` keys, same shape, are read."""
        block = self._block()
        rows = self._rows(read)
        heads = self.config.heads
        q = block.q_proj(rows).unflatten(1, (heads, -1))  # [N, H, D]
        parts = []
        for m in read.memory:
            # keys anew from the features: what the engine keeps is not trusted here
            k = block.k_proj(self._reduced(m.features)[0].flatten(1).T.double())
            k = k.unflatten(1, (heads, -1))
            if self.config.attention == "dot":
                parts.append(torch.einsum("nhd,mhd->nhm", q, k) / q.shape[2] ** 0.5)
            else:  # of a head's channels the last is not compared
                far = (q[:, None, :, :-1] - k[None, :, :, :-1]).square().sum(3)  # [N, M, H]
                parts.append(-0.5 * block.log_sharpness.exp()[:, None] * far.mT)
        scores = torch.stack(parts, 2).masked_fill(~allowed, -torch.inf).flatten(2)
        weights = scores.softmax(2).masked_fill(~allowed.flatten(2).any(2, keepdim=True), 0)
        return weights.unflatten(2, (len(read.memory), -1))

    @torch.no_grad()
    def attended(self, read: Reading, allowed: Tensor) -> Tensor:
        """``[N, d]``: what every position becomes if it reads `allowed`."""
        block = self._block()
        rows, weights = self._rows(read), self.weights(read, allowed)
        values = torch.stack(
            [block.v_proj(self._reduced(m.features)[0].flatten(1).T.double()) for m in read.memory]
        ).unflatten(2, (self.config.heads, -1))  # [F, N, H, D]
        context = torch.einsum("nhfm,fmhd->nhd", weights, values).flatten(1)
        if self.config.norm == "gate":
            share = block.gate.sigmoid()
            y = (1 - share) * rows + share * block.o_proj(context)
            return y + block.ffn(y)
        y = block.norm1(rows + block.o_proj(context))
        return block.norm2(y + block.ffn(y))

    @torch.no_grad()
    def logits(self, read: Reading, attended: Tensor, asking: NDArray[np.intp]) -> Tensor:
        """``[classes, ...]`` of the frame where positions `asking` take what they read."""
        model, rows = self._model(), self._rows(read)
        out = rows if self.config.norm == "gate" else model.stt.norm2(rows)
        out = out.clone()
        out[asking] = attended[asking]
        refined = out.T.unflatten(1, read.current.size)[None]
        head = model.frame.cls
        if self.config.insert == "bottleneck":
            return head[4](refined)[0]
        deep = read.current.features.double() + model.expand(refined)
        pyramid = model.frame.trunk.ppm(deep)  # type: ignore[operator]
        if read.current.shallow is not None:
            size = read.current.shallow.shape[2:]
            pyramid = nn.functional.interpolate(pyramid, size, mode="bilinear")
            pyramid = torch.cat([pyramid, read.current.shallow.double()], 1)
        return head[4](head[2](head[1](head[0](pyramid))))[0]

    def windows(self, read: Reading) -> Tensor:
        """``[N, H, F, N]`` bool: every key within the windows."""
        rows, cols = read.current.size
        grid = torch.cartesian_prod(torch.arange(rows), torch.arange(cols))
        far = (grid[:, None] - grid).abs().amax(2)
        seen = torch.stack([far <= r for r in self.config.radii[: len(read.memory)]], 1)
        return seen[:, None].repeat(1, self.config.heads, 1, 1)

    def _model(self) -> Stt:
        if not hasattr(self, "_made"):
            model = made(self.config).model
            assert isinstance(model, Stt)
            self._made = model.double().eval()
            for part in self._made.modules():
                if isinstance(part, nn.LayerNorm):
                    part.double()
        return self._made

    def _block(self) -> nn.Module:
        return self._model().stt

    def _reduced(self, features: Tensor) -> Tensor:
        features = features.double()
        return self._model().reduce(features) if self.config.insert == "backbone" else features

    def _rows(self, read: Reading) -> Tensor:
        return self._reduced(read.current.features)[0].flatten(1).T
