"""Batches: which clips a step learns from, loaded ahead of it.

What a draw is depends on the run's seed and the draw's number alone. So a run can be taken up at
any step, and several processes can share one, without anything to remember.

Dimensions: B clips of this process, H x W crop, T past frames.
"""

from __future__ import annotations

import hashlib
import signal
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from stt_core.data.augment import augment
from stt_core.data.clips import Clip, ClipSource
from stt_core.errors import TrainingError
from stt_core.flow import dis_flow
from stt_core.pipeline import read_ahead
from stt_core.training.config import TrainConfig

_READ_AHEAD = 4


class Batch(NamedTuple):
    """Clips as tensors, those with labels first."""

    images: Tensor  # [B, H, W, 3] uint8
    labels: Tensor  # [B, H, W] uint8, 255 ignored
    past: Tensor  # [B, T, H, W, 3] uint8, newest first; the last again where a clip has fewer
    lengths: Tensor  # [B] long, past frames of each clip
    flow: (
        Tensor  # [B, H, W, 2] to the frame before, NaN where unknown; [B, 0, 0, 2] if not asked for
    )
    labelled: int
    """How many clips of it have labels."""
    names: tuple[str, ...]

    def pick(self, rows: Sequence[int]) -> Batch:
        """Some of the clips; `rows` rise."""
        which = torch.tensor(rows, device=self.images.device)
        labelled = sum(row < self.labelled for row in rows)
        return self._each(lambda x: x[which], labelled, tuple(self.names[r] for r in rows))

    def to(self, device: torch.device) -> Batch:
        """The same on a device."""
        return self._each(lambda x: x.to(device), self.labelled, self.names)

    def _each(
        self, change: Callable[[Tensor], Tensor], labelled: int, names: tuple[str, ...]
    ) -> Batch:
        tensors = (self.images, self.labels, self.past, self.lengths, self.flow)
        images, known, past, lengths, flow = map(change, tensors)
        return Batch(images, known, past, lengths, flow, labelled, names)


class Draw(NamedTuple):
    """One clip of the run."""

    number: int
    """Counted over all draws of its kind, from 0."""
    labelled: bool


@dataclass(frozen=True, slots=True)
class Share:
    """Which part of every batch this process takes."""

    rank: int = 0
    size: int = 1

    def of(self, draws: Sequence[Draw]) -> list[Draw]:
        """Its part of the draws of a batch: of each kind about as many as the others have."""
        return list(draws[self.rank :: self.size])


def unlabelled_share(config: TrainConfig, step: int) -> int:
    """How many clips of the batch of step `step`, 0 the first, have no labels."""
    pseudo = config.pseudo
    if pseudo is None or step < first_pseudo_step(config):
        return 0
    return min(max(round(config.batch_size * pseudo.share), 1), config.batch_size - 1)


def first_pseudo_step(config: TrainConfig) -> int:
    """The step, 0 the first, from which unlabelled clips are learnt from."""
    assert config.pseudo is not None
    return round(config.pseudo.start * config.steps)


def load_batches(
    sources: Sequence[ClipSource],
    unlabelled: Sequence[ClipSource],
    config: TrainConfig,
    *,
    start: int = 0,
    share: Share | None = None,
) -> Generator[Batch, None, None]:
    """The batches of a run from step `start`, 0 the first, to its end.

    Args:
        sources: clips are drawn from each in equal share.
        unlabelled: the same for the second phase.
        config: the recipe.
        start: the step to begin with.
        share: the part of every batch to load; all of it if None.
    """
    loader: DataLoader[tuple[Clip, bool]] = DataLoader(
        _Draws(tuple(sources), tuple(unlabelled), config),
        batch_sampler=_Plan(config, start, share or Share()),
        num_workers=config.workers,
        collate_fn=_collate,
        prefetch_factor=_READ_AHEAD if config.workers else None,
        multiprocessing_context="spawn" if config.workers else None,  # the same on every system
        worker_init_fn=_alone_on_its_core,
    )
    if not config.workers:
        yield from read_ahead(loader, _READ_AHEAD)
        return
    try:
        yield from loader
    except RuntimeError as error:  # a process that was killed, or ran out of memory
        raise TrainingError(
            f"a process that loads clips ended ({str(error).splitlines()[0]}): take fewer workers, "
            f"or 0 to see what goes wrong"
        ) from error


