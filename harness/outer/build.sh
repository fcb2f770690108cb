#!/bin/sh
# build.sh DIR: puts a Debian kernel and an initrd into DIR that together can host smolvm guests.
# Needs busybox-static, cpio and kmod, and package lists that `apt-get update` has fetched.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
cd "$1"

package=$(apt-cache depends linux-image-amd64 | awk '$1 == "Depends:" { print $2; exit }')
if [ ! -d kernel ]; then
    apt-get download -qq "$package"
    dpkg -x "$package"_*.deb kernel.part
    rm -f "$package"_*.deb
    mv kernel.part kernel
fi
release=$(ls kernel/lib/modules)
depmod -b kernel "$release"

rm -rf root
mkdir -p root/bin root/modules root/proc root/sys root/dev root/host root/top root/root
cp /bin/busybox root/bin/busybox
install -m 755 "$here/init" root/init
# Dependencies first, each once, in an order that insmod can follow.
for module in virtio_pci virtio_console 9pnet_virtio 9p overlay fuse virtio_blk ext4 kvm-amd tun dummy veth; do
    modprobe -d kernel -S "$release" --show-depends "$module"
done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' | while read -r file; do
    cp "$file" root/modules/
    basename "$file"
done > root/modules/order
(cd root && find . | cpio --quiet -o -H newc | gzip -1) > initrd.gz.part
cp "kernel/boot/vmlinuz-$release" vmlinuz
mv initrd.gz.part initrd.gz
rm -rf root
