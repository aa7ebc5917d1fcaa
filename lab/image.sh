#!/usr/bin/env bash
# Makes the dom0 image of the lab from Debian packages and the agent's wheels.
#
#   image.sh OUTPUT WHEELS KEY.PUB
#
# OUTPUT is an empty folder and gets:
#   xen         the hypervisor, uncompressed as QEMU's multiboot loader wants it
#   vmlinux     the kernel of dom0, and of guests, as ELF
#   initrd.img  the initramfs of dom0
#   dom0.img    the root file system of dom0, sparse
#   lvm.img     an empty disk, sparse: /dev/vdb in dom0, for volume groups
#   packages    what dom0 consists of, with versions
#
# WHEELS is a folder of wheels with two lists beside them: agent.txt, what the agent needs, and tests.txt, what its
# tests need. Must be root, or root of a user namespace with a range of ids. No loop devices and no mounts (but for
# /dev/null in a namespace): mmdebstrap fills a folder and `mkfs.ext4 -d` makes a file system of it.
set -euo pipefail

here=$(dirname "$(readlink -f "$0")")
output=$(readlink -f "$1") wheels=$(readlink -f "$2") public_key=$(readlink -f "$3")
root_size=3G lvm_size=2G
cd "$output"
root=$output/rootfs
trap 'rm -rf "$root"' EXIT

say() { printf 'lab: %s\n' "$*"; }

# lay FOLDER [PATH...]: copies what the lab brings along over dom0's root, owned by root and readable whatever the
# checkout's owner and umask are.
lay() {
    local from=$1
    shift
    tar -C "$from" --owner=0 --group=0 --mode=u=rwX,go=rX -cf - "${@:-.}" | tar -C "$root" -xf -
}

packages=(
    systemd-sysv udev dbus kmod procps less
    linux-image-amd64 initramfs-tools zstd lz4
    xen-hypervisor-4.17-amd64 xen-utils-4.17 xenstore-utils
    qemu-system-xen                                                        # back end of disk images, HVM's devices
    libvirt-daemon libvirt-daemon-system libvirt-daemon-driver-xen libvirt-clients
    qemu-utils lvm2 parted dnsmasq-base iptables nftables dmidecode        # libvirt's drivers call these
    python3 python3-libvirt python3-venv
    openssh-server bridge-utils iproute2 iputils-ping netcat-openbsd busybox-static e2fsprogs
)

# ---- the packages

# This machine's own sources where they are of the release we need, else those that mmdebstrap knows itself.
sources=()
for file in ${XEN_HOST_AGENT_LAB_APT_SOURCES:-/etc/apt/sources.list.d/debian.sources /etc/apt/sources.list}; do
    if grep -qs bookworm "$file"; then
        sources=("$file")
        break
    fi
done
mode=root exclude=()
if ! grep -q '4294967295$' /proc/self/uid_map; then
    mode=unshare exclude=(--exclude='./dev/*')    # a namespace may not make devices
