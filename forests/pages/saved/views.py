"""The view that sends a tree as a file."""

from django.http import Http404, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe

from forests.pages.json_twin import asks_for_json
from forests.pages.page_requests import HtmxRequest, get_forest
from forests.pages.saved.tree_files import STEPS_OF_A_FILE, tree_file
from forests.pages.tree.query import TreeQuery
from forests.pages.tree.tree_json import tree_data
from forests.pages.tree.views import tree_context
from forests.storage.scores import read_judged
from forests.storage.trees import read_tree

MAX_STEPS = 5_000
"""About the most steps in an HTML file that the site makes; each costs a millisecond."""


@require_safe
def tree_download(request: HtmxRequest, forest_name: str, index: int) -> HttpResponse:
    """Send a tree with all its steps as JSON, or as the HTML that readers without a login see."""
    forest = get_forest(forest_name)
    if (stored := read_tree(forest, index)) is None:
        raise Http404(f"forest {forest.name!r} has no tree {index}")
    name = f"{forest.name}-tree-{index}"
    if not asks_for_json(request):
        return HttpResponse(
            tree_file(forest, stored, MAX_STEPS), headers=_attachment(f"{name}.html")
        )
    query = TreeQuery(saved_steps=STEPS_OF_A_FILE, is_raw=True)
    judged = read_judged(forest, index)
    context = tree_context(request, forest, stored, query, judged=judged)
    return JsonResponse(tree_data(request, context), headers=_attachment(f"{name}.json"))


def _attachment(name: str) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="{name}"'}
