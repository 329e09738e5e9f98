"""The catalogues say all that the code says, in every language, and Django finds them."""

from __future__ import annotations

import re
from gettext import GNUTranslations
from io import BytesIO
from pathlib import Path

import django
import pytest
from babel.messages.catalog import Message
from babel.messages.mofile import write_mo
from babel.messages.plurals import get_plural
from django.utils import translation

from tests.translations import catalogues
from tests.translations.catalogues import languages, path_of, read, texts, untranslated, update
from tests.translations.extraction import extracted

LANGUAGES = languages()
PLACEHOLDER = re.compile(r"%(?:\(\w+\))?[\d.]*[a-zA-Z%]|\{\w*\}")
every_language = pytest.mark.parametrize("language", LANGUAGES)


def english(message: Message) -> tuple[str, ...]:
    """A message's English texts: one, or singular and plural."""
    return (message.id,) if isinstance(message.id, str) else tuple(message.id)


def placeholders(text: str) -> list[str]:
    return sorted(PLACEHOLDER.findall(text))


def test_there_is_german_and_french() -> None:
    assert {"de", "fr"} <= set(LANGUAGES)


@every_language
def test_the_catalogue_has_the_messages_of_the_code_and_no_others(language: str) -> None:
    said = {(message.context, english(message)) for message in extracted() if message.id}
    known = {(message.context, english(message)) for message in read(language) if message.id}
    hint = "run `make messages`, and translate what it lists"
    assert known == said, hint


@every_language
def test_everything_is_translated(language: str) -> None:
    catalogue = read(language)
    assert untranslated(catalogue) == []
    assert not catalogue.obsolete
    assert "fuzzy" not in path_of(language).read_text()


@every_language
def test_placeholders_and_spaces_at_the_ends_are_those_of_the_english(language: str) -> None:
    for message in read(language):
        originals = english(message)
        for text in texts(message) if message.id else ():
            expected = [placeholders(original) for original in originals]
            assert placeholders(text) in expected, (message.id, text)
            ends = [re.sub(r"\S.*\S", "", original, flags=re.DOTALL) for original in originals]
            assert re.sub(r"\S.*\S", "", text, flags=re.DOTALL) in ends or len(text) == 1


@every_language
def test_plural_forms_are_the_languages_own(language: str) -> None:
    catalogue, rule = read(language), get_plural(language)
    assert (catalogue.num_plurals, catalogue.plural_expr) == (rule.num_plurals, rule.plural_expr)
    for message in catalogue:
        if message.id and not isinstance(message.id, str):
            assert len(texts(message)) == rule.num_plurals


@every_language
def test_no_translation_changes_what_django_says_itself(language: str) -> None:
    """An app's catalogue is in force everywhere, in other apps too."""
    ours = {
        message.id: message.string
        for message in read(language)
        if isinstance(message.id, str) and message.id and not message.context
    }
    differing = {}
    for path in Path(django.__file__).parent.glob(f"**/locale/{language}/LC_MESSAGES/django.mo"):
        with path.open("rb") as file:
            theirs = GNUTranslations(file)
        found = {text: theirs.gettext(text) for text in ours}
        differing |= {t: said for t, said in found.items() if said not in (t, ours[t])}
    assert differing == {}


@every_language
def test_the_compiled_catalogue_says_what_its_source_says(language: str) -> None:
    compiled = BytesIO()
    write_mo(compiled, read(language))
    found = path_of(language).with_suffix(".mo").read_bytes()
    assert found == compiled.getvalue(), "`make test` compiles it anew"


def test_django_finds_them() -> None:
    with translation.override("de"):
        assert translation.gettext("Evict selected entries") == "Ausgewählte Einträge löschen"
        assert translation.pgettext("store", "Clear") == "Leeren"
        said = ("%(number)s entry was evicted.", "%(number)s entries were evicted.")
        assert translation.ngettext(*said, 1) == "%(number)s Eintrag wurde gelöscht."
        assert translation.ngettext(*said, 0) == "%(number)s Einträge wurden gelöscht."
    with translation.override("fr"):
        assert translation.gettext("Dashboard") == "Tableau de bord"
        assert translation.ngettext(*said, 0) == "%(number)s entrée a été évincée."
        assert translation.ngettext(*said, 2) == "%(number)s entrées ont été évincées."
    with translation.override("en"):
        assert translation.gettext("Evict selected entries") == "Evict selected entries"


# --- keeping them up to date ---


@every_language
def test_a_catalogue_that_is_up_to_date_stays_as_it_is(
    language: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = path_of(language).read_bytes()
    monkeypatch.setattr(catalogues, "LOCALE", tmp_path)
    path_of(language).parent.mkdir(parents=True)
    path_of(language).write_bytes(before)
    update(language, extracted())
    assert path_of(language).read_bytes() == before


def test_a_new_language_begins_empty_and_is_filled_and_cleared_by_need(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalogues, "LOCALE", tmp_path)
    code = tmp_path / "code"
    code.mkdir()
    (code / "pages.py").write_text('a = _("one")\nb = _("two")\n')
    update("it", extracted(code))
    assert untranslated(read("it")) == ["one", "two"]
    path = path_of("it")
    path.write_text(path.read_text().replace('"one"\nmsgstr ""', '"one"\nmsgstr "uno"'))
    (code / "pages.py").write_text('a = _("one")\nc = _("once")\n')
    update("it", extracted(code))
    assert {message.id: message.string for message in read("it") if message.id} == {
        "one": "uno",
        "once": "",
    }
    assert languages() == ["code", "it"]
