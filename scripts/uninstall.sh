#!/bin/sh
# Removes what scripts/install.sh has put there: sudo scripts/uninstall.sh [--purge]
#
# Settings, recordings and what was chosen at the page stay, for another installation. --purge removes them too. Packages
# that were installed with apt stay: other programs may use them by now.
set -u
root=$(dirname "$(dirname "$(readlink -f "$0")")")
. "$root/scripts/common.sh"
. "$root/scripts/appliance.sh"

state=/var/lib/piapp

case $* in
"") purge=no ;;
--purge) purge=yes ;;
*) sed -n '2,/^set/{s/^# \{0,1\}//p}' "$0" >&2 && exit 2 ;;
esac
must_be_root scripts/uninstall.sh "$@"
take_lock

found=no
if [ -e "$setup_unit" ]; then # of a new card: it would install piapp again
    found=yes
    control stop "${setup_unit##*/}"
    systemctl --quiet disable "${setup_unit##*/}" 8>&-
    rm -f "$setup_unit" || die "cannot remove $setup_unit"
    control daemon-reload
fi
if [ -e "$unit" ]; then
    found=yes
    say "stopping piapp"
    control stop piapp.service || die "piapp cannot be stopped, see: systemctl status piapp"
    systemctl --quiet disable piapp.service 8>&-
    rm -f "$unit" || die "cannot remove $unit"
    control daemon-reload
fi
control reset-failed piapp.service 2>/dev/null
if [ "$(readlink "$link")" = "$program/current/bin/piapp" ]; then
    found=yes
    rm -f "$link" || die "cannot remove $link"
fi
if [ -e "$program" ]; then
    found=yes
    say "removing $program"
    rm -rf "$program" || die "cannot remove $program"
fi
if [ "$purge" = yes ]; then
    for each in "$(dirname "$settings")" "$state" "$unit.d"; do
        [ -e "$each" ] || continue
        found=yes
        say "removing $each"
        rm -rf "$each" || die "cannot remove $each"
    done
    if getent passwd "$user" >/dev/null; then
        found=yes
        say "removing the user $user"
        userdel "$user" || die "cannot remove the user $user"
    fi
    control daemon-reload
fi
[ $found = yes ] || { say "there is nothing of piapp here" && exit; }
say "piapp is removed"
for each in "$settings" "$state"; do
    [ ! -e "$each" ] || say "$each stays; sudo scripts/uninstall.sh --purge removes it"
done
