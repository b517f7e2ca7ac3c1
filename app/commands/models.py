"""Checkpoints of other programs in, ONNX out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from app.commands.common import Json, done, load_model, parse_size, say


def import_foreign(
    file: Annotated[
        Path,
        typer.Argument(help="What torch.save wrote, a .safetensors file, or imagenet-lite0."),
    ],
    *,
    out: Annotated[Path, typer.Option(help="The model to write: FILE.safetensors.")],
    classes: Annotated[
        Path | None, typer.Option(help="Class list (JSON), in the order of the weights.")
    ] = None,
    dilation: Annotated[
        Literal["etc", "tdnet", "mmseg"] | None,
        typer.Option(help="For a torchvision backbone only; default etc."),
    ] = None,
    stt: Annotated[
        bool, typer.Option("--stt", help="Put a new temporal block on it, to be trained.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Make a model of a checkpoint of ETC, semseg, TDNet, mmsegmentation or torchvision."""
    from dataclasses import asdict

    from stt_core.checkpoint import save_checkpoint, start_stt
    from stt_core.importers import import_checkpoint, start_lite0
    from stt_core.labels import read_classes

    if out.suffix.lower() != ".safetensors":
        raise typer.BadParameter(f"--out ends in .safetensors, got {out.name}")
    if out.resolve() == file.resolve():
        raise typer.BadParameter(f"--out would replace {file} itself: choose another name")
    table = None if classes is None else read_classes(classes)
    if str(file) == "imagenet-lite0":
        imported = start_lite0(table)
    else:
        imported = import_checkpoint(file, classes=table, dilation=dilation)
    made = start_stt(imported.checkpoint) if stt else imported.checkpoint
    save_checkpoint(out, made)
    report = imported.report
    left_out = f", {len(report.ignored)} left out" if report.ignored else ""
    scheme = f", dilation scheme {report.dilation}" if report.dilation else ""
    say(f"{report.layout}{scheme}")
    say(f"{report.mapped} tensors taken over{left_out}, written to {out}")
    for note in report.notes:
        say(note)
    names = [label_class.name for label_class in imported.checkpoint.header.classes]
    facts = {**asdict(report), "classes": names, "outputs": {"model": str(out)}}
    done(as_json, {"command": "import-checkpoint", **facts})


def attach(
    model: Annotated[str, typer.Argument(help="A per-frame network: a file, or a bundled one.")],
    *,
    out: Annotated[Path, typer.Option(help="The model to write: FILE.safetensors.")],
    recipe: Annotated[
        str, typer.Option(help="Whose [stt] says what block: a .toml file, or a shipped recipe.")
    ] = "lite0-stt",
    half: Annotated[bool, typer.Option("--half", help="Store the weights in bf16.")] = False,
    as_json: Json = False,
) -> None:
    """Put a temporal block on a per-frame network; it steadies labels before it learns anything."""
    from dataclasses import asdict

    import torch

    from stt_core.checkpoint import save_checkpoint
    from stt_core.config import SttConfig
    from stt_core.training.recipes import read_recipe
    from stt_core.training.start import start_attached

    if out.suffix.lower() != ".safetensors":
        raise typer.BadParameter(f"--out ends in .safetensors, got {out.name}")
    made = start_attached(load_model(model), read_recipe(recipe))
    save_checkpoint(out, made, dtype=torch.bfloat16 if half else torch.float32)
    config = made.header.config
    assert isinstance(config, SttConfig)
    say(f"{config.key_frames} key frames, {config.heads} heads by {config.attention}; {out}")
    block = {name: value for name, value in asdict(config).items() if name != "per_frame"}
    done(as_json, {"command": "attach", "block": block, "outputs": {"model": str(out)}})


def export_network(
    model: Annotated[str, typer.Argument(help="A .safetensors file, or a bundled model's name.")],
    *,
    out: Annotated[Path, typer.Option(help="The file to write: FILE.onnx.")],
    size: Annotated[
        str | None, typer.Option(help="WIDTHxHEIGHT of the input, multiples of 8.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a model's per-frame network as an ONNX file; of an STT model, all but its block."""
    from dataclasses import asdict

    from stt_core.onnx_export import OPSET, export_onnx

    if out.suffix.lower() != ".onnx":
        raise typer.BadParameter(f"--out ends in .onnx, got {out.name}")
    rows_and_cols = None if size is None else parse_size(size, multiple=8)[::-1]
    exported = export_onnx(out, load_model(model), size=rows_and_cols)
    width, height = exported.size[::-1]
    found = exported.difference
    say(f"{exported.what}: input {width}x{height}, operator set {OPSET}, written to {out}")
    if found is None:
        say("not compared with torch: onnxruntime is not installed")
    else:
        largest, same = f"{found.relative:.1e}", f"{found.same_class:.2%}"
        say(f"onnxruntime: logits differ by {largest} of their spread, {same} of the classes agree")
    facts = {"exported": exported.what, "size": [width, height], "opset": OPSET}
    told = {"difference": found and asdict(found), "outputs": {"onnx": str(out)}}
    done(as_json, {"command": "export-onnx", **facts, **told})
