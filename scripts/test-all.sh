#!/usr/bin/env bash
# npm run test:all: everything that must hold. Installs what is missing, builds, checks, tests.
# Arguments go to jest. The last line counts the tests: N passed, N failed, N skipped.
set -euo pipefail
cd "$(dirname "$0")/.."

results=$(mktemp)
trap 'rm -f -- "$results"' EXIT

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

printf '\n== tests\n'
status=0
node --experimental-vm-modules --disable-warning=ExperimentalWarning node_modules/jest/bin/jest.js \
  --maxWorkers=2 --json --outputFile="$results" "$@" >/dev/null || status=$?
node scripts/count-tests.mjs "$results" || status=1
[[ $status == 0 ]]
