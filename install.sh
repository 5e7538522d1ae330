#!/usr/bin/env bash
# Installs, upgrades and uninstalls onevmdump: docs/install.md.
# Works from an unpacked release (with dist/) and from a checkout, which it builds first.
# It is one file, so that a release needs nothing else to install itself.
set -euo pipefail
umask 022
unset CDPATH

source_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
least_node=20.19

# Options, as given.
user='' group='' root=${ONE_LOCATION:-} uninstall=no check=no tm_list=''
# What is decided from them: chown's argument, empty where ownership is left alone.
owner='' destdir='' version=''
# What this run installs, for the list of installed files.
files=() folders=()
# What the last run installed: path -> SHA-256.
declare -A installed=()
# A file that is being written and has not got its name yet.
unfinished=''
trap '[[ -z $unfinished ]] || rm -f -- "$unfinished"' EXIT

usage() {
  cat <<'END'
Usage: install.sh [-u USER] [-g GROUP] [-d DIR] [--tm LIST]
       install.sh --check [-u USER] [-d DIR]
       install.sh --uninstall [-d DIR]

-u USER      the user that runs OpenNebula; default: oneadmin, or yourself when you are not root
-g GROUP     its group; default: the user's own
-d DIR       a self-contained OpenNebula, as in its own install.sh: DIR/bin, DIR/etc, DIR/var;
             an absolute path; default: $ONE_LOCATION, and if that is not set either, the layout
             of OpenNebula's packages: /usr/bin, /etc/one, /var/lib/one
--tm LIST    TM drivers whose backup actions ours take the place of, such as qcow2,ssh,ceph,fs_lvm: backups
             into datastores of onevmdump then read disks directly, and all others are made as before by
             OpenNebula's own actions, which are kept; none puts these back; default: as last time
--check      changes nothing, and tells what is missing, what was changed since (by an upgrade of
             OpenNebula, for one), and what OpenNebula's user cannot use
--uninstall  removes what was installed; a changed configuration, journals and bundles stay
-h, --help   this text

The environment variable DESTDIR is put before every path, for making packages; owners are then
left alone unless -u or -g is given, and the tools of this machine are not looked at.

Exit codes: 0 done (missing tools are warned about), 1 failed or --check found something, 2 wrong
usage
END
}

main() {
  parse_options "$@"
  check_own_tools
  choose_layout
  read_list
  find_taken
  if [[ $uninstall == yes ]]; then
    remove_all
    return
  fi
  choose_owner
  choose_tms
  if [[ $check == yes ]]; then
    check_all
    return
  fi
  check_node
  build
  check_targets
  install_all
  [[ -n $destdir ]] || report_tools
}

say() { printf '%s\n' "$1"; }
warn() { printf 'WARNING: %s\n' "$1" >&2; }
die() {
  printf 'ERROR: install.sh: %s\n' "$1" >&2
  exit "${2:-1}"
}

parse_options() {
  while (($# > 0)); do
    case $1 in
      -u | -g | -d | --tm)
        [[ -n ${2:-} ]] || die "$1 needs a value (see install.sh --help)" 2
        case $1 in
          -u) user=$2 ;;
          -g) group=$2 ;;
          -d) root=$2 ;;
          --tm) tm_list=$2 ;;
        esac
        shift 2
        ;;
      --uninstall) uninstall=yes && shift ;;
      --check) check=yes && shift ;;
      -h | --help) usage && exit 0 ;;
      *) die "unknown option $1 (see install.sh --help)" 2 ;;
    esac
  done
  [[ -z $tm_list || $check$uninstall == nono ]] || die '--tm can only be used to install (see install.sh --help)' 2
}

