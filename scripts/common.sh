# shellcheck shell=sh
# What scripts/run and scripts/test share: system packages, a Python, and .venv. Sourced, with $root set.
#
# .venv holds "installed-run" and "installed-test": what it was made from. Where that has not changed, nothing is done
# and nothing is said. While something is being installed it also holds "unfinished"; a .venv in which that is found
# was interrupted and is made anew.

venv=${root:?}/.venv

say() { echo "piapp: $*" >&2; }
die() { say "$*" && exit 1; }

# PIAPP_MODEL stands for the computer's model in tests. A Pi that runs another system than its own has no picamera2 to
# install, so it is treated like a PC.
case ${PIAPP_MODEL-$(cat /proc/device-tree/model /sys/firmware/devicetree/base/model 2>/dev/null | tr -d '\0')} in
*"Raspberry Pi"*)
    mode=pc
    for sign in "${PIAPP_MODEL:+/}" /etc/rpi-issue /usr/lib/python3/dist-packages/picamera2; do
        [ -n "$sign" ] && [ -e "$sign" ] && mode=pi
    done
    ;;
*) mode=pc ;;
esac

# packages WHY NAME…: install system packages as root, or say in one line how to, and leave.
packages() {
    why=$1 && shift
    command -v apt-get >/dev/null || die "$why: install what Debian calls $*, then start this again"
    if [ "$(id -u)" != 0 ]; then
        update=
        ls /var/lib/apt/lists/*_Packages* >/dev/null 2>&1 || update="sudo apt update && "
        die "$why, please run: ${update}sudo apt install --no-install-recommends $*"
    fi
    say "$why, installing with apt: $*"
    apt_get update
    apt_get install -y --no-install-recommends "$@" ||
        die "apt could not install $*, see above. Is this computer online?"
}

# 9 is the lock of prepare(), which a daemon that a package starts must not inherit.
apt_get() {
    DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 "$@" </dev/null >&2 9>&-
}

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }
can_make_venv() { "$1" -c 'import ensurepip, venv' 2>/dev/null; }

# Sets $python. The versions that have wheels of everything come first, and of those one that can make a venv.
find_python() {
    python=${PIAPP_PYTHON:-}
    if [ -z "$python" ] && [ $mode = pi ]; then
        python=/usr/bin/python3 # the one that apt's picamera2 is for
    elif [ -z "$python" ]; then
        for candidate in python3.13 python3.12 python3.11 python3; do
            new_enough "$candidate" || continue
            [ -n "$python" ] || python=$candidate
            can_make_venv "$candidate" && python=$candidate && break
        done
    fi
    new_enough "${python:-python3}" && return
    if ! command -v "${python:-python3}" >/dev/null; then
        packages "Python is missing" python3 python3-venv
        python=python3
        new_enough "$python" && return
    fi
    found=$("${python:-python3}" -V 2>&1)
    for version in 3.13 3.12 3.11; do # Ubuntu 22.04 has 3.11 beside its 3.10
        if [ $mode = pc ] && apt-cache show python$version-venv >/dev/null 2>&1; then
            packages "Python 3.11 or newer is needed, and this is $found" python$version-venv
            python=python$version
            return
        fi
    done
    die "Python 3.11 or newer is needed, and this is $found. Debian 12, Ubuntu 24.04 and the Raspberry Pi OS of 2023" \
        "have it, and all later ones"
}

# ensurepip is a package of its own on Debian. Its name is that of the version where Python is not the system's own.
venv_package() {
    own=$(/usr/bin/python3 -c 'import sys; print("python%d.%d" % sys.version_info[:2])' 2>/dev/null)
    this=$("$python" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
    if [ "$this" = "$own" ]; then echo python3-venv; else echo "$this-venv"; fi
}

# On a Pi these come from apt only: pip's numpy 2 breaks apt's simplejpeg (picamera2 issue 1211).
pi_packages() {
    missing=$("$python" -s -c '
from importlib.util import find_spec
print(*("python3-" + name for name in ("picamera2", "simplejpeg", "tornado", "numpy") if not find_spec(name)))')
    # shellcheck disable=SC2086  # several words
    [ -z "$missing" ] || packages "the Pi's camera software is missing" $missing
    "$python" -s -c 'import sys; from importlib.util import find_spec; sys.exit(not find_spec("cv2"))' ||
        say "for USB cameras install also: sudo apt install --no-install-recommends python3-opencv"
}

# What .venv must have been made from to be used as it is.
wanted() {
    version=$("$venv/bin/python" -V 2>/dev/null)
    echo "$mode ${version%.*} $(sha256sum <"$root/pyproject.toml")"
}

up_to_date() {
    [ ! -e "$venv/unfinished" ] && [ -e "$venv/installed-$1" ] && [ "$(cat "$venv/installed-$1")" = "$(wanted)" ]
}

# A .venv that somebody made by hand will do; one whose Python has gone or was upgraded will not.
usable() {
    [ ! -e "$venv/unfinished" ] && new_enough "$venv/bin/python" || return
    if [ $mode = pi ]; then
        grep -qs "^include-system-site-packages = true" "$venv/pyvenv.cfg"
    else
        "$venv/bin/python" -c 'import pip' 2>/dev/null
    fi
}

no_access() { die "cannot write to $venv, which another user made: sudo rm -r $venv, then start this again"; }

make_venv() {
    say "making $venv with $("$python" -V)"
    if ! { rm -rf "$venv" && mkdir "$venv" && : >"$venv/unfinished"; }; then no_access; fi
    if [ $mode = pi ]; then set -- --system-site-packages --without-pip; fi
    "$python" -m venv "$@" "$venv" >&2 || die "$python could not make $venv: its message stands above"
}

# The dependencies and those of the extras named; on a Pi the extras' alone.
requirements() {
    "$venv/bin/python" - $mode "$root/pyproject.toml" "$@" <<'END'
import sys, tomllib

mode, file, *extras = sys.argv[1:]
with open(file, "rb") as pyproject:
    project = tomllib.load(pyproject)["project"]
for name in [] if mode == "pi" else project["dependencies"]:
    print(name)
for extra in extras:
    print(*project["optional-dependencies"][extra], sep="\n")
END
}

# install NAME EXTRA…
install() {
    trap 'exit 130' INT TERM
    cd "$root" || exit # what lies in the user's folder, a pip.py say, must not be imported
    name=$1 && shift
    find_python
    if [ $mode = pi ]; then pi_packages; fi
    if [ $mode = pc ] || [ $# != 0 ]; then
        can_make_venv "$python" || packages "Python cannot make a venv" "$(venv_package)"
    fi
    usable || make_venv
    : >"$venv/unfinished" || no_access
    if [ $mode = pc ] || [ $# != 0 ]; then
        "$venv/bin/python" -c 'import pip' 2>/dev/null || "$venv/bin/python" -m ensurepip >&2 ||
            die "cannot put pip into $venv: its message stands above"
        requirements "$@" >"$venv/requirements.txt" || die "cannot read $root/pyproject.toml"
        say "installing $(tr '\n' ' ' <"$venv/requirements.txt")with pip: some minutes the first time"
        if ! "$venv/bin/python" -m pip install --disable-pip-version-check --no-input --prefer-binary \
            -r "$venv/requirements.txt" </dev/null >&2; then
            rm "$venv/unfinished" # pip has tidied up behind itself, and another start tries again
            die "pip could not install the packages, see above. Is this computer online? Then start this again"
        fi
    fi
    for stamp in run "$name"; do
        wanted >"$venv/installed-$stamp" || die "cannot write to $venv: is the disk full?"
    done
    rm "$venv/unfinished"
    say "ready"
}

# prepare NAME EXTRA…: make .venv fit for scripts/NAME, with these extras of pyproject.toml. Two at once take turns.
prepare() {
    up_to_date "$1" && return
    [ -w "$root" ] || die "the first start must be able to write to $root: copy piapp to a folder of your own"
    (
        flock 9
        up_to_date "$1" || install "$@"
    ) 9<"$root" || exit
}

# As scripts/test wants it, and all that calls tests.
prepare_test() { if [ $mode = pi ]; then prepare test dev; else prepare test usb dev; fi; }
