"""What the commands that measure share: how the data and the rules are named."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from stt_core.evaluation.run import EvaluateOptions

DataPath = Annotated[
    str,
    typer.Argument(help="A folder or video, or FIRST-LAST seeds; with --kind or as KIND:DATA."),
]
Kind = Annotated[str | None, typer.Option(help="camvid, cityscapes, folder, video or scenes.")]
Split = Annotated[str | None, typer.Option(help="Part of the data set, as in val.")]
IgnoreId = Annotated[int | None, typer.Option(min=0, max=255, help="A label id that says nothing.")]
Flow = Annotated[str, typer.Option(help="dis, exact (generated data), or a folder of .flo files.")]
AverageName = Annotated[
    Literal["clean", "strict"],
    typer.Option(help="Classes that never occur are left out, or count 0."),
]


def read_options(tc: Any, flow: str, average: Any) -> EvaluateOptions:
    """The rules that --tc, --flow and --average name."""
    from stt_core.evaluation.run import EvaluateOptions

    protocol = None if tc == "none" else tc
    match flow:
        case "dis" | "exact":
            return EvaluateOptions(protocol, flow, average)
        case _ if Path(flow).is_dir():
            return EvaluateOptions(protocol, "flo", average, flow_folder=Path(flow))
    raise typer.BadParameter(f"--flow is dis, exact or a folder of .flo files, got {flow}")


def data_spec(data: str, kind: str | None, split: str | None, ignore_id: int | None) -> str:
    """KIND:PATH and its options, from the words of the command line."""
    part = "" if split is None else f",split={split}"
    ignored = "" if ignore_id is None else f",ignore={ignore_id}"
    return f"{'' if kind is None else f'{kind}:'}{data}{part}{ignored}"
