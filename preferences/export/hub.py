"""Upload of exported datasets and bundles to the Hugging Face hub."""

from pathlib import Path
from typing import Literal, TypeAlias

from huggingface_hub import HfApi, constants, get_token
from huggingface_hub.errors import HFValidationError, HTTPError, OfflineModeIsEnabled

from common.errors import UserError
from common.storage_problems import first_line

Kind: TypeAlias = Literal["dataset", "space"]


class HubError(UserError):
    """The hub cannot be used. The message names the remedy on one line."""


def check_hub() -> None:
    """Check before an export that an upload can work.

    Raises:
        HubError: the hub is switched off, or there is no token.
    """
    if constants.HF_HUB_OFFLINE:
        raise HubError("--push_to_hub needs the hub, and HF_HUB_OFFLINE is set: unset it")
    if not get_token():
        raise HubError("--push_to_hub needs a token: set HF_TOKEN, or run `hf auth login`")


def push_to_hub(directory: Path, repository: str, kind: Kind = "dataset") -> str:
    """Upload a directory to a repository, and return its URL. New repositories are private.

    Raises:
        HubError: the hub refused the upload or could not be reached.
    """
    api = HfApi()
    try:
        url = api.create_repo(
            repository,
            repo_type=kind,
            private=True,
            exist_ok=True,
            space_sdk="static" if kind == "space" else None,
        )
        api.upload_folder(repo_id=repository, folder_path=directory, repo_type=kind)
    except (HTTPError, HFValidationError, OfflineModeIsEnabled, OSError) as error:
        reason = first_line(error)
        raise HubError(
            f"{repository} could not be pushed: {reason} ({directory} is complete: "
            f"upload it with `hf upload {repository} {directory} --repo-type {kind}`)"
        ) from error
    return str(url)
