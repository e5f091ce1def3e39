"""A USB camera (UVC, motion JPEG) for a Linux with the modules vhci-hcd and uvcvideo; it runs in the guest, as root.

    usb.py NAME FOLDER PORT     until it is killed, which pulls it out

The kernel's own USB and camera drivers speak with it as with a device on a cable: vhci-hcd hands what they say to this
program, by the protocol USB/IP. Its pictures are FOLDER/NAME-WIDTHxHEIGHT.jpg, one for each size that it offers. Into
each that it sends it writes its name and the time, as a JPEG comment, which programs that pass JPEGs on leave as they
are. PORT (0 to 7) is the socket it is put into. It stops sending on SIGUSR1, and goes on after SIGUSR2.

Numbers and structures: USB 2.0, chapter 9; USB Device Class Definition for Video Devices 1.0; Documentation/usb/
usbip_protocol.rst in Linux. The names of fields are those that stand there.
"""

import collections
import re
import signal
import socket
import struct
import sys
import threading
import time
from pathlib import Path

ATTACH = Path("/sys/devices/platform/vhci_hcd.0/attach")
HIGH_SPEED = 3
FPS = (30, 15)
ENDPOINT, PAYLOAD = 1, 16384
CONTROL_INTERFACE, STREAMING_INTERFACE = 0, 1
CAMERA_TERMINAL, PROCESSING_UNIT, USB_TERMINAL = 1, 2, 3
DEVICE, CONFIGURATION, STRING, INTERFACE, ENDPOINT_KIND, QUALIFIER, ASSOCIATION, OF_CLASS = 1, 2, 3, 4, 5, 6, 0x0B, 0x24
VC_HEADER, INPUT_TERMINAL, OUTPUT_TERMINAL, PROCESSING = 1, 2, 3, 5  # of class, in the interface for control
INPUT_HEADER, FORMAT_MJPEG, FRAME_MJPEG, COLORFORMAT = 1, 6, 7, 0x0D  # the same, in that for pictures
VIDEO = 0x0E
BRIGHTNESS = (-64, 64, 1, 0)  # least, most, step, default
STALL = -32  # -EPIPE: a request that the device does not know
CMD_SUBMIT, CMD_UNLINK, RET_SUBMIT, RET_UNLINK = 1, 2, 3, 4
IN = 1
GET_CUR, GET_MIN, GET_MAX, GET_RES, GET_LEN, GET_INFO, GET_DEF = 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87

Size = tuple[int, int]


def descriptor(kind: int, form: str, *fields: object) -> bytes:
    """With its length in front."""
    body = struct.pack("<B" + form, kind, *fields)
    return bytes([len(body) + 1]) + body


def interface(number: int, endpoints: int, subclass: int) -> bytes:
    return descriptor(INTERFACE, "7B", number, 0, endpoints, VIDEO, subclass, 0, 0)


