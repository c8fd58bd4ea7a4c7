"""The option ``--tta`` of ``test``, ``validate`` and ``predict``; nothing heavy is imported for it."""

from __future__ import annotations

from lit_cnn.commands.resuming import warn

# As lit_cnn.network.tta has them.
CHOICES = ("flip", "shifts")


def warn_of_unseen(tta: str | None, mirrored: bool | None) -> None:
    """Warns if views are mirror images and training saw none.

    Args:
        tta: The option.
        mirrored: Whether training mirrored images; None if it is not known.
    """
    if tta == "flip" and mirrored is False:
        warn("--tta averages with mirror images, which training did not see (--data.flip): compare the accuracy without it")
