#!/bin/sh
# real.sh USER: Inspect's own checks as a user of a real guest, on a machine that boots them. Under emulation a guest dies now
# and then, and every check after that fails: such a run shows nothing, and its status (75) has the harness try again.
set -eu
cd "$(dirname "$0")"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
status=0
../../tools/inspect/bin/python -m pytest -q -p no:cacheprovider tests/test_self_check.py -k "$1]" --durations=5 > "$log" 2>&1 || status=$?
cat "$log"
if [ "$status" != 0 ] && grep -q 'bottle inspect-[0-9a-f]* is not running' "$log"; then
    echo 'the guest died' >&2
    exit 75
fi
exit "$status"
