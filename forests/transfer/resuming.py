"""Decide whether an import may continue an interrupted one."""

from forests.models import Forest


def import_refusal(known: Forest, importer: str, sha256: str, dataset_split: str) -> str:
    """Return why an import cannot continue the forest of its name; empty if it can.

    `sha256` identifies the imported data. A partly imported forest accepts only the same data,
    because otherwise the trees of one file would get the nodes of another.
    """
    if known.dataset_split != dataset_split:
        return (
            f"forest {known.name!r} holds the dataset split {known.dataset_split!r}, not "
            f"{dataset_split!r}: choose another --forest_name_suffix"
        )
    if not known.importer:
        return f"a forest named {known.name!r} exists already: choose another --forest_name_suffix"
    if (known.importer, known.import_sha256) != (importer, sha256):
        return (
            f"forest {known.name!r} is partly imported from something else: run the "
            f"{known.importer} command that began it, or delete it first (delete_forest "
            f"--forest_name {known.name})"
        )
    return ""
