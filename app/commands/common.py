"""What the commands share: their options, their words, and how a long one is followed."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import typer

if TYPE_CHECKING:
    from stt_core.checkpoint import Checkpoint

Step = TypeVar("Step")

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


@contextmanager
def usage() -> Iterator[None]:
    """What the core calls a wrong argument is here the user's."""
    try:
        yield
    except (ValueError, IndexError) as error:
        raise typer.BadParameter(str(error)) from error


def load_model(model: str) -> Checkpoint:
    """The model in a file, or the bundled one of that name."""
    from stt_core.checkpoint import load_checkpoint
    from stt_core.formats.model_file import find_model

    return load_checkpoint(find_model(model))


def load_network(model: str, device: str, precision: Any, key_frames: int | None) -> Any:
    from stt_core.network import Network

    network = Network(load_model(model), device=device, precision=precision, key_frames=key_frames)
    if network.device.type == "cpu" and network.reach.heads:
        from stt_core.model.compiling import compile_first

        compile_first(note)
    return network


def follow(
    steps: Generator[Step, None, Any],
    total: int,
    title: str,
    listen: Any = lambda _: None,
    place: Callable[[Step], int] | None = None,
) -> Any:
    """Take all steps under a progress bar and return the result.

    Args:
        steps: to take.
        total: how many there are, those included that were taken another time.
        title: of the bar.
        listen: told of each.
        place: which of all steps one is, 1 the first, where the first here may be another.
    """
    from tqdm import tqdm

    with closing(steps), tqdm(total=total, desc=title, unit="", file=sys.stderr) as bar:
        while True:
            try:
                step = next(steps)
            except StopIteration as end:
                return end.value
            listen(step)
            if place is not None and not bar.n:  # what was done before took no time here
                bar.initial = bar.n = place(step) - 1
            bar.update()


def parse_pixel(text: str) -> tuple[int, int]:
    x, comma, y = text.partition(",")
    if not (comma and x.strip().isdecimal() and y.strip().isdecimal()):
        raise typer.BadParameter(f"'{text}' is not a pixel: say X,Y, as in 240,180")
    return int(x), int(y)


def parse_size(text: str, multiple: int = 2) -> tuple[int, int]:
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


def warn(warnings: Sequence[str]) -> None:
    for warning in warnings:
        note(f"warning: {warning}")


def note(text: str) -> None:
    print(text, file=sys.stderr)


def say(text: str) -> None:
    print(text)


def done(as_json: bool, facts: dict[str, Any]) -> None:
    if as_json:
        print_json(facts)


def print_json(facts: dict[str, Any]) -> None:
    print(json.dumps(facts), flush=True)
