#!/bin/sh
# Installs each package that `make dist` built into an empty place, and runs bottle from there with nothing
# else of this machine on PATH.
set -eu
cd "$(dirname "$0")/../.."
case ${PROFILE:-release} in
    dev) dist=$PWD/target/dist-dev ;;
    *) dist=$PWD/target/dist ;;
esac
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0
failed=0

# `bottle FOLDER ARGUMENTS...`: runs that folder's bottle in an empty project.
bottle() {
    folder=$1
    shift
    (cd "$work/project" && env -i PATH="$folder" HOME="$work/home" NO_COLOR=1 "$folder/bottle" "$@" 2>&1)
}

# Whether a folder's bottle knows its version, this machine, a plan and its schema.
works() {
    said=$(bottle "$1" --version) && [ "$said" = "bottle $version" ] || return 1
    # Status 69 means that this machine lacks something. The helper is in every package.
    said=$(bottle "$1" doctor) || [ $? = 69 ] || return 1
    echo "$said" | grep -qE '^ok +helper ' || return 1
    said=$(bottle "$1" plan) && echo "$said" | grep -qE '^door +pipelock ' || return 1
    # The file that it writes names the schema that was installed with it.
    said=$(bottle "$1" init && cat "$work/project/bottle.toml") && echo "$said" | grep -qxF "#:schema ${1%/*}/share/bottle/bottle.schema.json"
}

# `result PACKAGE FOLDER`: tries a package, and says how that went.
result() {
    rm -rf "$work/project" "$work/home"
    mkdir -p "$work/project" "$work/home"
    status=0
    works "$2" || status=$?
    tell "$1" "$status" "$said"
}

# `tell PACKAGE STATUS SAID`: says how a try went, and counts it.
tell() {
    if [ "$2" = 0 ]; then
        echo "dist-test: $1: ok"
        passed=$((passed + 1))
    else
        echo "dist-test: $1: failed; it said:"
        echo "$3"
        failed=$((failed + 1))
    fi
}

one() {
    [ $# = 1 ] && [ -f "$1" ] || { echo "dist-test: $dist has no such package, or several: run make dist" >&2; exit 1; }
    echo "$1"
}
tarball=$(one "$dist"/bottle-*.tar.gz)
deb=$(one "$dist"/bottle_*.deb)
wheel=$(one "$dist"/bottle_vm-*.whl)
version=$(dpkg-deb --field "$deb" Version)
version=${version%-*}

(cd "$dist" && sha256sum --check --quiet SHA256SUMS ./*.sha256)
mkdir "$work/tarball"
tar -C "$work/tarball" --strip-components=1 -xzf "$tarball"
result tarball "$work/tarball/bin"

dpkg-deb --extract "$deb" "$work/debian"
result deb "$work/debian/usr/bin"
# Whether this machine has the packages that it depends on.
apt-get --simulate --no-install-recommends install "$deb" > "$work/apt.log" 2>&1 ||
    { echo 'dist-test: deb: cannot be installed here:'; cat "$work/apt.log"; failed=$((failed + 1)); }

python3 -m venv --without-pip "$work/venv"
python3 -m pip --python "$work/venv/bin/python" --disable-pip-version-check install --quiet --no-compile "$wheel"
result wheel "$work/venv/bin"
# One command has to install the monitor, too: it is in the same environment, but not on PATH.
bottle "$work/venv/bin" doctor > "$work/doctor.log" 2>&1 || true
grep -q '^ok  *smolvm ' "$work/doctor.log" ||
    { echo "dist-test: wheel: bottle does not find its smolvm:"; cat "$work/doctor.log"; failed=$((failed + 1)); }

# Beside it, the package for evaluation frameworks: it finds this bottle, and Inspect finds it.
sandbox=$(one "$dist"/bottle_sandbox-*.whl)
python3 -m pip --python "$work/venv/bin/python" --disable-pip-version-check install --quiet --no-compile "$sandbox"
cat > "$work/sandbox.py" << 'EOF'
import subprocess, sys
from importlib.metadata import entry_points
from bottle_sandbox import BottleConfig, command

assert [entry.value for entry in entry_points(group="inspect_ai")] == ["bottle_sandbox.inspect"]
assert command.program() == sys.argv[1]
plan = [command.program(), "--config", str(BottleConfig(allow=("example.com",)).path()), "plan", "--json"]
assert "example.com" in subprocess.run(plan, capture_output=True, text=True, check=True).stdout
EOF
status=0
(cd "$work/project" && env -i PATH="$work/venv/bin" HOME="$work/home" "$work/venv/bin/python" "$work/sandbox.py" "$work/venv/bin/bottle") > "$work/sandbox.log" 2>&1 || status=$?
tell bottle-sandbox "$status" "$(cat "$work/sandbox.log")"

echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
