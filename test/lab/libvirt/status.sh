#!/bin/bash
# One line: whether the lab's libvirtd runs, and which domains.
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=../functions.sh
. "$HERE/../functions.sh"
# shellcheck source=libvirt.sh
. "$HERE/libvirt.sh"
if libvirtd_answers; then
  echo "up, $URI, domains: $(lab_virsh list --name | xargs)"
else
  echo down
fi
