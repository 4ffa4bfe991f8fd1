# ruff: noqa: E501 — a table reads better in long lines
r"""Right measures: units outside the mathematics, on expressions, by products and negative powers; money, scales, two parts."""

from collections.abc import Iterator

from tests.rewards.adversarial import Case
from tests.rewards.adversarial.forms import COUNT, READING, both_ways, cases, dressed


def units_outside() -> Iterator[Case]:
    for figure in ("66", "5", "2.5"):
        for unit, name in (
            ("cm", "centimeters"),
            ("kg", "kilograms"),
            ("°", "degrees"),
            ("m/s", "meters per second"),
            ("km^2", "square kilometres"),
        ):
            shown = rf"{figure}^\circ" if unit == "°" else f"{figure} {unit}"
            forms = [
                f"${figure}$ {name}",
                rf"\({figure}\) {name}",
                f"**{figure}** {name}",
                f"**{figure} {name}**",
                f"$${figure}$$ {name}",
                f"`{figure}` {name}",
            ]
            forms += [
                rf"\boxed{{{figure}}} {name}",
                rf"$\boxed{{{figure}}}$ {name}",
                f"${figure}$ {name}.",
                f"The answer is ${figure}$ {name}.",
                f"*{figure}* {name}",
            ]
            yield from both_ways("unit", READING, shown, forms)
    for figure in ("5", "12"):
        forms = [
            f"**{figure}** apples",
            f"${figure}$ apples",
            rf"\({figure}\) apples",
            rf"\boxed{{{figure}}} apples",
            f"{figure} \\text{{ apples}}",
        ]
        yield from both_ways("unit", "How many apples are there?", f"{figure} apples", forms)
        yield from cases("integer", "How many apples are there?", figure, forms)


def units_on_expressions() -> Iterator[Case]:
    for value in (r"6\pi", r"2\sqrt{3}", r"\frac{5\pi}{2}", r"\sqrt{5}", r"4+\sqrt{2}", r"\frac{\sqrt{3}}{2}"):
        for unit, same in (
            ("cm^2", ("cm²", "square centimeters", "cm^{2}")),
            ("cm", ("centimetres", "cm")),
            ("kg", ("kilograms", "kg")),
            ("m/s", ("m s^{-1}",)),
        ):
            forms = [
                rf"{value} \text{{ {unit}}}",
                rf"${value}$ {unit}",
                rf"{value}\,\mathrm{{{unit}}}",
                rf"{value} {unit}",
                rf"{value}~\text{{{unit}}}",
            ]
            forms += [f"${value}$ {other}" for other in same] + [
                rf"{value} \text{{ {other}}}" for other in same if " " not in other or "s^" not in other
            ]
            yield from cases("mathematics", READING, value, forms)
            yield from cases("mathematics", READING, forms[0], [value, f"${value}$", *forms])
            yield from cases("mathematics", READING, forms[1], [value, *forms[:3]])
    yield from cases(
        "mathematics",
        READING,
        r"2\sqrt{3} \text{ m}",
        [r"200\sqrt{3} \text{ cm}", r"2\sqrt{3} meters", "3.4641 m", "346.41 cm"],
    )


PRODUCTS = {
    "12 cm^2": (r"12 \mathrm{~cm}^{2}", "12 cm²", r"12 \text{ cm}^2", r"12\,\mathrm{cm^2}", "12 square centimeters", "12 sq cm", r"12~\text{cm}^{2}"),
    "9.8 m/s^2": ("9.8 m s^{-2}", r"9.8 \mathrm{~m/s^2}", r"9.8\,\mathrm{m\,s^{-2}}", "9.8 m·s^-2", r"9.8 \text{ m/s}^2", "9.8 m/s²", "9.8 meters per second squared"),
    "30 km/h": ("30 kmph", "30 kph", "30 km h^{-1}", "30 km/hr", "30 kilometers per hour", "30 km per hour", r"30 \text{ km/h}", r"30\,\mathrm{km\,h^{-1}}"),
    "1.2 g/cm^3": ("1.2 g cm^{-3}", "1.2 g/cm³", "1200 kg/m^3", r"1.2 \mathrm{~g/cm^3}", "1.2 grams per cubic centimeter", "1.2 g/mL", r"1.2~\mathrm{g\,cm^{-3}}"),
    "5 N m": ("5 N·m", r"5 \mathrm{~N\cdot m}", "5 newton meters", r"5 \text{ N m}", "5 Nm", r"5 N \cdot m"),
    "40 J/(kg K)": ("40 J kg^{-1} K^{-1}", "40 J/(kg·K)", r"40 \mathrm{~J\,kg^{-1}\,K^{-1}}", "40 J/kg/K"),
    "3 kWh": ("3 kW h", "3 kilowatt hours", "3 kilowatt-hours", r"3 \text{ kWh}", "3000 Wh", "3 kW·h"),
    "250 mg": ("0.25 g", "250 milligrams", r"250 \mathrm{~mg}", "250mg", r"250\,\text{mg}"),
    "5 MW": ("5000 kW", "5 megawatts", "5MW", r"5 \mathrm{~MW}", "5 megawatt"),
    "5 mW": ("0.005 W", "5 milliwatts", "5mW", r"5 \mathrm{~mW}"),
    "60 Mbps": ("60 Mbit/s", "60 Mb/s", "60 megabits per second", "60 Mbps."),
    "20 μm": ("20 µm", "20 micrometers", r"20 \mu m", r"20\,\mu\text{m}", "0.02 mm", r"20 \mathrm{~\mu m}"),
    "100 Ω": (r"100 \Omega", "100 ohms", "100 ohm", "0.1 kΩ", r"100\,\Omega", r"100~\mathrm{\Omega}"),
}  # fmt: skip


