"""The command that has a model label a video for others to learn from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from app.commands.common import (
    Device,
    Json,
    KeyFrames,
    Model,
    Precision,
    done,
    follow,
    load_network,
    say,
    warn,
)
from stt_core.resources import SAMPLE_MODEL


def pseudo_label(
    media: Annotated[Path, typer.Argument(help="A video file or a folder of images.")],
    *,
    out: Annotated[Path, typer.Option(help="Folder for NNNNNN.png; must hold no maps yet.")],
    model: Model = SAMPLE_MODEL,
    neighbours: Annotated[
        int, typer.Option(min=0, max=8, help="Frames on either side that count too.")
    ] = 2,
    threshold: Annotated[
        float, typer.Option(min=0, max=1, help="Least probability of what is believed.")
    ] = 0.9,
    every: Annotated[int, typer.Option(min=1, help="Write each of so many frames only.")] = 1,
    device: Device = "auto",
    key_frames: KeyFrames = None,
    precision: Precision = "auto",
    as_json: Json = False,
) -> None:
    """Label a video with a model, steadied along the motion, as training data for others."""
    from stt_core.labels import IGNORED
    from stt_core.media.source import open_media
    from stt_core.pseudo.rule import Threshold
    from stt_core.workflow.clip_labels import ClipLabelOptions, write_clip_labels

    shares: list[float] = []
    options = ClipLabelOptions(neighbours, Threshold(threshold), every)
    with open_media(media) as source:
        warn(source.warnings)
        network = load_network(model, device, precision, key_frames)
        steps = write_clip_labels(network, source, out, options)
        total = len(range(0, len(source), every))
        record = follow(
            steps, total, "label", lambda step: shares.append((step.labels != IGNORED).mean())
        )
    warn(network.notes)
    labelled = float(np.mean(shares))
    say(f"{total} label maps written to {out}; {labelled:.1%} of the pixels are labelled")
    facts = {"frames": total, "labelled": round(labelled, 4), "provenance": record}
    told = {"media": str(media), "outputs": {"labels": str(out)}}
    done(as_json, {"command": "pseudo-label", **facts, **told})
