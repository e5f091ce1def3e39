"""system/network.py: names and addresses, with a stand-in for avahi's answer."""

import os
import socket
from pathlib import Path

import pytest

from piapp.system import network

ANSWER = '{"type":"s","data":["garden-2.local"]}'


@pytest.fixture
def computer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Called garden, with two addresses; what lies in the folder is found before other programs."""
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(socket, "gethostname", lambda: "garden")
    monkeypatch.setattr(network, "addresses", lambda: ["192.0.2.1", "192.0.2.2"])
    monkeypatch.setattr(network, "_ANSWER_LIMIT_S", 0.5)
    return tmp_path


def answers(folder: Path, *script: str) -> None:
    (folder / "busctl").write_text("\n".join(["#!/bin/sh", *script, ""]))
    (folder / "busctl").chmod(0o755)


def test_the_name_is_avahi_s(computer: Path) -> None:
    answers(computer, f"echo '{ANSWER}'")
    assert network.local_name() == "garden-2.local"
    assert network.urls("", 80) == ["http://garden-2.local:80/", "http://192.0.2.1:80/", "http://192.0.2.2:80/"]
    assert network.urls("0.0.0.0", 80) == network.urls("", 80)
    assert network.urls("::", 80) == ["http://garden-2.local:80/"]


@pytest.mark.parametrize(
    "script",
    ["exit 1", "echo", "echo '{}'", """echo '{"data": []}'""", "echo 3", f"echo '{ANSWER}'; exit 1", "exec sleep 9"],
)
def test_no_answer_of_avahi(script: str, computer: Path) -> None:
    answers(computer, script)
    assert network.local_name() == ""
    assert network.urls("", 80)[0] == "http://garden:80/"


def test_no_systemd(computer: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(computer))
    assert network.local_name() == ""


def test_one_host(computer: Path) -> None:
    answers(computer, f"echo '{ANSWER}'")
    assert network.urls("192.0.2.1", 8080) == ["http://192.0.2.1:8080/"]
    assert network.urls("2001:db8::1", 8080) == ["http://[2001:db8::1]:8080/"]


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("", "http://127.0.0.1:80"),
        ("0.0.0.0", "http://127.0.0.1:80"),
        ("::", "http://[::1]:80"),
        ("192.0.2.1", "http://192.0.2.1:80"),
    ],
)
def test_how_this_computer_reaches_it(host: str, url: str) -> None:
    assert network.url(host, 80) == url


@pytest.mark.parametrize(
    ("host", "only"),
    [
        *(("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True)),
        *(("", False), ("0.0.0.0", False), ("::", False), ("192.0.2.1", False), ("fe80::1%lo", False)),
        ("no such host", False),
    ],
)
def test_who_can_reach_it(host: str, only: bool) -> None:
    assert network.only_here(host) == only
