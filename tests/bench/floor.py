"""The same bare sender as floor.c in Python, for where there is no compiler: what Python's own calls cost at least.

python floor.py HOST PORT FOLDER FPS
"""

import select
import socket
import sys
import time
from pathlib import Path

HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=frame\r\n"
    b"Cache-Control: no-store\r\nConnection: close\r\n\r\n--frame\r\n"
)


class Viewer:
    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.watching = False  # has sent its request
        self.rest = memoryview(b"")  # of the part being sent


def main(host: str, port: str, folder: str, fps: str) -> None:
    pictures = [file.read_bytes() for file in sorted(Path(folder).glob("*.jp*g"))]
    listener = socket.create_server((host, int(port)), backlog=512)
    listener.setblocking(False)
    poll, viewers = select.epoll(), dict[int, Viewer]()
    poll.register(listener, select.EPOLLIN)

    def send(viewer: Viewer, part: bytes | memoryview, blocked: bool) -> None:
        try:
            sent = viewer.sock.send(part)
        except BlockingIOError:
            sent = 0
        except OSError:
            viewers.pop(viewer.sock.fileno()).sock.close()
            return
        viewer.rest = memoryview(part)[sent:]
        if bool(viewer.rest) != blocked:
            poll.modify(viewer.sock, select.EPOLLIN | (select.EPOLLOUT if viewer.rest else 0))

    frames, due = 0, time.monotonic()
    while True:
        if (now := time.monotonic()) >= due:
            jpeg, frames, due = pictures[frames % len(pictures)], frames + 1, due + 1 / int(fps)
            header = f"Content-Length: {len(jpeg)}\r\nX-Timestamp: {time.time():.6f}\r\n\r\n"
            part = b"".join((b"Content-Type: image/jpeg\r\n", header.encode(), jpeg, b"\r\n--frame\r\n"))
            for viewer in list(viewers.values()):
                if viewer.watching and not viewer.rest:
                    send(viewer, part, False)
        for fd, events in poll.poll(max(0.0, due - now)):
            if fd == listener.fileno():
                sock, _ = listener.accept()
                sock.setblocking(False)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                viewers[sock.fileno()] = Viewer(sock)
                poll.register(sock, select.EPOLLIN)
            elif (known := viewers.get(fd)) and events & select.EPOLLOUT:
                send(known, known.rest, True)
            elif known:
                try:
                    alive = bool(known.sock.recv(4096))
                except OSError:
                    alive = False
                if not alive:
                    viewers.pop(fd).sock.close()
                elif not known.watching:
                    known.watching = True
                    send(known, HEAD, False)


if __name__ == "__main__":
    main(*sys.argv[1:])
