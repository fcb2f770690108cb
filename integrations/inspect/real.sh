#!/bin/sh
# real.sh USER: Inspect's own checks as a user of a real guest, on a machine that boots them.
set -eu
cd "$(dirname "$0")"
exec ../../tools/inspect/bin/python -m pytest -q -p no:cacheprovider tests/test_self_check.py -k "$1]" --durations=5
