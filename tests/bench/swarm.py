"""Many viewers of one MJPEG stream, or many pages with its live view, as cheap as Python can have them. Stands in for
swarm.c where there is no compiler.

    python swarm.py HOST PORT PATH VIEWERS [CAMERA] >RECORDS

Runs until it is terminated. Writes one record (see viewers.RECORD) for every whole picture that a viewer has read.
The time is taken when the last byte of the picture was read; the picture itself is dropped in the kernel.
With CAMERA, PATH is a WebSocket's, and each viewer a page that watches this camera and acknowledges each picture.
"""

import os
import re
import resource
import select
import signal
import socket
import struct
import sys
import time

RECORD = struct.Struct("=IIqqq")
SINK = bytearray(1 << 20)
HEAD = 512  # bytes read at a time while a part's header is awaited
LENGTH = re.compile(rb"\r\nContent-Length: *(\d+)", re.IGNORECASE)
TIMESTAMP = re.compile(rb"\r\nX-Timestamp: *(\d+)\.(\d{6})", re.IGNORECASE)
STAMP = re.compile(rb"\xff\xd8\xff\xfe\x00\x26MJTS([0-9a-f]{16})")
STAMP_BYTES = 42  # SOI and the comment segment that a stamp in the picture takes
TEXT, BINARY = 0x81, 0x82  # a WebSocket's messages
ABOUT = struct.Struct(">8sd")  # what stands before a picture: its camera and number, when it was captured in ms
UPGRADE = (
    "GET {path}?client={name} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


class Viewer:
    """One stream. `left` bytes of a picture are still to come; 0 while a header is awaited."""

    def __init__(self, sock: socket.socket, number: int) -> None:
        self.sock, self.number = sock, number
        self.head = b""
        self.size = self.left = self.stamp_ns = 0
        self.wall_clock = True

    def read(self) -> None:
        """Take what is there. Raises BlockingIOError when nothing is, EOFError at the stream's end."""
        if self.left:
            taken = self.sock.recv_into(SINK, min(self.left, len(SINK)), socket.MSG_TRUNC)
            self.left -= taken
            if not self.left:
                self.record()
        else:
            data = self.sock.recv(HEAD)
            taken = len(data)
            self.head += data
            self.parse()
        if not taken:
            raise EOFError

    def parse(self) -> None:
        """Look for a part's header, and for the stamp at the begin of a picture that has none in its header."""
        if self.head.startswith(b"HTTP/") and self.head[8:12] != b" 200"[: len(self.head) - 8]:
            sys.exit(f"swarm: viewer {self.number} was answered {self.head[:20]!r}")
        length = LENGTH.search(self.head)
        end = self.head.find(b"\r\n\r\n", length.end()) + 4 if length else 3
        if not length or end == 3:
            return
        if told := TIMESTAMP.search(self.head, 0, end):
            self.stamp_ns, self.wall_clock = int(told[1]) * 10**9 + int(told[2]) * 1000, True
        elif len(self.head) < end + STAMP_BYTES:
            return
        else:
            stamp = STAMP.match(self.head, end)
            self.stamp_ns, self.wall_clock = int(stamp[1], 16) if stamp else 0, False
        self.size = int(length[1])
        self.left = self.size - (len(self.head) - end)
        rest, self.head = self.head[end + self.size :], b""
        if self.left <= 0:
            self.left = 0
            self.record()
            self.head = rest

    def record(self) -> None:
        now_ns = time.monotonic_ns()
        age_ns = (time.time_ns() if self.wall_clock else now_ns) - self.stamp_ns
        sys.stdout.buffer.write(RECORD.pack(self.number, self.size, self.stamp_ns, now_ns, age_ns))


class Page(Viewer):
    """One live view. `left` bytes of a message are still to come."""

    def __init__(self, sock: socket.socket, number: int, camera: str) -> None:
        super().__init__(sock, number)
        self.wall_clock = False
        self.camera = camera
        self.open = False  # the handshake is over
        self.about = b""  # of the picture that is being read: its camera and number; empty: of another message
        self.next_ping = time.monotonic() + number % 100 / 100  # each at a time of its own

    def say(self, opcode: int, payload: bytes) -> None:
        """The kernel has room for such a little one. The mask of 0 leaves all bytes as they are."""
        self.sock.send(bytes((opcode, 0x80 | len(payload), 0, 0, 0, 0)) + payload)

    def parse(self) -> None:
        """Look for the messages' heads; what follows a head belongs to its message."""
        if not self.open:
            end = self.head.find(b"\r\n\r\n")
            if not self.head.startswith(b"HTTP/1.1 101"[: len(self.head)]):
                sys.exit(f"swarm: viewer {self.number} was answered {self.head[:20]!r}")
            if end < 0:
                return
            self.say(TEXT, b'{"type": "ping", "echo": 1}')
            self.say(TEXT, b'{"type": "watch", "cameras": ["%s"]}' % self.camera.encode())
            self.open, self.head = True, self.head[end + 4 :]
        while not self.left and len(self.head) >= 2:
            opcode, length = self.head[:2]
            wide = {126: 2, 127: 8}.get(length, 0)
            start = 2 + wide + (ABOUT.size if opcode == BINARY else 0)
            if len(self.head) < start:
                return
            self.size = (int.from_bytes(self.head[2 : 2 + wide]) if wide else length) + 2 + wide - start
            self.about = b""
            if opcode == BINARY:
                self.about, captured_ms = ABOUT.unpack_from(self.head, 2 + wide)
                self.stamp_ns = int(captured_ms * 1e6)
            self.left = max(0, self.size - (len(self.head) - start))
            self.head = self.head[start + self.size :]
            if not self.left:
                self.record()

    def record(self) -> None:
        if self.about:
            super().record()
            self.say(BINARY, self.about)
            if time.monotonic() >= self.next_ping:
                self.say(TEXT, b'{"type": "ping", "echo": 1}')
                self.next_ping = time.monotonic() + 1


def main(host: str, port: str, path: str, viewers: str, camera: str = "") -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    poll, swarm = select.epoll(), dict[int, Viewer]()
    for number in range(int(viewers)):
        sock = socket.create_connection((host, int(port)), timeout=10)
        if camera:
            sock.sendall(UPGRADE.format(path=path, name=f"{os.getpid()}-{number}", host=host, port=port).encode())
        else:
            sock.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nAccept: */*\r\n\r\n".encode())
        sock.setblocking(False)
        swarm[sock.fileno()] = Page(sock, number, camera) if camera else Viewer(sock, number)
        poll.register(sock, select.EPOLLIN)
    while swarm:
        for fd, _ in poll.poll():
            try:
                while True:
                    swarm[fd].read()
            except BlockingIOError:
                pass
            except (EOFError, ConnectionError):
                swarm.pop(fd).sock.close()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    main(*sys.argv[1:])
