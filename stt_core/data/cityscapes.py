"""Cityscapes: 30-frame snippets with one labelled frame, or the labelled frames alone."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from stt_core.data.class_tables import cityscapes_classes, cityscapes_train_ids
from stt_core.data.files import FileSequence, FrameFiles, digest_of
from stt_core.data.label_codes import IndexCode, index_code
from stt_core.data.problems import check_sequences, refuse
from stt_core.data.sequences import DataSet
from stt_core.data.spec import Spec
from stt_core.errors import DataError, Problem
from stt_core.labels import IGNORED

CITYSCAPES_LICENCE = (
    "Non-commercial use only: trained on Cityscapes (its terms allow research, teaching, "
    "publications and personal experiments)."
)
CITYSCAPES_OPTIONS = ("split", "ignore")
_IMAGE = re.compile(r"(.+_\d+)_(\d+)_leftImg8bit\.png", re.ASCII)


@dataclass(frozen=True, slots=True)
class _Shot:
    """One image of a camera."""

    key: str
    """CITY_SEQ."""
    number: int
    path: Path

    @property
    def name(self) -> str:
        return self.path.name.removesuffix("_leftImg8bit.png")


def open_cityscapes(spec: Spec, *, check: bool) -> DataSet:
    """Open one split.

    Raises:
        DataError: it is not there, or something is wrong with it.
    """
    folder = spec.path
    split = spec.choice("split", ("train", "val", "test"))
    snippets = folder / "leftImg8bit_sequence" / split
    is_video = snippets.is_dir()
    images = snippets if is_video else folder / "leftImg8bit" / split
    shots = _shots(images, folder)
    labels, code = _labels(folder / "gtFine" / split, spec.ignored())
    refuse(spec.text, _unpaired(shots, labels, images, every=not is_video))
    sequences = tuple(
        FileSequence(
            run[0].name if len(run) == 1 else f"{run[0].name}-{run[-1].number:06d}",
            [FrameFiles(shot.name, shot.path, labels.get(shot.name)) for shot in run],
            code,
            video=is_video,
        )
        for run in (_snippets(shots) if is_video else [[shot] for shot in shots])
    )
    if check:
        refuse(spec.text, check_sequences(folder, sequences))
    digest = digest_of(spec, sequences)
    return DataSet(spec.text, cityscapes_classes(), CITYSCAPES_LICENCE, digest, sequences)


def _shots(images: Path, folder: Path) -> list[_Shot]:
    shots, problems = [], []
    for path in sorted(images.glob("*/[!.]*.png")):
        match = _IMAGE.fullmatch(path.name)
        if match:
            shots.append(_Shot(match[1], int(match[2]), path))
        else:
            problems.append(Problem(path, "is not named CITY_SEQ_FRAME_leftImg8bit.png"))
    refuse(str(images), problems)
    if not shots:
        raise DataError(
            f"{folder} is not Cityscapes: there are no images CITY/*_leftImg8bit.png in {images}"
        )
    return sorted(shots, key=lambda shot: (shot.key, shot.number))


def _labels(folder: Path, ignored: frozenset[int]) -> tuple[dict[str, Path], IndexCode]:
    """Label files by frame, and their code: label ids, or else train ids."""
    train_ids = cityscapes_train_ids()
    judged = {i: train_id for i, train_id in train_ids.items() if train_id != IGNORED}
    for kind, ids, known in (
        ("labelIds", judged, train_ids.keys()),
        ("labelTrainIds", {i: i for i in judged.values()}, ()),
    ):
        suffix = f"_gtFine_{kind}.png"
        found = {p.name.removesuffix(suffix): p for p in sorted(folder.glob(f"*/[!.]*{suffix}"))}
        if found:
            void = set(known) - ids.keys()
            return found, index_code(ids, void | ignored)
    raise DataError(
        f"there are no labels CITY/*_gtFine_labelIds.png or *_gtFine_labelTrainIds.png in {folder}"
    )


def _unpaired(
    shots: list[_Shot], labels: dict[str, Path], images: Path, *, every: bool
) -> list[Problem]:
    """Labels without an image, and where every image should have some, images without labels."""
    names = {shot.name for shot in shots}
    problems = [
        Problem(path, f"has no image in {images}")
        for name, path in labels.items()
        if name not in names
    ]
    if every:
        problems += [
            Problem(s.path, "has no labels in gtFine") for s in shots if s.name not in labels
        ]
    return problems


def _snippets(shots: list[_Shot]) -> list[list[_Shot]]:
    """Cut wherever frame numbers do not follow each other."""
    numbered = enumerate(shots)
    groups = groupby(numbered, key=lambda pair: (pair[1].key, pair[1].number - pair[0]))
    return [[shot for _, shot in group] for _, group in groups]
