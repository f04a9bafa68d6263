"""The recipes by name: `RECIPES`, and `recipe(name)`; study.run runs one."""
from . import attending, deep, distilling, factoring, few_bits, integers, narrowing, sparse

PAGES = narrowing, factoring, sparse, attending, distilling, integers, deep, few_bits
RECIPES = {one.name: one for page in PAGES for one in page.RECIPES}


def recipe(name):
    """The recipe of that name. Errors: ValueError naming those that there are.

    >>> recipe("vgg16").title
    'VGG-16 without half of its filters'
    """
    if name not in RECIPES:
        raise ValueError(f"recipe must be one of {', '.join(RECIPES)}, not {name!r}")
    return RECIPES[name]
