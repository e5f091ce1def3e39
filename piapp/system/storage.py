"""Small files: read within bounds, and replaced as a whole.

Where a file is expected there may be anything: a FIFO that nobody writes to, a device, terabytes of zeros. And a Pi
loses its power at any moment. So nothing is opened before it is known to be a file, and no file is written in place: a
new one is filled, forced to the disk, and put in the old one's place.
"""

import contextlib
import errno
import os
import stat
from pathlib import Path

_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class NoFile(OSError):
    """What is there is no regular file."""


class TooLarge(OSError):
    """The file has more bytes than its reader takes."""


def read(path: Path, most: int, *, private: bool = False) -> bytes:
    """All bytes of a regular file, up to `most`; never waits for a writer. `private` closes it to other users first.

    Raises OSError, among them NoFile and TooLarge.
    """
    _check_kind(os.stat(path))  # before it is opened: that alone starts some devices
    file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        found = os.fstat(file)
        _check_kind(found)  # again, since it may be another one by now
        if private and found.st_mode & 0o077 and not path.is_symlink():
            with contextlib.suppress(OSError):
                os.fchmod(file, 0o600)
        content = b""
        while len(content) <= most and (more := os.read(file, most + 1 - len(content))):
            content += more
    finally:
        os.close(file)
    if len(content) > most:
        raise TooLarge(errno.EFBIG, f"it is larger than {most >> 10} kB")
    return content


def replace(path: Path, content: bytes) -> None:
    """Make this the content of the file: all of it, or the old one stays, whatever happens. Raises OSError.

    The file is for this user alone, and so is the folder if there is none yet.
    """
    path.parent.mkdir(0o700, parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    try:
        new.unlink(missing_ok=True)  # one that was left behind may be anything, and have any rights
        _fill(new, content)
        os.replace(new, path)
    except OSError:
        with contextlib.suppress(OSError):
            new.unlink()
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)  # else the new name may be lost with the power
    finally:
        os.close(folder)


def _check_kind(found: os.stat_result) -> None:
    kind = stat.S_IFMT(found.st_mode)
    if kind == stat.S_IFDIR:
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if kind != stat.S_IFREG:
        raise NoFile(errno.EINVAL, f"it is {_KINDS.get(kind, 'something else')}, not a file")


def _fill(path: Path, content: bytes) -> None:
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        while content:
            content = content[os.write(file, content) :]
        os.fsync(file)
    finally:
        os.close(file)
