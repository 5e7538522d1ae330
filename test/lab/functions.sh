# shellcheck shell=bash
# What the labs' scripts share. Sourced.
LAB=${ONEVMDUMP_LAB:-/var/tmp/onevmdump-lab}
export DEBIAN_FRONTEND=noninteractive LC_ALL=C
# Root alone, without systemd in between: daemons are found here whatever the caller's PATH is.
export PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

say() { printf 'lab: %s\n' "$*" >&2; }

die() {
  say "$*"
  exit 1
}

# Labs beside others, in another $ONEVMDUMP_LAB, need a network and ports of their own.
NET=${ONEVMDUMP_LAB_NET:-1}
[[ $NET =~ ^[1-9][0-9]?$ ]] || die "ONEVMDUMP_LAB_NET must be a number from 1 to 99: $NET"

# Below a folder that everyone may write, the name could be someone else's.
make_state_folder() {
  [[ $LAB =~ ^/[A-Za-z0-9._/-]{1,60}$ ]] ||
    die "ONEVMDUMP_LAB must be a plain absolute path of at most 60 characters (sockets lie below it): $LAB"
  mkdir -p "$LAB"
  if [ ! -O "$LAB" ] || [ -L "$LAB" ]; then die "$LAB belongs to someone else"; fi
  chmod 755 "$LAB"
}

# need PACKAGE...: installs the Debian packages that are missing.
need() {
  local package missing=()
  for package; do
    dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2>/dev/null | grep -q '^.i' || missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  say "installs ${missing[*]}"
  refreshing install -y --no-install-recommends "${missing[@]}"
}

# unpack FOLDER PACKAGE...: unpacks Debian packages into a folder; nothing is installed.
# The downloads are kept; apt-get fetches again only what has a newer version.
unpack() {
  local folder=$1 package
  shift
  mkdir -p "$folder" "$LAB/debs"
  say "downloads $*"
  (cd "$LAB/debs" && refreshing download "$@")
  for package; do
    dpkg-deb -x "$(find "$LAB/debs" -name "${package}_*.deb" | sort -V | tail -n 1)" "$folder"
  done
}

# refreshing COMMAND...: apt-get, once more with fresh lists when those there are too old or missing.
refreshing() {
  quiet_apt "$@" && return
  say "apt-get $1 failed; once more with fresh lists"
  quiet_apt update
  quiet_apt "$@" || die "apt-get $1 failed: $(tail -n 3 "$LAB/apt.log" | xargs)"
}

quiet_apt() {
  apt-get -qq -o DPkg::Lock::Timeout=600 -o APT::Sandbox::User=root "$@" </dev/null >>"$LAB/apt.log" 2>&1
}

# alive PIDFILE PROGRAM: whether it runs. A zombie that nobody has waited for counts as gone.
alive() {
  local pid
  pid=$(cat "$1" 2>/dev/null) && [ -n "$pid" ] || return 1
  grep -q "^Name:[[:space:]]$2" "/proc/$pid/status" 2>/dev/null &&
    ! grep -q '^State:[[:space:]]Z' "/proc/$pid/status" 2>/dev/null
}

# stop PIDFILE PROGRAM: SIGTERM, SIGKILL after 10 s.
stop() {
  local signal try
  for signal in TERM KILL; do
    alive "$1" "$2" || break
    kill -s "$signal" "$(cat "$1")" 2>/dev/null || true
    for ((try = 0; try < 100; try++)); do
      alive "$1" "$2" || break
      sleep 0.1
    done
  done
  rm -f "$1"
}

# await SECONDS COMMAND...: runs it again and again until it succeeds.
await() {
  local end=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$end" ] || return 1
    sleep 0.1
  done
}

# fill NAME=VALUE... < template > file: puts values in place of @NAME@.
fill() {
  local text pair
  text=$(cat)
  for pair; do text=${text//@"${pair%%=*}"@/"${pair#*=}"}; done
  [[ ! $text =~ @[A-Z0-9_]+@ ]] || die "a template has no value for ${BASH_REMATCH[0]}"
  printf '%s\n' "$text"
}
