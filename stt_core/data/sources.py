"""The kinds of data sets, by the words that name them: KIND:PATH[,key=value...].

camvid:FOLDER      CamVid in SegNet's form, or the original one
cityscapes:FOLDER  Cityscapes, the 30-frame snippets or the labelled images alone
folder:FOLDER      images/ and labels/ of the same names, with classes.json
video:FILE         a video or a folder of images; labels=DIR has PNGs named by frame number
scenes:FIRST-LAST  generated scenes of those seeds, LAST included

docs/data.md has their layouts and options.
"""

from __future__ import annotations

from stt_core.data.camvid import CAMVID_LICENCE as CAMVID_LICENCE
from stt_core.data.camvid import CAMVID_OPTIONS, open_camvid
from stt_core.data.cityscapes import CITYSCAPES_OPTIONS, open_cityscapes
from stt_core.data.class_tables import camvid_classes as camvid_classes
from stt_core.data.folder import FOLDER_OPTIONS, open_folder
from stt_core.data.scenes import SCENES_OPTIONS, open_scenes
from stt_core.data.sequences import DataSet
from stt_core.data.spec import Spec, parse_spec
from stt_core.data.video import VIDEO_OPTIONS, open_video
from stt_core.errors import DataError, MediaError
from stt_core.labels import LabelClass

OPTIONS = {
    "camvid": CAMVID_OPTIONS,
    "cityscapes": CITYSCAPES_OPTIONS,
    "folder": FOLDER_OPTIONS,
    "video": VIDEO_OPTIONS,
    "scenes": SCENES_OPTIONS,
}
"""The kinds there are, with their options."""


def open_data(
    spec: str, *, classes: tuple[LabelClass, ...] | None = None, check: bool = True
) -> DataSet:
    """Open the data set that `spec` names, and find all that is wrong with it.

    Args:
        spec: KIND:PATH[,key=value...], see the module's docstring.
        classes: for labels that no class list explains: painted ones, and folders without
            classes.json. CamVid's 11 for a video where None.
        check: whether to read every label map and look at every image. Without it, only names
            and pairs are looked at: for what has been opened before. Those of a video are few,
            and always read.

    Raises:
        DataError: no such data, or something is wrong with it; `problems` has all of it.
    """
    asked = parse_spec(spec, OPTIONS)
    try:
        return _open(asked, classes, check)
    except MediaError as error:
        raise DataError(f"'{spec}' cannot be used: {error}") from error
    except OSError as error:  # a folder that cannot be listed, a list that cannot be read
        raise asked.error(f"{error.filename} cannot be read ({error.strerror})") from error


def _open(spec: Spec, classes: tuple[LabelClass, ...] | None, check: bool) -> DataSet:
    match spec.kind:
        case "camvid":
            return open_camvid(spec, check=check)
        case "cityscapes":
            return open_cityscapes(spec, check=check)
        case "folder":
            return open_folder(spec, classes, check=check)
        case "video":
            return open_video(spec, classes)
        case _:
            return open_scenes(spec)
