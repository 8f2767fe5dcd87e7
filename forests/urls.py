"""Addresses of the forests. They come last, because each begins with a forest's name."""

from django.urls import path, register_converter

from forests.core.tree import NodePath, format_path, parse_path
from forests.pages import forest_views as views
from forests.pages.config_views import config
from forests.pages.labels import views as label_views
from forests.pages.overview import step_views
from forests.pages.overview.list_views import forest_list
from forests.pages.overview.search_views import search
from forests.pages.saved import views as saved_views
from forests.pages.siblings import views as sibling_views
from forests.pages.tree import views as tree_views
from forests.pages.tree.query import NODE_PATH


class NodePathConverter:
    """The path of a node as in its id, such as 0.2.1."""

    regex = NODE_PATH

    def to_python(self, value: str) -> NodePath:
        return parse_path(value)

    def to_url(self, value: NodePath) -> str:
        return format_path(value)


register_converter(NodePathConverter, "node_path")

_TREE = "<slug:forest_name>/trees/<int:index>/"
_NODE = f"{_TREE}nodes/<node_path:path>/"

urlpatterns = [
    path("", forest_list, name="forests"),
    path("search/", search, name="search"),
    path("<slug:forest_name>/", views.forest, name="forest"),
    path("<slug:forest_name>/steps/", step_views.steps, name="steps"),
    path(_TREE, tree_views.tree, name="tree"),
    path(f"{_TREE}download/", saved_views.tree_download, name="tree_download"),
    path(f"{_TREE}prompt.txt", tree_views.prompt_text, name="prompt_text"),
    path(_NODE, tree_views.node, name="node"),
    path(f"{_NODE}siblings/", sibling_views.siblings, name="siblings"),
    path(f"{_NODE}prefix.txt", tree_views.prefix_text, name="prefix_text"),
    path(f"{_NODE}inside/", tree_views.node_inside, name="node_inside"),
    path(f"{_NODE}steps/", tree_views.node_steps, name="node_steps"),
    path(f"{_NODE}text/", tree_views.node_text, name="node_text"),
    path(f"{_NODE}details/", tree_views.node_details, name="node_details"),
    path(f"{_NODE}tokens/", tree_views.node_tokens, name="node_tokens"),
    path(f"{_NODE}label/", label_views.label, name="label_step"),
    path("<slug:forest_name>/config/", config, name="config"),
    path("<slug:forest_name>/labels/", label_views.labels, name="labels"),
]
