"""Small files: read with a size limit, and replaced atomically.

A path may lead to anything: a FIFO without a writer, a device, terabytes of zeros. So only regular files are opened.
And the power can fail at any moment. So no file is written in place: a new file is written, synced to disk and renamed
over the old one.
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
    """The path is not a regular file."""


class TooLarge(OSError):
    """The file is larger than the limit."""


def read(path: Path, most: int, *, private: bool = False) -> bytes:
    """The content of a regular file of at most `most` bytes. Never blocks on a FIFO or a device.

    `private`: first make the file inaccessible to other users. Raises OSError, including NoFile and TooLarge.
    """
    _check_kind(os.stat(path))  # before opening it: merely opening some devices starts them
    file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        found = os.fstat(file)
        _check_kind(found)  # again: it may have been replaced since
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
    """Replace the content of the file atomically: on any failure, the old content stays. Raises OSError.

    Only this user can access the file. The same holds for the folder if it has to be created.
    """
    path.parent.mkdir(0o700, parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    try:
        new.unlink(missing_ok=True)  # a leftover may be of any kind and have any permissions
        _fill(new, content)
        os.replace(new, path)
    except OSError:
        with contextlib.suppress(OSError):
            new.unlink()
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)  # otherwise a power failure may undo the rename
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
