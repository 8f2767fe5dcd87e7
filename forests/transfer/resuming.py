"""Whether an import may continue what an interrupted one has begun."""

from forests.models import Forest


def import_refusal(known: Forest, importer: str, sha256: str, dataset_split: str) -> str:
    """Return why an import cannot continue a forest of its name; empty where it can.

    `sha256` tells what is imported: a half imported forest takes nothing else, as the trees of one
    file would get the nodes of another.
    """
    if known.dataset_split != dataset_split:
        return (
            f"forest {known.name!r} holds the dataset split {known.dataset_split!r}, not "
            f"{dataset_split!r}: choose another --forest_name_suffix"
        )
    if not known.importer:
        return f"a forest named {known.name!r} is there: choose another --forest_name_suffix"
    if (known.importer, known.import_sha256) != (importer, sha256):
        return (
            f"forest {known.name!r} is partly imported from something else: run the "
            f"{known.importer} command that began it, or delete it first (delete_forest "
            f"--forest_name {known.name})"
        )
    return ""
