"""A computer: a Debian of scripts/test-appliance with a real systemd, booted in a container within half a second.

It has a disk of its own (what it writes lies over a Debian that stays as it is) and a network cable to the outside,
where these tests are. It shares the kernel and its clock.
"""

import contextlib
import itertools
import json
import os
import shlex
import signal
import socket
import subprocess
import urllib.request
from pathlib import Path

from fakes import until

ROOT = Path(__file__).parents[2]
CHECKOUT = "/home/pi/piapp"  # where a machine has what is tested
SETTINGS = "/etc/piapp/config.toml"
LIMIT_S = 60.0
CGROUP = Path("/sys/fs/cgroup")
CGROUPS = [CGROUP] if (CGROUP / "cgroup.controllers").exists() else [CGROUP / "systemd", CGROUP / "unified"]
CLEAN = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LC_ALL": "C.UTF-8"}

_numbers = itertools.count(1)


class Failed(Exception):
    """A command inside has failed; what it said."""


class Machine:
    """`disk` is what was written so far, and can be the top one of the `layers` of another machine after this."""

    def __init__(self, folder: Path, layers: list[Path], disk_mb: int | None = None) -> None:
        """A disk of so many MB for what it writes; None: as many as here."""
        self.number = next(_numbers)
        self.name = f"m{self.number}"
        self.address = f"10.99.{self.number}.2"
        self.layers = layers
        self.disk, self.root = folder / "disk", folder / "root"
        self._process: subprocess.Popen[bytes] | None = None
        self._plugged = False
        self._leader = 0
        self._folder = folder
        self._console = folder / "console"
        self._groups = [cgroup / f"piapp-test-{folder.name}" for cgroup in CGROUPS]
        if disk_mb:
            _call("mount", "-t", "tmpfs", "-o", f"size={disk_mb}M", "tmpfs", folder)
        for each in (self.disk, self.root, folder / "work"):
            each.mkdir(parents=True)
        lower = ":".join(map(str, layers))
        options = f"lowerdir={lower},upperdir={self.disk},workdir={folder}/work"
        _call("mount", "-t", "overlay", "-o", options, "overlay", self.root)
        _call("ip", "netns", "add", self.name)
        _call("ip", "-n", self.name, "link", "set", "lo", "up")

    # --- power and cables ---

    def boot(self, *options: str, network: bool = True, outside: bool = False) -> None:
        """Until systemd has started all units. `options` are systemd-nspawn's. `outside`: on the real network."""
        if network:
            self.plug()
        else:
            self.unplug()
        netns = "outside" if outside else self.name
        command = [
            *("systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--console=pipe", "--boot"),
            *(f"--directory={self.root}", f"--bind-ro={ROOT}:{CHECKOUT}"),
            *(f"--network-namespace-path=/run/netns/{netns}", *options),
        ]
        enter = "".join(f"mkdir -p {group}; echo $$ >{group}/cgroup.procs; " for group in self._groups)
        with self._console.open("ab") as console:
            self._process = subprocess.Popen(
                ["sh", "-euc", f"{enter} exec {shlex.join(command)}"],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                env=CLEAN,
            )
        self._leader = 0
        until(self._find_leader, LIMIT_S)
        until(lambda: self.ok("test", "-S", "/run/systemd/private"), LIMIT_S)
        self.run("systemctl", "is-system-running", "--wait", check=False)

    def power_off(self) -> None:
        if self._process:
            self.run("systemctl", "poweroff", check=False)
            self._gone()

    def cut_power(self) -> None:
        """At once, whatever it does."""
        if self._process:
            os.kill(self._leader, signal.SIGKILL)
            self._gone()

    def remove(self) -> None:
        """All of it, but for `disk`."""
        self.cut_power()
        _call("umount", self.root)
        if self._folder.is_mount():
            _call("umount", self._folder)
        _call("ip", "netns", "del", self.name)

    def plug(self) -> None:
        """The network cable."""
        if not self._plugged:
            self._plugged = True
            near = f"v{self.number}"
            _call("ip", "link", "add", near, "type", "veth", "peer", "name", "eth0", "netns", self.name)
            _call("ip", "address", "add", f"10.99.{self.number}.1/24", "dev", near)
            _call("ip", "link", "set", near, "up")
            _call("ip", "-n", self.name, "address", "add", f"{self.address}/24", "dev", "eth0")
            _call("ip", "-n", self.name, "link", "set", "eth0", "up")

    def unplug(self) -> None:
        if self._plugged:
            self._plugged = False
            _call("ip", "link", "del", f"v{self.number}")

    # --- inside ---

    def run(self, *command: str, check: bool = True, limit_s: float = LIMIT_S) -> str:
        """What it says, on both ways out. Raises Failed."""
        code, said = self._enter(command, limit_s)
        if check and code:
            raise Failed(f"{shlex.join(command)}: {code}\n{said}")
        return said.strip()

    def ok(self, *command: str) -> bool:
        code, _ = self._enter(command, LIMIT_S)
        return code == 0

    def start(self, *command: str) -> subprocess.Popen[str]:
        """As in a terminal of its own, where Ctrl-C is os.killpg(…, SIGINT). It must end, or be killed so."""
        return subprocess.Popen(
            ["nsenter", f"--target={self._leader}", "--all", "--", *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=CLEAN,
            start_new_session=True,
        )

    def runs_program(self, words: str) -> bool:
        """Is there one with these in its command line?"""
        for line in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                if words in line.read_bytes().replace(b"\0", b" ").decode(errors="replace"):
                    return True
        return False

    def install(self, *options: str, checkout: str = CHECKOUT, check: bool = True) -> str:
        return self.run(f"{checkout}/scripts/install.sh", *options, check=check, limit_s=4 * LIMIT_S)

    def uninstall(self, *options: str) -> str:
        return self.run(f"{CHECKOUT}/scripts/uninstall.sh", *options)

    def property(self, name: str) -> str:
        """One of piapp.service."""
        return self.run("systemctl", "show", "--property", name, "--value", "piapp.service")

    def journal(self) -> str:
        """Of piapp and of what systemd says of it."""
        return self.run("journalctl", "--no-pager", "--output=short-monotonic", "--unit=piapp.service")

    def path(self, name: str) -> Path:
        """A file of its, seen from outside; absolute symlinks in it lead astray."""
        return self.root / name.lstrip("/")

    # --- from outside ---

    def url(self, port: int = 8080) -> str:
        return f"http://{self.address}:{port}"

    def get(self, path: str = "/", port: int = 8080) -> bytes:
        """Raises OSError."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(self.url(port) + path, timeout=20) as answer:
            content = answer.read()
        assert isinstance(content, bytes)
        return content

    def answers(self, port: int = 8080) -> bool:
        with contextlib.suppress(OSError), socket.create_connection((self.address, port), 10):
            return True
        return False

    def shows_picture(self, port: int = 8080) -> bool:
        try:
            return self.get("/snapshot.jpg", port).startswith(b"\xff\xd8")
        except OSError:
            return False

    def cameras(self) -> list[str]:
        """Their names."""
        return [camera["name"] for camera in json.loads(self.get("/api/cameras"))["cameras"]]

    # ---

    def _enter(self, command: tuple[str, ...], limit_s: float) -> tuple[int, str]:
        """The exit code, and what it says."""
        process = self.start(*command)
        try:
            said, _ = process.communicate(timeout=limit_s)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            raise
        return process.returncode, said

    def _find_leader(self) -> bool:
        """The container's systemd: the one child of systemd-nspawn."""
        assert self._process and self._process.poll() is None, self._said()
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        for child in children:
            with contextlib.suppress(OSError):
                if Path(f"/proc/{child}/comm").read_text() == "systemd\n":
                    self._leader = int(child)
        return bool(self._leader)

    def _gone(self) -> None:
        assert self._process
        self._process.wait(LIMIT_S)
        self._process = None
        for group in self._groups:
            for folder, _, _ in os.walk(group, topdown=False):
                os.rmdir(folder)

    def _said(self) -> str:
        return self._console.read_text(errors="replace")


def _call(*command: object) -> None:
    subprocess.run([str(word) for word in command], check=True)
