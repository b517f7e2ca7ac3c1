"""What a sweep found: one row a value, and the table as CSV."""

from __future__ import annotations

import csv
import io
from dataclasses import asdict, dataclass
from typing import Any, Literal

from stt_core.metrics.consistency import Protocol
from stt_core.metrics.segmentation import Average

Setting = Literal["key_frames", "query_ratio", "neighbour_radius", "start_radius", "end_radius"]
"""A field of SttConfig that can be changed without training anew."""
Kind = Literal["control", "bypass", "setting"]

COLUMNS = ("over", "value", "kind", "name", "miou", "tc", "latency_ms", "keys_per_query")
"""Of the CSV table, before those that are the same in every row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepRow:
    """Figures under one value of the setting, or of the zero point."""

    kind: Kind
    """`control`: a per-frame model; `bypass`: the model itself, every position of which takes the
    bypass; `setting`: the model under that value."""
    value: float | None
    """None of a zero point that is no value of the setting."""
    name: str
    miou: float
    """In [0, 1], as `tc`; NaN where nothing could be compared."""
    tc: float
    latency_ms: float
    """Median from an image to its label map, in the steady state; NaN where there is none."""
    keys_per_query: int
    """Positions a query reads where no window reaches beyond the border."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """How a model does under several values of one setting, the others being its own."""

    model: str
    data: str
    over: Setting
    own: float
    """The model's own value."""
    zero: SweepRow
    """What it is held against: no past at all."""
    rows: tuple[SweepRow, ...]
    """By rising value, the zero point's left out."""
    protocol: Protocol | None
    """Of temporal consistency; None where it was left out."""
    flow: str
    """Where the optical flow came from."""
    average: Average
    frames: int
    """Labelled frames that were compared."""
    pairs: int
    """Neighbouring frames that were compared."""
    device: str
    precision: str
    notes: tuple[str, ...] = ()

    @property
    def all_rows(self) -> tuple[SweepRow, ...]:
        """The zero point, then the values."""
        return (self.zero, *self.rows)


def to_csv(sweep: Sweep) -> str:
    """The table: figures in full, what is not there empty, the rules they follow in every row."""
    same = {
        "model": sweep.model,
        "data": sweep.data,
        "protocol": sweep.protocol or "",
        "flow": sweep.flow if sweep.protocol else "",
        "average": sweep.average,
        "frames": sweep.frames,
        "pairs": sweep.pairs,
        "device": sweep.device,
        "precision": sweep.precision,
    }
    text = io.StringIO()
    table = csv.DictWriter(text, [*COLUMNS, *same], lineterminator="\n")
    table.writeheader()
    for each in sweep.all_rows:
        table.writerow({"over": sweep.over, **_told(each, ""), **same})
    return text.getvalue()


def to_json(sweep: Sweep) -> dict[str, Any]:
    """The same as plain values, for JSON: a figure that does not exist is None."""
    told = {name: getattr(sweep, name) for name in Sweep.__dataclass_fields__}
    del told["zero"]
    return {**told, "notes": [*sweep.notes], "rows": [_told(each, None) for each in sweep.all_rows]}


def _told(row: SweepRow, nothing: object) -> dict[str, Any]:
    return {
        name: nothing if value is None or value != value else value  # NaN alone differs from itself
        for name, value in asdict(row).items()
    }
