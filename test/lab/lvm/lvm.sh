# shellcheck shell=bash
# shellcheck disable=SC2034 # some are used by those that source it
# The host of the LVM lab: user-mode Linux with a device-mapper of its own. Sourced after functions.sh.
FOLDER=$LAB/lvm
RUN=$FOLDER/run
TAP=onevmdump$NET
HOST=onevmdump-lvm
HOST_IP=10.213.$NET.2
OUR_IP=10.213.$NET.1
SSH_CONFIG=$FOLDER/ssh_config

lab_ssh() { ssh -F "$SSH_CONFIG" "root@$HOST" "$@" </dev/null; }

# The group, not the process: user-mode Linux has children, which outlive their parent's SIGKILL.
host_runs() {
  local group
  group=$(cat "$RUN/pid" 2>/dev/null) && [ -n "$group" ] || return 1
  ps -eo pgid=,stat=,args= | awk -v g="$group" '$1 == g && $2 !~ /^Z/ && /linux.uml/ {found = 1} END {exit !found}'
}
