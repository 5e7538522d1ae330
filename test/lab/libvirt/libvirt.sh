# shellcheck shell=bash
# shellcheck disable=SC2034 # some are used by those that source it
# A libvirtd of the lab's own, beside one that the machine may have. Sourced after functions.sh.
FOLDER=$LAB/libvirt
DATASTORES=$FOLDER/datastores
SMALL=$FOLDER/small
SOCKET=$FOLDER/private/run/libvirt/libvirt-sock
URI="qemu+unix:///system?socket=$SOCKET"
PIDFILE=$FOLDER/libvirtd.pid
UUID_8=8e1f3c3c-52a7-4c1b-9d70-6a54c2f00008
UUID_9=9b7d2a10-1f4e-4a58-8c33-0d2e7c500009
UUID_10=3c61f0a8-70b9-4c0e-a2f5-51d7e8400010

lab_virsh() { virsh -q -c "$URI" "$@"; }

libvirtd_answers() { [ -S "$SOCKET" ] && timeout 5 virsh -q -c "$URI" list >/dev/null 2>&1; }

domain_runs() { libvirtd_answers && [ "$(lab_virsh domstate "$1" 2>/dev/null)" = running ]; }

# libvirtd knows its folders by fixed names. In a mount namespace of its own they are ours, so nothing
# of the machine's own libvirt is seen or changed, and the mounts vanish with the last process in it.
start_libvirtd() {
  local path
  for path in etc/libvirt var/lib/libvirt var/cache/libvirt var/log/libvirt run/libvirt; do
    mkdir -p "/$path" "$FOLDER/private/$path"
  done
  mkdir -p "$FOLDER/private/var/log/libvirt/qemu"
  cp "$HERE/qemu.conf" "$HERE/libvirtd.conf" "$FOLDER/private/etc/libvirt/"
  # Debian's libvirtd insists on the user and group it is built for, even where others are configured.
  grep -v '^libvirt-qemu:' /etc/passwd >"$FOLDER/private/etc/passwd"
  grep -v '^libvirt-qemu:' /etc/group >"$FOLDER/private/etc/group"
  echo 'libvirt-qemu:x:64055:64055::/nonexistent:/usr/sbin/nologin' >>"$FOLDER/private/etc/passwd"
  echo 'libvirt-qemu:x:64055:' >>"$FOLDER/private/etc/group"
  # What is mounted later is not seen in there.
  mkdir -p "$SMALL"
  mountpoint -q "$SMALL" || mount -t tmpfs -o size=64m,mode=755 onevmdump-lab "$SMALL"
  unshare --mount --propagation private bash -e -s "$FOLDER" <<'NAMESPACE'
for path in etc/libvirt var/lib/libvirt var/cache/libvirt var/log/libvirt run/libvirt; do
  mount --bind "$1/private/$path" "/$path"
done
for file in passwd group; do mount --bind "$1/private/etc/$file" "/etc/$file"; done
exec libvirtd -d -p "$1/libvirtd.pid" </dev/null >/dev/null 2>&1
NAMESPACE
  await 20 libvirtd_answers || die "libvirtd does not answer: $(tail -n 3 "$FOLDER/private/var/log/libvirt/libvirtd.log")"
}

end_domains() {
  local name
  for name in $(lab_virsh list --name); do
    lab_virsh destroy "$name" >&2 || true
  done
}
