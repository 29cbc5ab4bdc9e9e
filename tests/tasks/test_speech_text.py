"""What a word is: Unicode's words in every script, equal spellings equal, nothing that is spoken lost."""

from __future__ import annotations

import csv
import unicodedata
from pathlib import Path

import jiwer
import numpy as np
import pytest
import soundfile
from hypothesis import example, given
from hypothesis import strategies as st

from fedsim.tasks.ctc.finetune import error_rates
from fedsim.tasks.speech import corpus
from fedsim.tasks.speech.corpus import CommonVoice, Manifest, italian
from fedsim.tasks.speech.text import about_figures, has_figures, normalise

WRITTEN = {  # what is written: how many words there are
    "हिन्दी अच्छी है": 3,  # vowel signs and a virama
    "İYİ günler": 2,
    "ภาษาไทย ดีมาก": 2,  # vowel signs and tone marks, which UAX 29 leaves to dictionaries
    "می‌خواهم بروم": 2,  # a joiner within a word
    "ශ්‍රී ලංකාව": 2,  # a zero-width joiner
    "குழந்தை நல்ல": 2,
    "শুভ সকাল": 2,
    "tiếng Việt": 2,
    "ọ̀rọ̀ Yorùbá": 2,  # marks that have no composed letter
    "مَرْحَبًا بِكُمْ": 2,  # short vowels
    "שָׁלוֹם לָכֶם": 2,
    "col·lega il·lusió": 2,
    "你好 世界": 2,
}


@pytest.mark.parametrize(("text", "words"), WRITTEN.items())
def test_marks_and_joiners_part_no_words(text: str, words: int) -> None:
    for form in ("NFC", "NFD"):
        said = normalise(unicodedata.normalize(form, text))
        assert len(said.split(" ")) == words
        assert unicodedata.is_normalized("NFC", said)
    assert normalise(f"«{text}»!") == normalise(text)


def test_a_word_error_rate_is_that_of_the_text_as_it_is_written() -> None:
    """Three of five words are wrong; with each of the twelve parts of them a word, it would be less."""
    said, heard = "हिन्दी अच्छी है यह नदी", "हिन्दू अच्छा है वह नदी"
    assert error_rates([(normalise(said), normalise(heard))])[0] == pytest.approx(3 / 5)
    texts = [unicodedata.normalize("NFC", text) for text in WRITTEN if text != "İYİ günler"]
    lower = [text.casefold() for text in texts]
    shifted = [
        f"{one.split(' ')[0]} {other}" for one, other in zip(lower, lower[1:] + lower[:1], strict=True)
    ]
    ours = error_rates([(normalise(a), normalise(b)) for a, b in zip(lower, shifted, strict=True)])
    assert ours == pytest.approx((jiwer.wer(lower, shifted), jiwer.cer(lower, shifted)))


def test_the_small_i_is_dotless_where_the_language_has_one() -> None:
    assert normalise("İYİ", "tr") == normalise("İYİ") == normalise("I\u0307YI\u0307", "it") == "iyi"
    assert normalise("ISPARTA", "tr-TR") == normalise("ISPARTA", "az_AZ") == "ısparta"
    assert normalise("ISPARTA") == normalise("ISPARTA", "it") == normalise("ISPARTA", "trv") == "isparta"
    assert normalise("IĞDIR ılık", "tr") == "ığdır ılık"


@pytest.mark.parametrize("mark", "'’‘‛＇՚′´`ʼʻꞌ")
def test_an_apostrophe_is_one_in_all_its_code_points(mark: str) -> None:
    assert normalise(f"L{mark}amico dell{mark}8 o{mark}zbek") == "l'amico dell'8 o'zbek"


def test_quotation_marks_are_no_apostrophes_and_letters_stay() -> None:
    for left, right in ("''", "‘’", "``", "´´", "“”", "«»", "„“"):
        assert normalise(f"disse {left}ciao{right} a lui") == "disse ciao a lui"
    assert normalise("un po' ' ''") == "un po"
    assert normalise("ʻokina") == "ʻokina"  # a letter of its own at the start of a word


