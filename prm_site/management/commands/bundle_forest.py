"""Command that writes a forest, or one tree, as HTML that needs no server."""

import os
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from common.commands import ProjectCommand, add_json_argument, positive_integer
from common.directories import check_output
from common.progress_bar import shown_progress
from common.storage_problems import first_line
from forests.forest_arguments import add_forest_argument, get_graded_forest
from forests.models import Forest
from forests.pages.saved.page_files import GENERATOR, Saving
from forests.pages.saved.tree_files import SECONDS_OF_A_FILE, tree_file
from forests.pages.tree_list import Order
from forests.storage.trees import read_tree
from preferences.export.hub import check_hub, push_to_hub
from prm_site.bundling.bundle import BundleRequest, output_of, write_bundle

_ORDERS = {order.replace(" ", "_"): order for order in Order}
_OF_A_BUNDLE = ("max_trees", "order", "max_pairs", "with_notes", "with_source", "push_to_hub")
"""Options that do not apply to a single tree."""
_HEAD = 2000


class Command(ProjectCommand):
    help = (
        "Write a forest as a folder of HTML pages with its trees, metrics and pairs, which opens "
        "in a browser without a server; or one tree as a single file."
    )
    examples = """
python manage.py bundle_forest --forest_name gsm8k_baseline-test-first --output bundles/first
python manage.py bundle_forest --forest_name gsm8k_baseline-test-first --max_trees 50 --order lowest_value --output bundles/hard
python manage.py bundle_forest --forest_name gsm8k_baseline-test-first --tree 3 --output tree-3.html
"""  # noqa: E501

    def add_arguments(self, parser: CommandParser) -> None:
        add_forest_argument(parser)
        parser.add_argument(
            "--output",
            type=Path,
            required=True,
            help="directory to write; with --tree the file to write",
        )
        parser.add_argument(
            "--overwrite", action="store_true", help="replace an earlier bundle, or file of a tree"
        )
        parser.add_argument(
            "--tree", type=int, metavar="INDEX", help="write only this tree, as a single file"
        )
        parser.add_argument(
            "--max_trees",
            type=positive_integer,
            default=200,
            help="most trees in the bundle (default: %(default)s)",
        )
        parser.add_argument(
            "--order",
            choices=_ORDERS,
            default="dataset_order",
            help="which trees come first (default: %(default)s)",
        )
        parser.add_argument(
            "--max_pairs",
            type=positive_integer,
            default=200,
            help="most pairs of each preference set (default: %(default)s)",
        )
        parser.add_argument(
            "--with_notes",
            action="store_true",
            help="include the notes of reviewers and labellers, without their names",
        )
        parser.add_argument(
            "--with_source", action="store_true", help="include the source of the config"
        )
        parser.add_argument(
            "--push_to_hub",
            metavar="REPO",
            help="also upload to this static Space of the Hugging Face hub",
        )
        add_json_argument(parser)

    def handle(self, *, forest_name: str, output: Path, overwrite: bool, **options: Any) -> None:
        forest = get_graded_forest(forest_name)
        try:
            if options["tree"] is not None:
                self._write_tree(forest, output, overwrite=overwrite, options=options)
            else:
                self._write_bundle(forest, output, overwrite=overwrite, options=options)
        except OSError as error:
            raise CommandError(
                f"{output} could not be written: {first_line(error)}; nothing is left behind"
            ) from error

    def _write_bundle(
        self, forest: Forest, output: Path, *, overwrite: bool, options: dict[str, Any]
    ) -> None:
        destination = output_of(output, overwrite=overwrite)
        check_output(destination)
        repository = options["push_to_hub"]
        if repository:
            check_hub()
        request = BundleRequest(
            forest=forest,
            max_trees=options["max_trees"],
            max_pairs=options["max_pairs"],
            order=_ORDERS[options["order"]],
            saving=Saving(options["with_notes"], options["with_source"]),
        )
        with shown_progress("trees", total=min(forest.num_trees, request.max_trees)) as report:
            manifest = write_bundle(request, destination, report)
        url = push_to_hub(output, repository, kind="space") if repository else None
        if options["json"]:
            self.show_json({"output": str(output), "url": url, **manifest})
            return
        self.stdout.write(f"output: {output}")
        if url:
            self.stdout.write(f"url: {url}")
        size = sum(file["bytes"] for file in manifest["files"].values())
        self.say(f"{manifest['trees']} trees, {len(manifest['files'])} files, {size:,} bytes")
        for what, number in manifest["left_out"].items():
            self.say(f"left out: {number:,} {what}; --max_{what} sets how many to write")
        self.say(f"open it: {output / 'index.html'}")

    def _write_tree(
        self, forest: Forest, output: Path, *, overwrite: bool, options: dict[str, Any]
    ) -> None:
        for name in _OF_A_BUNDLE:
            if options[name] != self.get_default(name):
                raise CommandError(
                    f"--{name} is for bundles: leave it out, or leave out --tree", returncode=2
                )
        index = options["tree"]
        if (stored := read_tree(forest, index)) is None:
            raise CommandError(
                f"forest {forest.name!r} has {forest.num_trees} trees and no tree {index}: the "
                "first one is tree 0"
            )
        _check_file(output, overwrite=overwrite)
        content = tree_file(forest, stored, seconds=SECONDS_OF_A_FILE).encode("utf-8", "replace")
        _write_file(output, content)
        if options["json"]:
            self.show_json({"output": str(output), "tree": index, "bytes": len(content)})
            return
        self.stdout.write(f"output: {output}")

    def get_default(self, name: str) -> Any:
        return self.create_parser("manage.py", "bundle_forest").get_default(name)


def _check_file(output: Path, *, overwrite: bool) -> None:
    """Refuse to overwrite anything but an earlier file of a tree.

    Raises:
        CommandError: the path holds something else, or a file that may not be replaced.
        OSError: the path cannot be read.
    """
    if not output.exists() and not output.is_symlink():
        return
    if output.is_symlink() or not output.is_file() or not _is_ours(output):
        raise CommandError(
            f"{output} exists and is not a tree that this command wrote: choose another --output"
        )
    if not overwrite:
        raise CommandError(f"{output} exists: choose another --output, or add --overwrite")


def _is_ours(path: Path) -> bool:
    with path.open("rb") as file:
        return f'<meta name="generator" content="{GENERATOR}">'.encode() in file.read(_HEAD)


def _write_file(output: Path, content: bytes) -> None:
    """Write a file completely or not at all."""
    output.parent.mkdir(parents=True, exist_ok=True)
    aside = output.with_name(f".{output.name}.{os.getpid()}.partial")
    try:
        aside.write_bytes(content)
        aside.replace(output)
    finally:
        aside.unlink(missing_ok=True)
