"""Units of measure and counted nouns: which words after a number are a unit, and how units convert.

A table has the everyday units, with exact factors; other physical units are `pint`'s. Symbols are matched with their
case (mW is no MW), names in full also without. Several units make one: `m s^-2`, `kg·m/s^2`, "miles per hour".
A dimension is a product of base dimensions; temperatures and currencies are not converted. Words that multiply,
raise, order or collect (squared, millions, dozens, -th) are no units. A noun is counted if the problem names it, or
if it is in a list of everyday nouns.
"""

import re
from fractions import Fraction
from functools import lru_cache
from typing import Any

from wethink.rewards.rules import vocabulary

Unit = tuple[str, Fraction]  # dimension, factor to its first unit

_TABLE = {  # dimension → factor and names; plurals are added
    "length": "1 m meter metre|1000 km kilometer kilometre|1/10 dm decimeter decimetre|1/100 cm centimeter centimetre"
    "|1/1000 mm millimeter millimetre|1/1000000 μm um micrometer micrometre micron|254/10000 in inch"
    "|3048/10000 ft foot feet|9144/10000 yd yard|1609344/1000 mi mile|1/1000000000 nm nanometer nanometre",
    "mass": "1 kg kgs kilogram kilogramme kilo|1/1000 g gram gramme|1/1000000 mg milligram|1000 t ton tonne"
    "|45359237/100000000 lb lbs pound|28349523125/1000000000000 oz ounce",
    "time": "1 s sec second|60 min minute|3600 h hr hour|86400 day|604800 week|1/1000 ms millisecond"
    "|2629800 month|31557600 yr year",
    "length^3": "1/1000 L l liter litre|1/1000000 mL ml milliliter millilitre cc|1/100000 cL cl centiliter",
    "data": "1 bit|8 B byte|8000 kB KB kilobyte|8000000 MB megabyte|8000000000 GB gigabyte|8000000000000 TB terabyte"
    "|1000 kb kbit kilobit|1000000 Mb Mbit megabit|1000000000 Gb Gbit gigabit",
    "angle": "1 ° deg degree|5729577951308232/100000000000000 rad radian|1/60 arcmin arcminute|1/3600 arcsec arcsecond",
    "decibel": "1 dB decibel",
    "lumen": "1 lm lumen",
    "lumen*length^-2": "1 lx lux",
    "celsius": "1 °C C celsius centigrade",
    "fahrenheit": "1 °F F fahrenheit",
    "kelvin": "1 K kelvin",
    "share": "1 % percent pct percents|1/10 ‰ permille",
    "diopter": "1 D dioptre diopter",
}
_PHYSICAL = {  # the same for units that are products of base dimensions
    "current^-1*length^2*mass*time^-3": "1 V volt|1000 kV kilovolt|1/1000 mV millivolt",
    "current": "1 A amp ampere|1/1000 mA milliamp milliampere",
    "current^-2*length^2*mass*time^-3": "1 Ω ohm|1000 kΩ kiloohm kilohm|1000000 MΩ megaohm megohm",
    "length*mass*time^-2": "1 N newton|1000 kN kilonewton",
    "current^-1*mass*time^-2": "1 T tesla",
    "current*time": "1 C coulomb|1/1000 mC",
    "current^2*length^-2*mass^-1*time^4": "1 F farad",
    "current^-2*length^2*mass*time^-2": "1 H henry",
    "length^2*mass*time^-2": "1 J joule Nm|1000 kJ kilojoule|1000000 MJ megajoule|1 Ws|3600 Wh|3600000 kWh"
    "|4184/1000 cal calorie|4184 kcal kilocalorie",
    "length^2*mass*time^-3": "1 W watt|1000 kW kilowatt|1000000 MW megawatt|1/1000 mW milliwatt",
    "length^-1*mass*time^-2": "1 Pa pascal|1000 kPa kilopascal|100000 bar",
    "time^-1": "1 Hz hertz|1/60 rpm|1000 kHz kilohertz|1000000 MHz megahertz|1000000000 GHz gigahertz",
    "substance": "1 mol mole",
    "length*time^-1": "1397/3125 mph|5/18 kph kmh kmph kmhr kmp|463/900 knot",
    "data*time^-1": "1 bps|1000 kbps|1000000 Mbps|1000000000 Gbps",
}
_MONEY = (
    "1 $ USD US$ dollar buck|1/100 cent ¢;1 € EUR euro;1 £ GBP pound quid|1/100 pence penny;1 ¥ JPY yen JP¥ 円;"
    "1 ¥ CNY RMB CN¥ yuan renminbi 元 块;1 ₹ INR rupee Rs Rs.;1 ₽ RUB ruble rouble;1 ₩ KRW won;1 ₺ TRY lira;"
    "1 ₫ VND dong;1 ₪ ILS shekel;1 ฿ THB baht;1 ₴ UAH hryvnia;1 ₦ NGN naira;1 CHF franc;1 CAD C$;1 AUD A$;"
    "1 HKD HK$;1 SGD S$;1 NZD;1 MXN peso;1 BRL R$;1 SEK krona kronor;1 NOK krone kroner;1 DKK;1 PLN zloty;"
    "1 ZAR rand;1 ₱ PHP peso;1 CZK;1 HUF forint"
)
_SAME = {  # other ways to write one
    "per cent": "%", "degree celsius": "°C", "degrees celsius": "°C", "degree c": "°C", "degrees c": "°C",
    "° c": "°C", "degree fahrenheit": "°F", "degrees fahrenheit": "°F", "degree f": "°F", "degrees f": "°F",
    "° f": "°F", "°c": "°C", "°f": "°F", "'": "ft", '"': "inch", "''": "inch", "km/hr": "km/h",
    "us dollars": "USD", "fps": "ft/s", "米": "m", "公尺": "m", "公分": "cm", "厘米": "cm", "毫米": "mm",
    "公里": "km", "千米": "km", "公斤": "kg", "千克": "kg", "克": "g", "秒": "s", "分钟": "min", "小时": "h",
    "天": "day", "周": "week", "升": "L", "毫升": "mL", "度": "°", "摄氏度": "°C", "吨": "t", "平方米": "m^2",
    "平方厘米": "cm^2", "立方米": "m^3", "立方厘米": "cm^3", "美元": "USD", "欧元": "EUR", "年": "year",
}  # fmt: skip