def test_equal_spellings_are_equal() -> None:
    assert normalise("Straße ΟΔΟΣ") == normalise("STRASSE οδός".replace("ό", "ο"))
    assert normalise("ca\u00adsa\u200e") == "casa"
    assert normalise("a\u200bb _c_ d_e f-g h/i") == "a b c d e f g h i"
    assert normalise("👍🏽 ok ♪ ❤️") == "ok"
    assert normalise("... ! — ’ \u0301") == ""


@given(
    st.text() | st.text("aIİiı'’ʼ_\u0307\u0301\u200c\u200d\u00ad 1.,:%कि्ไท"),
    st.sampled_from(["", "tr", "it"]),
)
@example("a''b", "")
@example("aʼʼb", "")
def test_normal_text_is_stable(text: str, language: str) -> None:
    said = normalise(text, language)
    assert normalise(said, language) == said
    assert said == " ".join(said.split())
    assert normalise(unicodedata.normalize("NFD", text), language) == said


def test_the_embedded_corpus_says_what_it_said() -> None:
    """Its words in the rule of the first version: lower case, letters and apostrophes, accents composed."""
    draw = np.random.default_rng(0)
    texts = [italian.sentence(draw) for _ in range(500)] + sorted(italian.vocabulary())
    for text in texts:
        kept = "".join(c if c.isalpha() or c == "'" else " " for c in text.lower())
        assert normalise(text, "it") == " ".join(kept.split())


def _sound(file: Path, number: int) -> None:
    file.parent.mkdir(exist_ok=True)
    soundfile.write(file, np.random.default_rng(number).normal(0, 0.1, 8_000), 16_000)


def test_a_recordings_language_says_how_its_case_is_folded(tmp_path: Path) -> None:
    for number, name in enumerate("abcd"):
        _sound(tmp_path / "clips" / f"{name}.wav", number)
    with (tmp_path / "m.csv").open("w", newline="", encoding="utf-8") as out:
        rows = [("a", "tr"), ("b", "it"), ("c", "")]
        csv.writer(out).writerows(
            [["path", "speaker", "text", "split", "language"]]
            + [[f"clips/{name}.wav", name, "ISI", "train", language] for name, language in rows]
        )
    made = corpus.load(Manifest(path=str(tmp_path / "m.csv")))
    assert [made.words(u) for u in range(3)] == ["ısı", "isi", "isi"]
    only = corpus.load(Manifest(path=str(tmp_path / "m.csv"), language="tr"))
    assert [only.words(u) for u in range(len(only))] == ["ısı"]

    lines = ["client_id\tpath\tsentence\tlocale", "a\ta.wav\tISI\ttr", "b\tb.wav\tISI\tit", "c\tc.wav\tISI\t"]
    (tmp_path / "train.tsv").write_text("\n".join(lines), encoding="utf-8")
    (tmp_path / "dev.tsv").write_text(f"{lines[0]}\nd\td.wav\tISI\taz\n", encoding="utf-8")
    spoken = corpus.load(CommonVoice(path=str(tmp_path), language="tr"))
    assert [spoken.words(u) for u in range(len(spoken))] == ["ısı", "isi", "ısı", "ısı"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Nel 1984 arrivò.", "nel 1984 arrivò"),
        ("1984", "1984"),
        ("Costa 3,50 € (il 20%)!", "costa 3,50 € il 20%"),
        ("R&B o C++, $5", "r&b o c++ $5"),
        ("१२ घंटे; ٣ ساعات", "१२ घंटे ٣ ساعات"),
        ("½ ora, capitolo Ⅷ", "½ ora capitolo ⅷ"),
        ("5 °C, -3 x 2 = 6", "5 °c 3 x 2 = 6"),
        ("１９８４年", "１９８４年"),
    ],
)
def test_figures_and_symbols_that_are_read_aloud_stay(text: str, expected: str) -> None:
    assert normalise(text) == expected
    assert has_figures(text)
    assert not has_figures("Quarant'anni, «ciao»! _così_ 👍 – हिन्दी")
    assert about_figures(1, 2).startswith("1 of 2 transcripts holds figures")


def test_a_reference_keeps_as_many_words_as_were_written() -> None:
    """Left out, the year would make this one right word of three a perfect transcript of two."""
    said, heard = normalise("nel 1984 arrivò"), normalise("nel arrivò")
    assert error_rates([(said, heard)])[0] == pytest.approx(1 / 3)
