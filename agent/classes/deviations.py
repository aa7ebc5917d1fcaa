"""Where this build deviates from the references it serves, and why. The README prints it, and a test keeps it true.

A key is ``class.field``, ``class.message``, the code of an error, or ``enum name``; ``*`` stands for every class. A
field that deviates takes its getter along. Both references are meant: the original XenAPI 1.0 and today's xapi. Where
the two disagree, following the one is a deviation from the other, and is listed.
"""

from __future__ import annotations

from collections.abc import Mapping

DEVIATIONS: Mapping[str, str] = {
    # --- fields and messages
    "*.get_all_where": "xapi serves it without documenting it; get_all_records_where does the same and more",
    "VM.call_host_plugin": "needs pool-admin, as host.call_plugin does: plugins run as root",
    "VTPM.create": "takes a record, as every create of the original; xapi's prototype takes the machine and is_unique",
    "debug.uuid": "the original server has it, though its reference lists no field; get_by_uuid is of no use without",
    "event.snapshot": "event.from sends it beside the fields; it is the record of an object and no field with a getter",
    "host.get_log": "needs pool-operator: the host's log has more than a reader is to see",
    "secret.get_other_config": "needs pool-operator, as all else of a secret does",
    "session.last_active": "a datetime, as in xapi, since living clients read it so; the original has an int",
    "session.local_logout": "needs read-only, for whoever logged in by slave_local_login_with_password may log out",
    "task.progress": "a float from 0 to 1, as in xapi, since living clients read it so; the original counts percent",
    # --- words
    "enum vm_power_state": "the original's Crashed and Unknown are read and never sent: xapi's clients fail on them",
    # --- errors
    "CREATE_UNSPECIFIED_ATTRIBUTE": "the original server's answer to a record that lacks a field; xapi: INTERNAL_ERROR",
    "Fault": "what xapi answers to Async. before a message without such a form, though it is in no list of its codes",
    "MAP_DUPLICATE_KEY": "class, field, object and key, as in xapi; the original names the key and both values",
    "OPERATION_NOT_ALLOWED": "with the reason, as in xapi; the original has no parameters",
    "PERMISSION_DENIED": "with the reason, as in xapi; the original has no parameters",
    "SESSION_AUTHENTICATION_FAILED": "with user and reason, as xapi sends it; both references declare no parameters",
    "XENAPI_PLUGIN_EXCEPTION": "is never sent: it stands for the code and parameters that a plugin itself tells",
}
"""Why, by what deviates."""
