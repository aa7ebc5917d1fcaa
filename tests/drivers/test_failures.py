"""Every line of the table from libvirt's errors to XenAPI's."""

from __future__ import annotations

from dataclasses import dataclass, field

import libvirt
import pytest

from agent.errors import HostOffline, XenError
from drivers.failures import TABLE, explain, translated
from tests.drivers.fake_xen import closed, error

URI = "xen:///system"
WORDS = "libvirt's words"
CASES: dict[tuple[int | None, int | None], list[str]] = {
    (libvirt.VIR_ERR_AUTH_FAILED, None): ["PERMISSION_DENIED", WORDS],
    (libvirt.VIR_ERR_ACCESS_DENIED, None): ["PERMISSION_DENIED", WORDS],
    (libvirt.VIR_ERR_OPERATION_DENIED, None): ["PERMISSION_DENIED", WORDS],
    (libvirt.VIR_ERR_NO_CONNECT, None): ["HOST_OFFLINE", URI],
    (libvirt.VIR_ERR_INVALID_CONN, None): ["HOST_OFFLINE", URI],
    (None, libvirt.VIR_FROM_RPC): ["HOST_OFFLINE", URI],
    (libvirt.VIR_ERR_NO_DOMAIN, None): ["VM_BAD_POWER_STATE", "it", "running", "halted"],
    (libvirt.VIR_ERR_OPERATION_INVALID, None): ["OPERATION_NOT_ALLOWED", WORDS],
    (libvirt.VIR_ERR_OPERATION_TIMEOUT, None): [
        "OPERATION_NOT_ALLOWED",
        f"another operation on it is under way and does not end: {WORDS}",
    ],
    (libvirt.VIR_ERR_NO_SUPPORT, None): ["VALUE_NOT_SUPPORTED", "trigger", "nmi", WORDS],
    (libvirt.VIR_ERR_CONFIG_UNSUPPORTED, None): ["VALUE_NOT_SUPPORTED", "trigger", "nmi", WORDS],
    (libvirt.VIR_ERR_OPERATION_UNSUPPORTED, None): ["VALUE_NOT_SUPPORTED", "trigger", "nmi", WORDS],
    (libvirt.VIR_ERR_ARGUMENT_UNSUPPORTED, None): ["VALUE_NOT_SUPPORTED", "trigger", "nmi", WORDS],
    (libvirt.VIR_ERR_INVALID_ARG, None): ["VALUE_NOT_SUPPORTED", "trigger", "nmi", WORDS],
    (libvirt.VIR_ERR_NO_STORAGE_POOL, None): ["SR_HAS_NO_PBDS", "it"],
    (libvirt.VIR_ERR_NO_STORAGE_VOL, None): ["VDI_MISSING", "", "it"],
    (libvirt.VIR_ERR_STORAGE_VOL_EXIST, None): ["DB_UNIQUENESS_CONSTRAINT_VIOLATION", "VDI", "location", "nmi"],
    (None, libvirt.VIR_FROM_STORAGE): ["SR_BACKEND_FAILURE", "1", "", WORDS],
}


def test_every_line_of_the_table_is_tried_here() -> None:
    assert CASES.keys() == TABLE.keys()


@pytest.mark.parametrize("key", CASES, ids=str)
def test_a_libvirt_error_is_told_as_the_table_says(key: tuple[int | None, int | None]) -> None:
    code, domain = key
    refusal = error(code or libvirt.VIR_ERR_INTERNAL_ERROR, WORDS, domain or libvirt.VIR_FROM_LIBXL)
    with (
        pytest.raises(XenError) as told,
        translated("it", host=URI, field="trigger", value="nmi"),
    ):
        raise refusal
    assert told.value.description == CASES[key]
    assert told.value.__cause__ is refusal


def test_a_refusal_that_names_no_field_is_told_with_libvirts_words() -> None:
    assert explain(error(libvirt.VIR_ERR_NO_SUPPORT, WORDS)).description == [
        "OPERATION_NOT_ALLOWED",
        f"the hypervisor's library has no way to do this: {WORDS}",
    ]
    assert explain(error(libvirt.VIR_ERR_INVALID_ARG, WORDS)).description[0] == "INTERNAL_ERROR"


def test_an_error_that_nobody_knows_is_internal_and_keeps_words_and_code() -> None:
    told = explain(error(libvirt.VIR_ERR_XML_ERROR, WORDS, libvirt.VIR_FROM_DOMAIN)).description
    assert told[0] == "INTERNAL_ERROR"
    assert WORDS in told[1]
    assert str(libvirt.VIR_ERR_XML_ERROR) in told[1]


def test_an_error_without_code_is_internal() -> None:
    bare = libvirt.libvirtError("virDomainCreate() failed")
    bare.err = None
    told = explain(bare).description
    assert told[0] == "INTERNAL_ERROR"
    assert "virDomainCreate() failed" in told[1]


def test_xenapi_errors_and_all_else_pass_through() -> None:
    with pytest.raises(KeyError), translated("it"):
        raise KeyError
    with pytest.raises(XenError) as told, translated("it"):
        raise HostOffline(URI)
    assert told.value.description == ["HOST_OFFLINE", URI]


@dataclass
class Line:
    """A connection, dead or alive."""

    dead: bool
    uri: str = URI
    asked: list[bool] = field(default_factory=list)

    def suspect(self) -> bool:
        self.asked.append(self.dead)
        return self.dead


@pytest.mark.parametrize("refusal", [closed(), error(libvirt.VIR_ERR_INTERNAL_ERROR, "the cause is unknown", 0)])
def test_any_error_on_a_dead_connection_is_host_offline(refusal: libvirt.libvirtError) -> None:
    line = Line(dead=True)
    with pytest.raises(XenError) as told, translated("it", connection=line):
        raise refusal
    assert told.value.description == ["HOST_OFFLINE", URI]
    assert line.asked == [True]


def test_an_error_on_a_live_connection_is_told_by_the_table() -> None:
    with pytest.raises(XenError) as told, translated("it", connection=Line(dead=False)):
        raise error(libvirt.VIR_ERR_OPERATION_DENIED, WORDS)
    assert told.value.description == ["PERMISSION_DENIED", WORDS]
