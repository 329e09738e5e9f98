"""`llmcache_export` and `llmcache_import` take entries from one site to another, whole."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from django.test import override_settings

import llmcache
from llmcache import backends, maintenance
from llmcache.envelope import unseal
from llmcache.models import Entry
from llmcache.recorder import recorder
from llmcache.upstreams.fake import FakeUpstream
from tests.commands.conftest import forget

pytestmark = pytest.mark.django_db


def lines_of(file: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(file).read_text().splitlines()]


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_entries_come_back_whole(
    run: Any, ask: Any, file: str, upstream: FakeUpstream, ending: str
) -> None:
    ask("one", tags=["daily"], namespace="shop", ttl=3600, **{"stale-if-error": 600})
    ask("two", stream=True)
    llmcache.embedding("m", input=["a", "b"])
    recorder.flush()
    fields = [
        *("digest", "kind", "model", "namespace", "preview", "material", "input_tokens"),
        *("expires", "kept_until", "created", "tags__name"),
    ]
    before = list(Entry.objects.order_by("digest").values_list(*fields))
    assert run("export", file + ending).out == "Exported 4 entries.\n"
    forget()
    assert run("import", file + ending).out == "Stored 4 entries.\n"
    assert list(Entry.objects.order_by("digest").values_list(*fields)) == before
    upstream.reset()
    assert ask("one", namespace="shop").cache.outcome == "hit"
    assert len(list(llmcache.completion("m", messages=_two(), stream=True))) > 1
    assert llmcache.embedding("m", input=["b", "a"]).cache.outcome == "hit"
    assert upstream.call_count == 0


def _two() -> list[dict[str, str]]:
    return [{"role": "user", "content": "two"}]


def test_a_pinned_entry_without_end_comes_back_pinned(run: Any, ask: Any, file: str) -> None:
    ask("one")
    maintenance.pin(Entry.objects.get())
    run("export", file)
    forget()
    run("import", file)
    entry = Entry.objects.get()
    assert (entry.pinned, entry.expires) == (True, None)


def test_entries_are_sealed_with_the_importing_sites_key(run: Any, ask: Any, file: str) -> None:
    digest = ask("one").cache.key
    run("export", file)
    forget()
    with override_settings(SECRET_KEY="another site's"):
        run("import", file)
        data = backends.stores["default"].get(digest)
        assert data is not None and unseal(digest, data).header["model"] == "m"


def test_an_entry_that_was_evicted_after_the_export_comes_back_and_stays(
    run: Any, ask: Any, file: str
) -> None:
    ask("one", tags=["daily"])
    run("export", file)
    llmcache.evict(tag="daily")
    run("import", file)
    assert ask("one").cache.outcome == "hit"
    assert Entry.objects.count() == 1


def test_an_entry_lives_on_for_what_was_left_of_its_ttl(run: Any, ask: Any, file: str) -> None:
    ask("short", ttl=600)
    ask("long")
    run("export", file)
    expires = {line["preview"]: line["expires"] for line in lines_of(file)[1:]}
    forget()
    text = Path(file).read_text()
    stale = text.replace(str(expires["short"]), "1000000000.0")
    Path(file).write_text(stale)
    done = run("import", file)
    assert done.out == "Stored 1 entry.\n1 had expired.\n"
    entry = Entry.objects.get()
    assert entry.expires is not None
    assert entry.expires.timestamp() == pytest.approx(expires["long"])


def test_a_newer_entry_of_the_store_is_kept_unless_told_otherwise(
    run: Any, ask: Any, file: str
) -> None:
    first = ask("one")
    run("export", file)
    newer = ask("one", refresh=True)
    assert newer.id != first.id
    assert run("import", file).out == "Stored 0 entries.\n1 were there already.\n"
    assert ask("one").id == newer.id
    run("import", file, "--overwrite")
    assert ask("one").id == first.id


def test_damaged_lines_are_named_and_the_others_are_stored(run: Any, ask: Any, file: str) -> None:
    for text in ("one", "two", "three", "four", "five"):
        ask(text)
    run("export", file)
    head, *lines = Path(file).read_text().splitlines()
    forget()
    damaged = [
        lines[0][:-20],
        lines[1].replace('"digest":"', '"digest":"../'),
        lines[2].replace('"kind":"completion"', '"kind":"poem"'),
        lines[3].replace('"payload":"{', '"payload":"'),
        lines[4],
    ]
    Path(file).write_text("\n".join([head, *damaged]))
    done = run("import", file)
    assert done.code == 1
    assert done.out == "Stored 1 entry.\n"
    named = [line.partition(":")[0] for line in done.err.splitlines()]
    assert named == ["line 2", "line 3", "line 4", "line 5", "4 lines could not be imported."]


def test_a_file_that_breaks_off_is_told_and_its_whole_lines_are_stored(
    run: Any, ask: Any, file: str
) -> None:
    for number in range(30):
        ask(str(number))
    run("export", file + ".gz")
    whole = Path(file + ".gz").read_bytes()
    Path(file + ".gz").write_bytes(whole[: len(whole) // 2])
    forget()
    done = run("import", file + ".gz")
    assert done.code == 1
    assert "breaks off" in done.err
    assert 0 < Entry.objects.count() < 30


@pytest.mark.parametrize("content", ["", "{}\n", '{"llmcache_export": 99}\n', "hello\n"])
def test_a_file_that_is_no_export_is_refused(run: Any, file: str, content: str) -> None:
    Path(file).write_text(content)
    assert run("import", file).code == 2


def test_an_alias_that_this_site_lacks_needs_another_one_named(
    run: Any, ask: Any, file: str
) -> None:
    ask("one")
    run("export", file)
    forget()
    Path(file).write_text(Path(file).read_text().replace('"alias":"default"', '"alias":"old"'))
    assert "LLMCACHE has no alias 'old'" in run("import", file).err
    assert run("import", file, "--alias", "default").code == 0
    assert ask("one").cache.outcome == "hit"
    assert "in the memory of each process" in run("import", file, "--alias", "memory").err


def test_the_importing_site_decides_what_it_keeps_of_prompts(run: Any, ask: Any, file: str) -> None:
    ask("my secret question")
    run("export", file)
    forget()
    stores = {"default": {**_settings()["default"]}}
    with override_settings(LLMCACHE=stores, LLMCACHE_CONFIG={"STORE_PROMPTS": "none"}):
        run("import", file)
    entry = Entry.objects.get()
    assert "secret" not in entry.material + entry.preview


def _settings() -> dict[str, Any]:
    from django.conf import settings

    described: dict[str, Any] = settings.LLMCACHE
    return described


def test_a_dry_run_of_an_import_stores_nothing(run: Any, ask: Any, file: str) -> None:
    ask("one")
    run("export", file)
    forget()
    assert run("import", file, "--dry-run").out == "Would store 1 entry.\n"
    assert not Entry.objects.exists()
    assert not list(backends.stores["default"].iterate())


def test_only_what_was_asked_for_is_exported(run: Any, ask: Any, file: str) -> None:
    ask("one", tags=["daily"], namespace="shop")
    ask("two")
    assert run("export", file, "--tag", "daily").out == "Exported 1 entry.\n"
    assert run("export", file, "--force", "--namespace", "shop").out == "Exported 1 entry.\n"
    assert run("export", file, "--force", "--model", "other").out == "Exported 0 entries.\n"
    assert run("export", file, "--dry-run").out == "Would export 2 entries.\n"


def test_a_file_that_is_there_is_not_replaced_by_accident(run: Any, ask: Any, file: str) -> None:
    Path(file).write_text("precious")
    done = run("export", file)
    assert done.code == 2
    assert "--force" in done.err
    assert Path(file).read_text() == "precious"


def test_entries_that_are_gone_from_their_store_are_counted(run: Any, ask: Any, file: str) -> None:
    ask("one")
    backends.stores["default"].delete(ask("two").cache.key)
    assert run("export", file).out == "Exported 1 entry.\nGone from their store: 1 entry.\n"


def test_a_compressed_export_is_compressed(run: Any, ask: Any, file: str) -> None:
    ask("one")
    run("export", file + ".gz")
    with gzip.open(file + ".gz") as opened:
        assert json.loads(opened.readline())["llmcache_export"] == 1


def test_an_export_from_a_store_that_fails_ends_with_1_and_keeps_what_came(
    run: Any, ask: Any, file: str, failing: Any
) -> None:
    ask("one")
    failing(backends.stores["default"], "get_many", "unplugged")
    done = run("export", file)
    assert done.code == 1 and "Some stores failed:" in done.err
    assert "default: OSError: unplugged" in done.err and "Exported 0 entries" in done.out


def test_a_file_that_cannot_be_opened_is_named(run: Any, ask: Any, file: str) -> None:
    ask("one")
    nowhere = f"{file}/deeper/entries.jsonl"
    for command, words in (("export", "cannot be written"), ("import", "cannot be read")):
        done = run(command, nowhere)
        assert done.code == 2 and f"{nowhere} {words}: No such file" in done.err


def test_an_export_of_a_store_that_the_site_lacks_is_wrong_usage(run: Any, file: str) -> None:
    done = run("export", file, "--alias", "defualt")
    assert done.code == 2 and "default" in done.err and not Path(file).exists()
