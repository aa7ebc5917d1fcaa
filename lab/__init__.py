"""The lab: a real Xen with a Debian dom0 under QEMU's software emulation, on any machine. Not part of the agent."""