class Described:
    """What the camera says of itself."""

    def __init__(self, name: str, sizes: list[Size], largest: int) -> None:
        self.sizes, self.largest = sizes, largest
        self.strings = ["", "piapp", "Test camera", name]
        self.device = descriptor(DEVICE, "H4B3H4B", 0x0200, 0xEF, 2, 1, 64, 0x1D6B, 0x0102, 0x0010, 1, 2, 3, 1)
        self.qualifier = descriptor(QUALIFIER, "H6B", 0x0200, 0xEF, 2, 1, 64, 1, 0)
        association = descriptor(ASSOCIATION, "6B", CONTROL_INTERFACE, 2, VIDEO, 3, 0, 2)
        endpoint = descriptor(ENDPOINT_KIND, "BBHB", 0x80 | ENDPOINT, 2, 512, 0)
        body = association + self._control() + self._streaming() + endpoint
        self.configuration = descriptor(CONFIGURATION, "H5B", 9 + len(body), 2, 1, 0, 0x80, 250) + body

    def _control(self) -> bytes:
        """A lens, whose picture's brightness can be changed, and the way to the computer."""
        units = [
            descriptor(OF_CLASS, "BBHBBHHHB3s", INPUT_TERMINAL, CAMERA_TERMINAL, 0x0201, 0, 0, 0, 0, 0, 3, bytes(3)),
            descriptor(OF_CLASS, "BBBHBHB", PROCESSING, PROCESSING_UNIT, CAMERA_TERMINAL, 0, 2, 1, 0),
            descriptor(OF_CLASS, "BBHBBB", OUTPUT_TERMINAL, USB_TERMINAL, 0x0101, 0, PROCESSING_UNIT, 0),
        ]
        whole = 13 + len(b"".join(units))
        head = descriptor(OF_CLASS, "BHHIBB", VC_HEADER, 0x0100, whole, 48_000_000, 1, STREAMING_INTERFACE)
        return b"".join([interface(CONTROL_INTERFACE, 0, 1), head, *units])

    def _streaming(self) -> bytes:
        formats = [descriptor(OF_CLASS, "9B", FORMAT_MJPEG, 1, len(self.sizes), 1, 1, 0, 0, 0, 0)]
        intervals = [10_000_000 // fps for fps in FPS]
        for index, (width, height) in enumerate(self.sizes, 1):
            rates = self.largest * 8 * FPS[-1], self.largest * 8 * FPS[0], self.largest, intervals[0], len(intervals)
            form = f"BBBHHIIIIB{len(FPS)}I"
            formats.append(descriptor(OF_CLASS, form, FRAME_MJPEG, index, 0, width, height, *rates, *intervals))
        formats.append(descriptor(OF_CLASS, "4B", COLORFORMAT, 1, 1, 4))
        whole = 14 + len(b"".join(formats))
        ways = 0x80 | ENDPOINT, 0, USB_TERMINAL, 0, 0, 0, 1, 0
        head = descriptor(OF_CLASS, "BBH8B", INPUT_HEADER, 1, whole, *ways)
        return b"".join([interface(STREAMING_INTERFACE, 1, 2), head, *formats])

    def text(self, index: int) -> bytes:
        words = self.strings[index].encode("utf-16le") if index else struct.pack("<H", 0x0409)
        return bytes([2 + len(words), STRING]) + words


class Camera:
    """What it answers, and its pictures."""

    def __init__(self, name: str, pictures: dict[Size, bytes]) -> None:
        self.goes_on = threading.Event()
        self.goes_on.set()
        self._name, self._pictures = name, pictures
        self._sizes = sorted(pictures)
        largest = max(map(len, pictures.values())) + 1000  # with the comment
        self._described = Described(name, self._sizes, largest)
        self._brightness = BRIGHTNESS[-1]
        self._index, self._interval = 1, 10_000_000 // FPS[0]  # of the size that was chosen; in units of 100 ns

    @property
    def interval_s(self) -> float:
        return self._interval / 1e7

    def picture(self) -> bytes:
        jpeg = self._pictures[self._sizes[self._index - 1]]
        comment = f"{self._name} {time.time():.6f}".encode()
        return jpeg[:2] + b"\xff\xfe" + struct.pack(">H", len(comment) + 2) + comment + jpeg[2:]

    def take(self, setup: bytes, sent: bytes) -> bytes | None:
        """The answer to a request on endpoint 0; None: it is not one that this camera knows."""
        kind, request, value, index, length = struct.unpack("<BBHHH", setup)
        to_class, number, unit = kind & 0x60 == 0x20, index & 0xFF, index >> 8
        if kind == 0x80 and request == 6:
            answer = self._descriptor(value >> 8, value & 0xFF)
        elif kind & 0x80 == 0 and not to_class:  # SET_CONFIGURATION, SET_INTERFACE, CLEAR_FEATURE
            answer = b""
        elif kind in (0x80, 0x81, 0x82) and request == 0:  # GET_STATUS
            answer = bytes(2)
        elif to_class and number == STREAMING_INTERFACE:
            answer = self._stream(request, sent)
        elif to_class and (unit, value >> 8) == (PROCESSING_UNIT, 2):
            answer = self._set_brightness(request, sent)
        else:
            answer = None
        return answer if answer is None else answer[:length]

    def _descriptor(self, kind: int, index: int) -> bytes | None:
        described = self._described
        known = {DEVICE: described.device, CONFIGURATION: described.configuration, QUALIFIER: described.qualifier}
        if kind == STRING and index < len(described.strings):
            return described.text(index)
        return known.get(kind)

    def _stream(self, request: int, sent: bytes) -> bytes:
        """Which size, and how many a second: VS_PROBE_CONTROL and VS_COMMIT_CONTROL."""
        form = struct.Struct("<HBBI5HII")
        if sent:
            _, _, index, interval, *_ = form.unpack(sent)
            self._index = min(max(index, 1), len(self._sizes))
            self._interval = min((10_000_000 // fps for fps in FPS), key=lambda each: abs(each - interval))
            return b""
        now = form.pack(1, 1, self._index, self._interval, 0, 0, 0, 0, 50, self._described.largest, PAYLOAD)
        return {GET_INFO: b"\3", GET_LEN: struct.pack("<H", form.size)}.get(request, now)

    def _set_brightness(self, request: int, sent: bytes) -> bytes:
        if sent:
            (self._brightness,) = struct.unpack("<h", sent)
            return b""
        least, most, step, default = BRIGHTNESS
        values = {GET_CUR: self._brightness, GET_MIN: least, GET_MAX: most, GET_RES: step, GET_DEF: default}
        if request in values:
            return struct.pack("<h", values[request])
        return b"\3" if request == GET_INFO else struct.pack("<H", 2)


class Cable:
    """Between the camera and the kernel. Its socket's other end is the kernel's."""

    def __init__(self, camera: Camera, port: int) -> None:
        self._camera = camera
        self._asked: collections.deque[tuple[int, int]] = collections.deque()  # for pictures: number, room in bytes
        self._stops = 0  # how often the kernel has taken such a question back, as it does when it stops the camera
        self._more = threading.Condition()  # guards both
        self._writing = threading.Lock()
        self._socket, theirs = socket.socketpair()
        ATTACH.write_text(f"{port} {theirs.fileno()} {1 << 16 | 2} {HIGH_SPEED}")
        theirs.close()

    def serve(self) -> None:
        """Until the kernel lets go."""
        threading.Thread(target=self._film, daemon=True).start()
        while True:
            head = self._read(48)
            command, number, _, direction, endpoint = struct.unpack(">5I", head[:20])
            if command == CMD_UNLINK:
                self._unlink(number, struct.unpack(">I", head[20:24])[0])
                continue
            assert command == CMD_SUBMIT
            _, size = struct.unpack(">Ii", head[20:28])
            if endpoint == ENDPOINT:
                with self._more:
                    self._asked.append((number, size))
                    self._more.notify()
                continue
            sent = b"" if direction == IN else self._read(size)
            answer = self._camera.take(head[40:48], sent)
            if answer is None:
                self._answer(number, STALL)
            else:
                self._answer(number, 0, answer, size if direction != IN else len(answer))

    def _film(self) -> None:
        """Pictures at their time, in pieces as large as there is room for; they wait until there is some."""
        toggle, due = 0, time.monotonic()
        while True:
            with self._more:
                self._more.wait_for(lambda: self._asked)
            self._camera.goes_on.wait()
            due = max(due + self._camera.interval_s, time.monotonic())
            time.sleep(max(0.0, due - time.monotonic()))
            rest, stops = self._camera.picture(), self._stops
            while rest:
                # Held until it is answered: the kernel throws out who answers what was taken back
                with self._more:
                    self._more.wait_for(lambda: self._asked)
                    if self._stops != stops:  # who asks now wants a picture from its beginning
                        break
                    number, room = self._asked.popleft()
                    room = min(room, PAYLOAD) - 2
                    piece, rest = rest[:room], rest[room:]
                    self._answer(number, 0, bytes([2, 0x80 | toggle | (0 if rest else 2)]) + piece)
            toggle ^= 1

    def _unlink(self, number: int, other: int) -> None:
        """Forget a request, if it was not answered yet."""
        with self._more:
            kept = [asked for asked in self._asked if asked[0] != other]
            status = -104 if len(kept) < len(self._asked) else 0  # -ECONNRESET
            self._asked = collections.deque(kept)
            self._stops += 1
            self._write(struct.pack(">5Ii24x", RET_UNLINK, number, 0, 0, 0, status))

    def _answer(self, number: int, status: int, data: bytes = b"", taken: int | None = None) -> None:
        size = len(data) if taken is None else taken
        self._write(struct.pack(">5I5i8x", RET_SUBMIT, number, 0, 0, 0, status, size, 0, 0, 0) + data)

    def _write(self, data: bytes) -> None:
        with self._writing:
            self._socket.sendall(data)

    def _read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = self._socket.recv(size - len(data))
            if not more:
                sys.exit()
            data += more
        return data


def main(name: str, folder: str, port: str) -> None:
    pictures = {}
    for path in Path(folder).glob(f"{name}-*.jpg"):
        found = re.fullmatch(r".*-(\d+)x(\d+)", path.stem)
        assert found
        pictures[int(found[1]), int(found[2])] = path.read_bytes()
    camera = Camera(name, pictures)
    signal.signal(signal.SIGUSR1, lambda *_: camera.goes_on.clear())
    signal.signal(signal.SIGUSR2, lambda *_: camera.goes_on.set())
    Cable(camera, int(port)).serve()


if __name__ == "__main__":
    main(*sys.argv[1:])
