"""English words that carry no content, little of it, or say no."""

from __future__ import annotations

from typing import Final


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Words that may come and go without changing what is asked: articles, auxiliaries, pronouns,
# question words, politeness, hesitation.
FUNCTION: Final = _set(
    """
    a an the this that these those there here it its itself
    i me my mine myself we us our ours you your yours he him his she her hers they them their
    theirs
    one ones someone somebody anyone anybody person people
    am is are was were be been being do does did doing done have has had having
    can could may might must shall should will would ought
    what which who whom whose when where why how
    and or but so if then than as because while though although
    of in on at by for with to from into onto about via per out up
    get got getting gets gotten
    like just really actually basically well also too even please thanks thank cheers hi hello
    hey
    morning evening um uh er erm ok okay yes yeah yep oh ah sorry now some any
    tell telling tells told say says saying said explain describe show give let know want wants
    wanted need needs needed
    possible allowed able way help trying try wondering wonder would could
    use using used usually normally typically generally currently still already yet
    much many lot lots number amount
    mean means meaning thing things stuff kind sort
    go going goes went come
    question wanna gonna gotta
    """
)

# Words of place and direction. Left out of the content, but their order tells roles.
PREPOSITIONS: Final = _set(
    "of in on at by for with to from into onto about via per than between against toward towards"
)

NEGATORS: Final = _set(
    """
    not no never none nothing nobody nowhere neither nor without cannot except excluding
    non isnt arent wasnt werent dont doesnt didnt cant couldnt wont wouldnt shouldnt hasnt havent
    """
)
# They answer a negation on the other side, but don't make one by themselves.
WEAK_NEGATIVES: Final = _set(
    """
    stop stopped stopping prevent avoid refuse refused deny denied lack lacks lacking lost lose
    losing miss missed missing forget forgot forgotten fail failed fails off disable disabled
    exclude excluded excludes unable reject rejected decline declined skip skipped prohibit
    prohibited ban banned bans illegal impossible wrong
    """
)

# Content words that say little beside the others: one of them more on one side is no difference.
LIGHT: Final = _set(
    """
    obtain receive request offer provide support take make calculate compute stay run come
    price cost charge fee country city place location time date day count total
    legal legally permitted permissible
    single approach list exactly kindly quickly simply available current best good proper right
    correct find see check order hold set end look work call happen bring put
    """
)

# Between these words, what stands left and right may change places.
SYMMETRIC: Final = _set("and or vs versus between")
