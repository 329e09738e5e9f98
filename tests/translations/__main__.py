"""`make messages`: bring the catalogues up to what the code says.

A language that is named gets a catalogue if it has none: `make messages LANGUAGES=it`.
"""

from __future__ import annotations

import sys

from tests.translations.catalogues import languages, path_of, read, untranslated, update
from tests.translations.extraction import ROOT, extracted

messages = extracted()
for language in sorted({*languages(), *sys.argv[1:]}):
    update(language, messages)
    missing = untranslated(read(language))
    print(f"{path_of(language).relative_to(ROOT)}: {len(messages)} messages, {len(missing)} to do")
    for text in missing:
        print(f"  {text}")
