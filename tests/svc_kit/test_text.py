"""Hashtags, mentions and names in text."""

from __future__ import annotations

import pytest

from svc_kit.text import fold, hashtags_of, mentions_of, name_key, normalise_hashtag, printable, visible


@pytest.mark.parametrize(
    ("written", "stored"),
    [
        ("#Cats", "cats"),
        ("＃ＣＡＴＳ", "cats"),
        ("Straße", "strasse"),
        (" ##x_1 ", "x_1"),
        ("हिन्दी", "हिन्दी"),
        ("日本語", "日本語"),
        ("", None),
        ("#", None),
        ("two words", None),
        ("a.b", None),
        ("a-b", None),
        ("👍", None),
        ("x" * 100, "x" * 100),
        ("x" * 101, None),
    ],
)
def test_a_hashtag_has_one_form_or_is_none(written: str, stored: str | None) -> None:
    assert normalise_hashtag(written) == stored
    if stored is not None:
        assert normalise_hashtag(stored) == stored


def test_hashtags_of_a_caption_come_once_in_order() -> None:
    caption = "Look #Cats, #dogs!#CATS (#birds) mail#no /#anchor &#39; ## #"
    assert hashtags_of(caption) == ("cats", "dogs", "birds")


def test_mentions_are_names_not_addresses() -> None:
    assert mentions_of("hi @Anna. @boris_1: @j.r.r... a@b.example @ANNA @ (@x)") == ("Anna", "boris_1", "j.r.r", "x")


def test_a_long_text_without_end_is_read_once() -> None:
    assert hashtags_of("#" * 10_000) == ()
    assert hashtags_of("#a" * 5_000) == ("a",)


@pytest.mark.parametrize("name", ["ΐ", "İstanbul", "ﬀ", "ẞ", "Å", "ſ"])
def test_folding_twice_changes_nothing(name: str) -> None:
    assert fold(fold(name)) == fold(name)
    assert name_key(name) == name_key(fold(name))


def test_control_characters_are_not_printable() -> None:
    assert printable("a 👍 é")
    assert not printable("a\nb")
    assert printable("a\nb", lines=True)
    assert not printable("a\x00b", lines=True)


@pytest.mark.parametrize("text", ["", " ", "\u200b\u2060", "\u3164", "\ufe0f", "\u202e", "\u00a0\n"])
def test_what_draws_nothing_is_not_visible(text: str) -> None:
    assert not visible(text)
    assert visible(f"{text}👍")
    assert visible(f"{text}\U0001fae9")  # newer than some Pythons' tables
