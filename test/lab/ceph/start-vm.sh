#!/bin/bash
# start-vm.sh [30]: runs VM 30 on its RBD images in the libvirt lab, which must run, and waits until its
# guest agent answers.
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=../functions.sh
. "$HERE/../functions.sh"
# shellcheck source=../libvirt/libvirt.sh
. "$HERE/../libvirt/libvirt.sh"
GUEST=$FOLDER/guest
# shellcheck source=ceph.sh
. "$HERE/ceph.sh"
[ "${1:-30}" = 30 ] || die "there is no VM $1, only 30"
ceph_runs || die 'the cluster does not run: lab.sh up ceph'
libvirtd_answers || die 'libvirtd does not run: lab.sh up libvirt'

fill SECRET="$SECRET" <"$HERE/secret.xml" >"$FOLDER/secret.xml"
lab_virsh secret-define "$FOLDER/secret.xml" >&2
lab_virsh secret-set-value "$SECRET" --file "$KEYFILE" >&2
console=$FOLDER/one-30.console
rm -f "$console" "$FOLDER/one-30.control"
fill SECRET="$SECRET" CONF="$CONF" GUEST="$GUEST" CONSOLE="$console" CONTROL="$FOLDER/one-30.control" \
  CONTEXT="$DATASTORES/140/30/disk.4" <"$HERE/domain.xml" >"$FOLDER/one-30.xml"
lab_virsh create "$FOLDER/one-30.xml" >&2
agent_answers() { lab_virsh qemu-agent-command one-30 --timeout 5 '{"execute":"guest-ping"}'; }
guest_ready() { grep -qa 'guest: ready' "$console"; }
if ! await 120 guest_ready || ! await 60 agent_answers; then
  die "the guest of one-30 does not come up: $(tail -n 3 "$console" | tr -d '\r')"
fi
