"""Compare answers in words: yes and no, choice letters, times, dates, names."""

import re

from experiment_configs.answers.comparison.spelling import without_text_marks

_LETTER = r"([A-Za-z])"
_REASON = r"(?:because|since|as|so|for)\b"
_CHOICE_ALONE = re.compile(rf"\(?{_LETTER}\)?")
_CHOICE = re.compile(
    rf"(?:(?:the\s+)?(?:correct\s+|right\s+)?(?:option|choice|answer)\s*(?:is\s*)?:?\s*\(?{_LETTER}\)?(?![A-Za-z]).*"
    rf"|\({_LETTER}\)(?:\s.*|[.:,-].*)"
    rf"|{_LETTER}\s*[.):](?:\s.*|$)"
    rf"|{_LETTER}\s+-\s.*"
    rf"|{_LETTER}\s*\(.*\)"
    rf"|{_LETTER},\s+[a-z]{{2,}}.*"
    rf"|{_LETTER}\s+is\s+(?:the\s+)?(?:correct|right|true|answer)\b.*"
    rf"|{_LETTER}\s+{_REASON}.*)",
    re.IGNORECASE | re.DOTALL,
)
_BETWEEN = rf"(?:(?!{_REASON}|\b(?:not|but|than|while|instead)\b).)*?"
_SEVERAL_CHOICES = re.compile(
    r"\A(?i:.*?\b(?:options?|choices?|answers?)\s*(?:is|are)?:?\s)?\s*(?i:either\s|both\s)?\(?[A-J]\)?\s*"
    r"(?:[,;]\s*(?i:and\s|or\s)?|[&/+]|(?i:and|or|as\s+well\s+as)\s)"
    r"\s*(?i:(?:also|maybe|option|choice)\s+)*\(?[A-J](?![A-Za-z'])(?!\s+[a-z])"
    rf"|\A\([A-J]\){_BETWEEN}\s\([A-J]\)"
    rf"|\A[A-J]\s*[.):]{_BETWEEN}\s[A-J][.):](?:\s|$)"
    rf"|\A[A-J]\s-\s{_BETWEEN}\s[A-J]\s-\s",
    re.DOTALL,
)
"""Two letters with equal rights: `B and C`, `A) 3 B) 4`."""
_LABEL_CHOICE = re.compile(r"\(([A-Za-z])\)|([A-J])")

_VERDICTS = frozenset({"yes", "no", "true", "false"})
_VERDICT = re.compile(
    r"(?!.*?[,;&]\s*(?:(?:yes|no|true|false)(?:\W|and\b|or\b)*)+$)"  # several verdicts
    r"(yes|no|true|false)(?:\s*[,.;:!(\u2014-].*|\s+(?:because|since|as|it|he|she|they|we|you|the|this"
    r"|that|there|i)\b.*)?",
    re.IGNORECASE | re.DOTALL,
)

_TIME = re.compile(
    r"(?P<hour>[0-9]{1,2})(?:[:.](?P<minute>[0-5][0-9]))?(?:[:.](?P<second>[0-5][0-9]))?"
    r"[\s~]*(?:(?P<half>[ap])\.?[\s~]?m\.?|o'clock)?",
    re.IGNORECASE,
)
_MONTHS = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september",
    "october", "november", "december",
)  # fmt: skip
_MONTH = rf"(?P<month>{'|'.join(f'{name[:3]}(?:{name[3:]})?' for name in _MONTHS)}|sept)\.?"
_DAY = r"(?P<day>[0-3]?[0-9])(?:st|nd|rd|th)?"
_YEAR = r"(?P<year>[0-9]{4})"
_WEEKDAY = r"(?:(?:mon|tues|wednes|thurs|fri|satur|sun)day,?\s+)?"
_DATES = tuple(
    re.compile(_WEEKDAY + pattern, re.IGNORECASE)
    for pattern in (
        rf"{_MONTH}\s+(?:the\s+)?{_DAY}(?:,?\s+{_YEAR})?",
        rf"(?:the\s+)?{_DAY}\s+(?:of\s+)?{_MONTH}(?:,?\s+{_YEAR})?",
        r"(?P<year>[0-9]{4})-(?P<month>[01][0-9])-(?P<day>[0-3][0-9])",
    )
)
_NOON = 12
_HOUR = re.compile(r"0?[1-9]|1[0-2]")

