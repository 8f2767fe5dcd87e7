r"""Units after a number or a formula; spellings and plurals of a unit are equal.

Units are not converted: 60 minutes and 1 hour are two answers. An answer without a unit leaves the
unit to the question, so it matches every unit.
"""

import re
from typing import NamedTuple

from experiment_configs.answers.comparison.spelling import FUNCTIONS, UNITS_TOO, without_text_marks

_SPELLINGS = """
km kilometer kilometre kms 千米 公里
m meter metre mtr 米
cm centimeter centimetre cms 厘米
mm millimeter millimetre 毫米
dm decimeter decimetre 分米
nm nanometer nanometre
μm micrometer micrometre micron
in inch inches
ft foot feet
yd yard yds
mi mile
kg kilogram kilogramme kilo kgs 千克 公斤
g gram gramme gm gms 克
mg milligram milligramme 毫克
t ton tonne 吨
lb pound-mass lbs
oz ounce
l liter litre 升
ml milliliter millilitre cc 毫升
cl centiliter centilitre
dl deciliter decilitre
gal gallon
pt pint
qt quart
h hour hr hrs 小时 时
min minute mins 分钟 分
s second sec secs 秒
ms millisecond
d day 天
wk week wks 周
mo month mos
yr year yrs 年 岁
hz hertz
khz kilohertz
mhz megahertz
ghz gigahertz
n newton
j joule
kj kilojoule
Mj megajoule
cal calorie
kcal kilocalorie
w watt
mw milliwatt
kw kilowatt
Mw megawatt
gw gigawatt
v volt
mv millivolt
kv kilovolt
ampere amp
ω ohm
pa pascal
kpa kilopascal
Mpa megapascal
mol mole
M molar
k kelvin
coulomb
kb kilobyte
mb megabyte
gb gigabyte
tb terabyte
ha hectare
acre
rad radian
rpm
dollar usd buck
cent
euro eur
pound
gbp
yen jpy
yuan rmb cny 元 块 人民币
rupee rs inr
"""
_PLURALS = frozenset({"inches", "feet"})
_UNIT_OF = {
    spelling: line.split()[0]
    for line in _SPELLINGS.strip().splitlines()
    for spelling in line.split()
}
_COMPOSED = {
    "mph": {"mi": 1, "h": -1}, "kph": {"km": 1, "h": -1}, "kmph": {"km": 1, "h": -1},
    "kmh": {"km": 1, "h": -1}, "kwh": {"kw": 1, "h": 1},
}  # fmt: skip
_SIGNS = {
    "$": "dollar", "€": "euro", "£": "gbp", "¥": "¥", "₹": "rupee", "¢": "cent", "₩": "won",
    "₽": "ruble", "₱": "peso", "₺": "lira", "₫": "dong", "₪": "shekel", "฿": "baht",
}  # fmt: skip
CURRENCY_SIGNS = "".join(sign for sign in _SIGNS if sign != "¢")
_DEGREES = {
    "°": "degree", "degree": "degree", "deg": "degree", "°c": "celsius", "celsius": "celsius",
    "°f": "fahrenheit", "fahrenheit": "fahrenheit", "度": "degree",
}  # fmt: skip
_LOOSE = {
    "degree": ("celsius", "fahrenheit"), "pound": ("lb", "gbp"), "¥": ("yen", "yuan")
}  # fmt: skip
"""Words for several units. The question decides which unit is meant."""
_MEGA = re.compile(r"M(?:[gmsVWJN]|Pa|eV)?")
"""Symbols in which a capital M means something else than a small one."""
_PERCENT = frozenset({"%", "percent", "pct", "percentage"})
_SCALES = {
    "dozen": 12,
    "hundred": 100,
    "thousand": 1_000,
    "million": 1_000_000,
    "billion": 1_000_000_000,
    "trillion": 1_000_000_000_000,
    "万": 10_000,
    "亿": 100_000_000,
}
_POWERS = {
    "square": 2,
    "squared": 2,
    "sq": 2,
    "cubic": 3,
    "cubed": 3,
    "cu": 3,
    "平方": 2,
    "立方": 3,
}
_WITHOUT_MEANING = frozenset(
    {
        "a", "about", "altogether", "an", "apart", "away", "deep", "each", "exactly", "high",
        "left", "long", "of", "old", "only", "remaining", "tall", "the", "total",
        "wide",
    }
)  # fmt: skip
_DIRECTIONS = {
    word: direction
    for direction, words in {
        "more": "more increase gain profit above up older taller faster longer ahead",
        "less": "less fewer decrease loss below down younger shorter slower behind",
        "north": "north", "south": "south", "east": "east", "west": "west",
    }.items()
    for word in words.split()
}  # fmt: skip
_NOT_UNITS = (FUNCTIONS.difference(UNITS_TOO)) | {
    "and",
    "or",
    "minus",
    "plus",
    "times",
    "not",
    "to",
    "than",
}
_NAMES = frozenset({*_UNIT_OF.values(), *_SIGNS.values(), *_DEGREES.values(), "%"})
_ANY_UNIT = "unit"
_SHORTEST_UNKNOWN = 3
_MAX_WORDS = 6