fi
mkdir "$root"
mmdebstrap --mode="$mode" --variant=minbase --format=tar \
    --aptopt='Apt::Install-Recommends "false"' \
    --aptopt='Acquire::Languages "none"' \
    --dpkgopt=force-unsafe-io \
    --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-include=/usr/share/doc/*/copyright' \
    --essential-hook="tar -C '$here/dom0' --owner=0 --group=0 -cf - etc/initramfs-tools/conf.d | tar -C \"\$1\" -xf -" \
    --include="$(IFS=,; echo "${packages[*]}")" \
    bookworm - "${sources[@]}" | tar -C "$root" "${exclude[@]}" -xf -
if [ ! -c "$root/dev/null" ]; then
    mkdir -p "$root/dev"
    for device in null urandom; do
        touch "$root/dev/$device"
        mount --bind "/dev/$device" "$root/dev/$device"
    done
    trap 'umount "$root"/dev/null "$root"/dev/urandom; rm -rf "$root"' EXIT
fi
# shellcheck disable=SC2016  # the fields are dpkg's
chroot "$root" dpkg-query -W -f '${Package} ${Version}\n' >packages
say "packages unpacked"

# ---- the configuration

lay "$here/dom0"
install -d -m 700 "$root/root/.ssh"
install -m 600 "$public_key" "$root/root/.ssh/authorized_keys"
sed -i 's/^root:[^:]*:/root::/' "$root/etc/shadow"    # for whoever sits at the serial console
: >"$root/etc/machine-id"
mkdir -p "$root/var/lib/lab" "$root/var/lib/libvirt/images"

# libvirt's Xen driver does not load where no CPU model fits the processor ("Cannot find suitable CPU model for given
# data", 9.0.0), and here none does: QEMU's software emulation has no "vme", and Xen hides "sep" on AMD. So qemu64 has
# to do without.
sed -i "/'sep'/d" "$root/usr/share/libvirt/cpu_map/x86_qemu64.xml"
# libvirt looks for the device model and hvmloader in /usr/lib/xen, Debian has them elsewhere.
ln -sfn xen-4.17 "$root/usr/lib/xen"
ln -sfn /usr/libexec/xen-qemu-system-i386 "$root/usr/lib/xen-4.17/bin/qemu-system-i386"

chroot "$root" systemctl --quiet enable systemd-networkd libvirtd.service lab-ready lab-sink.socket ssh
# They would only cost time under emulation.
chroot "$root" systemctl --quiet mask \
    apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service \
    fstrim.timer getty@tty1.service libvirt-guests.service lvm2-monitor.service man-db.timer \
    systemd-networkd-wait-online.service systemd-pstore.service systemd-random-seed.service \
    systemd-timesyncd.service systemd-update-utmp.service

# Modules for hardware that no machine here can have: fewer to look through at boot, a smaller image.
kernel=$(basename "$root"/lib/modules/*)
(
    cd "$root/lib/modules/$kernel/kernel"
    rm -rf sound drivers/{gpu,media,infiniband,iio,staging,isdn,comedi,hwmon,bluetooth} \
        drivers/net/{wireless,ethernet,can,usb,wwan} net/{wireless,mac80211,bluetooth,can}
)
rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/*.bin
chroot "$root" depmod "$kernel"
chroot "$root" update-initramfs -u -k "$kernel"
say "configured, kernel $kernel"

# ---- the agent's environment, but for the agent

cp -r "$wheels" "$root/var/lib/lab/wheels"
pip=(-m pip install --quiet --no-index --find-links /var/lib/lab/wheels --disable-pip-version-check
    --root-user-action ignore)
# libvirt's binding is Debian's: it fits libvirt to the letter, and dom0 needs no compiler.
chroot "$root" python3 -m venv --system-site-packages /opt/xen-host-agent
chroot "$root" /opt/xen-host-agent/bin/python "${pip[@]}" -r /var/lib/lab/wheels/agent.txt
# The tests' tools are kept apart, so that the agent never works only because of them.
chroot "$root" python3 -m venv /opt/tests
echo 'import site; site.addsitedir("/opt/xen-host-agent/lib/python3.11/site-packages")' \
    >"$root/opt/tests/lib/python3.11/site-packages/agent.pth"
echo /usr/lib/python3/dist-packages >>"$root/opt/tests/lib/python3.11/site-packages/agent.pth"
chroot "$root" /opt/tests/bin/python "${pip[@]}" -r /var/lib/lab/wheels/tests.txt
say "the agent's environment is ready"

# ---- what QEMU loads

zcat "$root"/boot/xen-4.17-amd64.gz >xen
cp "$root/boot/vmlinuz-$kernel" "$root/var/lib/lab/vmlinuz"
cp "$root/boot/initrd.img-$kernel" initrd.img
# Debian's bzImage is packed with xz; unpacking it costs Xen 7 s at boot and libxl 10 s for every guest. The ELF inside
# boots just as well, as PV and PVH; an HVM guest that is booted directly still wants the bzImage.
python3 - "$root/var/lib/lab/vmlinuz" vmlinux <<'PY'
import lzma, pathlib, struct, sys

image = pathlib.Path(sys.argv[1]).read_bytes()
setup_sectors = (image[0x1F1] or 4) + 1
offset, length = struct.unpack_from("<II", image, 0x248)
payload = image[setup_sectors * 512 + offset :][:length]
pathlib.Path(sys.argv[2]).write_bytes(lzma.LZMADecompressor().decompress(payload))
PY
cp --sparse=always vmlinux "$root/var/lib/lab/vmlinux"

# ---- the guest

"$here/guest.sh" "$root" "$kernel"
say "the guest is ready"

# ---- the disks

if mountpoint -q "$root/dev/null"; then
    umount "$root/dev/null" "$root/dev/urandom"
    rm "$root/dev/null" "$root/dev/urandom"
    trap 'rm -rf "$root"' EXIT
fi
mkfs.ext4 -q -F -L dom0 -m 0 -E lazy_itable_init=1,lazy_journal_init=1 -d "$root" dom0.img "$root_size"
truncate -s "$lvm_size" lvm.img
say "dom0.img: $(du -m dom0.img | cut -f1) MiB"
