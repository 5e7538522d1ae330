#!/usr/bin/env bash
# npm run test:all: everything that must hold. Installs what is missing, builds, checks, tests; the last tests
# start libvirt, LVM and Ceph (test/lab), for which they must be root. A lab that runs already is used and
# left running. Arguments go to jest. The last line counts the tests: N passed, N failed, N skipped.
set -euo pipefail
cd "$(dirname "$0")/.."

labs=(libvirt lvm ceph)
started=()
beside=
results=$(mktemp -d)
trap 'end_beside; end_labs; rm -rf -- "$results"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

start_labs() {
  local lab facts
  for lab in "${labs[@]}"; do
    printf 'lab %s\n' "$lab"
    facts=$(bash test/lab/lab.sh up "$lab") || return
    [[ $facts != *started=yes* ]] || started+=("$lab")
  done
}

end_labs() {
  ((${#started[@]} == 0)) || bash test/lab/lab.sh down "${started[@]}" || true
}

# Bash has what it runs in the background ignore Ctrl-C.
end_beside() {
  [[ -z $beside ]] || kill "$beside" 2>/dev/null || true
}

# NAME COMMAND...: the first part that fails ends it all.
part() {
  printf '\n== %s\n' "$1"
  "${@:2}" || {
    printf '\ntest:all: %s failed\n' "$1" >&2
    exit 1
  }
}

dependencies() {
  [[ -f node_modules/.package-lock.json && ! package-lock.json -nt node_modules/.package-lock.json ]] ||
    npm ci --no-audit --no-fund
}

# Scripts are known by their first line; what they source ends in .sh and sets variables for others
# (SC2034). SC2015: `a && b || die` is meant so. Fixtures are recordings of others' work.
shell() {
  local scripts=() sourced=() file line
  local check=(shellcheck --external-sources --source-path=SCRIPTDIR)
  while IFS= read -r file; do
    [[ -f $file ]] || continue
    IFS= read -r line <"$file" || true
    if [[ $line =~ ^'#!'.*[/\ ](ba)?sh$ ]]; then
      scripts+=("$file")
    elif [[ $file == *.sh ]]; then
      sourced+=("$file")
    fi
  done < <(git ls-files --cached --others --exclude-standard -- . ':!test/fixtures')
  "${check[@]}" --exclude=SC2015 -- "${scripts[@]}" || return
  ((${#sourced[@]} == 0)) || "${check[@]}" --exclude=SC2015,SC2034 -- "${sourced[@]}"
}

part tools bash scripts/tools.sh test
part dependencies dependencies
part build npm run --silent build
part lint npm run --silent lint
part typecheck npm run --silent typecheck
part shellcheck shell

# tests NAME ARGUMENT...: becomes jest, which fails when a test failed.
tests() {
  exec node --experimental-vm-modules --disable-warning=ExperimentalWarning node_modules/jest/bin/jest.js \
    --passWithNoTests --json --outputFile="$results/$1" "${@:2}" >/dev/null
}

status=0
printf '\n== tests\n'
(tests quick --maxWorkers=2 "$@") || status=1
printf '\n== tests with real components\n'
if start_labs; then
  # User-mode Linux has one processor, and its tests wait for it most of the time: the others run beside them.
  tests lvm --config test/lab/jest.config.js "$@" --testMatch='**/test/lab/*lvm*.lab.ts' &
  beside=$!
  (tests lab --config test/lab/jest.config.js "$@" --testPathIgnorePatterns='lvm[^/]*$') || status=1
  wait "$beside" || status=1
  beside=
else
  printf 'test:all: a lab does not start\n' >&2
  status=1
fi
printf '\n'
node scripts/count-tests.mjs "$results"/* || status=1
[[ $status == 0 ]]
