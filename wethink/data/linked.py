"""Connected components: names that occur together, as the images of one row do, get one representative."""

from collections.abc import Iterable, Sequence


def linked(groups: Iterable[Sequence[str]]) -> dict[str, str]:
    """Map each name to the smallest name of its component; the names of a group are in one component.

    >>> linked([["b", "c"], ["d"], ["a", "c"]])
    {'b': 'a', 'c': 'a', 'd': 'd', 'a': 'a'}
    """
    above: dict[str, str] = {}

    def root(name: str) -> str:
        while (parent := above[name]) != name:
            above[name] = name = above[parent]
        return name

    for group in groups:
        for name in group:
            above.setdefault(name, name)
            low, high = sorted((root(group[0]), root(name)))
            above[high] = low
    return {name: root(name) for name in above}
