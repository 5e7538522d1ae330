#!/bin/bash
# A host with LVM, as user-mode Linux: VM 20 on thick LVs of vg-one-110, VM 21 on thin ones of vg-one-111, VM 23 on LVs
# of TM lvm in vg-one-130 and vg-one-131 and on a block device.
# Reachable by ssh as root and oneadmin. start-vm.sh runs a VM on it. ONEVMDUMP_LAB_UDEV=1: with udevd.
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=../functions.sh
. "$HERE/../functions.sh"
# shellcheck source=lvm.sh
. "$HERE/lvm.sh"

# The machine's own / is the host's root, under a layer of packages that only the host needs.
unpack_host() {
  [ ! -e "$FOLDER/unpacked" ] || return 0
  rm -rf "$FOLDER/uml" "$FOLDER/layer"
  unpack "$FOLDER/uml" user-mode-linux
  unpack "$FOLDER/layer" lvm2 dmsetup libdevmapper1.02.1 dmeventd libdevmapper-event1.02.1 liblvm2cmd2.03 libaio1 \
    libedit2 libbsd0 libmd0 thin-provisioning-tools openssh-server openssh-sftp-server openssh-client libwrap0 udev \
    libudev1 kmod libkmod2 iproute2 libbpf1 libelf1 libmnl0 sudo
  local folder
  # A real /bin in the layer would hide the machine's link to /usr/bin.
  for folder in bin sbin lib lib64; do
    [ -d "$FOLDER/layer/$folder" ] || continue
    mkdir -p "$FOLDER/layer/usr/$folder"
    cp -a "$FOLDER/layer/$folder/." "$FOLDER/layer/usr/$folder/"
    rm -r "${FOLDER:?}/layer/$folder"
  done
  # As packaged it is an absolute link, which would lead to the machine's kmod.
  ln -sf kmod "$FOLDER/layer/usr/bin/insmod"
  rm -rf "$FOLDER/layer/usr/share/doc" "$FOLDER/layer/usr/share/man"
  touch "$FOLDER/unpacked"
}

make_keys() {
  local name
  mkdir -p "$FOLDER/keys" "$FOLDER/bin"
  chmod 700 "$FOLDER/keys"
  for name in user host; do
    [ -e "$FOLDER/keys/$name" ] || ssh-keygen -q -t ed25519 -N '' -C "onevmdump-lab-$name" -f "$FOLDER/keys/$name"
  done
  echo "$HOST_IP,$HOST $(cat "$FOLDER/keys/host.pub")" >"$FOLDER/keys/known_hosts"
  fill HOST="$HOST" HOST_IP="$HOST_IP" FOLDER="$FOLDER" <"$HERE/ssh_config" >"$SSH_CONFIG"
  printf '#!/bin/sh\nexec %s -F %s "$@"\n' "$(command -v ssh)" "$SSH_CONFIG" >"$FOLDER/bin/ssh"
  chmod 755 "$FOLDER/bin/ssh"
}

make_network() {
  [ -c /dev/net/tun ] || { mkdir -p /dev/net && mknod /dev/net/tun c 10 200; }
  ip link show "$TAP" >/dev/null 2>&1 || ip tuntap add dev "$TAP" mode tap
  ip addr replace "$OUR_IP/24" dev "$TAP"
  ip link set "$TAP" up
}

ready_or_dead() { grep -q '^lab: ready' "$RUN/console" || ! host_runs; }

boot() {
  mkdir -p "$RUN"
  # Emptied first: an old line must not be taken for this start's.
  : >"$RUN/console"
  rm -f "$RUN"/disk.*
  truncate -s 1536M "$RUN/disk.a" "$RUN/disk.b"
  truncate -s 1024M "$RUN/disk.c" "$RUN/disk.d"
  truncate -s 16M "$RUN/disk.e"
  mkdir -p "$LAB/libvirt/guest"
  setsid "$FOLDER/uml/usr/bin/linux.uml" mem=1024M umid=lvm uml_dir="$RUN" rootfstype=hostfs rootflags=/ ro \
    init="$HERE/uml-init" quiet con=null con0=null,fd:1 ssl=null ubda="$RUN/disk.a" ubdb="$RUN/disk.b" \
    ubdc="$RUN/disk.c" ubdd="$RUN/disk.d" ubde="$RUN/disk.e" \
    "vec0:transport=tap,ifname=$TAP,depth=128,gro=1" \
    LAB_FOLDER="$FOLDER" LAB_INIT="$HERE/uml-init" LAB_NAME="$HOST" LAB_IP="$HOST_IP" LAB_GATEWAY="$OUR_IP" \
    LAB_UDEV="${ONEVMDUMP_LAB_UDEV:-0}" LAB_SHARE="$LAB/libvirt/guest" </dev/null >"$RUN/console" 2>&1 &
  echo $! >"$RUN/pid"
  await 90 ready_or_dead || true
  grep -q '^lab: ready' "$RUN/console" || die "the host does not come up: $(tail -n 5 "$RUN/console")"
}

# One connection for all: later ones take 0.06 s instead of 0.6 s. It also brings the guests' control ports here.
connect() {
  rm -f "$RUN"/one-*.control
  # Under load sshd may not answer in time at first.
  await 60 ssh -F "$SSH_CONFIG" -o ControlMaster=yes -o StreamLocalBindUnlink=yes -fN "root@$HOST" \
    -L "$RUN/one-20.control:/run/lab/one-20.control" -L "$RUN/one-21.control:/run/lab/one-21.control" \
    -L "$RUN/one-23.control:/run/lab/one-23.control" \
    </dev/null || die 'the host does not answer by ssh'
}

vm_xml() {
  local id=$1
  shift
  fill VM="$id" HOST="$HOST" "$@" <"$HERE/vm.xml"
}

started=no
if ! host_runs || ! lab_ssh true; then
  trap '[ $started = yes ] || bash "$HERE/down.sh"' EXIT
  bash "$HERE/down.sh"
  need iproute2 openssh-client procps
  unpack_host
  make_keys
  make_network
  boot
  connect
  ssh -F "$SSH_CONFIG" "root@$HOST" bash -s <"$HERE/make-disks.sh" >&2
  ssh -F "$SSH_CONFIG" "root@$HOST" bash -s <"$HERE/make-images.sh" >&2
  for state in 'running 3 3' 'poweroff 8 0'; do
    read -r word number lcm <<<"$state"
    vm_xml 20 STATE="$number" LCM_STATE="$lcm" SYSTEM_DS=110 THIN=NO >"$FOLDER/vm-20.$word.xml"
    vm_xml 21 STATE="$number" LCM_STATE="$lcm" SYSTEM_DS=111 THIN=YES >"$FOLDER/vm-21.$word.xml"
    fill STATE="$number" LCM_STATE="$lcm" HOST="$HOST" <"$HERE/vm-23.xml" >"$FOLDER/vm-23.$word.xml"
  done
  started=yes
fi
cat <<FACTS
started=$started
folder=$FOLDER
host=$HOST
ssh_config=$SSH_CONFIG
ssh_folder=$FOLDER/bin
device=$TAP
FACTS
