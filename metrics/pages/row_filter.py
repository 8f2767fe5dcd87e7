"""The filter by which a URL chooses the numbers of runs to show."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from django.http import Http404

from metrics.core.evaluation import CHOOSING, RowKey
from metrics.core.search.accuracy import ACCURACIES
from metrics.core.search.aggregation import AGGREGATIONS
from metrics.tables.run_tables import METRICS, PROCEDURES

ANY = "any"


@dataclass(frozen=True, kw_only=True)
class RowFilter:
    """Numbers of searches; baselines are shown with any filter."""

    answer: str
    """How a search chooses its answer, a key of `ACCURACIES`."""
    procedure: str
    aggregation: str
    procedures: Sequence[str]
    """The procedures of all shown runs: the choices of the filter's form."""
    aggregations: Sequence[str]

    @classmethod
    def read(cls, parameters: Mapping[str, str], keys: Iterable[RowKey]) -> "RowFilter":
        """Return the filter that a URL asks for; by default, the first search and aggregation.

        Raises:
            Http404: a value is unknown; the message lists the valid ones.
        """
        keys = list(keys)
        procedures = list(dict.fromkeys(key.procedure for key in keys if key.procedure))
        aggregations = list(dict.fromkeys(key.aggregation for key in keys if key.aggregation))
        return cls(
            answer=_choice(parameters, "answer", ACCURACIES, ACCURACIES[0]),
            procedure=_choice(parameters, "procedure", (ANY, *PROCEDURES), (*procedures, ANY)[0]),
            aggregation=_choice(
                parameters, "aggregation", (ANY, *AGGREGATIONS), (*aggregations, ANY)[0]
            ),
            procedures=procedures,
            aggregations=aggregations,
        )

    def matches(self, key: RowKey) -> bool:
        """Return whether a number of a search is shown."""
        return (
            key.metric == self.answer
            and self.procedure in (ANY, key.procedure)
            and self.aggregation in (ANY, key.aggregation)
        )

    @property
    def has_gains(self) -> bool:
        """Whether the chosen numbers are compared with a majority vote."""
        return self.answer in CHOOSING

    @property
    def answer_in_words(self) -> str:
        return METRICS[self.answer]

    @property
    def query(self) -> dict[str, str]:
        """The filter as parameters of a URL."""
        return {
            "answer": self.answer, "procedure": self.procedure, "aggregation": self.aggregation,
        }  # fmt: skip

    @property
    def choices(self) -> list[tuple[str, str, list[tuple[str, str, bool]]]]:
        """Label, name and options of each field. An option: value, words, whether it is chosen."""
        fields = [("Answer", "answer", {name: METRICS[name] for name in ACCURACIES}, self.answer)]
        if len(self.procedures) > 1:
            words = {ANY: "any", **{one: PROCEDURES[one] for one in self.procedures}}
            fields.append(("Search", "procedure", words, self.procedure))
        if len(self.aggregations) > 1:
            words = {ANY: "any", **{one: one for one in self.aggregations}}
            fields.append(("Aggregation", "aggregation", words, self.aggregation))
        return [
            (label, name, [(value, text, value == chosen) for value, text in words.items()])
            for label, name, words, chosen in fields
        ]


def _choice(parameters: Mapping[str, str], name: str, known: Sequence[str], usual: str) -> str:
    value = parameters.get(name) or usual
    if value not in known:
        raise Http404(f"there is no {name} {value[:40]!r}: use {', '.join(known)}")
    return value
