#!/bin/bash
# start-vm.sh 30|31 [UID:GID]: runs a VM on its RBD images in the libvirt lab, which must run, and waits until its
# guest agent answers. QEMU runs as that user; without it as root.
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=../functions.sh
. "$HERE/../functions.sh"
# shellcheck source=../libvirt/libvirt.sh
. "$HERE/../libvirt/libvirt.sh"
GUEST=$FOLDER/guest
# shellcheck source=ceph.sh
. "$HERE/ceph.sh"
case $1 in
  30) vm_folder=$DATASTORES/140/30 context=disk.4 ;;
  31) vm_folder=$DATASTORES/142/31 context=disk.2 ;;
  *) die "there is no VM $1, only 30 and 31" ;;
esac
owner=${2:-0:0} domain=one-$1
ceph_runs || die 'the cluster does not run: lab.sh up ceph'
libvirtd_answers || die 'libvirtd does not run: lab.sh up libvirt'

fill SECRET="$SECRET" <"$HERE/secret.xml" >"$FOLDER/secret.xml"
lab_virsh secret-define "$FOLDER/secret.xml" >&2
lab_virsh secret-set-value "$SECRET" --file "$KEYFILE" >&2
console=$FOLDER/$domain.console
rm -f "$console" "$FOLDER/$domain.control"
install -m 600 -o "${owner%:*}" -g "${owner#*:}" /dev/null "$console"
fill SECRET="$SECRET" PORT="$PORT" CONF="$CONF" GUEST="$GUEST" CONSOLE="$console" CONTROL="$FOLDER/$domain.control" \
  OWNER="+${owner/:/:+}" CONTEXT="$vm_folder/$context" VOLATILE="$vm_folder/disk.1" <"$HERE/domain-$1.xml" >"$FOLDER/$domain.xml"
lab_virsh create "$FOLDER/$domain.xml" >&2
agent_answers() { lab_virsh qemu-agent-command "$domain" --timeout 5 '{"execute":"guest-ping"}'; }
guest_ready() { grep -qa 'guest: ready' "$console"; }
if ! await 120 guest_ready || ! await 60 agent_answers; then
  die "the guest of $domain does not come up: $(tail -n 3 "$console" | tr -d '\r')"
fi
