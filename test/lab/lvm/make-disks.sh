#!/bin/bash
# Runs on the lab's host (sent by ssh): the volumes of VM 20, thick, and VM 21, thin, as OpenNebula's transfer
# driver fs_lvm_ssh makes and names them. Those of a VM that is powered off are inactive.
#   0 vda LV with ext4, the guest writes   1 vdb LV, volatile, ext4, the guest writes   2 hda the context, a file
set -euo pipefail
export LC_ALL=C
lvm_quietly() { "$@" >/dev/null 2>/run/lab/lvm.log || { cat /run/lab/lvm.log >&2; exit 1; }; }

# links VM SYSTEM_DATASTORE: the VM's folder, and file systems on its volumes.
furnish() {
  local folder=/var/lib/one/datastores/$2/$1 disk
  mkdir -p "$folder" /run/lab/fill
  seq 500000 >/run/lab/fill/compressible
  mke2fs -q -F -t ext4 -E lazy_itable_init=0,lazy_journal_init=0 -L a -d /run/lab/fill "/dev/vg-one-$2/lv-one-$1-0"
  mke2fs -q -F -t ext4 -E lazy_itable_init=0,lazy_journal_init=0 -L b "/dev/vg-one-$2/lv-one-$1-1"
  for disk in 0 1; do ln -s "/dev/vg-one-$2/lv-one-$1-$disk" "$folder/disk.$disk"; done
  mkdir -p /run/lab/context
  echo "VM_ID='$1'" >/run/lab/context/context.sh
  xorriso -as mkisofs -quiet -V CONTEXT -J -R -o "$folder/disk.2" /run/lab/context 2>/dev/null
  chown -R -h oneadmin:oneadmin /var/lib/one/datastores
}

lvm_quietly vgcreate -q vg-one-110 /dev/ubda
lvm_quietly vgcreate -q vg-one-111 /dev/ubdb
lvm_quietly lvcreate -q --wipesignatures n -L 192M -n lv-one-20-0 vg-one-110
lvm_quietly lvcreate -q --wipesignatures n -L 64M -n lv-one-20-1 vg-one-110
furnish 20 110
# -ky: thin volumes are not activated unless -K is given.
lvm_quietly lvcreate -q -ky -Zy -L 192M --type thin-pool --thinpool lv-one-21-pool vg-one-111
lvm_quietly lvcreate -q -ky --thin vg-one-111/lv-one-21-pool -V 192M -n lv-one-21-0
lvm_quietly lvextend -q -L +64M vg-one-111/lv-one-21-pool
lvm_quietly lvcreate -q -ky --thin vg-one-111/lv-one-21-pool -V 64M -n lv-one-21-1
for disk in 0 1; do lvm_quietly lvchange -q -ay -K "vg-one-111/lv-one-21-$disk"; done
furnish 21 111
lvm_quietly lvchange -q -an vg-one-110
lvm_quietly lvchange -q -an vg-one-111
