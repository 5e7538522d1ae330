#!/bin/bash
# Ends VM 30 and VM 31, if they run.
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=../functions.sh
. "$HERE/../functions.sh"
# shellcheck source=../libvirt/libvirt.sh
. "$HERE/../libvirt/libvirt.sh"
for domain in one-30 one-31; do
  if domain_runs "$domain"; then lab_virsh destroy "$domain" >&2; fi
done
