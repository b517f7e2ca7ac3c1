"""Batch norms folded into the convolutions before them: the same network with half the passes."""

from __future__ import annotations

import re
from itertools import pairwise

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights


@torch.no_grad()
def fold_batch_norms(model: nn.Module) -> None:
    """Fold, in place, every batch norm that follows a convolution. The model must be in eval mode.

    Pairs are neighbours in a Sequential, and `convN` with `bnN` in a residual block.
    """
    for part in model.modules():
        if isinstance(part, nn.Sequential):
            names = list(part._modules)
            pairs = list(pairwise(names))
        else:
            found = (re.fullmatch(r"conv(\d*)", name) for name in part._modules)
            pairs = [(m[0], f"bn{m[1]}") for m in found if m]
        for conv_name, norm_name in pairs:
            conv, norm = part._modules[conv_name], part._modules.get(norm_name)
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                _fold(conv, norm)
                part._modules[norm_name] = nn.Identity()


def _fold(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    if norm.training:
        raise ValueError("only a model in eval mode can be folded: its statistics must stand still")
    assert norm.running_mean is not None
    assert norm.running_var is not None
    conv.weight, conv.bias = fuse_conv_bn_weights(
        conv.weight,
        conv.bias,
        norm.running_mean,
        norm.running_var,
        norm.eps,
        norm.weight,
        norm.bias,
    )
