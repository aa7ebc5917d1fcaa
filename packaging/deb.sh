#!/bin/sh
# Builds build/xen-host-agent_VERSION_ARCH.deb with nothing of Debian's but dpkg-deb; what 'make deb' runs.
#
# Debian 12 has most of what the agent needs in releases that are too old (aiohttp 3.8, lxml 4.9, cryptography 38), so the
# package brings these along as wheels, in a folder that no other program sees. libvirt's binding is Debian's own
# python3-libvirt: it must fit Debian's libvirt. The wheels are of one minor release of Python and one architecture,
# and the package says so.
set -eu

here=$(dirname "$(readlink -f "$0")")
project=$(dirname "$here")
PYTHON=${PYTHON:-/usr/bin/python3}
build=$project/build
version=$("$PYTHON" -c 'import runpy, sys; print(runpy.run_path(sys.argv[1])["__version__"])' "$project/agent/__init__.py")
architecture=$(dpkg --print-architecture)
minor=$("$PYTHON" -c 'import sys; print(sys.version_info[1])')
root=$build/deb
target=$build/xen-host-agent_${version}_${architecture}.deb

rm -rf "$root"
mkdir -p "$root/DEBIAN"
DESTDIR=$root PREFIX=/usr INIT=systemd LIBVIRT=system PYTHON=$PYTHON "$here/install.sh" install
sed -i '1s|.*|#!/usr/bin/python3 -I|' "$root/usr/bin/xen-host-agent"
gzip -9n "$root"/usr/share/man/man?/*

documents=$root/usr/share/doc/xen-host-agent
mkdir -p "$documents"
cp "$project/README.md" "$project"/docs/*.md "$documents/"
cp "$here/debian/copyright" "$documents/copyright"
date=$(date -u -R -d "@${SOURCE_DATE_EPOCH:-$(date +%s)}")
printf 'xen-host-agent (%s) stable; urgency=medium\n\n  * This release.\n\n -- %s  %s\n' \
    "$version" "xen-host-agent <root@localhost>" "$date" | gzip -9n >"$documents/changelog.gz"
chmod -R u=rwX,go=rX "$documents"

for script in postinst prerm postrm; do
    install -m 755 "$here/debian/$script" "$root/DEBIAN/$script"
done
printf '%s\n' /etc/xen-host-agent/config.toml /etc/pam.d/xen-host-agent >"$root/DEBIAN/conffiles"
sed -e "s/@VERSION@/$version/" -e "s/@ARCHITECTURE@/$architecture/" -e "s/@MINOR@/$minor/" \
    -e "s/@NEXT@/$((minor + 1))/" -e "s/@SIZE@/$(du -sk --exclude=DEBIAN "$root" | cut -f1)/" \
    "$here/debian/control" >"$root/DEBIAN/control"
(cd "$root" && find . -path ./DEBIAN -prune -o -type f -print0 | sort -z | sed -z 's|^\./||' | xargs -0 md5sum) \
    >"$root/DEBIAN/md5sums"
dpkg-deb --root-owner-group -Zxz --build "$root" "$target" >/dev/null
rm -rf "$root"
echo "$target"
