#!/bin/bash
# Starts and stops real components for tests and by hand: test/lab/README.md.
#   lab.sh up libvirt|lvm|ceph   starts it unless it runs, and prints its facts as NAME=VALUE lines
#   lab.sh down [NAME...]        ends it; without names: everything
#   lab.sh down --wipe [NAME...] ends it and removes what it made, downloads too
#   lab.sh status                says what runs
# Facts go to stdout, everything else to stderr. State: $ONEVMDUMP_LAB, default /var/tmp/onevmdump-lab.
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=functions.sh
. "$HERE/functions.sh"

usage() {
  sed -n '3,6s/^# *//p' "$HERE/lab.sh" >&2
  exit 2
}

labs=(libvirt lvm ceph)

is_lab() { [[ " ${labs[*]} " == *" ${1:-none} "* ]]; }

# One start or stop of a lab at a time. -o: what is started must not inherit the lock.
locked() {
  local name=$1 script=$2
  shift 2
  flock -o "$LAB/$name.lock" bash "$HERE/$name/$script.sh" "$@"
}

[ "$(id -u)" = 0 ] || die 'must be root: it starts libvirtd, makes network devices and mounts'
make_state_folder
action=${1-}
[ $# -gt 0 ] && shift
case $action in
  up)
    is_lab "${1-}" || usage
    locked "$1" up "${@:2}"
    ;;
  down)
    wipe=
    [ "${1-}" = --wipe ] && wipe=$1 && shift
    for name in "$@"; do is_lab "$name" || usage; done
    all=
    [ $# -gt 0 ] || { all=yes && set -- "${labs[@]}"; }
    for name; do
      locked "$name" down
      [ -z "$wipe" ] || rm -rf "${LAB:?}/$name"
    done
    [ "$wipe$all" != --wipeyes ] || rm -rf "${LAB:?}"
    ;;
  status)
    for name in "${labs[@]}"; do
      printf '%s: %s\n' "$name" "$(bash "$HERE/$name/status.sh")"
    done
    ;;
  *) usage ;;
esac
