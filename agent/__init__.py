"""xen-host-agent: serves the XenAPI. Nothing in this package knows libvirt; the machine below is reached by ports."""

__version__ = "0.1.0"
"""The one place of the version; the distribution takes it from here."""
