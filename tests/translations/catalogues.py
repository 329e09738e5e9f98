"""The catalogues of translations: where they are, and how they are read and kept up to date."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from babel.messages.catalog import Catalog, Message
from babel.messages.pofile import read_po, write_po

from tests.translations.extraction import PACKAGE

LOCALE: Final = PACKAGE / "locale"


def languages() -> list[str]:
    """The languages that have a catalogue, by their codes."""
    return sorted(path.name for path in LOCALE.iterdir())


def path_of(language: str) -> Path:
    """A language's catalogue; the compiled one is made beside it."""
    return LOCALE / language / "LC_MESSAGES" / "django.po"


def read(language: str) -> Catalog:
    """What a language's catalogue says."""
    with path_of(language).open("rb") as file:
        return read_po(file, locale=language, domain="django", abort_invalid=True)


def update(language: str, messages: Catalog) -> None:
    """Give a catalogue the messages that it lacks, and take from it those that are gone."""
    path = path_of(language)
    if path.exists():
        catalogue = read(language)
    else:
        path.parent.mkdir(parents=True)
        catalogue = Catalog(
            language,
            domain="django",
            project=messages.project,
            version=" ",
            header_comment="# Translations of django-llmcache.",
            last_translator="The django-llmcache authors",
            language_team=language,
            msgid_bugs_address=" ",
            revision_date=messages.creation_date,
            fuzzy=False,
        )
    catalogue.update(messages, no_fuzzy_matching=True, update_creation_date=False)
    with path.open("wb") as file:
        # Without line numbers, which change more often than messages do.
        write_po(
            file, catalogue, 100, sort_by_file=True, ignore_obsolete=True, include_lineno=False
        )


def texts(message: Message) -> tuple[str, ...]:
    """A message's translations: one, or one for each plural form."""
    return (message.string,) if isinstance(message.string, str) else tuple(message.string)


def untranslated(catalogue: Catalog) -> list[str]:
    """The English texts of the messages that nobody has translated, or not in every form."""
    return [
        message.id if isinstance(message.id, str) else message.id[0]
        for message in catalogue
        if message.id and (message.fuzzy or not all(texts(message)))
    ]
