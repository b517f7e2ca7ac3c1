"""What training pushes down: cross-entropy of all labelled pixels, or of the hard ones.

A loss over pixels comes as a sum and its mass, so that micro-batches and processes can be added up
before the mean is taken. Dimensions: B images, C classes, h x w the logits' map, H x W the labels'.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, distributed
from torch.utils.checkpoint import checkpoint

from stt_core.labels import IGNORED

Space = Literal["logits", "probabilities"]
CountOver = Callable[[Tensor], Tensor]
"""Adds a tensor of counts up over all processes of a run."""

_EPS = 1e-6


class Sums(NamedTuple):
    """A loss before its mean is taken."""

    total: Tensor  # scalar
    mass: Tensor  # scalar, what a mean divides by

    def mean(self) -> Tensor:
        """Of this process alone; 0 where there is no mass."""
        return self.total / self.mass.clamp_min(_EPS)


def cross_entropy_sums(
    logits: Tensor, target: Tensor, *, align_corners: bool, class_weights: Tensor | None = None
) -> Sums:
    """Cross-entropy over the labelled pixels, and their number or the sum of their weights.

    Args:
        logits: ``[B, C, h, w]``; resized to the target.
        target: ``[B, H, W]`` long, 255 where nothing is said.
        align_corners: of the resize.
        class_weights: ``[C]``.
    """
    losses = pixel_losses(logits, target, align_corners=align_corners, class_weights=class_weights)
    labelled = (target != IGNORED).to(losses.dtype)
    if class_weights is not None:
        labelled = labelled * class_weights[target.where(target != IGNORED, 0)]
    return Sums(losses.sum(), labelled.sum())


def ohem_sums(
    logits: Tensor,
    target: Tensor,
    *,
    align_corners: bool,
    confident: float = 0.7,
    one_in: int = 16,
    count_over: CountOver | None = None,
) -> Sums:
    """Cross-entropy over the hard pixels alone, as TDNet is trained (method, 4.4).

    With n = pixels / `one_in`, ignored ones counted too: where the n-th largest loss is above
    -ln `confident`, all losses above that are kept, else the n largest. Of pixels that tie for the
    last places each is kept in part, so that the gradient depends on no order. Where fewer than n
    are labelled, the mean is over those: the released code would add zeros for the rest.

    Which pixels are hard is decided over all processes together; the sums are of this one.

    Args:
        logits: ``[B, C, h, w]``; resized to the target.
        target: ``[B, H, W]`` long, 255 where nothing is said.
        align_corners: of the resize.
        confident: probability of the right class from which on a pixel is easy.
        one_in: at least one pixel in so many is kept.
        count_over: None for :func:`sum_over_processes`. Every process must come here.
    """
    losses = pixel_losses(logits, target, align_corners=align_corners)
    easy = -math.log(confident)
    kept = _hard(losses.detach(), target != IGNORED, easy, one_in, count_over or sum_over_processes)
    return Sums((losses * kept).sum(), kept.sum())


def ohem_loss(
    logits: Tensor,
    target: Tensor,
    *,
    align_corners: bool,
    confident: float = 0.7,
    one_in: int = 16,
    count_over: CountOver | None = None,
) -> Tensor:
    """Mean of :func:`ohem_sums` by :func:`mean_over_processes`; arguments as there."""
    sums = ohem_sums(
        logits,
        target,
        align_corners=align_corners,
        confident=confident,
        one_in=one_in,
        count_over=count_over,
    )
    return mean_over_processes(sums, count_over)


def mean_over_processes(sums: Sums, count_over: CountOver | None = None) -> Tensor:
    """What this process adds to the mean over all, times their number; 0 where there is no mass.

    Its average over the processes, which is what DistributedDataParallel makes of gradients, is the
    mean over everything, however unevenly the mass is spread.
    """
    here = torch.stack([sums.mass.detach(), torch.ones_like(sums.mass)])
    mass, processes = (count_over or sum_over_processes)(here)
    return sums.total * processes / mass.clamp_min(_EPS)


def sum_over_processes(counts: Tensor) -> Tensor:
    """`counts` added up over all processes, of which each must ask; itself where there is one."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return counts
    total = counts.clone()
    distributed.all_reduce(total)
    return total


def pixel_losses(
    logits: Tensor, target: Tensor, *, align_corners: bool, class_weights: Tensor | None = None
) -> Tensor:
    """Cross-entropy of each pixel, ``[B, H, W]``, 0 where ignored; arguments as of the sums."""

    def of_image(logits: Tensor, target: Tensor) -> Tensor:
        full = enlarge(logits, target.shape[1:], align_corners=align_corners)
        return F.cross_entropy(
            full, target, weight=class_weights, ignore_index=IGNORED, reduction="none"
        )

    return image_by_image(of_image, logits, target)


