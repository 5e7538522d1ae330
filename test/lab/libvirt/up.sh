#!/bin/bash
# libvirtd by hand, without systemd, and VM 8 as a transient domain whose guest agent answers; VM 9 is
# powered off. VM 8 lies on a system datastore of TM qcow2, VM 9 on one of TM ssh.
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=../functions.sh
. "$HERE/../functions.sh"
# shellcheck source=libvirt.sh
. "$HERE/libvirt.sh"

started=no
if ! domain_runs one-8; then
  trap '[ $started = yes ] || bash "$HERE/down.sh"' EXIT
  need libvirt-daemon libvirt-daemon-driver-qemu libvirt-clients qemu-system-x86 qemu-utils e2fsprogs xorriso
  bash "$HERE/make-guest.sh" "$FOLDER/guest"
  libvirtd_answers || start_libvirtd
  end_domains
  bash "$HERE/make-disks.sh"
  bash "$HERE/start-vm.sh" 8
  started=yes
fi
cat <<FACTS
started=$started
folder=$FOLDER
uri=$URI
datastores=$DATASTORES
FACTS
