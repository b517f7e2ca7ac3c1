"""Measuring models and folders of label maps on a data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from app.commands.common import (
    Device,
    Json,
    KeyFrames,
    Precision,
    done,
    follow,
    load_network,
    say,
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
    from stt_core.evaluation.predictors import Predictor
    from stt_core.labels import LabelClass
    from stt_core.network import Network


def evaluate(
    data: DataPath,
    *,
    pred: Annotated[
        list[str],
        typer.Option(
            help="A model, or a folder of label maps; NAME=... names it. May be given several "
            "times."
        ),
    ],
    kind: Kind = None,
    split: Split = None,
    ignore_id: IgnoreId = None,
    tc: Annotated[
        Literal["masked", "plain", "etc", "none"] | None,
        typer.Option(
            help="Protocol of temporal consistency, masked by default. Where one is asked for, a "
            "data set of the kind folder is taken for video."
        ),
    ] = None,
    flow: Flow = "dis",
    average: AverageName = "clean",
    key_frames: KeyFrames = None,
    device: Device = "auto",
    precision: Precision = "auto",
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for table.csv, table.md, report.html, confusion_NAME.csv."),
    ] = None,
    reported: Annotated[
        Literal["cityscapes", "camvid"] | None,
        typer.Option(help="Add published figures, marked as such."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure accuracy (mIoU, boundary IoU) and temporal consistency (TC) of predictions."""
    from stt_core.data.sources import open_data
    from stt_core.evaluation.output import result_facts, write_results
    from stt_core.evaluation.reported import reported_rows
    from stt_core.evaluation.run import count_frames
    from stt_core.evaluation.run import evaluate as measure
    from stt_core.evaluation.tables import class_table, remarks, short_table, to_text
    from stt_core.files import make_folder

    options = read_options(tc or "masked", flow, average)
    if out is not None:
        make_folder(out)  # rather refused now than after the last frame
    sources = [
        _open_source(name, word, device, precision, key_frames) for name, word in _named(pred)
    ]
    known = next((source.classes for source in sources if source.classes), None)
    spec = data_spec(data, kind, split, ignore_id)
    if tc in ("masked", "plain", "etc") and spec.startswith("folder:") and ",video=" not in spec:
        spec += ",video=yes"
    opened = open_data(spec, classes=known)
    predictors = [source.predictor(opened.classes) for source in sources]
    steps = measure(opened, predictors, options)
    results = follow(steps, count_frames(opened, predictors, options), "evaluate")
    rows = () if reported is None else reported_rows(reported)
    warn([f"{result.name}: {note}" for result in results for note in result.notes])
    text = "\n".join([to_text(short_table(results, rows)), *remarks(results, rows)])
    say(f"{text}\n\n{to_text(class_table(results))}")
    outputs = {}
    if out is not None:
        outputs = {k: str(p) for k, p in write_results(out, opened, results, rows).items()}
        say(f"written to {out}")
    told = [result_facts(result) for result in results]
    facts = {"command": "evaluate", "data": opened.spec, **told[0], "results": told}
    done(as_json, {**facts, "outputs": outputs})


@dataclass(frozen=True, slots=True)
class _Source:
    """What one --pred names."""

    name: str
    given: Path | Network
    """A folder of maps, or a model at work."""
    classes: tuple[LabelClass, ...] | None
    """What its ids mean; None of a folder that does not tell."""

    def predictor(self, classes: tuple[LabelClass, ...]) -> Predictor:
        """Of maps that do not tell, the ids mean `classes`."""
        from stt_core.evaluation.predictors import FolderPredictor, ModelPredictor

        if isinstance(self.given, Path):
            return FolderPredictor(self.name, self.given, self.classes or classes)
        return ModelPredictor(self.name, self.given)


def _open_source(
    name: str, word: str, device: str, precision: Any, key_frames: int | None
) -> _Source:
    from stt_core.evaluation.predictors import folder_classes

    if Path(word).is_dir():
        return _Source(name, Path(word), folder_classes(Path(word)))
    network: Network = load_network(word, device, precision, key_frames)
    return _Source(name, network, network.header.classes)


def _named(words: Sequence[str]) -> list[tuple[str, str]]:
    """A name for each prediction, each another, and where the prediction is."""
    pairs = [_name(word) for word in words]
    named: list[tuple[str, str]] = []
    for name, word in pairs:
        taken = [other for other, _ in named]
        tries = (f"{name} {number}" for number in range(2, len(words) + 2))
        named.append((next(n for n in (name, *tries) if n not in taken), word))
    return named


def _name(word: str) -> tuple[str, str]:
    name, equals, rest = word.partition("=")
    if equals and name and rest and not Path(word).exists():
        return name, rest
    path = Path(word)
    own = path.resolve().name.removesuffix(".safetensors") or word
    # what `segment` writes lies in labels/ of a folder that has a name of its own
    return (path.resolve().parent.name if own == "labels" else own), word
