from __future__ import annotations

import contextlib
import io
import json
import stat
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.lib import format as npy
from PIL import Image

from stt_core.errors import FormatError, SttError
from stt_core.formats.label_formats import LABEL_FORMATS, read_labels
from stt_core.formats.untrusted import Limits
from tests.core.formats.samples import checkers, export, frames_of, target_of

needs_links = pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")

OUTSIDE = ["../secret.png", "/etc/passwd", "C:/secret.png", "..\\secret.png", "a/../../secret.png"]
FOLDERS = tuple(name for name, form in LABEL_FORMATS.items() if not form.suffix)


def _exported(name: str, folder: Path) -> Path:
    target = target_of(name, folder)
    export(name, target, frames_of([checkers()], images=True))
    return target


def _load_all(name: str, path: Path, limits: Limits | None = None) -> None:
    found = read_labels(name, path) if limits is None else read_labels(name, path, limits)
    for frame in found.frames:
        frame.load()


def _masks(folder: Path) -> list[Path]:
    return [p for p in folder.rglob("*.png") if "image" not in str(p).lower()]


def _png(width: int, height: int, data: bytes = b"") -> bytes:
    """A PNG of 8-bit grey that says it has so many pixels."""

    def chunk(tag: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + tag + body + struct.pack(">I", zlib.crc32(tag + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def _zip(path: Path, entries: dict[str, bytes], **attributes: int) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            entry = zipfile.ZipInfo(name)
            for key, value in attributes.items():
                setattr(entry, key, value)
            archive.writestr(entry, data, zipfile.ZIP_DEFLATED)
    return path


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_zip_with_a_path_that_leaves_it_is_refused(name: str, tmp_path: Path) -> None:
    path = _zip(tmp_path / "a.zip", {"labelmap.txt": b"a:1,2,3::\n", name: b"x"})
    with pytest.raises(FormatError, match="leads out of the archive"):
        read_labels("cvat", path)


def test_a_zip_with_a_link_is_refused(tmp_path: Path) -> None:
    entries = {"SegmentationClass/a.png": b"/etc/passwd"}
    path = _zip(tmp_path / "a.zip", entries, external_attr=(stat.S_IFLNK | 0o777) << 16)
    with pytest.raises(FormatError, match="leads out of the archive"):
        read_labels("cvat", path)


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (Limits(file_bytes=100_000), "unpacks to more than 100000 bytes"),
        (Limits(total_bytes=1_500_000), "unpacks to more than 1500000 bytes"),
        (Limits(files=2), "holds more than 2 files"),
    ],
)
def test_a_zip_bomb_is_refused_before_it_is_unpacked(
    limits: Limits, message: str, tmp_path: Path
) -> None:
    entries = {f"SegmentationClass/{i}.png": bytes(1_000_000) for i in range(2)}
    path = _zip(tmp_path / "a.zip", {"labelmap.txt": b"a:1,2,3::\n", **entries})
    assert path.stat().st_size < 10_000
    with pytest.raises(FormatError, match=message):
        read_labels("cvat", path, limits)


def test_a_zip_that_lies_about_its_sizes_is_refused(tmp_path: Path) -> None:
    path = _exported("cvat", tmp_path)
    data = path.read_bytes()
    place = data.index(b"PK\x01\x02")  # the first entry of the directory
    size = struct.unpack_from("<I", data, place + 24)[0]
    path.write_bytes(data[: place + 24] + struct.pack("<I", size // 2) + data[place + 28 :])
    with pytest.raises(FormatError):
        _load_all("cvat", path)


@pytest.mark.parametrize("outside", OUTSIDE)
@pytest.mark.parametrize("name", ["voc", "coco-panoptic"])
def test_a_list_that_names_a_file_outside_is_refused(
    name: str, outside: str, tmp_path: Path
) -> None:
    target = _exported(name, tmp_path)
    Image.fromarray(checkers()).save(tmp_path / "secret.png")
    if name == "voc":
        listing = target / "ImageSets" / "Segmentation" / "train.txt"
        listing.write_text(outside.removesuffix(".png") + "\n")
    else:
        listing = target / "annotations" / "panoptic_train.json"
        told = json.loads(listing.read_text())
        told["annotations"][0]["file_name"] = outside
        listing.write_text(json.dumps(told))
    with pytest.raises(FormatError, match=r"outside of its folder|is missing"):
        _load_all(name, target)


@needs_links
@pytest.mark.parametrize("name", [n for n in FOLDERS if n not in ("coco-rle", "datumaro")])
def test_a_link_to_a_file_outside_is_refused(name: str, tmp_path: Path) -> None:
    target = _exported(name, tmp_path)
    pattern = "*.txt" if name == "yolo-seg" else "*.png"
    files = [p for p in target.rglob(pattern) if "mages" not in str(p) and "leftImg" not in str(p)]
    files = [p for p in files if p.parent != target and "train/0" not in p.as_posix()] or files
    for file in files:
        file.rename(tmp_path / f"secret-{file.name}")
        file.symlink_to(tmp_path / f"secret-{file.name}")
    with pytest.raises(FormatError, match="link that leads out of"):
        _load_all(name, target)


@needs_links
@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("png", "classes.json"), ("palette", "classes.json"), ("camvid", "label_colors.txt"),
        ("camvid-index", "classes.json"), ("voc", "labelmap.txt"), ("mmseg", "dataset_meta.json"),
        ("yolo-seg", "classes.json"), ("yolo-seg", "sizes.json"),
    ],
)  # fmt: skip
def test_a_class_table_outside_is_refused(name: str, table: str, tmp_path: Path) -> None:
    target = _exported(name, tmp_path)
    (target / table).rename(tmp_path / table)
    (target / table).symlink_to(tmp_path / table)
    with pytest.raises(FormatError, match="link that leads out of"):
        read_labels(name, target)


@needs_links
def test_links_within_the_folder_are_fine(tmp_path: Path) -> None:
    target = _exported("png", tmp_path)
    (target / "labels" / "000001.png").symlink_to(target / "labels" / "000000.png")
    assert len(read_labels("png", target).frames) == 2


def test_a_png_bomb_is_refused_by_its_header(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(_png(60_000, 60_000))
    with pytest.raises(FormatError, match="60000 x 60000 pixels, more than the limit"):
        _load_all("png", tmp_path)
    with pytest.raises(FormatError, match="more than the limit of 50"):
        _load_all("png", _exported("png", tmp_path / "more"), Limits(pixels=50))


@pytest.mark.parametrize("name", LABEL_FORMATS)
def test_no_format_decodes_more_pixels_than_the_limit(name: str, tmp_path: Path) -> None:
    target = _exported(name, tmp_path)
    with pytest.raises(FormatError, match="limit of 53"):
        _load_all(name, target, Limits(pixels=53))  # one less than it has
    _load_all(name, target, Limits(pixels=54))


@pytest.mark.parametrize("name", FOLDERS)
def test_no_format_reads_files_beyond_the_limit(name: str, tmp_path: Path) -> None:
    target = _exported(name, tmp_path)
    with pytest.raises(FormatError, match="larger than 10 bytes"):
        _load_all(name, target, Limits(file_bytes=10))


@pytest.mark.parametrize("name", LABEL_FORMATS)
def test_files_cut_off_or_overwritten_are_a_sentence(name: str, tmp_path: Path) -> None:
    target = _exported(name, tmp_path)
    files = [target] if target.is_file() else [p for p in target.rglob("*") if p.is_file()]
    told = []
    for file in files:
        whole = file.read_bytes()
        for broken in (whole[: len(whole) // 2], b"\xff" * len(whole), b"", b"[" * 100_000):
            file.write_bytes(broken)
            with contextlib.suppress(SttError):  # images are not read: theirs do not matter
                _load_all(name, target)
                continue
            told.append(file)
        file.write_bytes(whole)
    assert told
    _load_all(name, target)


@pytest.mark.parametrize("name", LABEL_FORMATS)
def test_what_is_not_there_is_a_sentence(name: str, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="missing"):
        read_labels(name, tmp_path / "missing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FormatError):
        read_labels(name, tmp_path / "empty")


def _tamper_coco(change: Callable[[dict[str, Any]], None], target: Path) -> None:
    file = target / "annotations" / "instances_train.json"
    told = json.loads(file.read_text())
    change(told)
    file.write_text(json.dumps(told))


def _set_rle(**values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda told: told["annotations"][0]["segmentation"].update(values)


def _set_polygon(points: list[float]) -> Callable[[dict[str, Any]], None]:
    return lambda told: told["annotations"][0].update(segmentation=[points])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_set_rle(counts=[0, 10**15]), "do not add up"),
        (_set_rle(counts=[-54, 108]), "do not add up"),
        (_set_rle(counts="~~~~"), "other characters|do not add up|cut off"),
        (_set_rle(counts="P" * 1000), "other characters|do not add up|cut off"),
        (_set_rle(size=[10**6, 10**6]), "more than the limit"),
        (_set_rle(size=[9, 6]), "its frame 9 x 6"),
        (_set_polygon([0, 0, 1e12, 0, 5, 5]), "far out of the frame"),
        (_set_polygon([0, 0, float("nan"), 0, 5, 5]), "far out of the frame"),
        (_set_polygon([0, 0]), "three points"),
        (lambda told: told["annotations"][0].update(category_id=77), "not listed"),
        (lambda told: told["images"][0].update(height=10**9), "more than the limit"),
        (lambda told: told["images"][0].update(height="9"), "asks for"),
        (lambda told: told.pop("images"), "lacks 'images'"),
    ],
)
def test_coco_masks_that_lie_are_refused(
    change: Callable[[dict[str, Any]], None], message: str, tmp_path: Path
) -> None:
    target = _exported("coco-rle", tmp_path)
    _tamper_coco(change, target)
    with pytest.raises(FormatError, match=message):
        _load_all("coco-rle", target)


class _Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("pickle-was-run"),))


@pytest.mark.parametrize("key", ["labels", "names"])
def test_a_pickle_in_an_npz_is_never_run(
    key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    arrays = {"labels": np.zeros((1, 2, 2), np.uint8), key: np.array([_Evil()], object)}
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(FormatError):
        read_labels("npz", tmp_path / "a.npz")
    assert not (tmp_path / "pickle-was-run").exists()


@pytest.mark.parametrize(
    ("shape", "kind", "message"),
    [
        ((10**9, 4, 4), "|u1", "more than the limit"),
        ((1, 10**6, 10**6), "|u1", "more than the limit"),
        ((1, 4, 4), "<f8", "uint8"),
        ((5, 4, 4), "|u1", "cut off"),
        ((4, 4), "|u1", "uint8"),
    ],
)
def test_an_npz_whose_header_asks_for_too_much_is_refused(
    shape: tuple[int, ...], kind: str, message: str, tmp_path: Path
) -> None:
    data = io.BytesIO()
    npy.write_array_header_1_0(data, {"descr": kind, "fortran_order": False, "shape": shape})
    _zip(tmp_path / "a.npz", {"labels.npy": data.getvalue() + bytes(16)})
    with pytest.raises(FormatError, match=message):
        read_labels("npz", tmp_path / "a.npz")


def test_hdf5_that_points_elsewhere_is_refused(tmp_path: Path) -> None:
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["labels"] = np.zeros((1, 2, 2), np.uint8)
    (tmp_path / "raw").write_bytes(bytes(4))
    path = tmp_path / "a.h5"

    with h5py.File(path, "w") as file:
        file["labels"] = h5py.ExternalLink(str(secret), "labels")
    with pytest.raises(FormatError, match="link to elsewhere"):
        read_labels("hdf5", path)

    with h5py.File(path, "w") as file:
        raw = [(str(tmp_path / "raw"), 0, h5py.h5f.UNLIMITED)]
        file.create_dataset("labels", (1, 2, 2), np.uint8, external=raw)
    with pytest.raises(FormatError, match="in another file"):
        read_labels("hdf5", path)

    with h5py.File(path, "w") as file:
        layout = h5py.VirtualLayout((1, 2, 2), np.uint8)
        layout[:] = h5py.VirtualSource(str(secret), "labels", (1, 2, 2))
        file.create_virtual_dataset("labels", layout)
    with pytest.raises(FormatError, match="in another file"):
        read_labels("hdf5", path)


@pytest.mark.parametrize(
    ("shape", "chunks", "message"),
    [
        ((1, 10**6, 10**6), (1, 64, 64), "more than the limit"),
        ((10**8, 4, 4), (1, 4, 4), "more than the limit"),
        ((4, 4, 4), (4096, 4096, 64), "chunks of more than"),
    ],
)
def test_hdf5_whose_shape_asks_for_too_much_is_refused(
    shape: tuple[int, ...], chunks: tuple[int, ...], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("labels", shape, np.uint8, chunks=chunks, maxshape=(None, None, None))
    with pytest.raises(FormatError, match=message):
        read_labels("hdf5", path)


def test_deep_json_is_a_sentence(tmp_path: Path) -> None:
    target = _exported("datumaro", tmp_path)
    (target / "annotations" / "train.json").write_text('{"a":' * 200_000)
    with pytest.raises(FormatError):
        read_labels("datumaro", target)


def test_names_in_files_cannot_become_paths(tmp_path: Path) -> None:
    target = _exported("datumaro", tmp_path)
    file = target / "annotations" / "train.json"
    told = json.loads(file.read_text())
    told["items"][0]["id"] = "../../etc/pass:wd\n"
    file.write_text(json.dumps(told))
    assert read_labels("datumaro", target).frames[0].name == "pass_wd_"
