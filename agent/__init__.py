"""xen-host-agent: serves the XenAPI. Nothing in this package knows libvirt; the machine below is reached by ports."""
