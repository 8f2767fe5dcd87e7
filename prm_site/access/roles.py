"""Permissions of the user groups that `migrate` creates: see SECURITY.md."""

from collections.abc import Mapping

VIEWER, REVIEWER, OPERATOR = "viewer", "reviewer", "operator"

_VIEWED = (
    "forests.forest", "forests.tree", "forests.node", "forests.scorer", "forests.treescores",
    "forests.treelabels", "forests.activity", "metrics.metricrun", "metrics.scorerreport",
    "preferences.preferenceset", "preferences.preference", "preferences.review",
)  # fmt: skip
_VIEW = frozenset(".view_".join(model.split(".")) for model in _VIEWED)
_REVIEW = frozenset({"preferences.review_preference", "forests.label_step"})
_OPERATE = frozenset({"forests.change_forest", "forests.delete_forest", "forests.decide_label"})

ROLES: Mapping[str, frozenset[str]] = {
    VIEWER: _VIEW,
    REVIEWER: _VIEW | _REVIEW,
    OPERATOR: _VIEW | _REVIEW | _OPERATE,
}
"""Permissions by role, as `<app>.<codename>`. Each role has all permissions of the one before."""
