#!/bin/sh
# Installs the agent as a service, or takes it away again; what 'make install' and 'make uninstall' run.
#
#   DESTDIR   put before every path, for packages (default: empty)
#   PREFIX    where the program goes (default: /usr/local)
#   PYTHON    the interpreter that will run it, 3.11 or later (default: python3)
#   LIBVIRT   "system": the interpreter's own binding of libvirt is used; "build": pip builds one, which takes gcc and
#             libvirt's headers (default: system where it can be imported)
#   INIT      "systemd", "openrc" or "none" (default: openrc where it is there, else systemd)
#
# The program is a folder of its own, PREFIX/lib/xen-host-agent, with all it needs but Python and libvirt's binding, and a
# command that puts the folder first. It is no virtual environment: those have the paths of the machine that made them
# in them, and cannot be put together under DESTDIR. The binding is the system's where it can be, since that fits the
# system's libvirt and needs no compiler in dom0.
set -eu

here=$(dirname "$(readlink -f "$0")")
project=$(dirname "$here")
DESTDIR=${DESTDIR:-} PREFIX=${PREFIX:-/usr/local} PYTHON=${PYTHON:-python3}
# The interpreter itself, not a virtual environment's: those may go.
python=$("$PYTHON" -c 'import os, sys; print(os.path.realpath(getattr(sys, "_base_executable", sys.executable)))')
if [ -z "${INIT:-}" ]; then
    if [ -x /sbin/openrc-run ]; then INIT=openrc; else INIT=systemd; fi
fi
if [ -z "${LIBVIRT:-}" ]; then
    if "$python" -Ic 'import libvirt' 2>/dev/null; then LIBVIRT=system; else LIBVIRT=build; fi
fi

library=$DESTDIR$PREFIX/lib/xen-host-agent
command=$DESTDIR$PREFIX/bin/xen-host-agent
units=$DESTDIR$PREFIX/lib/systemd/system
etc=$DESTDIR/etc

install_library() {
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    "$python" -m venv "$work/pip"
    pip="$work/pip/bin/python -m pip install --quiet --disable-pip-version-check --root-user-action ignore --no-compile"
    "$python" - "$project/pyproject.toml" "$LIBVIRT" >"$work/needed" <<'PYTHON'
import sys, tomllib
with open(sys.argv[1], "rb") as file:
    needed = tomllib.load(file)["project"]["dependencies"]
print("\n".join(item for item in needed if sys.argv[2] == "build" or not item.startswith("libvirt-python")))
PYTHON
    # A copy, since building leaves folders in the source.
    mkdir "$work/source"
    tar -C "$project" -cf - agent drivers pyproject.toml README.md LICENSE | tar -C "$work/source" -xf -
    rm -rf "$library"
    mkdir -p "$library"
    $pip --target "$library" --requirement "$work/needed"
    $pip --target "$library" --no-deps --upgrade "$work/source"
    rm -rf "$library/bin"
    find "$library" -type d \( -name __pycache__ -o -name tests \) -prune -exec rm -rf {} +
    # Never looked at again whether it is stale: the service may not write here, and the folder is replaced as a whole.
    "$python" -m compileall -q --invalidation-mode unchecked-hash -s "$DESTDIR" -p / "$library"
    chmod -R u=rwX,go=rX "$library"
}

put() { # put FILE TARGET: with the paths of this installation in it
    install -d -m 755 "$(dirname "$2")"
    sed "s|/usr/bin/xen-host-agent|$PREFIX/bin/xen-host-agent|g" "$1" >"$2"
    chmod "${3:-644}" "$2"
}

