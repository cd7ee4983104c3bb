"""Recognises errors that come from a full disk or quota, whichever library raised them."""

import errno
import os
from pathlib import Path

from focusnet.errors import DiskFullError

_NUMBERS = (errno.ENOSPC, errno.EDQUOT)
_WORDS = tuple(os.strerror(number) for number in _NUMBERS)


def disk_full(error: BaseException, folder: Path) -> DiskFullError | None:
    """The error for the user if ``error`` comes from a full disk (or quota), else None.

    Args:
        folder: the folder to name if the error does not name a file.
    """
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, DiskFullError):
            return link
        number = link.errno if isinstance(link, OSError) else None
        if number in _NUMBERS or any(words in str(link) for words in _WORDS):
            name = getattr(link, "filename", None)
            if isinstance(name, str) and os.path.isabs(name):
                folder = Path(name).parent
            return DiskFullError(
                f"{folder}: the disk (or the quota) is full. Make room there: "
                "`python -m focusnet.store remove-unused` deletes what no study uses any more"
            )
        link = link.__cause__ or link.__context__
    return None
