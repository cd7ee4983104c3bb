"""A full disk, told from every other error, whatever library met it and however it puts that."""

import errno
import os
from pathlib import Path

from focusnet.errors import DiskFullError

_NUMBERS = (errno.ENOSPC, errno.EDQUOT)
_WORDS = tuple(os.strerror(number) for number in _NUMBERS)


def disk_full(error: BaseException, folder: Path) -> DiskFullError | None:
    """What to tell the user where ``error`` comes from a full disk (or quota); else None.

    Args:
        folder: what is full where the error does not name a file.
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
                "`python -m focusnet.store remove-unused` frees what no study needs any more"
            )
        link = link.__cause__ or link.__context__
    return None
