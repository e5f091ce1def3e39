#!/bin/sh
# chroot.sh ROOT WORK COMMAND…: run a command in the system that lies in ROOT.
#
# To be called in a mount and a PID namespace of its own: with them goes all that is mounted here, and all that the
# command leaves running. Of this computer it sees neither devices nor files. What apt downloads is written into WORK.
set -eu
root=$1 work=$2
shift 2

mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for each in null zero full random urandom; do
    : >"$root/dev/$each"
    mount --bind "/dev/$each" "$root/dev/$each"
done
ln -s /proc/self/fd "$root/dev/fd"
mkdir "$root/dev/shm"
# A 32-bit Raspberry Pi OS has all programs load something that the emulator cannot.
[ ! -e "$root/etc/ld.so.preload" ] || mount --bind /dev/null "$root/etc/ld.so.preload"
for each in var/lib/apt/lists var/cache/apt; do
    mkdir -p "$work/$each"
    mount --bind "$work/$each" "$root/$each"
done
exec chroot "$root" "$@"
