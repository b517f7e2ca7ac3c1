"""CamVid: as SegNet published it, or as its authors did.

SegNet's form has 480 x 360 pixels and 8-bit ids, the original 960 x 720 and colours of 32 classes,
which become SegNet's 11. A frame is named SEQ_FRAME, the number counting frames at 30 a second.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from stt_core.data.class_tables import camvid_classes, camvid_places, class_table
from stt_core.data.drives import (
    Drive,
    Numbered,
    Selection,
    cut_into_runs,
    numbered,
    parse_selection,
)
from stt_core.data.files import FileSequence, FrameFiles, digest_of, pair_by_name, without_labels
from stt_core.data.label_codes import ColorCode, LabelCode, color_code
from stt_core.data.problems import check_sequences, refuse
from stt_core.data.sequences import DataSet
from stt_core.data.spec import Spec
from stt_core.errors import DataError, Problem
from stt_core.labels import IGNORED
from stt_core.media.folder import image_files

CAMVID_LICENCE = "Research use only: trained on CamVid (CC BY-NC 4.0, personal and research use)."
CAMVID_OPTIONS = ("split", "only", "without", "frames", "video", "ignore")
SPLITS = ("train", "val", "test")

VOID_ID = 11
"""What SegNet's label files hold where there is no class."""
_COLOR_TABLE = "label_colors.txt"
_VIDEO_STEP = 3
"""Longest step, in frames at 30 a second, at which neighbours count as video."""
_LEAD = 30
"""Video frames, at most, that are read before the first labelled one of a run."""


def open_camvid(spec: Spec, *, check: bool) -> DataSet:
    """Open CamVid in either form, whichever is there.

    Raises:
        DataError: neither form is there, or something is wrong with it.
    """
    folder = spec.path
    split = spec.choice("split", SPLITS)
    if (folder / _COLOR_TABLE).is_file():
        if "ignore" in spec.options:
            raise spec.error(
                "ignore names an id, but the labels of the original CamVid are colours"
            )
        frames, problems = _original_frames(folder, split, chosen="split" in spec.options)
        code: LabelCode = read_color_table(folder / _COLOR_TABLE)
        tables = [folder / _COLOR_TABLE]
    else:
        frames, problems = _segnet_frames(spec, split)
        code = class_table(camvid_classes(), {VOID_ID, *spec.ignored()}).code
        tables = []
    refuse(spec.text, problems)
    sequences = _sequences(spec, frames, code)
    if check:
        refuse(spec.text, check_sequences(folder, sequences))
    digest = digest_of(spec, sequences, tables)
    return DataSet(spec.text, camvid_classes(), CAMVID_LICENCE, digest, sequences)


def read_color_table(path: Path) -> ColorCode:
    """Read label_colors.txt, lines of `R G B name`, as the code of the 11 classes.

    Raises:
        DataError: a line is none.
    """
    place = camvid_places()
    colors: dict[tuple[int, int, int], int] = {}
    problems = []
    for number, line in enumerate(path.read_text("utf-8", "replace").splitlines(), start=1):
        parts = line.split()
        if len(parts) == 4 and all(p.isdecimal() and int(p) < 256 for p in parts[:3]):
            red, green, blue = (int(part) for part in parts[:3])
            colors[red, green, blue] = place.get(parts[3], IGNORED)
        elif parts:
            problems.append(Problem(path, f"has no 'R G B name' in line {number}: '{line}'"))
    if not colors and not problems:
        problems.append(Problem(path, "is empty: it should hold lines of 'R G B name'"))
    refuse(str(path), problems)
    return color_code(colors, path.name)


def _segnet_frames(spec: Spec, split: str) -> tuple[list[FrameFiles], list[Problem]]:
    folder = spec.path
    images, labels = folder / "images" / split, folder / "labels" / split
    if not images.is_dir():
        images, labels = folder / split, folder / f"{split}annot"
    if not (images.is_dir() and labels.is_dir()):
        raise DataError(
            f"{folder} is not CamVid: it should hold images/{split} and labels/{split}, or "
            f"{split} and {split}annot (SegNet's form), or {_COLOR_TABLE} (the original form)"
        )
    listed = _list_of(folder, split)
    if listed:
        return _listed_pairs(folder, listed)
    frames, problems = pair_by_name(images, labels)
    return frames, problems + without_labels(frames, labels)


def _list_of(folder: Path, split: str) -> Path | None:
    places = (folder / "splits" / f"{split}.txt", folder / f"{split}.txt")
    return next((place for place in places if place.is_file()), None)


