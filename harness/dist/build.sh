#!/bin/sh
# Builds what users install, in target/dist: a tarball, a .deb, a wheel, the wheel of bottle-sandbox, and a list of what
# they are built from. The same commit gives the same bytes in any folder (`make dist-reproducible`).
# PROFILE=dev packages the debug build that tests use, in target/dist-dev, to check that the packages install.
set -eu
cd "$(dirname "$0")/../.."
umask 022
export LC_ALL=C TZ=UTC

here=$PWD/harness/dist
profile=${PROFILE:-release}
cargo=${CARGO:-cargo}
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export SOURCE_DATE_EPOCH

say() { echo "dist: $*" >&2; }
give_up() { echo "dist: $1" >&2; exit 1; }

case $profile in
    release) dist=$PWD/target/dist ;;
    dev) dist=$PWD/target/dist-dev ;;
    *) give_up "there is no profile $profile: take release or dev" ;;
esac
stage=$dist/stage

# No program may contain a folder of this machine: the location in a panic reads /bottle/... or /registry/...
build() {
    if [ "$profile" = release ]; then
        $cargo fetch --quiet --locked
        separator=$(printf '\037')
        flags="--remap-path-prefix=$PWD=/bottle"
        for registry in "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*; do
            flags="$flags$separator--remap-path-prefix=$registry=/registry"
        done
        export CARGO_ENCODED_RUSTFLAGS="$flags"
        export CARGO_TARGET_DIR="$dist/build" CARGO_INCREMENTAL=0 CARGO_PROFILE_RELEASE_STRIP=symbols
    fi
    built=${CARGO_TARGET_DIR:-$PWD/target}
    say "building bottle and its helper ($profile)"
    $cargo rustc --quiet --locked --profile guest -p bottle-guest --bin bottle-guest -- -C target-feature=+crt-static
    $cargo build --quiet --locked --profile "$profile" -p bottle --bin bottle
    helper=$built/guest/bottle-guest
    case $profile in
        release) program=$built/release/bottle ;;
        dev) program=$built/debug/bottle ;;
    esac
}

# The contents of a package, laid out below a prefix such as /usr/local.
stage_files() {
    prefix=$stage/prefix
    rm -rf "$stage"
    install -D -m 755 "$program" "$prefix/bin/bottle"
    install -D -m 755 "$helper" "$prefix/bin/bottle-guest"
    mkdir -p "$prefix/share/man/man1"
    "$program" man --dir "$prefix/share/man/man1"
    for shell in bash zsh fish; do "$program" completions "$shell" > "$stage/completions.$shell"; done
    install -D -m 644 "$stage/completions.bash" "$prefix/share/bash-completion/completions/bottle"
    install -D -m 644 "$stage/completions.zsh" "$prefix/share/zsh/site-functions/_bottle"
    install -D -m 644 "$stage/completions.fish" "$prefix/share/fish/vendor_completions.d/bottle.fish"
    # `bottle init` names it in the file that it writes.
    install -D -m 644 docs/schema/bottle.schema.json "$prefix/share/bottle/bottle.schema.json"
    doc=$prefix/share/doc/bottle
    mkdir -p "$doc"
    install -m 644 README.md CHANGELOG.md SECURITY.md LICENSE "$doc"
    "$here/sbom.py" "$dist/bottle-$version.cdx.json" "$doc/THIRD-PARTY-LICENSES"
    install -m 644 "$dist/bottle-$version.cdx.json" "$doc/bottle.cdx.json"
    find "$prefix" -type f ! -perm 755 -exec chmod 644 {} +
}

# The newest version of the C library that the program needs.
glibc() {
    objdump -T "$program" | grep -oE 'GLIBC_[0-9.]+' | sort -Vu | tail -n 1 | cut -d _ -f 2
}

same_times() { find "$1" -exec touch --no-dereference --date "@$SOURCE_DATE_EPOCH" {} +; }

tarball() {
    name=bottle-$version-$target
    cp -a "$stage/prefix" "$stage/$name"
    same_times "$stage/$name"
    tar -C "$stage" --create --format=gnu --sort=name --owner=0 --group=0 --numeric-owner \
        --mtime="@$SOURCE_DATE_EPOCH" "$name" | gzip -9n > "$dist/$name.tar.gz"
    (cd "$dist" && sha256sum "$name.tar.gz" > "$name.tar.gz.sha256")
}

# The Debian packages of the libraries that the program needs.
debian_dependencies() {
    objdump -p "$program" | awk '$1 == "NEEDED" { print $2 }' | while read -r library; do
        case $library in
            libc.so.6 | libm.so.6 | ld-linux-*) echo "libc6 (>= $(glibc))" ;;
            libgcc_s.so.1) echo "libgcc-s1 (>= 4.2)" ;;
            *) give_up "bottle needs $library: say here which Debian package has it" ;;
        esac
    done | sort -u | paste -sd , | sed 's/,/, /g'
}

