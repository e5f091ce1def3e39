"""scripts/run on a machine of stand-ins, and all shell scripts under shellcheck.

The stand-ins: a piapp that says how it was called, a python that makes real venvs with a pip that installs nothing and
writes down that it was asked, and in place of root, apt and other Pythons what a test puts there.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conftest import needs

ROOT = Path(__file__).parents[1]
TOOLS = "cat dirname env flock grep id ls mkdir readlink rm sh sha256sum sleep tr"
PIAPP = """\
import json, os, sys
itself = os.environ.get("PIAPP_RESTARTS_ITSELF")
said = {"arguments": sys.argv[1:], "cwd": os.getcwd(), "pid": os.getpid(), "prefix": sys.prefix, "itself": itself}
print(json.dumps(said))
"""
PIP = """\
import os, sys, time
with open(os.environ["PIP_LOG"], "a") as log:
    log.write(" ".join(sys.argv[1:]) + "\\n")
time.sleep(float(os.environ.get("PIP_TAKES_S", 0)))
sys.exit(int(os.environ.get("PIP_EXITS", 0)))
"""
# Only the making of a venv differs from the real one: no pip is copied into it, which takes seconds.
PYTHON = f"""\
#!/bin/sh
if [ "$1 $2" != "-m venv" ]; then exec {sys.executable} "$@"; fi
shift 2
{sys.executable} -m venv --without-pip "$@" || exit
for venv in "$@"; do :; done
cd "$venv"/lib/python3.*/site-packages && mkdir pip && cp "$PIP" pip/__main__.py
"""


@dataclass
class Machine:
    """A computer that has just this checkout and these programs."""

    checkout: Path
    programs: Path
    environment: dict[str, str]

    @property
    def venv(self) -> Path:
        return self.checkout / ".venv"

    @property
    def pip_calls(self) -> list[str]:
        log = Path(self.environment["PIP_LOG"])
        return log.read_text().splitlines() if log.exists() else []

    def has(self, name: str, script: str) -> None:
        """Put a program there, or another one in its place."""
        path = self.programs / name
        path.unlink(missing_ok=True)
        path.write_text(script)
        path.chmod(0o755)

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [self.checkout / "scripts/run", *arguments],
            cwd=self.checkout.parent,
            env=self.environment | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, *arguments: str, **environment: str) -> tuple[dict[str, Any], str]:
        """What piapp says of itself, and what the script said before."""
        process = self.start(*arguments, **environment)
        out, err = process.communicate(timeout=30)
        assert process.returncode == 0, err
        return json.loads(out), err

    def fails(self, **environment: str) -> list[str]:
        """What is said when piapp does not come to be started, line by line."""
        process = self.start(**environment)
        out, err = process.communicate(timeout=30)
        assert (process.returncode, out) == (1, ""), err
        return err.splitlines()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    checkout = tmp_path / "a folder with spaces"
    (checkout / "piapp").mkdir(parents=True)
    (checkout / "piapp/__main__.py").write_text(PIAPP)
    shutil.copytree(ROOT / "scripts", checkout / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", checkout)
    shutil.copy(ROOT / "config.toml", checkout)
    programs = tmp_path / "bin"
    programs.mkdir()
    (tmp_path / "pip stand-in").write_text(PIP)
    for tool in [*TOOLS.split(), "cp"]:
        (programs / tool).symlink_to(shutil.which(tool) or f"/no/{tool}")
    machine = Machine(
        checkout,
        programs,
        {
            "PATH": str(programs),
            "HOME": str(tmp_path),
            "PIAPP_MODEL": "",
            "PIP_LOG": str(tmp_path / "pip.log"),
            "PIP": str(tmp_path / "pip stand-in"),
        },
    )
    machine.has("python3", PYTHON)
    machine.has("id", "#!/bin/sh\necho 1000\n")
    machine.has("apt-get", "#!/bin/sh\nexit 100\n")
    machine.has("apt-cache", "#!/bin/sh\nexit 100\n")
    return machine


def test_the_first_run_installs_and_the_second_is_silent(machine: Machine) -> None:
    said, told = machine.run("check", "--port", "81", "a b")
    config = ["--config", str(machine.checkout / "config.toml")]
    assert said["arguments"] == [*config, "check", "--port", "81", "a b"]
    assert said["prefix"] == str(machine.venv)
    assert said["cwd"] == str(machine.checkout.parent)
    assert [line.split()[1] for line in told.splitlines()] == ["making", "installing", "ready"]
    assert "tornado" in told and "opencv" in told and "pytest>" not in told
    assert len(machine.pip_calls) == 1

    started = time.monotonic()
    said, told = machine.run()
    assert time.monotonic() - started < 2
    assert (said["arguments"], told) == (config, "")
    assert len(machine.pip_calls) == 1


def test_piapp_takes_the_place_of_the_script(machine: Machine) -> None:
    process = machine.start()
    out, _ = process.communicate(timeout=30)
    assert json.loads(out)["pid"] == process.pid


def test_who_starts_piapp_again(machine: Machine) -> None:
    """It does so itself, unless systemd has started this script."""
    assert machine.run()[0]["itself"] == "1"
    script = machine.checkout / "scripts/run"
    for pid, itself in (("$$", None), ("1", "1")):  # of systemd's child; of one above it
        command = ["sh", "-c", f'SYSTEMD_EXEC_PID={pid} exec "$0"', str(script)]
        assert json.loads(subprocess.check_output(command, env=machine.environment))["itself"] == itself


def test_without_a_config_toml_piapp_looks_for_it_itself(machine: Machine) -> None:
    (machine.checkout / "config.toml").unlink()
    assert machine.run("check")[0]["arguments"] == ["check"]


def test_a_link_to_it_will_do(machine: Machine) -> None:
    machine.run()
    link = machine.programs / "piapp"
    link.symlink_to(machine.checkout / "scripts/run")
    assert b"--config" in subprocess.check_output([link], env=machine.environment)


def test_what_lies_around_is_not_imported(machine: Machine, tmp_path: Path) -> None:
    for name in ("json", "pip", "venv", "piapp"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the wrong one')")
    assert machine.run()[0]["cwd"] == str(tmp_path)


def test_changed_dependencies_are_installed(machine: Machine) -> None:
    machine.run()
    with (machine.checkout / "pyproject.toml").open("a") as file:
        file.write("# changed\n")
    assert "making" not in machine.run()[1]
    assert len(machine.pip_calls) == 2
    assert machine.run()[1] == ""


def test_a_venv_whose_python_has_gone_is_made_anew(machine: Machine) -> None:
    machine.run()
    python = machine.venv / "bin/python"
    python.unlink()
    python.symlink_to("/usr/bin/python3.7")
    assert "making" in machine.run()[1]
    assert machine.run()[1] == ""


def test_a_python_without_venv_is_told_in_one_line(machine: Machine) -> None:
    machine.has("python3", '#!/bin/sh\ncase "$2" in *ensurepip*) exit 1 ;; esac\n' + PYTHON)
    (line,) = machine.fails()
    assert line.startswith("piapp: Python cannot make a venv, please run: ")
    assert "sudo apt install --no-install-recommends python3" in line and line.endswith("-venv")
    assert not machine.venv.exists()


def test_root_installs_what_is_missing(machine: Machine, tmp_path: Path) -> None:
    done = tmp_path / "apt.log"
    machine.has("id", "#!/bin/sh\necho 0\n")
    machine.has("apt-get", f'#!/bin/sh\necho "$@" >>{done}\n')
    machine.has("python3", f'#!/bin/sh\ncase "$2" in *ensurepip*) [ -e {done} ]; exit ;; esac\n' + PYTHON)
    machine.run()
    update, install = done.read_text().splitlines()
    assert update.endswith("update")
    assert " install -y --no-install-recommends python3" in install and install.endswith("-venv")


def test_an_old_python_is_told_in_one_line(machine: Machine) -> None:
    machine.has("python3", '#!/bin/sh\n[ "$1" = -V ] && echo Python 3.9.2 && exit\nexit 1\n')
    (line,) = machine.fails()
    assert line.startswith("piapp: Python 3.11 or newer is needed, and this is Python 3.9.2. ")
    machine.has("apt-cache", '#!/bin/sh\n[ "$2" = python3.11-venv ]\n')  # as on Ubuntu 22.04
    (line,) = machine.fails()
    assert line.endswith("sudo apt install --no-install-recommends python3.11-venv")


def test_a_newer_python_beside_an_old_one_is_found(machine: Machine) -> None:
    machine.has("python3", '#!/bin/sh\n[ "$1" = -V ] && echo Python 3.9.2 && exit\nexit 1\n')
    machine.has("python3.12", PYTHON)
    machine.run()


def test_no_python_at_all_is_told_in_one_line(machine: Machine) -> None:
    (machine.programs / "python3").unlink()
    (line,) = machine.fails()
    assert line.endswith("sudo apt install --no-install-recommends python3 python3-venv")


def test_without_network_it_says_so_and_the_next_start_installs(machine: Machine) -> None:
    lines = machine.fails(PIP_EXITS="1")
    assert (
        lines[-1]
        == "piapp: pip could not install the packages, see above. Is this computer online? Then start this again"
    )
    machine.run()
    assert len(machine.pip_calls) == 2
    assert machine.run()[1] == ""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_installation_is_not_trusted(machine: Machine, number: signal.Signals) -> None:
    process = machine.start(PIP_TAKES_S="30")
    while not machine.pip_calls and process.poll() is None:
        time.sleep(0.02)
    os.killpg(process.pid, number)  # as Ctrl-C does: to all of them
    process.communicate(timeout=30)
    assert process.returncode != 0
    said, told = machine.run()
    assert "making" in told and said["prefix"] == str(machine.venv)
    assert machine.run()[1] == ""


def test_two_at_once_install_once(machine: Machine) -> None:
    both = [machine.start(PIP_TAKES_S="0.5") for _ in range(2)]
    assert all(json.loads(process.communicate(timeout=30)[0])["pid"] == process.pid for process in both)
    assert len(machine.pip_calls) == 1


def test_on_a_pi_everything_comes_from_apt(machine: Machine, tmp_path: Path) -> None:
    pi = {"PIAPP_MODEL": "Raspberry Pi 4 Model B Rev 1.4", "PIAPP_PYTHON": str(machine.programs / "python3")}
    machine.has("python3", f'#!/bin/sh\n[ "$1" = -s ] && set -- -S "$@"\n{PYTHON}')  # -S: of what is installed, nothing
    (line,) = machine.fails(**pi)
    assert "sudo apt install --no-install-recommends python3-picamera2" in line

    for name in ("picamera2", "simplejpeg", "tornado", "numpy"):
        (tmp_path / "apt" / name).mkdir(parents=True)
    _, told = machine.run(**pi, PYTHONPATH=str(tmp_path / "apt"))
    assert "sudo apt install --no-install-recommends python3-opencv" in told
    assert "include-system-site-packages = true" in (machine.venv / "pyvenv.cfg").read_text()
    assert machine.pip_calls == []
    assert machine.run(**pi)[1] == ""


def test_the_shell_scripts_are_clean_under_shellcheck() -> None:
    needs("shellcheck")
    scripts = [
        path
        for path in [*ROOT.glob("scripts/*"), ROOT / ".ci/run"]
        if path.is_file() and path.read_bytes().startswith((b"#!/bin/sh\n", b"#!/bin/bash\n", b"# shellcheck shell="))
    ]
    assert len(scripts) >= 4
    subprocess.run(["shellcheck", "-x", *scripts], cwd=ROOT, check=True)


def test_what_a_test_needs_is_skipped_here_and_missed_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    needs("sh")
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="not installed: no-such-program"):
        needs("sh", "no-such-program")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="not installed: no-such-program"):
        needs("sh", "no-such-program")
