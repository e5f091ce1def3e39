#!/bin/sh
# Makes this computer a network camera that starts by itself: sudo scripts/install.sh
#
#   --port NUMBER  the number in its web address; 80 needs none there. Without this: 8080, or what the settings say
#   --usb          make it fit for USB cameras though none is plugged in now
#   --no-start     do not start it now, but when the computer starts
#   --dry-run      only say what would be done
#
# Again it installs what is in this folder now. A version that does not serve pictures as the one before did is taken away
# again, and that one goes on. Settings are in /etc/piapp/config.toml, and stay as they are.
set -u
umask 022
root=$(dirname "$(dirname "$(readlink -f "$0")")")
. "$root/scripts/common.sh"
. "$root/scripts/appliance.sh"

PICTURE_LIMIT_S=60 # after systemd says that it has started, which has its own limit

usage() { sed -n '2,/^set/{s/^# \{0,1\}//p}' "$0"; }

# --- what is there, and what is to be done ---

# Sets $python: the system's, whose packages apt keeps up to date, if it is new enough.
choose_python() {
    if new_enough /usr/bin/python3; then python=/usr/bin/python3; else find_python; fi
    python=$(command -v "$python" || echo "$python") # in a dry run it may not be there yet
}

has_usb_camera() {
    for camera in /dev/v4l/by-id/usb-*; do [ -e "$camera" ] && return; done
    return 1
}

# What apt has to bring. A Pi takes everything from there: pip's numpy 2 breaks apt's simplejpeg (picamera2 issue 1211).
# Elsewhere apt has no simplejpeg, and an OpenCV that draws a gigabyte in: these come from pip.
missing_packages() {
    modules=
    if [ $mode = pi ]; then
        modules="picamera2 simplejpeg tornado numpy"
        [ $usb = no ] || modules="$modules cv2"
    elif [ "$python" = /usr/bin/python3 ]; then
        modules="tornado numpy"
    fi
    # shellcheck disable=SC2086  # several words
    "$python" -P -s - $modules <<'END'
import sys
from importlib.util import find_spec
print(*("python3-" + {"cv2": "opencv"}.get(name, name) for name in sys.argv[1:] if not find_spec(name)))
END
    [ $mode = pi ] || can_make_venv "$python" || venv_package
}

# The checksums of all that is installed, by which a version is the same as another, and whole.
checksums() {
    find piapp config.toml systemd/piapp.service README.md -type f ! -path '*/__pycache__/*' -exec sha256sum {} + |
        LC_ALL=C sort -k 2
}

# recipe: what a version is made from apart from these.
recipe() { echo "$mode $("$python" -V 2>&1) $(sha256sum <"$root/pyproject.toml") $([ $usb = yes ] && echo usb)"; }

# Is what runs already this?
same() {
    [ -n "$old" ] && [ "$(cat "$old/recipe" 2>/dev/null)" = "$(recipe)" ] &&
        (cd "$root" && checksums) | cmp -s - "$old/checksums" && (cd "$old" && sha256sum --quiet -c checksums) 2>/dev/null &&
        "$old/bin/piapp" version >/dev/null 2>&1
}

# --- a new version, beside the old one ---

python_of() { if [ -x "$1/venv/bin/python" ]; then echo "$1/venv/bin/python"; else echo "$python"; fi; }

build() {
    say "putting piapp $version into $new"
    if ! { mkdir -p "$new/bin" "$new/systemd" && cp "$root/systemd/piapp.service" "$new/systemd" &&
        cp -R "$root/piapp" "$root/config.toml" "$root/README.md" "$new"; }; then
        die "cannot write $new, see above. $unchanged"
    fi
    find "$new" -name __pycache__ -prune -exec rm -r {} +
    chmod -R u=rwX,go=rX "$new"
    [ $mode = pi ] || add_venv
    cat >"$new/bin/piapp" <<END || die "cannot write $new. $unchanged"
#!/bin/sh
# As scripts/install.sh has written it. The folder's own name, so that a newer version beside it is never mixed in.
PYTHONPATH=$new exec $(python_of "$new") -P -s -m piapp "\$@"
END
    chmod 755 "$new/bin/piapp"
    # The service cannot write there. By the content, since the clock may be wrong on any day.
    "$(python_of "$new")" -m compileall -q --invalidation-mode checked-hash "$new/piapp" || die "$unchanged"
    if ! { (cd "$new" && checksums) >"$new/checksums" && recipe >"$new/recipe"; }; then
        die "cannot write $new. $unchanged"
    fi
}

