"""The command line: each command a few lines over the core, which it imports when it runs.

Exit codes: 0 done; 2 the input is at fault (one sentence on stderr); 1 we are (a sentence and a
log file). With --json the last line of stdout is one JSON object, also for errors.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import typer
from typer.main import get_command

from app.failure import record_failure
from stt_core.errors import SttError
from stt_core.resources import SAMPLE_CLASSES, SAMPLE_MODEL, resource_path

if TYPE_CHECKING:
    from stt_core.media.source import MediaSource

Step = TypeVar("Step")

# What all complaints about arguments descend from: in click, or in the copy of it that newer
# versions of typer carry with them instead.
_UsageError: Any = typer.BadParameter.__mro__[1]
_INTERRUPTED = 130
_MAX_SIDE = 4096

Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")]
Model = Annotated[str, typer.Option(help="A .safetensors file, or a bundled model's name.")]
KeyFrames = Annotated[
    int | None, typer.Option(min=0, max=9, help="Past frames read, in place of the model's own.")
]
Cuts = Annotated[
    bool, typer.Option("--cuts/--no-cuts", help="Whether no frame reads across a cut.")
]
Precision = Annotated[
    Literal["auto", "fp32", "bf16", "fp16"], typer.Option(help="auto: bf16 where it is fast.")
]

app = typer.Typer(
    name="stt-studio",
    help="Watch, inspect and teach video semantic segmentation with a sparse temporal transformer.",
    no_args_is_help=False,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.command("open")
def open_window(
    paths: Annotated[
        list[Path] | None, typer.Argument(help="A video or image folder, and a model.")
    ] = None,
    *,
    model: Model = SAMPLE_MODEL,
    device: Device = "auto",
    frame: Annotated[int, typer.Option(min=0, help="Frame to show first.")] = 0,
    inspect: Annotated[str | None, typer.Option(help="X,Y: inspect this pixel at once.")] = None,
    as_json: Json = False,
) -> None:
    """Open the window. Bare paths without a command mean this too."""
    from app.startup import Wanted, run_window

    pixel = None if inspect is None else _pixel(inspect)
    wanted = Wanted(
        paths=tuple(paths or ()), model=model, device=device, frame=frame, inspect=pixel
    )
    code = run_window(wanted)
    _done(as_json, {"command": "open"})
    raise typer.Exit(code)


@app.command()
def segment(
    media: Annotated[Path, typer.Argument(help="A video file or a folder of images.")],
    *,
    out: Annotated[Path, typer.Option(help="Folder for labels/, overlay.mp4, run.json.")],
    model: Model = SAMPLE_MODEL,
    range_: Annotated[
        str, typer.Option("--range", help="A:B, half-open, 0-based, ends optional.")
    ] = ":",
    device: Device = "auto",
    key_frames: KeyFrames = None,
    precision: Precision = "auto",
    cuts: Cuts = True,
    overlay: Annotated[bool, typer.Option("--overlay", help="Write overlay.mp4 too.")] = False,
    save: Annotated[
        Literal["labels", "color", "both"], typer.Option(help="Which maps to write.")
    ] = "labels",
    as_json: Json = False,
) -> None:
    """Segment a video: 8-bit label maps named by frame number, and an overlay video."""
    from stt_core.media.source import open_media
    from stt_core.segmenting import SegmentOptions, parse_range, segment_media

    with open_media(media) as source:
        _warn(source.warnings)
        with _usage():
            frames = parse_range(range_, len(source))
        network = _network(model, device, precision, key_frames)
        options = SegmentOptions(frames=frames, overlay=overlay, save=save, cuts=cuts)
        steps = segment_media(network, source, out, options)
        report = _follow(steps, len(frames), "segment")
    _warn(network.notes)
    files = {
        "run": out / "run.json",
        **({"labels": out / "labels"} if save != "color" else {}),
        **({"color": out / "color"} if save != "labels" else {}),
        **({"overlay": out / "overlay.mp4"} if overlay else {}),
    }
    outputs = {name: str(path) for name, path in files.items()}
    _say(f"{report['frames']} frames written to {out} ({report['fps']['total']} fps)")
    _done(as_json, {"command": "segment", **report, "outputs": outputs})


@app.command("inspect")
def inspect_pixel(
    media: Annotated[Path, typer.Argument(help="A video file or a folder of images.")],
    *,
    frame: Annotated[int, typer.Option(min=0, help="0-based, in presentation order.")],
    xy: Annotated[str, typer.Option(help="X,Y: pixel of the displayed image.")],
    out: Annotated[Path, typer.Option(help="FILE.png, .svg, .json or .npz.")],
    model: Model = SAMPLE_MODEL,
    head: Annotated[str, typer.Option(help="mean, all, or a head's number from 1.")] = "mean",
    force: Annotated[
        bool, typer.Option("--force", help="Attend even where selection did not.")
    ] = False,
    device: Device = "auto",
    key_frames: KeyFrames = None,
    precision: Precision = "auto",
    cuts: Cuts = True,
    as_json: Json = False,
) -> None:
    """Show where one pixel looked in the past: the figure, or its numbers."""
    from stt_core.engine import Engine
    from stt_core.media.source import open_media
    from stt_core.pictures.attention import SUFFIXES, inspection_json, write_inspection

    if out.suffix.lower() not in SUFFIXES:
        raise typer.BadParameter(f"--out ends in one of {', '.join(SUFFIXES)}, got {out.name}")
    x, y = _pixel(xy)
    with open_media(media) as source:
        _warn(source.warnings)
        warnings = list(source.warnings)
        with _usage():
            _check_place(source, frame, x, y)
        network = _network(model, device, precision, key_frames)
        look = Engine(network, source, cuts=cuts).look_back(frame, x, y, force=force)
        _warn(network.notes)
        with _usage():
            chosen = _head(head, look.weights.shape[0])
        classes = network.header.classes
        write_inspection(out, look, source[frame], classes, head=chosen)
    state = "forced" if look.forced else "selected" if look.selected else "not selected"
    _say(f"pixel ({x}, {y}) of frame {frame}: {state}; written to {out}")
    told = {**inspection_json(look, classes), "head": head, "warnings": warnings}
    _done(as_json, {"command": "inspect", **told, "outputs": {"figure": str(out)}})


@app.command()
def sample(
    *,
    out: Annotated[Path, typer.Option(help="Folder for clip.mp4, labels/ and flow/.")],
    frames: Annotated[int, typer.Option(min=1, help="How many.")] = 60,
    size: Annotated[str, typer.Option(help="WIDTHxHEIGHT.")] = "480x360",
    seed: Annotated[int, typer.Option(min=0, help="Which street.")] = 0,
    as_json: Json = False,
) -> None:
    """Render a generated street drive with exact labels and exact optical flow."""
    from stt_core.labels import read_classes
    from stt_core.sampling import write_sample
    from stt_core.scenes.scene import Scene

    scene = Scene(seed, _size(size))
    classes = read_classes(resource_path(SAMPLE_CLASSES))
    _follow(write_sample(scene, frames, out, classes), frames, "sample")
    outputs = {"clip": out / "clip.mp4", "labels": out / "labels", "flow": out / "flow"}
    _say(f"{frames} frames written to {out}")
    facts = {"frames": frames, "size": list(scene.size), "seed": seed, "fps": scene.fps}
    told = {name: str(path) for name, path in outputs.items()}
    _done(as_json, {"command": "sample", **facts, "outputs": told})


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(help="A .toml file, or a shipped recipe's name.")],
    *,
    data: Annotated[list[str], typer.Option(help="KIND:PATH; may be given several times.")],
    out: Annotated[Path, typer.Option(help="The run folder.")],
    init: Annotated[str | None, typer.Option(help="Model to start from.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="In place of the recipe's.")] = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Train a model.

    Data kinds: scenes:FIRST-LAST (generated), camvid:FOLDER, video:FILE,labels=FOLDER.
    """
    from dataclasses import replace

    from stt_core.checkpoint import load_checkpoint
    from stt_core.data.sources import open_data
    from stt_core.device import find_device
    from stt_core.formats.model_file import find_model
    from stt_core.training.loop import train as run_training
    from stt_core.training.recipes import read_recipe

    config = read_recipe(recipe)
    config = config if steps is None else replace(config, steps=steps)
    start = load_checkpoint(find_model(init)) if init else None
    known = start.header.classes if start else None
    keys = config.key_frames if config.model == "stt" else 0
    sources = [open_data(spec, key_frames=keys, classes=known) for spec in data]
    device = str(find_device(device))
    told: dict[str, Any] = {}
    run = run_training(sources, config, out, init=start, device=device)
    path = _follow(run, config.steps, "train", lambda s: told.update(_train_facts(s)))
    _say(f"{config.steps} steps, loss {told['loss']}, written to {path}")
    outputs = {"model": str(path), "log": str(out / "log.jsonl")}
    _done(as_json, {"command": "train", "steps": config.steps, **told, "outputs": outputs})


