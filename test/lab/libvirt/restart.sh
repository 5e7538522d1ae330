#!/bin/bash
# restart.sh: ends libvirtd and starts it again, as an upgrade of its package does. Guests run on.
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=../functions.sh
. "$HERE/../functions.sh"
# shellcheck source=libvirt.sh
. "$HERE/libvirt.sh"
stop "$PIDFILE" libvirtd
start_libvirtd
