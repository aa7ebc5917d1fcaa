"""Types of fields that refer to classes which this build does not have: there for clients, and always empty."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from agent.model.entity import Entity
from agent.model.types import Map, Ref, String

Blobs = Annotated[Mapping[str, Entity], Map(String(), Ref("blob", nullable=True))]
"""Binary pieces that xapi keeps with an object, by name."""