def products() -> Iterator[Case]:
    for gold, forms in PRODUCTS.items():
        yield from both_ways("unit", READING, gold, [gold, *forms])
        yield from cases(
            "unit", READING, gold, [*dressed(gold), gold.split()[0], *(f"${form}$" for form in forms if "\\" in form)]
        )


def scales() -> Iterator[Case]:
    for figure in ("1.5", "3", "2.25", "740"):
        for letters, word in (
            (("K", "k"), "thousand"),
            (("M", "mn"), "million"),
            (("B", "bn"), "billion"),
            (("T", "tn"), "trillion"),
        ):
            exact = int(
                float(figure) * {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}[word]
            )
            forms = [
                f"{figure} {word}",
                f"{figure}{letters[0]}",
                f"{exact:,}",
                str(exact),
                f"{figure}{letters[1]}",
                f"{figure} {word.capitalize()}",
            ]
            yield from both_ways("thousands", "How many people live there?", f"{figure} {word}", forms)
            forms = [
                f"${figure}{letters[0]}",
                f"${figure} {word}",
                f"{figure} {word} dollars",
                f"${exact:,}",
                f"US${figure} {word}",
                f"${figure}{letters[1]}",
            ]
            yield from both_ways(
                "currency",
                "What was the revenue?",
                f"${figure} {word}",
                [*forms, f"{figure} {word} USD", rf"\${figure} \text{{ {word}}}"],
            )
    yield from cases("integer", COUNT, "24", ["2 dozen", "two dozen", "2 dozens", "two dozens"])
    yield from both_ways("integer", "How many dozens are there?", "3 dozen", ["3 dozens", "three dozen"])
    yield from cases("integer", "How many dozens of eggs are there?", "3", ["3 dozens", "3 dozen", "3"])
    yield from cases("integer", "How many people live there, in millions?", "7", ["7 million", "7 millions", "7"])


CURRENCIES = {
    "₹": ("INR", "rupees"),
    "₩": ("KRW", "won"),
    "¥": ("JPY", "yen"),
    "£": ("GBP", "pounds"),
    "€": ("EUR", "euros"),
    "₽": ("RUB", "roubles"),
}
CURRENCIES |= {
    "₺": ("TRY", "lira"),
    "₫": ("VND", "dong"),
    "₪": ("ILS", "shekels"),
    "฿": ("THB", "baht"),
    "₱": ("PHP", "pesos"),
}


def currencies() -> Iterator[Case]:
    for sign, (code, name) in CURRENCIES.items():
        for figure in ("500", "12.50", "1,250"):
            forms = [
                f"{sign}{figure}",
                f"{figure} {sign}",
                f"{code} {figure}",
                f"{figure} {code}",
                f"{figure} {name}",
                figure,
                f"{sign} {figure}",
                f"{figure}{sign}",
            ]
            yield from both_ways("currency", "What does it cost?", f"{sign}{figure}", forms)
    for code in ("CHF", "SEK", "PLN", "BRL", "CAD", "AUD", "NZD", "ZAR", "MXN", "SGD"):
        yield from both_ways(
            "currency", "What does it cost?", f"{code} 80", [f"80 {code}", "80", f"{code} 80.00", f"80.00 {code}"]
        )
    yield from both_ways(
        "currency", "What does it cost?", "€1,234.50", ["1.234,50 €", "€1.234,50", "1234.50 EUR", "1 234,50 €"]
    )


