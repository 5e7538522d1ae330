#!/usr/bin/env bash
# Installs the missing programs that the demo or the tests need, from Debian's packages.
# Usage: scripts/tools.sh demo|test
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin

# A program, and the Debian package that contains it.
demo=(
  'qemu-img qemu-utils'
  'qemu-nbd qemu-utils'
  'igzip isal'
  'zstd zstd'
  'mke2fs e2fsprogs'
  'debugfs e2fsprogs'
  'mkswap util-linux'
  'xorriso xorriso'
)
# Other tools check what the tests have made.
test=(
  "${demo[@]}"
  'pigz pigz'
  'nbdkit nbdkit'
  'bsdtar libarchive-tools'
  'restic restic'
  'python3 python3'
  'shellcheck shellcheck'
  'setpriv util-linux'
  'cmp diffutils'
  'file file'
  'virsh libvirt-clients'
  'lvs lvm2'
  'groff groff-base'
  'ssh openssh-client'
  'sshd openssh-server'
  'zsh zsh'
  'fish fish'
  'tcsh tcsh'
)

main() {
  case ${1-} in
    demo) needed=("${demo[@]}") ;;
    test) needed=("${test[@]}") ;;
    *) die 'usage: scripts/tools.sh demo|test' ;;
  esac
  find_missing
  ((${#programs[@]} > 0)) || return 0
  install_packages
  find_missing
  ((${#programs[@]} == 0)) || die "installed, but still not found on PATH: ${programs[*]}"
}

die() {
  printf 'tools.sh: %s\n' "$1" >&2
  exit 1
}

find_missing() {
  programs=() packages=()
  local line
  for line in "${needed[@]}"; do
    ! command -v "${line% *}" >/dev/null || continue
    programs+=("${line% *}")
    [[ " ${packages[*]} " == *" ${line#* } "* ]] || packages+=("${line#* }")
  done
}

install_packages() {
  as_root=(env)
  local options=(-q -o DPkg::Lock::Timeout=600)
  command -v apt-get >/dev/null || die "missing programs: ${programs[*]}. There is no apt-get here \
to install them; install what Debian has in: ${packages[*]}"
  if ((EUID != 0)); then
    command -v sudo >/dev/null ||
      die "missing programs: ${programs[*]}. As root run: apt-get install ${packages[*]}"
    as_root=(sudo env)
  fi
  as_root+=(DEBIAN_FRONTEND=noninteractive)
  printf 'Missing: %s. Installing %s\n' "${programs[*]}" "${packages[*]}"
  # If the package lists cannot be updated, the present lists may still be good enough.
  "${as_root[@]}" apt-get "${options[@]}" update </dev/null ||
    printf 'tools.sh: apt-get update failed; trying with the lists there are\n' >&2
  [[ " ${packages[*]} " != *' openssh-server '* ]] || keep_services_down
  "${as_root[@]}" apt-get "${options[@]}" install -y --no-install-recommends "${packages[@]}" </dev/null ||
    die "apt-get cannot install ${packages[*]}; its reason stands above"
}

# The tests start their own sshd. Debian would start one for the whole system, now and at every boot.
keep_services_down() {
  local policy=/usr/sbin/policy-rc.d
  [[ ! -e $policy ]] || return 0
  printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
  "${as_root[@]}" chmod 755 "$policy"
  trap 'let_services_up' EXIT
}

let_services_up() {
  "${as_root[@]}" rm -f /usr/sbin/policy-rc.d
  ! command -v update-rc.d >/dev/null || "${as_root[@]}" update-rc.d ssh disable || true
}

main "$@"
