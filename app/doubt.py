"""A medium of a project whose file holds something else than what was painted on."""

from __future__ import annotations

from app.facts import MediaFacts, MediumFacts, Notice

DOUBT = "doubt"
"""Topic of the notice."""
KEEP, RELINK = "keep", "relink"
"""What it offers."""


def doubt_notice(medium: MediumFacts, media: MediaFacts) -> Notice:
    """Say so, and what can be done.

    Args:
        medium: as the project knows it.
        media: what was opened in its place.
    """
    fits = medium.fits(media)
    answer = (
        "that it is the same drive, or where the old file is."
        if fits
        else "where the old file is: this one has another size."
    )
    acts = ((KEEP, "Same drive, keep the labels"),) if fits else ()
    return Notice(
        DOUBT,
        f"{medium.name} has another content than when it was labelled. Its labels and stored "
        f"predictions are not shown and nothing can be painted until you say {answer}",
        urgent=True,
        acts=(*acts, (RELINK, "Relink...")),
    )
