"""A folder of images, or one image file, read as a video."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from natsort import natsorted
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from stt_core.cache import ByteCache
from stt_core.errors import MediaError
from stt_core.media.frame import CACHE_BYTES, Frame
from stt_core.media.medium import Medium

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"})

_EIGHT_BIT = frozenset({"1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBX", "RGBa", "CMYK",
                        "YCbCr", "HSV", "LAB"})  # fmt: skip
_SIDEWAYS = (5, 6, 7, 8)  # EXIF orientations that swap width and height
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)


class ImageFolder(Medium):
    """Images in natural order of their names (``2.png`` before ``10.png``), frames of one size.

    Opening reads the headers only. EXIF orientation is applied, grey becomes RGB and
    transparency is dropped. Not thread-safe: each user opens its own.

    Args:
        path: a folder of png, jpg, jpeg, bmp, tif, tiff or webp files, or one such file.
        fps: frames a second to count time with; images carry none.
        cache_bytes: budget for the pixels of decoded frames.

    Attributes:
        path: as given.
        width: of every frame as displayed, pixels.
        height: the same.
        fps: as given.
        warnings: always empty; an image that cannot be used is an error.

    Raises:
        MediaError: there is no image, or one is broken, of another size or not of 8 bits.
        ValueError: `fps` is not above 0.
    """

    def __init__(
        self, path: Path | str, fps: float = 15.0, *, cache_bytes: int = CACHE_BYTES
    ) -> None:
        if not fps > 0:
            raise ValueError(f"fps must be above 0, got {fps=}")
        self.path = Path(path)
        self.fps = float(fps)
        self.warnings: tuple[str, ...] = ()
        self._files = (self.path,) if os.path.isfile(self.path) else image_files(self.path)
        self.width, self.height = _common_size(self._files)
        self._cache = ByteCache[Frame](cache_bytes)

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> Frame:
        """Read one image, or take it from the cache.

        Raises:
            IndexError: `index` is not in [0, len).
            MediaError: the file is gone, damaged or was replaced by one of another size.
        """
        self._require(index)
        frame = self._cache.get(index)
        if frame is None:
            file = self._files[index]
            frame = Frame(index, self._read(file), self.time_of(index), file.name)
            self._cache.put(index, frame, frame.image.nbytes)
        return frame

    def time_of(self, index: int) -> float:
        """``index / fps``, seconds. Raises IndexError."""
        self._require(index)
        return index / self.fps

    def close(self) -> None:
        self._cache.clear()

    def _read(self, file: Path) -> NDArray[np.uint8]:
        try:
            with Image.open(file) as image:
                image.load()
                pixels = np.array(_to_rgb(ImageOps.exif_transpose(image)), dtype=np.uint8)
        except _BROKEN as error:
            raise _unreadable(file, error) from error
        if pixels.shape != (self.height, self.width, 3):
            height, width, _ = pixels.shape
            raise MediaError(
                f"{file} is {width} x {height} pixels now, it was {self.width} x {self.height} "
                "when the folder was opened. Open the folder again."
            )
        pixels.flags.writeable = False
        return pixels


def image_files(folder: Path) -> tuple[Path, ...]:
    """The images of a folder in natural order, without hidden files and without subfolders.

    Raises:
        MediaError: the folder is missing, cannot be listed or holds no image.
    """
    try:
        entries = list(folder.iterdir())
    except OSError as error:
        raise MediaError(
            f"{folder} cannot be read as a folder of images ({error.strerror}). "
            "Check the name, or whether its disk is connected."
        ) from error
    names = natsorted(
        entry.name
        for entry in entries
        if entry.suffix.lower() in IMAGE_SUFFIXES and entry.name[0] != "." and entry.is_file()
    )
    if not names:
        raise MediaError(
            f"{folder} holds no image. Choose a folder with "
            f"{', '.join(sorted(suffix[1:] for suffix in IMAGE_SUFFIXES))} files."
        )
    return tuple(folder / name for name in names)


def _common_size(files: tuple[Path, ...]) -> tuple[int, int]:
    first = _displayed_size(files[0])
    for file in files[1:]:
        size = _displayed_size(file)
        if size != first:
            raise MediaError(
                f"The images in {file.parent} differ in size: {files[0].name} is "
                f"{first[0]} x {first[1]} pixels, {file.name} is {size[0]} x {size[1]}. "
                "Put images of one size into a folder of their own."
            )
    return first


def _displayed_size(file: Path) -> tuple[int, int]:
    """(width, height), by the header alone."""
    try:
        with Image.open(file) as image:
            _require_eight_bits(image, file)
            # Pillow turns TIFF by itself, and reports its size turned.
            turned = image.format != "TIFF" and _exif_orientation(image) in _SIDEWAYS
            return image.size[::-1] if turned else image.size
    except _BROKEN as error:
        raise _unreadable(file, error) from error


def _exif_orientation(image: Image.Image) -> int:
    """By the header; 1, upright, where it says nothing. getexif() alone would decode a PNG."""
    if "exif" not in image.info:
        return 1
    return int(image.getexif().get(ExifTags.Base.Orientation, 1))


def _require_eight_bits(image: Image.Image, file: Path) -> None:
    # Pillow opens 16-bit colour as RGB and drops the lower half; only the raw mode tells.
    layouts = [str(tile[3]) for tile in getattr(image, "tile", ())]
    if image.mode in _EIGHT_BIT and not any(";16" in layout for layout in layouts):
        return
    raise MediaError(
        f"{file} does not have 8 bits per channel (its pixels are {image.mode}, {layouts[:1]}). "
        "Convert the images to 8 bits, choosing how to map their range."
    )


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode in ("P", "PA"):  # straight to RGB warns about some kinds of transparency
        image = image.convert("RGBA")
    return image.convert("RGB")


def _unreadable(file: Path, error: Exception) -> MediaError:
    reason = "no image" if isinstance(error, UnidentifiedImageError) else error
    return MediaError(
        f"{file} cannot be read as an image ({reason}). Replace the file or take it out."
    )
