#!/bin/bash
# Ends the lab's domains and its libvirtd; disks and downloads stay.
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=../functions.sh
. "$HERE/../functions.sh"
# shellcheck source=libvirt.sh
. "$HERE/libvirt.sh"
if libvirtd_answers; then end_domains; fi
# Guests whose libvirtd died: it leaves their pid files.
for pidfile in "$FOLDER"/private/run/libvirt/qemu/one-*.pid; do
  [ -e "$pidfile" ] && stop "$pidfile" qemu-system-x86
done
stop "$PIDFILE" libvirtd
if mountpoint -q "$SMALL"; then umount "$SMALL"; fi
rm -rf "$FOLDER/private/run"
