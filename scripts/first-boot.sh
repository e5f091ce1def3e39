#!/bin/sh
# Installs piapp on a card that scripts/build-image has made, when it starts for the first time: piapp-setup.service calls
# it, with the options for scripts/install.sh. Tries until that has worked, and takes the service away then.
set -u
root=$(dirname "$(dirname "$(readlink -f "$0")")")
. "$root/scripts/common.sh"

LONGEST_PAUSE_S=300
setup=piapp-setup.service

has_network() { [ -n "$(ip route show default; ip -6 route show default)" ]; }

wait_for_network() {
    has_network && return
    say "waiting for the network, to install piapp: is the cable in, or the Wi-Fi's name and password right?"
    until has_network; do sleep 1; done
}

pause=5
wait_for_network
until "$root/scripts/install.sh" "$@"; do
    say "that did not work, see above. The next try is in $pause seconds"
    sleep $pause
    pause=$((pause * 2))
    [ $pause -le $LONGEST_PAUSE_S ] || pause=$LONGEST_PAUSE_S
    wait_for_network
done
systemctl --quiet disable $setup && rm /etc/systemd/system/$setup && systemctl daemon-reload
