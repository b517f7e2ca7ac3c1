"""The one primitive of a scene: a textured parallelogram, cut out by a silhouette if its kind says.

Everything visible but the sky is a list of quads. A point of a quad is named by its coordinates on
it, so the same quad at the next moment says where that point went: that is the exact flow.
"""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from stt_core.scenes.jit import compiled
from stt_core.scenes.look import Vector
from stt_core.scenes.noise import Colour

Quads = NDArray[Any]  # [n] of QUAD


class Quad(Protocol):
    """One record of a list of quads, as compiled functions see it."""

    kind: int  # which surface
    label: int  # class id
    key: int  # the thing it is a part of
    ox: float  # corner with coordinates (0, 0), world metres
    oy: float
    oz: float
    ux: float  # from there to (width, 0)
    uy: float
    uz: float
    vx: float  # from there to (0, height)
    vy: float
    vz: float
    width: float  # metres
    height: float
    red: float  # base colour
    green: float
    blue: float
    light_red: float  # what falls on it
    light_green: float
    light_blue: float
    a: float  # whatever the kind uses them for
    b: float
    c: float


QUAD = np.dtype(
    [(name, np.float64) for name in ("ox", "oy", "oz", "ux", "uy", "uz", "vx", "vy", "vz")]
    + [(name, np.float64) for name in ("width", "height", "red", "green", "blue", "a", "b", "c")]
    + [(name, np.float64) for name in ("light_red", "light_green", "light_blue")]
    + [(name, np.int64) for name in ("kind", "label", "key")]
)

# Class ids, in the order of CamVid.
SKY, BUILDING, POLE, ROAD, PAVEMENT, TREE, SIGN, FENCE, CAR, PEDESTRIAN, BICYCLIST = range(11)

# Kinds of surface without a silhouette ...
ASPHALT, PAVING, CURB, FACADE, FLANK, ROOF, POST, BOARD, SIGNAL = range(9)
CAR_PANEL, CAR_GLASS, CAR_REAR, CAR_FRONT, TYRE = range(9, 14)
# ... and with one.
FOLIAGE, RAILING, MESH, PLANKS, LIMB, DISC, WHEEL, RING, TRIANGLE = range(20, 29)
CAR_SIDE, SKYLINE, TORSO, GABLE, HEAD, ROUND_SIGN = range(29, 35)
SHADOW = 40  # darkens the ground under it and is not a surface
FIRST_CUT_OUT = FOLIAGE


@compiled
def put(
    quads: Quads,
    n: int,
    kind: int,
    label: int,
    key: int,
    origin: Vector,
    across: Vector,
    up: Vector,
    colour: Colour,
    shape: Vector,
) -> int:
    """Write quad `n` and return ``n + 1``; a full list drops it.

    Args:
        quads: the list.
        n: how many it holds.
        kind: which surface, one of the constants above.
        label: class id.
        key: the thing it is a part of; seeds its looks.
        origin: corner with coordinates (0, 0), world metres.
        across: from there to the corner (width, 0).
        up: from there to the corner (0, height).
        colour: base colour.
        shape: three numbers the kind may use.
    """
    if n >= quads.shape[0]:
        return n
    q = quads[n]
    q.ox, q.oy, q.oz = origin[0], origin[1], origin[2]
    q.ux, q.uy, q.uz = across[0], across[1], across[2]
    q.vx, q.vy, q.vz = up[0], up[1], up[2]
    q.width = np.sqrt(across[0] ** 2 + across[1] ** 2 + across[2] ** 2)
    q.height = np.sqrt(up[0] ** 2 + up[1] ** 2 + up[2] ** 2)
    q.red, q.green, q.blue = colour[0], colour[1], colour[2]
    q.a, q.b, q.c = shape[0], shape[1], shape[2]
    q.kind, q.label, q.key = kind, label, key
    return n + 1
