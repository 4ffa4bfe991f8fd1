"""Units of measure and counted nouns: which words after a number are a unit, and how units convert.

A table has the everyday units, with exact factors; other physical units are `pint`'s. Symbols are matched with their
case (mW is no MW); another case counts only where it can mean one unit (`KG`), and names in full count in any case.
Several units make one: `m s^-2`, `kg·m/s^2`, "miles per hour".
A dimension is a product of base dimensions; temperatures and currencies are not converted. Words that multiply,
raise, order or collect (squared, millions, dozens, -th) are no units. A noun is counted if the problem names it, or
if it is in a list of everyday nouns.
"""

import re
from fractions import Fraction
from functools import lru_cache
from itertools import product
from typing import Any

from wethink.rewards.rules import vocabulary

Unit = tuple[str, Fraction]  # dimension, factor to its first unit

MAX_SYMBOL = 6  # letters; what is longer is a name in full

_TABLE = {  # dimension → factor and names; plurals are added
    "length": "1 m meter metre|1000 km kilometer kilometre|1/10 dm decimeter decimetre|1/100 cm centimeter centimetre"
    "|1/1000 mm millimeter millimetre|1/1000000 μm um micrometer micrometre micron|254/10000 in inch"
    "|3048/10000 ft foot feet|9144/10000 yd yard|1609344/1000 mi mile|1/1000000000 nm nanometer nanometre"
    "|1/1000000000000 pm picometer picometre",
    "mass": "1 kg kgs kilogram kilogramme kilo|1/1000 g gram gramme|1/1000000 mg milligram|1000 t ton tonne"
    "|45359237/100000000 lb lbs pound|28349523125/1000000000000 oz ounce",
    "time": "1 s sec second|60 min minute|3600 h hr hour|86400 day|604800 week|1/1000 ms millisecond"
    "|2629800 month|31557600 yr year",
    "length^3": "1/1000 L l liter litre|1/1000000 mL ml milliliter millilitre cc|1/100000 cL cl centiliter",
    "data": "1 bit|8 B byte|8000 kB KB kilobyte|8000000 MB megabyte|8000000000 GB gigabyte|8000000000000 TB terabyte"
    "|1000 kb kbit kilobit|1000000 Mb Mbit megabit|1000000000 Gb Gbit gigabit|1000000000000 Tb",
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
    "|4184/1000 cal calorie|4184 kcal Cal kilocalorie",
    "length^2*mass*time^-3": "1 W watt|1000 kW kilowatt|1000000 MW megawatt|1/1000 mW milliwatt",
    "length^-1*mass*time^-2": "1 Pa pascal|1000 kPa kilopascal|100000 bar",
    "time^-1": "1 Hz hertz|1/60 rpm|1000 kHz kilohertz|1000000 MHz megahertz|1000000000 GHz gigahertz",
    "substance": "1 mol mole",
    "length*time^-1": "1397/3125 mph|5/18 kph kmh kmph kmhr kmp|463/900 knot",
    "data*time^-1": "1 bps|1000 kbps|1000000 Mbps|1000000000 Gbps|8000 kBps|8000000 MBps|8000000000 GBps",
}
_MONEY = (
    "1 $ USD US$ dollar buck|1/100 cent ¢;1 € EUR euro;1 £ GBP pound quid|1/100 pence penny;1 ¥ JPY yen JP¥ 円;"
    "1 ¥ CNY RMB CN¥ yuan renminbi 元 块;1 ₹ INR rupee Rs Rs.;1 ₽ RUB ruble rouble;1 ₩ KRW won;1 ₺ TRY lira;"
    "1 ₫ VND dong;1 ₪ ILS shekel;1 ฿ THB baht;1 ₴ UAH hryvnia;1 ₦ NGN naira;1 CHF franc;1 CAD C$;1 AUD A$;"
    "1 HKD HK$;1 SGD S$;1 NZD;1 MXN peso;1 BRL R$;1 SEK krona kronor;1 NOK krone kroner;1 DKK;1 PLN zloty;"
    "1 ZAR rand;1 ₱ PHP peso;1 CZK;1 HUF forint"
)
_SAME = {  # other ways to write one
    "per cent": "%", "'": "ft", '"': "inch", "''": "inch", "km/hr": "km/h", "electron volt": "electronvolt",
    "electron volts": "electronvolt",
    "us dollars": "USD", "fps": "ft/s", "米": "m", "公尺": "m", "公分": "cm", "厘米": "cm", "毫米": "mm",
    "公里": "km", "千米": "km", "公斤": "kg", "千克": "kg", "克": "g", "秒": "s", "分钟": "min", "小时": "h",
    "天": "day", "周": "week", "升": "L", "毫升": "mL", "度": "°", "摄氏度": "°C", "华氏度": "°F",
    "吨": "t", "平方米": "m^2",
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
CURRENCY_SIGNS = r"US\$|CN¥|JP¥|HK\$|A\$|C\$|S\$|R\$|Rs\.?|[$€£¥₹₽₩₺₫₪฿₴₦₱]"
_NAMES_IN_FULL: dict[str, set[Unit]] = {}
for _name, _units in _UNITS.items():
    if len(_name) > MAX_SYMBOL:
        _NAMES_IN_FULL.setdefault(_name.casefold(), set()).update(_units)
_DEGREE = r"(?:°|deg\.?|degrees?)"
_SCALES = {
    "°C": r"c|celsius|centigrade",
    "°F": r"f|fahrenheit",
    "K": r"k|kelvins?",
}
_TEMPERATURES = {
    scale: re.compile(rf"{_DEGREE} ?(?:{names})|(?:{names.partition('|')[2]}) ?{_DEGREE}", re.IGNORECASE)
    for scale, names in _SCALES.items()
}
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
    phrase = next((scale for scale, form in _TEMPERATURES.items() if form.fullmatch(phrase)), phrase)
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
    own = () if _is_word(name) else _of_pint(name)
    return own or _in_other_case(name)


def _is_word(name: str) -> bool:
    """Return whether a name of pint's is another word here: `hats`, `As`, `PM`, but not `pA`."""
    usual = name.islower() or name.isupper() or (name.istitle() and len(name) > 2)
    return usual and name.casefold() in vocabulary.NOT_IN_PINT


def _in_other_case(name: str) -> tuple[Unit, ...]:
    """Read a unit in another case, if only one unit can be meant: `KG`, but not `mw`, which may be MW or mW."""
    small = name.casefold()
    if _is_word(small):
        return ()
    if len(name) > MAX_SYMBOL:
        units = _NAMES_IN_FULL.get(small, set())
        return tuple(units) if len(units) == 1 else _of_pint(small)
    if not name.isalpha():
        return ()
    parsed = _registry().parse_unit_name(name)
    if name.istitle() and small in _UNITS and len(name) > 2 and (not parsed or small == "min"):
        return tuple(_UNITS[small])  # `Sec`, `Lbs`
    if parsed:
        return ()  # pint knows another unit of this very case: `Th` is an hour's, `TH` a henry's
    variants = {"".join(letters) for letters in product(*({char.lower(), char.upper()} for char in name))}
    mega = name[0].isupper() and not name.isupper() and not small.endswith(("b", "bps"))  # bits are no bytes
    kept = {one for one in variants if one[0] == name[0]} if mega else set()
    for chosen in (variants, kept):  # `Mhz`: mega, as its case says
        found = {unit for one in chosen for unit in _UNITS.get(one, ()) or _of_pint(one)}
        if len(found) == 1:
            return tuple(found)
    return ()


@lru_cache(maxsize=1)
def _registry() -> Any:
    import pint  # imported late: it takes a second, and few answers need it

    return pint.UnitRegistry(non_int_type=Fraction)


def _of_pint(name: str) -> tuple[Unit, ...]:
    """Look a unit up in pint: a name in full, or a symbol with its own case."""
    if not name.replace("_", "").isalpha():
        return ()
    for prefix, unit, _ in _registry().parse_unit_name(name):
        sign = _registry().get_symbol(unit)
        spelled = (not prefix or name.casefold().startswith(prefix)) and (sign == unit or name != f"{sign}s")
        symbol = sign in _SI and (name.endswith(sign) or (sign == "l" and name.endswith("L")))
        if not (spelled or symbol):
            continue
        if prefix.endswith("bi") and unit not in ("bit", "byte"):
            continue  # `Min` is no mebi-newton
        if found := _physical(prefix, unit):
            return (found,)
    return ()


@lru_cache(maxsize=1024)
def _physical(prefix: str, unit: str) -> Unit | None:
    """Return the dimension and factor of a unit of pint's; None if it has none, as a logarithm or an offset."""
    try:
        quantity = _registry().Quantity(Fraction(1), prefix + unit)
        if unit in _UNITS:  # in the table: radians and bytes, too, which have no dimension in pint
            dimension, factor = _UNITS[unit][0]
            return dimension, factor * Fraction(quantity.to(unit).magnitude)
        quantity = quantity.to_base_units()
        powers = {str(base)[1:-1]: int(power) for base, power in quantity.dimensionality.items()}
        factor = Fraction(quantity.magnitude)
    except Exception:
        return None
    if not powers or any(base not in _BASES for base in powers) or unit.endswith("_constant"):
        return None
    return "*".join(f"{b}^{n}" if n != 1 else b for b, n in sorted(powers.items())), factor


# Symbols that take a prefix; with pint's others, ordinary words are units too: "hats" are hecto-atmospheres.
_SI_SYMBOLS = "rad bit B m g s A K mol cd Hz N Pa J W C V F Ω S Wb T H lm lx Bq Gy Sv kat L l eV bar cal Wh t pc"
_SI = {*_SI_SYMBOLS.split()}
_BASES = {"length", "mass", "time", "current", "temperature", "substance", "luminosity"}


def same_word(one: str, other: str) -> bool:
    """Return whether two words that are no units are one noun; short ones may be symbols, whose case counts."""
    if word(one) != word(other):
        return False
    shorter = min(len(one), len(other))
    return one[:shorter] == other[:shorter] or shorter > 4 or word(one) in vocabulary.NOUNS


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


def is_money(text: str) -> bool:
    """Return whether a text has a sign or code of a currency."""
    return re.search(rf"{CURRENCY_SIGNS}|\b(?:{'|'.join(sorted(CURRENCY_CODES))})\b", text) is not None


def one_dimension(one: str, other: str) -> bool:
    return bool({d for d, _ in readings(one)} & {d for d, _ in readings(other)})


def is_share(found: tuple[Unit, ...]) -> bool:
    return any(dimension == "share" for dimension, _ in found)
