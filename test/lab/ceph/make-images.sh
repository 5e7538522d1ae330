#!/bin/bash
# The images of VM 30 in the pool, and its folder on system datastore 140.
#   0 vda one-30-30-0, a clone of one-30@snap; ext4, the guest writes   1 vdb one-sys-30-1, volatile; ext4, the
#   guest writes   2 hda one-31, a CD-ROM image   3 vdc one-32, a persistent image   4 hdb the context, a file
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=../functions.sh
. "$HERE/../functions.sh"
# shellcheck source=ceph.sh
. "$HERE/ceph.sh"
work=$(mktemp -d "$FOLDER/images.XXXXXX")
trap 'rm -rf "$work"' EXIT
folder=$DATASTORES/140/30
mkdir -p "$work/fill" "$work/context" "$folder"

seq 1000000 >"$work/fill/compressible"
truncate -s 256M "$work/a"
mke2fs -q -F -t ext4 -E lazy_itable_init=0,lazy_journal_init=0 -L a -d "$work/fill" "$work/a"
truncate -s 64M "$work/b"
mke2fs -q -F -t ext4 -E lazy_itable_init=0,lazy_journal_init=0 -L b "$work/b"
truncate -s 64M "$work/data"
dd status=none conv=notrunc bs=1M seek=33 "of=$work/data" "if=$work/fill/compressible"
xorriso -as mkisofs -quiet -V CDROM -J -R -o "$work/cd" "$work/fill" 2>/dev/null
echo "VM_ID='30'" >"$work/context/context.sh"
xorriso -as mkisofs -quiet -V CONTEXT -J -R -o "$folder/disk.4" "$work/context" 2>/dev/null

rbd_as_one import --no-progress --image-format 2 "$work/a" one/one-30
rbd_as_one snap create --no-progress one/one-30@snap
rbd_as_one snap protect one/one-30@snap
rbd_as_one clone one/one-30@snap one/one-30-30-0
rbd_as_one import --no-progress --image-format 2 "$work/b" one/one-sys-30-1
rbd_as_one import --no-progress --image-format 2 "$work/cd" one/one-31
rbd_as_one import --no-progress --image-format 2 "$work/data" one/one-32
cd_mb=$((($(stat -c %s "$work/cd") + 1048575) / 1048576))
for state in 'running 3 3' 'poweroff 8 0'; do
  read -r word number lcm <<<"$state"
  fill STATE="$number" LCM_STATE="$lcm" CONF="$CONF" KEYFILE="$KEYFILE" SECRET="$SECRET" PORT="$PORT" CD_MB="$cd_mb" \
    <"$HERE/vm-30.xml" >"$FOLDER/vm-30.$word.xml"
done
