#!/bin/bash
# Ends the host with all in it; its disks are thrown away, downloads and keys stay.
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=../functions.sh
. "$HERE/../functions.sh"
# shellcheck source=lvm.sh
. "$HERE/lvm.sh"
for socket in "$RUN"/ssh-*; do
  [ ! -S "$socket" ] || ssh -F "$SSH_CONFIG" -S "$socket" -O exit "$HOST" 2>/dev/null || true
done
for signal in TERM KILL; do
  host_runs || break
  kill -s "$signal" -- "-$(cat "$RUN/pid")" 2>/dev/null || true
  for ((try = 0; try < 50; try++)); do
    host_runs || break
    sleep 0.1
  done
done
# Held by a host that is just ending, it cannot be removed at once.
if ip link show "$TAP" >/dev/null 2>&1; then await 5 ip link del "$TAP" || say "cannot remove $TAP"; fi
rm -rf "$RUN"
