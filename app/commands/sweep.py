"""The command that measures a model under several values of one of its settings."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast

import typer

from app.commands.common import (
    Device,
    Json,
    Precision,
    done,
    follow,
    load_model,
    note,
    say,
    usage,
    warn,
)
from app.commands.measuring import (
    AverageName,
    DataPath,
    Flow,
    IgnoreId,
    Kind,
    Split,
    data_spec,
    read_options,
)

if TYPE_CHECKING:
    from stt_core.evaluation.sweep import NamedModel
    from stt_core.evaluation.sweep_table import Setting, Sweep, SweepRow

Over = Literal["key-frames", "query-ratio", "neighbour-radius", "start-radius", "end-radius"]


def sweep(
    model: Annotated[str, typer.Argument(help="An STT model: a file, or a bundled one's name.")],
    data: DataPath,
    *,
    out: Annotated[Path, typer.Option(help="Folder for sweep.csv, sweep.png and sweep.svg.")],
    kind: Kind = None,
    split: Split = None,
    ignore_id: IgnoreId = None,
    over: Annotated[Over, typer.Option(help="The setting that varies.")] = "key-frames",
    values: Annotated[str | None, typer.Option(help="A:B[:STEP] with both ends, or A,B,C.")] = None,
    control: Annotated[
        str | None, typer.Option(help="Zero point: a per-frame model that was trained alike.")
    ] = None,
    tc: Annotated[
        Literal["masked", "plain", "etc", "none"],
        typer.Option(help="Protocol of temporal consistency."),
    ] = "masked",
    flow: Flow = "dis",
    average: AverageName = "clean",
    frames: Annotated[
        int | None, typer.Option(min=1, help="Only so many first frames of each sequence.")
    ] = None,
    device: Device = "auto",
    precision: Precision = "auto",
    as_json: Json = False,
) -> None:
    """Measure a model under several values of one setting: the supplement's Fig. 1, on any data."""
    from stt_core.data.sources import open_data
    from stt_core.evaluation.beginnings import beginnings
    from stt_core.evaluation.sweep import plan_sweep
    from stt_core.evaluation.sweep_table import to_csv, to_json
    from stt_core.evaluation.sweep_values import parse_values
    from stt_core.files import make_folder, write_text
    from stt_core.model.compiling import compile_first
    from stt_core.pictures.charts import draw_sweep

    setting = cast("Setting", over.replace("-", "_"))
    with usage():
        chosen = None if values is None else parse_values(values, setting)
    options = read_options(tc, flow, average)
    named, zero = _named(model), None if control is None else _named(control)
    opened = open_data(
        data_spec(data, kind, split, ignore_id), classes=named.checkpoint.header.classes
    )
    if frames is not None:
        opened = beginnings(opened, frames)
    with usage():
        plan = plan_sweep(
            named,
            opened,
            setting,
            chosen,
            options=options,
            control=zero,
            device=device,
            precision=precision,
        )
    make_folder(out)
    if plan.encoder.network.device.type == "cpu":
        compile_first(note)
    found = follow(plan.run(), plan.total, "sweep")
    warn(found.notes)
    write_text(out / "sweep.csv", to_csv(found))
    pictures = draw_sweep(found, out)
    say(_table(found))
    say(f"written to {out}")
    outputs = {"table": str(out / "sweep.csv")}
    outputs |= {file.suffix[1:]: str(file) for file in pictures}
    done(as_json, {"command": "sweep", **to_json(found), "outputs": outputs})


def _named(model: str) -> NamedModel:
    from stt_core.evaluation.sweep import NamedModel

    return NamedModel(Path(model).stem, load_model(model))


def _table(found: Sweep) -> str:
    rules = f"protocol {found.protocol}, flow {found.flow}" if found.protocol else "not measured"
    head = (
        f"{found.model} on {found.data}: {found.frames} labelled frames, {found.pairs} pairs\n"
        f"mIoU: average {found.average}; TC: {rules}; {found.device}, {found.precision}\n"
        f"zero point: {found.zero.name}\n"
    )
    title = found.over.replace("_", " ")
    wide = max(len(title), len("zero point"))
    lines = [f"{title:>{wide}}  mIoU %    TC %  ms a frame  keys a query"]
    return head + "\n".join(lines + [_line(row, wide) for row in found.all_rows])


def _line(row: SweepRow, wide: int) -> str:
    value = "zero point" if row.kind != "setting" else f"{row.value:g}"
    miou, tc = (_figure(100 * share, 2) for share in (row.miou, row.tc))
    milliseconds = _figure(row.latency_ms, 1)
    return f"{value:>{wide}}  {miou:>6}  {tc:>6}  {milliseconds:>10}  {row.keys_per_query:>12}"


def _figure(value: float, digits: int) -> str:
    return "-" if math.isnan(value) else f"{value:.{digits}f}"
