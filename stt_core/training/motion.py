"""Frames compared along optical flow, and ETC's loss of it (Liu et al. 2020; method, 5.2).

A flow ``[..., H, W, 2]`` holds u, v pixels: the point at (x, y) of a frame is at (x + u, y + v) in
the other. NaN is where a point is hidden or outside in the other frame. Dimensions: B images, C
classes, h x w the logits' map, H x W the image.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from stt_core.training.losses import Space, Sums, enlarge, image_by_image, in_space, precise


def motion_sums(
    logits: Tensor,
    other_logits: Tensor,
    image: Tensor,
    other_image: Tensor,
    flow: Tensor,
    *,
    align_corners: bool,
    space: Space = "logits",
) -> Sums:
    """How far what is said of a frame differs from what is said of another, along the flow.

    The sum of ``(M * Z - M * warped Z')^2`` and the number of its terms, M of
    :func:`resemblance`: as in the released code, M weighs by its square, and where it is small the
    pixel counts all the same. Frames whose flow is nowhere known count for nothing. Gradients reach
    both frames.

    Args:
        logits: Z, ``[B, C, h, w]``.
        other_logits: Z', of the other frame.
        image: ``[B, 3, H, W]`` normalised.
        other_image: the same of the other frame.
        flow: ``[B, H, W, 2]`` to the other frame.
        align_corners: of the resize of logits to the image.
        space: what is compared. The paper compares logits; probabilities, which are bounded, leave
            a model free to be ever more certain.
    """

    def of_image(
        logits: Tensor, other_logits: Tensor, image: Tensor, other_image: Tensor, flow: Tensor
    ) -> Tensor:
        here, there = (
            in_space(enlarge(z, image.shape[2:], align_corners=align_corners), space)
            for z in (logits, other_logits)
        )
        mask = resemblance(image, other_image, flow)
        return (mask * (here - warp(there, flow))).square().sum((1, 2, 3))

    totals = image_by_image(of_image, logits, other_logits, image, other_image, flow)
    frames = known(flow).flatten(1).any(1).sum()
    terms = logits.shape[1] * image.shape[2] * image.shape[3]
    return Sums(totals.sum(), (frames * terms).to(totals.dtype))


@torch.no_grad()
def resemblance(image: Tensor, other_image: Tensor, flow: Tensor) -> Tensor:
    """M, ``[B, 1, H, W]`` in [0, 1]: how alike points are in two normalised images; 0 at NaN.

    The absolute value is taken after the sum over channels, as in the released code.
    """
    gap = (precise(image) - warp(other_image, flow)).sum(1, keepdim=True)
    return (-gap.abs()).exp() * known(flow)[:, None]


def warp(tensor: Tensor, flow: Tensor) -> Tensor:
    """Fetch ``tensor(x + flow(x))`` bilinearly, for every pixel, in full precision.

    Outside, the border goes on; where the flow is unknown, the same place is fetched.

    Args:
        tensor: ``[B, C, H, W]``.
        flow: ``[B, H, W, 2]``.
    """
    tensor = precise(tensor)
    size = tensor.new_tensor([tensor.shape[3], tensor.shape[2]])
    moved = flow.to(tensor.dtype).where(known(flow)[..., None], 0)
    grid = (2 * (_pixels(moved) + moved) + 1) / size - 1
    return F.grid_sample(tensor, grid, padding_mode="border", align_corners=False)


def known(flow: Tensor) -> Tensor:
    """``[..., H, W]`` bool."""
    return flow.isfinite().all(-1)


def arrives(flow: Tensor) -> Tensor:
    """Where the flow is known and ends inside the other frame, ``[..., H, W]`` bool."""
    ends = _pixels(flow) + flow
    size = flow.new_tensor([flow.shape[-2], flow.shape[-3]])
    return ((ends >= 0) & (ends <= size - 1)).all(-1)  # NaN lies nowhere


@torch.no_grad()
def consistent(flow: Tensor, back: Tensor) -> Tensor:
    """Where a flow arrives and the one back leads home, ``[B, H, W]`` bool.

    That is ``|f + b|^2 <= 0.01 (|f|^2 + |b|^2) + 0.5``, b fetched where f ends
    (Sundaram et al. 2010; method, 3.2).

    Args:
        flow: ``[B, H, W, 2]`` from a frame to another.
        back: the same from that one.
    """
    returned = warp(back.permute(0, 3, 1, 2), flow).permute(0, 2, 3, 1)
    flow = flow.to(returned.dtype)
    astray = (flow + returned).square().sum(-1)
    length = flow.square().sum(-1) + returned.square().sum(-1)
    return arrives(flow) & (astray <= 0.01 * length + 0.5)


def _pixels(flow: Tensor) -> Tensor:
    """x, y of every pixel, ``[H, W, 2]`` as the flow is."""
    y, x = (torch.arange(n, device=flow.device, dtype=flow.dtype) for n in flow.shape[-3:-1])
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)