def _names() -> dict[str, list[Unit]]:
    found: dict[str, list[Unit]] = {}
    money = {f"money {number}": entries for number, entries in enumerate(_MONEY.split(";"))}
    for dimension, entries in {**_TABLE, **_PHYSICAL, **money}.items():
        for entry in entries.split("|") if entries else ():
            factor, *names = entry.split()
            for name in names:
                for form in {name, f"{name}s", f"{name}es"} if len(name) > 2 else {name}:
                    found.setdefault(form, []).append((dimension, Fraction(factor)))
    found["hrs"] = found["hr"]
    found["mins"], found["secs"], found["yrs"] = found["min"], found["sec"], found["yr"]
    return found


_UNITS = _names()
CURRENCY_CODES = {name for entry in _MONEY.split(";") for name in entry.split() if re.fullmatch("[A-Z]{3}", name)}
_FOLDED: dict[str, set[str]] = {}
for _name in _UNITS:
    _FOLDED.setdefault(_name.casefold(), set()).add(_name)
_PREFIXED = {"m", "M"}  # milli and mega: never the same
_NO_PREFIX = {"min", "mi", "mol", "mile", "mph", "mins"}
_PART = re.compile(r"(?P<name>[^\s0-9^{}/()]+)(?:\^?\{?(?P<power>-?[1-9])\}?)?")


