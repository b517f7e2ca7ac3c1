"""Other people's checkpoints, made ours. The layouts are tabled in docs/checkpoints.md.

Whatever cannot be placed completely is refused: half a network that loads in silence gives masks
that look like a bad model. Nothing in a file is executed.
"""

from __future__ import annotations

import colorsys
import pickle
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from stt_core.checkpoint import Checkpoint, new_checkpoint
from stt_core.config import Dilation, LiteNetConfig, ModelConfig, Preprocess
from stt_core.errors import CheckpointError
from stt_core.formats.model_file import ModelHeader
from stt_core.labels import LabelClass, read_classes
from stt_core.layouts import Layout, bare, recognise, some
from stt_core.model.build import build_model
from stt_core.model.lite0 import LITE0_MEAN, LITE0_STD, Lite0Trunk, load_imagenet_weights
from stt_core.resources import SAMPLE_CLASSES, resource_path

_CONTAINERS = ("state_dict", "model_state", "model")
_CLASSES_BY_NUMBER = {11: SAMPLE_CLASSES, 19: "classes/cityscapes19.json"}
_SEED = 0
"""Of parts that start fresh, so that importing a file twice gives one model."""
_PARTS = re.compile(r"(?:frame|paths\.\d)\.(?:trunk\.ppm|\w+)")


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What became of a checkpoint's tensors, and what a person should know of it."""

    layout: str
    dilation: Dilation | None
    """The scheme of a ResNet; None for what is not one."""
    mapped: int
    """Tensors taken over."""
    ignored: tuple[str, ...]
    """Keys that were left out, all of known kinds."""
    fresh: tuple[str, ...]
    """Parts of the model that the checkpoint lacks, so that they must learn."""
    notes: tuple[str, ...]
    """Sentences: what was assumed and could be wrong."""


@dataclass(frozen=True, slots=True)
class Imported:
    checkpoint: Checkpoint
    report: ImportReport


def import_checkpoint(
    path: Path,
    *,
    classes: Sequence[LabelClass] | None = None,
    dilation: Dilation | None = None,
) -> Imported:
    """Make a model of somebody else's checkpoint.

    Args:
        path: .safetensors, or what torch.save wrote.
        classes: that the weights tell apart, in their order; guessed by number where None.
        dilation: for a torchvision backbone only, which leaves it open.

    Raises:
        CheckpointError: unreadable, only to be read by executing code, of no known layout, or not
            completely of one.
    """
    return import_weights(read_weights(path), path, classes=classes, dilation=dilation)


