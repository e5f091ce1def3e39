"""What the kernel says of cameras (Video4Linux2): which there are, what they can do, why one cannot be had.

Asked by ioctl on the device file, without OpenCV. None of it disturbs a program that is using the camera. The numbers
are those of linux/videodev2.h, the same on every architecture.
"""

import errno
import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from piapp.config import Size
from piapp.errors import DeviceAway, SourceError

DEV, SYSFS = Path("/dev"), Path("/sys/class/video4linux")

_QUERYCAP, _CAPABILITY = 0x80685600, struct.Struct("16s 32s 32s 3I 12x")
_ENUM_FMT, _FMTDESC = 0xC0405602, struct.Struct("3I 32s 4s 16x")
_REQBUFS, _REQUESTBUFFERS = 0xC0145608, struct.Struct("3I 8x")
_ENUM_FRAMESIZES, _FRMSIZEENUM = 0xC02C564A, struct.Struct("I 4s 7I 8x")

_VIDEO_CAPTURE, _STREAMING, _DEVICE_CAPS = 0x1, 0x04000000, 0x80000000  # capability bits
_CAPTURE_BUFFERS, _MMAP, _DISCRETE = 1, 1, 1  # enum values: v4l2_buf_type, v4l2_memory, v4l2_frmsizetypes


class FoundCamera(NamedTuple):
    """One USB camera. `path` survives unplugging where the camera has a name under /dev/v4l/by-id."""

    path: str
    name: str  # the product's, as in "HD Pro Webcam C920"


class Format(NamedTuple):
    """One way in which a camera can deliver its pictures."""

    fourcc: str
    description: str
    sizes: tuple[Size, ...]  # empty when the camera does not list them


def find_cameras(dev: Path = DEV, sysfs: Path = SYSFS) -> list[FoundCamera]:
    """The USB cameras that can be opened: those with a name under by-id first, as it does not change.

    Only USB: the Pi's codecs and scalers, and virtual cameras (v4l2loopback), are capture devices as well. What sysfs
    says is on another bus is not even opened, since opening a codec wakes it up.
    """
    names = {link.resolve(): link for link in sorted(dev.glob("v4l/by-id/*-video-index0"))}
    found = []
    for node in sorted(dev.glob("video*"), key=lambda node: (len(node.name), node.name)):
        bus = sysfs / node.name / "device" / "subsystem"
        if bus.exists() and bus.resolve().name != "usb":
            continue
        try:
            with opened(node) as fd:
                name, bus_info, capabilities = _ask(fd)
        except OSError:
            continue
        # a UVC camera has a second node, for metadata: VIDEO_CAPTURE is not among that one's capabilities
        if bus_info.startswith("usb") and capabilities & _VIDEO_CAPTURE and capabilities & _STREAMING:
            found.append(FoundCamera(str(names.get(node.resolve(), node)), name))
    return sorted(found, key=lambda camera: "/by-id/" not in camera.path)


def formats(path: str) -> list[Format]:
    """What the camera offers, in its own order; nothing when it cannot be asked."""
    try:
        with opened(Path(path)) as fd:
            return list(_formats(fd))
    except OSError:
        return []


def find_path(device: str, dev: Path = DEV, sysfs: Path = SYSFS) -> str:
    """The file for `device` as in config.toml: empty, a number, a name under by-id or a path. Raises SourceError.

    Only for an empty one it is certain that something is there.
    """
    by_id = dev / "v4l/by-id" / device
    if not device:
        cameras = find_cameras(dev, sysfs)
        if not cameras:
            raise DeviceAway("Camera not found", "plug it in, or set device in config.toml")
        return cameras[0].path
    if "/" in device:
        return device
    if device.isdecimal():
        return str(dev / f"video{device}")
    return str(by_id if by_id.exists() else by_id.with_name(f"{device}-video-index0"))


def is_there(path: str) -> bool:
    """Whether the device answers. False from the moment when it is unplugged, though its file lives a little longer."""
    try:
        with opened(Path(path)) as fd:
            _ask(fd)
    except OSError as error:
        return error.errno in (errno.EACCES, errno.EBUSY)
    return True


def check(path: str) -> None:
    """Raise the SourceError that says why no pictures can be had from here now."""
    try:
        with opened(Path(path)) as fd:
            _, _, capabilities = _ask(fd)
            if not capabilities & _VIDEO_CAPTURE or not capabilities & _STREAMING:
                raise _no_camera(path)
            # To hand back no buffers at all is refused only if somebody else has some, that is: is using the camera
            fcntl.ioctl(fd, _REQBUFS, _REQUESTBUFFERS.pack(0, _CAPTURE_BUFFERS, _MMAP))
    except OSError as error:
        _raise_for(error, path)


def _raise_for(error: OSError, path: str) -> None:
    """The SourceError for what the kernel answered; nothing for answers that need not mean trouble."""
    if error.errno in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
        raise DeviceAway("Camera not found", f"plug it in, or set device in config.toml ({path})") from error
    if error.errno in (errno.EACCES, errno.EPERM):
        raise SourceError("Camera cannot be opened", f"add the user to group video ({path})") from error
    if error.errno == errno.EBUSY:
        raise DeviceAway("Camera is in use", "another program uses it: close that program") from error
    if error.errno in (errno.ENOTTY, errno.EISDIR):
        raise _no_camera(path) from error


def _no_camera(path: str) -> SourceError:
    return SourceError(f"{path} is no camera", 'set device in config.toml; "piapp check" lists the cameras')


@contextmanager
def opened(path: Path) -> Iterator[int]:
    """The device's file descriptor. Raises OSError."""
    fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


def name(fd: int) -> str:
    """What the device calls itself. Raises OSError."""
    return _ask(fd)[0]


def _ask(fd: int) -> tuple[str, str, int]:
    """Name, place on its bus and the capabilities of this device file. Raises OSError."""
    answer = fcntl.ioctl(fd, _QUERYCAP, bytes(_CAPABILITY.size))
    _, name, bus_info, _, of_all_files, of_this_file = _CAPABILITY.unpack(answer)
    return c_string(name), c_string(bus_info), of_this_file if of_all_files & _DEVICE_CAPS else of_all_files


def _formats(fd: int) -> Iterator[Format]:
    for index in range(256):  # a driver that never says EINVAL must not keep us here
        try:
            answer = fcntl.ioctl(fd, _ENUM_FMT, _FMTDESC.pack(index, _CAPTURE_BUFFERS, 0, b"", b""))
        except OSError:
            return
        _, _, _, description, fourcc = _FMTDESC.unpack(answer)
        yield Format(c_string(fourcc).strip(), c_string(description), tuple(_sizes(fd, fourcc)))


def _sizes(fd: int, fourcc: bytes) -> Iterator[Size]:
    for index in range(256):
        try:
            answer = fcntl.ioctl(fd, _ENUM_FRAMESIZES, _FRMSIZEENUM.pack(index, fourcc, *[0] * 7))
        except OSError:
            return
        _, _, kind, width, height, *_ = _FRMSIZEENUM.unpack(answer)
        if kind != _DISCRETE:
            return
        yield Size(width, height)


def c_string(field: bytes) -> str:
    """A C string; what a device calls itself need not be printable."""
    text = field.split(b"\0")[0].decode("utf-8", "replace")
    return "".join(character if character.isprintable() else "?" for character in text)
