# shellcheck shell=sh
# What those scripts share that make Debians to test in: test-picamera2, test-appliance, test-vm, test-image. Sourced
# after common.sh, with $name set: what of these scripts' it is.

cache=${XDG_CACHE_HOME:-/var/cache}/piapp
log=$cache/${name:?}.log # for the long stories
new=$cache/$name-unfinished

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

# needs WHY PROGRAM[:PACKAGE]…: have these, and what makes a Debian, or skip the tests. No PROGRAM: it is missing.
needs() {
    why=$1 missing=
    shift
    for each in mmdebstrap "$@"; do
        command -v "${each%:*}" >/dev/null || missing="$missing ${each#*:}"
    done
    [ -e /usr/share/keyrings/debian-archive-keyring.gpg ] || missing="$missing debian-archive-keyring"
    # shellcheck disable=SC2086  # several words
    [ -z "$missing" ] || (packages "$why" $missing) || skip "there is no$missing"
}

# Takes the lock of what cached() has made. False when somebody else has it, who uses that.
alone_at_it() {
    mkdir -p "$cache" || exit
    exec 9>"$cache/$name.lock"
    flock -n 9
}

# cached COMMAND…: sets $made to a folder that COMMAND has filled, once, as $new. Its recipe is what the script's functions
# named make_… say: a change of it makes another one. The lock is held by everything below until it ends, by what an
# interrupted script has left running too: for itself by who makes one, together by those who use one.
cached() {
    recipe=$(sed -n '/^make_[a-z]*()/,/^}/p' "$0" | sha256sum | cut -c 1-12)
    made=$cache/$name-$recipe
    mkdir -p "$cache" || exit
    exec 9>"$cache/$name.lock"
    until flock -s 9 && [ -e "$made" ]; do
        flock 9
        [ ! -e "$made" ] || continue
        rm -rf --one-file-system "$cache/$name"-* # of other recipes, or unfinished
        : >"$log"
        "$@"
        mv "$new" "$made"
    done
}