@torch.no_grad()
def pseudo_targets(
    scores: Tensor,
    size: tuple[int, int],
    *,
    threshold: float,
    per_class: Mapping[int, float] | Tensor | None = None,
    align_corners: bool,
    space: Space = "logits",
) -> Tensor:
    """What a teacher is sure of: its class at full resolution, 255 where it is not sure enough.

    Args:
        scores: ``[B, C, h, w]``; resized before the softmax.
        size: H, W.
        threshold: least probability of what is believed.
        per_class: other thresholds of some classes, by id.
        align_corners: of the resize.
        space: what the scores are.

    Returns:
        ``[B, H, W]`` long.
    """
    least = torch.full(scores.shape[1:2], threshold, device=scores.device)
    if isinstance(per_class, Tensor):
        least = per_class.to(least)
    else:
        for index, value in (per_class or {}).items():
            least[index] = value

    def of_image(scores: Tensor) -> Tensor:
        full = enlarge(scores, size, align_corners=align_corners)
        confidence, winner = in_space(full, "probabilities", given=space).max(1)
        return winner.where(confidence >= least[winner], IGNORED)  # NaN is not at least anything

    return image_by_image(of_image, scores)


def image_by_image(compute: Callable[..., Tensor], *batch: Tensor) -> Tensor:
    """What `compute` makes of each image, B = 1, joined; nothing inside is kept for the gradient.

    Full-size logits and what losses make of them are the largest tensors of a step: a crop of
    768 x 768 and 19 classes is 45 MB a tensor. They are made for one image at a time and made
    again going backward, which costs little beside the network.
    """
    images = zip(*(x.split(1) for x in batch), strict=True)
    return torch.cat(
        [checkpoint(compute, *x, use_reentrant=False, preserve_rng_state=False) for x in images]
    )


def enlarge(scores: Tensor, size: tuple[int, ...], *, align_corners: bool) -> Tensor:
    """``[B, C, h, w]`` resized bilinearly to ``[B, C, *size]``, in full precision."""
    return F.interpolate(precise(scores), size, mode="bilinear", align_corners=align_corners)


def in_space(scores: Tensor, space: Space, *, given: Space = "logits") -> Tensor:
    """``[B, C, ...]`` scores that are `given` as what is wanted: softmax once at most."""
    return scores.softmax(1) if (given, space) == ("logits", "probabilities") else scores


def precise(x: Tensor) -> Tensor:
    """In float32, unless it is in more."""
    return x if x.dtype == torch.float64 else x.float()


def _hard(
    losses: Tensor, labelled: Tensor, easy: float, one_in: int, count_over: CountOver
) -> Tensor:
    """Which share of each pixel is kept, in [0, 1], of the shape of `losses`."""
    ranks = losses.float().abs()  # a loss of -0.0 would rank highest by its bits
    here = torch.stack([labelled.new_tensor(labelled.numel(), dtype=torch.long), labelled.sum()])
    pixels, known = count_over(here).tolist()
    wanted = min(max(pixels // one_in, 1), known)
    if not wanted:
        return torch.zeros_like(losses)
    border, larger, equal = _kth_largest(ranks[labelled], wanted, count_over)
    if border > easy:
        return (labelled & (ranks > easy)).to(losses.dtype)
    kept = (ranks > border) + (wanted - larger) / equal * (ranks == border)
    return (kept * labelled).to(losses.dtype)


def _kth_largest(values: Tensor, k: int, count_over: CountOver) -> tuple[float, int, int]:
    """The k-th largest of the processes' values, how many are larger, and how many equal it.

    Floats of at least 0 rank as their bits do: a radix search of two histograms, the upper 16 bits
    and then the lower, is exact and exchanges 512 kB twice, whatever the number of pixels.

    Args:
        values: ``[n]`` float32 of this process, at least 0.
        k: at least 1, at most the number of all processes' values.
        count_over: adds up over processes.
    """
    bits = values.view(torch.int32)
    border = larger = equal = 0
    for shift in (16, 0):
        digits = (bits >> shift) & 0xFFFF
        counts = count_over(torch.bincount(digits, minlength=1 << 16))
        from_top = counts.flip(0).cumsum(0)
        place = int(torch.searchsorted(from_top, k - larger))
        digit = 0xFFFF - place
        equal = int(counts[digit])
        larger += int(from_top[place]) - equal
        border |= digit << shift
        bits = bits[digits == digit]
    return torch.tensor(border, dtype=torch.int32).view(torch.float32).item(), larger, equal
