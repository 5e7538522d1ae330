#!/bin/bash
# Runs on the lab's host (sent by ssh): the volumes of VM 23, as OpenNebula's transfer driver lvm of 7.4 makes and names
# them, in the groups of two image datastores; and a block device. Those of a VM that is powered off are inactive.
#   0 vda a copy of image 32, the guest writes   1 vdb image 33, persistent, the guest writes   2 hda the context, a file
#   3 vdc volatile   4 image 34, a CD-ROM   5 vdd the block device /dev/ubde
set -euo pipefail
export LC_ALL=C
lvm_quietly() { "$@" >/dev/null 2>/run/lab/lvm.log || { cat /run/lab/lvm.log >&2; exit 1; }; }
folder=/var/lib/one/datastores/132/23

lvm_quietly vgcreate -q vg-one-130 /dev/ubdc
lvm_quietly vgcreate -q vg-one-131 /dev/ubdd
mkdir -p "$folder" /run/lab/fill /run/lab/context

# Images that are not persistent are thick, and inactive after they were made.
lvm_quietly lvcreate -q -K -ay -W n -L 192M vg-one-130 -n img-one-32 -ky
seq 500000 >/run/lab/fill/compressible
mke2fs -q -F -t ext4 -E lazy_itable_init=0,lazy_journal_init=0 -L a -d /run/lab/fill /dev/vg-one-130/img-one-32
lvm_quietly lvcreate -q -K -ay -W n -L 16M vg-one-131 -n img-one-34 -ky
dd if=/dev/urandom of=/dev/vg-one-131/img-one-34 bs=1M count=2 status=none
lvm_quietly lvchange -q -an vg-one-130/img-one-32

# thin_volume VG POOL NAME SIZE: a new volume, with its pool if there is none.
thin_volume() {
  lvs "$1/$2" >/dev/null 2>&1 || lvm_quietly lvcreate -q -W n --thin -L "$4" "$1/$2" -ky -Zy -an
  lvm_quietly lvcreate -q -K -ay --thin -V "$4" "$1/$2" -n "$3" -ky
}
thin_volume vg-one-131 img-one-33-pool img-one-33 64M
mke2fs -q -F -t ext4 -E lazy_itable_init=0,lazy_journal_init=0 -L b /dev/vg-one-131/img-one-33

# A copy is a snapshot of its image, which is read-only from then on.
lvm_quietly lvchange -q -pr vg-one-130/img-one-32
lvm_quietly lvcreate -q -W n --thin -L 192M vg-one-130/vm-one-23-pool -ky -Zy -an
lvm_quietly lvcreate -q --snapshot --thinpool vm-one-23-pool vg-one-130/img-one-32 -n vm-one-23-0 -ky -an
lvm_quietly lvchange -q -K -ay vg-one-130/vm-one-23-0
thin_volume vg-one-130 vm-one-23-pool vm-one-23-3 16M
lvm_quietly lvextend -q -L 256M vg-one-130/vm-one-23-pool
dd if=/dev/urandom of=/dev/vg-one-130/vm-one-23-3 bs=1M count=1 seek=4 status=none

dd if=/dev/urandom of=/dev/ubde bs=1M count=3 seek=1 status=none
chgrp disk /dev/ubde
chmod 660 /dev/ubde

ln -s /dev/vg-one-130/vm-one-23-0 "$folder/disk.0"
ln -s /dev/vg-one-131/img-one-33 "$folder/disk.1"
ln -s /dev/vg-one-130/vm-one-23-3 "$folder/disk.3"
ln -s /dev/vg-one-131/img-one-34 "$folder/disk.4"
ln -s /dev/ubde "$folder/disk.5"
echo "VM_ID='23'" >/run/lab/context/context.sh
xorriso -as mkisofs -quiet -V CONTEXT -J -R -o "$folder/disk.2" /run/lab/context 2>/dev/null
chown -R -h oneadmin:oneadmin /var/lib/one/datastores
lvm_quietly lvchange -q -an vg-one-130 vg-one-131