# The programs that this script runs. They are checked first, because a step that fails when one is missing could go
# unnoticed, and leave an installation without its drivers.
check_own_tools() {
  local program missing=()
  for program in awk cat chmod chown cmp cut env find getent grep head id ln ls mkdir mktemp mv readlink rm rmdir \
    sha256sum sort stat tr; do
    command -v "$program" >/dev/null || missing+=("$program")
  done
  if ((EUID == 0)) && [[ $check == yes ]]; then command -v setpriv >/dev/null || missing+=(setpriv); fi
  ((${#missing[@]} == 0)) || die "not found on PATH, and needed to install: ${missing[*]}"
}

choose_layout() {
  destdir=${DESTDIR:-}
  [[ -z $destdir || $destdir == /* ]] || destdir=$PWD/$destdir
  destdir=${destdir%/}
  [[ $destdir$root != *$'\n'* ]] || die 'a folder with a line break in its name cannot be used' 2
  if [[ -n $root ]]; then
    [[ $root == /?* && /$root/ != */../* ]] ||
      die "the folder of -d or ONE_LOCATION must be an absolute path below /, not $root" 2
    root=${root%/}
    bin=$root/bin etc=$root/etc var=$root/var share=$root/share/onevmdump
    man=$root/share/man
    # A restore makes its own staging folder, in the datastores' SAFE_DIRS.
    staging=''
  else
    bin=/usr/bin etc=/etc/one var=/var/lib/one share=/usr/share/onevmdump
    man=/usr/share/man
    staging=/var/tmp/onevmdump
  fi
  state=$var/onevmdump remotes=$var/remotes
  stock_command=$bin/onevmdump.opennebula
  config=$etc/onevmdump.conf list=$share/installed-files
}

# ---- the list of installed files: `sha256sum --check` reads it; folders that were made are comments

read_list() {
  [[ -f $destdir$list ]] || return 0
  local line
  while IFS= read -r line; do
    case $line in
      '# folder '*) folders+=("${line#'# folder '}") ;;
      '#'*) ;;
      *)
        is_ours "${line:66}" || die "$list names ${line:66}, which onevmdump has not installed; correct the list first"
        installed[${line:66}]=${line:0:64}
        ;;
    esac
  done <"$destdir$list"
}

# Whether a path can have been installed by us: nothing else is ever removed.
is_ours() {
  case $1 in
    */../* | */..) return 1 ;;
    "$bin/onevmdump" | "$config" | "$config.new") ;;
    "$share"/onehook/*.onehook | "$share"/koffi.*) ;;
    "$man"/man1/onevmdump.1 | "$man"/man1/onevmdump-*.1 | "$man"/man5/onevmdump.conf.5) ;;
    "$remotes"/hooks/onevmdump/* | "$remotes"/tm/onevmdump/* | "$remotes"/datastore/onevmdump/*) ;;
    "$remotes"/tm/*) is_tm_action "$1" ;;
    *) return 1 ;;
  esac
}

write_list() {
  put <(list_content) "$list" 644
}

list_content() {
  say '# Installed by install.sh of onevmdump, which needs this list to upgrade and to uninstall.'
  local path
  for path in "${folders[@]}"; do
    [[ ! -d $destdir$path ]] || printf '# folder %s\n' "$path"
  done | awk '!seen[$0]++'
  printf '%s\n' "${files[@]}"
}

checksum() {
  local sum
  sum=$(sha256sum <"$1")
  printf '%s' "${sum%% *}"
}

# ---- checks before anything is changed

choose_owner() {
  [[ -z $destdir || -n $user || -n $group ]] || return 0
  if [[ -z $user ]]; then
    user=oneadmin
    ((EUID == 0)) || user=$(id -un)
  fi
  local uid gid
  uid=$(id -u -- "$user" 2>/dev/null) ||
    die "there is no user $user on this machine; name the user that runs OpenNebula with -u USER"
  gid=$(id -g -- "$user")
  if [[ -n $group ]]; then
    gid=$(getent group -- "$group" | cut -d: -f3) || true
    [[ -n $gid ]] || die "there is no group $group on this machine; see -g in install.sh --help"
  fi
  if ((EUID != 0)); then
    ((uid == EUID)) || die "only root can install for another user ($user); run it as root"
    [[ " $(id -G) " == *" $gid "* ]] || die "$user is not in the group $group; run it as root"
  fi
  owner=$uid:$gid
}

# An old Node is refused: every hook would fail with it. A missing one is reported at the end, like
# any missing tool: it may be installed afterwards.
check_node() {
  [[ -z $destdir ]] || return 0
  local found major minor
  command -v node >/dev/null || return 0
  found=$(node --version) || die "$(command -v node) does not run"
  IFS=. read -r major minor _ <<<"${found#v}"
  ((major > ${least_node%.*} || (major == ${least_node%.*} && minor >= ${least_node#*.}))) ||
    die "Node.js ${found#v} ($(command -v node)) is too old: onevmdump needs $least_node or newer. \
Debian 13 brings one (package nodejs); older Debian and Ubuntu releases get it from NodeSource's \
repository; RHEL 8 and 9 with 'dnf module install nodejs:22', RHEL 10 with 'dnf install nodejs'"
}

# A release has dist/. A checkout is built when dist/ is missing or older than its sources.
build() {
  local command=$source_dir/dist/bin/onevmdump stale=''
  if [[ -f $command && -f $source_dir/scripts/build.mjs ]]; then
    stale=$(cd "$source_dir" &&
      find bin hooks drivers lib scripts package.json -newer dist/bin/onevmdump -type f -print -quit 2>/dev/null) || true
  fi
  if [[ ! -f $command || -n $stale ]]; then
    if [[ ! -f $source_dir/scripts/build.mjs ]]; then
      die "$command is missing: this release is not complete; unpack it again"
    elif command -v npm >/dev/null && command -v node >/dev/null; then
      say "Building onevmdump in $source_dir"
      (cd "$source_dir" && npm ci --no-audit --no-fund && npm run build) >&2 ||
        die "cannot build onevmdump in $source_dir; the reason is above"
    elif [[ ! -f $command ]]; then
      die "$command is missing, and npm, which builds it, is not installed. Run 'npm ci && npm run \
build' on a machine that has Node.js $least_node and npm, and copy the folder; or take a release"
    else
      warn "dist/ is older than its sources ($stale), and there is no npm to build it again"
    fi
  fi
  [[ -f $command ]] || die "the build did not make $command"
  [[ -f $source_dir/etc/onevmdump.conf ]] || die "$source_dir/etc/onevmdump.conf is missing"
  if [[ -z $destdir ]] && command -v node >/dev/null; then
    version=$(node "$command" --version </dev/null) || die "$command does not run; the reason is above"
  fi
}

check_targets() {
  local path
  for path in "$bin" "$etc" "$share" "$man" "$remotes"/{hooks,tm,datastore}/onevmdump "$state"; do
    check_writable "$path"
  done
  # chown must not follow a link: it would change the owner of what the link points to.
  for path in "$remotes"/{hooks,tm,datastore}/onevmdump "$state" ${staging:+"$staging"}; do
    [[ ! -L $destdir$path ]] || die "$destdir$path is a link; make it a folder, or remove it"
  done
  check_staging
  check_tms
}

check_writable() {
  local path=$destdir$1
  until [[ -e $path || -L $path || -z $path ]]; do path=${path%/*}; done
  path=${path:-/}
  [[ -d $path ]] || die "cannot install into $destdir$1: $path is not a folder"
  [[ -w $path ]] || die "cannot install into $destdir$1: $(id -un) may not write to $path; \
run it as root, or install into a folder of your own with -d DIR"
}

# In /var/tmp any user can make the folder first, and could then change the disks that are restored there.
check_staging() {
  [[ -n $owner && -n $staging && -d $destdir$staging ]] || return 0
  local uid mode
  read -r uid mode <<<"$(stat -c '%u %a' -- "$destdir$staging")"
  (((uid == 0 || uid == ${owner%:*}) && (8#$mode & 2) == 0)) ||
    die "$destdir$staging, where restores write disks, can be changed by other users than $user \
(owner $(stat -c %U -- "$destdir$staging"), mode $mode); look into it, and remove it or mend that first"
}

# ---- installing

install_all() {
  [[ -z $destdir ]] || mkdir -p -- "$destdir"
  local kind path tm
  make_folder "${list%/*}" 755
  keep_stock_command
  put_listed "$source_dir/dist/bin/onevmdump" "$bin/onevmdump" 755
  put_config
  make_folder "$state" 700
  chmod 700 -- "$destdir$state"
  own "$state"
  if [[ -n $staging ]]; then
    make_folder "$staging" 755
    [[ $(stat -c %u -- "$destdir$staging") != 0 ]] || own "$staging"
  fi
  # The command has a copy of its own, because root may run it: the one of the hooks belongs to OpenNebula's user.
  for path in "$source_dir"/dist/hooks/koffi.*; do
    [[ ! -f $path ]] || put_listed "$path" "$share/${path##*/}" 644
  done
  for kind in hooks tm datastore; do put_scripts "$kind"; done
  for path in "$source_dir"/hooks/*.onehook; do
    [[ ! -f $path ]] || put_listed "$path" "$share/onehook/${path##*/}" 644
  done
  for path in "$source_dir"/dist/man/man[15]/*; do
    [[ ! -f $path ]] || put_listed "$path" "$man/${path#"$source_dir"/dist/man/}" 644
  done
  for tm in "${taken_tms[@]}"; do is_one_of "$tm" "${tms[@]}" || give_back_tm "$tm"; done
  for path in "$destdir$remotes"/tm/*/; do
    tm=$(tm_of "$path") || continue
    ! is_one_of "$tm" "${tms[@]}" || take_tm "$tm"
  done
  write_list
  for path in "${!installed[@]}"; do
    is_listed "$path" || remove_file "$path"
  done
  teach_downloader
  say "onevmdump ${version:+$version }is installed: $destdir$bin/onevmdump"
  say_hooks
  [[ ! -f $destdir$remotes/datastore/onevmdump/backup ]] || ! has_backups || say_datastore
  say_tms
}

# Says how to create the hooks, since the administrator decides which ones OpenNebula runs.
say_hooks() {
  is_listed "$remotes/hooks/onevmdump/export" || return 0
  say "To export VMs by hooks, set HOOK_DESTINATION in $destdir$config and create the hooks you want, one for each state."
  say 'If this machine sees the disks of the VMs:'
  list_hooks here
  say 'If only the hosts of the VMs see them (the hook then runs there, after onehost sync):'
  list_hooks on-host
}

# OpenNebula 6.4 has its own onevmdump, in Ruby. It is kept beside ours, and restored when ours is removed.
keep_stock_command() {
  local file=$destdir$bin/onevmdump
  is_there "$file" && ! is_our_command "$file" || return 0
  # First links the old command to a second name, then replaces it, so that a command exists at every moment.
  ln -PfT -- "$file" "$destdir$stock_command"
  say "Kept the previous onevmdump as $destdir$stock_command"
}

give_back_command() {
  local file=$destdir$bin/onevmdump stock=$destdir$stock_command
  is_there "$stock" || return 0
  # After an upgrade that was interrupted, the file may be our command of another version than the list has.
  unset "installed[$bin/onevmdump]"
  if is_there "$file" && ! is_our_command "$file"; then
    say "Kept $file, which is newer than what onevmdump took the place of"
    rm -f -- "$stock"
  else
    mv -fT -- "$stock" "$file"
    say "Restored the previous onevmdump: $file"
  fi
}

# Whether a file is our command, of any version.
is_our_command() {
  [[ -f $1 && ! -L $1 && $(head -n 1 -- "$1" | tr -d '\0') == '#!/usr/bin/env node' ]]
}

# WHERE: prints how the hooks that run there are created.
list_hooks() {
  local path where
  for path in "${files[@]}"; do
    path=${path:66} where=here
    [[ $path == "$share"/onehook/*.onehook ]] || continue
    [[ $path != *-on-host.onehook ]] || where=on-host
    [[ $where != "$1" ]] || printf '  onehook create %q\n' "$path"
  done
}

# The files that the build made for OpenNebula's hook manager and drivers.
put_scripts() {
  local kind=$1 from=$source_dir/dist/drivers/$1 name mode count=0
  [[ $kind != hooks ]] || from=$source_dir/dist/hooks
  make_folder "$remotes/$kind/onevmdump" 755
  [[ -d $from ]] || return 0
  while IFS= read -r -d '' name; do
    mode=644
    [[ ! -x $from/$name ]] || mode=755
    put_listed "$from/$name" "$remotes/$kind/onevmdump/$name" "$mode"
    count=$((count + 1))
  # Parts of programs are installed before the programs that load them. Their names change with their content, so a program
  # that starts in the meantime finds its own parts, old or new.
  done < <(cd "$from" && for name in -name '! -name'; do
    # shellcheck disable=SC2086 # two words
    find . -type f $name 'part-*' -printf '%P\0' | sort -z
  done)
  ((count == 0)) || say "Installed $count files in $destdir$remotes/$kind/onevmdump"
}

# Never overwrites a configuration that somebody changed.
put_config() {
  local shipped=$source_dir/etc/onevmdump.conf current=$destdir$config
  if [[ -e $current || -L $current ]] && ! cmp -s -- "$shipped" "$current"; then
    if [[ -L $current || ! -f $current || -z ${installed[$config]:-} ||
      $(checksum "$current") != "${installed[$config]}" ]]; then
      put_listed "$shipped" "$config.new" 644
      files+=("$(checksum "$shipped")  $config")
      say "Kept your $current; the one of this version is beside it: $current.new"
      return
    fi
    say "Updated $current, which was as installed"
  fi
  cmp -s -- "$shipped" "$current" || put "$shipped" "$config" 644
  files+=("$(checksum "$shipped")  $config")
}

put_listed() {
  put "$@"
  files+=("$(checksum "$1")  $2")
}

# SOURCE TARGET MODE: writes a new file beside the target and renames it, so that a hook that starts in the meantime gets the
# whole old or the whole new file.
put() {
  make_folder "${2%/*}" 755
  unfinished=$(mktemp "$destdir${2%/*}/.onevmdump.XXXXXXXX")
  cat -- "$1" >"$unfinished"
  chmod -- "$3" "$unfinished"
  own "${unfinished#"$destdir"}"
  mv -fT -- "$unfinished" "$destdir$2"
  unfinished=''
}

# PATH MODE: makes a folder and its parents. Existing folders are not changed.
make_folder() {
  [[ ! -d $destdir$1 ]] || return 0
  make_folder "${1%/*}" 755
  mkdir -m "$2" -- "$destdir$1"
  own "$1"
  folders+=("$1")
}

# Gives a file or folder to OpenNebula's user; in the packages' layout only what lies below its own.
own() {
  [[ -n $owner ]] || return 0
  case $1 in
    "$var" | "$var"/* | "$staging") ;;
    *) [[ -n $root && $1/ == "$root"/* ]] || return 0 ;;
  esac
  chown -h -- "$owner" "$destdir$1"
}

is_listed() {
  local line
  for line in "${files[@]}"; do [[ ${line:66} != "$1" ]] || return 0; done
  return 1
}

# ---- the backup datastore

downloader_begin='# >>> onevmdump: disks in bundles; install.sh of onevmdump adds these lines and removes them >>>'
downloader_end='# <<< onevmdump <<<'

downloader_lines() {
  cat <<END
$downloader_begin
onevmdump://*)
    command="'\${VAR_LOCATION}/remotes/datastore/onevmdump/stream_disk' '\$(esc_sq "\${FROM}")'"
    ;;
$downloader_end
END
}

# OpenNebula's downloader.sh with our lines before the last case of its list of URL kinds, or without
# them: the lines between the marks are left out first, whatever they are.
downloader_with() {
  awk -v lines="$1" -v begin="$downloader_begin" -v end="$downloader_end" '
    $0 == begin { ours = 1 }
    !ours && /^case "\$FROM" in$/ { inside = 1 }
    !ours && inside && /^\*\)$/ { inside = 0; if (lines != "") print lines }
    !ours { print }
    $0 == end { ours = 0 }
  ' "$destdir$remotes/datastore/downloader.sh"
}

# Adds the addresses of disks in bundles to downloader.sh. An upgrade of OpenNebula replaces the file, after which install.sh
# has to be run again; --check reports that.
teach_downloader() {
  local file=$remotes/datastore/downloader.sh wanted
  [[ -f $destdir$remotes/datastore/onevmdump/stream_disk ]] || return 0
  if [[ ! -f $destdir$file ]]; then
    [[ -n $destdir ]] || warn "there is no $file, so no OpenNebula here: run install.sh again when it is installed"
    return 0
  fi
  wanted=$(downloader_with "$(downloader_lines)"; printf x)
  if [[ $wanted != *"$downloader_begin"* ]]; then
    warn "$file is not as OpenNebula 6.4 to 7.4 have it (no list of URL kinds): restores from backup datastores will not work"
    return 0
  fi
  replace_downloader "${wanted%x}"
}

forget_downloader() {
  local file=$destdir$remotes/datastore/downloader.sh wanted
  [[ -f $file ]] && grep -qxF -- "$downloader_begin" "$file" || return 0
  wanted=$(downloader_with ''; printf x)
  replace_downloader "${wanted%x}"
}

# CONTENT: replaces the file by renaming a new one, with the owner and mode of the old one.
replace_downloader() {
  local file=$destdir$remotes/datastore/downloader.sh
  [[ $1 != "$(cat -- "$file"; printf x)" && $1 != "$(cat -- "$file")" ]] || return 0
  unfinished=$(mktemp "${file%/*}/.onevmdump.XXXXXXXX")
  printf '%s' "$1" >"$unfinished"
  chmod --reference="$file" -- "$unfinished"
  [[ $EUID != 0 ]] || chown --reference="$file" -- "$unfinished"
  mv -fT -- "$unfinished" "$file"
  unfinished=''
}

# OpenNebula makes backups from 6.6 on: before that it has no TM actions for them.
has_backups() {
  local action
  [[ -d $destdir$remotes/tm/ssh ]] || return 0
  for action in "$destdir$remotes"/tm/*/{prebackup,stock.prebackup}; do
    [[ $action == */tm/onevmdump/* ]] || ! is_there "$action" || return 0
  done
  return 1
}

say_datastore() {
  cat <<END
To back up VMs into a datastore of onevmdump, once:
  in $destdir$etc/oned.conf add ,onevmdump to the list behind -d in DATASTORE_MAD, and the line
    DS_MAD_CONF = [ NAME = "onevmdump", REQUIRED_ATTRS = "", PERSISTENT_ONLY = "NO" ]
  then restart oned, and create the datastore:
    printf '%s\n' NAME=onevmdump TYPE=BACKUP_DS DS_MAD=onevmdump TM_MAD=- >/tmp/onevmdump.ds
    onedatastore create /tmp/onevmdump.ds
END
}

# ---- our actions in the place of OpenNebula's own, for the TM drivers of --tm
#
#   tm/qcow2/prebackup          ours
#   tm/qcow2/stock.prebackup    OpenNebula's own, to which ours hands over (lib/backup/stock-action.ts)
#
# In the same folder, OpenNebula's own finds what it loads from ../lib. The end of its name stays: fs_lvm_ssh of
# 7.0 takes from it whether the VM runs, and backup_cancel of the other backup datastores finds it by it.

# The TM drivers whose disks onevmdump reads, a line each: made by the build.
known_tms_file=$source_dir/dist/drivers/tm-mads
tm_actions=(prebackup prebackup_live postbackup postbackup_live)
# The TM drivers that have our actions when this run begins, and those that will have them when it ends.
taken_tms=() tms=()

# Looks at the files, not at the list, because a run that was interrupted may not have written its list.
find_taken() {
  local folder tm action
  for folder in "$destdir$remotes"/tm/*/; do
    tm=$(tm_of "$folder") || continue
    for action in "${tm_actions[@]}"; do
      ! is_there "$destdir$remotes/tm/$tm/stock.$action" || is_one_of "$tm" "${taken_tms[@]}" || taken_tms+=("$tm")
    done
  done
}

choose_tms() {
  local names tm
  tms=("${taken_tms[@]}")
  [[ -n $tm_list ]] || return 0
  tms=()
  [[ $tm_list != none ]] || return 0
  IFS=, read -ra names <<<"$tm_list"
  ((${#names[@]} > 0)) || die "--tm $tm_list names no TM driver (see install.sh --help)" 2
  for tm in "${names[@]}"; do
    is_one_of "$tm" "${tms[@]}" || tms+=("$tm")
  done
  # A checkout that was not built yet has no list; it is asked again after the build.
  [[ ! -f $known_tms_file ]] || require_known_tms
}

is_one_of() {
  local word
  for word in "${@:2}"; do [[ $word != "$1" ]] || return 0; done
  return 1
}

# The TM driver of a path directly in its folder. Our own folder is not one.
tm_of() {
  local tm=${1%/*}
  tm=${tm##*/}
  [[ $tm =~ ^[A-Za-z0-9_-]+$ && $tm != onevmdump && ${1%/*} == "$destdir$remotes/tm/$tm" ]] && printf '%s' "$tm"
}

# Whether a path is that of an action that ours can replace.
is_tm_action() {
  tm_of "$destdir$1" >/dev/null && is_one_of "${1##*/}" "${tm_actions[@]}"
}

our_tm_action() {
  printf "#!/usr/bin/env node\nrequire('../onevmdump/%s');\n" "$1"
}

# Whether a file is ours, of any version.
is_our_tm_action() {
  [[ -f $1 && ! -L $1 ]] && grep -q "^require('\.\./onevmdump/" -- "$1"
}

is_there() { [[ -e $1 || -L $1 ]]; }

require_known_tms() {
  local tm known_tms
  mapfile -t known_tms <"$known_tms_file"
  for tm in "${tms[@]}"; do
    is_one_of "$tm" "${known_tms[@]}" || is_one_of "$tm" "${taken_tms[@]}" ||
      die "--tm: onevmdump does not read disks of a TM driver '$tm', only of ${known_tms[*]}" 2
  done
}

check_tms() {
  ((${#tms[@]} > 0)) || return 0
  [[ -f $source_dir/dist/drivers/tm/prebackup ]] ||
    die "this version brings no TM actions: use --tm none"
  [[ -f $known_tms_file ]] || die "$known_tms_file is missing: this release is not complete; unpack it again"
  require_known_tms
  local tm action folder stock
  for tm in "${tms[@]}"; do
    folder=$destdir$remotes/tm/$tm
    [[ ! -L $folder ]] || die "$folder is a link to $(readlink -- "$folder"); name that TM driver, not $tm"
    if [[ ! -d $folder ]]; then
      [[ -z $destdir ]] || die "$folder is missing: a package cannot take the place of files of OpenNebula's \
package; run install.sh --tm on the machine where both are installed"
      die "there is no TM driver $tm here: $folder is missing; leave it out of --tm"
    fi
    for action in "${tm_actions[@]}"; do
      stock=$folder/stock.$action
      if is_our_tm_action "$folder/$action"; then
        is_there "$stock" || die "$stock, OpenNebula's own action, is missing: install that package of \
OpenNebula again, then this"
      elif ! is_there "$folder/$action"; then
        is_there "$stock" || die "$folder/$action is missing: OpenNebula has backups from 6.6 on; \
leave $tm out of --tm"
      fi
    done
  done
  check_tm_links
}

# Refuses an action that is a link to another one, because replacing the other one would replace it as well.
check_tm_links() {
  local tm action link target
  for action in "${tm_actions[@]}"; do
    for link in "$destdir$remotes"/tm/*/"$action"; do
      [[ -L $link ]] || continue
      target=$(readlink -f -- "$link") || true
      for tm in "${tms[@]}"; do
        [[ $target != "$(readlink -f -- "$destdir$remotes/tm/$tm")"/* ]] ||
          die "$link is a link to $target, and would be changed with it: make it a file, or leave $tm out of --tm"
      done
    done
  done
}

take_tm() {
  local tm=$1 action file stock
  for action in "${tm_actions[@]}"; do
    file=$remotes/tm/$tm/$action stock=$remotes/tm/$tm/stock.$action
    if is_there "$destdir$file" && ! is_our_tm_action "$destdir$file"; then
      # After an upgrade of OpenNebula, an older copy is replaced. First links the action to its second name, then replaces
      # it, so that a backup finds an action at every moment.
      [[ $destdir$file -ef $destdir$stock ]] || ln -PfT -- "$destdir$file" "$destdir$stock"
    fi
    put <(our_tm_action "$action") "$file" 755
    files+=("$(checksum "$destdir$file")  $file")
  done
}

# The files are renamed back, so they keep mode, owner and times.
give_back_tm() {
  local tm=$1 action file stock
  for action in "${tm_actions[@]}"; do
    file=$destdir$remotes/tm/$tm/$action stock=$destdir$remotes/tm/$tm/stock.$action
    unset "installed[${file#"$destdir"}]"
    if is_there "$file" && ! is_our_tm_action "$file"; then
      say "Kept $file, which is newer than what onevmdump took the place of"
      rm -f -- "$stock"
    elif is_there "$stock"; then
      mv -fT -- "$stock" "$file"
    else
      rm -f -- "$file"
      warn "$stock, OpenNebula's own action, is missing: install that package of OpenNebula again"
    fi
  done
}

say_tms() {
  ((${#tms[@]} == 0)) || say "Backups of VMs on ${tms[*]} go through onevmdump when they go into a datastore of \
onevmdump; OpenNebula's own actions, which are kept beside ours ($destdir$remotes/tm/*/stock.*), make all others."
}

# ---- checking

problems=0
problem() {
  warn "$1"
  problems=$((problems + 1))
}

check_all() {
  if [[ ! -f $destdir$list ]]; then
    problem "onevmdump is not installed here: there is no $destdir$list"
  else
    check_installed
    check_downloader
    check_taken
    check_oned_conf
  fi
  ((problems == 0)) || die "$problems found; run install.sh again to repair what it can"
  say 'Everything is as it was installed, and OpenNebula can use it.'
}

check_installed() {
  local path
  for path in "${!installed[@]}"; do
    if [[ ! -f $destdir$path ]]; then
      problem "missing: $destdir$path"
    elif is_tm_action "$path" && ! is_our_tm_action "$destdir$path"; then
      problem "$destdir$path is not ours any more (an upgrade of OpenNebula replaced it): backups are staged"
    elif [[ $path != "$config" && $(checksum "$destdir$path") != "${installed[$path]}" ]]; then
      problem "changed since it was installed: $destdir$path"
    elif ! as_user test -r "$destdir$path"; then
      problem "$user cannot read $destdir$path"
    elif [[ -x $destdir$path ]] && ! as_user test -x "$destdir$path"; then
      problem "$user cannot run $destdir$path"
    fi
  done
  as_user test -w "$destdir$state" || problem "$user cannot write to $destdir$state"
  as_user node --version >/dev/null 2>&1 || problem "$user cannot run node, which runs everything of onevmdump"
}

check_downloader() {
  local file=$destdir$remotes/datastore/downloader.sh
  [[ -n ${installed[$remotes/datastore/onevmdump/stream_disk]:-} ]] || return 0
  if [[ ! -f $file ]]; then
    problem "there is no $file: OpenNebula is not installed here"
  elif [[ $(downloader_with "$(downloader_lines)") != "$(cat -- "$file")" ]]; then
    problem "$file does not know disks in bundles (an upgrade of OpenNebula replaced it): restores from backup datastores fail"
  elif ! as_user test -x "$file"; then
    problem "$user cannot run $file"
  fi
}

check_taken() {
  local tm action stock
  for tm in "${taken_tms[@]}"; do
    for action in "${tm_actions[@]}"; do
      stock=$destdir$remotes/tm/$tm/stock.$action
      as_user test -x "$stock" ||
        problem "$stock, OpenNebula's own action, is missing or $user cannot run it: other backups fail"
    done
  done
}

check_oned_conf() {
  local file=$destdir$etc/oned.conf
  [[ -n ${installed[$remotes/datastore/onevmdump/backup]:-} ]] && has_backups || return 0
  if [[ ! -r $file ]]; then
    problem "cannot read $file"
    return
  fi
  grep -Eq '^[^#]*-d [^ "]*\bonevmdump\b' "$file" ||
    problem "$file: the list behind -d in DATASTORE_MAD has no onevmdump"
  grep -v '^[[:space:]]*#' "$file" | tr -d '\n' | grep -Eq 'DS_MAD_CONF *= *\[[^]]*NAME *= *"onevmdump"' ||
    problem "$file has no DS_MAD_CONF for onevmdump"
}

# Runs a command as the user that runs OpenNebula, with the PATH that a service has.
as_user() {
  local path=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
  if ((EUID == 0)) && [[ -n $owner && ${owner%:*} != 0 ]]; then
    setpriv --reuid "${owner%:*}" --regid "${owner#*:}" --clear-groups env PATH="$path" "$@"
  else
    env PATH="$path" "$@"
  fi
}

# ---- uninstalling

remove_all() {
  [[ -f $destdir$list ]] || die "there is no list of installed files, $destdir$list: onevmdump is \
not installed here, or into another folder (see -d in install.sh --help)"
  local path tm index
  for path in "${!installed[@]}" "$list"; do
    [[ ! -d $destdir${path%/*} || -w $destdir${path%/*} ]] ||
      die "cannot remove $destdir$path: $(id -un) may not write to its folder; run it as root"
  done
  forget_downloader
  for tm in "${taken_tms[@]}"; do give_back_tm "$tm"; done
  give_back_command
  for path in "${!installed[@]}"; do remove_file "$path"; done
  rm -f -- "$destdir$list"
  # Runs make folders in it, which are empty when there is nothing to undo.
  [[ ! -d $destdir$state ]] || find "$destdir$state" -mindepth 1 -type d -empty -delete
  for ((index = ${#folders[@]} - 1; index >= 0; index--)); do
    rmdir -- "$destdir${folders[index]}" 2>/dev/null || true
  done
  if [[ -n $(ls -A -- "$destdir$state" 2>/dev/null) ]]; then
    say "Kept $destdir$state: it contains journals of runs, which say how to undo what killed runs left behind"
  fi
  say 'onevmdump is removed. Bundles were not touched.'
}

# Removes a file unless it was changed since it was installed.
remove_file() {
  local file=$destdir$1
  [[ -e $file || -L $file ]] || return 0
  if [[ -f $file && ! -L $file && $(checksum "$file") == "${installed[$1]}" ]]; then
    rm -f -- "$file"
  else
    say "Kept $file: it was changed since it was installed"
  fi
}

# ---- tools

# Kind, program, Debian package, RHEL package, what it is needed for.
tools() {
  cat <<END
required|node|nodejs ($least_node or newer)|nodejs ($least_node or newer)|runs onevmdump
required|qemu-img|qemu-utils|qemu-img|looks at disks and converts them
required|qemu-nbd|qemu-utils|qemu-img|reads disks
required|stat|coreutils|coreutils|GNU stat and head, for files on hosts
optional|igzip|isal|isa-l-tools|compresses six times as fast as gzip
optional|zstd|zstd|zstd|bundles in zstd format
optional|tar|tar|tar|looking into bundles by hand
optional|ssh|openssh-client|openssh-clients|VMs and bundles on other machines
optional|virsh|libvirt-clients|libvirt-client|running VMs
optional|lvs|lvm2|lvm2|disks on LVM
optional|rbd|ceph-common|ceph-common|disks on Ceph
END
}

report_tools() {
  local kind program debian rhel purpose line required='' optional=''
  while IFS='|' read -r kind program debian rhel purpose; do
    ! has_tool "$program" || continue
    line=$(printf '  %-9s %s (Debian, Ubuntu: %s; RHEL: %s)' "$program" "$purpose" "$debian" "$rhel")
    case $kind in
      required) required+=$'\n'$line ;;
      *) optional+=$'\n'$line ;;
    esac
  done < <(tools)
  [[ -z $optional ]] || say "Not installed on this machine, and only needed for some features:$optional"
  [[ -z $required ]] || warn "not installed, but onevmdump does not work without:$required"
  [[ -n $required ]] || say 'All required tools are installed.'
}

has_tool() {
  case $1 in
    stat) [[ $(stat --version 2>/dev/null) == *GNU* && $(head --version 2>/dev/null) == *GNU* ]] ;;
    # Administrators' tools, which are not on every user's PATH.
    lvs) PATH=$PATH:/usr/sbin:/sbin command -v "$1" >/dev/null ;;
    *) command -v "$1" >/dev/null ;;
  esac
}

main "$@"
