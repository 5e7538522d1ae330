#!/usr/bin/env bash
# npm test: installs what is missing, builds, runs the quick tests, and exports and restores a VM on each real storage
# (test/lab: libvirt, LVM, Ceph), which needs root. At most eight minutes on a quiet machine with two cores.
# npm run test:all (run-tests.sh all): runs everything; also lints, checks types, and runs the sweeps (*.sweep.test.ts)
# and all of test/lab. Further arguments go to jest; with them, npm test only runs the quick tests. The last line counts
# the tests: N passed, N failed, N skipped.
set -euo pipefail
cd "$(dirname "$0")/.."

all=
name='test'
[[ ${1-} != all ]] || { all=yes && name=test:all && shift; }
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

# Bash makes programs in the background ignore Ctrl-C, so this script ends them.
end_beside() {
  [[ -z $beside ]] || kill "$beside" 2>/dev/null || true
}

# part NAME COMMAND...: runs a part of the script; the first part that fails ends it.
part() {
  printf '\n== %s\n' "$1"
  "${@:2}" || {
    printf '\n%s: %s failed\n' "$name" "$1" >&2
    exit 1
  }
}

dependencies() {
  [[ -f node_modules/.package-lock.json && ! package-lock.json -nt node_modules/.package-lock.json ]] ||
    npm ci --no-audit --no-fund
}

# Scripts are recognized by their first line. Files that they source end in .sh, and set variables for others
# (SC2034). SC2015: `a && b || die` is intended. Fixtures are recordings of others' work.
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

# tests NAME ARGUMENT...: becomes jest, which fails when a test failed.
tests() {
  exec node --experimental-vm-modules --disable-warning=ExperimentalWarning node_modules/jest/bin/jest.js \
    --passWithNoTests --json --outputFile="$results/$1" "${@:2}" >/dev/null
}

# lab_tests NAME ARGUMENT...: those of test/lab.
lab_tests() {
  tests "$1" --config test/lab/jest.config.js "${@:2}"
}

all_of_the_lab() {
  # User-mode Linux has one processor, and its tests wait for it most of the time. So the others run at the same time.
  lab_tests lvm "$@" --testMatch='**/test/lab/*lvm*.lab.ts' &
  beside=$!
  (lab_tests lab "$@" --testPathIgnorePatterns='lvm[^/]*$') || status=1
  wait "$beside" || status=1
  beside=
}

# One export and restore on each storage. Jest counts tests that were not chosen as skipped; count-tests.mjs does not.
round_trips() {
  local titles='on (files of TM qcow2|thick LVM volumes|Ceph) that is powered off has and restores'
  (lab_tests chosen-round-trips --testPathPatterns=contract- --testNamePattern="$titles") || status=1
}

part tools bash scripts/tools.sh test
part dependencies dependencies
part build npm run --silent build
if [[ -n $all ]]; then
  part lint npm run --silent lint
  part typecheck npm run --silent typecheck
  part shellcheck shell
fi

status=0
printf '\n== tests\n'
# Tests wait half of the time, so there is one worker more than the smallest machine has processors.
quick=(--maxWorkers=3)
# Sweeps try every place where something can go wrong, which takes minutes.
[[ -n $all || $# -gt 0 ]] || quick+=(--testPathIgnorePatterns='/node_modules/' --testPathIgnorePatterns='\.sweep\.test\.ts$')
(tests quick "${quick[@]}" "$@") || status=1
printf '\n== tests with real components\n'
if [[ -z $all ]] && (($# > 0)); then
  printf 'left out: only some tests were asked for\n'
elif [[ -z $all ]] && ((EUID != 0)); then
  printf 'left out: libvirt, LVM and Ceph can be started by root alone\n'
elif start_labs; then
  if [[ -n $all ]]; then all_of_the_lab "$@"; else round_trips; fi
else
  printf 'a lab does not start\n' >&2
  status=1
fi
printf '\n'
node scripts/count-tests.mjs "$results"/* || status=1
[[ $status == 0 ]]
