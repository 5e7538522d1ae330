#!/bin/bash
# One line: whether the host runs, and which VMs on it.
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=../functions.sh
. "$HERE/../functions.sh"
# shellcheck source=lvm.sh
. "$HERE/lvm.sh"
if host_runs; then
  echo "up, ssh -F $SSH_CONFIG $HOST, domains: $(lab_ssh 'pgrep -x libvirtd >/dev/null && virsh -q list --name' | xargs)"
else
  echo down
fi