def two_parts() -> Iterator[Case]:
    for hours, minutes in ((2, 30), (1, 45), (3, 20), (1, 30)):
        total = 60 * hours + minutes
        forms = [
            f"{hours} h {minutes} min",
            f"{hours}h {minutes}min",
            f"{hours} hours and {minutes} minutes",
            f"{total} minutes",
            f"{hours} hr {minutes} min",
            f"{total} min",
        ]
        forms += [
            f"{hours}h{minutes}m",
            rf"{hours} \text{{ hours }} {minutes} \text{{ minutes}}",
            f"{hours} hours, {minutes} minutes",
            f"{hours} hrs {minutes} mins",
        ]
        forms += [f"{total / 60:g} hours"] if total % 15 == 0 else [f"{total * 60} seconds"]
        yield from both_ways("unit", "How long did it take?", f"{hours} hours {minutes} minutes", forms)
    for feet, inches in ((5, 3), (6, 2), (4, 11)):
        forms = [
            f"{feet}'{inches}\"",
            f"{feet}′{inches}″",
            f"{feet} feet {inches} inches",
            f"{feet}ft {inches}in",
            f"{feet * 12 + inches} inches",
            f"{feet}’{inches}”",
        ]
        forms += [
            f"{feet} foot {inches}",
            f"{feet}' {inches}\"",
            f"{feet} feet and {inches} inches",
            f"{feet} ft. {inches} in.",
        ]
        yield from both_ways("unit", "How tall is she?", f"{feet} ft {inches} in", forms)
    for gold, forms in {
        "1 m 75 cm": ("1.75 m", "175 cm", "1 metre 75 centimetres", "1m 75cm", "1 m and 75 cm"),
        "2 kg 500 g": ("2.5 kg", "2500 g", "2 kilograms 500 grams", "2kg 500g", "2 kg and 500 g"),
        "3 minutes 20 seconds": ("200 s", "3 min 20 s", "200 seconds", "3m 20s", "3 minutes and 20 seconds"),
        "8 lb 4 oz": ("132 oz", "8.25 lb", "8 pounds 4 ounces", "8 lbs 4 oz"),
        r"30^\circ 15'": ("30° 15'", "30.25°", "30°15′", r"30^\circ15'", "30 degrees 15 minutes"),
        "1 week 2 days": ("9 days", "1 week and 2 days"),
    }.items():
        yield from both_ways("unit", READING, gold, [gold, *forms])


def clocks() -> Iterator[Case]:
    for hour in (1, 3, 7, 11):
        forms = [
            f"{hour} PM",
            f"{hour}pm",
            f"{hour} p.m.",
            f"{hour + 12}:00",
            f"{hour}:00 PM",
            f"{hour} P.M.",
            f"{hour}PM",
            f"{hour}:00pm",
        ]
        yield from both_ways("time", "What time is it?", f"{hour} PM", forms)
        yield from both_ways(
            "time",
            "What time is it?",
            f"{hour} AM",
            [f"{hour}am", f"{hour}:00 am", f"0{hour}:00 AM"[-8:], f"{hour} a.m."],
        )
    forms = ["noon", "12:00 PM", "12 pm", "12 noon", "12:00 noon"]
    yield from both_ways("time", "What time is it?", "12:00 pm", forms)
    yield from both_ways("time", "What time is it?", "midnight", ["12:00 AM", "12 am", "00:00"])


ORDINALS = {
    6: "sixth",
    7: "seventh",
    9: "ninth",
    11: "eleventh",
    12: "twelfth",
    20: "twentieth",
    21: "twenty-first",
    33: "thirty-third",
    100: "hundredth",
}


def ordinals() -> Iterator[Case]:
    for n, word in ORDINALS.items():
        end = "th" if 10 <= n % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th")
        forms = [
            word,
            word.capitalize(),
            f"{n}{end}",
            f"the {n}{end}",
            f"the {word}",
            rf"{n}^{{\text{{{end}}}}}",
            rf"${n}^{{{end}}}$",
            f"{n}{end}.",
        ]
        yield from both_ways("text", "On which floor?", f"{n}{end}", forms)


MEASURES = (units_outside, units_on_expressions, products, scales, currencies, two_parts, clocks, ordinals)