@app.command("import-checkpoint")
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
    _say(f"{report.layout}{scheme}")
    _say(f"{report.mapped} tensors taken over{left_out}, written to {out}")
    for note in report.notes:
        _say(note)
    names = [label_class.name for label_class in imported.checkpoint.header.classes]
    facts = {**asdict(report), "classes": names, "outputs": {"model": str(out)}}
    _done(as_json, {"command": "import-checkpoint", **facts})


@app.command("export-onnx")
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

    from stt_core.checkpoint import load_checkpoint
    from stt_core.formats.model_file import find_model
    from stt_core.onnx_export import OPSET, export_onnx

    if out.suffix.lower() != ".onnx":
        raise typer.BadParameter(f"--out ends in .onnx, got {out.name}")
    rows_and_cols = None if size is None else _size(size, multiple=8)[::-1]
    exported = export_onnx(out, load_checkpoint(find_model(model)), size=rows_and_cols)
    width, height = exported.size[::-1]
    found = exported.difference
    _say(f"{exported.what}: input {width}x{height}, operator set {OPSET}, written to {out}")
    if found is None:
        _say("not compared with torch: onnxruntime is not installed")
    else:
        largest, same = f"{found.relative:.1e}", f"{found.same_class:.2%}"
        _say(
            f"onnxruntime: logits differ by {largest} of their spread, {same} of the classes agree"
        )
    facts = {"exported": exported.what, "size": [width, height], "opset": OPSET}
    told = {"difference": found and asdict(found), "outputs": {"onnx": str(out)}}
    _done(as_json, {"command": "export-onnx", **facts, **told})


