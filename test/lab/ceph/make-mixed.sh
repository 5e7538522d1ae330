#!/bin/bash
# The disks of VM 31, whose system datastore 142 is of TM shared.
#   0 vda one-30-31-0, a clone of one-30@snap; ext4, the guest writes   1 vdb a volatile disk, a raw file; ext4,
#   the guest writes   2 hdb the context, a file
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=../functions.sh
. "$HERE/../functions.sh"
# shellcheck source=ceph.sh
. "$HERE/ceph.sh"
work=$(mktemp -d "$FOLDER/images.XXXXXX")
trap 'rm -rf "$work"' EXIT
folder=$DATASTORES/142/31
mkdir -p "$work/context" "$folder"

rbd_as_one clone one/one-30@snap one/one-30-31-0
truncate -s 64M "$folder/disk.1"
mke2fs -q -F -t ext4 -E lazy_itable_init=0,lazy_journal_init=0 -L b "$folder/disk.1"
echo "VM_ID='31'" >"$work/context/context.sh"
xorriso -as mkisofs -quiet -V CONTEXT -J -R -o "$folder/disk.2" "$work/context" 2>/dev/null
for state in 'running 3 3' 'poweroff 8 0'; do
  read -r word number lcm <<<"$state"
  fill STATE="$number" LCM_STATE="$lcm" CONF="$CONF" KEYFILE="$KEYFILE" SECRET="$SECRET" PORT="$PORT" \
    <"$HERE/vm-31.xml" >"$FOLDER/vm-31.$word.xml"
done
