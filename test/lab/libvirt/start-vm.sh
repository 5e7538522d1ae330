#!/bin/bash
# start-vm.sh 8|9|10 [UID:GID]: creates the transient domain as OpenNebula does (virsh create) and waits until its
# guest agent and its writer answer. QEMU runs as that user; without it as root.
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=../functions.sh
. "$HERE/../functions.sh"
# shellcheck source=libvirt.sh
. "$HERE/libvirt.sh"
case $1 in
  8) uuid=$UUID_8 vm_folder=$DATASTORES/100/8 ;;
  9) uuid=$UUID_9 vm_folder=$DATASTORES/0/9 ;;
  10) uuid=$UUID_10 vm_folder=$DATASTORES/102/10 ;;
  *) die "there is no VM $1, only 8, 9 and 10" ;;
esac
owner=${2:-0:0} domain=one-$1 console=$FOLDER/one-$1.console

# From OpenNebula 6.8 on the domain has the resolved paths.
disks=()
for disk in 0 1 2 3 4; do disks+=("DISK_$disk=$(realpath "$vm_folder/disk.$disk")"); done
rm -f "$console" "$FOLDER/$domain.control"
install -m 600 -o "${owner%:*}" -g "${owner#*:}" /dev/null "$console"
fill DOMAIN="$domain" UUID="$uuid" GUEST="$FOLDER/guest" CONSOLE="$console" CONTROL="$FOLDER/$domain.control" \
  OWNER="+${owner/:/:+}" "${disks[@]}" <"$HERE/domain.xml" >"$FOLDER/$domain.xml"
lab_virsh create "$FOLDER/$domain.xml" >&2

agent_answers() { lab_virsh qemu-agent-command "$domain" --timeout 5 '{"execute":"guest-ping"}'; }
guest_ready() { grep -qa 'guest: ready' "$console"; }
if ! await 120 guest_ready || ! await 60 agent_answers; then
  die "the guest of $domain does not come up: $(tail -n 3 "$console" | tr -d '\r')"
fi
