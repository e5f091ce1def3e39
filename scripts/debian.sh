# shellcheck shell=sh
# What those scripts share that make Debians to test in: test-picamera2, test-appliance, test-vm, test-image. Sourced
# after common.sh, with $log set, in $cache, to where the long stories go.

# shellcheck disable=SC2034  # for them
cache=${XDG_CACHE_HOME:-/var/cache}/piapp

# skip WHY: these tests are not to be had here.
skip() {
    [ "${CI:-}" != true ] || die "$*"
    say "$*: the tests of ${0##*/} are skipped"
    exit 0
}

# logged WHAT COMMAND…
logged() {
    what=$1 && shift
    say "$what"
    "$@" </dev/null >>"${log:?}" 2>&1 || { tail -n 20 "$log" >&2 && die "that failed; all of it is in $log"; }
}
