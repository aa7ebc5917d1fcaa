#!/usr/bin/env bash
# Makes the tiny guest of the lab: an initramfs of busybox, the front ends' modules and the commands in guest/.
#
#   guest.sh ROOT KERNEL
#
# ROOT is dom0's unpacked root, KERNEL the version of the kernel in it, which the guest runs too. Leaves in
# ROOT/var/lib/lab, where vmlinuz already is:
#   guest.cpio.gz   the initramfs
#   pygrub.img      a disk with kernel, initramfs and a GRUB menu, to be booted by pygrub
set -euo pipefail

here=$(dirname "$(readlink -f "$0")")
root=$(readlink -f "$1") kernel=$2
lab=$root/var/lib/lab
guest=$(mktemp -d)
trap 'rm -rf "$guest" "$guest.disk"' EXIT

tar -C "$here/guest" --owner=0 --group=0 --mode=a+rX -cf - . | tar -C "$guest" -xf -
mkdir -p "$guest"/{dev,proc,sys,run,tmp,etc,lib/modules}
cp "$root/bin/busybox" "$guest/bin/busybox"
while read -r applet; do
    [ -e "$guest/bin/$applet" ] || ln -s busybox "$guest/bin/$applet"
done < <("$guest/bin/busybox" --list)

# Modules and what they need, in the order to load them: first what every guest has, then, for HVM, the CD drive.
# The kernel itself brings the console, xenbus, ballooning and CPU hot plug.
list_modules() {
    local module line
    for module in "$@"; do
        modprobe --dirname "$root" --set-version "$kernel" --show-depends "$module"
    done | while read -r line; do
        [[ $line = insmod\ * ]] && basename "$(cut -d' ' -f2 <<<"$line")"
    done | awk '!seen[$0]++'
}
list_modules xen-blkfront xen-netfront xen-pcifront >"$guest/lib/modules/all"
list_modules ata_piix sr_mod >"$guest/lib/modules/hvm"
cat "$guest"/lib/modules/{all,hvm} | sort -u | while read -r file; do
    find "$root/lib/modules/$kernel/kernel" -name "$file" -exec cp {} "$guest/lib/modules/" \;
done

(cd "$guest" && find . | cpio --quiet -o -H newc -R 0:0) | gzip -1 >"$lab/guest.cpio.gz"

mkdir -p "$guest.disk/boot/grub"
cp "$lab/vmlinuz" "$lab/guest.cpio.gz" "$guest.disk/boot/"
cat >"$guest.disk/boot/grub/grub.cfg" <<'MENU'
set default=0
set timeout=0
menuentry 'guest' {
    linux /boot/vmlinuz console=hvc0 quiet
    initrd /boot/guest.cpio.gz
}
MENU
mkfs.ext4 -q -F -L guest -m 0 -O ^metadata_csum,^64bit,^orphan_file -d "$guest.disk" "$lab/pygrub.img" 32M 2>/dev/null ||
    mkfs.ext4 -q -F -L guest -m 0 -O ^metadata_csum,^64bit -d "$guest.disk" "$lab/pygrub.img" 32M