class _Plan:
    """The draws of every batch, in order."""

    def __init__(self, config: TrainConfig, start: int, share: Share) -> None:
        self._config, self._start, self._share = config, start, share

    def __len__(self) -> int:
        return self._config.steps - self._start

    def __iter__(self) -> Iterator[list[Draw]]:
        config = self._config
        known = unknown = 0
        for step in range(config.steps):
            without = unlabelled_share(config, step)
            with_labels = config.batch_size - without
            if step >= self._start:
                draws = [Draw(known + i, True) for i in range(with_labels)]
                draws += [Draw(unknown + i, False) for i in range(without)]
                yield self._share.of(draws)
            known += with_labels
            unknown += without


class _Draws(Dataset[tuple[Clip, bool]]):
    """Clips by their draw, augmented."""

    def __init__(
        self,
        sources: tuple[ClipSource, ...],
        unlabelled: tuple[ClipSource, ...],
        config: TrainConfig,
    ) -> None:
        self._sources, self._unlabelled, self._config = sources, unlabelled, config
        self._orders: dict[tuple[bool, int], tuple[int, NDArray[np.int64]]] = {}

    def __getitem__(self, draw: Draw) -> tuple[Clip, bool]:
        sources = self._sources if draw.labelled else self._unlabelled
        which, turn = draw.number % len(sources), draw.number // len(sources)
        source = sources[which]
        epoch, place = divmod(turn, len(source))
        index = int(self._order(draw.labelled, which, epoch, len(source))[place])
        rng = np.random.default_rng([self._config.seed, 1, draw.labelled, draw.number])
        clip = augment(source.draw(index, rng), self._config.augment, rng)
        if self._config.motion is None:
            return replace(clip, flow=None), draw.labelled
        if clip.flow is None:
            clip = replace(clip, flow=_flow_back(clip))
        return clip, draw.labelled

    def _order(self, labelled: bool, which: int, epoch: int, count: int) -> NDArray[np.int64]:
        """A shuffle of a source's clips, anew in each epoch."""
        known = self._orders.get((labelled, which))
        if known is None or known[0] != epoch:
            rng = np.random.default_rng([self._config.seed, 2, labelled, which, epoch])
            known = self._orders[labelled, which] = (epoch, rng.permutation(count))
        return known[1]


def _flow_back(clip: Clip) -> NDArray[np.float32]:
    """To the frame before; NaN where there is none."""
    if clip.past:
        return dis_flow(clip.image, clip.past[0])
    return np.full((*clip.labels.shape, 2), np.nan, np.float32)


def _collate(drawn: list[tuple[Clip, bool]]) -> Batch:
    clips = [clip for clip, _ in drawn]
    height, width = clips[0].labels.shape
    flows = [clip.flow for clip in clips if clip.flow is not None]
    longest = max(1 if flows else 0, *(len(clip.past) for clip in clips))
    past = np.empty((len(clips), longest, height, width, 3), np.uint8)
    for row, clip in zip(past, clips, strict=True):
        # what fills up goes through the network too: it must look like a frame
        known = (*clip.past, *[(clip.image, *clip.past)[-1]] * (longest - len(clip.past)))
        for image, frame in zip(row, known, strict=True):
            image[:] = frame
    flow = np.stack(flows) if flows else np.zeros((len(clips), 0, 0, 2), np.float32)
    return Batch(
        torch.from_numpy(np.stack([clip.image for clip in clips])),
        torch.from_numpy(np.stack([clip.labels for clip in clips])),
        torch.from_numpy(past),
        torch.tensor([len(clip.past) for clip in clips]),
        torch.from_numpy(flow),
        sum(labelled for _, labelled in drawn),
        tuple(clip.name for clip in clips),
    )


def _alone_on_its_core(_: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C is for the process that learns
    cv2.setNumThreads(1)
    torch.set_num_threads(1)


class HasDigest(Protocol):
    """Data that can be recognised."""

    @property
    def digest(self) -> str: ...


def digest_of(sources: Sequence[HasDigest]) -> str:
    """SHA-256 in hex of what some data sets hold, in their order."""
    return hashlib.sha256("\n".join(source.digest for source in sources).encode()).hexdigest()