_PUNCTUATION = re.compile(r"[.'\"`!?()]")
_SEPARATORS = re.compile(r"[\s~,;:/-]+")
_ARTICLE = re.compile(r"^(?:the|an?) (?=\w)")


def compare_words(answer: str, label: str) -> bool | None:
    """Return whether two answers are the same verdict, choice, time or date; None for other kinds.

    Args:
        answer: as `normalise` returns it.
        label: the same; it decides which kind of answer is wanted.
    """
    answer, label = (without_text_marks(text).replace("~", " ") for text in (answer, label))
    for wanted, given in ((label, answer), (answer, label)):
        if wanted.casefold() in _VERDICTS:
            found = _VERDICT.fullmatch(given)
            return found is not None and found[1].casefold() == wanted.casefold()
    for wanted, given in ((label, answer), (answer, label)):
        right = _LABEL_CHOICE.fullmatch(wanted)
        chosen = _CHOICE_ALONE.fullmatch(given) or (
            None if _SEVERAL_CHOICES.search(given) else _CHOICE.fullmatch(given)
        )
        if right and chosen:
            return _first_group(right).upper() == _first_group(chosen).upper()
    for compare in (_compare_times, _compare_dates):
        verdict = compare(answer, label)
        if verdict is not None:
            return verdict
    return None


def _compare_times(answer: str, label: str) -> bool | None:
    times = _time(answer), _time(label)
    if times[0] and times[1]:
        return _same_time(times[0], times[1])
    for time, other in ((times[0], label), (times[1], answer)):
        if time and _HOUR.fullmatch(other) and (time[1] or time[0] % 3600 == 0):
            return _same_time(time, (int(other) * 3600, ""))
    # A time has no other reading, except that 3:10 may be a ratio.
    return False if any(time and time[1] for time in times) else None


def _compare_dates(answer: str, label: str) -> bool | None:
    dates = _date(answer), _date(label)
    if dates[0] and dates[1]:
        return _same_date(dates[0], dates[1])
    return False if any(dates) else None


def is_verdict(text: str) -> bool:
    """Return whether a text is only yes, no, true or false."""
    return without_text_marks(text).strip().casefold() in _VERDICTS


def same_text(answer: str, label: str) -> bool:
    """Return whether two texts are equal, ignoring case, punctuation and a leading article."""
    return _plain(answer) == _plain(label)


def _plain(text: str) -> str:
    text = _PUNCTUATION.sub("", without_text_marks(text).casefold())
    return _ARTICLE.sub("", _SEPARATORS.sub(" ", text).strip())


def _first_group(match: re.Match[str]) -> str:
    return next(group for group in match.groups() if group)


def _time(text: str) -> tuple[int, str] | None:
    """Return a time in seconds, and "a", "p" or "" for its half of the day; None for others."""
    match = _TIME.fullmatch(without_text_marks(text, " ").strip())
    if match is None or not (match["half"] or ":" in match[0] or "clock" in match[0].lower()):
        return None  # 6.30 and 6 are numbers
    hour = int(match["hour"])
    half = (match["half"] or "").lower()
    if half:
        hour = hour % _NOON + (_NOON if half == "p" else 0)
    seconds = hour * 3600 + int(match["minute"] or 0) * 60 + int(match["second"] or 0)
    return seconds, half


def _same_time(first: tuple[int, str], second: tuple[int, str]) -> bool:
    """Compare times. A time without a half of the day matches both."""
    if first[0] == second[0]:
        return True
    if first[1] and second[1]:
        return False
    unsaid, said = (first, second) if not first[1] else (second, first)
    half_day = _NOON * 3600
    return bool(said[1]) and unsaid[0] < half_day + 3600 and (unsaid[0] - said[0]) % half_day == 0


def _same_date(first: tuple[int, int, int | None], second: tuple[int, int, int | None]) -> bool:
    """Compare dates. A date without a year matches every year."""
    years = {year for year in (first[2], second[2]) if year is not None}
    return first[:2] == second[:2] and len(years) < 2  # noqa: PLR2004


def _date(text: str) -> tuple[int, int, int | None] | None:
    """Return month, day and, if given, year."""
    text = without_text_marks(text, " ").strip()
    match = next(filter(None, (pattern.fullmatch(text) for pattern in _DATES)), None)
    if match is None:
        return None
    month = match["month"]
    names = [name[:3] for name in _MONTHS]
    number = int(month) if month.isdecimal() else names.index(month[:3].lower()) + 1
    return number, int(match["day"]), int(match["year"]) if match["year"] else None
