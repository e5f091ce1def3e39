# shellcheck shell=sh
# shellcheck disable=SC2034  # what is set here is used where this is sourced
# What scripts/install.sh and scripts/uninstall.sh share: where things are. Sourced after common.sh, by its say and die.
#
# /opt/piapp/versions/0.1.0-20261121-152049/   piapp/, bin/piapp, venv/ where apt lacks something, config.toml, …
# /opt/piapp/current → versions/…              what runs; replaced in one step
# /opt/piapp/previous → versions/…             what ran before

program=/opt/piapp
settings=/etc/piapp/config.toml
unit=/etc/systemd/system/piapp.service
setup_unit=/etc/systemd/system/piapp-setup.service # on new cards, until it is installed
link=/usr/local/bin/piapp
user=piapp

# must_be_root SCRIPT ARGUMENT…
must_be_root() {
    [ "$(id -u)" = 0 ] || die "this changes the system, please run: sudo $*"
    command -v systemctl >/dev/null || die "there is no systemd here, which is to start piapp"
}

# Held until this script ends, by what it has started too, so that two never work at once.
take_lock() {
    exec 8>/run/piapp-install.lock || die "cannot write to /run"
    flock -n 8 || die "piapp is just being installed or removed by somebody else"
}

# False in a chroot, where an image is being made: there units can be enabled, not started.
systemd_runs() { [ -d /run/systemd/system ]; }

# control VERB…: systemctl, for a service that only runs where systemd does.
control() { ! systemd_runs || systemctl "$@" 8>&-; }

# put FILE PLACE: readable for all, and replaced in one step or not at all.
put() {
    mkdir -p "$(dirname "$2")" && cp "$1" "$2.new" && chmod 644 "$2.new" && sync "$2.new" && mv -f "$2.new" "$2" &&
        return
    rm -f "$2.new"
    return 1
}

# point LINK TARGET: the same for a symlink.
point() { ln -sfn "$2" "$1.new" && mv -Tf "$1.new" "$1"; }