@app.command()
def bench(
    *,
    group: Annotated[
        list[str] | None, typer.Option(help="Only this group; may be given several times.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for bench.json.")] = Path("bench-output"),
    as_json: Json = False,
) -> None:
    """Measure this machine: the project's own benchmark."""
    from app.bench import GROUPS, run_bench, table

    unknown = sorted(set(group or ()) - set(GROUPS))
    if unknown:
        raise typer.BadParameter(f"no group {unknown[0]}; there are {', '.join(GROUPS)}")
    rows = run_bench(tuple(group or GROUPS), out, _note)
    _say(table(rows))
    _done(
        as_json, {"command": "bench", "rows": rows, "outputs": {"bench": str(out / "bench.json")}}
    )


@app.command()
def doctor(*, as_json: Json = False) -> None:
    """Say what is installed, which devices there are, and what is missing."""
    from app.doctor import examine

    facts, sentences = examine()
    _say("\n".join(sentences))
    _done(as_json, {"command": "doctor", **facts})


@app.command()
def demo(
    *,
    out: Annotated[Path, typer.Option(help="Where results go without a display.")] = Path(
        "demo-output"
    ),
    headless: Annotated[
        bool, typer.Option("--headless", help="Write files even where there is a display.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Segment the bundled clip and show it, with an inspection open."""
    from app.demo import write_demo
    from app.qt_check import has_display
    from app.startup import demo_wanted, run_window

    if has_display() and not headless:
        code = run_window(demo_wanted())
        _done(as_json, {"command": "demo"})
        raise typer.Exit(code)
    if not headless:
        _say(f"There is no display here, so the demonstration is written to {out} instead.")
    report = write_demo(out, _note)
    _say("\n".join(report["outputs"].values()))
    _done(as_json, {"command": "demo", **report})


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program with these arguments and return its exit code."""
    words = _with_command(list(sys.argv[1:] if argv is None else argv))
    as_json = "--json" in words
    try:
        code = get_command(app).main(words, prog_name="stt-studio", standalone_mode=False)
        if code == _INTERRUPTED:  # what typer makes of Ctrl+C
            return _fail(as_json, "interrupted", code)
        return code if isinstance(code, int) else 0
    except _UsageError as error:
        return _fail(as_json, error.format_message(), 2)
    except SttError as error:
        return _fail(as_json, str(error), 2)
    except (typer.Abort, KeyboardInterrupt):
        return _fail(as_json, "interrupted", _INTERRUPTED)
    except Exception as error:  # the last fence: a sentence and a log, no traceback
        return _fail(as_json, record_failure(error), 1)


def _with_command(words: list[str]) -> list[str]:
    """Put `open` before bare paths."""
    known = {*get_command(app).commands, "--help"}  # type: ignore[attr-defined]
    return words if words and words[0] in known else ["open", *words]


def _fail(as_json: bool, sentence: str, code: int) -> int:
    print(f"stt-studio: {sentence}", file=sys.stderr)
    if as_json:
        _print_json({"error": sentence, "exit_code": code})
    return code


@contextmanager
def _usage() -> Iterator[None]:
    """What the core calls a wrong argument is here the user's."""
    try:
        yield
    except (ValueError, IndexError) as error:
        raise typer.BadParameter(str(error)) from error


def _network(model: str, device: str, precision: Any, key_frames: int | None) -> Any:
    from stt_core.checkpoint import load_checkpoint
    from stt_core.formats.model_file import find_model
    from stt_core.network import Network

    checkpoint = load_checkpoint(find_model(model))
    network = Network(checkpoint, device=device, precision=precision, key_frames=key_frames)
    if network.device.type == "cpu" and network.reach.heads:
        from stt_core.model.compiling import compile_first

        compile_first(_note)
    return network


def _follow(
    steps: Generator[Step, None, Any],
    total: int,
    title: str,
    listen: Any = lambda _: None,
) -> Any:
    """Take all steps under a progress bar and return the result."""
    from tqdm import tqdm

    with closing(steps), tqdm(total=total, desc=title, unit="", file=sys.stderr) as bar:
        while True:
            try:
                step = next(steps)
            except StopIteration as end:
                return end.value
            listen(step)
            bar.update()


def _train_facts(step: Any) -> dict[str, Any]:
    told = math.isfinite(step.mean_iou)  # not while the crops hold no label: JSON knows no NaN
    return {"loss": round(step.loss, 4), "mean_iou": round(step.mean_iou, 4) if told else None}


def _check_place(source: MediaSource, frame: int, x: int, y: int) -> None:
    source.time_of(frame)  # raises IndexError
    if x >= source.width or y >= source.height:
        size = f"{source.width}x{source.height}"
        raise IndexError(f"pixel ({x}, {y}) lies outside the {size} image")


def _pixel(text: str) -> tuple[int, int]:
    x, comma, y = text.partition(",")
    if not (comma and x.strip().isdecimal() and y.strip().isdecimal()):
        raise typer.BadParameter(f"'{text}' is not a pixel: say X,Y, as in 240,180")
    return int(x), int(y)


def _size(text: str, multiple: int = 2) -> tuple[int, int]:
    width, cross, height = text.partition("x")
    said = bool(cross) and width.isdecimal() and height.isdecimal()
    size = (int(width), int(height)) if said else (0, 0)
    # an odd size would be padded in the video, and its label maps not
    if not all(32 <= side <= _MAX_SIDE and side % multiple == 0 for side in size):
        numbers = "even numbers" if multiple == 2 else f"multiples of {multiple}"
        raise typer.BadParameter(
            f"'{text}' is not a size: say WIDTHxHEIGHT, {numbers} from 32 to {_MAX_SIDE}, as in "
            "480x360"
        )
    return size


def _head(text: str, heads: int) -> int | None:
    if text in ("mean", "all"):
        return None
    if not text.isdecimal() or not 1 <= int(text) <= heads:
        raise ValueError(f"--head is mean, all, or 1 to {heads}, got {text}")
    return int(text) - 1


def _warn(warnings: Sequence[str]) -> None:
    for warning in warnings:
        _note(f"warning: {warning}")


def _note(text: str) -> None:
    print(text, file=sys.stderr)


def _say(text: str) -> None:
    print(text)


def _done(as_json: bool, facts: dict[str, Any]) -> None:
    if as_json:
        _print_json(facts)


def _print_json(facts: dict[str, Any]) -> None:
    print(json.dumps(facts), flush=True)


if __name__ == "__main__":
    sys.exit(main())