@lru_cache(maxsize=4096)
def readings(phrase: str) -> tuple[Unit, ...]:
    """Return the possible readings of a unit; () if it is none.

    "pounds" has two readings.

    >>> readings("km/h") == readings("km h^-1") == (("length*time^-1", Fraction(5, 18)),)
    True
    >>> readings("apples"), readings("dozens"), readings("mHz") == readings("MHz")
    ((), (), False)
    """
    phrase = " ".join(phrase.split())
    phrase = _SAME.get(phrase.casefold(), _SAME.get(phrase, phrase))
    if not phrase or len(phrase) > 40:
        return ()
    if phrase in _UNITS:
        return tuple(_UNITS[phrase])
    text = re.sub(r"\bper\b", "/", phrase)
    text = re.sub(r"[·*×]|(?<=[A-Za-z])-(?=[A-Za-z])", " ", text)
    found: tuple[Unit, ...] = ()
    for number, factor in enumerate(text.split("/")):
        factor = factor.strip()
        if factor.startswith("(") and factor.endswith(")"):
            factor = factor[1:-1]
        parts = _product(factor)
        if not parts or number > 2:
            return ()
        found = _times(found, parts, -1) if number else parts
    return found


def _product(text: str) -> tuple[Unit, ...]:
    """Read units one after another: `N m`, `square metres`, `m s^-2`."""
    found: tuple[Unit, ...] = ()
    words, raised = text.split(), 1
    for place, token in enumerate(words):
        word = token.casefold().rstrip(".")
        if word in ("square", "sq", "cubic", "cu") and place + 1 < len(words):
            raised = 2 if word in ("square", "sq") else 3
            continue
        if place and word in ("squared", "cubed") and place + 1 == len(words) == 2:
            return _times((), found, 2 if word == "squared" else 3)
        match = _PART.fullmatch(token)
        parts = _single(match["name"]) if match and (match["name"][0] not in "'\"" or not match["power"]) else ()
        if match is None or not parts or (raised > 1 and match["power"]):
            return ()
        found = _times(found, parts, int(match["power"] or raised))
        raised = 1
    return found


def _times(left: tuple[Unit, ...], right: tuple[Unit, ...], power: int) -> tuple[Unit, ...]:
    return tuple(
        (_dimension(one[0], other[0], power), one[1] * other[1] ** power)
        for one in left or (("", Fraction(1)),)
        for other in right
    )


def _dimension(one: str, other: str, power: int) -> str:
    exponents: dict[str, int] = {}
    for dimension, times in ((one, 1), (other, power)):
        for factor in filter(None, dimension.split("*")):
            name, _, raised = factor.partition("^")
            exponents[name] = exponents.get(name, 0) + times * int(raised or 1)
    return "*".join(f"{name}^{n}" if n != 1 else name for name, n in sorted(exponents.items()) if n)


@lru_cache(maxsize=4096)
def _single(name: str) -> tuple[Unit, ...]:
    stripped = name.rstrip(".") or name
    for form in (name, stripped, _SAME.get(name.casefold(), name), _SAME.get(name, name)):
        if form in _UNITS:
            return tuple(_UNITS[form])
    name = stripped
    if name in vocabulary.NEVER_UNITS or (len(name) > 2 and is_never(name)) or len(name) < 2:
        return ()
    known = {one for one in _FOLDED.get(name.casefold(), set()) if not _other_prefix(name, one)}
    units = {unit for one in known for unit in _UNITS[one]}
    if units:
        return tuple(units) if len(units) == 1 else ()
    return _of_pint(name)


def _other_prefix(name: str, known: str) -> bool:
    return name[0] != known[0] and known[0] in _PREFIXED and len(known) <= 4 and known not in _NO_PREFIX


@lru_cache(maxsize=1)
def _registry() -> Any:
    import pint  # imported late: it takes a second, and few answers need it

    return pint.UnitRegistry(non_int_type=Fraction)


