"""What the service may not do, enforced by a real kernel, by what is tried in its place."""

import re

from fakes import until

from .guest import Guest, by_id

GROUP = "/sys/fs/cgroup/system.slice/piapp.service"
# Opens files for reading and writing. What is not in DeviceAllow= is EPERM, whatever the rights of the file say.
OPEN = """\
import errno, os, sys
for name in sys.argv[1:]:
    try:
        os.close(os.open(name, os.O_RDWR | os.O_NONBLOCK))
        print("probe:", name, "opened")
    except OSError as error:
        print("probe:", name, errno.errorcode[error.errno])
"""
EAT = """\
import os, pathlib, sys
pathlib.Path(sys.argv[1], "cgroup.procs").write_text(str(os.getpid()))
print("eats", flush=True)
eaten = bytearray(int(sys.argv[2]))
print("has eaten", eaten[-1])
"""
DROP_IN = "/run/systemd/system/piapp.service.d/probe.conf"


def tried(guest: Guest, *names: str) -> dict[str, str]:
    """What becomes of these files, opened as the service would."""
    guest.write("/opt/probe.py", OPEN)
    guest.write(DROP_IN, f"[Service]\nExecStartPre=/usr/bin/python3 /opt/probe.py {' '.join(names)}\n")
    guest.run("systemctl", "daemon-reload")
    guest.run("systemctl", "restart", "piapp")
    guest.run("rm", DROP_IN)
    guest.run("systemctl", "daemon-reload")
    found = dict(re.findall(r"probe: (\S+) (\w+)", guest.journal()))
    return {name: found[name] for name in names}


def test_the_whole_of_it(guest: Guest) -> None:
    said = guest.run("systemd-analyze", "security", "--no-pager", "piapp.service")
    found = re.search(r"Overall exposure level for piapp.service: ([\d.]+)", said)
    assert found and float(found[1]) <= 2.0, said


def test_it_opens_cameras_and_no_other_device(guest: Guest) -> None:
    media = guest.run("sh", "-c", "echo /dev/media*").split()[0]
    own = (by_id("green"), media, "/dev/null")
    others = {
        "/dev/other-disk": ("b", "/dev/vda"),
        "/dev/other-log": ("c", "/dev/kmsg"),
        "/dev/other-port": ("c", "/dev/ttyS0"),
    }
    for name, (kind, like) in others.items():  # which anybody may open
        major, minor = guest.run("stat", "--format=%Hr %Lr", like).split()
        guest.run("mknod", "-m", "666", name, kind, major, minor)
    try:
        found = tried(guest, *own, *others)
    finally:
        guest.run("rm", *others)
    assert found == {**dict.fromkeys(own, "opened"), **dict.fromkeys(others, "EPERM")}


def test_it_writes_nowhere_but_to_its_own_folder(guest: Guest) -> None:
    name = "/opt/piapp/anybody"
    guest.run("touch", name)
    guest.run("chmod", "666", name)
    found = tried(guest, name)
    guest.run("rm", name)
    assert found == {name: "EROFS"}


def test_who_eats_memory_is_killed_and_pictures_go_on(guest: Guest) -> None:
    most = int(guest.run("cat", f"{GROUP}/memory.max"))
    total = int(guest.run("awk", "/^MemTotal/ {print $2 * 1024}", "/proc/meminfo"))
    assert 0.69 < most / total < 0.71
    guest.write("/opt/eat.py", EAT)
    said = guest.run("python3", "/opt/eat.py", GROUP, str(most), check=False)
    assert said == "eats"
    until(guest.shows_picture, 120)
    assert "oom" in guest.run("journalctl", "--boot", "--dmesg", "--no-pager", "--grep=oom")