# With what apt does not have.
add_venv() {
    say "making $new/venv"
    "$python" -m venv --system-site-packages "$new/venv" >&2 || die "$python could not make it, see above. $unchanged"
    venv=$new/venv
    if [ $usb = yes ]; then set -- usb; else set --; fi
    requirements "$@" >"$new/requirements.txt" || die "cannot read $root/pyproject.toml. $unchanged"
    say "installing with pip what is missing of $(tr '\n' ' ' <"$new/requirements.txt")"
    PYTHONNOUSERSITE=1 "$venv/bin/python" -m pip install --disable-pip-version-check --no-input --prefer-binary \
        -r "$new/requirements.txt" </dev/null >&2 8>&- ||
        die "pip could not install them, see above. Is this computer online? $unchanged"
}

# appliance_of VERSION COMMAND…
appliance_of() {
    of=$1 && shift
    PYTHONPATH=$of "$(python_of "$of")" -P -s "$root/scripts/appliance.py" "$@"
}

appliance() { appliance_of "$new" "$@"; }

# The new version must run at all, and take the settings if the old one does. A mistake in them that both see is nothing
# that keeps piapp from running, but for the end to tell of.
check() {
    said=$("$new/bin/piapp" version 2>&1) || die "this version does not run here: $said. $unchanged"
    [ -e "$settings" ] || return 0
    mistake=$(appliance mistake "$settings") || die "this version cannot read the settings. $unchanged"
    if [ -n "$mistake" ] && [ -n "$old" ] && [ -z "$(appliance_of "$old" mistake "$settings" 2>/dev/null)" ]; then
        die "this version cannot use the settings: $mistake $unchanged"
    fi
}

# The settings as they are to be, in $work: those that are there, else the explained defaults; with the port asked for.
prepare_settings() {
    if [ -e "$settings" ]; then
        cp "$settings" "$work/new.toml"
        more=$(appliance new "$root/config.toml" "$settings" ${old:+"$old/config.toml"}) || exit
        [ -z "$more" ] || say "new settings, explained in $program/current/config.toml: $(echo "$more" | paste -sd ,)"
    else
        cp "$root/config.toml" "$work/new.toml"
    fi || die "cannot write $work. $unchanged"
    [ -z "$port" ] || appliance port "$work/new.toml" "$port" ||
        die "see above, the port cannot be written into $settings: write port = $port there yourself. $unchanged"
}

# --- the change, and the way back ---

# serves SECONDS: 0: a picture; 1: the page without one; 2: nothing. Sets $said: why.
serves() { said=$(appliance wait "$(appliance where "$settings" | sed -n 2p)" "$1"); }

change() {
    if ! getent passwd "$user" >/dev/null; then
        useradd --system --user-group --home-dir /var/lib/piapp --no-create-home --shell /usr/sbin/nologin "$user" ||
            die "cannot make the user $user. $unchanged"
    fi
    sync -f "$new" # all of it is on the disk before anything leads there
    phase=changing
    if ! cmp -s "$work/new.toml" "$settings"; then
        changed=yes
        [ ! -e "$settings" ] || cp "$settings" "$work/old.toml" || die "cannot write $work"
        put "$work/new.toml" "$settings" || die "cannot write $settings"
    fi
    if ! cmp -s "$new/systemd/piapp.service" "$unit"; then
        changed=yes
        put "$new/systemd/piapp.service" "$unit" || die "cannot write $unit"
    fi
    if [ "$new" != "$old" ]; then
        changed=yes
        point "$program/current" "versions/${new##*/}" || die "cannot write $program/current"
    fi
    # so that people can type: piapp check
    if [ ! -e "$link" ] || [ -L "$link" ]; then
        ln -sfn "$program/current/bin/piapp" "$link" || die "cannot write $link"
    fi
    systemctl --quiet enable piapp.service 8>&- || die "cannot enable piapp.service"
    control daemon-reload || die "systemd does not take the new service"
}

start() {
    if [ $changed = yes ] || [ $active = no ]; then
        say "starting it"
        if ! control restart piapp.service; then
            journalctl -u piapp.service -n 10 -o cat --no-pager >&2
            die "piapp $version does not start, see above"
        fi
    fi
    say "waiting for a picture"
    # a broken camera is still broken, and without settings there is none
    if [ $before = 1 ] || [ -n "$mistake" ]; then serves 5; else serves $PICTURE_LIMIT_S; fi
    case $? in
    0) say "it serves pictures" ;;
    1)
        [ $before != 0 ] || die "piapp $version shows no picture, and the version before did: $said"
        say "it runs, but shows no picture: $said"
        ;;
    *) die "piapp $version does not answer: $said" ;;
    esac
}

# At the end, however it comes: Ctrl-C say.
leave() {
    code=$?
    trap '' INT TERM HUP
    trap - EXIT
    [ $phase != changing ] || go_back
    [ $phase = over ] || [ "$new" = "$old" ] || rm -rf "$new"
    rm -rf "$work"
    exit $code
}

