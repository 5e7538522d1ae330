#!/bin/bash
# A new Ceph cluster on loopback with the pool "one", the cephx user "oneadmin", and the images of VM 30 and
# VM 31 as OpenNebula names them. start-vm.sh runs the VM in the libvirt lab.
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=../functions.sh
. "$HERE/../functions.sh"
# shellcheck source=ceph.sh
. "$HERE/ceph.sh"

make_cluster() {
  local fsid
  fsid=$(cat /proc/sys/kernel/random/uuid)
  mkdir -p "$STATE"/{mgr,osd,run,log}
  fill FSID="$fsid" STATE="$STATE" PORT_V2="$PORT_V2" PORT="$PORT" <"$HERE/ceph.conf" >"$CONF"
  {
    ceph-authtool -C "$STATE/mon.keyring" --gen-key -n mon. --cap mon 'allow *'
    ceph-authtool -C "$STATE/client.admin.keyring" --gen-key -n client.admin \
      --cap mon 'allow *' --cap osd 'allow *' --cap mgr 'allow *'
    ceph-authtool "$STATE/mon.keyring" --import-keyring "$STATE/client.admin.keyring"
    monmaptool --create --fsid "$fsid" --addv a "[v2:127.0.0.1:$PORT_V2,v1:127.0.0.1:$PORT]" "$STATE/monmap"
  } >"$STATE/log/make"
  ceph-mon -c "$CONF" --mkfs -i a --monmap "$STATE/monmap" --keyring "$STATE/mon.keyring"
}

start_daemons() {
  local osd key
  ulimit -n 65536 2>/dev/null || true
  ceph-mon -c "$CONF" -i a --keyring "$STATE/mon.keyring"
  await 60 timeout 10 ceph -c "$CONF" --keyring "$STATE/client.admin.keyring" mon stat || die 'the mon does not answer'
  admin auth get-or-create mgr.x mon 'allow profile mgr' osd 'allow *' mds 'allow *' -o "$STATE/mgr.x.keyring"
  ceph-mgr -c "$CONF" -i x --keyring "$STATE/mgr.x.keyring"
  osd=$(cat /proc/sys/kernel/random/uuid)
  key=$(ceph-authtool --gen-print-key)
  echo "{\"cephx_secret\":\"$key\"}" | admin osd new "$osd" -i - >"$STATE/log/make"
  ceph-authtool -C "$STATE/osd.0.keyring" -n osd.0 --add-key "$key" >"$STATE/log/make"
  ceph-osd -c "$CONF" -i 0 --mkfs --osd-uuid "$osd" --keyring "$STATE/osd.0.keyring" >"$STATE/log/make" 2>&1 ||
    die "cannot make the OSD: $(tail -n 3 "$STATE/log/make")"
  ceph-osd -c "$CONF" -i 0 --keyring "$STATE/osd.0.keyring" >"$STATE/log/make" 2>&1
  await 60 osd_is_up || die 'the OSD does not come up'
}
osd_is_up() { admin osd stat 2>/dev/null | grep -q '1 up'; }

make_pool() {
  {
    admin osd pool create one 16 16
    admin osd pool set one size 1 --yes-i-really-mean-it
    rbd -c "$CONF" --keyring "$STATE/client.admin.keyring" pool init one
  } >"$STATE/log/make" 2>&1 || die "cannot make the pool: $(tail -n 3 "$STATE/log/make")"
  admin auth get-or-create client.oneadmin mon 'profile rbd' osd 'profile rbd pool=one' mgr 'profile rbd' \
    >"$STATE/log/make"
  (umask 077 && admin auth get-key client.oneadmin >"$KEYFILE")
}

started=no
if ! ceph_runs; then
  trap '[ $started = yes ] || bash "$HERE/down.sh"' EXIT
  bash "$HERE/down.sh"
  need ceph-mon ceph-osd ceph-mgr ceph-common qemu-utils qemu-block-extra e2fsprogs xorriso
  make_cluster
  start_daemons
  make_pool
  bash "$HERE/make-images.sh"
  started=yes
fi
# Also in a cluster that an earlier version of this script made.
[ -e "$FOLDER/vm-31.poweroff.xml" ] || bash "$HERE/make-mixed.sh"
cat <<FACTS
started=$started
folder=$FOLDER
conf=$CONF
keyfile=$KEYFILE
datastores=$DATASTORES
libvirt_uri=$(. "$HERE/../libvirt/libvirt.sh" && echo "$URI")
FACTS
