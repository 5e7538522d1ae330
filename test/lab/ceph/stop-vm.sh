#!/bin/bash
# Ends VM 30, if it runs.
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=../functions.sh
. "$HERE/../functions.sh"
# shellcheck source=../libvirt/libvirt.sh
. "$HERE/../libvirt/libvirt.sh"
if domain_runs one-30; then lab_virsh destroy one-30 >&2; fi