def _listed_pairs(folder: Path, listed: Path) -> tuple[list[FrameFiles], list[Problem]]:
    """The pairs of a list: image and label on each line, relative to the folder."""
    words = listed.read_text("utf-8", "replace").split()
    paths = [_inside(folder, word) for word in words]
    told = f"is named in {listed}, but is not there"
    problems = [Problem(path, told) for path in paths if not path.is_file()]
    if len(words) % 2 or not words:
        what = f"names {len(words)} files: it should hold an image and its labels on each line"
        problems.insert(0, Problem(listed, what))
    pairs = zip(paths[::2], paths[1::2], strict=False)
    return [FrameFiles(image.stem, image, labels) for image, labels in pairs], problems


def _inside(folder: Path, word: str) -> Path:
    """SegNet's own lists say where its authors had the files: only the last two parts hold."""
    return folder.joinpath(*word.split("/")[-2:]) if word.startswith("/") else folder / word


def _original_frames(
    folder: Path, split: str, *, chosen: bool
) -> tuple[list[FrameFiles], list[Problem]]:
    images = _first_folder(folder, ("701_StillsRaw_full", "images"))
    labels = _first_folder(folder, ("LabeledApproved_full", "labels"))
    frames, problems = pair_by_name(images, labels, "_L")
    listed = _list_of(folder, split)
    if listed:
        kept, missing = _listed(frames, listed)
        return kept, problems + missing + without_labels(kept, labels)
    if chosen or any(_list_of(folder, other) for other in SPLITS):
        raise DataError(
            f"{folder} has no list of the split '{split}': write the names of its images into "
            f"{folder / 'splits' / f'{split}.txt'}, or leave out split and all lists to take all"
        )
    return frames, problems + without_labels(frames, labels)


def _first_folder(folder: Path, names: tuple[str, ...]) -> Path:
    for name in names:
        if (folder / name).is_dir():
            return folder / name
    raise DataError(f"{folder} is not the original CamVid: it has no folder {' or '.join(names)}")


def _listed(frames: list[FrameFiles], listed: Path) -> tuple[list[FrameFiles], list[Problem]]:
    """Those frames whose image a list names, first on each line, with or without its suffix."""
    by_name = {files.name: files for files in frames}
    lines = listed.read_text("utf-8", "replace").splitlines()
    names = [Path(line.split()[0]).stem for line in lines if line.strip()]
    problems = [
        Problem(listed, f"names {n}, which is not there") for n in names if n not in by_name
    ]
    return [by_name[name] for name in names if name in by_name], problems


def _sequences(spec: Spec, frames: list[FrameFiles], code: LabelCode) -> tuple[FileSequence, ...]:
    """The runs of what is selected, with the video frames between them if there are any."""
    stills, problems = numbered(frames)
    refuse(spec.text, problems)
    only, without = (parse_selection(spec, key) for key in ("only", "without"))
    stills = _selected(spec, stills, only, without)
    runs = cut_into_runs(stills)
    between = _video_frames(spec)
    if between:
        between = [f for f in between if not any(f in s for s in without)]
        runs = cut_into_runs(_filled(runs, between))
    wanted = spec.choice("video", ("auto", "yes", "no"))
    return tuple(
        FileSequence(
            run.name,
            run.files,
            code,
            video=wanted == "yes" or (wanted == "auto" and run.step <= _VIDEO_STEP),
        )
        for run in runs
    )


def _selected(
    spec: Spec,
    frames: list[Numbered],
    only: Sequence[Selection],
    without: Sequence[Selection],
) -> list[Numbered]:
    for selection in (*only, *without):
        if not any(frame in selection for frame in frames):
            raise spec.error(f"no frame of this split is in {selection}")
    kept = [f for f in frames if not only or any(f in s for s in only)]
    kept = [f for f in kept if not any(f in s for s in without)]
    if not kept:
        raise spec.error("only and without leave no frame over")
    return kept


def _video_frames(spec: Spec) -> list[Numbered]:
    """Frames of the videos, of which only every 30th or so is labelled."""
    folder = spec.path / spec.options.get("frames", "video")
    if not folder.is_dir():
        if "frames" in spec.options:
            raise spec.error(f"there is no folder {folder}")
        return []
    frames, problems = numbered(FrameFiles(f.stem, f) for f in image_files(folder))
    refuse(spec.text, problems)
    return frames


def _filled(runs: Iterable[Drive], between: Sequence[Numbered]) -> list[Numbered]:
    """The frames of the runs, and those of the video that lie in them or just before."""
    found = {(f.drive, f.number): f for run in runs for f in run.frames}
    spans = [(run.frames[0].drive, run.first - _LEAD + 1, run.last) for run in runs]
    for frame in between:
        if any(d == frame.drive and low <= frame.number <= high for d, low, high in spans):
            found.setdefault((frame.drive, frame.number), frame)
    return sorted(found.values(), key=lambda frame: (frame.drive, frame.number))
