#!/bin/bash
# Ends the cluster and throws it away.
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=../functions.sh
. "$HERE/../functions.sh"
# shellcheck source=ceph.sh
. "$HERE/ceph.sh"
# A guest on its images would hang in its writes.
if [ -S "$FOLDER/one-30.control" ] || [ -S "$FOLDER/one-31.control" ]; then bash "$HERE/stop-vm.sh"; fi
stop "$STATE/run/osd.0.pid" ceph-osd
stop "$STATE/run/mgr.x.pid" ceph-mgr
stop "$STATE/run/mon.a.pid" ceph-mon
rm -rf "$FOLDER"
