"""Word lists of the rules: counted nouns, words that are no units, words that name quantities."""

import re

# Words that multiply, raise, order, collect, compare or doubt: no units, whatever a library or the problem says.
_NEVER = """
about all almost alpha and any approx approximately are around at base be beta bigger billion bn both but choose
complex correct cos couple crore cube cubed cubic double dozen duo e each eight eighth eighty either eleven et every
exactly except exp exponent factorial false few fewer fifth fifty five fold forty four fourth from grand greater gross
half halve hundred hundredfold hundredth i if imaginary incorrect infinite infinity inverse is ish isn't lakh less ln
log many maybe mil mill million millionth minus mn mod modulo more multiple myriad nd nearly negative neither never
nine ninety ninth no none nor not nought o odd oder one only or ou over pair percentile perhaps pi plus point points
positive possibly power powers probably quadrillion quadruple quartet rd reciprocal recurring rem remainder repeating
right root roughly score seven seventh seventy several sin six sixth sixty smaller some something sq sqrt square
squared st sure tan teen ten tenth th than theta third thirty thousand thousandth three time times to treble trillion
trio triple triplet true twelve twenty twin twins two und unless unsure versus vs was without wrong x y yes zero
zillion
"""
# Names of pint's units that are other words here: constants, slang, parts of speech.
_NO_UNITS = """
ad ah am are as at bag bags barn be cats chain chains count counts dad das dot dots drop drops hand hands has hat hats
is link links ma mas mils mug mugs pa pat pats pc perch pis pm po point points pole poles ppm pt quarter quarters
scaled_point turn turns us
"""
# Everyday nouns that are counted; a problem's own nouns come to these.
_NOUNS = """
adult angle animal answer ant apple arm arrow atom baby bag ball balloon banana bar basket battery bead bean bear bee
bicycle bike bird block boat bond book bottle bowl box boy branch bread bridge brother brush building bulb bun bus
butterfly button cable cake camera candle candy car card carrot case cat cell chair cherry chicken child chip
chocolate circle city class clock club coin column computer cone cookie corner country cow crab crayon cube cup
cupcake customer cylinder desk diamond die digit dog donut door dot dress drum duck ear edge egg electron element
elephant employee envelope eraser eye face figure finger fish floor flower folder fork friend frog game gene girl
glass goal grape group guitar hat head heart hexagon horse hour house image instrument island item key keyboard kid
kite knife lake lamp layer leaf leg lemon letter light line lion loaf lock magazine man marble mark marker match medal
melon member molecule monkey mountain mouse muffin neutron newspaper node notebook number nut object onion orange
order oval page paper part passenger path peach pear pen pencil pentagon people person phone photo piano picture piece
pig pizza plane plant plate player polygon potato proton rabbit rectangle ribbon ring river rock room rope rose row
ruler sale sandwich screen seat segment set sheep ship shirt shoe shop sibling side sign sister slice sock solution
spade species sphere spider spoon square stamp star state step stick stone store strawberry street student sweet
symbol table tail teacher team thing ticket tiger tile toe tomato tooth towel tower toy train tree triangle truck
turtle umbrella unit value vertex visitor vote watch way wheel win window wing woman word worker
"""
# Words beside a counted noun that leave the number as it is.
_BESIDE = """
altogether big black blue brown different gray green grey in large left little of orange pink purple red small tall
the total white whole yellow
"""
# Words of the left side of "the area = 5".
_NAMES = """
a acceleration age amount and angle answer area average balance base change circumference cost current density depth
diameter difference discount distance energy force height hypotenuse interest length loss mass mean median mode number
of perimeter point power pressure price probability product profit radius range ratio resistance result side slope
solution solutions speed sum surface tax temperature the time total value velocity voltage volume weight width work
"""
# plural=singular
_PLURALS = """
people=person children=child men=man women=woman feet=foot teeth=tooth mice=mouse geese=goose leaves=leaf loaves=loaf
knives=knife dice=die vertices=vertex species=species wives=wife wolves=wolf shelves=shelf
"""

NEVER_UNITS = frozenset(_NEVER.split()) | {"ths", "nth", "nths"}
NOT_IN_PINT = frozenset(_NO_UNITS.split())
NOUNS = frozenset(_NOUNS.split())
BESIDE_NOUNS = frozenset(_BESIDE.split())
QUANTITIES = frozenset(_NAMES.split())
PLURALS: dict[str, str] = {plural: noun for plural, _, noun in (pair.partition("=") for pair in _PLURALS.split())}
COUNTERS = frozenset("个個只条张張件位名人头匹辆台座间棵朵颗粒块支枝把本层页章节岁次种瓶杯盒包袋片根份艘架門门幅")

# Their numbers measure no amount, or they are written like other marks: beside a bare number the problem must name one.
_NAMED_ONLY = {
    "dB": "dB|decibels?", "decibel": "dB|decibels?", "pH": r"pH|acid\w*",
    "bps": r"bps|bits? (?:per|/) ?s\w*|basis points?",
    "'": r"'|ft|feet|foot|arc ?min\w*", '"': r'"|in|inch(?:es)?|arc ?sec\w*', "''": r"''|in|inch(?:es)?|arc ?sec\w*",
}  # fmt: skip


def must_be_named(unit: str, problem: str) -> bool:
    """Return whether a unit answers a bare gold only if the problem names it, and it does not.

    >>> must_be_named("dB", "How loud?"), must_be_named("dB", "How many decibels?"), must_be_named("m", "How long?")
    (True, False, False)
    """
    names = _NAMED_ONLY.get(unit) or _NAMED_ONLY.get(unit.removesuffix("s"))
    return names is not None and re.search(rf"(?<!\w)(?:{names})(?!\w)", problem) is None
