"""On the lab's real Xen. Only run when named, `pytest tests/xen`: a lab takes minutes to make, and half the machine."""
