"""The open project at work for the window. Lives on the lane that `Jobs.write` owns.

A bare medium has a project of its own in the user's data folder, which is made when there is
something to keep.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from app.copying import copy_project
from app.facts import MediaFacts, ProjectFacts
from app.open_project import OpenProject
from app.settings import old_labels, own_project
from app.strokes import Saved
from stt_core.errors import ProjectError, SttError
from stt_core.files import writing
from stt_core.labels import LabelClass
from stt_core.project import journal as journals
from stt_core.project import manifest as manifests
from stt_core.project.adopting import adopt_label_folder
from stt_core.project.store import Project


def is_project(path: Path) -> bool:
    """Whether a folder is a project. Looks at names only."""
    return any((path / name).is_file() for name in (manifests.NAME, journals.NAME))


class ProjectDesk(OpenProject):
    """See the module's docstring."""

    def __init__(self) -> None:
        super().__init__()
        self._bare: MediaFacts | None = None
        self._classes: tuple[LabelClass, ...] = ()

    def open(self, folder: Path) -> ProjectFacts:
        """Open a project; what was open before is closed.

        Raises:
            ProjectError: no project, or strokes of the one before could not be saved.
        """
        if not self._holds(folder):
            self._leave(lambda: Project.open(folder))
            self._bare, self._medium = None, ""
        self._own = False
        return self.facts()

    def open_own(self, media: MediaFacts, classes: tuple[LabelClass, ...]) -> ProjectFacts:
        """Open the project of a bare medium, if there is anything in it.

        Args:
            media: the medium.
            classes: of the model, () while there is none.
        """
        folder = own_project(media.sha256)
        if not self._holds(folder):
            self._leave(lambda: Project.open(folder) if is_project(folder) else None)
        self._own, self._bare, self._medium = True, media, ""
        self._classes = classes
        self._find_own_medium()
        self._adopt_old()
        return self.facts()

    def make(self) -> ProjectFacts:
        """Make the project of a bare medium now, although nothing was painted.

        Raises:
            OutputError, ProjectError: it cannot be made.
        """
        self._writable()
        return self.facts()

    def use_classes(self, classes: tuple[LabelClass, ...]) -> ProjectFacts | None:
        """The classes of another model: what a project that is yet to be made will have."""
        self._classes = classes
        if self._project is not None or self._bare is None:
            return None
        self._adopt_old()
        return self.facts()

    def save_as(self, target: Path) -> ProjectFacts:
        """Copy the project, or make one of a bare medium, and go on there.

        Raises:
            OutputError, ProjectError: it cannot be made; the work goes on where it was.
        """
        failed = self.save().failed
        if failed:
            raise ProjectError(f"{len(self._waiting)} strokes are not saved: {failed}")
        if target.is_dir() and any(target.iterdir()):
            raise ProjectError(f"{target} is not empty. Choose a new folder.")
        if self._project is None:
            made = self._create(target)
        else:
            places = {e.id: self._project.media_path(e.id) for e in self._project.media}
            if self._project.read_only is None:
                self._project.flush()
            copy_project(self._project.folder, target)
            made = Project.open(target)
            for media_id, path in places.items():
                try:
                    if path is not None:
                        made.relink(media_id, path.absolute())
                except SttError as error:  # it is found by its absolute path
                    self._news.append(str(error))
        medium = self._medium or (made.media[0].id if made.media else "")
        self._leave(lambda: made)
        self._own, self._bare, self._medium = False, None, medium
        return self.facts()

    def close(self) -> Saved:
        """Keep what can be kept, and let the next writer in."""
        saved = self.save()
        if self._project is not None:
            project, self._project = self._project, None
            project.close()
        return saved

    def _writable(self) -> Project:
        """The project; that of a bare medium is made here."""
        if self._project is None:
            folder = self._own_folder()
            project = Project.open(folder) if is_project(folder) else self._create(folder)
            self._use(project)
            self._find_own_medium()
        return self._ready()

    def _own_folder(self) -> Path:
        if self._bare is None:
            raise ProjectError("no video is open: open one first")
        return own_project(self._bare.sha256)

    def _create(self, folder: Path) -> Project:
        if self._bare is None or not self._classes:
            raise ProjectError("there are no classes yet: choose a model first")
        return Project.create(folder, self._classes, [self._bare.path])

    def _find_own_medium(self) -> None:
        """The bare medium in its own project, wherever it lies now."""
        project, media = self._project, self._bare
        if project is None or media is None:
            return
        entry = next((e for e in project.media if e.hash == media.sha256), None)
        if entry is None and project.read_only is None:  # killed before it was added
            entry = project.add_media(media.path)
        if entry is None:
            return
        self._medium = entry.id
        if project.media_path(entry.id) is None and project.read_only is None:
            project.relink(entry.id, media.path)

    def _adopt_old(self) -> None:
        """Take labels that a version before projects kept, once."""
        if self._bare is None or not self._classes:
            return
        old = old_labels(self._bare.sha256)
        if not any(old.glob("*.png")):
            return
        kept = old.with_name(f"{old.name}.adopted")
        try:
            project = self._writable()
            if project.read_only is not None:
                return
            step = adopt_label_folder(project, self._medium, old)
            with writing(kept):
                os.replace(old, kept)
        except (SttError, ValueError, IndexError) as error:
            self._news.append(
                f"The labels that an older version kept in {old} were not taken over: {error}"
            )
            return
        if step is not None:
            self._news.append(
                f"The labels painted with an older version were taken over into {project.folder}; "
                f"the old files are kept in {kept}."
            )

    def _holds(self, folder: Path) -> bool:
        """Whether a project is open already, to be changed."""
        current, presence = self._project, self._presence
        if current is None or presence is None or not presence.is_there():
            return False
        return current.read_only is None and _same(current.folder, folder)

    def _leave(self, open_next: Callable[[], Project | None]) -> None:
        """Open the next project, if any, and close this one; this one stays where that fails."""
        failed = self.save().failed
        if failed:
            raise ProjectError(
                f"{len(self._waiting)} strokes are not saved, so another project or medium cannot "
                f"be opened yet: {failed} Undo them to give them up."
            )
        opened = open_next()
        before, self._project = self._project, None
        if opened is not None:
            self._use(opened)
        if before is not None and before is not opened:
            try:
                before.close()
            except SttError as error:
                self._news.append(str(error))

    def facts(self) -> ProjectFacts:
        if self._project is None:
            return ProjectFacts(self._own_folder(), True, None, (), ())
        return super().facts()


def _same(folder: Path, other: Path) -> bool:
    return folder.exists() and other.exists() and folder.samefile(other)
