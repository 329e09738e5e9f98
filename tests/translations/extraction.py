"""What there is to translate: every message of the package's code and templates, by Babel.

Babel knows no Django templates. Django knows how to write one as calls of gettext, for xgettext;
Babel reads these as it reads Python.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Mapping
from io import BytesIO
from pathlib import Path
from typing import IO, Any, Final

from babel.messages.catalog import Catalog
from babel.messages.extract import DEFAULT_KEYWORDS, extract_from_dir, extract_python
from django.utils.translation.template import templatize

ROOT: Final = Path(__file__).parent.parent.parent
PACKAGE: Final = ROOT / "llmcache"
KEYWORDS: Final[dict[str, Any]] = {
    **DEFAULT_KEYWORDS,
    "gettext_lazy": None,
    "gettext_noop": None,
    "ngettext_lazy": (1, 2),
    "pgettext_lazy": ((1, "c"), 2),
    "npgettext_lazy": ((1, "c"), 2, 3),
}


def extract_template(
    file: IO[bytes],
    keywords: Mapping[str, Any],
    comment_tags: Collection[str],
    options: Any,
) -> Generator[Any, None, None]:
    """Babel's method for Django templates."""
    calls = templatize(file.read().decode())
    # What stands before a call is a template's indentation, which would not do in Python.
    code = "\n".join(line.lstrip() for line in calls.split("\n"))
    yield from extract_python(BytesIO(code.encode()), keywords, comment_tags, options)


def extracted(directory: Path = PACKAGE) -> Catalog:
    """A catalogue without translations: every message below a directory."""
    found = Catalog(project="django-llmcache", fuzzy=False)
    for method, pattern in ((extract_python, "**.py"), (extract_template, "**.html")):
        for name, line, message, comments, context in extract_from_dir(
            directory,
            method_map=[(pattern, method)],
            keywords=KEYWORDS,
            comment_tags=("Translators:",),
            strip_comment_tags=False,
        ):
            place = (directory.name + "/" + Path(name).as_posix(), line)
            found.add(message, None, [place], auto_comments=comments, context=context)
    return found
