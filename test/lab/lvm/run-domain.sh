#!/bin/bash
# run-domain.sh DOMAIN VOLUME...: runs on the lab's host. Activates the volumes, creates the domain and waits for its
# guest agent.
set -euo pipefail
domain=$1
shift
await() {
  local end=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$end" ] || return 1
    sleep 0.2
  done
}
bash /run/lab/run-libvirtd.sh
for volume; do lvchange -q -ay -K "$volume" 2>/dev/null; done
rm -f "/run/lab/$domain.console" "/run/lab/$domain.control"
virsh -q -c qemu:///system create "/run/lab/$domain.xml"
agent_answers() { virsh -q -c qemu:///system qemu-agent-command "$domain" --timeout 5 '{"execute":"guest-ping"}'; }
ready() { grep -qa 'guest: ready' "/run/lab/$domain.console"; }
if ! await 180 ready || ! await 60 agent_answers; then
  tail -n 3 "/run/lab/$domain.console" >&2
  exit 1
fi
