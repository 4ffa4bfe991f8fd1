"""Alpha spending: significance levels for many decisions on the same held-out items.

Comparing one challenger after another on one set of items promotes a worse one in the end, by luck. So the chance of
that is a budget over a declared number of looks, and every look spends a part of it.

A spending function α(t) is the part spent when a share t of the looks is taken (K. K. G. Lan and D. L. DeMets,
*Discrete sequential boundaries for clinical trials*, Biometrika 70, 1983, 659–663). Look k of K has the level α(k/K) −
α((k−1)/K). A clinical trial tests one hypothesis again and again, and gains power from the correlation of its looks;
here every look tests another challenger, so no correlation is assumed: the levels add up to α, and by the union bound
(Bonferroni) so do the chances, however the challengers depend on each other.
"""

import math
from statistics import NormalDist
from typing import Literal

Spending = Literal["pocock", "obrien_fleming"]


def spent(share: float, alpha: float, spending: Spending) -> float:
    """Compute α(t) at a share t of the looks: 0 at 0, `alpha` at 1 and beyond.

    * Pocock's type: α ln(1 + (e − 1) t), nearly the same for every look.
    * O'Brien and Fleming's type: 2 − 2 Φ(z_{α/2} / √t), next to nothing for the first looks.

    Both as given by Lan and DeMets.
    """
    if share <= 0:
        return 0.0
    share = min(share, 1.0)
    if spending == "pocock":
        return alpha * math.log(1 + (math.e - 1) * share)
    normal = NormalDist()
    return 2 - 2 * normal.cdf(normal.inv_cdf(1 - alpha / 2) / math.sqrt(share))


def level(look: int, looks: int, alpha: float, spending: Spending) -> float:
    """Return the level of decision `look` of `looks`, from 1; 0 after the last.

    >>> round(sum(level(look, 20, 0.05, "pocock") for look in range(1, 21)), 12)
    0.05
    """
    if look > looks:
        return 0.0
    return spent(look / looks, alpha, spending) - spent((look - 1) / looks, alpha, spending)
