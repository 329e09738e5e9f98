"""What is measured over labelled pairs, with figures that can be told by hand."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import orjson
import pytest
from django.test import override_settings

from llmcache import caching, matching
from llmcache.evaluation import curve, measuring, report, rows
from llmcache.evaluation.intervals import Share
from llmcache.evaluation.measuring import Measured
from llmcache.evaluation.rows import BadRow, Row
from llmcache.matching import Matcher
from llmcache.models import MatchedPair
from tests.matching.conftest import WORDS
from tests.matching.verdicts import FixedJudge
from tests.matching.words import WordEmbedder

PAIRS = [
    # similarity 1, 0.75, 0.5, and one that a guard refuses though it is near
    {"a": "red apple pie recipe", "b": "pie recipe red apple", "same": True, "category": "order"},
    {"a": "red apple pie recipe", "b": "red apple pie recipes", "same": True, "category": "form"},
    {"a": "red apple pie recipe", "b": "red apple from bakeries", "same": False},
    {"a": "bake 3 apple pies today", "b": "bake 9 apple pies today", "same": False},
]


def row(values: dict[str, Any]) -> Row:
    (found,) = rows.parsed([orjson.dumps(values)])
    return found


@pytest.fixture
def make(tmp_path: Path) -> Any:
    """A matcher of these OPTIONS over a real store on disk."""
    WordEmbedder.texts.clear()

    def made(**options: Any) -> Matcher:
        store = {
            "BACKEND": "llmcache.backends.semantic.local.LocalSemanticBackend",
            "LOCATION": str(tmp_path),
            "OPTIONS": {"embedder": WORDS, "guards": ["numbers"], **options},
        }
        with override_settings(LLMCACHE={"default": store}):
            cache = caching.for_alias("default")
            assert cache is not None
            found = matching.for_store(cache)
            assert found is not None
            return found

    return made


def measured(matcher: Matcher, *pairs: dict[str, Any]) -> Measured:
    return measuring.measure(matcher, [row(values) for values in pairs or PAIRS])


@pytest.mark.parametrize(
    ("count", "total", "low", "high"),
    # R. G. Newcombe, Statistics in Medicine 17 (1998), table I, method 3
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_intervals_are_wilsons(count: int, total: int, low: float, high: float) -> None:
    share = Share(count, total)
    assert (share.low, share.high) == pytest.approx((low, high), abs=5e-5)


def test_of_nothing_nothing_is_known() -> None:
    share = Share(0, 0)
    assert (share.value, share.low, share.high, str(share)) == (None, 0.0, 1.0, "-")


def test_hits_and_wrong_answers_are_counted_at_any_threshold(make: Any) -> None:
    found = measured(make())
    assert [one.similarity for one in found.scored] == pytest.approx([1.0, 0.75, 0.5, 0.8])
    at = found.at(0.7)
    assert (at.hits.count, at.hits.total, at.wrong.count, at.wrong.total) == (2, 2, 0, 2)
    at = found.at(0.4)
    assert (at.hits.count, at.wrong.count) == (2, 1)
    at = found.at(0.9)
    assert (at.hits.count, at.wrong.count) == (1, 0)
    bare = found.at(0.7, guarded=False)
    assert (bare.hits.count, bare.wrong.count) == (2, 1)
    assert found.guards == {"numbers": (0, 1)}
    assert found.configured == 0.7


def test_the_curve_agrees_with_every_single_threshold(make: Any) -> None:
    found = measured(make())
    for guarded in (True, False):
        for figures in found.curve(guarded=guarded):
            alone = found.at(figures.threshold, guarded=guarded)
            assert (alone.hits, alone.wrong) == (figures.hits, figures.wrong)


def test_the_best_threshold_has_the_most_hits_within_the_limit(make: Any) -> None:
    found = measured(make(guards=[]))
    best = found.best(0.0)
    assert best is not None
    assert (best.hits.count, best.wrong.count) == (1, 0)
    best = found.best(0.5)
    assert best is not None
    assert (best.hits.count, best.wrong.count) == (2, 1)
    assert best.threshold == pytest.approx(0.75, abs=1e-3)


@pytest.mark.parametrize("gap", [0.01, 1e-4, 1e-7, 1e-16])
def test_the_best_threshold_does_as_it_says_and_is_as_short_as_can_be(gap: float) -> None:
    near, far = 0.76543219876543, 0.76543219876543 - gap
    same = [measuring.Scored(row(PAIRS[0]), near), measuring.Scored(row(PAIRS[1]), 0.9)]
    found = Measured([*same, measuring.Scored(row(PAIRS[2]), far)], 0.7)
    best = found.best(0.0)
    assert best is not None
    at = found.at(float(report.shown(best.threshold)))
    assert (at.hits, at.wrong) == (best.hits, best.wrong) == (Share(2, 2), Share(0, 1))
    if gap == 0.01:
        assert report.shown(best.threshold) == "0.765"


def test_without_guards_only_the_judge_and_the_threshold_decide(make: Any) -> None:
    FixedJudge.asked.clear()
    judge = {"BACKEND": "tests.matching.verdicts.FixedJudge", "OPTIONS": {"says": False}}
    matcher = make(judge=judge, judge_band=[0.4, 0.78])
    found = measuring.measure(matcher, [row(values) for values in PAIRS], guarded=False)
    assert found.guards == {}
    at = found.at(0.7)
    assert (at.hits.count, at.wrong.count) == (1, 1)


def test_categories_have_figures_of_their_own(make: Any) -> None:
    groups = measured(make()).by_category(0.9)
    assert {name: figures.hits.count for name, figures in groups.items()} == {
        "": 0,
        "form": 0,
        "order": 1,
    }


def test_a_text_is_embedded_once_however_often_it_appears(make: Any) -> None:
    measured(make())
    assert len(WordEmbedder.texts) == len(set(WordEmbedder.texts)) == 6


def test_conversations_with_other_turns_are_never_served(make: Any) -> None:
    def turns(before: str) -> list[dict[str, str]]:
        return [{"role": "system", "content": before}, {"role": "user", "content": "hello there"}]

    equal = {"a": turns("x"), "b": turns("x"), "same": True}
    other = {"a": turns("x"), "b": turns("y"), "same": False}
    found = measured(make(), equal, other)
    assert [one.similarity for one in found.scored] == [pytest.approx(1.0), None]
    assert found.apart == 1
    assert found.at(0.0).wrong.count == 0


def test_what_cannot_be_embedded_is_never_served_and_is_counted(make: Any) -> None:
    embedder = {"BACKEND": WORDS, "OPTIONS": {"most": 4}}
    long = {"a": "one two three four five", "b": "one two three four five six", "same": False}
    found = measured(make(embedder=embedder), long, PAIRS[0])
    assert found.not_embedded == 1
    assert found.at(0.0).wrong.count == 0
    assert found.embed_failures == 0
    down = measured(make(embedder={"BACKEND": WORDS, "OPTIONS": {"fail": True}}))
    assert (down.not_embedded, down.embed_failures) == (4, 6)


@pytest.mark.parametrize("says", [True, False, "fail"])
def test_the_judge_decides_inside_its_band_only(make: Any, says: Any) -> None:
    FixedJudge.asked.clear()
    judge = {"BACKEND": "tests.matching.verdicts.FixedJudge", "OPTIONS": {"says": says}}
    found = measured(make(judge=judge, judge_band=[0.4, 0.8]))
    assert len(FixedJudge.asked) == 2  # neither the pair above the band nor the one refused
    at = found.at(0.7)
    assert (at.hits.count, at.wrong.count) == ((2, 1) if says is True else (1, 0))
    assert found.judge_failures == (2 if says == "fail" else 0)
    for figures in found.curve():
        alone = found.at(figures.threshold)
        assert (alone.hits, alone.wrong) == (figures.hits, figures.wrong)


def test_wrong_pairs_are_listed_the_nearest_first(make: Any) -> None:
    wrong = measured(make(guards=[])).wrong_at(0.4)
    assert [one.similarity for one in wrong] == pytest.approx([0.8, 0.5])


# --- rows ---


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"not json", "Line 1"),
        (b"[1]", "no JSON object"),
        (b'{"a": "x", "b": "y"}', "same"),
        (b'{"a": "x", "b": "y", "same": 1}', "same"),
        (b'{"a": "x", "same": true}', "`b`"),
        (b'{"a": "", "b": "y", "same": true}', "`a`"),
        (b'{"a": [], "b": "y", "same": true}', "`a`"),
        (b'{"a": [{"role": "system", "content": "s"}], "b": "y", "same": true}', "`a`"),
        (b'{"a": ["text"], "b": "y", "same": true}', "`a`"),
    ],
)
def test_a_damaged_line_is_named(line: bytes, words: str) -> None:
    with pytest.raises(BadRow, match=words):
        list(rows.parsed([line]))
    bad: list[BadRow] = []
    good = b'{"a": "x", "b": "y", "same": true}'
    assert len(list(rows.parsed([line, b"", good], bad))) == 1
    assert len(bad) == 1


def test_packed_files_are_read_too(tmp_path: Path) -> None:
    content = b"".join(orjson.dumps(values) + b"\n" for values in PAIRS)
    plain, packed = tmp_path / "a.jsonl", tmp_path / "a.jsonl.gz"
    plain.write_bytes(content)
    packed.write_bytes(gzip.compress(content))
    assert list(rows.read(plain)) == list(rows.read(packed))


@pytest.mark.parametrize("content", [b"no gzip", gzip.compress(bytes(9000), mtime=0)[:-20]])
def test_a_damaged_packed_file_cannot_be_read(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(content)
    with pytest.raises(OSError):
        list(rows.read(path, []))


def test_the_sample_has_its_rows_and_its_attribution() -> None:
    found = list(rows.sample())
    assert (len(found), sum(one.same for one in found)) == (600, 300)
    folder = Path(rows.__file__).parent / "data"
    attribution = (folder / "ATTRIBUTION.md").read_text()
    for words in ("CC BY 4.0", "Mabon ap Gwyn", "Changes:"):
        assert words in attribution


@pytest.mark.django_db
def test_decided_pairs_of_the_database_are_rows() -> None:
    common = {"alias": "default", "digest": "ab", "similarity": 0.9, "how": "served"}
    known = {"asked": "x", "stored": "y", "whole": True}
    MatchedPair.objects.create(pair="1", same=True, **known, **common)
    MatchedPair.objects.create(pair="2", same=False, **known, **common)
    MatchedPair.objects.create(pair="3", same=None, **known, **common)
    MatchedPair.objects.create(pair="4", same=True, asked="x…", stored="y", **common)
    MatchedPair.objects.create(pair="5", same=True, **known, **{**common, "alias": "other"})
    assert [one.same for one in rows.from_database("default")] == [True, False]
    assert len(list(rows.from_database())) == 3


# --- what is shown ---


def test_the_curve_is_a_drawing_with_its_lines_and_its_mark(make: Any) -> None:
    drawn = curve.svg(measured(make()), 0.7)
    root = ElementTree.fromstring(drawn)
    names = {"svg": "http://www.w3.org/2000/svg"}
    lines = {
        line.get("class"): line.get("points")
        for line in root.findall("svg:polyline", names)
        if len((line.get("points") or "").split()) > 2
    }
    assert set(lines) == {"hits", "wrong", "hits bare", "wrong bare"}
    assert lines["wrong"] != lines["wrong bare"]
    assert root.find("svg:title", names) is not None
    description = root.find("svg:desc", names)
    assert description is not None and "0.700" in (description.text or "")
    assert "<script" not in drawn
    (mark,) = root.findall("svg:line[@class='mark']", names)
    # A threshold of 0.7 between 0.5, the least similarity, at 52, and 1 at 704.
    assert float(mark.get("x1") or 0) == pytest.approx(52 + 0.4 * 652, abs=0.1)


def test_the_curve_steps_where_what_is_served_changes() -> None:
    near = [(0.5, 0), (0.6, 1), (0.8, 0)]  # similarity, and which pair of those above
    scored = [measuring.Scored(row(PAIRS[which]), at) for at, which in near]
    scored.append(measuring.Scored(row(PAIRS[2]), 0.75))
    root = ElementTree.fromstring(curve.svg(Measured(scored, 0.7), 0.7))
    lines = {
        line.get("class"): line.get("points") or ""
        for line in root.iter()
        if "points" in line.attrib and (line.get("points") or "").count(",") > 2
    }
    places = [tuple(map(float, place.split(","))) for place in lines["wrong"].split()]
    # 100% up to a similarity of 0.75, half of the way from 0.5 to 1, and 0% from there on.
    left, top, right, base = 52.0, 48.0, 704.0, 356.0
    middle = (left + right) / 2
    assert places == [(left, top), (middle, top), (middle, base), (right, base)]
    hits = [float(place.split(",")[1]) for place in lines["hits"].split()]
    assert hits == sorted(hits)
    assert len(set(hits)) == 4


def test_the_curve_of_many_pairs_stays_small(make: Any) -> None:
    scored = [measuring.Scored(row(PAIRS[number % 2]), number / 5000) for number in range(5000)]
    drawn = curve.svg(Measured(scored, 0.7), 0.7)
    assert len(drawn) < 40_000
    ElementTree.fromstring(drawn)


def test_the_report_says_all_that_was_measured(make: Any) -> None:
    text = "\n".join(report.lines(measured(make()), 0.7))
    for words in ("100.0%", "order", "numbers", "similarity alone", "Best threshold at 5% wrong"):
        assert words in text
