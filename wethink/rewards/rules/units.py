"""Units of measure: names and conversion factors; other units are compared as words.

Names are matched with their case (MB, Mb), and without it if that is unambiguous (CM, Km). A dimension is a
name with a power, or two of them for a rate; temperatures are not converted.
"""

import re
from fractions import Fraction
from functools import lru_cache

Unit = tuple[str, Fraction]  # dimension, factor to its first unit

_TABLE = {  # dimension → factor and names; plurals are added
    "length": "1 m meter metre|1000 km kilometer kilometre|1/10 dm|1/100 cm centimeter centimetre|1/1000 mm millimeter "
    "millimetre|1/1000000 μm micrometer micron|254/10000 in inch|3048/10000 ft foot feet|9144/10000 yd yard"
    "|1609344/1000 mi mile",
    "mass": "1 kg kgs kilogram kilo|1/1000 g gram|1/1000000 mg milligram|1000 t ton tonne"
    "|45359237/100000000 lb lbs pound|28349523125/1000000000000 oz ounce",
    "time": "1 s sec second|60 min minute|3600 h hr hrs hour|86400 day|604800 week|1/1000 ms millisecond",
    "length^3": "1/1000 L l liter litre|1/1000000 mL ml milliliter millilitre cc|1/100000 cL cl",
    "data": "1 bit|8 B byte|8000 kB KB kilobyte|8000000 MB megabyte|8000000000 GB gigabyte|8000000000000 TB terabyte"
    "|1000 kb kbit|1000000 Mb Mbit|1000000000 Gb Gbit",
    "angle": "1 ° deg degree",
    "celsius": "1 °C C celsius|1 centigrade",
    "fahrenheit": "1 °F F fahrenheit",
    "kelvin": "1 K kelvin",
    "voltage": "1 V volt|1000 kV kilovolt|1/1000 mV millivolt",
    "current": "1 A amp ampere|1/1000 mA milliamp milliampere",
    "resistance": "1 Ω ohm|1000 kΩ",
    "force": "1 N newton|1000 kN kilonewton",
    "energy": "1 J joule|1000 kJ kilojoule|1 Ws|3600000 kWh|4184/1000 cal calorie|4184 kcal kilocalorie",
    "power": "1 W watt|1000 kW kilowatt|1000000 MW megawatt",
    "pressure": "1 Pa pascal|1000 kPa kilopascal|100000 bar",
    "frequency": "1 Hz hertz|1000 kHz kilohertz|1000000 MHz megahertz|1000000000 GHz gigahertz",
    "amount": "1 mol mole",
    "share": "1 % percent pct",
    "USD": "1 $ USD US$ dollar|1/100 cent ¢",
    "EUR": "1 € EUR euro",
    "GBP": "1 £ GBP pound",
    "JPY": "1 ¥ JPY yen",
}
_SAME = {  # other ways to write one
    "mph": "mile/hour",
    "kph": "km/h",
    "kmh": "km/h",
    "per cent": "%",
    "kilometers per hour": "km/h",
    "degree celsius": "°C",
    "degrees celsius": "°C",
    "degree c": "°C",
    "degrees c": "°C",
    "° c": "°C",
    "degree fahrenheit": "°F",
    "degrees fahrenheit": "°F",
    "degree f": "°F",
    "degrees f": "°F",
    "° f": "°F",
    "°c": "°C",
    "°f": "°F",
    "'": "ft",
}


def _names() -> dict[str, list[Unit]]:
    found: dict[str, list[Unit]] = {}
    for dimension, entries in _TABLE.items():
        for entry in entries.split("|"):
            factor, *names = entry.split()
            for name in names:
                for form in {name, f"{name}s", f"{name}es"} if len(name) > 2 else {name}:
                    found.setdefault(form, []).append((dimension, Fraction(factor)))
    return found


_NAMES = _names()
_FOLDED: dict[str, set[str]] = {}
for _name in _NAMES:
    _FOLDED.setdefault(_name.casefold(), set()).add(_name)


@lru_cache(maxsize=4096)
def readings(phrase: str) -> tuple[Unit, ...]:
    """Return the possible readings of a unit; () if it is not in the table.

    "pounds" has two readings.

    >>> readings("km/h")
    (('length/time', Fraction(5, 18)),)
    >>> readings("apples")
    ()
    """
    phrase = _SAME.get(" ".join(phrase.casefold().split()), " ".join(phrase.split()))
    above, per, below = phrase.replace(" per ", "/").partition("/")
    tops = _power(above.strip())
    if not per:
        return tops
    return tuple(
        (f"{top[0]}/{low[0]}", top[1] / low[1]) for top in tops for low in _power(below.strip())
    )  # fmt: skip


def _power(text: str) -> tuple[Unit, ...]:
    match = re.fullmatch(
        r"(?:(?P<word>sq\.?|square|cubic) )?(?P<name>[^\s0-9^{}]+?)(?:\^?\{?(?P<power>[23])\}?)?", text
    )
    if match is None:
        return ()
    power = int(match["power"] or {None: 1, "cubic": 3}.get(match["word"], 2))
    if match["word"] and match["power"]:
        return ()
    if power == 1:
        return _single(match["name"])
    return tuple((f"{name}^{power}", factor**power) for name, factor in _single(match["name"]) if "^" not in name)


def _single(name: str) -> tuple[Unit, ...]:
    if name not in _NAMES:
        folded = _FOLDED.get(name.casefold(), set())
        units = {unit for known in folded for unit in _NAMES[known]}
        return tuple(units) if len(name) > 1 and len(units) == 1 else ()
    return tuple(_NAMES[name])


def word(phrase: str) -> str:
    """Return a unit that is not in the table, such as a counted noun, in the singular."""
    words = phrase.casefold().split()
    return " ".join(one[:-1] if len(one) > 3 and one.endswith("s") else one for one in words)
