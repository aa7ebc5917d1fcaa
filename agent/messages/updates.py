"""Updates and licences of xapi's hosts. The agent's host is kept up to date by its own package manager, and is free."""

from __future__ import annotations

from typing import Annotated, Any

from agent.call import Call
from agent.classes import Host, Pool
from agent.classes.enums import UpdateSyncFrequency
from agent.errors import (
    LicenseProcessingError,
    MessageRemoved,
    NoRepositoriesConfigured,
    NoRepositoryEnabled,
    OperationNotAllowed,
)
from agent.messages.pool import require_edition
from agent.model.messages import Kind, message
from agent.model.types import Ref, Set

Repository = Ref("Repository")
"""A class that the agent does not have: no reference is one to it."""


@message(Pool)
def add_repository(call: Call, self: Pool, value: Annotated[Any, Repository]) -> None:
    """Refused with HANDLE_INVALID, since there is no Repository, or else NO_REPOSITORIES_CONFIGURED."""
    raise NoRepositoriesConfigured


@message(Pool)
def remove_repository(call: Call, self: Pool, value: Annotated[Any, Repository]) -> None:
    """Refused with HANDLE_INVALID, since there is no Repository, or else NO_REPOSITORIES_CONFIGURED."""
    raise NoRepositoriesConfigured


@message(Pool)
def set_repositories(call: Call, self: Pool, value: Annotated[Any, Set(Repository)]) -> None:
    """Use no repositories. HANDLE_INVALID for any, since there is none."""
    if value:
        raise NoRepositoriesConfigured


@message(Pool)
def sync_updates(
    call: Call,
    self: Pool,
    force: bool,
    token: str = "",
    token_id: str = "",
    username: str = "",
    password: str = "",
) -> str:
    """Refused with NO_REPOSITORY_ENABLED: the host's own package manager looks for updates."""
    raise NoRepositoryEnabled


@message(Pool)
def check_update_readiness(call: Call, self: Pool, requires_reboot: bool) -> tuple[tuple[str, ...], ...]:
    """Refused with NO_REPOSITORY_ENABLED: there are no updates to be ready for."""
    raise NoRepositoryEnabled


@message(Pool)
def configure_repository_proxy(call: Call, self: Pool, url: str, username: str, password: str) -> None:
    """Refused with NO_REPOSITORIES_CONFIGURED: nothing is fetched through a proxy. Nothing of it is kept."""
    raise NoRepositoriesConfigured


@message(Pool)
def disable_repository_proxy(call: Call, self: Pool) -> None:
    """Fetch updates without a proxy. None are fetched, so nothing is to be done."""


@message(Pool)
def configure_update_sync(
    call: Call, self: Pool, update_sync_frequency: UpdateSyncFrequency, update_sync_day: int
) -> None:
    """Refused with NO_REPOSITORIES_CONFIGURED: the agent looks for no updates."""
    raise NoRepositoriesConfigured


@message(Pool)
def set_update_sync_enabled(call: Call, self: Pool, value: bool) -> None:
    """Refused with NO_REPOSITORIES_CONFIGURED, but for false: the agent looks for no updates."""
    if value:
        raise NoRepositoriesConfigured


@message(Host)
def apply_updates(call: Call, self: Host, hash: str) -> tuple[tuple[str, ...], ...]:
    """Refused with NO_REPOSITORY_ENABLED: updates are installed by the host's own package manager."""
    raise NoRepositoryEnabled


@message(Host)
def refresh_pack_info(call: Call, host: Host) -> None:
    """Refused with OPERATION_NOT_ALLOWED: the host's own package manager knows what is installed."""
    raise OperationNotAllowed("what is installed on the host, its own package manager knows")


@message(Host)
def apply_recommended_guidances(call: Call, self: Host) -> None:
    """Refused with MESSAGE_REMOVED, as by today's xapi."""
    raise MessageRemoved


# --- licences


@message(Host, has_async=False)
def apply_edition(call: Call, host: Host, edition: str, force: bool = False) -> None:
    """Refused with INVALID_EDITION, but for the edition that the host has: there are no others."""
    require_edition(host, edition)


@message(Host, has_async=True)
def license_apply(call: Call, host: Host, contents: str) -> None:
    """Refused with MESSAGE_REMOVED, as by today's xapi."""
    raise MessageRemoved


@message(Host)
def license_add(call: Call, host: Host, contents: str) -> None:
    """Refused with LICENSE_PROCESSING_ERROR: there are no licences."""
    raise LicenseProcessingError


@message(Host, kind=Kind.READ, has_async=True)
def license_remove(call: Call, host: Host) -> None:
    """Have no licence. There is none, so nothing is to be done."""
