# shellcheck shell=bash
# shellcheck disable=SC2034 # some are used by those that source it
# A Ceph cluster of one machine: mon, mgr, one OSD. Sourced after functions.sh.
FOLDER=$LAB/ceph
STATE=$FOLDER/state
CONF=$FOLDER/ceph.conf
KEYFILE=$FOLDER/oneadmin.key
DATASTORES=$FOLDER/datastores
PORT_V2=$((33298 + 2 * NET))
PORT=$((PORT_V2 + 1))
SECRET=5d2c1f0a-7b3e-4c96-9a18-2f6e0d4b3001

# As the cluster's administrator.
admin() { ceph -c "$CONF" --keyring "$STATE/client.admin.keyring" "$@"; }

# As OpenNebula calls it: CEPH_USER, CEPH_KEY, CEPH_CONF.
rbd_as_one() { rbd --id oneadmin --keyfile "$KEYFILE" --conf "$CONF" "$@"; }

ceph_runs() {
  alive "$STATE/run/mon.a.pid" ceph-mon && alive "$STATE/run/mgr.x.pid" ceph-mgr &&
    alive "$STATE/run/osd.0.pid" ceph-osd
}
