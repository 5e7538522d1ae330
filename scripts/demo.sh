#!/usr/bin/env bash
# npm run demo: sets up what is missing, builds, and shows an export and a restore on real disks.
set -euo pipefail
cd "$(dirname "$0")/.."
bash scripts/tools.sh demo
if [ ! -d node_modules ]; then npm ci; fi
npm run --silent build
node dist/test/demo/demo
