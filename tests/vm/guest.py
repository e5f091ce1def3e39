"""A computer with a Linux of its own: the Debian of scripts/test-vm, in QEMU, with cameras that can be pulled out."""

import base64
import contextlib
import http.client
import shlex
import shutil
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from appliance.machine import CHECKOUT, ROOT, Failed
from fakes import until
from qemu import AGENT, LIMIT_S, Qemu
from wire import ask

from .pictures import jpegs

PORT = 8080
CAMERAS = "/opt/cameras"  # the cameras' own folder: they are not piapp's business
# As with a camera on a real cable, the kernel finds it early when the computer starts.
CAMERA = """\
[Unit]
DefaultDependencies=no
[Service]
ExecStartPre=/sbin/modprobe vhci-hcd
ExecStart=/usr/bin/python3 {folder}/usb.py {name} {folder} {socket}
[Install]
WantedBy=sysinit.target
"""


def by_id(name: str) -> str:
    """The name under /dev/v4l of this camera."""
    return f"/dev/v4l/by-id/usb-piapp_Test_camera_{name}-video-index0"


class Guest:
    """To be used in a `with`; it is on as long as that. What it writes to its disk is gone then."""

    def __init__(self, folder: Path, debian: Path) -> None:
        """`folder` is for what it says; `debian`: what scripts/test-vm has made."""
        checkout = folder / "checkout"  # that of now: whoever works on it may go on meanwhile
        shutil.copytree(ROOT, checkout, ignore=shutil.ignore_patterns(".*", "__pycache__", "build"))
        self.qemu = Qemu(
            folder,
            *("-M", "q35", "-cpu", "Nehalem", "-smp", "2", "-m", "1024"),
            *("-kernel", debian / "vmlinuz", "-initrd", debian / "initrd"),
            # no_timer_check: on a box that is busy the kernel would take its timer for broken
            *("-append", "root=/dev/vda rw console=ttyS0 quiet mitigations=off nokaslr audit=0 no_timer_check"),
            *("-drive", f"file={debian / 'disk'},format=raw,if=virtio,snapshot=on,cache=unsafe"),
            *("-virtfs", f"local,path={checkout},mount_tag=checkout,security_model=none,readonly=on"),
            *AGENT,
            forward=(PORT,),
        )
        self.port = self.qemu.port(PORT)
        self.plugged: set[str] = set()  # cameras

    # --- power and cables ---

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            stack.enter_context(self.qemu)
            self.wait_started()
            for name, content in jpegs().items():
                self.write(f"{CAMERAS}/{name}", content)
            self.write(f"{CAMERAS}/usb.py", Path(__file__).with_name("usb.py").read_bytes())
            stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self.qemu.kill()

    def reboot(self) -> float:
        """Until it does as it was told to, and is about to start. time.monotonic() of that moment."""
        self.run("systemd-run", "--on-active=1s", "systemctl", "reboot")  # when this has answered
        self.qemu.qmp.wait("RESET")
        return time.monotonic()

    def wait_started(self) -> None:
        """Until all units are started, it has an address, and the checkout is at its place."""
        try:
            self.qemu.agent.ask("guest-ping")
        except TimeoutError:
            raise AssertionError(f"it does not start:\n{self.qemu.serial}") from None
        self.run("systemctl", "is-system-running", "--wait", check=False, limit_s=LIMIT_S)
        until(lambda: self.run("ip", "route"), LIMIT_S)
        self.run("mount", "-t", "9p", "-o", "trans=virtio,ro,version=9p2000.L", "checkout", CHECKOUT)

    def plug(self, name: str, socket: int = 0) -> None:
        """A camera, until its file is there."""
        self.write(f"/etc/systemd/system/{name}.service", CAMERA.format(name=name, folder=CAMERAS, socket=socket))
        self.run("systemctl", "enable", "--now", f"{name}.service")
        self.run("udevadm", "wait", "--timeout=60", by_id(name))
        self.plugged.add(name)

    def unplug(self, name: str) -> None:
        self.signal(name, "KILL")
        self.run("systemctl", "disable", f"{name}.service")
        self.run("udevadm", "wait", "--timeout=60", "--removed", by_id(name))
        self.plugged.remove(name)

    def signal(self, name: str, number: str) -> None:
        """USR1: the camera stops sending; USR2: it goes on."""
        self.run("systemctl", "kill", f"--signal={number}", f"{name}.service")

    # --- inside ---

    def run(self, *command: str, check: bool = True, limit_s: float = 60.0) -> str:
        """What it says, on both ways out. Raises Failed."""
        code, said = self._run(command, limit_s)
        if check and code:
            raise Failed(f"{shlex.join(command)}: {code}\n{said}")
        return said.strip()

    def ok(self, *command: str) -> bool:
        return self._run(command, 60.0)[0] == 0

    def install(self, *environment: str) -> str:
        return self.run("env", *environment, f"{CHECKOUT}/scripts/install.sh", limit_s=20 * 60)

    def write(self, path: str, content: bytes | str) -> None:
        """Folders are made as needed."""
        data = content.encode() if isinstance(content, str) else content
        self.run("mkdir", "-p", str(Path(path).parent))
        agent = self.qemu.agent
        handle = agent.ask("guest-file-open", path=path, mode="w")
        while data:
            text = base64.b64encode(data).decode()
            data = data[agent.ask("guest-file-write", handle=handle, buf_b64=text)["count"] :]
        agent.ask("guest-file-close", handle=handle)

    def property(self, name: str) -> str:
        """One of piapp.service."""
        return self.run("systemctl", "show", "--property", name, "--value", "piapp.service")

    def journal(self) -> str:
        """Of piapp and of what systemd says of it."""
        return self.run("journalctl", "--no-pager", "--boot", "--output=short-monotonic", "--unit=piapp.service")

    def clock(self) -> float:
        """Its time.time() of now."""
        return int(self.qemu.agent.ask("guest-get-time")) / 1e9

    # --- from outside ---

    def camera(self, name: str = "camera") -> Any:
        """What the API tells of it."""
        return ask(self.port, f"/api/cameras/{name}").json()

    def shows_picture(self) -> bool:
        asking = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        with contextlib.closing(asking), contextlib.suppress(OSError, http.client.HTTPException):
            asking.request("GET", "/snapshot.jpg")
            return asking.getresponse().status == 200
        return False

    # ---

    def _run(self, command: tuple[str, ...], limit_s: float) -> tuple[int, str]:
        agent, (program, *arguments) = self.qemu.agent, command
        pid = agent.ask("guest-exec", path=program, arg=arguments, capture_output="merged")["pid"]
        end, pause = time.monotonic() + limit_s, 0.01
        while not (done := agent.ask("guest-exec-status", pid=pid))["exited"]:
            assert time.monotonic() < end, f"{shlex.join(command)}: not within {limit_s} s"
            time.sleep(pause)  # each question costs the guest some milliseconds
            pause = min(pause * 1.5, 0.5)
        return done.get("exitcode", 128 + done.get("signal", 0)), base64.b64decode(done.get("out-data", "")).decode()
