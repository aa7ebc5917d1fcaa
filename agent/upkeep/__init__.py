"""Keeping an installed agent well: copies of its state, a look over the host, store and libvirt compared."""
