"""The camera of a scene and its path: a steady drive with a little sway and wobble.

Camera axes: right, up, ahead. A pixel centre has whole-numbered image coordinates.
"""

import math
from typing import NamedTuple

from stt_core.scenes.jit import compiled
from stt_core.scenes.look import Look, Vector

NEAR = 0.3  # metres; nothing nearer is drawn


class Camera(NamedTuple):
    """Where the camera is and how it looks."""

    place: Vector
    right: Vector
    up: Vector
    ahead: Vector
    focal: float  # pixels
    middle_x: float
    middle_y: float


def camera_at(look: Look, seconds: float, size: tuple[int, int]) -> Camera:
    """The camera at a time, for an image of `size` (width, height)."""
    width, height = size
    t, phase = seconds, look.wobble
    yaw = 0.035 * math.sin(0.31 * t + phase) + 0.005 * math.sin(2.1 * t + 2 * phase)
    pitch = look.pitch + 0.005 * math.sin(3.3 * t + phase) + 0.003 * math.sin(5.7 * t)
    roll = 0.006 * math.sin(0.9 * t + 3 * phase)
    sway = 0.25 * math.sin(0.23 * t + phase)
    place = (
        0.5 * look.hand * look.lane + sway,
        look.camera_height + 0.012 * math.sin(6.1 * t + phase),
        distance_driven(look, t),
    )
    right, up, ahead = _axes(yaw, pitch, roll)
    focal = 0.88 * max(width, 4 / 3 * height)
    return Camera(place, right, up, ahead, focal, 0.5 * (width - 1), 0.47 * (height - 1))


def distance_driven(look: Look, seconds: float) -> float:
    """How far along the street the camera is, metres."""
    return look.speed * (seconds + 0.5 * math.sin(0.4 * seconds + look.wobble))


def _axes(yaw: float, pitch: float, roll: float) -> tuple[Vector, Vector, Vector]:
    """Right, up and ahead; positive yaw looks right, positive pitch up."""
    cy, sy, cp, sp = math.cos(yaw), math.sin(yaw), math.cos(pitch), math.sin(pitch)
    cr, sr = math.cos(roll), math.sin(roll)
    ahead = (sy * cp, sp, cy * cp)
    right = (cy, 0.0, -sy)
    up = (-sy * sp, cp, -cy * sp)
    rolled_right = (cr * right[0] + sr * up[0], sr * up[1], cr * right[2] + sr * up[2])
    rolled_up = (cr * up[0] - sr * right[0], cr * up[1], cr * up[2] - sr * right[2])
    return rolled_right, rolled_up, ahead


@compiled
def dot(a: Vector, b: Vector) -> float:
    """Scalar product."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@compiled
def cross(a: Vector, b: Vector) -> Vector:
    """Vector product."""
    return (
        a[1] * b[2] - a[2] * b[1],
        a[2] * b[0] - a[0] * b[2],
        a[0] * b[1] - a[1] * b[0],
    )


@compiled
def to_camera(camera: Camera, vector: Vector) -> Vector:
    """A world direction in camera axes."""
    return (dot(camera.right, vector), dot(camera.up, vector), dot(camera.ahead, vector))


@compiled
def to_world(camera: Camera, vector: Vector) -> Vector:
    """A direction in camera axes in world axes."""
    r, u, a = camera.right, camera.up, camera.ahead
    return (
        r[0] * vector[0] + u[0] * vector[1] + a[0] * vector[2],
        r[1] * vector[0] + u[1] * vector[1] + a[1] * vector[2],
        r[2] * vector[0] + u[2] * vector[1] + a[2] * vector[2],
    )
