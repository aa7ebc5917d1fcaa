"""The class SM: a type of storage that this host knows. What it can, the driver says."""

from __future__ import annotations

from collections.abc import Mapping

from agent.classes import checks
from agent.classes.enums import ImageFormat
from agent.model.entity import Entity, readwrite, runtime
from agent.roles import Role


class SM(Entity, role=Role.POOL_OPERATOR):
    """A type of storage: what SR.create takes as a type, and what can be done in such storage."""

    uuid: str = runtime("permanent name of this type")
    name_label: str = runtime("name for people", default="", kept=True)
    name_description: str = runtime("what the type is, and the keys of its device_config", default="", kept=True)
    type: str = runtime("word that SR.create takes", default="", kept=True)
    vendor: str = runtime("who made what serves the type", default="", kept=True)
    copyright: str = runtime("always empty: see the licence of libvirt", default="")
    version: str = runtime("always empty: host.software_version has that of libvirt", default="")
    required_api_version: str = runtime("always empty: the type is a part of the agent", default="")
    configuration: Mapping[str, str] = runtime(
        "always empty: name_description names the keys of device_config", default={}
    )
    capabilities: tuple[str, ...] = runtime("what can be done in such storage, in xapi's words", default=(), kept=True)
    features: Mapping[str, int] = runtime("the same, each with 1 for its version", default={}, kept=True)
    other_config: Mapping[str, str] = readwrite(
        "notes of clients, which the agent keeps and does not read", default={}, check=checks.modest
    )
    driver_filename: str = runtime("always empty: the type is no program of its own", default="")
    required_cluster_stack: tuple[str, ...] = runtime("always empty: none needs a cluster", default=())
    supported_image_formats: tuple[ImageFormat, ...] = runtime(
        "formats that disks can have in such storage", default=(), kept=True
    )
