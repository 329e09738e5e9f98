"""Small words by language, the languages of Latin script that are asked in most."""

from __future__ import annotations

from typing import Final


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Small words that tell languages in Latin script apart; English first.
FUNCTION_WORDS_OF: Final = {
    "English": _set("the of and to is what how do does my i you can are which for with when where"),
    "German": _set(
        "der die das und ist wie ich was ein eine nicht wo kann mein meine für mit wann"
    ),
    "French": _set("le la les des et est que je comment un une pas où mon ma pour quel quelle"),
    "Spanish": _set("el los las y es qué cómo que yo un una dónde mi para puedo cuál cuándo con"),
    "Italian": _set("il lo gli e è che come io un una dove mio mia per posso quale quando di con"),
    "Portuguese": _set("o os as e é que como eu um uma onde meu minha para posso qual quando não"),
    "Dutch": _set("de het een en is wat hoe ik niet waar mijn voor kan welke wanneer met van"),
}
