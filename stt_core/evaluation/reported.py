"""Figures that others published (method, 7), to stand beside measured ones and marked as theirs.

They were measured with other data, flow and hardware than ours; None where nothing is told. The
TC of the STT paper agrees with that of ETC where both name the same model, so it follows ETC's
protocol, though the paper does not say so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from stt_core.metrics.consistency import Protocol

ReportedSet = Literal["cityscapes", "camvid"]

_STT = "STT paper, Table 1"
_ETC = "ETC README"
_TDNET = "TDNet README"
_CODE = "TDNet, Papers with Code"
_MMSEG = "mmsegmentation"
_TWO_MODELS = f"{_STT}; mIoU and TC are of two models"


@dataclass(frozen=True, slots=True)
class Reported:
    """A published row. Shares lie in [0, 1]."""

    name: str
    source: str
    miou: float | None = None
    tc: float | None = None
    fps: float | None = None
    latency_ms: float | None = None
    hardware: str | None = None
    protocol: Protocol | None = None
    flow: str | None = None


def reported_rows(data: ReportedSet) -> tuple[Reported, ...]:
    """What was published on a data set: its validation part, if the row names no other."""
    return _CITYSCAPES if data == "cityscapes" else _CAMVID


def _stt(
    name: str, miou: float, tc: float | None, fps: float | None, source: str = _STT
) -> Reported:
    return Reported(name, source, _part(miou), None if tc is None else _part(tc), fps)


def _etc(name: str, miou: float, tc: float) -> Reported:
    return Reported(name, _ETC, _part(miou), _part(tc), protocol="etc", flow="FlowNet2")


def _part(percent: float) -> float:
    return round(percent / 100, 6)


_CITYSCAPES = (
    _stt("NetWarp (R101)", 80.6, None, 0.3),
    _stt("DFF (R101)", 68.7, 71.4, 9.7),
    _stt("GRFP (R101)", 69.4, None, 3.2),
    _stt("LVS (R101)", 76.8, None, 5.9),
    _stt("Accel (R101/18)", 72.1, 70.3, 3.6),
    _stt("PSPNet18", 75.5, 68.5, 10.8, _TWO_MODELS),
    _stt("PSPNet50", 78.1, None, 4.2),
    _stt("PSPNet101", 79.4, 69.7, 2.1),
    _stt("TDNet-PSP18", 76.8, 70.4, 11.8),
    _stt("TDNet-PSP50", 79.9, 71.1, 5.6),
    _stt("ETC-PSP18", 73.1, 70.6, 10.8),
    _stt("ETC-PSP101", 79.5, 71.7, 2.1),
    _stt("STT-PSP18", 77.3, 73.0, 11.5),
    _stt("STT-PSP101", 82.5, 73.9, 2.2),
    _etc("PSPNet18 baseline of ETC", 69.79, 68.50),
    _etc("PSPNet18 + temporal loss", 71.72, 69.99),
    _etc("PSPNet18 + temporal loss + distillation", 73.06, 70.56),
    Reported("TD4-PSP18, 769x1537", _TDNET, latency_ms=85, hardware="Titan Xp"),
    Reported("TD2-PSP50", f"{_TDNET}; mIoU {_CODE}", 0.799, latency_ms=180, hardware="Titan Xp"),
    Reported("PSPNet101 of TDNet", _TDNET, latency_ms=360, hardware="Titan Xp"),
    Reported("TD4-BISE18, test part", _CODE, 0.749, None, 47.6, 21, "Titan X or Xp"),
    Reported("PSPNet R-18-D8, 512x1024", _MMSEG, 0.7487, fps=15.71, hardware="V100"),
    Reported("PSPNet R-18-D8, 769x769", _MMSEG, 0.7590, fps=6.20, hardware="V100"),
    Reported("PSPNet R-18b-D8, 512x1024", _MMSEG, 0.7423, fps=16.28, hardware="V100"),
    Reported("PSPNet R-18b-D8, 769x769", _MMSEG, 0.7492, fps=6.41, hardware="V100"),
)
_CAMVID = (
    _stt("NetWarp (R101)", 67.1, None, 2.8),
    _stt("GRFP (R101)", 66.1, None, 4.4),
    _stt("Accel (R101/18)", 66.7, None, 7.6),
    _stt("PSPNet18", 71.0, None, 24.4),
    _stt("PSPNet50", 74.7, None, 8.5),
    _stt("PSPNet101", 77.6, 77.1, 4.1),
    _stt("TDNet-PSP18", 72.6, 73.2, 25.2),
    _stt("TDNet-PSP50", 76.0, 77.4, 11.1),
    _stt("ETC-PSP18", 75.2, 77.3, 24.4),
    _stt("ETC-PSP101", 79.4, 78.6, 4.1),
    _stt("STT-PSP18", 76.1, 81.4, 24.7),
    _stt("STT-PSP101", 80.2, 82.3, 4.2),
    Reported("TD4-PSP18", _CODE, 0.726, latency_ms=40, hardware="Titan X or Xp"),
    Reported("TD2-PSP50", _CODE, 0.760, latency_ms=90, hardware="Titan X or Xp"),
)
