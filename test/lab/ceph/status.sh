#!/bin/bash
# One line: whether the cluster runs, and its images.
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=../functions.sh
. "$HERE/../functions.sh"
# shellcheck source=ceph.sh
. "$HERE/ceph.sh"
if ceph_runs; then
  echo "up, rbd --id oneadmin --keyfile $KEYFILE --conf $CONF, images: $(rbd_as_one ls one | xargs)"
else
  echo down
fi
