#!/bin/bash
# make-guest.sh FOLDER: vmlinuz and initrd of the lab's guest, from Debian packages. The guest runs in
# memory: busybox, the guest agent, and guest-init. It has no root disk, so all disks are free for data.
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=../functions.sh
. "$HERE/../functions.sh"
target=$1
# Only what the guest's disks, serial ports and agent need; the rest of the kernel is built in.
modules='virtio_pci virtio_blk virtio_console ata_piix ata_generic sr_mod ext4 isofs'

# What it was made from; a change makes it anew.
version=$(cat "$HERE/guest-init" "${BASH_SOURCE[0]}" | sha256sum)
[ "$(cat "$target/version" 2>/dev/null)" != "$version" ] || exit 0
need cpio
work=$(mktemp -d "$LAB/guest.XXXXXX")
trap 'rm -rf "$work"' EXIT
newest_kernel() { apt-cache depends linux-image-cloud-amd64 2>/dev/null | awk '/Depends: linux-image-[0-9]/ {print $2; exit}'; }
kernel=$(newest_kernel)
if [ -z "$kernel" ]; then
  refreshing update
  kernel=$(newest_kernel)
fi
unpack "$work/deb" "$kernel" qemu-guest-agent busybox-static

root=$work/root busybox=$work/deb/bin/busybox agent=$work/deb/usr/sbin/qemu-ga
mkdir -p "$root"/{bin,sbin,dev,proc,sys,run,tmp,disk/a,disk/b,disk/c,modules}
cp "$busybox" "$root/bin/"
for applet in $("$busybox" --list); do ln -s busybox "$root/bin/$applet" 2>/dev/null || true; done
cp "$agent" "$root/sbin/"
libraries=$(ldd "$agent")
! grep 'not found' <<<"$libraries" >&2 || die 'the guest agent needs a library that this machine does not have'
grep -o '/[^ ]*' <<<"$libraries" | while read -r library; do
  mkdir -p "$root$(dirname "$library")"
  cp -L "$library" "$root$library"
done

# modules.dep says "module: its dependencies", the first to load last.
release=$(basename "$work"/deb/lib/modules/*)
"$busybox" depmod -b "$work/deb" "$release"
for module in $modules; do
  grep -E "/$module\.ko:" "$work/deb/lib/modules/$release/modules.dep" || true
done | awk -F: '{n = split($2, needs, " "); for (i = n; i > 0; i--) print needs[i]; print $1}' |
  awk '!seen[$0]++' | while read -r file; do
  cp "$work/deb/lib/modules/$release/$file" "$root/modules/"
  basename "$file" >>"$root/modules/order"
done
install -m 755 "$HERE/guest-init" "$root/init"
mkdir -p "$target"
# Not compressed: under TCG unpacking takes longer than loading.
(cd "$root" && find . -print0 | cpio --null -o -H newc --quiet) >"$target/initrd"
cp "$work"/deb/boot/vmlinuz-* "$target/vmlinuz"
echo "$version" >"$target/version"