def start_lite0(classes: Sequence[LabelClass] | None = None) -> Imported:
    """The light network with ImageNet's weights in its trunk, its heads still to learn.

    Args:
        classes: that it is to tell apart; CamVid's where None.

    Raises:
        CheckpointError: the package that holds the weights is missing, or holds others.
    """
    table = tuple(classes or read_classes(resource_path(SAMPLE_CLASSES)))
    header = ModelHeader(
        config=LiteNetConfig(num_classes=len(table)),
        preprocess=Preprocess(mean=LITE0_MEAN, std=LITE0_STD),
        classes=table,
        licence="EfficientNet-Lite0's ImageNet weights are under the Apache License 2.0.",
        lineage=("EfficientNet-Lite0's ImageNet weights",),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        checkpoint = new_checkpoint(header)
    trunk = next(m for m in checkpoint.model.modules() if isinstance(m, Lite0Trunk))
    load_imagenet_weights(trunk)
    report = ImportReport(
        layout="EfficientNet-Lite0 of ImageNet",
        dilation=None,
        mapped=len(trunk.state_dict()),
        ignored=("ImageNet's head",),
        fresh=("frame.trunk.ppm", "frame.cls", "frame.aux"),
        notes=("everything behind the trunk is new and must be trained",),
    )
    return Imported(checkpoint, report)


def import_weights(
    weights: Mapping[str, Tensor],
    source: Path,
    *,
    classes: Sequence[LabelClass] | None = None,
    dilation: Dilation | None = None,
) -> Imported:
    """The same for weights that are read already.

    Args:
        weights: by their names in `source`.
        source: the file they came from, for messages and the model's lineage.
        classes: see :func:`import_checkpoint`.
        dilation: see :func:`import_checkpoint`.

    Raises:
        CheckpointError: as :func:`import_checkpoint`.
    """
    theirs, left_out = bare(weights)
    try:
        layout = recognise(theirs)
        scheme = _scheme(layout, dilation)
        table, class_note = _class_table(layout, theirs, classes)
        config = layout.config(theirs, scheme, len(table))
        names, fresh = _placed(layout, theirs, config)
    except (CheckpointError, ValueError) as error:
        raise CheckpointError(f"cannot import {source}: {error}") from error
    header = ModelHeader(
        config=config,
        preprocess=Preprocess(),
        classes=table,
        licence=f"unknown: imported from {source.name}",
        lineage=(f"imported from {source.name}: {layout.name}, dilation scheme {scheme}",),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        checkpoint = new_checkpoint(header)
    # converted to float32 on the way, where they are not
    taken = {ours: theirs[its] for ours, its in names.items() if its in theirs}
    checkpoint.model.load_state_dict({**checkpoint.model.state_dict(), **taken})
    report = ImportReport(
        layout=layout.name,
        dilation=scheme,
        mapped=len(taken),
        ignored=(*left_out, *(key for key in theirs if layout.leaves_out(key))),
        fresh=fresh,
        notes=tuple(_notes(layout, scheme, dilation, class_note, fresh)),
    )
    return Imported(checkpoint, report)


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint by name, taken out of their container.

    Raises:
        CheckpointError: unreadable, not a checkpoint, or only to be read by executing code.
    """
    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint {path}")
    found = _load(path)
    while isinstance(found, Mapping):
        inner = [found[name] for name in _CONTAINERS if isinstance(found.get(name), Mapping)]
        if not inner:
            break
        found = inner[0]
    if not isinstance(found, Mapping) or not found:
        raise CheckpointError(f"{path} holds no weights: save a state_dict in it")
    odd = [str(name) for name, w in found.items() if not isinstance(w, Tensor)]
    if odd:
        raise CheckpointError(
            f"{path} holds no table of weights, by itself or under {', '.join(_CONTAINERS)}: "
            f"{some(odd)} {'is' if len(odd) == 1 else 'are'} no tensor. Save the model's "
            f"state_dict in a file of its own."
        )
    return {str(name): w for name, w in found.items()}


class _Skipped:
    """Stands for a number of NumPy's in a checkpoint, such as a best score; holds nothing."""

    def __init__(self, *parts: object) -> None: ...

    def __setstate__(self, state: object) -> None: ...


_SKIPPED = [
    (_Skipped, name)
    for name in ("numpy.dtype", "numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")
]


def _load(path: Path) -> object:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with warnings.catch_warnings(), torch.serialization.safe_globals(_SKIPPED):  # type: ignore[arg-type]
            warnings.simplefilter("ignore")  # about old ways to pickle
            return torch.load(path, map_location="cpu", weights_only=True)
    except (
        AssertionError,
        AttributeError,
        EOFError,
        LookupError,
        OSError,
        RuntimeError,
        SafetensorError,
        TypeError,
        ValueError,
        pickle.UnpicklingError,
    ) as error:  # all that torch.load raises on damaged files
        raise CheckpointError(_why_unread(path, error)) from error


def _why_unread(path: Path, error: Exception) -> str:
    if isinstance(error, PermissionError):
        return f"cannot read {path}: permission denied"
    asked = re.search(r"GLOBAL ([\w.]+)|(TorchScript)", str(error))
    if asked is None:
        return f"{path} is not a checkpoint, or was cut short: download or copy it again"
    inner = "m.get('state_dict', m.get('model_state', m))"
    return (
        f"{path} holds more than weights ({asked[1] or asked[2]}), and reading that would execute "
        f"code that the file chooses, so it is not read. If you trust the file, save its weights "
        f'alone where the program that wrote it is installed: python -c "import torch; '
        f"m = torch.load({path.name!r}, weights_only=False); "
        f"m = m.state_dict() if hasattr(m, 'state_dict') else {inner}; "
        f"torch.save(m, 'weights.pth')\""
    )


def _scheme(layout: Layout, wanted: Dilation | None) -> Dilation:
    if layout.dilation is None:
        return wanted or "etc"
    if wanted not in (None, layout.dilation):
        raise CheckpointError(
            f"{layout.name} was trained with the dilation scheme {layout.dilation}, and any other "
            f"would ruin it; only torchvision backbones leave the choice"
        )
    return layout.dilation


def _class_table(
    layout: Layout, weights: Mapping[str, Tensor], given: Sequence[LabelClass] | None
) -> tuple[tuple[LabelClass, ...], str]:
    """The classes, and what was assumed of them in a sentence."""
    count = layout.class_count(weights)
    if given is not None:
        if count not in (None, len(given)):
            raise CheckpointError(
                f"its classifier tells {count} classes apart, but {len(given)} were given: give "
                f"the list it was trained with"
            )
        return tuple(given), ""
    if count is None:
        return read_classes(resource_path(SAMPLE_CLASSES)), (
            "It tells no classes apart; the new head has the 11 of CamVid. Others can be given."
        )
    if count not in _CLASSES_BY_NUMBER:
        return generic_classes(count), (
            f"Its {count} classes have no names; give a list of them to see some."
        )
    name = "Cityscapes" if count == 19 else "CamVid, in SegNet's order"
    return read_classes(resource_path(_CLASSES_BY_NUMBER[count])), (
        f"Its {count} classes are taken to be those of {name}; give a list if they are not."
    )


def generic_classes(count: int) -> tuple[LabelClass, ...]:
    """Classes `class 0` and so on, in colours that differ, those of neighbours clearly."""
    golden = 0.618034  # of a turn: each hue falls into the widest gap that is left
    rows = []
    for i in range(count):
        color = colorsys.hsv_to_rgb(i * golden % 1, (0.85, 0.5)[i // 3 % 2], (1.0, 0.8, 0.6)[i % 3])
        red, green, blue = (round(255 * part) for part in color)
        rows.append(LabelClass(f"class {i}", (red, green, blue)))
    return tuple(rows)


def _placed(
    layout: Layout, weights: Mapping[str, Tensor], config: ModelConfig
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Find a place for each tensor, and a tensor for each place.

    Returns:
        Names of tensors, ours to theirs, and the parts of ours that they lack altogether.

    Raises:
        CheckpointError: something is missing, left over, of a wrong shape or not finite.
    """
    modules = layout.modules()
    heads = tuple(f"{its}." for ours, its in modules.items() if ".aux." in ours)
    if not any(key.startswith(heads) for key in weights):
        modules = {ours: its for ours, its in modules.items() if ".aux." not in ours}
    with torch.device("meta"):
        places = build_model(config).state_dict()
    names: dict[str, str] = {}
    fresh: dict[str, None] = {}
    for place in places:
        part = next((m for m in _ancestors(place) if m in modules), None)
        if part is None:
            found = _PARTS.match(place)
            fresh[found[0] if found else place] = None
        else:
            names[place] = modules[part] + place.removeprefix(part)
    shapes = {its: tuple(places[ours].shape) for ours, its in names.items()}
    _check_complete(layout, weights, shapes)
    _check_values({its: weights[its] for its in shapes if its in weights})
    return names, tuple(fresh)


def _check_complete(
    layout: Layout, weights: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]]
) -> None:
    missing = [
        key for key in shapes if key not in weights and not key.endswith(".num_batches_tracked")
    ]
    surplus = [key for key in weights if key not in shapes and not layout.leaves_out(key)]
    wrong = [
        f"{key} {tuple(weights[key].shape)} in place of {shape}"
        for key, shape in shapes.items()
        if key in weights and tuple(weights[key].shape) != shape
    ]
    complaints = [
        f"{words} {len(keys)} tensor{'s' if len(keys) > 1 else ''} ({some(keys)})"
        for words, keys in (
            ("it lacks", missing),
            ("there is no place for", surplus),
            ("of another shape", wrong),
        )
        if keys
    ]
    if complaints:
        raise CheckpointError(
            f"it looks like {layout.name}, but {'; '.join(complaints)}. It may be of a variant; "
            f"docs/checkpoints.md lists what can be imported."
        )


def _check_values(weights: Mapping[str, Tensor]) -> None:
    odd = [
        key
        for key, w in weights.items()
        if w.layout != torch.strided
        or (not w.is_floating_point() and not key.endswith(".num_batches_tracked"))
    ]
    if odd:
        raise CheckpointError(
            f"{some(odd)} {'is' if len(odd) == 1 else 'are'} not of floating-point numbers; "
            f"quantised or sparse weights cannot be imported"
        )
    broken = [key for key, w in weights.items() if not bool(w.float().isfinite().all())]
    if broken:
        raise CheckpointError(
            f"its weights are not finite (NaN or infinite) in {some(broken)}: the training that "
            f"wrote it diverged. Use an earlier checkpoint."
        )


def _notes(
    layout: Layout,
    scheme: Dilation,
    wanted: Dilation | None,
    class_note: str,
    fresh: Sequence[str],
) -> Iterator[str]:
    if layout.dilation is None:
        chosen = "as asked" if wanted else "by default"
        yield (
            f"The backbone was trained without dilation; it gets the scheme {scheme}, {chosen}, "
            f"and must be trained further."
        )
    if class_note:
        yield class_note
    heads = [part for part in fresh if part.endswith(".aux")]
    if len(fresh) > len(heads):
        yield f"New and untrained: {', '.join(fresh)}."
    elif heads:
        yield "It has no auxiliary head; the new one is untrained and matters only in training."


def _ancestors(key: str) -> Iterator[str]:
    while "." in key:
        key = key.rpartition(".")[0]
        yield key