def _of_pint(name: str) -> tuple[Unit, ...]:
    """Look a unit up in pint: a name in full, or a symbol with its own case."""
    if not name.replace("_", "").isalpha() or name.casefold() in vocabulary.NOT_IN_PINT:
        return ()
    registry = _registry()
    for written in dict.fromkeys((name, name.casefold() if len(name) > 4 else name)):
        for prefix, unit, suffix in registry.parse_unit_name(written):
            stem = written.removesuffix("s") if suffix else written
            spelled = not prefix or stem.casefold().startswith(prefix)
            sign = registry.get_symbol(unit)
            symbol = not suffix and sign in _SI and written.endswith(sign)
            if (suffix and (not spelled or len(stem) < 3)) or not (spelled or symbol):
                continue
            try:
                quantity = registry.Quantity(Fraction(1), prefix + unit).to_base_units()
                factor = Fraction(quantity.magnitude)
                powers = {str(base)[1:-1]: int(power) for base, power in quantity.dimensionality.items()}
            except Exception:  # logarithmic units, offsets: they have no factor
                continue
            if not powers or any(base not in _BASES for base in powers) or unit.endswith("_constant"):
                continue
            dimension = "*".join(f"{b}^{n}" if n != 1 else b for b, n in sorted(powers.items()))
            return ((dimension, factor),)
    return ()


# Symbols that take a prefix; with pint's others, ordinary words are units too: "hats" are hecto-atmospheres.
_SI_SYMBOLS = "m g s A K mol cd Hz N Pa J W C V F Ω S Wb T H lm lx Bq Gy Sv kat L l eV bar cal Wh t pc"
_SI = {*_SI_SYMBOLS.split()}
_BASES = {"length", "mass", "time", "current", "temperature", "substance", "luminosity"}


def word(phrase: str) -> str:
    """Return a counted noun in the singular.

    >>> word("red apples"), word("people"), word("boxes")
    ('red apple', 'person', 'box')
    """
    return " ".join(_singular(one) for one in phrase.casefold().split())


def _singular(one: str) -> str:
    if one in vocabulary.PLURALS:
        return vocabulary.PLURALS[one]
    if one.endswith("ies") and len(one) > 4:
        return one[:-3] + "y"
    if re.search(r"(?:[sxz]|ch|sh)es$", one) and len(one) > 4:
        return one[:-2]
    return one[:-1] if len(one) > 3 and one.endswith("s") and not one.endswith("ss") else one


@lru_cache(maxsize=4096)
def _words_of(problem: str) -> frozenset[str]:
    return frozenset(_singular(one) for one in re.findall(r"[^\W\d_]{3,}", problem.casefold()))


def asks_for(problem: str, collective: str) -> bool:
    """Return whether a problem wants its answer in dozens, pairs or millions.

    >>> asks_for("How many dozens of eggs are there?", "dozen"), asks_for("He buys 2 dozen eggs.", "dozen")
    (True, False)
    """
    stem = _singular(collective.casefold())
    found = re.search(rf"(?:how many|number of|\bin|unit:) (?:the )?{re.escape(stem)}(?:e?s)?\b", problem.casefold())
    return found is not None


def is_never(phrase: str) -> bool:
    """Return whether a phrase has a word that changes the number before it or doubts it."""
    words = re.findall(r"[^\W_]+", phrase.casefold())
    return any(one in vocabulary.NEVER_UNITS or _singular(one) in vocabulary.NEVER_UNITS for one in words)


def is_counted(phrase: str, problem: str) -> bool:
    """Return whether a phrase is a counted noun: of the problem, or an everyday one.

    >>> is_counted("red apples", ""), is_counted("zebras", "How many zebras?"), is_counted("zebras", "")
    (True, True, False)
    """
    words, known = word(phrase).split(), _words_of(problem)
    if not words or len(words) > 4:
        return False
    if " ".join(words) in ("of them", "in all", "altogether", "in total", "total", "overall"):
        return True
    if len(words) == 1 and asks_for(problem, words[0]):
        return True
    if is_never(phrase):
        return False
    nouns = [one for one in words if one in vocabulary.NOUNS or one in known]
    return bool(nouns) and all(one in vocabulary.BESIDE_NOUNS or one in nouns for one in words)