go_back() {
    [ ! -e "$work/old.toml" ] || put "$work/old.toml" "$settings"
    if [ -z "$old" ]; then
        say "taking it away again, but for the settings in $settings"
        control stop piapp.service
        systemctl --quiet disable piapp.service 8>&-
        rm -f "$unit" "$program/current"
        [ ! -L "$link" ] || rm -f "$link"
        control daemon-reload
        control reset-failed piapp.service 2>/dev/null
        return
    fi
    say "going back to the version before"
    put "$old/systemd/piapp.service" "$unit"
    point "$program/current" "versions/${old##*/}"
    control daemon-reload
    if [ $active = no ]; then
        control stop piapp.service
    elif control restart piapp.service && { serves $PICTURE_LIMIT_S || [ $? -le $before ]; }; then
        say "it runs as before"
    else
        say "it does not run either, see: journalctl -u piapp"
    fi
}

# Keeps what runs and the version before it.
tidy() {
    for each in "$program"/versions/*; do
        case $each in
        "$(readlink -f "$program/current")" | "$(readlink -f "$program/previous")") ;;
        *) rm -rf "$each" ;;
        esac
    done
}

# --- all of it ---

port='' usb=no start=yes dry=no
command="scripts/install.sh $*"
while [ $# -gt 0 ]; do
    case $1 in
    --port) port=${2:-0} && shift ;;
    --port=*) port=${1#*=} ;;
    --usb) usb=yes ;;
    --no-start) start=no ;;
    --dry-run) dry=yes ;;
    -h | --help) usage && exit ;;
    *) say "there is no $1" && usage >&2 && exit 2 ;;
    esac
    [ $# = 0 ] || shift
done
case $port in
'') ;;
*[!0-9]* | 0* | ??????*) die "--port takes a number from 1 to 65535" ;;
*) [ "$port" -le 65535 ] || die "--port takes a number from 1 to 65535" ;;
esac

old=$(readlink -f "$program/current")
if [ -x "$old/bin/piapp" ]; then
    unchanged="What was installed goes on"
else
    old='' unchanged="piapp is not installed"
fi
if [ $dry = yes ]; then
    packages() { shift && say "would install with apt: $*"; }
else
    must_be_root "$command"
    take_lock
fi
cd / || exit # what lies in the user's folder, a pip.py say, must not be imported
phase=making new='' work='' mistake=''
trap leave EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP

if has_usb_camera || grep -qs ' usb$' "$old/recipe"; then usb=yes; fi
choose_python
missing=$(missing_packages | paste -sd ' ')
avahi=
command -v avahi-publish-service >/dev/null || avahi="avahi-utils" # by which piapp is found by name; it brings avahi
if [ -n "$missing$avahi" ]; then
    # after a power cut in the middle of an installation apt does nothing before this
    [ $dry = yes ] || [ -z "$(dpkg --audit)" ] || DEBIAN_FRONTEND=noninteractive dpkg --configure -a </dev/null >&2 8>&-
    # shellcheck disable=SC2086  # several words
    if ! (packages "more packages are needed" $missing $avahi 8>&-); then
        [ -z "$missing" ] || exit 1
        say "without $avahi it will not be found by name"
    fi
fi

version=$(sed -n 's/^__version__ = "\(.*\)"/\1/p' "$root/piapp/__init__.py")
new=$program/versions/$version-$(date -u +%Y%m%d-%H%M%S)
while [ -e "$new" ]; do new=$new+; done # a clock that is wrong shows the same time again
if same; then
    new=$old
    say "piapp $version is installed already, just as it is in $root"
elif [ $dry = yes ]; then
    say "would put piapp $version into $new"
fi
if [ $dry = yes ]; then
    if [ -e "$settings" ]; then say "$settings would stay as it is"; else say "would write $settings"; fi
    [ -z "$port" ] || say "would write port = $port there"
    [ $start = no ] || say "would start it"
    exit
fi
work=$(mktemp -d) || exit
tidy
[ "$new" = "$old" ] || build
check
prepare_settings
active=no before=2 changed=no
if [ -n "$old" ] && systemd_runs && systemctl --quiet is-active piapp.service; then
    active=yes
    serves 0
    before=$?
fi
change
if [ $start = yes ] && systemd_runs; then
    start
elif [ $active = yes ] && [ $changed = yes ]; then
    say "the version before runs until: sudo systemctl restart piapp"
else
    say "it starts when the computer does"
fi
phase=over
[ "$new" = "$old" ] || [ -z "$old" ] || point "$program/previous" "versions/${old##*/}"
tidy
! systemd_runs || say "watch at $(appliance where "$settings" | sed 1,2d | paste -sd ' ')"
[ -z "$mistake" ] || say "there is a mistake in the settings: $(appliance mistake "$settings")"