_CJK = "\u4e00-\u9fff"
_ATOM = re.compile(
    rf"(?P<per>/|per\s|\bper\b)|(?P<mark>°\s?[CFcf](?![A-Za-z])|[°%¢{CURRENCY_SIGNS}])"
    rf"|(?P<cjk>平方|立方|[{_CJK}]+)|(?P<word>[A-Za-zμΩ]+(?:'s)?)\.?|(?P<gap>[\s~·.-]+|\\cdot\s*)"
)
_POWER = re.compile(r"\s*\^?\s*(?:\{\s*(-?[1-9])\s*\}|(-?[1-9])(?![0-9]))")
_IN_TOTAL = re.compile(r"(?:^|\s+)(?:in\s+(?:total|all|sum)|times)$", re.IGNORECASE)


class Unit(NamedTuple):
    """The unit after a number, with its scale."""

    scale: int
    """Factor of the number, as in 2 million."""
    dimensions: frozenset[tuple[str, int]]
    """Known units with their powers; words that name no known unit have power 1."""
    direction: str = ""
    """Where a change or a distance goes, as in `10% more` and `5 km north`."""

    @property
    def is_percent(self) -> bool:
        return self.dimensions == frozenset({("%", 1)})


NO_UNIT = Unit(1, frozenset())


def read_unit(text: str, *, is_attached: bool = False) -> Unit | None:
    r"""Return the unit that a text names, or None if it names none.

    Args:
        text: as `normalise` returns it, such as `\text{cm}^2` or `miles per hour`.
        is_attached: whether it follows a number without a space. A single letter is then a
            variable, and an unknown word is part of a formula.
    """
    is_upright = r"\text" in text
    text = text.replace(r"\mu ", "μ").replace(r"\Omega", "Ω")
    text = _IN_TOTAL.sub("", without_text_marks(text, " ").strip(" ~"))
    if not text:
        return NO_UNIT
    if text.endswith(("-", "/")):
        return None
    reader = _Reader(is_attached=is_attached and not is_upright)
    return reader.unit if reader.read(text) else None


def same_unit(first: Unit, second: Unit) -> bool:
    """Return whether two units can belong to the same answer; a missing unit matches every unit."""
    if first.direction and second.direction and first.direction != second.direction:
        return False
    if not first.dimensions or not second.dimensions or first.dimensions == second.dimensions:
        return True
    names = {name for name, _ in first.dimensions}, {name for name, _ in second.dimensions}
    for loose, kinds in _LOOSE.items():
        if loose in names[0] | names[1]:
            return all(one <= {loose, *kinds} for one in names)
    known = [{part for part in unit.dimensions if part[0] in _NAMES} for unit in (first, second)]
    if all(known):
        return known[0] == known[1]
    return first.dimensions <= second.dimensions or second.dimensions <= first.dimensions