install_all() {
    install_library
    install -d -m 755 "$(dirname "$command")"
    # -I: neither the environment nor the folder it is called in says what root runs.
    cat >"$command" <<LAUNCHER
#!$python -I
import sys

sys.path.insert(0, "$PREFIX/lib/xen-host-agent")
from agent.__main__ import main

sys.exit(main())
LAUNCHER
    chmod 755 "$command"
    # Manual pages and completion of the shells, from the program itself.
    (cd / && "$python" -I -c 'import runpy, sys
sys.path.insert(0, sys.argv.pop(1))
runpy.run_module("agent.manual", run_name="__main__", alter_sys=True)' \
        "$library" "$project/docs/config.toml" "$DESTDIR$PREFIX/share" >/dev/null)
    install -d -m 755 "$etc/xen-host-agent/conf.d"
    # An admin's own files stay.
    [ -e "$etc/xen-host-agent/config.toml" ] || put "$project/docs/config.toml" "$etc/xen-host-agent/config.toml"
    [ -e "$etc/pam.d/xen-host-agent" ] || put "$project/systemd/xen-host-agent.pam" "$etc/pam.d/xen-host-agent"
    case $INIT in
    systemd)
        for unit in "$project"/systemd/*.service "$project"/systemd/*.socket; do
            put "$unit" "$units/$(basename "$unit")"
        done
        put "$project/systemd/xen-host-agent.sysusers" "$DESTDIR$PREFIX/lib/sysusers.d/xen-host-agent.conf"
        put "$project/systemd/xen-host-agent.tmpfiles" "$DESTDIR$PREFIX/lib/tmpfiles.d/xen-host-agent.conf"
        ;;
    openrc)
        put "$project/openrc/xen-host-agent" "$etc/init.d/xen-host-agent" 755
        put "$project/openrc/xen-host-agent-guests" "$etc/init.d/xen-host-agent-guests" 755
        ;;
    none) ;;
    *) echo "INIT is systemd, openrc or none, not $INIT" >&2; exit 1 ;;
    esac
    [ -n "$DESTDIR" ] || next_steps
}

next_steps() {
    echo "Installed. An admin's next steps, as root:"
    case $INIT in
    systemd)
        echo "    systemd-sysusers && systemd-tmpfiles --create && systemctl daemon-reload"
        echo "    systemctl enable --now xen-host-agent.socket xen-host-agent-http.socket xen-host-agent.service"
        echo "    systemctl enable --now xen-host-agent-guests.service   # machines are shut down with the host"
        ;;
    openrc)
        echo "    rc-update add xen-host-agent default && rc-service xen-host-agent start"
        echo "    rc-update add xen-host-agent-guests default && rc-service xen-host-agent-guests start"
        ;;
    esac
    echo "    $PREFIX/bin/xen-host-agent user add root"
}

uninstall_all() {
    rm -rf "$library"
    rm -f "$command" "$units"/xen-host-agent.service "$units"/xen-host-agent.socket \
        "$units"/xen-host-agent-http.socket "$units"/xen-host-agent-https.socket \
        "$units"/xen-host-agent-guests.service \
        "$DESTDIR$PREFIX/lib/sysusers.d/xen-host-agent.conf" "$DESTDIR$PREFIX/lib/tmpfiles.d/xen-host-agent.conf" \
        "$etc/init.d/xen-host-agent" "$etc/init.d/xen-host-agent-guests" \
        "$DESTDIR$PREFIX"/share/man/man8/xen-host-agent.8* "$DESTDIR$PREFIX"/share/man/man5/xen-host-agent.toml.5* \
        "$DESTDIR$PREFIX/share/bash-completion/completions/xen-host-agent" \
        "$DESTDIR$PREFIX/share/zsh/site-functions/_xen-host-agent" \
        "$DESTDIR$PREFIX/share/fish/vendor_completions.d/xen-host-agent.fish"
    # What an admin may have changed, and what was asked for, is not ours to take.
    for kept in "$etc/xen-host-agent" "$etc/pam.d/xen-host-agent" "$DESTDIR/var/lib/xen-host-agent"; do
        [ ! -e "$kept" ] || echo "kept: $kept"
    done
}

case ${1:-} in
install) install_all ;;
uninstall) uninstall_all ;;
*) sed -n '2,11s/^# \{0,1\}//p' "$0"; echo "usage: $0 install|uninstall"; exit 2 ;;
esac
