"""A file appears whole or not at all: temporary name in the same folder, flush to the disk, rename."""
import os
import secrets
from pathlib import Path


def write_atomically(path, write):
    """Call `write(stream)` with a binary stream, and give what it wrote the name `path` only when it is all on the disk.

    A rename within one folder is atomic (POSIX rename; os.replace does the same on Windows), so that another process, or
    the next one after a crash, sees the old file or the new one. A symbolic link is followed, not replaced.
    Invariant: if `write` raises, `path` is what it was before and no temporary file is left.
    Errors: FileNotFoundError if the folder is not there; whatever `write` or the disk raises.
    """
    path = Path(os.path.realpath(path))
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path}: there is no folder {path.parent} to write into")
    temporary = path.with_name(f".{path.name[:100]}.{secrets.token_hex(6)}.tmp")
    try:
        with open(temporary, "xb") as stream:
            write(stream)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _flush_folder(path.parent)


def _flush_folder(folder):
    """Put the new name itself on the disk (POSIX keeps names in the folder, a file of its own)."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
