"""Put an exported dataset on the Hugging Face hub."""

from pathlib import Path

from huggingface_hub import HfApi, constants, get_token
from huggingface_hub.errors import HFValidationError, HTTPError, OfflineModeIsEnabled

from common.errors import UserError
from common.storage_problems import first_line


class HubError(UserError):
    """The hub cannot be used; the message is one line with the remedy."""


def check_hub() -> None:
    """Refuse before anything is written where an upload cannot work.

    Raises:
        HubError: the hub is switched off, or there is no token.
    """
    if constants.HF_HUB_OFFLINE:
        raise HubError("--push_to_hub needs the hub, and HF_HUB_OFFLINE is set: unset it")
    if not get_token():
        raise HubError("--push_to_hub needs a token: set HF_TOKEN, or run `hf auth login`")


def push_to_hub(directory: Path, repository: str) -> str:
    """Upload a directory to a dataset repository, private where it is new; return its address.

    Raises:
        HubError: the hub refused or could not be reached.
    """
    api = HfApi()
    try:
        url = api.create_repo(repository, repo_type="dataset", private=True, exist_ok=True)
        api.upload_folder(repo_id=repository, folder_path=directory, repo_type="dataset")
    except (HTTPError, HFValidationError, OfflineModeIsEnabled, OSError) as error:
        reason = first_line(error)
        raise HubError(
            f"{repository} could not be pushed: {reason} ({directory} is complete: "
            f"`hf upload {repository} {directory} --repo-type dataset` sends it)"
        ) from error
    return str(url)