class _Reader:
    """Reads a unit atom by atom."""

    def __init__(self, *, is_attached: bool) -> None:
        self.is_attached = is_attached
        self.scale = 1
        self.powers: dict[str, int] = {}
        self._direction = ""
        self._words = 0
        self._sign = 1
        self._next_power = 1
        self._last = ""

    @property
    def unit(self) -> Unit:
        dimensions = frozenset(
            (name, power) for name, power in self.powers.items() if power and name != _ANY_UNIT
        )
        return Unit(self.scale, dimensions, self._direction)

    def read(self, text: str) -> bool:
        position = 0
        while position < len(text):
            power = _POWER.match(text, position) if self._last else None
            if power:
                number = int(power[1] or power[2])
                self.powers[self._last] += self._sign * (number - 1)
                position, self._last = power.end(), ""
                continue
            atom = _ATOM.match(text, position)
            if atom is None or not self._take(atom):
                return False
            position = atom.end()
        return self._next_power == 1

    def _take(self, atom: re.Match[str]) -> bool:
        if atom["per"]:
            self._sign, self._last = -1, ""
            return bool(self.powers) or atom["per"] != "/"
        if atom["gap"]:
            return True
        if atom["mark"]:
            mark = atom["mark"].replace(" ", "").casefold()
            self._add(_SIGNS.get(mark) or _DEGREES.get(mark) or "%")
            return True
        return self._take_word((atom["cjk"] or atom["word"]).removesuffix("'s"), bool(atom["cjk"]))

    def _take_word(self, word: str, is_cjk: bool) -> bool:
        self._words += 1
        lower = _folded(word)
        if self._words > _MAX_WORDS or lower in _NOT_UNITS:
            return False
        if lower in _SCALES and not self.powers:
            self.scale *= _SCALES[lower]
        elif lower in _POWERS:
            self._raise(_POWERS[lower])
        elif not self.is_attached and self._take_modifier(lower):
            pass
        elif (name := _known(word)) and not (self.is_attached and len(word) == 1 and not is_cjk):
            self._add(name)
        elif is_cjk or (len(word) >= _SHORTEST_UNKNOWN and not self.is_attached):
            self._add(_singular(lower))
        else:
            return False
        return True

    def _take_modifier(self, word: str) -> bool:
        """Take a word that says more about a unit; False for another word."""
        if word in _DIRECTIONS:
            self._direction = _DIRECTIONS[word]
        elif _singular(word) == _ANY_UNIT:
            self._add(_ANY_UNIT)
        else:
            return word in _WITHOUT_MEANING
        return True

    def _raise(self, power: int) -> None:
        """Raise a unit to a power: `square` raises the next unit, `squared` the previous one."""
        if self._last:
            self.powers[self._last] += self._sign * (power - 1)
        else:
            self._next_power = power

    def _add(self, name: str) -> None:
        for part, power in _COMPOSED.get(name, {name: 1}).items():
            self.powers[part] = self.powers.get(part, 0) + self._sign * self._next_power * power
        self._next_power, self._last = 1, "" if name in _COMPOSED else name
        self.is_attached = False


def _folded(word: str) -> str:
    """Return a word in small letters, except that MPa is not mPa."""
    return word[0] + word[1:].casefold() if _MEGA.fullmatch(word) else word.casefold()


def _known(word: str) -> str:
    """Return the symbol of a known unit; "" for another word."""
    lower = _folded(word)
    if lower in _PERCENT:
        return "%"
    for spelling in (lower, _singular(lower)):
        if spelling in _DEGREES:
            return _DEGREES[spelling]
        if spelling in _COMPOSED:
            return spelling
        if spelling in _UNIT_OF:
            return _UNIT_OF[spelling]
    return ""


def _singular(word: str) -> str:
    if len(word) <= 2 or word in _PLURALS or word.endswith("ss"):  # noqa: PLR2004  ms, as
        return word
    if word.endswith("ies") and len(word) > 4:  # noqa: PLR2004  pies
        return word[:-3] + "y"
    return word.removesuffix("s")
