"""How many bytes a second one TCP connection gets through a link.

python bulk.py send            sends to the first who comes
python bulk.py ADDRESS SECONDS reads from there so long, and prints bytes/s; the first third and pauses do not count
"""

import contextlib
import socket
import sys
import time

PORT = 5001
PAUSE_S = 0.5  # an outage


def send() -> None:
    with socket.create_server(("0.0.0.0", PORT)) as listener:
        sock, _ = listener.accept()
        with contextlib.suppress(ConnectionError):
            while True:
                sock.sendall(bytes(1 << 16))


def receive(address: str, seconds: float) -> None:
    for _ in range(100):
        try:
            sock = socket.create_connection((address, PORT), timeout=5)
            break
        except ConnectionRefusedError:  # the sender is still starting
            time.sleep(0.05)
    warm, end = time.monotonic() + seconds / 3, time.monotonic() + seconds
    total, carried_s, before = 0, 0.0, time.monotonic()
    while before < end:
        got = len(sock.recv(1 << 16))
        now = time.monotonic()
        if before > warm and now - before < PAUSE_S:
            total, carried_s = total + got, carried_s + now - before
        before = now
    print(total / carried_s)


if __name__ == "__main__":
    if sys.argv[1] == "send":
        send()
    else:
        receive(sys.argv[1], float(sys.argv[2]))
