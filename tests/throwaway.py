"""Where tests put what they throw away: in memory, where there is room for it. A server makes
thousands of files for each of its databases, and a disk's file system is slow at just that."""

import os
import shutil
import tempfile
from pathlib import Path

_MEMORY = Path("/dev/shm")  # noqa: S108 - only folders of our own are made in it
_ROOM = 6 * 2**30


def throwaway_folder(prefix: str) -> Path:
    """A new folder that any user may pass, unlike pytest's own, and that has a short path: as root,
    the server runs as another user. Whoever asks for it takes it away."""
    folder = Path(os.path.realpath(tempfile.mkdtemp(prefix=prefix, dir=_parent())))
    folder.chmod(0o711)
    return folder


def _parent() -> str:
    if os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free > _ROOM:
        return str(_MEMORY)
    return "/tmp"  # noqa: S108 - see above
