#!/bin/bash
# start-vm.sh 20|21|23: runs the VM on the lab's host, by libvirtd and QEMU there, and waits until its guest
# agent answers. It is a transient domain, as OpenNebula makes it.
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=../functions.sh
. "$HERE/../functions.sh"
# shellcheck source=lvm.sh
. "$HERE/lvm.sh"
case $1 in
  20) datastore=110 volumes=(vg-one-110/lv-one-20-{0,1}) ;;
  21) datastore=111 volumes=(vg-one-111/lv-one-21-{0,1}) ;;
  23) datastore=132 volumes=(vg-one-130/vm-one-23-{0,3} vg-one-131/img-one-{33,34}) ;;
  *) die "there is no VM $1, only 20, 21 and 23" ;;
esac
domain=one-$1 description=$HERE/domain.xml
[ "$1" != 23 ] || description=$HERE/domain-23.xml
host_runs || die 'the host does not run: lab.sh up lvm'

# The host sees what is installed on the machine: libvirt and QEMU come from there.
need libvirt-daemon libvirt-daemon-driver-qemu libvirt-clients qemu-system-x86
bash "$HERE/../libvirt/make-guest.sh" "$LAB/libvirt/guest"
fill DOMAIN="$domain" VM="$1" DATASTORE="$datastore" <"$description" >"$FOLDER/$domain.xml"
tar -C "$FOLDER" -c "$domain.xml" -C "$HERE/../libvirt" qemu.conf -C "$HERE" run-libvirtd.sh run-domain.sh |
  ssh -F "$SSH_CONFIG" "root@$HOST" tar -C /run/lab -x --no-same-owner
lab_ssh bash /run/lab/run-domain.sh "$domain" "${volumes[@]}" >&2