debian_package() {
    root=$stage/debian
    mkdir -p "$root/DEBIAN"
    cp -a "$stage/prefix" "$root/usr"
    mkdir -p "$root/usr/share/lintian/overrides"
    mv "$root/usr/share/zsh/site-functions" "$root/usr/share/zsh/vendor-completions"
    doc=$root/usr/share/doc/bottle
    rm "$doc/LICENSE"
    mv "$doc/CHANGELOG.md" "$doc/changelog"
    cat > "$doc/changelog.Debian" << EOF
bottle ($version-1) unstable; urgency=medium

  * Built from commit $(git rev-parse --short=12 HEAD); see changelog.gz for what is new.

 -- $maintainer  $(date --utc --date "@$SOURCE_DATE_EPOCH" --rfc-email)
EOF
    cat > "$doc/copyright" << EOF
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: bottle
Comment: The crates that bottle contains are under their own licences, in THIRD-PARTY-LICENSES.gz.

Files: *
Copyright: $(date --utc --date "@$SOURCE_DATE_EPOCH" +%Y) the contributors of bottle
License: Apache-2.0
 On Debian systems, the text of the Apache License, version 2.0, is in
 /usr/share/common-licenses/Apache-2.0.
EOF
    cat > "$root/usr/share/lintian/overrides/bottle" << 'EOF'
# bottle finds it beside itself, and runs it in guests of any distribution. It is no command for people.
bottle: statically-linked-binary [usr/bin/bottle-guest]
bottle: shared-library-lacks-prerequisites [usr/bin/bottle-guest]
bottle: no-manual-page [usr/bin/bottle-guest]
# This package is not uploaded to Debian.
bottle: initial-upload-closes-no-bugs [usr/share/doc/bottle/changelog.Debian.gz:1]
EOF
    gzip -9n "$root"/usr/share/man/man1/*.1 "$doc/changelog" "$doc/changelog.Debian" "$doc/THIRD-PARTY-LICENSES" "$doc/bottle.cdx.json"
    find "$root" -type f ! -perm 755 -exec chmod 644 {} +
    cat > "$root/DEBIAN/control" << EOF
Package: bottle
Version: $version-1
Architecture: $(dpkg --print-architecture)
Maintainer: $maintainer
Installed-Size: $(find "$root/usr" -type f -printf '%s\n' | awk '{ kib += int(($1 + 1023) / 1024) } END { print kib }')
Depends: $(debian_dependencies)
Recommends: bubblewrap, gvproxy
Suggests: git
Section: utils
Priority: optional
Description: run coding agents in microVMs that reach only what you chose
 bottle launches a coding agent inside a smolvm microVM whose only network is a
 handful of doors on the host: an egress proxy that refuses by default, a git
 gate that keeps what the agent pushes until you have looked, and a way for the
 agent to ask its operator. Nothing else has a path out of the guest.
 .
 smolvm is not part of Debian; "bottle doctor" says how to install it, and what
 else this machine lacks.
EOF
    (cd "$root" && find usr -type f -print0 | sort -z | xargs -0 md5sum) > "$root/DEBIAN/md5sums"
    same_times "$root"
    dpkg-deb --root-owner-group -Zxz --threads-max=1 --build "$root" "$dist" > /dev/null
}

# maturin builds the wheel around the same program. The helper, manuals and completions are its data.
wheel() {
    data=$stage/bottle_vm.data
    mkdir -p "$data/scripts" "$data/data"
    cp -a "$stage/prefix/bin/bottle-guest" "$data/scripts"
    cp -a "$stage/prefix/share" "$data/data"
    cp "$here/pyproject.toml" README.md LICENSE "$stage"
    same_times "$data"
    (cd "$stage" && maturin build --quiet --locked --profile "$profile" --out "$dist")
}

# The Python package for evaluation frameworks, from a copy: its build leaves files beside its sources.
sandbox_wheel() {
    cp -a integrations/inspect "$stage/sandbox"
    rm -rf "$stage/sandbox/build" "$stage"/sandbox/src/*.egg-info
    find "$stage/sandbox" -name __pycache__ -type d -prune -exec rm -rf {} +
    cp LICENSE "$stage/sandbox"
    same_times "$stage/sandbox"
    python3 -m pip --disable-pip-version-check wheel --quiet --no-deps --wheel-dir "$dist" "$stage/sandbox"
}

version=$($cargo metadata --locked --no-deps --format-version 1 |
    python3 -c 'import json, sys; print(next(p["version"] for p in json.load(sys.stdin)["packages"] if p["name"] == "bottle"))')
target=$(rustc -vV | sed -n 's/^host: //p')
maintainer="${DEBFULLNAME:-$(git log -1 --format=%an)} <${DEBEMAIL:-$(git log -1 --format=%ae)}>"
mkdir -p "$dist"
find "$dist" -maxdepth 1 -type f -delete
build
stage_files
tarball
debian_package
wheel
sandbox_wheel
(cd "$dist" && sha256sum ./*.deb ./*.json ./*.tar.gz ./*.whl | sed 's| \./| |' > SHA256SUMS)
say "the programs need glibc $(glibc) or newer"
ls -l "$dist" | awk 'NF > 8 && $1 !~ /^d/ { printf "%10d  %s\n", $5, $9 }'
